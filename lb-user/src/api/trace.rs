//! `lbctl trace` over the wire.

use crate::model::{BackendName, RuleName, ServiceName};
use ipnet::IpNet;
use serde::{Deserialize, Serialize};

/// Which packets are told about: `POST /v1/trace`. The answer is one JSON object a line, until the peer leaves.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TraceRequest {
    /// Only those of this service, in both directions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<ServiceName>,
    /// Only those from or to these addresses, and what backends answer them.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "super::types::prefix_text")]
    pub from: Option<IpNet>,
    /// One of so many, drawn by chance; absent: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub every: Option<u32>,
    /// Those that have nothing to do with a VIP, too.
    #[serde(default)]
    pub all: bool,
}

/// A packet, and what became of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TracedPacket {
    /// When it came in, since 1970.
    pub at_unix_ns: u64,
    /// The interface it came in by.
    pub interface: String,
    /// The packet in words: addresses, protocol, flags.
    pub packet: String,
    /// `pass`, `drop` or `transmit`.
    pub verdict: String,
    /// Its outcome.
    pub outcome: String,
    /// The service.
    pub service: Option<ServiceName>,
    /// The firewall's rule that decided.
    pub rule: Option<RuleName>,
    /// Its flow: `none`, `new`, `embryonic`, `established`.
    pub flow: String,
    /// `to-backend` or `to-client`, where there is a flow.
    pub direction: Option<String>,
    /// The flow's backend.
    pub backend: Option<BackendName>,
    /// Length of the frame.
    pub frame_bytes: u32,
    /// The front of the frame as it came in, in hexadecimal digits.
    pub frame: String,
}
