//! Certificates that an authority gives out (RFC 8555): when one is asked for, and what nodes tell each other of them.
//!
//! Owns the times, and how what two nodes know becomes one. Never asks anybody: that is the shell's, and the agent decides which node does.

mod shared;

pub use shared::{Asked, Challenge, Item, SHARED_BYTES_MAX, Shared};

use std::time::Duration;

/// The protocol that the handshake of TLS-ALPN-01 asks for, and nothing else does. RFC 8737 §6.2.
pub const ACME_TLS: &[u8] = b"acme-tls/1";

/// After a first failure; every further one doubles it.
const AGAIN_AFTER: Duration = Duration::from_secs(60);
/// And at most. Authorities count failures by the hour.
const AGAIN_AFTER_MAX: Duration = Duration::from_secs(6 * 3600);

/// When another certificate is asked for: a third of the time of the one that is there is left. All times since the beginning of 1970.
pub fn renewal(not_before: Duration, not_after: Duration) -> Duration {
    not_after.saturating_sub(not_after.saturating_sub(not_before) / 3)
}

/// How long to wait after so many failures in a row.
pub fn again_after(failures: u32) -> Duration {
    let doublings = failures.saturating_sub(1).min(16);
    AGAIN_AFTER.saturating_mul(1 << doublings).min(AGAIN_AFTER_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_is_renewed_when_a_third_of_its_time_is_left() {
        let day = Duration::from_secs(86_400);
        assert_eq!(renewal(100 * day, 190 * day), 160 * day);
    }

    #[test]
    fn failures_are_followed_by_ever_longer_rests() {
        let rests: Vec<u64> =
            [1, 2, 3, 9, 10, u32::MAX].map(|failures| again_after(failures).as_secs()).to_vec();
        assert_eq!(rests, [60, 120, 240, 15_360, 21_600, 21_600]);
    }
}
