//! What the program needs for SYN cookies, and how it finds out that it needs them.

use super::age_ns;
use bytemuck::{Pod, Zeroable};

/// Secrets of cookies, and when cookies are wanted. The agent writes it; [`crate::cookie`] is what it does.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Pod, Zeroable)]
pub struct SynCookies {
    /// Two keys. The agent makes the older one anew and goes on with that, so a cookie is good for one to two times
    /// as long as it waits between two changes.
    pub keys: [[u64; 2]; 2],
    /// The key that cookies are made with: 0 or 1.
    pub current: u32,
    /// SYNs are answered with cookies where, in a [`PRESSURE_WINDOW_NS`], so many handshakes more began than were completed. 0 is
    /// always; `u32::MAX` never.
    pub threshold: u32,
    /// The same for what backends answer directly, where nothing is recorded instead.
    pub direct_threshold: u32,
    /// Nothing: the structure ends on a word of 64 bits.
    pub zero: u32,
}

/// The account of handshakes of all CPUs. Each adds to it what it has counted when that is enough.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Pod, Zeroable)]
pub struct Pressure {
    /// When the window began, in ns of the coarse clock.
    pub began_ns: u64,
    /// Handshakes that began since then, less those that were completed.
    pub unfinished: i64,
    /// The same at the end of the window before.
    pub unfinished_before: i64,
}

/// What one CPU counted and has not added yet.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Pod, Zeroable)]
pub struct PressureShare {
    /// Handshakes that began, less those that were completed.
    pub unfinished: i32,
    /// How many of both.
    pub counted: u32,
}

/// How long handshakes are counted before the count begins anew.
pub const PRESSURE_WINDOW_NS: i64 = 1_000_000_000;
/// Segments of no flow are looked at for a cookie if one was sent within that time.
pub const COOKIE_LIFETIME_NS: i64 = 128_000_000_000;

/// After so many handshakes that began or were completed on it, a CPU adds them up. It is that much which the account may not know, for each
/// CPU.
pub const PRESSURE_SHARE: u32 = 16;

impl Pressure {
    /// Whether a window is over at that time.
    #[inline(always)]
    pub const fn is_window_over(&self, now_ns: u64) -> bool {
        age_ns(self.began_ns, now_ns) >= PRESSURE_WINDOW_NS
    }

    /// How many handshakes are unfinished for sure, as far as the window of that time or the one before tell.
    #[inline(always)]
    pub const fn unfinished_at(&self, now_ns: u64) -> i64 {
        let age = age_ns(self.began_ns, now_ns);
        // What is older than a window says nothing about now.
        if age >= 2 * PRESSURE_WINDOW_NS {
            0
        } else if age >= PRESSURE_WINDOW_NS || self.unfinished > self.unfinished_before {
            self.unfinished
        } else {
            self.unfinished_before
        }
    }

    /// Whether those are so many, or more.
    #[inline(always)]
    pub const fn is_over(&self, now_ns: u64, threshold: u32) -> bool {
        threshold == 0 || threshold != u32::MAX && self.unfinished_at(now_ns) >= threshold as i64
    }

    /// The window after this one.
    #[inline(always)]
    pub const fn next(&self, now_ns: u64) -> Self {
        // What the window before says of this one, it says of the next as well.
        let before =
            if age_ns(self.began_ns, now_ns) >= 2 * PRESSURE_WINDOW_NS { 0 } else { self.unfinished };
        Self { began_ns: now_ns, unfinished: 0, unfinished_before: before }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = PRESSURE_WINDOW_NS as u64;

    #[test]
    fn a_flood_is_felt_at_once_and_for_a_window_after_its_end() {
        let mut pressure = Pressure { began_ns: SECOND, unfinished: 99, unfinished_before: 0 };
        assert!(!pressure.is_over(SECOND, 100));
        pressure.unfinished = 100;
        assert!(pressure.is_over(SECOND, 100));
        assert!(pressure.is_over(2 * SECOND, 100), "before the turn is made");
        let next = pressure.next(2 * SECOND);
        assert!(next.is_over(2 * SECOND, 100), "the window before says so");
        assert!(!next.is_over(3 * SECOND, 100), "before that turn is made");
        assert!(!next.next(3 * SECOND).is_over(3 * SECOND, 100));
    }

    #[test]
    fn handshakes_of_the_window_before_may_be_completed_in_this_one() {
        let pressure = Pressure { began_ns: 0, unfinished: -50, unfinished_before: 20 };
        assert!(!pressure.is_over(0, 21));
        assert!(!pressure.next(SECOND).is_over(SECOND, 1));
    }

    #[test]
    fn a_window_long_ago_says_nothing() {
        let pressure = Pressure { began_ns: 0, unfinished: 1000, unfinished_before: 1000 };
        assert!(!pressure.is_over(5 * SECOND, 1));
        assert!(!pressure.next(5 * SECOND).is_over(5 * SECOND, 1));
    }

    #[test]
    fn zero_is_always_and_the_largest_number_never() {
        let calm = Pressure { began_ns: 0, unfinished: -1, unfinished_before: -1 };
        let wild = Pressure { unfinished: i64::MAX, ..calm };
        assert!(calm.is_over(0, 0) && calm.is_over(9 * SECOND, 0) && !wild.is_over(0, u32::MAX));
    }

    #[test]
    fn a_cpu_whose_clock_is_a_tick_behind_does_not_forget_the_flood() {
        let pressure = Pressure { began_ns: SECOND, unfinished: 1, unfinished_before: 100 };
        assert!(pressure.is_over(SECOND - 1, 100));
        assert!(!pressure.is_window_over(SECOND - 1), "it does not turn the window back");
    }
}
