//! Which slot, which port: the arithmetic of steering, without maps.

use crate::abi::PORTS_IN_A_ROW;

/// The slot a ticket draws. Consecutive tickets walk the slot table in order, so every full turn gives
/// each backend exactly its share, whichever CPUs drew them. Slot 0 of an empty table, which callers do not
/// ask for.
#[inline(always)]
pub const fn slot_index(ticket: u64, slots_len: u32) -> u32 {
    // Spelled out because a remainder that may panic does not pass the kernel's verifier.
    if slots_len == 0 { 0 } else { (ticket % slots_len as u64) as u32 }
}

/// The slot that a hash falls on, in a table of that length: its share of the hash's range, so no division.
#[inline(always)]
pub const fn hashed_slot_index(hash: u32, slots_len: u32) -> u32 {
    ((hash as u64 * slots_len as u64) >> 32) as u32
}

/// Another slot than that one, drawn by a random number. The same one where there is no other.
#[inline(always)]
pub const fn other_slot_index(first: u32, random: u32, slots_len: u32) -> u32 {
    if slots_len < 2 {
        return first;
    }
    let other = first + 1 + hashed_slot_index(random, slots_len - 1);
    if other >= slots_len { other - slots_len } else { other }
}

/// Whether the second of two backends has fewer flows for its weight than the first.
#[inline(always)]
pub const fn is_less_loaded(second: (u64, u16), first: (u64, u16)) -> bool {
    // Cross products: no division, and no rounding. Flows are fewer than 2^32, so none overflows.
    second.0.wrapping_mul(first.1 as u64) < first.0.wrapping_mul(second.1 as u64)
}

/// A hash in the making, the same on every node and after every restart: so a flow whose record is lost finds its
/// backend again wherever the slot tables are the same.
#[derive(Clone, Copy, Debug)]
pub struct Hash(u64);

impl Hash {
    /// Of nothing.
    pub const START: Self = Self(0x243f_6a88_85a3_08d3);

    /// Also of these words, as they lie in memory.
    #[inline(always)]
    pub fn with<const N: usize>(self, words: &[u32; N]) -> Self {
        let mut hash = self.0;
        // Two at a time; the last one may be alone.
        for pair in words.chunks(2) {
            let high = match pair {
                [_, high] => u64::from(u32::from_le(*high)) << 32,
                _ => 0,
            };
            let low = pair.first().map_or(0, |low| u64::from(u32::from_le(*low)));
            hash = (hash ^ low ^ high).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            hash ^= hash >> 32;
        }
        Self(hash)
    }

    /// The hash: all its bits depend on all bytes.
    #[inline(always)]
    pub const fn finish(self) -> u32 {
        let mut hash = self.0.wrapping_mul(0xd6e8_feb8_6659_fd93);
        hash ^= hash >> 32;
        (hash.wrapping_mul(0xd6e8_feb8_6659_fd93) >> 32) as u32
    }
}

/// The NAT port a ticket draws from a node's range, at that attempt of a flow. Taking them in turn makes the time until a port is
/// used again as long as the range allows. Ports that are held have been taken in a row as a rule, by a flood, or by clients that
/// stay, and two such rows may be any distance apart: so after [`PORTS_IN_A_ROW`] attempts in vain tickets are scattered over the
/// range. The first port of an empty range, which callers do not ask for.
#[inline(always)]
pub const fn nat_port(first: u16, count: u16, ticket: u64, attempt: u32) -> u16 {
    if count == 0 {
        return first;
    }
    let offset = if attempt < PORTS_IN_A_ROW {
        ticket % count as u64
    } else {
        // 2^64 divided by the golden ratio: whatever the range, its multiples leave no part of it out for long.
        ((ticket.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) * count as u64) >> 32
    };
    first.wrapping_add(offset as u16)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    #[test]
    fn every_turn_visits_each_slot_once_in_order() {
        let visited: std::vec::Vec<u32> = (6..12).map(|ticket| slot_index(ticket, 3)).collect();
        assert_eq!(visited, [0, 1, 2, 0, 1, 2]);
    }

    #[test]
    fn neighbouring_sources_spread_over_the_slots() {
        let mut counts = [0u32; 16];
        for host in 0..65_536u32 {
            let hash = Hash::START.with(&[0, 0, 0xffff_0000, (0x0a5a_0000 + host).to_be()]).finish();
            counts[hashed_slot_index(hash, 16) as usize] += 1;
        }
        // 4096 expected; sixteen of a binomial's standard deviations of 62 would be no accident.
        assert!(counts.iter().all(|count| (3_800..4_400).contains(count)), "{counts:?}");
    }

    #[test]
    fn after_four_ports_in_a_row_the_search_goes_on_anywhere() {
        assert_eq!([0, 1, 2, 3].map(|attempt| nat_port(0, 15_360, 1000, attempt)), [1000; 4]);
        let far: std::collections::BTreeSet<u16> =
            (0..1000).map(|ticket| nat_port(0, 15_360, ticket, 4)).collect();
        assert!(far.len() > 900, "of 1000 tickets {} ports", far.len());
        // Of any row of 300 ports, not many more are hit than chance would.
        let row = |first: u16| far.range(first..first + 300).count();
        assert!((0..15_000).all(|first| row(first) < 40));
    }

    #[test]
    fn the_search_goes_on_anywhere_in_small_ranges_too() {
        for count in 2..64u16 {
            // Four tries of a flow whose first four were in one half; the row of those moves on by eight with each flow.
            let reaches = |flow: u64| {
                let half = |ticket: u64, attempt| nat_port(0, count, ticket, attempt) < count / 2;
                let row = half(8 * flow, 0);
                (4..8).any(|attempt| half(8 * flow + u64::from(attempt), attempt) != row)
            };
            let reached = (0..100).filter(|flow| reaches(*flow)).count();
            assert!(reached > 80, "{reached} of 100 flows in a range of {count}");
        }
    }

    #[test]
    fn load_is_compared_by_weight() {
        assert!(is_less_loaded((1, 1), (2, 1)));
        assert!(!is_less_loaded((2, 1), (2, 1)), "of equals the first is taken");
        assert!(is_less_loaded((5, 3), (2, 1)));
        assert!(!is_less_loaded((6, 3), (2, 1)));
    }

    proptest! {
        #[test]
        fn the_other_slot_is_another_one_of_the_table(random: u32, len in 2u32..5000, first in 0u32..5000) {
            let first = first % len;
            let other = other_slot_index(first, random, len);
            prop_assert!(other < len && other != first);
        }

        #[test]
        fn ports_stay_in_the_range_and_repeat_only_after_a_full_turn(
            first in 1024u16..30000, count in 1u16..2000, start in 0u64..1_000_000
        ) {
            let mut seen = BTreeMap::new();
            for ticket in start..start + u64::from(count) {
                let port = nat_port(first, count, ticket, 0);
                prop_assert!(port >= first && port < first + count);
                prop_assert!(seen.insert(port, ticket).is_none());
            }
        }
    }
}
