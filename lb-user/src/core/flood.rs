//! Whether there is a flood of SYNs, as the program's counters tell; and when a secret of cookies is old enough.

use std::time::{Duration, Instant};

/// Without a cookie for so long, a flood is over. The program itself is calm again after two seconds.
const CALM: Duration = Duration::from_secs(10);
/// How long cookies are made with one key; they are good for once to twice that.
const KEY_LIFETIME: Duration = Duration::from_secs(60);

/// What was noticed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FloodEvent {
    /// The program began to answer SYNs without remembering them.
    Began,
    /// It remembers again.
    Ended {
        /// SYNs that were answered with a cookie, and segments that were let by without a record.
        packets: u64,
    },
}

#[derive(Clone, Copy, Debug)]
struct Flood {
    began: Instant,
    last: Instant,
    count_before: u64,
}

/// Watches the count of packets that were not recorded.
#[derive(Clone, Copy, Debug)]
pub struct FloodWatch {
    /// What the counter stood at; `None` until it was read.
    seen: Option<u64>,
    flood: Option<Flood>,
    key_changed: Instant,
    without_cookies: bool,
}

impl FloodWatch {
    /// A watch that has seen nothing.
    pub fn new(now: Instant) -> Self {
        Self { seen: None, flood: None, key_changed: now, without_cookies: false }
    }

    /// Whether it is time for another key. Says so once.
    pub fn is_key_old(&mut self, now: Instant) -> bool {
        let is_old = now.duration_since(self.key_changed) >= KEY_LIFETIME;
        if is_old {
            self.key_changed = now;
        }
        is_old
    }

    /// Whether cookies are left out of the count.
    pub fn is_without_cookies(&self) -> bool {
        self.without_cookies
    }

    /// The same watch, which forgot what it saw, because from now on something else is counted: cookies too, or not.
    pub fn forgetting(self, without_cookies: bool) -> Self {
        Self { seen: None, flood: None, without_cookies, ..self }
    }

    /// Takes the counter's value in.
    pub fn observe(&mut self, count: u64, now: Instant) -> Option<FloodEvent> {
        let before = self.seen.replace(count)?;
        if count > before {
            match &mut self.flood {
                Some(flood) => flood.last = now,
                None => {
                    self.flood = Some(Flood { began: now, last: now, count_before: before });
                    return Some(FloodEvent::Began);
                }
            }
        } else if let Some(flood) = self.flood
            && now.duration_since(flood.last) >= CALM
        {
            self.flood = None;
            return Some(FloodEvent::Ended { packets: count.saturating_sub(flood.count_before) });
        }
        None
    }

    /// The flood there is: for how long, and how many packets were not recorded.
    pub fn flood(&self, now: Instant) -> Option<(Duration, u64)> {
        let flood = self.flood?;
        Some((now.duration_since(flood.began), self.seen?.saturating_sub(flood.count_before)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(start: Instant, seconds: u64) -> Instant {
        start + Duration::from_secs(seconds)
    }

    #[test]
    fn a_flood_is_told_when_it_begins_and_when_it_has_been_over_for_a_while() {
        let start = Instant::now();
        let mut watch = FloodWatch::new(start);
        assert_eq!(watch.observe(100, start), None, "of an agent before this one");
        assert_eq!(watch.observe(100, at(start, 1)), None);
        assert_eq!(watch.observe(150, at(start, 2)), Some(FloodEvent::Began));
        assert_eq!(watch.observe(400, at(start, 3)), None);
        assert_eq!(watch.flood(at(start, 4)), Some((Duration::from_secs(2), 300)));
        assert_eq!(watch.observe(400, at(start, 12)), None, "it may only pause");
        assert_eq!(watch.observe(400, at(start, 13)), Some(FloodEvent::Ended { packets: 300 }));
        assert_eq!(watch.flood(at(start, 13)), None);
    }

    #[test]
    fn what_was_forgotten_is_no_flood_and_begins_none() {
        let start = Instant::now();
        let mut watch = FloodWatch::new(start);
        watch.observe(1, start);
        assert_eq!(watch.observe(2, at(start, 1)), Some(FloodEvent::Began));
        let mut watch = watch.forgetting(true);
        assert!(watch.is_without_cookies());
        assert_eq!(watch.flood(at(start, 2)), None);
        assert_eq!(watch.observe(900, at(start, 3)), None, "of the time when nobody watched");
    }

    #[test]
    fn keys_are_old_after_a_minute_and_again_after_the_next() {
        let start = Instant::now();
        let mut watch = FloodWatch::new(start);
        assert!(!watch.is_key_old(at(start, 59)));
        assert!(watch.is_key_old(at(start, 60)));
        assert!(!watch.is_key_old(at(start, 61)));
        assert!(watch.is_key_old(at(start, 120)));
    }
}
