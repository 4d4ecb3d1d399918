//! `lab`: the reference system on one machine, for trying out, debugging and measuring.
//!
//! Only reads its command line; everything else is in the library, where tests use it too.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Args, Parser, Subcommand};
use lbctl_tests::lab::commands::{self, Capture};
use lbctl_tests::lab::{Options, Progress};

/// The lab: clients, router, two load balancers, two web servers, two databases, each host a network
/// namespace of this machine, with real servers.
#[derive(Debug, Parser)]
#[command(name = "lab", version)]
struct CommandLine {
    #[command(subcommand)]
    command: Subcommands,
}

#[derive(Debug, Subcommand)]
enum Subcommands {
    /// Everything up, in the foreground; Ctrl-C takes it down
    Run(Choices),
    /// The same; with --detach in the background
    Up {
        #[command(flatten)]
        choices: Choices,
        /// Return when everything answers, and leave it running until `lab down`
        #[arg(long)]
        detach: bool,
    },
    /// Take the lab down; nothing stays behind
    Down,
    /// Run a command on a host
    Exec {
        /// client, router, lb1, lb2, web1, web2, db1 or db2; with or without `lab-`
        host: String,
        /// The command and its arguments
        #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
        command: Vec<String>,
    },
    /// Write a host's packets to a file with tcpdump
    Capture {
        /// The host
        host: String,
        /// The file [default: HOST-TIME.pcap in the current folder]
        #[arg(short)]
        write: Option<PathBuf>,
        /// The link on the host [default: eth0; for load balancers their port at the router]
        #[arg(short)]
        interface: Option<String>,
        /// A tcpdump filter
        #[arg(trailing_var_arg = true)]
        filter: Vec<String>,
    },
    /// Show what the servers of a host wrote
    Logs {
        /// The host
        host: String,
        /// Go on showing what is added
        #[arg(short)]
        follow: bool,
    },
    /// Measure: a table on the terminal, figures in target/bench/NAME.json
    Bench {
        /// xdp: nanoseconds a packet, and real traffic against HAProxy
        name: String,
        /// Where the figures go
        #[arg(long, default_value = "target/bench")]
        dir: PathBuf,
    },
    /// Show what runs; exit status 1 when not everything does
    Status,
}

#[derive(Debug, Args)]
struct Choices {
    /// Leave out MariaDB and the application servers: quicker
    #[arg(long)]
    without_db: bool,
    /// Leave out the agents: nothing serves the VIPs
    #[arg(long)]
    without_agents: bool,
    /// The lbctl binary [default: beside this one]
    #[arg(long, value_name = "PATH")]
    lbctl: Option<PathBuf>,
    /// Where the application finds its database, instead of the `db` service
    #[arg(long, value_name = "URL")]
    app_database: Option<String>,
    /// Leave each VIP with one node: no VRRP, no shared flows
    #[arg(long)]
    without_failover: bool,
    /// Let nginx write access logs
    #[arg(long)]
    access_log: bool,
    /// MySQL in place of MariaDB, from the root folder of a system that has it
    #[arg(long, value_name = "FOLDER")]
    mysql: Option<PathBuf>,
}

impl Choices {
    fn options(self) -> Options {
        Options {
            agents: !self.without_agents,
            database: !self.without_db,
            lbctl: self.lbctl,
            app_database: self.app_database,
            failover: !self.without_failover,
            access_log: self.access_log,
            mysql: self.mysql,
            progress: Progress::Lines,
            ..Options::default()
        }
    }
}

fn main() -> ExitCode {
    match run(CommandLine::parse().command) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("lab: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Subcommands) -> Result<bool> {
    match command {
        Subcommands::Run(choices) => commands::up(choices.options(), false)?,
        Subcommands::Up { choices, detach } => commands::up(choices.options(), detach)?,
        Subcommands::Down => commands::down()?,
        Subcommands::Exec { host, command } => commands::exec(&host, &command)?,
        Subcommands::Capture { host, write, interface, filter } => {
            commands::capture(Capture { host, file: write, interface, filter })?;
        }
        Subcommands::Logs { host, follow } => commands::logs(&host, follow)?,
        Subcommands::Bench { name, dir } => lbctl_tests::bench::run(&name, &dir)?,
        Subcommands::Status => return commands::status(),
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        CommandLine::command().debug_assert();
    }

    #[test]
    fn what_follows_the_host_belongs_to_the_command() {
        let parsed =
            CommandLine::parse_from(["lab", "exec", "client", "--", "curl", "-s", "http://10.80.0.100/"]);
        let Subcommands::Exec { host, command } = parsed.command else { panic!("not exec") };
        assert_eq!((host.as_str(), command.len()), ("client", 3));
    }
}
