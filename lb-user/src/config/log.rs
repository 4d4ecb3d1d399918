//! `[log]`: what the agent tells of itself, and in which form.

use crate::model::{LogFilter, LogFormat};
use std::fmt;

/// The agent's log, on standard error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Log {
    /// What is told.
    pub level: LogFilter,
    /// In which form.
    pub format: LogFormat,
}

impl Default for Log {
    fn default() -> Self {
        Self { level: LogFilter::default(), format: LogFormat::Auto }
    }
}

impl fmt::Display for Log {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "level {}, format {}", self.level, self.format)
    }
}
