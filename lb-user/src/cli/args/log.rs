//! `lbctl log …`.

use crate::model::LogFilter;
use clap::Subcommand;

/// The agent's log.
#[derive(Debug, Subcommand)]
pub enum LogCommand {
    /// Show what it tells, and in which form.
    Show,
    /// Have it tell more or less, until the agent ends; without LEVEL, what the configuration says.
    Level {
        /// off, error, warn, info, debug or trace, and if need be others for parts: info,lbctl::slow=off.
        level: Option<LogFilter>,
    },
}
