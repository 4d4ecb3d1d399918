//! `lbctl service …`.

use super::{ChangeArgs, named_backend};
use crate::model::{AtLimit, BackendName, Mode, Protocol, SchedulerKind, ServiceName, VipName};
use clap::Subcommand;
use std::net::SocketAddr;

/// Services.
#[derive(Debug, Subcommand)]
pub enum ServiceCommand {
    /// List services.
    List,
    /// Show a service.
    Show {
        /// Its name.
        service: ServiceName,
    },
    /// Add a service.
    Add {
        /// Its name.
        service: ServiceName,
        /// A VIP; may be given several times.
        #[arg(long = "vip", required = true, value_name = "VIP")]
        vips: Vec<VipName>,
        /// Its port.
        #[arg(long)]
        port: u16,
        /// A backend, as NAME=IP:PORT[,IP:PORT]; may be given several times.
        #[arg(long = "backend", value_name = "NAME=ADDRESS", value_parser = named_backend)]
        backends: Vec<(BackendName, Vec<SocketAddr>)>,
        /// How it forwards: nat or dsr.
        #[arg(long, default_value_t = Mode::Nat)]
        mode: Mode,
        /// Its transport protocol: tcp or udp.
        #[arg(long, default_value_t = Protocol::Tcp)]
        protocol: Protocol,
        /// Mode nat: backends see clients' own addresses, and route their answers through this node.
        #[arg(long)]
        keep_source: bool,
        /// How it picks a backend: round-robin, least-connections, source-hash or maglev.
        #[arg(long, default_value_t = SchedulerKind::RoundRobin)]
        scheduler: SchedulerKind,
        /// How many flows it may have.
        #[arg(long, default_value_t = 0, hide_default_value = true)]
        max_flows: u32,
        /// What becomes of a new flow at a limit: other-backend, reset or drop.
        #[arg(long, default_value_t = AtLimit::OtherBackend)]
        at_limit: AtLimit,
        /// Check backends over HTTP with this path, instead of a TCP connect.
        #[arg(long, value_name = "PATH", conflicts_with = "no_check")]
        check_path: Option<String>,
        /// No health checks.
        #[arg(long)]
        no_check: bool,
        /// How to change it.
        #[command(flatten)]
        change: ChangeArgs,
    },
    /// Change a service. Open flows stay where they are.
    Set {
        /// Its name.
        service: ServiceName,
        /// How it picks a backend: round-robin, least-connections, source-hash or maglev.
        #[arg(long, required_unless_present_any = ["max_flows", "at_limit"])]
        scheduler: Option<SchedulerKind>,
        /// How many flows it may have; 0 lifts the limit.
        #[arg(long)]
        max_flows: Option<u32>,
        /// What becomes of a new flow at a limit: other-backend, reset or drop.
        #[arg(long)]
        at_limit: Option<AtLimit>,
        /// How to change it.
        #[command(flatten)]
        change: ChangeArgs,
    },
    /// Show what its mode asks of its backends, as commands.
    Guide {
        /// Its name.
        service: ServiceName,
    },
    /// Ask its backends whether they have that: dsr and keep_source only.
    Probe {
        /// Its name.
        service: ServiceName,
    },
    /// Remove a service.
    Del {
        /// Its name.
        service: ServiceName,
        /// Cut its flows too, with RST.
        #[arg(long)]
        force: bool,
        /// How to change it.
        #[command(flatten)]
        change: ChangeArgs,
    },
}
