//! What changes the configuration: requests, and the report of what came of them.

use crate::model::{
    AdminState, AtLimit, BackendName, Mode, Protocol, SchedulerKind, ServiceName, VipName, Weight,
};
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;

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
    /// How many flows it may have; 0 is as many as come.
    #[serde(default)]
    pub max_flows: u32,
}

fn ready() -> AdminState {
    AdminState::Ready
}

fn nat() -> Mode {
    Mode::Nat
}

fn tcp() -> Protocol {
    Protocol::Tcp
}

fn other_backend() -> AtLimit {
    AtLimit::OtherBackend
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
    /// How it forwards.
    #[serde(default = "nat")]
    pub mode: Mode,
    /// Its transport protocol.
    #[serde(default = "tcp")]
    pub protocol: Protocol,
    /// Whether backends see clients' own addresses.
    #[serde(default)]
    pub keep_source: bool,
    /// Its scheduler.
    #[serde(default = "round_robin")]
    pub scheduler: SchedulerKind,
    /// How many flows it may have; 0 is as many as come.
    #[serde(default)]
    pub max_flows: u32,
    /// What becomes of new flows at a limit.
    #[serde(default = "other_backend")]
    pub at_limit: AtLimit,
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
    /// New limit; 0 lifts it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_flows: Option<u32>,
    /// What becomes of new flows at a limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at_limit: Option<AtLimit>,
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
    /// New limit; 0 lifts it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_flows: Option<u32>,
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
