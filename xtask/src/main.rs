//! The project's commands, as `cargo xtask COMMAND`.
//!
//! Owns how the project is built, checked, started and installed. Never part of what users install.

use std::process::ExitCode;

use clap::{Parser, Subcommand};

mod bless;
mod build_ebpf;
mod debs;
mod dist;
mod install;
mod lab;
mod packages;
mod process;
mod project;
mod pypi;
mod roots;
mod test;
mod tidy;

#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", about = "Build, run, test and measure lbctl")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Start the whole reference system on this machine; Ctrl-C takes it down
    Run(lab::Run),
    /// Pass a command to the lab: up --detach, down, exec HOST -- CMD …
    Lab(lab::Lab),
    /// All checks and tests; --quick those that need no root
    Test(test::Test),
    /// Benchmarks, each against its peer in the same run
    Bench(lab::Bench),
    /// Rebuild the BPF objects that are in the repository
    BuildEbpf(build_ebpf::BuildEbpf),
    /// Check the house rules
    Tidy,
    /// Let the unit tests rewrite the files that they compare with
    Bless(bless::Bless),
    /// Build what users install: a Debian package, and the program with its manual in an archive
    Dist(dist::Dist),
    /// Build lbctl and put it where `sudo lbctl` finds it
    Install(install::Install),
}

fn main() -> ExitCode {
    let result = match Arguments::parse().command {
        Command::Run(command) => command.run(),
        Command::Lab(command) => command.run(),
        Command::Test(command) => return command.run(),
        Command::Bench(command) => command.run(),
        Command::BuildEbpf(command) => command.run(),
        Command::Tidy => tidy::run(),
        Command::Bless(command) => command.run(),
        Command::Dist(command) => command.run(),
        Command::Install(command) => command.run(),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Not by returning it from main: that adds a backtrace which helps nobody here.
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
