//! Connections that end at this node and go on to a backend.
//!
//! Owns the keys of `[service.NAME.proxy]`.

use serde::Deserialize;

use super::value::{DurationText, OneOrMany};

/// `[service.NAME.proxy]`
///
/// Connections that end at this node and go on to a backend.
#[derive(Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct FileProxy {
    /// duration | `"5s"` | how long a backend may take to accept; 1 ms to 30 days
    pub(in crate::config) connect_timeout: Option<DurationText>,
    /// duration | `"10s"` | how long a client may take for its PROXY header and the handshake of TLS; 1 ms to 30 days
    pub(in crate::config) handshake_timeout: Option<DurationText>,
    /// duration | `"10s"` | how long a connection may wait for a backend with room; 1 ms to 30 days
    pub(in crate::config) queue_timeout: Option<DurationText>,
    /// duration | `"10m"`; mode `mysql`: `"8h"` | how long a client may be silent while the backend is too; 1 ms to
    /// 30 days. The one who does not take what there is for it is to blame; if neither, the one with the shorter time
    pub(in crate::config) client_timeout: Option<DurationText>,
    /// duration | `"10m"`; mode `mysql`: `"8h"` | how long a backend may be silent while the client is too; 1 ms to
    /// 30 days
    pub(in crate::config) backend_timeout: Option<DurationText>,
    /// duration | `"1m"` | how long both may be silent once one side has ended; 1 ms to 30 days
    pub(in crate::config) half_closed_timeout: Option<DurationText>,
    /// integer | `2` | 0 to 100: other backends that are tried when one does not accept
    pub(in crate::config) retries: Option<i64>,
    /// integer | `1024` | 0 to 1000000 connections that may wait for a backend with room
    pub(in crate::config) max_queue: Option<i64>,
    /// text or list | none | addresses and networks whose connections begin with a PROXY header, version 1 or 2.
    /// Theirs must; others' never do
    pub(in crate::config) accept_proxy_from: Option<OneOrMany<String>>,
    /// text | none | `v1`, `v2`: the header that backends are sent first
    pub(in crate::config) send_proxy: Option<String>,
    /// boolean | `false` | each connection is [logged](proxy.md#connections-one-by-one) when it ends
    pub(in crate::config) connection_log: Option<bool>,
    /// boolean | `false` | backends see [clients' own addresses](proxy.md#clients-own-addresses), and must answer by
    /// way of the node
    pub(in crate::config) transparent: Option<bool>,
}
