//! `[metrics]`: where figures are shown to whoever collects them.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};

/// When the file names no other: for this host alone.
pub(super) const DEFAULT_METRICS: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 9788);

/// An endpoint for Prometheus.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Metrics {
    /// Where it listens. Whoever reaches it can read it.
    pub listen: SocketAddr,
}

impl fmt::Display for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "at {}", self.listen)
    }
}
