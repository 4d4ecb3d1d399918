//! From the results of health checks to the health of a backend's address, and when to check next.
//!
//! Owns the counting (rise, fall) and the times of the checks. Never makes a check and never reads a
//! clock: results and times come in from outside. What a health means for the flows is for
//! `core::plan` to say.

use std::time::{Duration, Instant};

use crate::config::HealthCheck;
use crate::model::HealthState;

/// The first check comes within this time, so that a starting agent soon knows who is there.
const FIRST_CHECK_WITHIN: Duration = Duration::from_millis(250);

/// How a check ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CheckResult {
    /// The backend answered as it should.
    Passed,
    /// It did not.
    Failed,
}

/// A change of the health of one address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HealthChange {
    /// The health before.
    pub from: HealthState,
    /// The health now.
    pub to: HealthState,
    /// When the check that decided it ended.
    pub at: Instant,
}

/// The health of one address of one backend.
///
/// It begins as it is told: [`HealthState::Unknown`] for an address that is new, `Up` for one that an
/// earlier agent left in use, so that a restart takes nobody out before he has failed. From unknown, the
/// first success brings it up, whatever `rise` says: a service that starts has no time to lose. Failures
/// count to `fall` as always. Whether an unknown address takes flows is for the caller to decide.
#[derive(Clone, Debug)]
pub struct HealthMachine {
    rise: u32,
    fall: u32,
    refusals: u32,
    state: HealthState,
    /// When the state was entered; `None` while it is the initial one.
    since: Option<Instant>,
    passed_in_a_row: u32,
    failed_in_a_row: u32,
    refused: u32,
}

impl HealthMachine {
    /// A machine for one address.
    pub fn new(check: &HealthCheck, initial: HealthState) -> Self {
        Self {
            rise: check.rise,
            fall: check.fall,
            refusals: check.refusals,
            state: initial,
            since: None,
            passed_in_a_row: 0,
            failed_in_a_row: 0,
            refused: 0,
        }
    }

    /// Takes other numbers for rise and fall; health and counts stay.
    pub fn reconfigure(&mut self, check: &HealthCheck) {
        self.rise = check.rise;
        self.fall = check.fall;
        self.refusals = check.refusals;
    }

    /// Takes the result of a check that ended at `now`; tells when the health has changed.
    pub fn handle(&mut self, result: CheckResult, now: Instant) -> Option<HealthChange> {
        match result {
            CheckResult::Passed => {
                self.passed_in_a_row = self.passed_in_a_row.saturating_add(1);
                self.failed_in_a_row = 0;
                self.refused = 0;
            }
            CheckResult::Failed => {
                self.failed_in_a_row = self.failed_in_a_row.saturating_add(1);
                self.passed_in_a_row = 0;
            }
        }
        let to = match self.state {
            HealthState::Unknown if self.passed_in_a_row >= 1 => HealthState::Up,
            HealthState::Down if self.passed_in_a_row >= self.rise => HealthState::Up,
            HealthState::Unknown | HealthState::Up if self.failed_in_a_row >= self.fall => HealthState::Down,
            HealthState::Unknown | HealthState::Up | HealthState::Down => return None,
        };
        let change = HealthChange { from: self.state, to, at: now };
        self.state = to;
        self.since = Some(now);
        Some(change)
    }

    /// Takes note of a client whose connection the backend refused at `now`; tells when that takes it down. Checks bring
    /// it up again.
    pub fn handle_refusal(&mut self, now: Instant) -> Option<HealthChange> {
        self.refused = self.refused.saturating_add(1);
        if self.refusals == 0 || self.refused < self.refusals || self.state != HealthState::Up {
            return None;
        }
        let change = HealthChange { from: self.state, to: HealthState::Down, at: now };
        self.state = HealthState::Down;
        self.since = Some(now);
        self.passed_in_a_row = 0;
        Some(change)
    }

    /// The health now.
    pub fn state(&self) -> HealthState {
        self.state
    }

    /// When it came to be so; `None` if it has been so from the start.
    pub fn since(&self) -> Option<Instant> {
        self.since
    }

    /// How many checks in a row have passed (first) or failed (second); one of them is 0.
    pub fn in_a_row(&self) -> (u32, u32) {
        (self.passed_in_a_row, self.failed_in_a_row)
    }
}

/// When the checks of one address are made.
///
/// The checks of many addresses begin at different times and do not drift into step: each has a seed
/// of its own, made from its address, and every interval is longer or shorter by up to a twentieth.
/// The same seed makes the same times again.
#[derive(Clone, Debug)]
pub struct CheckTimes {
    interval: Duration,
    seed: u64,
    checks: u64,
}

impl CheckTimes {
    /// The times of the checks of one address.
    pub fn new(interval: Duration, seed: u64) -> Self {
        Self { interval, seed, checks: 0 }
    }

    /// When the first check is due: at most a quarter of a second, or one interval, from now.
    pub fn first_check_at(&self, now: Instant) -> Instant {
        now + spread(FIRST_CHECK_WITHIN.min(self.interval), self.seed)
    }

    /// When the next check is due, the last one having begun at `begun`; never before `now`.
    pub fn next_check_at(&mut self, begun: Instant, now: Instant) -> Instant {
        self.checks = self.checks.wrapping_add(1);
        let least = self.interval - self.interval / 20;
        let more = spread(self.interval / 10, mix(self.seed ^ mix(self.checks)));
        (begun + least + more).max(now)
    }
}

/// A part of `whole` that looks arbitrary and depends on the seed alone.
fn spread(whole: Duration, seed: u64) -> Duration {
    let part = mix(seed) >> 32;
    let nanos = (whole.as_nanos() * u128::from(part)) >> 32;
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

/// Mixes the bits of a number, so that near numbers come out far apart (the finish of SplitMix64).
fn mix(number: u64) -> u64 {
    let number = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

#[cfg(test)]
mod tests;
