//! Figures in the format of Prometheus (text, version 0.0.4), made of what the API shows.
//!
//! Owns their names and labels, which are part of the API: `docs/metrics.md` lists them. Never asks anybody for anything.

mod databases;
mod families;
mod text;

pub use text::CONTENT_TYPE;

use super::{FirewallView, Snapshot};
use text::Text;

/// All figures, as of one moment.
pub fn render(snapshot: &Snapshot, firewall: &FirewallView) -> String {
    let mut text = Text::default();
    families::node(&mut text, &snapshot.status);
    families::dataplane(&mut text, &snapshot.counters, &snapshot.status.tables);
    families::services(&mut text, &snapshot.services);
    families::backends(&mut text, &snapshot.services);
    families::checks(&mut text, &snapshot.services);
    families::tls(&mut text, &snapshot.services);
    families::firewall(&mut text, firewall);
    families::vrrp(&mut text, &snapshot.vrrp);
    families::sync(&mut text, &snapshot.sync);
    databases::databases(&mut text, &snapshot.mysql);
    text.finish()
}

#[cfg(test)]
mod tests;
