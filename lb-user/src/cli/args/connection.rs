//! `lbctl connection …`.

use super::WhichArgs;
use clap::Subcommand;

/// Connections that end at this node: those of services with modes tcp and tls.
#[derive(Debug, Subcommand)]
pub enum ConnectionCommand {
    /// List them, with what the kernel knows of each.
    List(WhichArgs),
}
