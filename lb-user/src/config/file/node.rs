//! The machine: its name, its interfaces, the ports it has for NAT.
//!
//! Owns the keys of `[node]`.

use serde::Deserialize;

use super::value::OneOrMany;

/// `[node]`
///
/// This machine.
#[derive(Debug, Default, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct FileNode {
    /// text | required | a name; see below for how it is changed
    pub(in crate::config) name: Option<String>,
    /// text or list | required | at least one; 1–15 characters; none twice (restart)
    pub(in crate::config) interfaces: Option<OneOrMany<String>>,
    /// text | `"2048-32767"` | `"FIRST-LAST"`, inclusive, from 1024 on, not overlapping 32768–60999; a change is for
    /// new flows
    pub(in crate::config) nat_ports: Option<String>,
    /// text | `"auto"` | `auto`, `native`, `generic` (restart)
    pub(in crate::config) attach: Option<String>,
}
