//! Floods of SYNs: tells of them, and changes the cookies' keys.

use super::state::Agent;
use crate::api::EventKind;
use crate::core::flood::FloodEvent;
use crate::io::dataplane::DataplaneError;
use crate::model::SynCookieMode;
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
        if self.config.dataplane.syn_cookies == SynCookieMode::Always {
            self.flood.forget();
            return Ok(());
        }
        match self.flood.observe(self.dataplane.syns_not_remembered()?, now) {
            Some(FloodEvent::Began) => self.journal.record(
                EventKind::Warning,
                "SYN flood: too many handshakes are unfinished; SYNs are answered with cookies, or let go by, without a record",
            ),
            Some(FloodEvent::Ended { syns }) => self.journal.record(
                EventKind::Warning,
                format!("SYN flood: over; {syns} SYNs were answered, or let go by, without a record"),
            ),
            None => {}
        }
        Ok(())
    }

    /// The flood there is, as a warning.
    pub(super) fn flood_warning(&self) -> Option<String> {
        let (lasting, syns) = self.flood.flood(Instant::now())?;
        let seconds = lasting.as_secs();
        Some(format!("SYN flood for {seconds} s: {syns} SYNs were answered, or let go by, without a record"))
    }
}
