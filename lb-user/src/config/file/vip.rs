//! Addresses that clients know, and how nodes agree on who has them.
//!
//! Owns the keys of `[vip.NAME]` and of the table inside.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::value::{DurationText, OneOrMany};

/// `[vip.NAME]`
///
/// Addresses that clients know.
#[derive(Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct FileVip {
    /// text or list | required | each address once in the file
    pub(in crate::config) address: Option<OneOrMany<String>>,
    /// text | first of `node.interfaces` | one of `node.interfaces`
    pub(in crate::config) interface: Option<String>,
    /// text | this node | a name: the node that serves it
    pub(in crate::config) active_on: Option<String>,
    /// table | none | see [below](#vipnamevrrp)
    pub(in crate::config) vrrp: Option<FileVrrp>,
}

/// `[vip.NAME.vrrp]`
///
/// The virtual routers of a VIP.
#[derive(Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct FileVrrp {
    /// integer | required | 1 to 255, the same on all nodes; one for each VIP of an interface
    pub(in crate::config) id: Option<i64>,
    /// integer | 200 on the node of `active_on`, else 100 | 1 to 254; 255 is the owner, which takes the addresses at
    /// once and yields to nobody but another owner
    pub(in crate::config) priority: Option<i64>,
    /// duration | `"1s"` | between two advertisements: `"10ms"` to `"40.95s"`, whole hundredths of a second
    pub(in crate::config) interval: Option<DurationText>,
    /// boolean | `true` | whether the node takes the addresses from one of lower priority
    pub(in crate::config) preempt: Option<bool>,
    /// duration | `"0"` | for how long after its start it does not; at most 1000 s
    pub(in crate::config) preempt_delay: Option<DurationText>,
    /// text or list | none: the multicast group | addresses that advertisements are sent to; others are not heeded
    /// then
    pub(in crate::config) peers: Option<OneOrMany<String>>,
    /// text | `"pseudo-header"` | `pseudo-header`, `message`: what the checksum of IPv4 advertisements covers
    pub(in crate::config) checksum: Option<String>,
    /// table | none | tracker = what is taken off the priority while it is down, 1 to 254: `track = { uplink = 150
    /// }`. The priority stays above 0; the owner's stays as it is
    #[serde(default)]
    pub(in crate::config) track: BTreeMap<String, i64>,
    /// text | none | VIPs with the same group move together; they must have the same `priority` and `preempt`
    pub(in crate::config) group: Option<String>,
    /// boolean | `true` | whether the host is reached at the addresses beside the services: pings, and ports that no
    /// service has (RFC 9568's Accept_Mode). With `false` the program drops these (`not_accepted`), but answers who
    /// has the addresses, and lets ICMP errors in. Priority 255 needs `true`
    pub(in crate::config) accept: Option<bool>,
    /// integer | `5` | so many times within `flap_window` the node takes the addresses from another one, and no more;
    /// it still takes those that nobody has. At most 1000; 0: no limit
    pub(in crate::config) flap_limit: Option<i64>,
    /// duration | `"1m"` | 1 s to 1 day
    pub(in crate::config) flap_window: Option<DurationText>,
}
