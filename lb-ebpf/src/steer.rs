//! Which slot, which port: the arithmetic of steering, without maps.

/// The slot a ticket draws. Consecutive tickets walk the slot table in order, so every full turn gives
/// each backend exactly its share, whichever CPUs drew them. Slot 0 of an empty table, which callers do not
/// ask for.
#[inline(always)]
pub const fn slot_index(ticket: u64, slots_len: u32) -> u32 {
    // Spelled out because a remainder that may panic does not pass the kernel's verifier.
    if slots_len == 0 { 0 } else { (ticket % slots_len as u64) as u32 }
}

/// The NAT port a ticket draws from a node's range. Taking them in turn makes the time until a port is
/// used again as long as the range allows. The first port of an empty range, which callers do not ask for.
#[inline(always)]
pub const fn nat_port(first: u16, count: u16, ticket: u64) -> u16 {
    if count == 0 {
        return first;
    }
    first.wrapping_add((ticket % count as u64) as u16)
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

    proptest! {
        #[test]
        fn ports_stay_in_the_range_and_repeat_only_after_a_full_turn(
            first in 1024u16..30000, count in 1u16..2000, start in 0u64..1_000_000
        ) {
            let mut seen = BTreeMap::new();
            for ticket in start..start + u64::from(count) {
                let port = nat_port(first, count, ticket);
                prop_assert!(port >= first && port < first + count);
                prop_assert!(seen.insert(port, ticket).is_none());
            }
        }
    }
}
