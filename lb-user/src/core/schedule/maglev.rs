//! The slot table of hashed services: Maglev's (Eisenbud et al., NSDI 2016, section 3.4), with weights.
//!
//! Every backend has an order of its own, made from its name, in which it wants the slots; in turns each takes the
//! first one it wants that is still free. So all get their share to within a slot or two, and when a backend comes or
//! goes hardly any slot of the others changes hands. The table depends on the set of backends alone, not on their order.

/// Table lengths to choose from: primes, so that every step leads through the whole table.
const LENGTHS: [usize; 3] = [4093, 16381, 65521];
/// Slots there should be for each backend: then one that goes moves less than 2 % of the others' slots.
const SLOTS_EACH: usize = 200;

/// A backend that takes flows: who, its lasting identity, its weight.
pub type Share<T> = (T, u64, u32);

/// Makes the table. Weight 0 gets no slot; without any weight the table is empty.
///
/// Its length goes by all backends given, those without weight too: another length moves most flows' hashes, so it
/// must not change when a backend is drained or goes down.
pub fn maglev_table<T: Clone>(backends: &[Share<T>]) -> Vec<T> {
    let mut claimants: Vec<Claimant> = (0..backends.len())
        .filter(|index| backends[*index].2 > 0)
        .map(|index| Claimant::new(index, backends[index].1, backends[index].2))
        .collect();
    claimants.sort_by_key(|claimant| claimant.identity);
    let heaviest = claimants.iter().map(|claimant| claimant.weight).max().unwrap_or(0);
    let mut slots: Vec<Option<usize>> =
        vec![None; if claimants.is_empty() { 0 } else { length_for(backends.len()) }];
    let mut free = slots.len();
    while free > 0 {
        for claimant in &mut claimants {
            claimant.credit += claimant.weight;
            if free > 0 && claimant.credit >= heaviest {
                claimant.credit -= heaviest;
                claimant.take(&mut slots);
                free -= 1;
            }
        }
    }
    slots.into_iter().flatten().filter_map(|index| backends.get(index)).map(|(who, ..)| who.clone()).collect()
}

fn length_for(backends: usize) -> usize {
    let wanted = backends.saturating_mul(SLOTS_EACH);
    LENGTHS.into_iter().find(|length| *length >= wanted).unwrap_or(LENGTHS[LENGTHS.len() - 1])
}

struct Claimant {
    index: usize,
    identity: u64,
    weight: u32,
    /// What it has earned towards its next slot; the heaviest earns one in every turn.
    credit: u32,
    /// Two independent numbers from its identity: where its order begins, and its step.
    start: u64,
    step: u64,
    tried: u64,
}

impl Claimant {
    fn new(index: usize, identity: u64, weight: u32) -> Self {
        let (start, step) = (mixed(identity), mixed(identity ^ 0x5bd1_e995_97f4_a7c5));
        Self { index, identity, weight, credit: 0, start, step, tried: 0 }
    }

    /// Takes the free slot it wants most. There is one.
    fn take(&mut self, slots: &mut [Option<usize>]) {
        let length = slots.len() as u64;
        let step = 1 + self.step % (length - 1);
        while self.tried < length {
            let slot = (self.start % length + self.tried * step) % length;
            self.tried += 1;
            if let Some(free) = slots.get_mut(slot as usize).filter(|slot| slot.is_none()) {
                *free = Some(self.index);
                return;
            }
        }
    }
}

/// All bits of the result depend on all bits given (the finaliser of SplitMix64).
fn mixed(number: u64) -> u64 {
    let mut mixed = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn fleet(names: impl IntoIterator<Item = u64>) -> Vec<Share<u64>> {
        names.into_iter().map(|name| (name, mixed(name), 1)).collect()
    }

    fn slots_of(table: &[u64], name: u64) -> usize {
        table.iter().filter(|slot| **slot == name).count()
    }

    #[test]
    fn equal_backends_get_equal_shares_to_a_slot_or_two() {
        for count in [1, 2, 3, 10, 40, 150] {
            let table = maglev_table(&fleet(0..count));
            let share = table.len() / count as usize;
            for name in 0..count {
                let own = slots_of(&table, name);
                assert!(own.abs_diff(share) <= 2, "{own} of {} slots among {count}", table.len());
            }
        }
    }

    #[test]
    fn weights_are_shares_to_a_percent() {
        let backends = [("a", mixed(1), 3), ("b", mixed(2), 1), ("c", mixed(3), 4), ("d", mixed(4), 0)];
        let table = maglev_table(&backends);
        for (name, _, weight) in backends {
            let share = table.iter().filter(|slot| **slot == name).count() as f64 / table.len() as f64;
            assert!((share - f64::from(weight) / 8.0).abs() < 0.01, "{name} has {share}");
        }
    }

    #[test]
    fn without_backends_there_is_no_table() {
        assert!(maglev_table::<u64>(&[]).is_empty());
        assert!(maglev_table(&[("a", 1, 0)]).is_empty());
    }

    #[test]
    fn one_of_many_down_moves_its_slots_and_at_most_two_percent_of_the_others() {
        for count in [2, 3, 5, 10, 20, 21, 80, 300, 500] {
            let before = maglev_table(&fleet(0..count));
            for gone in [0, count / 2, count - 1] {
                let mut backends = fleet(0..count);
                backends[gone as usize].2 = 0;
                let after = maglev_table(&backends);
                assert_eq!(after.len(), before.len());
                let moved = before.iter().zip(&after).filter(|(old, new)| old != new).count();
                let limit = before.len() / count as usize + before.len() / 50;
                assert!(moved <= limit, "{moved} of {} slots moved for 1 of {count}", before.len());
            }
        }
    }

    proptest! {
        #[test]
        fn the_order_of_the_backends_does_not_matter(names in proptest::collection::btree_set(0u64..1000, 1..30)) {
            let forward = fleet(names.iter().copied());
            let mut backward = forward.clone();
            backward.reverse();
            prop_assert_eq!(maglev_table(&forward), maglev_table(&backward));
        }
    }
}
