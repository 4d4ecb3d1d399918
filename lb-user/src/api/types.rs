//! What goes over the wire. Field names are part of the API: new ones may come, none changes its meaning
//! within `/v1`.

use crate::model::{
    AdminState, BackendHealth, BackendName, DefaultPolicy, HealthState, NodeName, SchedulerKind, ServiceName,
    VipName, Weight, WhenDown,
};
use serde::{Deserialize, Serialize};
use std::net::{IpAddr, SocketAddr};

/// Everything the agent shows, as of one moment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Snapshot {
    /// The agent and its node.
    pub status: Status,
    /// All services of the configuration.
    pub services: Vec<ServiceView>,
    /// What the dataplane counted.
    pub counters: CountersView,
}

/// `GET /v1/status`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// This node.
    pub node: NodeName,
    /// The agent's release.
    pub version: String,
    /// Its process.
    pub pid: u32,
    /// Since its start.
    pub uptime_seconds: u64,
    /// The configuration file.
    pub config_file: String,
    /// Whether the running configuration has changes that the file has not (`--runtime-only`).
    pub runtime_changes: bool,
    /// Interfaces and how the program runs there.
    pub interfaces: Vec<InterfaceView>,
    /// VIPs, those of other nodes too.
    pub vips: Vec<VipView>,
    /// Flow tables.
    pub tables: Vec<TableView>,
    /// How many services there are, and of them how many without any backend that takes flows.
    pub services: u64,
    /// Services where no backend takes new flows.
    pub services_without_backend: u64,
    /// Things the operator should know.
    pub warnings: Vec<String>,
}

/// An interface with the program on it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct InterfaceView {
    /// Its name.
    pub name: String,
    /// `native` or `generic`.
    pub xdp_mode: String,
}

/// A VIP.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct VipView {
    /// Its name.
    pub name: VipName,
    /// Its addresses.
    pub addresses: Vec<IpAddr>,
    /// The interface it is on.
    pub interface: String,
    /// The node that serves it.
    pub active_on: NodeName,
    /// Whether that is this node.
    pub active_here: bool,
}

/// How full a flow table is. A flow takes two entries.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TableView {
    /// `established` or `embryonic`.
    pub name: String,
    /// Entries in use at the last sweep.
    pub entries: u64,
    /// Entries there is room for.
    pub capacity: u64,
}

/// A service.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ServiceView {
    /// Its name.
    pub name: ServiceName,
    /// VIP names.
    pub vips: Vec<VipName>,
    /// Addresses it is served at on this node.
    pub listen: Vec<SocketAddr>,
    /// Its port.
    pub port: u16,
    /// Its mode.
    pub mode: String,
    /// Its scheduler.
    pub scheduler: String,
    /// What it does with new flows when no backend can take them.
    pub when_down: WhenDown,
    /// What becomes of connections that no rule of the firewall decides about.
    pub default_policy: DefaultPolicy,
    /// Its health check in words, if it has one.
    pub health_check: Option<String>,
    /// Its backends.
    pub backends: Vec<BackendView>,
}

/// A backend of a service.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BackendView {
    /// Its service.
    pub service: ServiceName,
    /// Its name.
    pub name: BackendName,
    /// Its weight.
    pub weight: Weight,
    /// What the operator wants.
    pub state: AdminState,
    /// What its checks say, over all addresses.
    pub health: BackendHealth,
    /// Its addresses.
    pub addresses: Vec<AddressView>,
    /// Open flows at the last sweep.
    pub active_flows: u64,
    /// Whether that sweep began after the last change of the configuration.
    #[serde(default)]
    pub active_flows_settled: bool,
    /// SYNs that took a slot of it.
    pub flows_new: u64,
    /// Completed handshakes.
    pub flows_established: u64,
    /// Handshakes it refused.
    pub flows_refused: u64,
    /// Packets to it.
    pub forward_packets: u64,
    /// Their IP bytes.
    pub forward_bytes: u64,
    /// Packets from it.
    pub reverse_packets: u64,
    /// Their IP bytes.
    pub reverse_bytes: u64,
}

/// One address of a backend.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AddressView {
    /// The address.
    pub address: SocketAddr,
    /// What its checks say; `unknown` without checks.
    pub health: HealthState,
    /// The last check's result in words.
    pub last_check: Option<String>,
    /// How long the last check took.
    pub last_check_us: Option<u64>,
    /// Slots of the current slot table it has.
    pub slots: u64,
}

/// The check of one address of a backend: `GET /v1/health`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CheckView {
    /// The service.
    pub service: ServiceName,
    /// The backend.
    pub backend: BackendName,
    /// Its address.
    pub address: SocketAddr,
    /// What the operator wants of the backend.
    pub state: AdminState,
    /// What the checks say; `unknown` without checks.
    pub health: HealthState,
    /// The last check's result in words.
    pub last_check: Option<String>,
    /// How long the last check took.
    pub last_check_us: Option<u64>,
}

/// A flow.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FlowView {
    /// Its service, if that still exists.
    pub service: Option<ServiceName>,
    /// Its backend's name, if that still exists.
    pub backend_name: Option<BackendName>,
    /// The client.
    pub client: SocketAddr,
    /// The VIP it addressed.
    pub vip: SocketAddr,
    /// The source towards the backend.
    pub nat: SocketAddr,
    /// The backend.
    pub backend: SocketAddr,
    /// `embryonic`, `established`, `half-closed` or `closed`.
    pub state: String,
    /// Since the client's last packet.
    pub idle_ms: u64,
    /// Packets from the client.
    pub forward_packets: u64,
    /// Their IP bytes.
    pub forward_bytes: u64,
}

/// `GET /v1/flows`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FlowList {
    /// Flows, in no order.
    pub flows: Vec<FlowView>,
    /// Whether the limit left some out.
    pub truncated: bool,
}

/// Which flows: `GET /v1/flows?service=web&limit=100`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FlowFilter {
    /// Only of this service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<ServiceName>,
    /// Only of this client address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client: Option<IpAddr>,
    /// At most so many; default 1000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<usize>,
}

/// A counter.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CounterView {
    /// Its name.
    pub name: String,
    /// Packets, or times.
    pub count: u64,
    /// What it counts.
    pub description: String,
}

/// `GET /v1/counters`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct CountersView {
    /// Every packet is in exactly one of these.
    pub outcomes: Vec<CounterView>,
    /// What happened on the way.
    pub occurrences: Vec<CounterView>,
}

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// Counts up from 1 at the agent's start.
    pub sequence: u64,
    /// Milliseconds since 1970.
    pub at_unix_ms: u64,
    /// What kind of event.
    pub kind: EventKind,
    /// What happened, in words.
    pub message: String,
}

/// Kinds of events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EventKind {
    /// The agent started.
    AgentStarted,
    /// A backend address went up or down.
    HealthChanged,
    /// The configuration changed.
    ConfigChanged,
    /// A change was refused.
    ConfigRefused,
    /// Flows of a backend were cut.
    FlowsCut,
    /// Something the operator should know.
    Warning,
}

/// `POST /v1/config`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ApplyRequest {
    /// The new file's text; absent: what the agent's file says now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// What to call the text in errors.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file_name: Option<String>,
    /// Only say what would change.
    #[serde(default)]
    pub dry_run: bool,
    /// Take the change back unless it is confirmed within so many seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confirm_within_seconds: Option<u64>,
}

/// What a change did, or would do.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ApplyReport {
    /// The changes, each a sentence.
    pub changes: Vec<String>,
    /// Those of them that need a restart of the agent to take effect.
    pub need_restart: Vec<String>,
    /// Whether they were made.
    pub applied: bool,
    /// Whether the file has them too.
    pub saved: bool,
    /// They are taken back after so many seconds, unless confirmed; only then are they saved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confirm_within_seconds: Option<u64>,
}

/// A backend to add: `POST /v1/services/NAME/backends`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BackendSpec {
    /// Its name.
    pub name: BackendName,
    /// Its addresses with ports.
    pub address: Vec<SocketAddr>,
    /// Its weight.
    #[serde(default)]
    pub weight: Weight,
    /// Its state.
    #[serde(default = "ready")]
    pub state: AdminState,
}

fn ready() -> AdminState {
    AdminState::Ready
}

fn round_robin() -> SchedulerKind {
    SchedulerKind::RoundRobin
}

/// A service to add: `POST /v1/services`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServiceSpec {
    /// Its name.
    pub name: ServiceName,
    /// Its VIPs.
    pub vips: Vec<VipName>,
    /// Its port.
    pub port: u16,
    /// Its scheduler.
    #[serde(default = "round_robin")]
    pub scheduler: SchedulerKind,
    /// Path of an HTTP check; absent: a TCP check.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub check_path: Option<String>,
    /// No health check at all.
    #[serde(default)]
    pub no_check: bool,
    /// Its backends.
    #[serde(default)]
    pub backends: Vec<BackendSpec>,
}

/// A service's new settings: `PATCH /v1/services/NAME`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServicePatch {
    /// New scheduler.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scheduler: Option<SchedulerKind>,
}

/// A backend's new settings: `PATCH /v1/services/NAME/backends/NAME`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BackendPatch {
    /// New weight.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight: Option<Weight>,
    /// New state.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<AdminState>,
}

/// How a change is made: `?runtime_only=true&force=true`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChangeOptions {
    /// Leave the file alone.
    #[serde(default)]
    pub runtime_only: bool,
    /// Also cut the flows of what is removed.
    #[serde(default)]
    pub force: bool,
    /// Take the change back unless it is confirmed within so many seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confirm_within_seconds: Option<u64>,
}
