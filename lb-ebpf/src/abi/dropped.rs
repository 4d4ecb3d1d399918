//! Whose packets are dropped: the sources that the program remembers.

use super::Address;
use bytemuck::{Pod, Zeroable};

/// Sources, by why their packets were dropped, that are remembered at a time; those that were dropped longest ago make room.
pub const MAX_DROPPED_SOURCES: u32 = 4096;
/// Drops that a CPU remembers one by one, each time the agent says so; of the others it remembers some, each for many.
pub const EXACT_DROPS: u32 = 128;
/// At most as many drops are gone by between two of the others that are remembered, less one; a power of two.
pub const STRIDE_MAX: u32 = 256;

/// A source, and why its packets were dropped.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Pod, Zeroable)]
pub struct DroppedSource {
    /// The address; of an IPv6 one the first 64 bits, as whoever has one has as many as it likes.
    pub network: Address,
    /// [`crate::outcome::Outcome`], by its number.
    pub outcome: u32,
}

impl DroppedSource {
    /// That of an IPv4 packet.
    #[inline(always)]
    pub fn of_v4(address: &Address, outcome: u32) -> Self {
        Self { network: *address, outcome }
    }

    /// That of an IPv6 packet, also where it says that it is an IPv4 address: that one has not sent it.
    #[inline(always)]
    pub fn of_v6(address: &Address, outcome: u32) -> Self {
        let [first, second, ..] = *address.words();
        Self { network: bytemuck::cast([first, second, 0, 0]), outcome }
    }
}

/// How many packets of a source were dropped.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Pod, Zeroable)]
pub struct DroppedPackets {
    /// Packets: counted where there are few drops, estimated where there are many.
    pub packets: u64,
    /// The monotonic clock at the first of them, in ns.
    pub first_ns: u64,
    /// The same at the last that was remembered.
    pub last_ns: u64,
}

/// Which drops a CPU remembers next.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Pod, Zeroable)]
pub struct DropSampling {
    /// So many, one by one.
    pub exact_left: u32,
    /// After that it goes by so many.
    pub skip: u32,
    /// And the one that is remembered then stands for so many.
    pub stride: u32,
    /// In which round that was; a round begins when the agent says so.
    pub round: u32,
}

impl DropSampling {
    /// How many drops the one that happened now stands for; 0: it is gone by. `random` is asked for the next distance. A distance that a
    /// round's beginning interrupts goes on after it, so that all that was gone by is counted.
    #[inline(always)]
    pub fn weight(&mut self, round: u32, random: impl FnOnce() -> u32) -> u32 {
        if self.round != round {
            self.round = round;
            self.exact_left = EXACT_DROPS;
        }
        if self.exact_left > 0 {
            self.exact_left -= 1;
            return 1;
        }
        if self.skip > 0 {
            self.skip -= 1;
            return 0;
        }
        let weight = self.stride;
        self.skip = random() & (STRIDE_MAX - 1);
        self.stride = self.skip + 1;
        weight
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;
    use std::net::IpAddr;

    #[test]
    fn an_ipv6_source_is_its_first_half() {
        let ip = |text: &str| -> IpAddr { text.parse().expect("an address") };
        let network = |text: &str| IpAddr::from(DroppedSource::of_v6(&ip(text).into(), 1).network);
        assert_eq!(network("2001:db8:1:2:3:4:5:6"), ip("2001:db8:1:2::"));
        assert_eq!(network("::ffff:198.51.100.7"), ip("::"), "that is not where it came from");
        let v4 = DroppedSource::of_v4(&ip("198.51.100.7").into(), 1);
        assert_eq!(IpAddr::from(v4.network), ip("198.51.100.7"));
    }

    fn random() -> impl FnMut() -> u32 {
        let mut state = 1_u32;
        move || {
            state ^= state << 13;
            state ^= state >> 17;
            state ^= state << 5;
            state
        }
    }

    /// Each of many drops is somebody's, in turn, which a fixed distance would always find the same ones of.
    #[test]
    fn few_drops_are_counted_and_many_estimated_whoever_they_are_of() {
        let (mut sampling, mut random) = (DropSampling::default(), random());
        for _ in 0..EXACT_DROPS {
            assert_eq!(sampling.weight(1, &mut random), 1);
        }
        const DROPS: u32 = 4_000_000;
        let mut counted = BTreeMap::<u32, u32>::new();
        for drop in 0..DROPS {
            *counted.entry(drop % 4).or_default() += sampling.weight(1, &mut random);
        }
        for (source, packets) in counted {
            let off = f64::from(packets.abs_diff(DROPS / 4)) / f64::from(DROPS / 4);
            assert!(off < 0.05, "source {source}: {packets}");
        }
    }

    /// A little more than what is counted one by one, round by round: a distance is never over when the next one begins.
    #[test]
    fn what_a_round_goes_by_is_counted_in_another_one() {
        for drops in [EXACT_DROPS + 1, 200, 256, 300, 1000] {
            let (mut sampling, mut random) = (DropSampling::default(), random());
            const ROUNDS: u32 = 1000;
            let counted: u32 = (1..=ROUNDS)
                .flat_map(|round| (0..drops).map(move |_| round))
                .map(|round| sampling.weight(round, &mut random))
                .sum();
            let missing = (drops * ROUNDS).abs_diff(counted);
            assert!(missing <= STRIDE_MAX, "of {drops} in each round {missing} are missing");
        }
    }

    #[test]
    fn layouts_have_no_gaps() {
        assert_eq!(core::mem::size_of::<DroppedSource>(), 20);
        assert_eq!(core::mem::size_of::<DroppedPackets>(), 24);
        assert_eq!(core::mem::size_of::<DropSampling>(), 16);
    }
}
