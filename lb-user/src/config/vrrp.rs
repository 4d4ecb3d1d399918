//! `[vip.NAME.vrrp]`: how nodes agree on which of them serves a VIP.

use super::write_list;
use crate::model::{AdvertInterval, ChecksumForm, GroupName, Priority, TrackerName, VirtualRouterId};
use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

/// `[vip.NAME.vrrp]`: a virtual router for each family of a VIP's addresses, both with one id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vrrp {
    /// Its id.
    pub id: VirtualRouterId,
    /// How much this node is wanted.
    pub priority: Priority,
    /// How often this node advertises.
    pub interval: AdvertInterval,
    /// Whether it takes the addresses from a node of lower priority.
    pub preempt: bool,
    /// For how long after its start it does not.
    pub preempt_delay: Duration,
    /// To whom advertisements are sent; nobody is all who listen to the group.
    pub peers: Vec<IpAddr>,
    /// What the checksum of IPv4 advertisements covers.
    pub checksum: ChecksumForm,
    /// The VIPs that it moves together with.
    pub group: Option<GroupName>,
    /// So many times within [`flap_window`](Self::flap_window) it takes the addresses from another node, and no more; 0: as often as it
    /// may.
    pub flap_limit: u32,
    /// See there.
    pub flap_window: Duration,
    /// Whether the host is reached at the addresses, beside the services: pings, and ports that no service has.
    pub accept: bool,
    /// What is taken off the priority while a tracker is down.
    pub track: BTreeMap<TrackerName, u8>,
}

impl fmt::Display for Vrrp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let interval = humantime::format_duration(self.interval.duration());
        write!(f, "id {} priority {} every {interval}", self.id, self.priority)?;
        if !self.preempt {
            f.write_str(" nopreempt")?;
        } else if !self.preempt_delay.is_zero() {
            write!(f, " preempt after {}", humantime::format_duration(self.preempt_delay))?;
        }
        if !self.peers.is_empty() {
            f.write_str(" to ")?;
            write_list(f, &self.peers)?;
        }
        if self.checksum == ChecksumForm::Message {
            f.write_str(" checksum message")?;
        }
        if let Some(group) = &self.group {
            write!(f, " group {group}")?;
        }
        if !self.accept {
            f.write_str(" for services alone")?;
        }
        if self.flap_limit != 0 {
            let window = humantime::format_duration(self.flap_window);
            write!(f, " preempts {} times in {window} at most", self.flap_limit)?;
        }
        self.track.iter().try_for_each(|(name, lowers_by)| write!(f, " track {name} −{lowers_by}"))
    }
}
