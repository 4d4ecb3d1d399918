//! The program in the kernel: where it is pinned, how large its tables are, when flows are forgotten.
//!
//! Owns the keys of `[dataplane]` and of the table inside.

use serde::Deserialize;

use super::value::DurationText;

/// `[dataplane]`
///
/// The program in the kernel and its tables.
#[derive(Debug, Default, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct FileDataplane {
    /// text | `"/sys/fs/bpf/lbctl/NODE"`, dots in the name as `_` | absolute, on a BPF file system, last part without
    /// dots (detach first, then change)
    pub(in crate::config) pin_dir: Option<String>,
    /// integer | `262144` | 1024 to 16000000 (detach)
    pub(in crate::config) established_flows: Option<i64>,
    /// integer | `65536` | 16384 to 16000000 (detach)
    pub(in crate::config) embryonic_flows: Option<i64>,
    /// integer | `65536` | 1024 to 16000000: sources that the [firewall's limits](#firewallrule) are kept for, over
    /// all rules (detach)
    pub(in crate::config) limited_sources: Option<i64>,
    /// integer | `262144` | 1024 to 1048576: source prefixes of each family in the firewall's rules. Each takes 64
    /// bytes also while it is not used (detach)
    pub(in crate::config) prefixes: Option<i64>,
    /// text | `"auto"` | `auto`, `always`, `never`: when SYNs are answered with [SYN
    /// cookies](dataplane.md#syn-cookies)
    pub(in crate::config) syn_cookies: Option<String>,
    /// table | empty | after how much silence a flow is forgotten; see [below](#dataplanetimeouts)
    #[serde(default)]
    pub(in crate::config) timeouts: FileTimeouts,
}

/// `[dataplane.timeouts]`
///
/// After how much silence a flow is forgotten.
#[derive(Debug, Default, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct FileTimeouts {
    /// duration | `"2h5m"` | flows with both directions open (RFC 5382 asks for at least 2 h 4 min)
    pub(in crate::config) established: Option<DurationText>,
    /// duration | `"4m"` | flows where one side sent FIN
    pub(in crate::config) half_closed: Option<DurationText>,
    /// duration | `"10s"` | flows where both sides sent FIN and one is not acknowledged yet, or one side sent RST; a
    /// flow whose FINs are acknowledged is forgotten at once. 1 s while the table is more than 70 % full
    pub(in crate::config) closed: Option<DurationText>,
    /// duration | `"1m"` | flows whose handshake is not complete
    pub(in crate::config) embryonic: Option<DurationText>,
    /// duration | `"2m"` | flows of datagrams, once established (RFC 4787 asks for at least 2 min); before that
    /// `embryonic`, if that is less
    pub(in crate::config) udp: Option<DurationText>,
}
