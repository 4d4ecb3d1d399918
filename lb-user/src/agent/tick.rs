//! What the agent does once a second, whether something happened or not.

use super::state::Agent;
use crate::io::{neighbour, service_manager};
use std::time::{Duration, Instant};
use tracing::debug;

/// Shorter than the kernel keeps an unused neighbour entry.
const RESOLVE_EVERY: Duration = Duration::from_secs(5);

impl Agent {
    /// Slow starts move on with time, and what failed is tried again.
    pub(super) async fn handle_tick(&mut self) {
        service_manager::alive();
        if self.checks.any_ramping(Instant::now()) {
            self.steer_or_record();
        }
        self.take_back_unconfirmed().await;
        self.watch_floods();
        self.watch_drops();
        self.watch_sync();
        self.track_dataplane().await;
        if self.neighbours_resolved.is_none_or(|at| at.elapsed() >= RESOLVE_EVERY) {
            self.neighbours_resolved = Some(Instant::now());
            self.resolve_unchecked();
        }
        self.retry_vips().await;
        self.listen_again();
        self.watch_certificates();
        self.watch_acme();
        self.follow_metrics().await;
        self.announce_vips();
    }

    /// Health checks keep their backends' neighbour entries alive; the others' need a hand.
    fn resolve_unchecked(&self) {
        let mut resolver = neighbour::Resolver::default();
        for service in self.config.services.values().filter(|service| service.health.is_none()) {
            for address in service.backends.iter().flat_map(|backend| &backend.addresses) {
                if let Err(error) = resolver.resolve(address.ip()) {
                    debug!(%address, %error, "not resolved");
                }
            }
        }
    }
}
