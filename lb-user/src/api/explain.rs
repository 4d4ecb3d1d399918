//! `lbctl explain` over the wire.

use crate::model::{BackendName, RuleName, ServiceName};
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;

/// A segment to ask about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SegmentWord {
    /// An ACK if there is a flow for it, otherwise a SYN.
    #[default]
    Auto,
    /// One that opens a connection.
    Syn,
    /// One of a connection.
    Ack,
    /// One that ends a connection.
    Fin,
    /// One that resets a connection.
    Rst,
    /// No segment, but a datagram.
    Datagram,
}

/// What `GET /v1/explain` asks: what would become of this packet?
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExplainQuestion {
    /// Its source: a client, or a backend that answers.
    pub from: SocketAddr,
    /// Its destination: a VIP, with a service's port or a NAT port.
    pub to: SocketAddr,
    /// What kind of segment it is.
    #[serde(default)]
    pub segment: SegmentWord,
    /// The interface it comes in by; the first one of the node where it is absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interface: Option<String>,
}

/// What the program in the kernel would do, and why.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Explanation {
    /// The segment that was asked about.
    pub segment: SegmentWord,
    /// `pass`, `drop` or `transmit`.
    pub verdict: String,
    /// The outcome that a real packet would be counted under.
    pub outcome: String,
    /// That outcome in a sentence.
    pub description: String,
    /// The service it is for.
    pub service: Option<ServiceName>,
    /// What the firewall decided, where it was asked: `allow`, `deny`, `limit`.
    pub firewall: Option<String>,
    /// The rule that decided; absent with a decision: the default policy.
    pub rule: Option<RuleName>,
    /// Its flow: `none`, `new`, `embryonic`, `established`.
    pub flow: String,
    /// The flow's state in a word, where there is a flow.
    pub state: Option<String>,
    /// `to-backend` or `to-client`, where there is a flow.
    pub direction: Option<String>,
    /// The flow's backend, or the one it would get.
    pub backend: Option<BackendName>,
    /// How the packet would leave, if it did.
    pub leaves: Option<Leaves>,
}

/// How a packet leaves.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Leaves {
    /// Its source then.
    pub from: SocketAddr,
    /// Its destination then.
    pub to: SocketAddr,
    /// The MAC address it is sent to.
    pub next_hop: String,
    /// The interface.
    pub interface: String,
}
