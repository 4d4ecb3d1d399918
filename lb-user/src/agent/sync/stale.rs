//! Copies of flows that ended while this node was away: what the other node's snapshot does not have goes.

use crate::io::dataplane::{DataplaneError, FlowCopies, WalkedKeys};
use lb_ebpf::abi::{Address, FlowKey};
use std::collections::{BTreeSet, HashSet};
use std::time::Instant;

/// What a peer has told since it came, as hashes: of two flows with one hash a stale one may stay, until its timeout.
#[derive(Default)]
pub(super) struct Told(HashSet<u32>);

impl Told {
    pub(super) fn note(&mut self, key: &FlowKey) {
        self.0.insert(key.hash());
    }
}

/// A walk through the table that takes out what was not told.
pub(super) struct Cleaning {
    walk: WalkedKeys,
    told: Told,
    /// VIPs that the peer serves, and so knows all flows of.
    vips: BTreeSet<Address>,
    /// When the peer came: flows with packets since are none of those that ended before.
    came: Instant,
}

impl Cleaning {
    pub(super) fn new(copies: &FlowCopies, told: Told, vips: BTreeSet<Address>, came: Instant) -> Self {
        Self { walk: copies.begin_walk(), told, vips, came }
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
                self.vips.contains(&key.destination) && !served_here.contains(&key.destination);
            if is_the_peers && idle > before && !self.told.0.contains(&key.hash()) {
                copies.remove(&key)?;
            }
        }
        Ok(true)
    }
}
