//! How flows are shared, as the API shows it. Changes nothing.

use super::{Agent, Counts, PeerSnapshot};
use crate::api::{SyncPeerView, SyncView};
use crate::core::flow_sync::Introduction;
use crate::core::plan::name_hash;
use std::net::{IpAddr, SocketAddr};

impl Agent {
    /// How flows are shared now.
    pub(in crate::agent) fn sync_view(&self) -> SyncView {
        let Some(syncing) = &self.syncing else { return SyncView::default() };
        let snapshot = syncing.snapshot.borrow().clone();
        let own = &syncing.scene.introduction;
        SyncView {
            address: Some(syncing.settings.address),
            joined: snapshot.joined,
            peers: snapshot.peers.iter().map(|(at, peer)| self.peer_view(*at, peer, own)).collect(),
            strangers: snapshot.strangers,
            unsealed: snapshot.unsealed,
            missed: syncing.missed,
        }
    }

    fn peer_view(&self, at: SocketAddr, peer: &PeerSnapshot, own: &Introduction) -> SyncPeerView {
        let other = peer.introduced.as_ref().filter(|_| peer.is_here);
        let Counts {
            sent_datagrams,
            sent_bytes,
            received_datagrams,
            refused_datagrams,
            put,
            kept,
            unknown_backend,
            foreign,
            failed,
        } = peer.counts;
        SyncPeerView {
            address: at,
            here: peer.is_here,
            node: other.map(|other| other.node.clone()),
            refused: peer.refused.clone(),
            has_snapshot: peer.has_snapshot,
            has_been_told: peer.has_been_told,
            waiting: peer.waiting as u64,
            same_configuration: other.map(|other| other.fingerprint == own.fingerprint),
            active: other.iter().flat_map(|other| &other.active).map(|one| IpAddr::from(*one)).collect(),
            both_active: other.map(|other| both_active(own, other)).unwrap_or_default(),
            down_only_here: other.map(|other| self.only_in(&own.down, &other.down)).unwrap_or_default(),
            down_only_there: other.map(|other| self.only_in(&other.down, &own.down)).unwrap_or_default(),
            sent_datagrams,
            sent_bytes,
            received_datagrams,
            refused_datagrams,
            flows_taken: put,
            flows_kept: kept,
            flows_of_unknown_backends: unknown_backend,
            flows_of_other_vips: foreign,
            flows_failed: failed,
        }
    }

    /// Names of the backends that are in the first list alone.
    fn only_in(&self, one: &[u64], other: &[u64]) -> Vec<String> {
        let services = self.config.services.values();
        let all = services.flat_map(|service| service.backends.iter().map(move |backend| (service, backend)));
        let is_meant = |(service, backend): &(&crate::config::Service, &crate::config::Backend)| {
            let families = backend.addresses.iter().map(|address| crate::model::Family::of(address.ip()));
            let mut hashes = families.map(|family| name_hash(&service.name, Some(&backend.name), family));
            hashes.any(|hash| one.contains(&hash) && !other.contains(&hash))
        };
        all.filter(is_meant).map(|(service, backend)| format!("{}/{}", service.name, backend.name)).collect()
    }
}

/// VIP addresses that both say they serve.
pub(super) fn both_active(own: &Introduction, other: &Introduction) -> Vec<String> {
    let both = own.active.iter().filter(|address| other.active.contains(address));
    both.map(|address| IpAddr::from(*address).to_string()).collect()
}
