//! Who may reach what.
//!
//! Owns the keys of `[firewall]` and of its rules.

use serde::Deserialize;

use super::value::FileSources;

/// `[firewall]`
///
/// Who may reach what.
#[derive(Debug, Default, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct FileFirewall {
    /// text | `"allow"` | `allow`, `deny`: what becomes of connections to the host itself that no rule decides about
    pub(in crate::config) host_default: Option<String>,
    /// tables | none | `[[firewall.rule]]`: the [rules](#firewallrule)
    #[serde(default)]
    pub(in crate::config) rule: Vec<FileRule>,
}

/// `[[firewall.rule]]`
///
/// Whom a rule is about, and what becomes of them.
#[derive(Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct FileRule {
    /// text | required | unique among the rules
    pub(in crate::config) name: Option<String>,
    /// text, list or `{ file = "/PATH" }` | required: one of `allow`, `deny`, `limit` | whose connections are let in:
    /// prefixes such as `"198.51.100.0/24"`, addresses, `"any"` for everybody
    pub(in crate::config) allow: Option<FileSources>,
    /// text, list or `{ file = "/PATH" }` | required: one of `allow`, `deny`, `limit` | whose packets are dropped
    /// silently; written as `allow` is
    pub(in crate::config) deny: Option<FileSources>,
    /// text, list or `{ file = "/PATH" }` | required: one of `allow`, `deny`, `limit` | whose connections are let in
    /// within the limits of each source; written as `allow` is
    pub(in crate::config) limit: Option<FileSources>,
    /// text | all services | a service in this file
    pub(in crate::config) service: Option<String>,
    /// boolean | `false` | the rule is about the host itself: all its TCP ports
    pub(in crate::config) host: Option<bool>,
    /// integer | none | the rule is about this TCP port of the host itself
    pub(in crate::config) host_port: Option<i64>,
    /// integer | none | `limit` only; 1 to 1000000, for each source
    pub(in crate::config) new_flows_per_second: Option<i64>,
    /// integer | as many as in a second | `limit` only; how many may come at once, 1 to 1000000
    pub(in crate::config) burst: Option<i64>,
    /// integer | none | `limit` only, not for the host; open connections of each source, 1 to 16000000
    pub(in crate::config) active_flows: Option<i64>,
    /// integer | `32` | `limit` only; how many leading bits of an IPv4 address make a source
    pub(in crate::config) per_ipv4: Option<i64>,
    /// integer | `64` | `limit` only; how many leading bits of an IPv6 address make a source
    pub(in crate::config) per_ipv6: Option<i64>,
}
