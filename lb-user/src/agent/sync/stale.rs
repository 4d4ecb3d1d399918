//! Copies of flows that ended while this node was away: what the other node's snapshot does not have goes.

use crate::io::dataplane::{DataplaneError, FlowCopies, WalkedKeys};
use lb_ebpf::abi::{Address, FlowKey};
use std::collections::{BTreeSet, HashSet};
use std::time::Instant;

/// What a peer has told since it came.
#[derive(Default)]
pub(super) struct Told {
    /// Flows, as hashes: of two with one hash a stale one may stay, until its timeout.
    flows: HashSet<u32>,
    /// VIPs that it has served all the time. Of one that it took meanwhile, as after a restart, the snapshot need not have all flows.
    vips: Option<BTreeSet<Address>>,
}

impl Told {
    pub(super) fn note(&mut self, key: &FlowKey) {
        self.flows.insert(key.hash());
    }

    /// It says that it serves these.
    pub(super) fn note_served(&mut self, active: &[Address]) {
        match &mut self.vips {
            Some(vips) => vips.retain(|vip| active.contains(vip)),
            None => self.vips = Some(active.iter().copied().collect()),
        }
    }

    fn knows_all_of(&self, vip: &Address) -> bool {
        self.vips.as_ref().is_some_and(|vips| vips.contains(vip))
    }
}

/// VIPs that this node has served since a peer came.
#[derive(Default)]
pub(super) struct Served(BTreeSet<Address>);

impl Served {
    /// Whether there are any among these that it has not before.
    pub(super) fn note(&mut self, active: &BTreeSet<Address>) -> bool {
        let before = self.0.len();
        self.0.extend(active);
        self.0.len() > before
    }
}

/// A walk through the table that takes out what was not told.
pub(super) struct Cleaning {
    walk: WalkedKeys,
    told: Told,
    /// When the peer came: flows with packets since are none of those that ended before.
    came: Instant,
}

impl Cleaning {
    pub(super) fn new(copies: &FlowCopies, told: Told, came: Instant) -> Self {
        Self { walk: copies.begin_walk(), told, came }
    }

    /// Goes on with the next batch; whether there are more.
    pub(super) fn go_on(
        &mut self,
        copies: &mut FlowCopies,
        served_here: &BTreeSet<Address>,
    ) -> Result<bool, DataplaneError> {
        let Some(flows) = copies.walk(&mut self.walk)? else { return Ok(false) };
        let before = self.came.elapsed();
        for (key, idle) in flows {
            let is_the_peers =
                self.told.knows_all_of(&key.destination) && !served_here.contains(&key.destination);
            if is_the_peers && idle > before && !self.told.flows.contains(&key.hash()) {
                copies.remove(&key)?;
            }
        }
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_vip_is_served_for_the_first_time_once_however_late() {
        let [a, b] = [Address::from_v4([192, 0, 2, 1]), Address::from_v4([192, 0, 2, 2])];
        let mut served = Served::default();
        assert!(!served.note(&BTreeSet::new()), "as an agent begins");
        assert!(served.note(&[a].into()));
        assert!(!served.note(&BTreeSet::new()) && !served.note(&[a].into()), "it went and came back");
        assert!(served.note(&[a, b].into()));
    }

    #[test]
    fn only_of_vips_that_it_has_served_since_it_came_a_peer_has_told_all() {
        let [a, b] = [Address::from_v4([192, 0, 2, 1]), Address::from_v4([192, 0, 2, 2])];
        let mut told = Told::default();
        assert!(!told.knows_all_of(&a), "nothing was said");
        told.note_served(&[a, b]);
        told.note_served(&[b]);
        told.note_served(&[a, b]);
        assert!(told.knows_all_of(&b) && !told.knows_all_of(&a));
        // As after a restart: it takes them a moment after it came.
        let mut restarted = Told::default();
        restarted.note_served(&[]);
        restarted.note_served(&[a]);
        assert!(!restarted.knows_all_of(&a));
    }
}
