//! With whom a node shares its flows.
//!
//! Owns the keys of `[sync]`.

use serde::Deserialize;

use super::value::{DurationText, OneOrMany};

/// `[sync]`
///
/// With whom this node shares its flows.
#[derive(Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct FileSync {
    /// text | required | this node's own address, no VIP, with or without a port (8788)
    pub(in crate::config) address: Option<String>,
    /// text or list | required | the other nodes' `address`es, of the same family
    pub(in crate::config) peers: Option<OneOrMany<String>>,
    /// text | required | absolute; a file with at least 32 bytes that all nodes share, and nobody but its owner may
    /// read
    pub(in crate::config) key_file: Option<String>,
    /// duration | `"3s"` | for how long after a VIP came packets of unknown flows are dropped, not reset; at most 60
    /// s
    pub(in crate::config) grace: Option<DurationText>,
    /// duration | `"30s"` | for how long after its start the node waits for others' flows before it takes a VIP from
    /// one that serves it; at most 1 h
    pub(in crate::config) join_timeout: Option<DurationText>,
}
