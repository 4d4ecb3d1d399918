//! What a service asks of its backends, and whether they have it.

use crate::model::{BackendName, ServiceName};
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;

/// What the machines of a service must be configured with: `GET /v1/services/NAME/guide`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Guide {
    /// The service.
    pub service: ServiceName,
    /// Shell commands for each backend. None: it needs nothing.
    pub on_backends: Vec<String>,
    /// Shell commands for each node.
    pub on_nodes: Vec<String>,
    /// What commands cannot do, each a sentence.
    pub notes: Vec<String>,
}

/// Whether one address of a backend answers as its service's mode wants it: `POST /v1/services/NAME/probe`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ProbeView {
    /// The backend.
    pub backend: BackendName,
    /// Its address.
    pub address: SocketAddr,
    /// The address that was asked: the VIP in mode `dsr`, otherwise the backend's own.
    pub asked: SocketAddr,
    /// Whether it answered.
    pub answers: bool,
    /// What came back, or why nothing can have, in words.
    pub result: String,
}
