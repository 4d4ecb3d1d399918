//! Numbers of VRRP (RFC 9568 §5.2): which virtual router, how much a node is wanted for it, how often it advertises.

use std::fmt;
use std::time::Duration;

/// A virtual router's id on its network: 1 to 255.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct VirtualRouterId(u8);

impl VirtualRouterId {
    /// From its number; `None` for 0.
    pub const fn new(number: u8) -> Option<Self> {
        if number == 0 { None } else { Some(Self(number)) }
    }

    /// The number.
    pub const fn get(self) -> u8 {
        self.0
    }
}

impl fmt::Display for VirtualRouterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// How much a node is wanted as Active: 1 to 254, and 255 for the owner of the addresses.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Priority(u8);

impl Priority {
    /// The owner's, which takes its addresses at once and never yields them.
    pub const OWNER: Self = Self(255);
    /// The least that a node can have.
    pub const LEAST: Self = Self(1);

    /// From its number; `None` for 0, which in an advertisement says that its sender leaves.
    pub const fn new(number: u8) -> Option<Self> {
        if number == 0 { None } else { Some(Self(number)) }
    }

    /// The number.
    pub const fn get(self) -> u8 {
        self.0
    }

    /// Whether it is the owner's.
    pub const fn is_owner(self) -> bool {
        self.0 == Self::OWNER.0
    }

    /// So much less, but not nothing. The owner's stays.
    #[must_use]
    pub const fn lowered_by(self, penalty: u8) -> Self {
        if self.is_owner() {
            return self;
        }
        let lowered = self.0.saturating_sub(penalty);
        Self(if lowered == 0 { 1 } else { lowered })
    }
}

impl fmt::Display for Priority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The time between two advertisements: 1 to 4095 hundredths of a second.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct AdvertInterval {
    centiseconds: u16,
}

impl AdvertInterval {
    /// From hundredths of a second; `None` for what does not fit the 12 bits of the field, and for 0.
    pub const fn from_centiseconds(centiseconds: u16) -> Option<Self> {
        if centiseconds == 0 || centiseconds > 4095 { None } else { Some(Self { centiseconds }) }
    }

    /// From a time; `None` where that is not a whole number of hundredths of a second from 10 ms to 40.95 s.
    pub fn from_duration(time: Duration) -> Option<Self> {
        let nanoseconds = time.as_nanos();
        if !nanoseconds.is_multiple_of(10_000_000) {
            return None;
        }
        Self::from_centiseconds(u16::try_from(nanoseconds / 10_000_000).ok()?)
    }

    /// Hundredths of a second.
    pub const fn centiseconds(self) -> u16 {
        self.centiseconds
    }

    /// The time.
    pub const fn duration(self) -> Duration {
        Duration::from_millis(self.centiseconds as u64 * 10)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_are_whole_hundredths_of_a_second_from_ten_milliseconds_on() {
        let of = |milliseconds| AdvertInterval::from_duration(Duration::from_millis(milliseconds));
        assert_eq!(of(10).map(AdvertInterval::centiseconds), Some(1));
        assert_eq!(of(40_950).map(AdvertInterval::duration), Some(Duration::from_millis(40_950)));
        for milliseconds in [0, 5, 15, 40_960, 700_000_000] {
            assert_eq!(of(milliseconds), None, "{milliseconds} ms");
        }
    }

    #[test]
    fn a_lowered_priority_stays_above_nothing_and_the_owners_stays() {
        let priority = |number| Priority::new(number).expect("not 0");
        assert_eq!(priority(100).lowered_by(30), priority(70));
        assert_eq!(priority(100).lowered_by(100), Priority::LEAST);
        assert_eq!(Priority::OWNER.lowered_by(200), Priority::OWNER);
    }
}
