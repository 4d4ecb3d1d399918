//! `[service.NAME.proxy]`: what holds for connections that end at this node and go on to a backend.

use crate::config::write_list;
use crate::model::{Mode, ProxyVersion};
use ipnet::IpNet;
use std::fmt;
use std::time::Duration;

/// Connections of a service with mode `tcp`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProxyTerms {
    /// How long a backend may take to accept.
    pub connect_timeout: Duration,
    /// How long a client may take for what has to come before its data.
    pub handshake_timeout: Duration,
    /// How long a connection may wait for a backend with room.
    pub queue_timeout: Duration,
    /// For how long a client may be silent, while the backend is too.
    pub client_timeout: Duration,
    /// For how long a backend may.
    pub backend_timeout: Duration,
    /// The same for both, once one direction is closed.
    pub half_closed_timeout: Duration,
    /// How often another backend is tried where one does not accept.
    pub retries: u32,
    /// How many connections may wait for a backend with room.
    pub max_queue: u32,
    /// Whose connections begin with a PROXY header.
    pub accept_proxy_from: Vec<IpNet>,
    /// The PROXY header that backends are sent first.
    pub send_proxy: Option<ProxyVersion>,
    /// Whether backends see clients' own addresses as the source, and answer by way of this node.
    pub transparent: bool,
    /// Whether each connection is logged when it ends.
    pub connection_log: bool,
}

impl Default for ProxyTerms {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(5),
            handshake_timeout: Duration::from_secs(10),
            queue_timeout: Duration::from_secs(10),
            client_timeout: Duration::from_secs(600),
            backend_timeout: Duration::from_secs(600),
            half_closed_timeout: Duration::from_secs(60),
            retries: 2,
            max_queue: 1024,
            accept_proxy_from: Vec::new(),
            send_proxy: None,
            transparent: false,
            connection_log: false,
        }
    }
}

/// Sessions of databases are kept for long without a word; this is what servers allow them.
const DATABASE_TIMEOUT: Duration = Duration::from_secs(8 * 3600);

impl ProxyTerms {
    /// Those of a service without such a table.
    pub fn of(mode: Mode) -> Self {
        let default = Self::default();
        match mode {
            Mode::Mysql => {
                Self { client_timeout: DATABASE_TIMEOUT, backend_timeout: DATABASE_TIMEOUT, ..default }
            }
            _ => default,
        }
    }

    /// Its durations by their keys.
    pub(in crate::config) fn timeouts(&self) -> [(&'static str, Duration); 6] {
        [
            ("connect_timeout", self.connect_timeout),
            ("handshake_timeout", self.handshake_timeout),
            ("queue_timeout", self.queue_timeout),
            ("client_timeout", self.client_timeout),
            ("backend_timeout", self.backend_timeout),
            ("half_closed_timeout", self.half_closed_timeout),
        ]
    }
}

impl fmt::Display for ProxyTerms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (key, time) in self.timeouts() {
            write!(f, "{key} {}, ", humantime::format_duration(time))?;
        }
        write!(f, "retries {}, max_queue {}", self.retries, self.max_queue)?;
        if !self.accept_proxy_from.is_empty() {
            f.write_str(", accept_proxy_from ")?;
            write_list(f, &self.accept_proxy_from)?;
        }
        if let Some(version) = self.send_proxy {
            write!(f, ", send_proxy {version}")?;
        }
        if self.transparent {
            f.write_str(", transparent")?;
        }
        if self.connection_log { f.write_str(", connection_log") } else { Ok(()) }
    }
}
