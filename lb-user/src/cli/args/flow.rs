//! Which flows `lbctl flow` is asked about.

use super::duration;
use crate::model::{BackendName, FlowStateWord, Protocol, ServiceName, parse_prefix};
use clap::Subcommand;
use ipnet::IpNet;
use std::time::Duration;

/// Flows.
#[derive(Debug, Subcommand)]
pub enum FlowCommand {
    /// List flows.
    List {
        /// Only of this service.
        #[arg(long)]
        service: Option<ServiceName>,
        /// Only of backends of this name.
        #[arg(long)]
        backend: Option<BackendName>,
        /// Only of these clients: an address or a prefix.
        #[arg(long, value_name = "PREFIX", value_parser = prefix)]
        client: Option<IpNet>,
        /// Only of this transport protocol: tcp or udp.
        #[arg(long)]
        protocol: Option<Protocol>,
        /// Only in this state: embryonic, established, half-closed or closed.
        #[arg(long)]
        state: Option<FlowStateWord>,
        /// Only those whose clients have been silent for so long.
        #[arg(long, value_name = "TIME", value_parser = duration)]
        idle: Option<Duration>,
        /// At most so many.
        #[arg(long, default_value_t = 100)]
        limit: usize,
    },
}

/// An address or a prefix.
pub(super) fn prefix(text: &str) -> Result<IpNet, String> {
    parse_prefix(text).map_err(|error| error.to_string())
}
