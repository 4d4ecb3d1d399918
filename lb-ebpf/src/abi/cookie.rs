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

    /// Whether so many handshakes, or more, are unfinished, as far as the window of that time or the one before tell.
    #[inline(always)]
    pub const fn is_over(&self, now_ns: u64, threshold: u32) -> bool {
        let age = now_ns.wrapping_sub(self.began_ns);
        let (now, before) = (self.unfinished(), self.unfinished_before);
        let most = if age >= 2 * PRESSURE_WINDOW_NS {
            0
        } else if age >= PRESSURE_WINDOW_NS || now > before {
            now
        } else {
            before
        };
        threshold != u32::MAX && most >= threshold
    }

    /// Notes that handshakes hold what new ones need: as good as a flood, for this window and the next.
    #[inline(always)]
    pub const fn note_shortage(&mut self) {
        self.opened |= 1 << 31;
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
        assert!(!pressure.is_over(SECOND, 100));
        pressure.opened = 100;
        assert!(pressure.is_over(SECOND, 100));
        assert!(pressure.is_over(2 * SECOND, 100), "before the turn is made");
        pressure.turn(2 * SECOND);
        assert!(pressure.is_over(2 * SECOND, 100), "the window before says so");
        assert!(!pressure.is_over(3 * SECOND, 100), "before that turn is made");
        pressure.turn(3 * SECOND);
        assert!(!pressure.is_over(3 * SECOND, 100));
    }

    #[test]
    fn handshakes_that_are_completed_are_no_flood() {
        let mut pressure = Pressure { opened: 1000, completed: 950, ..Pressure::default() };
        assert!(!pressure.is_over(0, 100));
        pressure.turn(SECOND);
        assert_eq!((pressure.unfinished_before, pressure.opened), (50, 0));
    }

    #[test]
    fn a_window_long_ago_says_nothing() {
        let mut pressure = Pressure { opened: 1000, ..Pressure::default() };
        assert!(!pressure.is_over(5 * SECOND, 1));
        pressure.turn(5 * SECOND);
        assert!(!pressure.is_over(5 * SECOND, 1));
    }

    #[test]
    fn zero_is_always_and_the_largest_number_never() {
        let calm = Pressure::default();
        let wild = Pressure { opened: u32::MAX, ..calm };
        assert!(calm.is_over(0, 0) && calm.is_over(9 * SECOND, 0) && !wild.is_over(0, u32::MAX));
    }

    #[test]
    fn a_shortage_is_a_flood_for_a_window_and_the_next_whatever_was_completed() {
        let mut pressure = Pressure { opened: 10, completed: 10, ..Pressure::default() };
        pressure.note_shortage();
        pressure.note_shortage();
        assert!(pressure.is_over(0, 1 << 30));
        pressure.turn(SECOND);
        assert!(pressure.is_over(SECOND, 1 << 30));
        pressure.turn(2 * SECOND);
        assert!(!pressure.is_over(2 * SECOND, 1));
    }
}
