//! Which backend takes a connection: the schedulers of the kernel's dataplane, over the same slot tables.
//!
//! Owns the choice among those that may take one. Never counts connections itself: whoever asks says how many each backend has, and
//! reserves its place; between the two another thread may have been faster, which is why a choice is tried again without that backend.

use crate::model::SchedulerKind;
use lb_ebpf::abi::{Address, FlowKey};
use lb_ebpf::steer::{Hash, hashed_slot_index, slot_index};
use std::net::SocketAddr;

/// A backend, as the choice sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TableBackend {
    /// Its weight now; 0 takes nothing.
    pub weight: u16,
    /// How many connections it may have; 0 is as many as come.
    pub max: u32,
}

/// What connections are distributed by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    /// How.
    pub scheduler: SchedulerKind,
    /// Indices into `backends`; empty where none can take a connection.
    pub slots: Vec<u32>,
    /// All of them.
    pub backends: Vec<TableBackend>,
}

/// What came of a choice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Choice {
    /// This one, by its index.
    Backend(usize),
    /// Those that could take it have as many connections as they may have.
    Full,
    /// None can take it.
    Nobody,
}

/// A connection that is to be given away.
#[derive(Clone, Copy, Debug)]
pub struct Ask<'a> {
    /// The client, and the address it connected to.
    pub client: SocketAddr,
    /// See there.
    pub vip: SocketAddr,
    /// A number that is drawn once for each connection, in turn.
    pub ticket: u64,
    /// Backends that were tried for it, in vain.
    pub tried: &'a [usize],
}

impl Table {
    /// Chooses a backend. `connections` says how many each has.
    pub fn choose(&self, ask: &Ask<'_>, connections: impl Fn(usize) -> u32) -> Choice {
        let Ok(slots_len) = u32::try_from(self.slots.len()) else { return Choice::Nobody };
        if slots_len == 0 {
            return Choice::Nobody;
        }
        let has_room = |index: usize| {
            let backend = self.backends.get(index);
            backend.is_some_and(|one| one.max == 0 || connections(index) < one.max)
        };
        if self.scheduler == SchedulerKind::LeastConnections {
            return self.least(ask, &connections, has_room);
        }
        let first = match self.scheduler {
            SchedulerKind::SourceHash => hashed_slot_index(source_hash(ask.client), slots_len),
            SchedulerKind::Maglev => hashed_slot_index(flow_hash(ask.client, ask.vip), slots_len),
            SchedulerKind::RoundRobin | SchedulerKind::LeastConnections => slot_index(ask.ticket, slots_len),
        };
        let (before, from) = self.slots.split_at(first as usize);
        let mut is_full = false;
        // One that was looked at need not be looked at again: tables have many slots of few backends.
        let mut seen = vec![false; self.backends.len()];
        for index in from.iter().chain(before).map(|index| *index as usize) {
            if std::mem::replace(seen.get_mut(index).unwrap_or(&mut true), true) || ask.tried.contains(&index)
            {
                continue;
            }
            if has_room(index) {
                return Choice::Backend(index);
            }
            is_full = true;
        }
        if is_full { Choice::Full } else { Choice::Nobody }
    }

    /// The one with the fewest connections for its weight; of equals, the next in turn.
    fn least(
        &self,
        ask: &Ask<'_>,
        connections: impl Fn(usize) -> u32,
        has_room: impl Fn(usize) -> bool,
    ) -> Choice {
        let takers = || self.backends.iter().enumerate().filter(|(_, backend)| backend.weight > 0);
        let start = (ask.ticket % takers().count().max(1) as u64) as usize;
        let (mut best, mut is_full): (Option<(usize, u64, u64)>, bool) = (None, false);
        for (index, backend) in takers().skip(start).chain(takers().take(start)) {
            let weight = u64::from(backend.weight);
            if ask.tried.contains(&index) {
                continue;
            }
            if !has_room(index) {
                is_full = true;
                continue;
            }
            let active = u64::from(connections(index));
            // Cross products: neither divided nor rounded.
            if best.is_none_or(|(_, least, of)| active * of < least * weight) {
                best = Some((index, active, weight));
            }
        }
        match best {
            Some((index, ..)) => Choice::Backend(index),
            None if is_full => Choice::Full,
            None => Choice::Nobody,
        }
    }
}

/// As the kernel's dataplane has it, so that both send a client to the same backend.
fn source_hash(client: SocketAddr) -> u32 {
    Hash::START.with(Address::from(client.ip()).words()).finish()
}

fn flow_hash(client: SocketAddr, vip: SocketAddr) -> u32 {
    let port = |of: SocketAddr| of.port().to_be_bytes();
    FlowKey::new(client.ip().into(), port(client), vip.ip().into(), port(vip), TCP).hash()
}

const TCP: u8 = 6;

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    fn table(scheduler: SchedulerKind, backends: &[(u16, u32)], slots: &[u32]) -> Table {
        let backends =
            backends.iter().map(|(weight, max)| TableBackend { weight: *weight, max: *max }).collect();
        Table { scheduler, slots: slots.to_vec(), backends }
    }

    fn ask(ticket: u64, tried: &[usize]) -> Ask<'_> {
        let client = SocketAddr::from(([10, 90, 0, 10], 40_000));
        Ask { client, vip: SocketAddr::from(([10, 80, 0, 100], 80)), ticket, tried }
    }

    #[test]
    fn round_robin_goes_round_the_table_and_past_those_that_are_full_or_were_tried() {
        let table = table(SchedulerKind::RoundRobin, &[(2, 0), (1, 1), (1, 0)], &[0, 1, 0, 2]);
        let all = |tried: &[usize], full: bool| {
            (0..4).map(|ticket| table.choose(&ask(ticket, tried), |_| u32::from(full))).collect::<Vec<_>>()
        };
        use Choice::Backend as B;
        assert_eq!(all(&[], false), [B(0), B(1), B(0), B(2)]);
        assert_eq!(all(&[], true), [B(0), B(0), B(0), B(2)], "the second is full");
        assert_eq!(all(&[0, 2], true), [Choice::Full; 4]);
        assert_eq!(all(&[0, 1, 2], false), [Choice::Nobody; 4]);
    }

    #[test]
    fn without_slots_there_is_nobody() {
        for scheduler in [SchedulerKind::RoundRobin, SchedulerKind::LeastConnections, SchedulerKind::Maglev] {
            assert_eq!(table(scheduler, &[(0, 0)], &[]).choose(&ask(7, &[]), |_| 0), Choice::Nobody);
        }
    }

    #[test]
    fn the_least_loaded_for_its_weight_is_chosen_and_equals_take_turns() {
        let table = table(SchedulerKind::LeastConnections, &[(1, 0), (3, 0), (0, 0)], &[0, 1, 1, 1]);
        let with = |loads: [u32; 3], ticket| table.choose(&ask(ticket, &[]), |index| loads[index]);
        assert_eq!(with([1, 2, 0], 0), Choice::Backend(1));
        assert_eq!(with([1, 4, 0], 0), Choice::Backend(0));
        let equals: Vec<_> = (0..3).map(|ticket| with([0, 0, 0], ticket)).collect();
        assert_eq!(equals, [Choice::Backend(0), Choice::Backend(1), Choice::Backend(0)]);
    }

    #[test]
    fn a_client_meets_the_same_backend_again_and_clients_spread() {
        let slots: Vec<u32> = (0..64).map(|slot| slot % 4).collect();
        let table = table(SchedulerKind::SourceHash, &[(1, 0); 4], &slots);
        let mut shares: BTreeMap<usize, u32> = BTreeMap::new();
        for host in 0..=255 {
            let of = |port, ticket| {
                let client = SocketAddr::from(([10, 90, 0, host], port));
                table.choose(&Ask { client, ..ask(ticket, &[]) }, |_| 0)
            };
            assert_eq!(of(1, 1), of(2, 9));
            let Choice::Backend(index) = of(1, 1) else { panic!("nobody") };
            *shares.entry(index).or_default() += 1;
        }
        assert!(shares.len() == 4 && shares.values().all(|share| *share > 30), "{shares:?}");
    }
}
