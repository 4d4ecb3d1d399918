//! What is asked and said when one agent takes another one's place.

use serde::{Deserialize, Serialize};

/// How to do it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UpgradeRequest {
    /// For how long the agent that goes serves connections that are open, in seconds; an hour when it is not said.
    #[serde(default)]
    pub drain_seconds: Option<u64>,
}

/// That it has begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UpgradeStarted {
    /// The process of the agent that comes.
    pub pid: u32,
    /// Connections that were open at the one that goes.
    pub connections: u32,
    /// For how long it serves them.
    pub drain_seconds: u64,
}
