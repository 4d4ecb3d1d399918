//! The firewall over the wire.

use crate::model::{DefaultPolicy, RuleName, ServiceName};
use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

/// `GET /v1/firewall`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FirewallView {
    /// What becomes of connections to the host that no rule decides about.
    pub host_default: DefaultPolicy,
    /// Services whose connections are denied where no rule allows them.
    pub denying_services: Vec<ServiceName>,
    /// How many prefixes the kernel looks up.
    pub prefixes: u64,
    /// The rules, in their order.
    pub rules: Vec<RuleView>,
    /// A change waits to be confirmed, and is taken back after so long.
    pub confirm_within_seconds: Option<u64>,
}

/// A rule and what it did.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RuleView {
    /// Its name.
    pub name: RuleName,
    /// `allow`, `deny` or `limit`.
    pub action: String,
    /// Its sources in words.
    pub sources: String,
    /// How many prefixes they are.
    pub prefixes: u64,
    /// Its destination in words.
    pub target: String,
    /// Its limits in words.
    pub limits: Option<String>,
    /// Connections it allowed.
    pub allowed: u64,
    /// Packets it denied.
    pub denied: u64,
    /// Packets that were over its rate.
    pub over_rate: u64,
    /// Packets that were over its number of open connections.
    pub over_active: u64,
}

/// How many sources: `GET /v1/firewall/dropped?limit=20`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DroppedFilter {
    /// At most so many; default 20.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<usize>,
}

/// `GET /v1/firewall/dropped`: whose packets were dropped within the last ten minutes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct DroppedList {
    /// Those of whom most was dropped come first.
    pub sources: Vec<DroppedSourceView>,
    /// How many are remembered: the program knows up to 4096, by reason.
    pub known: usize,
}

/// A source whose packets were dropped.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DroppedSourceView {
    /// An address; of an IPv6 one its /64.
    pub source: IpNet,
    /// Packets since the first of them: counted where few are dropped (128 a second on a CPU), estimated where more are.
    pub packets: u64,
    /// Since the first of them.
    pub first_ms: u64,
    /// Since the last that was remembered.
    pub last_ms: u64,
    /// Why, the most frequent reason first.
    pub reasons: Vec<DropReason>,
}

impl DroppedSourceView {
    /// The source in words: an address alone where it is one.
    pub fn source_text(&self) -> String {
        match self.source {
            IpNet::V4(net) => net.addr().to_string(),
            IpNet::V6(net) => net.to_string(),
        }
    }
}

/// Why packets of a source were dropped.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DropReason {
    /// The outcome, as the counters name it.
    pub outcome: String,
    /// Packets.
    pub packets: u64,
}

/// What a rule to add does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ActionWord {
    /// Lets connections in.
    Allow,
    /// Drops packets.
    Deny,
    /// Lets connections in within limits.
    Limit,
}

/// A rule to add: `POST /v1/firewall/rules`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RuleSpec {
    /// Its name.
    pub name: RuleName,
    /// What it does.
    pub action: ActionWord,
    /// Its sources, where they are not in a file.
    #[serde(default)]
    pub prefixes: Vec<IpNet>,
    /// A file of prefixes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<PathBuf>,
    /// The service it is about; without one and without the host, all services.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<ServiceName>,
    /// It is about the host itself.
    #[serde(default)]
    pub host: bool,
    /// It is about one TCP port of the host itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host_port: Option<u16>,
    /// Limit: new connections a second of one source.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub new_flows_per_second: Option<u32>,
    /// Limit: how many may come at once; as many as in a second where it is absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub burst: Option<u32>,
    /// Limit: open connections of one source.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub active_flows: Option<u32>,
    /// Limit: leading bits of an IPv4 address that make a source; 32 where it is absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub per_ipv4: Option<u8>,
    /// The same for IPv6; 64 where it is absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub per_ipv6: Option<u8>,
    /// The rule to put it before; without, it comes last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<RuleName>,
}

/// What `GET /v1/firewall/test` asks: would a connection be let in?
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FirewallQuestion {
    /// Who connects.
    pub from: IpAddr,
    /// Where to.
    pub to: SocketAddr,
}

/// The answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FirewallAnswer {
    /// `allow`, `deny` or `limit`.
    pub verdict: String,
    /// The rule that says so; absent: the default policy.
    pub rule: Option<RuleName>,
    /// What was asked about: a service, or a port of the host.
    pub target: String,
}

/// `POST /v1/confirm`: the change stays.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Confirmed {
    /// Always true.
    pub confirmed: bool,
}
