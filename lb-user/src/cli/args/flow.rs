//! Which flows `lbctl flow` is asked about.

use super::WhichArgs;
use crate::model::{FlowStateWord, Protocol, parse_prefix};
use clap::Subcommand;
use ipnet::IpNet;

/// Flows.
#[derive(Debug, Subcommand)]
pub enum FlowCommand {
    /// List flows.
    List {
        /// Which.
        #[command(flatten)]
        which: WhichArgs,
        /// Only of this transport protocol: tcp or udp.
        #[arg(long)]
        protocol: Option<Protocol>,
        /// Only in this state: embryonic, established, half-closed or closed.
        #[arg(long)]
        state: Option<FlowStateWord>,
    },
}

/// An address or a prefix.
pub(super) fn prefix(text: &str) -> Result<IpNet, String> {
    parse_prefix(text).map_err(|error| error.to_string())
}
