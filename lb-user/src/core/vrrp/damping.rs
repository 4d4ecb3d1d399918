//! How often a virtual router may take the addresses from other nodes: one that comes and goes costs a moment each time.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// The limit, and what counts against it.
#[derive(Clone, Debug)]
pub(super) struct Damping {
    limit: usize,
    window: Duration,
    /// When it took them: as many as may be, oldest first.
    taken_at: VecDeque<Instant>,
    told: bool,
}

impl Damping {
    /// At most so many times within a window; 0 is no limit.
    pub(super) fn new(limit: u32, window: Duration) -> Self {
        Self { limit: limit as usize, window, taken_at: VecDeque::new(), told: false }
    }

    /// It took the addresses.
    pub(super) fn count(&mut self, now: Instant) {
        self.taken_at.push_back(now);
        while self.taken_at.len() > self.limit {
            self.taken_at.pop_front();
        }
    }

    /// Whether it may not do so again, for now.
    pub(super) fn holds(&self, now: Instant) -> bool {
        let recent = self.taken_at.iter().filter(|at| now.saturating_duration_since(**at) < self.window);
        self.limit != 0 && recent.count() >= self.limit
    }

    /// Whether it is held, and that has not been said yet.
    pub(super) fn is_news(&mut self, now: Instant) -> bool {
        let holds = self.holds(now);
        let told = std::mem::replace(&mut self.told, holds);
        holds && !told
    }
}
