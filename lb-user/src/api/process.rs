//! What the agent's process takes of the machine.

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
}
