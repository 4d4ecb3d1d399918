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
    /// The source that an address is part of.
    #[inline(always)]
    pub fn of(address: &Address, outcome: u32) -> Self {
        let mut words = *address.words();
        if !address.is_mapped_v4() {
            words[2] = 0;
            words[3] = 0;
        }
        Self { network: bytemuck::cast(words), outcome }
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
    /// Not used.
    pub zero: u32,
}

impl DropSampling {
    /// What the agent says once a second.
    pub const REFILLED: Self = Self { exact_left: EXACT_DROPS, skip: 0, stride: 1, zero: 0 };

    /// How many drops the one that happened now stands for; 0: it is gone by. `random` is asked for the next distance.
    #[inline(always)]
    pub fn weight(&mut self, random: impl FnOnce() -> u32) -> u32 {
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
        let network = |text: &str| IpAddr::from(DroppedSource::of(&ip(text).into(), 1).network);
        assert_eq!(network("2001:db8:1:2:3:4:5:6"), ip("2001:db8:1:2::"));
        assert_eq!(network("198.51.100.7"), ip("198.51.100.7"));
    }

    /// Each of many drops is somebody's, in turn, which a fixed distance would always find the same ones of.
    #[test]
    fn few_drops_are_counted_and_many_estimated_whoever_they_are_of() {
        let mut sampling = DropSampling::default();
        let mut state = 1_u32;
        let mut random = || {
            state ^= state << 13;
            state ^= state >> 17;
            state ^= state << 5;
            state
        };
        sampling = DropSampling { exact_left: EXACT_DROPS, ..sampling };
        for _ in 0..EXACT_DROPS {
            assert_eq!(sampling.weight(&mut random), 1);
        }
        const DROPS: u32 = 4_000_000;
        let mut counted = BTreeMap::<u32, u32>::new();
        for drop in 0..DROPS {
            *counted.entry(drop % 4).or_default() += sampling.weight(&mut random);
        }
        for (source, packets) in counted {
            let off = f64::from(packets.abs_diff(DROPS / 4)) / f64::from(DROPS / 4);
            assert!(off < 0.05, "source {source}: {packets}");
        }
    }

    #[test]
    fn layouts_have_no_gaps() {
        assert_eq!(core::mem::size_of::<DroppedSource>(), 20);
        assert_eq!(core::mem::size_of::<DroppedPackets>(), 24);
        assert_eq!(core::mem::size_of::<DropSampling>(), 16);
    }
}
