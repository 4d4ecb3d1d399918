//! Starting other programs: with a clear error when they fail, and as root where needed.
//!
//! Owns how root is reached (sudo, for one command at a time). Never prints on its own.

use std::ffi::{OsStr, OsString};
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitStatus, Stdio};

use anyhow::{Context, Result, bail};

use crate::project;

/// Whether this process is root.
pub(crate) fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

/// Runs a command with our stdio; an exit status other than 0 is an error.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let status = status(command)?;
    if !status.success() {
        bail!("`{}` failed ({status})", line(command));
    }
    Ok(())
}

/// Runs a command with our stdio and returns how it ended.
pub(crate) fn status(command: &mut Command) -> Result<ExitStatus> {
    command.status().with_context(|| format!("cannot start `{}`", line(command)))
}

/// Runs a command and returns what it wrote to stdout; stderr is part of the error.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let output =
        command.stdin(Stdio::null()).output().with_context(|| format!("cannot start `{}`", line(command)))?;
    if !output.status.success() {
        let stderr = String::from_utf8_lossy(&output.stderr);
        bail!("`{}` failed ({}): {}", line(command), output.status, stderr.trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Replaces this process: signals, terminal and exit code are the program's own from here on.
pub(crate) fn exec(mut command: Command) -> Result<()> {
    let error = command.exec();
    Err(error).with_context(|| format!("cannot start `{}`", line(&command)))
}

/// A command that runs as root with the given variables set: plain when we are root, else through sudo.
pub(crate) fn as_root(program: impl AsRef<OsStr>, variables: &[(&str, OsString)]) -> Result<Command> {
    if is_root() {
        let mut command = Command::new(program);
        command.envs(variables.iter().map(|(key, value)| (key, value)));
        return Ok(command);
    }
    if project::find_program("sudo").is_none() {
        bail!(
            "{} needs root, and there is no sudo: run this command as root, or install sudo",
            program.as_ref().to_string_lossy()
        );
    }
    let mut command = Command::new("sudo");
    if !variables.is_empty() {
        // Through env(1): sudo's own --preserve-env is refused by many a policy.
        command.arg("env");
        for (key, value) in variables {
            let mut assignment = OsString::from(key);
            assignment.push("=");
            assignment.push(value);
            command.arg(assignment);
        }
    }
    command.arg(program);
    Ok(command)
}

/// The command as a person would type it.
pub(crate) fn line(command: &Command) -> String {
    std::iter::once(command.get_program())
        .chain(command.get_args())
        .map(|word| word.to_string_lossy().into_owned())
        .collect::<Vec<_>>()
        .join(" ")
}
