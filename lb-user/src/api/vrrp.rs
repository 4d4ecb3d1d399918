//! VRRP, as the API shows it.

use crate::model::{Family, GroupName, NodeName, TrackerName, VipName};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::net::IpAddr;

/// `GET /v1/vrrp`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct VrrpView {
    /// One for each VIP with VRRP, and family.
    pub routers: Vec<VirtualRouterView>,
    /// What priorities hang on.
    pub trackers: Vec<TrackerView>,
    /// Packets that were no advertisements, by reason.
    pub malformed: BTreeMap<String, u64>,
    /// Advertisements of virtual routers that this node does not have, or of nodes that are no peers.
    pub foreign: u64,
    /// IPv4 advertisements whose checksum covers the message alone.
    pub message_checksums: u64,
}

/// Something that priorities hang on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TrackerView {
    /// Its name.
    pub name: TrackerName,
    /// What is watched, in words.
    pub tracks: String,
    /// Whether it is up.
    pub up: bool,
    /// Why it is not.
    pub trouble: Option<String>,
}

/// A virtual router on this node.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct VirtualRouterView {
    /// The VIP.
    pub vip: VipName,
    /// The family of these addresses.
    pub family: Family,
    /// Where it is.
    pub interface: String,
    /// The virtual router's id.
    pub id: u8,
    /// The VIPs that it moves together with.
    pub group: Option<GroupName>,
    /// `initialize`, `backup` or `active`.
    pub state: String,
    /// Whether that is `active`.
    pub active: bool,
    /// How long it has been so, in ms.
    pub since_ms: u64,
    /// Its priority now.
    pub priority: u8,
    /// Its priority when nothing lowers it.
    pub configured_priority: u8,
    /// How often this node advertises, in ms.
    pub interval_ms: u64,
    /// How long the Active router may be silent, in ms.
    pub active_down_ms: u64,
    /// The addresses.
    pub addresses: Vec<IpAddr>,
    /// What this node sends from; null while it takes no part.
    pub local: Option<IpAddr>,
    /// The last advertisement of another node.
    pub heard: Option<HeardView>,
    /// How often it became Active.
    pub times_active: u64,
    /// Backup.
    #[serde(default)]
    pub times_backup: u64,
    /// Or left altogether.
    #[serde(default)]
    pub times_initialize: u64,
    /// Advertisements sent.
    pub adverts_sent: u64,
    /// Advertisements received.
    pub adverts_received: u64,
    /// Why it takes no part.
    pub trouble: Option<String>,
}

/// An advertisement of another node.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HeardView {
    /// From whom.
    pub from: IpAddr,
    /// Its priority; 0 says that it left.
    pub priority: u8,
    /// Its interval, in ms.
    pub interval_ms: u64,
    /// How long ago, in ms.
    pub ago_ms: u64,
}

/// `POST /v1/vrrp/failover`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HandOverRequest {
    /// This VIP; all that are Active here, if it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vip: Option<VipName>,
    /// This node shall have it, whatever its priority; whoever comes next, if it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<NodeName>,
    /// Also to nodes that do not have all flows yet; one that is named must have them.
    #[serde(default)]
    pub force: bool,
}

/// What was set going.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HandedOver {
    /// The VIPs that other nodes may have; this one goes on with each until another advertises.
    pub vips: Vec<VipName>,
}
