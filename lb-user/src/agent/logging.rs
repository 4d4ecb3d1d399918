//! What the log tells: as the configuration wants it, or as somebody wants it for now.

use super::state::Agent;
use crate::api::{ApiError, ErrorKind, EventKind, LogPatch, LogView};
use crate::model::LogFilter;

impl Agent {
    /// Shows what is told, after the change where there is one.
    pub(super) fn log_view(&mut self, patch: Option<LogPatch>) -> Result<LogView, ApiError> {
        let configured = self.config.log.level.clone();
        if let Some(patch) = patch {
            let wanted = patch.level.unwrap_or_else(|| configured.clone());
            self.set_log(&wanted).map_err(|error| ApiError::new(ErrorKind::Internal, error))?;
        }
        Ok(LogView { level: self.log.filter().clone(), configured, format: self.log.format() })
    }

    /// A new configuration wants something else to be told than the one before.
    pub(super) fn follow_log(&mut self, before: &LogFilter) {
        let wanted = self.config.log.level.clone();
        if wanted != *before
            && let Err(error) = self.set_log(&wanted)
        {
            self.journal.record(EventKind::Warning, format!("log.level: {error}"));
        }
    }

    fn set_log(&mut self, wanted: &LogFilter) -> Result<(), String> {
        let before = self.log.filter().clone();
        self.log.set(wanted).map_err(|error| error.to_string())?;
        if before != *wanted {
            self.journal.record(EventKind::ConfigChanged, format!("log: level {before} → {wanted}"));
        }
        Ok(())
    }

    /// What the log tells, where that is not what the configuration says: for an agent that takes this one's place.
    pub(super) fn log_for_now(&self) -> Option<&LogFilter> {
        Some(self.log.filter()).filter(|filter| **filter != self.config.log.level)
    }
}
