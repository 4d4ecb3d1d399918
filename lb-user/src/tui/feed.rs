//! News of agents: asked for once a second, events as they happen.
//!
//! Owns the tasks that ask. An agent that does not answer is asked again, for as long as it takes. Decides nothing.

use super::app::Scope;
use crate::api::client::{Client, ClientError};
use crate::api::{ConnectionList, DroppedList, Event, FirewallView, FlowList, MysqlDigest, Snapshot};
use crate::model::ServiceName;
use hyper::Method;
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, watch};

const ASKED_EVERY: Duration = Duration::from_secs(1);
/// An agent that hangs keeps its socket open and says nothing.
const ANSWERS_WITHIN: Duration = Duration::from_secs(3);

/// What a node shows.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    pub(super) snapshot: Snapshot,
    pub(super) firewall: FirewallView,
    /// When it was asked for.
    pub(super) at: Instant,
}

/// What goes through a node, one by one.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Open {
    pub(super) flows: FlowList,
    /// Those that end there.
    pub(super) connections: ConnectionList,
}

/// What statements cost, by service.
pub(super) type Digests = Vec<(ServiceName, Vec<MysqlDigest>)>;

/// What is asked for only while somebody looks at it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    Flows(Scope),
    Digests(Scope),
    Dropped(Scope),
}

/// Something that is news; the number is the node's.
#[derive(Debug)]
pub(super) enum News {
    /// This is how it is now.
    Seen(usize, Box<Seen>),
    /// It does not answer: why, and since when that is known.
    Lost(usize, String, Instant),
    /// Something happened there. After a new connection what is known already comes again.
    Happened(usize, Event),
    /// Flows and connections, where they were wanted.
    Open(usize, Box<Open>),
    /// What statements of services of databases cost, where that was wanted.
    Digests(usize, Digests),
    /// Whose packets are dropped, where that was wanted.
    Dropped(usize, DroppedList),
    /// What became of something the user wanted.
    Done(usize, Result<String, String>),
}

/// Where news go.
type Inputs<I> = mpsc::UnboundedSender<I>;

/// A node's name until it has said its own.
pub(super) fn label(client: &Client) -> String {
    client.socket().file_stem().map_or_else(String::new, |name| name.to_string_lossy().into_owned())
}

/// Starts asking.
pub(super) fn spawn<I: Send + 'static>(
    clients: &[Client],
    inputs: &Inputs<I>,
    wrap: fn(News) -> I,
) -> watch::Sender<Option<Wanted>> {
    let (wants, wanted) = watch::channel(None);
    for (node, client) in clients.iter().enumerate() {
        tokio::spawn(look(node, client.clone(), inputs.clone(), wrap, wanted.clone()));
        tokio::spawn(follow(node, client.clone(), inputs.clone(), wrap));
    }
    wants
}

async fn look<I: Send>(
    node: usize,
    client: Client,
    inputs: Inputs<I>,
    wrap: fn(News) -> I,
    mut wanted: watch::Receiver<Option<Wanted>>,
) {
    let mut tick = tokio::time::interval(ASKED_EVERY);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        // Who turns to them does not wait for the next second.
        tokio::select! {
            _ = tick.tick() => {}
            changed = wanted.changed() => if changed.is_err() { return },
        }
        let at = Instant::now();
        let mut databases = Vec::new();
        let news = match in_time(ask(&client, at)).await {
            Ok(seen) => {
                databases.extend(seen.snapshot.mysql.iter().map(|view| view.service.clone()));
                News::Seen(node, Box::new(seen))
            }
            Err(why) => News::Lost(node, why, at),
        };
        if inputs.send(wrap(news)).is_err() {
            return;
        }
        let wanted = *wanted.borrow_and_update();
        let news = match wanted {
            Some(Wanted::Flows(scope)) if scope.has(node) => {
                let open = in_time(open(&client)).await;
                open.ok().map(|open| News::Open(node, Box::new(open)))
            }
            Some(Wanted::Digests(scope)) if scope.has(node) => {
                let all = in_time(digests(&client, databases)).await;
                all.ok().map(|all| News::Digests(node, all))
            }
            Some(Wanted::Dropped(scope)) if scope.has(node) => {
                let dropped = in_time(client.get("/firewall/dropped")).await;
                dropped.ok().map(|dropped| News::Dropped(node, dropped))
            }
            _ => None,
        };
        // The next look finds out that nobody listens.
        let _ = news.map(|news| inputs.send(wrap(news)));
    }
}

async fn open(client: &Client) -> Result<Open, ClientError> {
    let flows = client.get("/flows?limit=500").await?;
    Ok(Open { flows, connections: client.get("/connections?limit=500").await? })
}

async fn digests(client: &Client, services: Vec<ServiceName>) -> Result<Digests, ClientError> {
    let mut all = Vec::with_capacity(services.len());
    for service in services {
        let digests = client.get(&format!("/mysql/{service}/digests")).await?;
        all.push((service, digests));
    }
    Ok(all)
}

async fn ask(client: &Client, at: Instant) -> Result<Seen, ClientError> {
    Ok(Seen { snapshot: client.get("/snapshot").await?, firewall: client.get("/firewall").await?, at })
}

/// An answer, or in words why there is none.
pub(super) async fn in_time<T>(answer: impl Future<Output = Result<T, ClientError>>) -> Result<T, String> {
    match tokio::time::timeout(ANSWERS_WITHIN, answer).await {
        Ok(answer) => answer.map_err(|error| error.to_string()),
        Err(_) => Err(format!("its agent does not answer within {} s", ANSWERS_WITHIN.as_secs())),
    }
}

async fn follow<I: Send + 'static>(node: usize, client: Client, inputs: Inputs<I>, wrap: fn(News) -> I) {
    while !inputs.is_closed() {
        let told = client.lines::<()>(Method::GET, "/events?follow=true", None, |line| {
            let event: Option<Event> = serde_json::from_str(line).ok();
            event.is_none_or(|event| inputs.send(wrap(News::Happened(node, event))).is_ok())
        });
        // Why it ended is told by whoever looks.
        let _ = told.await;
        tokio::time::sleep(ASKED_EVERY).await;
    }
}
