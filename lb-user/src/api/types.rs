//! What goes over the wire. Field names are part of the API: new ones may come, none changes its meaning
//! within `/v1`.

use crate::model::{
    AdminState, AtLimit, BackendHealth, BackendName, DefaultPolicy, FlowStateWord, HealthState, NodeName,
    Protocol, ServiceName, VipName, Weight, WhenDown,
};
use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

/// `GET /v1/snapshot`: everything the agent shows, as of one moment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Snapshot {
    /// The agent and its node.
    pub status: Status,
    /// All services of the configuration.
    pub services: Vec<ServiceView>,
    /// What the dataplane counted.
    pub counters: CountersView,
    /// Virtual routers.
    pub vrrp: super::VrrpView,
    /// Sharing of flows.
    pub sync: super::SyncView,
    /// Services of databases.
    #[serde(default)]
    pub mysql: Vec<super::MysqlView>,
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
    /// What the agent takes of the machine.
    #[serde(default)]
    pub process: super::ProcessView,
    /// What it has given up.
    #[serde(default)]
    pub confinement: super::ConfinementView,
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
    /// The node that serves it; with VRRP, the one that does as long as it can.
    pub active_on: NodeName,
    /// Whether that is this node; with VRRP, whether this node serves it now, in any family.
    pub active_here: bool,
    /// Whether nodes agree by VRRP on who serves it.
    #[serde(default)]
    pub vrrp: bool,
}

/// How full a table of the program is, and what it takes. A flow takes two entries, with mode `dsr` one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TableView {
    /// `established`, `embryonic`, `services` …; `others` for all that have no name of their own.
    pub name: String,
    /// Entries in use, of flows at the last sweep; null where they are not counted.
    pub entries: Option<u64>,
    /// Entries there is room for; 0 where that says nothing.
    pub capacity: u64,
    /// Memory in bytes, as the kernel counts it.
    #[serde(default)]
    pub bytes: u64,
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
    /// Its transport protocol.
    pub protocol: Protocol,
    /// Whether backends see clients' own addresses in `nat` mode.
    #[serde(default)]
    pub keep_source: bool,
    /// Its scheduler.
    pub scheduler: String,
    /// How many flows it may have; 0 is as many as come.
    #[serde(default)]
    pub max_flows: u32,
    /// What becomes of new flows when it, or the backend whose turn it is, has as many as it may have.
    pub at_limit: AtLimit,
    /// Open flows, as of now.
    #[serde(default)]
    pub active_flows: u64,
    /// What it does with new flows when no backend can take them.
    pub when_down: WhenDown,
    /// What becomes of connections that no rule of the firewall decides about.
    pub default_policy: DefaultPolicy,
    /// Its health check in words, if it has one.
    pub health_check: Option<String>,
    /// What its connections do, where they end at this node; null in modes `nat` and `dsr`.
    #[serde(default)]
    pub proxy: Option<ProxyView>,
    /// Its backends.
    pub backends: Vec<BackendView>,
}

/// Connections of a service that end at this node.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ProxyView {
    /// Those that are open.
    pub active: u64,
    /// Those that wait for a backend with room.
    pub waiting: u64,
    /// How many ended, by how they did; what never happened is left out.
    pub ended: BTreeMap<String, u64>,
    /// The end of clients' TLS; null in mode `tcp`.
    #[serde(default)]
    pub tls: Option<super::TlsView>,
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
    /// How many flows it may have; 0 is as many as come.
    #[serde(default)]
    pub max_flows: u32,
    /// What its checks say, over all addresses.
    pub health: BackendHealth,
    /// Its addresses.
    pub addresses: Vec<AddressView>,
    /// Open flows, as of now.
    pub active_flows: u64,
    /// Whether the last sweep of the flow tables began after the last change of the configuration.
    #[serde(default)]
    pub active_flows_settled: bool,
    /// SYNs and first datagrams that took a slot of it.
    pub flows_new: u64,
    /// Completed handshakes.
    pub flows_established: u64,
    /// Handshakes it refused.
    pub flows_refused: u64,
    /// Flows it was not given, because it had as many as it may have.
    #[serde(default)]
    pub flows_over_limit: u64,
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
    /// Checks that passed, since they are made.
    #[serde(default)]
    pub checks_passed: u64,
    /// And that failed.
    #[serde(default)]
    pub checks_failed: u64,
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
    /// The transport protocol.
    pub protocol: Protocol,
    /// The client.
    pub client: SocketAddr,
    /// The VIP it addressed.
    pub vip: SocketAddr,
    /// The source that the backend sees: a NAT address, or the client's own.
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
    /// Only of backends of this name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backend: Option<BackendName>,
    /// Only of these clients: an address or a prefix.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "prefix_text")]
    pub client: Option<IpNet>,
    /// Only of this transport protocol.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub protocol: Option<Protocol>,
    /// Only in this state.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<FlowStateWord>,
    /// Only those whose clients have been silent for so long.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idle_ms: Option<u64>,
    /// At most so many; default 1000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<usize>,
}

/// A prefix as people write it: an address alone is one, too.
pub(super) mod prefix_text {
    use crate::model::parse_prefix;
    use ipnet::IpNet;
    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serializer};

    pub(in crate::api) fn serialize<S: Serializer>(
        prefix: &Option<IpNet>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match prefix {
            Some(prefix) => serializer.collect_str(prefix),
            None => serializer.serialize_none(),
        }
    }

    pub(in crate::api) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<IpNet>, D::Error> {
        let text = String::deserialize(deserializer)?;
        parse_prefix(&text).map(Some).map_err(D::Error::custom)
    }
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
    /// Of an outcome: whether these packets were dropped.
    #[serde(default)]
    pub dropped: bool,
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

/// How the warning of a change begins that waits for the agent to be restarted.
pub const WAITING: &str = "waits for a restart of the agent: ";

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
    /// A virtual router's state is another.
    VrrpChanged,
    /// Another node came or went with which flows are shared, or what is shared is another.
    SyncChanged,
    /// Something the operator should know.
    Warning,
}
