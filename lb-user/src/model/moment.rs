//! Times as whole numbers, as files and views have them. One that is larger than any number is told as the largest.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Whole milliseconds.
pub fn whole_ms(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// Whole microseconds.
pub fn whole_us(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

/// A moment in milliseconds since 1970, in UTC; one before that is 0.
pub fn unix_ms(moment: SystemTime) -> u64 {
    whole_ms(moment.duration_since(UNIX_EPOCH).unwrap_or_default())
}
