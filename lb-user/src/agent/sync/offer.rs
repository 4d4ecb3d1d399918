//! VIPs that one node offers to another by name, over the way by which they share flows.

use super::{PeerSnapshot, Syncing};
use crate::agent::state::Agent;
use crate::api::{ApiError, ErrorKind};
use crate::core::flow_sync::ACTIVE_MAX;
use crate::io::vrrp::RouterKey;
use crate::model::{Family, NodeName};
use lb_ebpf::abi::Address;
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// For so long a peer may take what it is offered: as long as the virtual routers wait, or longer.
const OFFER_LASTS: Duration = Duration::from_secs(1);

/// VIPs that a peer is asked to take.
pub(super) struct Offer {
    to: SocketAddr,
    addresses: BTreeSet<Address>,
    until: Instant,
}

impl PeerSnapshot {
    /// Whether it is heard, and flows are shared with it.
    fn takes_part(&self) -> bool {
        self.is_here && self.refused.is_none()
    }
}

impl Syncing {
    /// What is offered still: it is not taken yet, and the time for that is not over.
    pub(super) fn offer_now(&mut self, active: &BTreeSet<Address>) -> Option<(SocketAddr, Vec<Address>)> {
        let offer = self.offer.as_ref().filter(|offer| Instant::now() < offer.until);
        let left = offer.map(|offer| (offer.to, offer.addresses.intersection(active).copied().collect()));
        let left = left.filter(|(_, addresses): &(_, Vec<_>)| !addresses.is_empty());
        if left.is_none() {
            self.offer = None;
        }
        left
    }

    /// Where a node is, if it is heard, and has been told all flows.
    fn place_of(&self, node: &NodeName) -> Result<SocketAddr, ApiError> {
        let snapshot = self.snapshot.borrow();
        let here = snapshot.peers.iter().filter(|(_, peer)| peer.takes_part());
        let here: BTreeMap<&NodeName, (SocketAddr, &PeerSnapshot)> =
            here.filter_map(|(at, peer)| Some((&peer.introduced.as_ref()?.node, (*at, peer)))).collect();
        let Some((at, peer)) = here.get(node) else {
            let names: Vec<_> = here.keys().map(|name| name.as_str()).collect();
            let others = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
            return Err(ApiError::not_found(format!(
                "no node {node} is heard that shares its flows with this one; there are: {others}"
            )));
        };
        if !peer.is_settled {
            let message = format!("{node} has not been told all flows yet; try again in a moment");
            return Err(ApiError::new(ErrorKind::Conflict, message));
        }
        Ok(*at)
    }
}

impl Agent {
    /// Whether those who would take over have the flows of this node, or there is nobody to have them.
    pub(in crate::agent) fn successors_are_ready(&self) -> bool {
        let Some(syncing) = &self.syncing else { return true };
        let snapshot = syncing.snapshot.borrow();
        let mut here = snapshot.peers.values().filter(|peer| peer.takes_part()).peekable();
        here.peek().is_none() || here.any(|peer| peer.is_settled)
    }

    /// Asks a node to take these VIPs, which it does as soon as it hears of it.
    pub(in crate::agent) fn offer_to(
        &mut self,
        node: &NodeName,
        keys: BTreeSet<RouterKey>,
    ) -> Result<(), ApiError> {
        if *node == self.config.node.name {
            return Err(ApiError::new(ErrorKind::Conflict, format!("this is {node}; name another node")));
        }
        let addresses: BTreeSet<Address> = self.addresses_of(&keys).into_iter().map(Address::from).collect();
        let Some(syncing) = &mut self.syncing else {
            let message = "nodes know each other by name where they share flows: `--to` needs a table [sync]";
            return Err(ApiError::new(ErrorKind::Conflict, message));
        };
        if addresses.len() > ACTIVE_MAX {
            let message =
                format!("{} addresses; at most {ACTIVE_MAX} at one time: name a VIP", addresses.len());
            return Err(ApiError::new(ErrorKind::Conflict, message));
        }
        let to = syncing.place_of(node)?;
        syncing.offer = Some(Offer { to, addresses, until: Instant::now() + OFFER_LASTS });
        // First this node, so that it does not contradict who takes them.
        self.virtual_routers.offer(keys);
        self.tell_sync();
        Ok(())
    }

    /// Takes the VIPs that a peer offers.
    pub(super) fn take_offered(&self, offers: &[Address]) {
        let mut keys = BTreeSet::new();
        for (name, vip) in self.config.vips.iter().filter(|(_, vip)| vip.vrrp.is_some()) {
            for family in [Family::V4, Family::V6] {
                if vip.addresses_of(family).any(|address| offers.contains(&Address::from(address))) {
                    keys.insert((name.clone(), family));
                }
            }
        }
        if !keys.is_empty() {
            self.virtual_routers.take(keys);
        }
    }
}
