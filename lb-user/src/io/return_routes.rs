//! Where answers go that are addressed to clients and are meant for this node: connections to backends that show the client's address.
//!
//! For each backend's address and port a routing rule sends what comes from there to a table of its own, that delivers everything to this host. Owns that
//! table and the rules of its priority, also those that an earlier agent left; a rule stays for as long as connections are open that need
//! it, and one that somebody took away comes back. Never touches others, nor decides who is such a backend.

mod open;

use futures_util::TryStreamExt as _;
use rtnetlink::packet_route::IpProtocol;
use rtnetlink::packet_route::route::{RouteScope, RouteType};
use rtnetlink::packet_route::rule::{RuleAction, RuleAttribute, RuleMessage, RulePortRange};
use rtnetlink::{Handle, IpVersion, RouteMessageBuilder};
use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tracing::debug;

/// The table, and the priority of its rules: before the host's own tables, after the one of its addresses.
const TABLE: u32 = 8788;
const PRIORITY: u32 = 8788;
/// How often it is looked whether rules are there that should be, and are not needed any more that are.
const LOOKED_AT_EVERY: Duration = Duration::from_secs(5);
/// The loopback interface, in every network namespace.
const LOOPBACK_INDEX: u32 = 1;

/// The task that keeps rules as they should be.
pub struct ReturnRoutes {
    wanted: watch::Sender<Wanted>,
    task: JoinHandle<()>,
}

impl ReturnRoutes {
    /// Starts it. What went wrong comes by the channel, in words. Needs a tokio runtime.
    pub fn spawn(failed: mpsc::UnboundedSender<String>) -> Self {
        let (wanted, wants) = watch::channel(Wanted { set: BTreeSet::new(), unwanted: Unwanted::KeepInUse });
        let task = tokio::spawn(keep(wants, failed));
        Self { wanted, task }
    }

    /// From now on what comes from these is delivered here.
    pub fn follow(&self, set: BTreeSet<SocketAddr>) {
        self.wanted.send_if_modified(|before| std::mem::replace(&mut before.set, set.clone()) != set);
    }

    /// Takes all away, and waits for that. Where it is dropped instead, rules stay as they are: another agent goes on with them.
    pub async fn finish(self) {
        self.wanted.send_replace(Wanted { set: BTreeSet::new(), unwanted: Unwanted::Remove });
        drop(self.wanted);
        // It ends as it should, or has said why not.
        let _ = self.task.await;
    }
}

/// Takes away what an agent left that is not there any more.
///
/// # Errors
/// The kernel refused: why.
pub async fn remove_all() -> Result<(), rtnetlink::Error> {
    follow(&BTreeSet::new(), Unwanted::Remove).await.map(drop)
}

/// The rules that shall be.
#[derive(Clone)]
struct Wanted {
    set: BTreeSet<SocketAddr>,
    unwanted: Unwanted,
}

/// A first look that fails is tried that often where nothing is wanted.
const LOOKS_IN_VAIN: u32 = 3;

/// What becomes of rules that are not wanted.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Unwanted {
    /// They go.
    Remove,
    /// They stay while connections need them.
    KeepInUse,
}

async fn keep(mut wants: watch::Receiver<Wanted>, failed: mpsc::UnboundedSender<String>) {
    let (mut told, mut failures) = (None, 0);
    loop {
        let Wanted { set, unwanted } = wants.borrow_and_update().clone();
        if wants.has_changed().is_err() && unwanted != Unwanted::Remove {
            return;
        }
        let followed = follow(&set, unwanted).await;
        failures = if followed.is_err() { failures + 1 } else { 0 };
        let is_settled = matches!(followed, Ok(false)) || failures >= LOOKS_IN_VAIN;
        let is_at_rest = set.is_empty() && is_settled;
        match followed.err().map(|error| error.to_string()) {
            // A host without IPv6, say: where none are wanted that is nobody's trouble.
            Some(why) if set.is_empty() => debug!(why, "rules of an earlier agent are not looked at"),
            Some(why) if told.as_ref() != Some(&why) => {
                // An agent that is gone needs no words.
                let _ = failed.send(format!("answers of backends to transparent connections: {why}"));
                told = Some(why);
            }
            Some(_) => {}
            None => told = None,
        }
        if unwanted == Unwanted::Remove {
            return;
        }
        if is_at_rest {
            // An end is a change, too.
            let _ = wants.changed().await;
        } else {
            let _ = timeout(LOOKED_AT_EVERY, wants.changed()).await;
        }
    }
}

/// Whether rules are left that are not wanted.
async fn follow(wanted: &BTreeSet<SocketAddr>, unwanted: Unwanted) -> Result<bool, rtnetlink::Error> {
    let (connection, handle, _) = rtnetlink::new_connection().map_err(|_| rtnetlink::Error::RequestFailed)?;
    let connection = tokio::spawn(connection);
    let followed = follow_by(&handle, wanted, unwanted).await;
    connection.abort();
    followed
}

async fn follow_by(
    handle: &Handle,
    wanted: &BTreeSet<SocketAddr>,
    unwanted: Unwanted,
) -> Result<bool, rtnetlink::Error> {
    let (mut missing, mut gone) = (wanted.clone(), Vec::new());
    for version in [IpVersion::V4, IpVersion::V6] {
        let mut rules = handle.rule().get(version).execute();
        while let Some(rule) = rules.try_next().await? {
            if is_ours(&rule) && !source(&rule).is_some_and(|source| missing.remove(&source)) {
                gone.push(rule);
            }
        }
    }
    let in_use = match unwanted {
        Unwanted::KeepInUse if !gone.is_empty() => {
            let unwanted = gone.iter().filter_map(source).collect();
            // The kernel's list may be long.
            tokio::task::spawn_blocking(move || open::shown_to(&unwanted)).await.unwrap_or_default()
        }
        _ => BTreeSet::new(),
    };
    for rule in gone {
        if !source(&rule).is_some_and(|source| in_use.contains(&source)) {
            handle.rule().del(rule).execute().await?;
        }
    }
    for is_v4 in [true, false] {
        if wanted.iter().chain(&in_use).any(|at| at.is_ipv4() == is_v4) {
            deliver_all(handle, is_v4).await?;
        }
    }
    for at in missing {
        add(handle, at).await?;
    }
    Ok(!in_use.is_empty())
}

fn is_ours(rule: &RuleMessage) -> bool {
    rule.attributes.contains(&RuleAttribute::Priority(PRIORITY))
        && rule.attributes.contains(&RuleAttribute::Table(TABLE))
}

/// Whom a rule is about.
fn source(rule: &RuleMessage) -> Option<SocketAddr> {
    let address = rule.attributes.iter().find_map(|attribute| match attribute {
        RuleAttribute::Source(address) => Some(*address),
        _ => None,
    });
    let port = rule.attributes.iter().find_map(|attribute| match attribute {
        RuleAttribute::SourcePortRange(range) if range.start == range.end => Some(range.start),
        _ => None,
    });
    Some(SocketAddr::new(address?, port?))
}

/// In the table everything is this host's.
async fn deliver_all(handle: &Handle, is_v4: bool) -> Result<(), rtnetlink::Error> {
    let route = if is_v4 {
        let route = RouteMessageBuilder::<Ipv4Addr>::new().destination_prefix(Ipv4Addr::UNSPECIFIED, 0);
        route
            .table_id(TABLE)
            .kind(RouteType::Local)
            .scope(RouteScope::Host)
            .output_interface(LOOPBACK_INDEX)
            .build()
    } else {
        let route = RouteMessageBuilder::<Ipv6Addr>::new().destination_prefix(Ipv6Addr::UNSPECIFIED, 0);
        route.table_id(TABLE).kind(RouteType::Local).output_interface(LOOPBACK_INDEX).build()
    };
    handle.route().add(route).replace().execute().await
}

async fn add(handle: &Handle, at: SocketAddr) -> Result<(), rtnetlink::Error> {
    let range = RuleAttribute::SourcePortRange(RulePortRange { start: at.port(), end: at.port() });
    let rule = handle.rule().add().table_id(TABLE).priority(PRIORITY).action(RuleAction::ToTable);
    let more = [RuleAttribute::IpProtocol(IpProtocol::Tcp), range];
    match at.ip() {
        IpAddr::V4(address) => {
            let mut rule = rule.v4().source_prefix(address, 32);
            rule.message_mut().attributes.extend(more);
            rule.execute().await
        }
        IpAddr::V6(address) => {
            let mut rule = rule.v6().source_prefix(address, 128);
            rule.message_mut().attributes.extend(more);
            rule.execute().await
        }
    }
}
