//! The words of the command line.

mod certificate;
mod connection;
mod explain;
mod firewall;
mod flow;
mod log;
mod mysql;
mod service;
mod trace;
mod tui;
mod vrrp;
mod which;

pub(super) use certificate::CertCommand;
pub(super) use connection::ConnectionCommand;
pub(super) use explain::ExplainArgs;
pub(super) use firewall::{AddRuleArgs, ConfirmArgs, FirewallCommand, RuleCommand, SourceArgs};
pub(super) use flow::FlowCommand;
pub(super) use log::LogCommand;
pub(super) use mysql::MysqlCommand;
pub(super) use service::ServiceCommand;
pub(super) use trace::TraceArgs;
pub(super) use tui::TuiArgs;
pub(super) use vrrp::VrrpCommand;
pub(super) use which::WhichArgs;

use crate::model::{AdminState, BackendName, ServiceName, Weight};
use clap::{Args, Parser, Subcommand, ValueEnum};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

const EXIT_CODES: &str = "Exit codes: 0 done; 1 refused or failed; 2 wrong words on the command line; 3 no agent \
answers; 4 no such service, backend or rule; 5 not permitted; 6 --wait timed out; 10 diff or apply --dry-run found changes.";

/// lbctl: a load balancer for web and MySQL on XDP.
#[derive(Debug, Parser)]
#[command(name = "lbctl", version, after_help = EXIT_CODES, propagate_version = true)]
pub struct Cli {
    /// The agent's control socket [default: /run/lbctl/lbctl.sock, or else the first /run/lbctl/*.sock].
    #[arg(long, global = true, env = "LBCTL_SOCKET", value_name = "PATH")]
    pub socket: Option<PathBuf>,
    /// Tables for people, JSON for programs.
    #[arg(short, long, global = true, value_enum, default_value_t = Format::Table)]
    pub output: Format,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// How results are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// A table.
    Table,
    /// JSON.
    Json,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the agent in the foreground. SIGHUP reloads the file; SIGTERM and Ctrl-C stop the agent and leave the kernel forwarding.
    Agent {
        /// The configuration file.
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
        /// Refuse a file that has another agent.user: whoever may write the file does not decide who the agent is
        #[arg(long, value_name = "USER")]
        user: Option<String>,
    },
    /// Take the XDP program, its maps with all flows, and the VIPs off this machine.
    Detach {
        /// The configuration file whose node to detach.
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
    },
    /// Check a configuration file; needs no agent.
    Check {
        /// The file.
        file: PathBuf,
    },
    /// Show what applying a file would change (without FILE: the agent's own file).
    Diff {
        /// The file.
        file: Option<PathBuf>,
    },
    /// Apply a file, and make it the agent's (without FILE: take over the agent's own file as it is now).
    Apply {
        /// The file.
        file: Option<PathBuf>,
        /// Only show what would change.
        #[arg(long)]
        dry_run: bool,
        /// When to take it back.
        #[command(flatten)]
        confirm: ConfirmArgs,
    },
    /// Make a change stay that was made with --confirm-within.
    Confirm,
    /// Watch nodes in the terminal, side by side; read-only without --write. `?` lists the keys.
    Tui(TuiArgs),
    /// Show the agent, its interfaces, VIPs and tables.
    Status,
    /// Services.
    #[command(subcommand)]
    Service(ServiceCommand),
    /// Backends of a service.
    #[command(subcommand)]
    Backend(BackendCommand),
    /// The firewall.
    #[command(subcommand)]
    Firewall(FirewallCommand),
    /// Certificates of services with mode tls.
    #[command(subcommand)]
    Cert(CertCommand),
    /// Services with mode mysql: who takes writes, and what is sent where.
    #[command(subcommand)]
    Mysql(MysqlCommand),
    /// Who has the VIPs, and handing them over.
    #[command(subcommand)]
    Vrrp(VrrpCommand),
    /// Show the nodes that flows are shared with, and what differs between them.
    Sync,
    /// Say what the program in the kernel would do with a packet, and why. Changes nothing.
    Explain(ExplainArgs),
    /// Show packets as they go by, with what becomes of each.
    Trace(TraceArgs),
    /// Flows.
    #[command(subcommand)]
    Flow(FlowCommand),
    /// Connections that end at this node: those of services with modes tcp and tls.
    #[command(subcommand)]
    Connection(ConnectionCommand),
    /// What the agent's log tells.
    #[command(subcommand)]
    Log(LogCommand),
    /// Show what became of packets, by outcome.
    Counters {
        /// Those that are zero, too.
        #[arg(long)]
        all: bool,
    },
    /// Show what happened.
    Events(EventsArgs),
    /// Health checks.
    #[command(subcommand)]
    Health(HealthCommand),
    /// Let the program that is on the disk now take the running agent's place. Nothing is refused or broken off: open connections are served by the old one.
    Upgrade {
        /// For how long the old agent serves connections that are open, at most.
        #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration, default_value = "1h")]
        drain: Duration,
    },
    /// Print a completion script for a shell.
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
    /// Write man pages.
    Man {
        /// The folder to write them to.
        dir: PathBuf,
    },
}

/// Events.
#[derive(Debug, Args)]
pub struct EventsArgs {
    /// Stay and show those to come.
    #[arg(short, long)]
    pub follow: bool,
}

/// Health checks.
#[derive(Debug, Subcommand)]
pub enum HealthCommand {
    /// List the checks of all backends with their last results.
    List,
}

/// How a change is made.
#[derive(Clone, Copy, Debug, Args)]
pub struct ChangeArgs {
    /// Leave the configuration file alone: the change is gone with the agent.
    #[arg(long)]
    pub runtime_only: bool,
}

fn named_backend(text: &str) -> Result<(BackendName, Vec<SocketAddr>), String> {
    let (name, addresses) = text.split_once('=').ok_or("expected NAME=IP:PORT")?;
    let name = name.parse::<BackendName>().map_err(|error| error.to_string())?;
    let parse = |text: &str| text.parse().map_err(|_| format!("{text:?} is not IP:PORT"));
    Ok((name, addresses.split(',').map(parse).collect::<Result<_, _>>()?))
}

/// A backend by its names.
#[derive(Debug, Args)]
pub struct BackendPath {
    /// The service.
    pub service: ServiceName,
    /// The backend.
    pub backend: BackendName,
}

/// Waiting for flows to end.
#[derive(Clone, Copy, Debug, Args)]
pub struct WaitArgs {
    /// Wait until its flows have ended.
    #[arg(long)]
    pub wait: bool,
    /// Wait at most so long.
    #[arg(long, default_value = "5m", value_parser = duration, requires = "wait")]
    pub timeout: Duration,
}

fn duration(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text).map_err(|error| format!("{error}; such as 30s or 5m"))
}

/// Backends.
#[derive(Debug, Subcommand)]
pub enum BackendCommand {
    /// List backends, of one service or all.
    List {
        /// The service.
        service: Option<ServiceName>,
    },
    /// Show a backend.
    Show(BackendPath),
    /// Add a backend to a service.
    Add {
        /// Which.
        #[command(flatten)]
        path: BackendPath,
        /// Its address, IP:PORT; once for each family.
        #[arg(long = "address", required = true, value_name = "IP:PORT")]
        addresses: Vec<SocketAddr>,
        /// Its weight.
        #[arg(long, default_value_t)]
        weight: Weight,
        /// Its state.
        #[arg(long, default_value_t = AdminState::Ready)]
        state: AdminState,
        /// How many flows it may have.
        #[arg(long, default_value_t = 0, hide_default_value = true)]
        max_flows: u32,
        /// How to change it.
        #[command(flatten)]
        change: ChangeArgs,
    },
    /// Remove a backend. Its flows go on to their end, unless forced.
    Del {
        /// Which.
        #[command(flatten)]
        path: BackendPath,
        /// Cut its flows too, with RST.
        #[arg(long)]
        force: bool,
        /// How to change it.
        #[command(flatten)]
        change: ChangeArgs,
    },
    /// Change a backend's weight, state or limit.
    Set {
        /// Which.
        #[command(flatten)]
        path: BackendPath,
        /// Its new weight.
        #[arg(long, required_unless_present_any = ["state", "max_flows"])]
        weight: Option<Weight>,
        /// Its new state.
        #[arg(long)]
        state: Option<AdminState>,
        /// How many flows it may have; 0 lifts the limit.
        #[arg(long)]
        max_flows: Option<u32>,
        /// How to change it.
        #[command(flatten)]
        change: ChangeArgs,
    },
    /// Give it no new flows; those it has go on.
    Drain {
        /// Which.
        #[command(flatten)]
        path: BackendPath,
        /// Waiting.
        #[command(flatten)]
        wait: WaitArgs,
        /// How to change it.
        #[command(flatten)]
        change: ChangeArgs,
    },
    /// Let it take new flows again.
    Ready {
        /// Which.
        #[command(flatten)]
        path: BackendPath,
        /// How to change it.
        #[command(flatten)]
        change: ChangeArgs,
    },
    /// Maintenance: no new flows and no health checks. Its flows go on to their end, unless forced.
    Maint {
        /// Which.
        #[command(flatten)]
        path: BackendPath,
        /// Cut its flows, with RST.
        #[arg(long)]
        force: bool,
        /// Waiting.
        #[command(flatten)]
        wait: WaitArgs,
        /// How to change it.
        #[command(flatten)]
        change: ChangeArgs,
    },
}
