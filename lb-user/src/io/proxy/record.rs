//! What is told in the log of a connection that has ended, where a service wants that (`connection_log`).
//!
//! Owns the words of the entry. Nothing that went over a connection comes into it.

use super::account::Ended;
use super::connection::Ends;
use super::handshake::TlsFacts;
use super::pump::Moved;
use crate::model::{ServiceName, whole_ms};
use std::net::SocketAddr;
use std::time::Duration;
use tokio::time::Instant;
use tracing::info;

/// One connection, from its accept.
pub(super) struct Record {
    service: ServiceName,
    ends: Ends,
    began: Instant,
    /// From the accept until a backend took it.
    waited: Option<Duration>,
    backend: Option<(String, SocketAddr)>,
    server_name: Option<String>,
    tls: Option<(&'static str, bool)>,
    user: Option<String>,
}

impl Record {
    /// A connection was accepted; `None`: nobody wants to know.
    pub(super) fn begin(service: Option<&ServiceName>, ends: Ends) -> Option<Box<Self>> {
        let (service, began) = (service?.clone(), Instant::now());
        let (waited, backend, server_name, tls, user) = (None, None, None, None, None);
        Some(Box::new(Self { service, ends, began, waited, backend, server_name, tls, user }))
    }

    /// A PROXY header said who it is from.
    pub(super) fn note_ends(&mut self, ends: Ends) {
        self.ends = ends;
    }

    /// Its TLS ended here, or was looked into.
    pub(super) fn note_tls(&mut self, name: Option<&str>, facts: Option<&TlsFacts>) {
        self.server_name = name.map(str::to_owned);
        self.tls = facts.map(|facts| (facts.version, facts.is_resumed));
    }

    /// A backend took it.
    pub(super) fn note_backend(&mut self, name: &str, address: SocketAddr) {
        self.backend = Some((name.to_owned(), address));
        self.waited = Some(self.began.elapsed());
    }

    /// Who logged in to databases.
    pub(super) fn note_user(&mut self, user: &str) {
        self.user = Some(user.to_owned());
    }

    /// It has ended. `None`: how much went over it is not known.
    pub(super) fn end(self, ended: Ended, moved: Option<Moved>) {
        let Ends { client, vip } = self.ends;
        let (backend, address) = self.backend.unzip();
        let (tls, resumed) = self.tls.unzip();
        info!(
            target: "lbctl::connection",
            service = self.service.as_str(),
            %client,
            %vip,
            backend,
            backend_address = address.map(tracing::field::display),
            server_name = self.server_name,
            tls,
            resumed,
            user = self.user,
            wait_ms = self.waited.map(whole_ms),
            duration_ms = whole_ms(self.began.elapsed()),
            up_bytes = moved.map(|moved| moved.up_bytes),
            down_bytes = moved.map(|moved| moved.down_bytes),
            reason = ended.name(),
            "connection ended"
        );
    }
}
