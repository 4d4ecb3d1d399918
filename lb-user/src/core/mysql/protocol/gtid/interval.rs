//! Sets of transaction numbers, kept as intervals.
//!
//! Owns their order: ascending, apart from each other by at least one number. Knows nothing of sources.

use super::{GtidError, MAX_PARTS};

/// Numbers from the first to the last, both included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Interval {
    pub(super) first: u64,
    pub(super) last: u64,
}

/// A set of numbers.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Intervals {
    list: Vec<Interval>,
}

impl Intervals {
    pub(super) fn iter(&self) -> impl Iterator<Item = &Interval> {
        self.list.iter()
    }

    /// Adds an interval and joins it with those it touches.
    pub(super) fn add(&mut self, new: Interval) -> Result<(), GtidError> {
        // The usual case: the next transaction of a source.
        if let Some(last) = self.list.last_mut()
            && last.first <= new.first
            && new.first <= last.last.saturating_add(1)
        {
            last.last = last.last.max(new.last);
            return Ok(());
        }
        let start = self.list.partition_point(|old| old.last.saturating_add(1) < new.first);
        let end = self.list.partition_point(|old| old.first <= new.last.saturating_add(1));
        let touched = self.list.get(start..end.max(start)).unwrap_or_default();
        if touched.is_empty() && self.list.len() >= MAX_PARTS {
            return Err(GtidError::TooLarge(MAX_PARTS));
        }
        let joined = touched.iter().fold(new, |joined, old| Interval {
            first: joined.first.min(old.first),
            last: joined.last.max(old.last),
        });
        self.list.splice(start..end.max(start), [joined]);
        Ok(())
    }

    pub(super) fn contains(&self, asked: &Interval) -> bool {
        let at = self.list.partition_point(|own| own.last < asked.first);
        self.list.get(at).is_some_and(|own| own.first <= asked.first && asked.last <= own.last)
    }
}
