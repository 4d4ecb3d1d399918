//! Sharing of flows, as the API shows it.

use crate::model::NodeName;
use serde::{Deserialize, Serialize};
use std::net::{IpAddr, SocketAddr};

/// `GET /v1/sync`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SyncView {
    /// This node's own address for it; `null`: it shares no flows.
    pub address: Option<SocketAddr>,
    /// Whether this node has what the others knew when it started, or has given up waiting for that.
    pub joined: bool,
    /// The other nodes.
    pub peers: Vec<SyncPeerView>,
    /// Datagrams with the right seal from addresses that are no peers.
    pub strangers: u64,
    /// Datagrams without the right seal.
    pub unsealed: u64,
    /// Flows that the program could not tell of; each time all are told anew.
    pub missed: u64,
}

/// Another node.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SyncPeerView {
    /// Where it is.
    pub address: SocketAddr,
    /// Whether it is heard.
    pub here: bool,
    /// Its name.
    pub node: Option<NodeName>,
    /// Why no flows are shared with it.
    pub refused: Option<String>,
    /// Whether it has told all flows it had.
    pub has_snapshot: bool,
    /// Whether it has acknowledged all there is to tell.
    pub has_been_told: bool,
    /// Flows it is still to be told.
    pub waiting: u64,
    /// Whether its VIPs, services and firewall are as here; `null`: not known.
    pub same_configuration: Option<bool>,
    /// VIP addresses that it says it serves.
    #[serde(default)]
    pub active: Vec<IpAddr>,
    /// VIP addresses that both say they serve.
    pub both_active: Vec<String>,
    /// Backends that only this node finds down.
    pub down_only_here: Vec<String>,
    /// Backends that only the other node finds down.
    pub down_only_there: Vec<String>,
    /// Datagrams sent to it.
    pub sent_datagrams: u64,
    /// Their bytes, with seals.
    pub sent_bytes: u64,
    /// Datagrams of it.
    pub received_datagrams: u64,
    /// Those of them that were old, malformed, or of another version.
    pub refused_datagrams: u64,
    /// Its flows that were written into this node's table.
    pub flows_taken: u64,
    /// Its flows that this node knows better.
    pub flows_kept: u64,
    /// Its flows to backends that this node does not have, or has with another address.
    pub flows_of_unknown_backends: u64,
    /// Its flows of VIPs that do not move by VRRP here.
    pub flows_of_other_vips: u64,
    /// Its flows that the table did not take.
    pub flows_failed: u64,
}
