//! Where answers go that are addressed to clients and are meant for this node: connections to backends that show the client's address.
//!
//! For each backend's address and port a routing rule sends what comes from there to a table of its own, that delivers everything to this host. Owns that
//! table and the rules of its priority, also those that an earlier agent left. Never touches others, nor decides who is such a backend.

use futures_util::TryStreamExt as _;
use rtnetlink::packet_route::IpProtocol;
use rtnetlink::packet_route::route::{RouteScope, RouteType};
use rtnetlink::packet_route::rule::{RuleAction, RuleAttribute, RuleMessage, RulePortRange};
use rtnetlink::{Handle, IpVersion, RouteMessageBuilder};
use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

/// The table, and the priority of its rules: before the host's own tables, after the one of its addresses.
const TABLE: u32 = 8788;
const PRIORITY: u32 = 8788;
/// The loopback interface, in every network namespace.
const LOOPBACK_INDEX: u32 = 1;

/// The task that keeps rules as they should be.
pub struct ReturnRoutes {
    wanted: watch::Sender<BTreeSet<SocketAddr>>,
    task: JoinHandle<()>,
}

impl ReturnRoutes {
    /// Starts it. What went wrong comes by the channel, in words. Needs a tokio runtime.
    pub fn spawn(failed: mpsc::UnboundedSender<String>) -> Self {
        let (wanted, mut wants) = watch::channel(BTreeSet::new());
        let task = tokio::spawn(async move {
            // Where none are wanted, and none were, others' routing is not even looked at.
            let mut is_first = true;
            loop {
                let set: BTreeSet<SocketAddr> = wants.borrow_and_update().clone();
                if (!is_first || !set.is_empty())
                    && let Err(error) = follow(&set).await
                {
                    // An agent that is gone needs no words.
                    let _ = failed.send(format!("answers of backends to transparent connections: {error}"));
                }
                is_first = false;
                if wants.changed().await.is_err() {
                    return;
                }
            }
        });
        Self { wanted, task }
    }

    /// From now on what comes from these is delivered here.
    pub fn follow(&self, wanted: BTreeSet<SocketAddr>) {
        self.wanted.send_if_modified(|before| std::mem::replace(before, wanted.clone()) != wanted);
    }

    /// Takes all away, and waits for that.
    pub async fn finish(self) {
        self.follow(BTreeSet::new());
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
    follow(&BTreeSet::new()).await
}

async fn follow(wanted: &BTreeSet<SocketAddr>) -> Result<(), rtnetlink::Error> {
    let (connection, handle, _) = rtnetlink::new_connection().map_err(|_| rtnetlink::Error::RequestFailed)?;
    let connection = tokio::spawn(connection);
    let followed = follow_by(&handle, wanted).await;
    connection.abort();
    followed
}

async fn follow_by(handle: &Handle, wanted: &BTreeSet<SocketAddr>) -> Result<(), rtnetlink::Error> {
    let mut missing = wanted.clone();
    for version in [IpVersion::V4, IpVersion::V6] {
        let mut rules = handle.rule().get(version).execute();
        let mut gone = Vec::new();
        while let Some(rule) = rules.try_next().await? {
            if rule.attributes.contains(&RuleAttribute::Priority(PRIORITY))
                && !source(&rule).is_some_and(|source| missing.remove(&source))
            {
                gone.push(rule);
            }
        }
        for rule in gone {
            handle.rule().del(rule).execute().await?;
        }
    }
    for is_v4 in [true, false] {
        if missing.iter().any(|at| at.is_ipv4() == is_v4) {
            deliver_all(handle, is_v4).await?;
        }
    }
    for at in missing {
        add(handle, at).await?;
    }
    Ok(())
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
