//! Connections that no session needs now: another session of the same user takes them, once the server has forgotten what was left on them.
//!
//! Owns those of its thread, as sessions do not move from one to another. They are few, and none is kept for long; nor is any counted among its
//! backend's. Whether one can be used yet is found out when it is taken.

use super::super::account::BackendAccount;
use super::super::terms::{MysqlPlan, Terms};
use super::link::{Link, LinkError};
use super::login::Identity;
use crate::core::mysql::protocol::auth::Password;
use crate::core::mysql::protocol::capabilities::Capabilities;
use crate::core::mysql::protocol::command::{Command, StatementText};
use futures_util::FutureExt as _;
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// Of one thread. The one that was lent first makes room.
const SPARES_MAX: usize = 16;
const KEPT_FOR: Duration = Duration::from_secs(60);
const LOOK_EVERY: Duration = Duration::from_secs(10);

/// As whom, and how, a connection is logged in: two sessions with the same may have each other's.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Whose {
    service: String,
    is_private: bool,
    user: String,
    password: Password,
    capabilities: Capabilities,
    collation: u8,
    attributes: Option<Vec<u8>>,
}

/// Whether sessions may have each other's at all: where backends are told who the client is, its connections are its own.
pub(super) fn may_be_lent(terms: &Terms) -> bool {
    terms.send_proxy.is_none() && !terms.transparent
}

impl Whose {
    pub(super) fn of(
        (terms, plan): (&Terms, &MysqlPlan),
        identity: &Identity,
        capabilities: Capabilities,
    ) -> Self {
        Self {
            service: plan.service.clone(),
            is_private: terms.backend_tls.is_some(),
            user: identity.user.clone(),
            password: identity.password.clone(),
            capabilities,
            collation: identity.collation,
            attributes: identity.attributes.clone(),
        }
    }
}

struct Spare {
    link: Link,
    whose: Whose,
    since: Instant,
    account: Option<Arc<BackendAccount>>,
}

impl Spare {
    /// Nobody wanted its backend's connections to end.
    fn is_wanted(&self) -> bool {
        self.account.as_ref().is_none_or(|account| account.cuts() == self.link.cuts)
    }
}

thread_local! {
    static SPARES: RefCell<VecDeque<Spare>> = const { RefCell::new(VecDeque::new()) };
    static IS_WATCHED: Cell<bool> = const { Cell::new(false) };
}

/// Gives a connection to whoever needs it next. What only it knows is lost.
pub(super) fn lend(mut link: Link, whose: Whose) {
    // It is nobody's: a backend that is drained does not wait for it.
    let account = link.place.take().map(|place| place.backend.clone());
    let full = SPARES.with_borrow_mut(|spares| {
        spares.push_back(Spare { link, whose, since: Instant::now(), account });
        if spares.len() > SPARES_MAX { spares.pop_front() } else { None }
    });
    full.into_iter().for_each(leave);
    if !IS_WATCHED.replace(true) {
        tokio::spawn(watch());
    }
}

/// One that is logged in like that, since then at the earliest: rights are those of the login. Nothing is on it of what was there before but the
/// schema, which is that of the session, if it has one.
pub(super) async fn take(
    address: SocketAddr,
    whose: &Whose,
    schema: Option<&[u8]>,
    earliest: Instant,
) -> Option<Link> {
    loop {
        let spare = SPARES.with_borrow_mut(|spares| {
            let fits = |spare: &Spare| {
                // A schema cannot be left, only changed for another one.
                spare.link.address == address
                    && spare.whose == *whose
                    && spare.link.logged_in >= earliest
                    && (schema.is_some() || spare.link.schema.is_none())
            };
            let at = spares.iter().rposition(fits)?;
            spares.remove(at)
        })?;
        if !spare.is_wanted() {
            continue;
        }
        let mut link = spare.link;
        if !link.is_usable() {
            continue;
        }
        return match clear(&mut link, schema).await {
            Ok(()) => Some(link),
            Err(LinkError::Refused(_)) => None,
            // Its server is to be waited for once, if at all.
            Err(_) => {
                SPARES.with_borrow_mut(|spares| spares.retain(|spare| spare.link.address != address));
                None
            }
        };
    }
}

/// The server forgets variables, prepared statements and what was found; the login and the schema stay.
async fn clear(link: &mut Link, schema: Option<&[u8]>) -> Result<(), LinkError> {
    link.command(&[Command::ResetConnection.byte()]).await?;
    link.statements.clear();
    (link.settings, link.must_ask) = (0, false);
    if let Some(schema) = schema.filter(|schema| link.schema.as_deref() != Some(*schema)) {
        link.command(&StatementText { command: Command::InitDb, text: schema }.encode()).await?;
        link.schema = Some(schema.to_vec());
    }
    Ok(())
}

/// Lets those go that nobody has taken.
async fn watch() {
    loop {
        sleep(LOOK_EVERY).await;
        let (old, is_empty) = SPARES.with_borrow_mut(|spares| {
            let is_kept = |spare: &Spare| spare.since.elapsed() < KEPT_FOR && spare.is_wanted();
            let (kept, old): (Vec<Spare>, Vec<Spare>) = spares.drain(..).partition(is_kept);
            *spares = kept.into();
            (old, spares.is_empty())
        });
        old.into_iter().for_each(leave);
        if is_empty {
            IS_WATCHED.set(false);
            return;
        }
    }
}

fn leave(spare: Spare) {
    // If that does not go at once, the server finds out by the connection's end.
    let _ = spare.link.quit().now_or_never();
}
