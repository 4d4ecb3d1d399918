//! What the program needs for SYN cookies, and how it finds out that it needs them.

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
    /// SYNs are answered with cookies where, in a [`PRESSURE_WINDOW_NS`], so many handshakes more than were completed began on
    /// one CPU. 0 is always; `u32::MAX` never.
    pub threshold: u32,
}

/// One CPU's account of handshakes.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Pod, Zeroable)]
pub struct Pressure {
    /// When the window began, in ns of the coarse clock.
    pub began_ns: u64,
    /// SYNs of no flow since then.
    pub opened: u32,
    /// Handshakes that were completed since then.
    pub completed: u32,
    /// Handshakes of the window before that were not completed in it.
    pub unfinished_before: u32,
    /// Nothing.
    pub zero: u32,
}

/// How long handshakes are counted before the count begins anew.
pub const PRESSURE_WINDOW_NS: u64 = 1_000_000_000;
/// Segments of no flow are looked at for a cookie if one was sent within that time.
pub const COOKIE_LIFETIME_NS: u64 = 128_000_000_000;

impl Pressure {
    /// Goes on to a new window where it is time for that.
    #[inline(always)]
    pub const fn turn(&mut self, now_ns: u64) {
        let age = now_ns.wrapping_sub(self.began_ns);
        if age < PRESSURE_WINDOW_NS {
            return;
        }
        // What is older than a window says nothing about now.
        self.unfinished_before = if age < 2 * PRESSURE_WINDOW_NS { self.unfinished() } else { 0 };
        self.began_ns = now_ns;
        self.opened = 0;
        self.completed = 0;
    }

    /// Handshakes of this window that are not completed.
    #[inline(always)]
    pub const fn unfinished(&self) -> u32 {
        self.opened.saturating_sub(self.completed)
    }

    /// Whether more handshakes than these are unfinished, as far as this window or the one before tell.
    #[inline(always)]
    pub const fn is_over(&self, threshold: u32) -> bool {
        let (now, before) = (self.unfinished(), self.unfinished_before);
        threshold != u32::MAX && (if now > before { now } else { before }) >= threshold
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = PRESSURE_WINDOW_NS;

    #[test]
    fn a_flood_is_felt_at_once_and_for_a_window_after_its_end() {
        let mut pressure = Pressure { began_ns: SECOND, ..Pressure::default() };
        pressure.opened = 99;
        assert!(!pressure.is_over(100));
        pressure.opened = 100;
        assert!(pressure.is_over(100));
        pressure.turn(2 * SECOND);
        assert!(pressure.is_over(100), "the window before says so");
        pressure.turn(3 * SECOND);
        assert!(!pressure.is_over(100));
    }

    #[test]
    fn handshakes_that_are_completed_are_no_flood() {
        let mut pressure = Pressure { opened: 1000, completed: 950, ..Pressure::default() };
        assert!(!pressure.is_over(100));
        pressure.turn(SECOND);
        assert_eq!((pressure.unfinished_before, pressure.opened), (50, 0));
    }

    #[test]
    fn a_window_long_ago_says_nothing() {
        let mut pressure = Pressure { opened: 1000, ..Pressure::default() };
        pressure.turn(5 * SECOND);
        assert!(!pressure.is_over(1));
    }

    #[test]
    fn zero_is_always_and_the_largest_number_never() {
        let calm = Pressure::default();
        let wild = Pressure { opened: u32::MAX, ..calm };
        assert!(calm.is_over(0) && !wild.is_over(u32::MAX));
    }
}
