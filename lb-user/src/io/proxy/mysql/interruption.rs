//! What may come in between while a command runs: its backend is lost, or somebody wants it to end.
//!
//! Owns the waiting for that, and the `KILL` that is sent to a server.

use super::super::Served;
use super::super::account::BackendAccount;
use super::super::connection::Ends;
use super::super::terms::Part;
use super::backends::who;
use super::link::{ANSWERED_WITHIN, Link, LinkError, UTF8MB4_GENERAL_CI, Who};
use super::login::Client;
use crate::core::mysql::session::Target;
use crate::core::mysql::sql::Kill;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use tokio::sync::{Notify, watch};
use tokio::time::timeout;
use tracing::debug;

/// A backend that does not answer any more, not even those who ask what it is, or whose connections an operator wants to end. A primary that is
/// silent is waited for until there is another one.
pub(super) struct Gone {
    service: watch::Receiver<Arc<Served>>,
    address: SocketAddr,
    target: Target,
    cut: Option<(Arc<BackendAccount>, u64)>,
}

impl Gone {
    pub(super) fn of(link: &Link, target: Target, service: &watch::Receiver<Arc<Served>>) -> Self {
        let cut = link.place.as_ref().map(|place| (place.backend.clone(), link.cuts));
        Self { service: service.clone(), address: link.address, target, cut }
    }

    /// Until that is so.
    pub(super) async fn wait(&mut self) {
        let cut = self.cut.clone();
        tokio::select! {
            () = cut_of(cut) => {}
            () = self.silence() => {}
        }
    }

    async fn silence(&mut self) {
        loop {
            let is_gone = {
                let served = self.service.borrow_and_update();
                let has_another =
                    served.terms.mysql.as_ref().is_some_and(|plan| plan.parts.contains(&Part::Primary));
                let is_silent = served.part(self.address) == Some(Part::Silent);
                is_silent && (self.target == Target::Replica || has_another)
            };
            if is_gone {
                return;
            }
            if self.service.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }
}

/// Until the operator wants the connections of a backend to end.
pub(super) async fn cut_of(cut: Option<(Arc<BackendAccount>, u64)>) {
    let Some((account, cuts)) = cut else { return std::future::pending().await };
    loop {
        let mut wanted = pin!(account.cut_wanted());
        // From here on it is not missed; before, it has been counted.
        wanted.as_mut().enable();
        if account.cuts() != cuts {
            return;
        }
        wanted.await;
    }
}

/// Who may want a statement to end while it runs, and what it takes to end it.
pub(super) struct Interruption<'a> {
    pub(super) cancel: &'a Notify,
    pub(super) ends: Ends,
    pub(super) served: &'a Served,
}

impl Interruption<'_> {
    /// Ends what a connection runs, or the connection, by another one of the same user.
    pub(super) async fn kill(&self, what: Kill, address: SocketAddr, thread: u32, client: &Client) {
        let own = who(&client.identity, None, client.capabilities);
        let who = Who { collation: UTF8MB4_GENERAL_CI, attributes: None, ..own };
        let sql = match what {
            Kill::Query => format!("KILL QUERY {thread}"),
            Kill::Connection | Kill::Other => format!("KILL {thread}"),
        };
        let killed = timeout(ANSWERED_WITHIN, async {
            let ends = (self.ends.client, self.ends.vip);
            let mut other = Link::open(address, ends, &self.served.terms, &who).await?;
            other.tell(sql.as_bytes()).await?;
            other.quit().await;
            Ok::<(), LinkError>(())
        });
        match killed.await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => debug!(%error, "a statement was not ended"),
            Err(_) => debug!("a statement was not ended in time"),
        }
    }
}
