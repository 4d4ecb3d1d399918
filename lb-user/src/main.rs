//! The `lbctl` binary: ties the command line to the agent, and to what works without one.

use anyhow::Context as _;
use clap::Parser;
use lb_user::agent;
use lb_user::cli::{self, Cli, Command, Exit};
use lb_user::config::{Config, LoadError};
use lb_user::io::hand_over;
use lb_user::io::log::{LogWritten, is_journal};
use lb_user::io::prefix_file::PrefixFileError;
use lb_user::tui;
use nix::sys::signal::{SigSet, Signal};
use std::io::IsTerminal as _;
use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    let cli = Cli::parse();
    // Before there are threads.
    let prepared = match &cli.command {
        Command::Agent { config, user } => match prepare(config, user.as_ref()) {
            Ok(Some(prepared)) => Some(prepared),
            Ok(None) => return Exit::Success.into(),
            Err(error) => {
                // A log that is kept is no place for passwords.
                let is_read = std::io::stderr().is_terminal();
                return failed(&words(&error, is_read), Exit::Failure);
            }
        },
        _ => None,
    };
    let runtime = match tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return failed(&format!("starting: {error}"), Exit::Failure),
    };
    if let Some((prepared, _written)) = prepared {
        let ended = runtime.block_on(agent::run(prepared));
        // Nothing that still runs has work to finish: a busy task must not hold the exit up.
        runtime.shutdown_background();
        return match ended {
            Ok(()) => Exit::Success.into(),
            Err(error) => failed(&error.to_string(), Exit::Failure),
        };
    }
    match &cli.command {
        Command::Check { file } => match check(file) {
            Ok(()) => Exit::Success.into(),
            Err(error) => failed(&words(&error, !is_journal()), Exit::Failure),
        },
        Command::Detach { config } => match runtime.block_on(detach(config)) {
            Ok(()) => Exit::Success.into(),
            Err(error) => failed(&words(&error, !is_journal()), Exit::Failure),
        },
        Command::Tui(args) => {
            let nodes = args.nodes.clone();
            let options = tui::Options { socket: cli.socket.clone(), nodes, may_write: args.write };
            match runtime.block_on(tui::run(options)) {
                Ok(()) => Exit::Success.into(),
                Err(error @ tui::TuiError::Client(_)) => failed(&error.to_string(), Exit::NoAgent),
                Err(error) => failed(&error.to_string(), Exit::Failure),
            }
        }
        _ => match runtime.block_on(cli::run(cli)) {
            Ok(exit) => exit.into(),
            Err(error) if is_journal() => failed(&error.to_string(), error.exit()),
            Err(error) => failed(&format!("{error:#}"), error.exit()),
        },
    }
}

/// `None`: this process was to start another one, and has.
fn prepare(config: &Path, user: Option<&String>) -> anyhow::Result<Option<(agent::Prepared, LogWritten)>> {
    if hand_over::start_for_another().context("starting the agent that takes over")? {
        return Ok(None);
    }
    receive_signals().map_err(|errno| anyhow::anyhow!("starting: {}", errno.desc()))?;
    Ok(Some(agent::prepare(config, agent::Floor { user: user.cloned() })?))
}

/// Whoever started us may have blocked the signals that end an agent and let it read its file again, and programs
/// inherit that.
fn receive_signals() -> nix::Result<()> {
    let mut signals = SigSet::empty();
    for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP] {
        signals.add(signal);
    }
    signals.thread_unblock()
}

/// An error in words; lines of files, which may hold passwords, only for people.
fn words(error: &anyhow::Error, with_lines: bool) -> String {
    if let (true, Some(error)) = (with_lines, error.downcast_ref::<PrefixFileError>()) {
        return format!("{error:#}");
    }
    let load = match error.downcast_ref::<agent::AgentError>() {
        Some(agent::AgentError::Config(error)) => Some(error),
        _ => error.downcast_ref::<LoadError>(),
    };
    match load {
        Some(error) if with_lines => format!("{error:#}"),
        Some(error) => error.to_string(),
        None => format!("{error:#}"),
    }
}

fn failed(message: &str, exit: Exit) -> ExitCode {
    eprintln!("lbctl: {message}");
    exit.into()
}

fn check(file: &Path) -> anyhow::Result<()> {
    let config = Config::load(file)?;
    agent::check_prefix_files(&config)?;
    agent::check_tls_files(&config).map_err(anyhow::Error::msg)?;
    let backends: usize = config.services.values().map(|service| service.backends.len()).sum();
    println!(
        "{}: fine: node {}, {} VIPs, {} services, {backends} backends",
        file.display(),
        config.node.name,
        config.vips.len(),
        config.services.len()
    );
    Ok(())
}

async fn detach(file: &Path) -> anyhow::Result<()> {
    let config = Config::load(file)?;
    let was_there = agent::detach(&config).await?;
    let what = if was_there { "detached" } else { "nothing was attached" };
    println!("node {}: {what}; its VIPs are off this machine", config.node.name);
    Ok(())
}
