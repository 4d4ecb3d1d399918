//! What the server asks the agent to do. Each command carries the way back for its answer.

use super::{
    ApiError, ApplyReport, ApplyRequest, BackendPatch, BackendSpec, ChangeOptions, Confirmed,
    ConnectionFilter, ConnectionList, DroppedFilter, DroppedList, Event, ExplainQuestion, Explanation,
    FirewallAnswer, FirewallQuestion, FirewallView, FlowFilter, FlowList, Guide, HandOverRequest, HandedOver,
    LogPatch, LogView, MysqlDigest, MysqlKilled, MysqlPromoted, MysqlPromotion, MysqlQuestion, MysqlRoute,
    ProbeView, ReloadedService, RuleSpec, ServicePatch, ServiceSpec, Snapshot, TraceRequest, TracedPacket,
    UpgradeRequest, UpgradeStarted,
};
use crate::model::{BackendName, RuleName, ServiceName};
use std::collections::VecDeque;
use std::sync::Arc;
use tokio::sync::{mpsc, oneshot};

/// The way back.
pub type Reply<T> = oneshot::Sender<Result<T, ApiError>>;

/// A request to the agent.
#[derive(Debug)]
pub enum Command {
    /// Say everything there is to see, as of now.
    Look(Reply<Snapshot>),
    /// Say what happened, oldest first.
    PastEvents(Reply<Arc<VecDeque<Event>>>),
    /// Apply a configuration.
    Apply(ApplyRequest, Reply<ApplyReport>),
    /// Change one thing.
    Mutate(Mutation, ChangeOptions, Reply<ApplyReport>),
    /// Show the firewall.
    LookAtFirewall(Reply<FirewallView>),
    /// Say whether a connection would be let in.
    TestFirewall(FirewallQuestion, Reply<FirewallAnswer>),
    /// Say what would become of a packet.
    Explain(ExplainQuestion, Reply<Explanation>),
    /// Say what a service asks of its backends.
    Guide(ServiceName, Reply<Guide>),
    /// Ask a service's backends whether they have it.
    Probe(ServiceName, Reply<Vec<ProbeView>>),
    /// Tell about packets until the reader leaves.
    Trace(TraceRequest, Reply<mpsc::Receiver<TracedPacket>>),
    /// Make an unconfirmed change stay.
    Confirm(Reply<Confirmed>),
    /// Let the program that is on the disk now take this agent's place.
    Upgrade(UpgradeRequest, Reply<UpgradeStarted>),
    /// Read the files of TLS again.
    ReloadCertificates(Reply<Vec<ReloadedService>>),
    /// Let other nodes have VIPs.
    HandOver(HandOverRequest, Reply<HandedOver>),
    /// Say where a statement would run.
    RouteMysql(MysqlQuestion, Reply<MysqlRoute>),
    /// Say what statements cost; those that took longest together come first.
    ListDigests(ServiceName, Reply<Vec<MysqlDigest>>),
    /// Have a replica take the primary's place.
    PromoteMysql(ServiceName, MysqlPromotion, Reply<MysqlPromoted>),
    /// End a session of a database.
    KillMysql(ServiceName, u32, Reply<MysqlKilled>),
    /// Say what the log tells, after the change where there is one.
    Log(Option<LogPatch>, Reply<LogView>),
    /// List connections that end at this node.
    ListConnections(ConnectionFilter, Reply<ConnectionList>),
    /// List sources whose packets are dropped.
    ListDropped(DroppedFilter, Reply<DroppedList>),
    /// List flows.
    ListFlows(FlowFilter, Reply<FlowList>),
}

/// A change of one thing.
#[derive(Clone, Debug, PartialEq)]
pub enum Mutation {
    /// A new service.
    AddService(ServiceSpec),
    /// A service's scheduler.
    SetService(ServiceName, ServicePatch),
    /// A service goes.
    RemoveService(ServiceName),
    /// A new backend.
    AddBackend(ServiceName, BackendSpec),
    /// A backend's weight or state.
    SetBackend(ServiceName, BackendName, BackendPatch),
    /// A backend goes.
    RemoveBackend(ServiceName, BackendName),
    /// A new rule of the firewall.
    AddRule(RuleSpec),
    /// A rule goes.
    RemoveRule(RuleName),
}
