//! The words of `lbctl mysql`.

use crate::model::{BackendName, ServiceName};
use clap::Subcommand;
use std::time::Duration;

/// Services with mode mysql.
#[derive(Debug, Subcommand)]
pub enum MysqlCommand {
    /// Show who takes writes, who answers reads, and how far behind they are.
    Nodes,
    /// Show how often statements were sent to the primary and to replicas, and why.
    Routes,
    /// List sessions, and what keeps them at the primary.
    Sessions,
    /// Show what statements cost and where they ran, by form: literals are left out.
    Digests {
        /// The service, where there are several.
        #[arg(long)]
        service: Option<ServiceName>,
        /// Show so many, those that took longest together first.
        #[arg(long, short = 'n', default_value_t = 20)]
        lines: usize,
    },
    /// Say where a statement would run, and why. Runs nothing.
    Route {
        /// The statement.
        sql: String,
        /// The service, where there are several.
        #[arg(long)]
        service: Option<ServiceName>,
    },
    /// Have a replica take the primary's place: the old one stops to take writes first, and replicates from the new one.
    Promote {
        /// The replica.
        backend: BackendName,
        /// The service, where there are several.
        #[arg(long)]
        service: Option<ServiceName>,
        /// The primary is down, and will not come back by itself. Two primaries lose writes.
        #[arg(long)]
        primary_is_down: bool,
        /// How long it may take to get what it lacks; nothing is changed after that.
        #[arg(long, default_value = "10s", value_parser = humantime::parse_duration)]
        within: Duration,
    },
    /// End a session.
    Kill {
        /// Its number, as `lbctl mysql sessions` lists it.
        number: u32,
        /// The service, where there are several.
        #[arg(long)]
        service: Option<ServiceName>,
    },
}
