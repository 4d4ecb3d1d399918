//! Floods of SYNs: tells of them, and changes the cookies' keys.

use super::state::Agent;
use crate::api::EventKind;
use crate::core::flood::FloodEvent;
use crate::io::dataplane::DataplaneError;
use crate::model::SynCookieMode;
use lb_ebpf::outcome::Outcome;
use std::time::Instant;

impl Agent {
    /// Looks after cookies, once a tick.
    pub(super) fn watch_floods(&mut self) {
        if let Err(error) = self.watch(Instant::now()) {
            self.journal.record(EventKind::Warning, format!("SYN cookies: {error}"));
        }
    }

    fn watch(&mut self, now: Instant) -> Result<(), DataplaneError> {
        if self.flood.is_key_old(now) {
            self.dataplane.change_cookie_key()?;
        }
        // Where all SYNs get cookies, they say nothing.
        let all_get_cookies = self.config.dataplane.syn_cookies == SynCookieMode::Always;
        if all_get_cookies != self.flood.is_without_cookies() {
            self.flood = self.flood.forgetting(all_get_cookies);
        }
        let telling = [Outcome::Unrecorded, Outcome::CookieSent];
        let telling = if all_get_cookies { &telling[..1] } else { &telling[..] };
        match self.flood.observe(self.dataplane.packets_not_recorded(telling)?, now) {
            Some(FloodEvent::Began) => self.journal.record(
                EventKind::Warning,
                "SYN flood: too many handshakes are unfinished; SYNs are answered with cookies, or let go by, without a record",
            ),
            Some(FloodEvent::Ended { packets }) => self.journal.record(
                EventKind::Warning,
                format!("SYN flood: over; {packets} packets were answered, or let go by, without a record"),
            ),
            None => {}
        }
        Ok(())
    }

    /// The flood there is, as a warning.
    pub(super) fn flood_warning(&self) -> Option<String> {
        let (lasting, packets) = self.flood.flood(Instant::now())?;
        let seconds = lasting.as_secs();
        Some(format!(
            "SYN flood for {seconds} s: {packets} packets were answered, or let go by, without a record"
        ))
    }
}
