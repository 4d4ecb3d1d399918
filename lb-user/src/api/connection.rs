//! Connections that end at this node and go on to a backend, one by one.

use super::types::prefix_text;
use crate::model::{BackendName, ServiceName};
use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;

/// Which connections: `GET /v1/connections?service=web&limit=100`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConnectionFilter {
    /// Only of this service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<ServiceName>,
    /// Only with backends of this name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backend: Option<BackendName>,
    /// Only of these clients: an address or a prefix.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "prefix_text")]
    pub client: Option<IpNet>,
    /// Only those over whose client's side nothing went for so long.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idle_ms: Option<u64>,
    /// At most so many; default 1000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<usize>,
}

/// `GET /v1/connections`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ConnectionList {
    /// Connections, in no order.
    pub connections: Vec<ConnectionView>,
    /// Whether the limit left some out.
    pub truncated: bool,
}

/// One connection.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ConnectionView {
    /// Its service, if that still exists.
    pub service: Option<ServiceName>,
    /// Its backend's name, if that still exists.
    pub backend_name: Option<BackendName>,
    /// The client; by a PROXY header, where there was one.
    pub client: SocketAddr,
    /// The VIP it addressed.
    pub vip: SocketAddr,
    /// The backend.
    pub backend: SocketAddr,
    /// Since it was given to the backend.
    pub age_ms: u64,
    /// Since something went over the client's side.
    pub idle_ms: u64,
    /// What came from the client, with what TLS adds.
    pub up_bytes: u64,
    /// What the client has acknowledged, likewise.
    pub down_bytes: u64,
    /// The client's round trip, smoothed.
    pub round_trip_us: u64,
    /// Segments that were sent to the client again.
    pub retransmitted: u32,
}
