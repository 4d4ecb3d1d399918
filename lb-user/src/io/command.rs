//! Commands of the operator's: run with a limit of time, and ended with all that they started.
//!
//! Never looks for a program in a search path, and never goes through a shell.

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;
use tokio::io::AsyncWriteExt as _;
use tokio::process::{Child, Command};

/// Why a command did not go well. Which it is, is for who asked for it to know: a command has a path, arguments, and what they say.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// It is not there, or may not be run.
    #[error("its command cannot be run: {0}")]
    Start(std::io::Error),
    /// It took too long.
    #[error("its command was ended after {}", humantime::format_duration(*.0))]
    TooLong(Duration),
    /// It said that all is not well.
    #[error("its command ended with {0}")]
    Failed(ExitStatus),
}

/// Runs a command, gives it `input`, and waits for its end. What it writes goes nowhere.
///
/// # Errors
/// It did not run, took too long, or ended with another status than 0.
pub async fn run(words: &[String], input: &[u8], timeout: Duration) -> Result<(), CommandError> {
    let mut command = Command::new(words.first().map(String::as_str).unwrap_or_default());
    // Whose main process is which is not for them to say (see `service_manager`).
    command.env_remove("NOTIFY_SOCKET").env_remove("LBCTL_HAND_OVER").env_remove("LBCTL_CONFINED");
    command.args(words.get(1..).unwrap_or_default()).stdin(Stdio::piped());
    // Of a group of its own, so that what it starts ends with it, and Ctrl-C is for the agent alone.
    command.stdout(Stdio::null()).stderr(Stdio::null()).process_group(0).kill_on_drop(true);
    let child = command.spawn().map_err(CommandError::Start)?;
    let mut running = Running(child);
    match tokio::time::timeout(timeout, running.finish(input)).await {
        Ok(Ok(status)) if status.success() => Ok(()),
        Ok(Ok(status)) => Err(CommandError::Failed(status)),
        Ok(Err(cause)) => Err(CommandError::Start(cause)),
        Err(_) => Err(CommandError::TooLong(timeout)),
    }
}

/// A command that ends, with its group, when nobody waits for it any more.
struct Running(Child);

impl Running {
    async fn finish(&mut self, input: &[u8]) -> std::io::Result<ExitStatus> {
        if let Some(mut stdin) = self.0.stdin.take() {
            // It need not read what it is given.
            let _ = stdin.write_all(input).await;
        }
        self.0.wait().await
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // None: it has ended, and its number may be another's by now.
        if let Some(id) = self.0.id().and_then(|id| i32::try_from(id).ok()) {
            let _ = killpg(Pid::from_raw(id), Signal::SIGKILL);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    fn shell(script: &str) -> Vec<String> {
        ["/bin/sh", "-c", script].map(str::to_owned).to_vec()
    }

    #[tokio::test]
    async fn it_is_given_its_input_and_its_status_is_heeded() {
        let second = Duration::from_secs(5);
        let read = shell("read line; test \"$line\" = hello");
        assert!(run(&read, b"hello\n", second).await.is_ok());
        let error = run(&read, b"other\n", second).await.expect_err("it ends with 1");
        assert_eq!(error.to_string(), "its command ended with exit status: 1");
        let error = run(&["/bin/no-such".to_owned()], b"", second).await.expect_err("it is not there");
        assert!(error.to_string().starts_with("its command cannot be run: No such file"), "{error}");
        // One that does not read.
        assert!(run(&["/bin/true".to_owned()], &[b'x'; 200_000], second).await.is_ok());
    }

    #[tokio::test]
    async fn one_that_takes_too_long_is_ended_with_what_it_started() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("pid");
        let script = format!("sleep 1000 & echo $! > {0}.new; mv {0}.new {0}; wait", file.display());
        let begun = Instant::now();
        let error = run(&shell(&script), b"", Duration::from_secs(1)).await.expect_err("it takes too long");
        assert_eq!(error.to_string(), "its command was ended after 1s");
        assert!(begun.elapsed() < Duration::from_secs(20));
        let pid: i32 = std::fs::read_to_string(&file).expect("a pid").trim().parse().expect("a number");
        let deadline = Instant::now() + Duration::from_secs(5);
        let is_there = || {
            let state = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            !state.is_empty() && !state.contains(") Z ")
        };
        while is_there() {
            assert!(Instant::now() < deadline, "what it started runs on");
            tokio::time::sleep(Duration::from_millis(10)).await; // poll: the kernel takes a moment
        }
    }
}
