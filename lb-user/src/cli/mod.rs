//! The command line. Talks to the agent through the API client only; what works without an agent (`agent`,
//! `check`, `detach`) is tied together in `main.rs`.

mod args;
mod backend;
mod certificate;
mod config;
mod connection;
mod explain;
mod firewall;
mod mysql;
mod output;
mod service;
mod show;
mod sync;
mod trace;
mod upgrade;
mod vrrp;

pub use args::{Cli, Command};

use crate::api::ErrorKind;
use crate::api::client::{Client, ClientError};
use args::{EventsArgs, HealthCommand};
use clap::CommandFactory;
use output::Output;
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

/// How a command ended, for scripts. `docs/cli.md` and `lbctl --help` list them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Done.
    Success = 0,
    /// Refused or failed.
    Failure = 1,
    /// Wrong words on the command line (clap's own code).
    Usage = 2,
    /// No agent answers.
    NoAgent = 3,
    /// There is no such service, backend or rule.
    NotFound = 4,
    /// This user may not.
    Forbidden = 5,
    /// `--wait` waited long enough.
    TimedOut = 6,
    /// `diff` and `apply --dry-run`: there are changes.
    Changes = 10,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// Why a command did not succeed.
#[derive(Debug, thiserror::Error)]
pub enum CliError {
    /// The agent, or the way to it.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// It is not clear which service is meant.
    #[error("{0}")]
    Which(String),
    /// A file.
    #[error("{path}: {cause}")]
    File {
        /// The file.
        path: String,
        /// Why.
        cause: std::io::Error,
    },
    /// `--wait` took too long.
    #[error("{0}")]
    TimedOut(String),
    /// Standard output is gone.
    #[error("writing the output: {0}")]
    Output(#[from] std::io::Error),
}

impl CliError {
    /// The exit code that tells a script what went wrong.
    pub fn exit(&self) -> Exit {
        match self {
            Self::Client(ClientError::NoSocket | ClientError::Unreachable { .. }) => Exit::NoAgent,
            Self::Client(ClientError::Refused(error)) => match error.kind {
                ErrorKind::NotFound => Exit::NotFound,
                ErrorKind::Forbidden => Exit::Forbidden,
                _ => Exit::Failure,
            },
            Self::TimedOut(_) => Exit::TimedOut,
            _ => Exit::Failure,
        }
    }
}

/// Runs a command that needs an agent, or none and no other room.
pub async fn run(cli: Cli) -> Result<Exit, CliError> {
    let output = Output { json: cli.output == args::Format::Json };
    match cli.command {
        Command::Completions { shell } => {
            clap_complete::generate(shell, &mut Cli::command(), "lbctl", &mut std::io::stdout());
            return Ok(Exit::Success);
        }
        Command::Man { dir } => return write_man_pages(&dir),
        _ => {}
    }
    let client = Client::find(cli.socket)?;
    match cli.command {
        Command::Status => show::status(&client, output).await,
        Command::Counters { all } => show::counters(&client, output, all).await,
        Command::Health(HealthCommand::List) => show::health(&client, output).await,
        Command::Connection(command) => connection::run(&client, output, command).await,
        Command::Log(command) => connection::log(&client, output, command).await,
        Command::Flow(command) => show::flows(&client, output, command).await,
        Command::Events(EventsArgs { follow }) => show::events(&client, output, follow).await,
        Command::Service(command) => service::run(&client, output, command).await,
        Command::Backend(command) => backend::run(&client, output, command).await,
        Command::Diff { file } => config::diff(&client, output, file).await,
        Command::Apply { file, dry_run, confirm } => {
            config::apply(&client, output, file, dry_run, confirm.confirm_within).await
        }
        Command::Cert(command) => certificate::run(&client, output, command).await,
        Command::Upgrade { drain } => upgrade::run(&client, output, drain).await,
        Command::Confirm => firewall::confirm(&client, output).await,
        Command::Sync => sync::run(&client, output).await,
        Command::Mysql(command) => mysql::run(&client, output, command).await,
        Command::Vrrp(command) => vrrp::run(&client, output, command).await,
        Command::Explain(args) => explain::run(&client, output, args).await,
        Command::Trace(args) => trace::run(&client, output, args).await,
        Command::Firewall(command) => firewall::run(&client, output, command).await,
        // Handled above, or by main before it came here.
        Command::Completions { .. } | Command::Man { .. } => Ok(Exit::Success),
        Command::Agent { .. } | Command::Check { .. } | Command::Detach { .. } | Command::Tui(_) => {
            Ok(Exit::Usage)
        }
    }
}

fn write_man_pages(dir: &Path) -> Result<Exit, CliError> {
    let failed = |cause| CliError::File { path: dir.display().to_string(), cause };
    std::fs::create_dir_all(dir).map_err(failed)?;
    clap_mangen::generate_to(Cli::command(), dir).map_err(failed)?;
    writeln!(std::io::stdout(), "man pages written to {}", dir.display())?;
    Ok(Exit::Success)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
