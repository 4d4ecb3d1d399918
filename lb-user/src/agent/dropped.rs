//! Whose packets are dropped, and why: those of which it is most come first.

use super::state::Agent;
use crate::api::{ApiError, DropReason, DroppedFilter, DroppedList, DroppedSourceView, ErrorKind, Reply};
use crate::io::dataplane::Dropped;
use crate::model::whole_ms;
use ipnet::IpNet;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;
use tracing::debug;

/// Who was not dropped for so long is not listed any more.
const RECENT: Duration = Duration::from_secs(600);
/// When nobody says how many.
const LIMIT: usize = 20;
/// Of an IPv6 address so much is a source.
const IPV6_BITS: u8 = 64;

impl Agent {
    /// The sources of which most was dropped. They are looked for beside the loop.
    pub(super) fn list_dropped(&self, filter: DroppedFilter, reply: Reply<DroppedList>) {
        let sources = self.dataplane.dropped_sources();
        let look = move || {
            let found = sources.and_then(|mut sources| sources.look(RECENT));
            let list = found.map(|found| list(&found, filter.limit.unwrap_or(LIMIT)));
            // Whoever has left needs no answer.
            let _ = reply.send(list.map_err(|error| ApiError::new(ErrorKind::Internal, error.to_string())));
        };
        drop(tokio::task::spawn_blocking(look));
    }

    /// Few drops are counted; of many, some.
    pub(super) fn watch_drops(&mut self) {
        if let Err(error) = self.dataplane.begin_drop_round() {
            debug!(%error, "drops are estimated only");
        }
    }
}

fn list(found: &[Dropped], limit: usize) -> DroppedList {
    let mut by_source: BTreeMap<IpAddr, Vec<&Dropped>> = BTreeMap::new();
    for one in found {
        by_source.entry(one.network).or_default().push(one);
    }
    let known = by_source.len();
    let mut sources: Vec<DroppedSourceView> =
        by_source.into_iter().filter_map(|(network, all)| view(network, all)).collect();
    sources.sort_by(|a, b| b.packets.cmp(&a.packets).then_with(|| a.source.cmp(&b.source)));
    sources.truncate(limit);
    DroppedList { sources, known }
}

fn view(network: IpAddr, mut all: Vec<&Dropped>) -> Option<DroppedSourceView> {
    all.sort_by(|a, b| b.packets.cmp(&a.packets).then_with(|| a.outcome.cmp(b.outcome)));
    let bits = if network.is_ipv4() { 32 } else { IPV6_BITS };
    let reason = |one: &&Dropped| DropReason { outcome: one.outcome.to_owned(), packets: one.packets };
    Some(DroppedSourceView {
        source: IpNet::new(network, bits).ok()?,
        packets: all.iter().map(|one| one.packets).sum(),
        first_ms: whole_ms(all.iter().map(|one| one.first).max()?),
        last_ms: whole_ms(all.iter().map(|one| one.last).min()?),
        reasons: all.iter().map(reason).collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dropped(network: &str, outcome: &'static str, packets: u64, first: u64, last: u64) -> Dropped {
        let network = network.parse().expect("an address");
        Dropped {
            network,
            outcome,
            packets,
            first: Duration::from_secs(first),
            last: Duration::from_secs(last),
        }
    }

    #[test]
    fn a_source_has_all_its_reasons_and_the_worst_comes_first() {
        let found = [
            dropped("198.51.100.7", "denied", 10, 9, 4),
            dropped("2001:db8::", "over_rate", 500, 3, 1),
            dropped("198.51.100.7", "bad_tcp_flags", 600, 20, 6),
            dropped("198.51.100.8", "denied", 1, 2, 2),
        ];
        let all = list(&found, 2);
        let words = |view: &DroppedSourceView| {
            let reasons: Vec<_> =
                view.reasons.iter().map(|one| format!("{} {}", one.packets, one.outcome)).collect();
            format!(
                "{}: {} for {} ms, last {} ms: {}",
                view.source,
                view.packets,
                view.first_ms,
                view.last_ms,
                reasons.join(", ")
            )
        };
        let told: Vec<_> = all.sources.iter().map(words).collect();
        assert_eq!(
            told,
            [
                "198.51.100.7/32: 610 for 20000 ms, last 4000 ms: 600 bad_tcp_flags, 10 denied",
                "2001:db8::/64: 500 for 3000 ms, last 1000 ms: 500 over_rate",
            ]
        );
        assert_eq!(all.known, 3);
    }
}
