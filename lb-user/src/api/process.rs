//! What the agent's process takes of the machine, and what it may do there.

use serde::{Deserialize, Serialize};

/// In `GET /v1/status`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ProcessView {
    /// Time its threads ran, in milliseconds.
    pub cpu_ms: u64,
    /// Memory it holds.
    pub resident_bytes: u64,
    /// Open files, sockets among them.
    pub open_files: u64,
    /// Threads.
    pub threads: u64,
    /// Tasks of the agent's own, which the threads do in turn; not those of connections that end here.
    #[serde(default)]
    pub tasks: u64,
}

/// What the agent has given up, in `GET /v1/status`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfinementView {
    /// Who it runs as.
    pub user: String,
    /// Whether it has given up anything.
    pub confined: bool,
    /// Capabilities that are left.
    pub capabilities: Vec<String>,
    /// How far the kernel sees to where it writes: `all`, `partly` or `none`.
    pub files: String,
    /// Whether an agent before it gave that up.
    pub inherited: bool,
}
