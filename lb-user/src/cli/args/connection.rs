//! `lbctl connection …`.

use super::duration;
use super::flow::prefix;
use crate::model::{BackendName, ServiceName};
use clap::Subcommand;
use ipnet::IpNet;
use std::time::Duration;

/// Connections that end at this node: those of services with modes tcp and tls.
#[derive(Debug, Subcommand)]
pub enum ConnectionCommand {
    /// List them, with what the kernel knows of each.
    List {
        /// Only of this service.
        #[arg(long)]
        service: Option<ServiceName>,
        /// Only with backends of this name.
        #[arg(long)]
        backend: Option<BackendName>,
        /// Only of these clients: an address or a prefix.
        #[arg(long, value_name = "PREFIX", value_parser = prefix)]
        client: Option<IpNet>,
        /// Only those over whose client's side nothing went for so long.
        #[arg(long, value_name = "TIME", value_parser = duration)]
        idle: Option<Duration>,
        /// At most so many.
        #[arg(long, default_value_t = 100)]
        limit: usize,
    },
}
