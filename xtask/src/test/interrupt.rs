//! Ctrl-C and termination while the tests run: noticed, so that the lab is still taken down.
//!
//! Owns the signals SIGINT, SIGTERM and SIGHUP of this process. Never ends a process itself, except that
//! it passes a termination on to the program that is running.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use anyhow::{Context, Result};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::process;

/// Runs programs and knows whether the user wants to stop.
#[derive(Debug, Clone, Default)]
pub(crate) struct Interrupt {
    state: Arc<State>,
}

#[derive(Debug, Default)]
struct State {
    /// The first signal that came; 0 for none.
    signal: AtomicI32,
    child: Mutex<Option<Pid>>,
}

impl Interrupt {
    /// From now on these signals are taken note of instead of ending us.
    pub(crate) fn watch() -> Result<Self> {
        // Handlers, not a blocked mask: programs that we start would inherit the mask, and a server that no SIGTERM
        // reaches does not end.
        let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP]).context("cannot listen for signals")?;
        let interrupt = Self::default();
        let state = Arc::clone(&interrupt.state);
        thread::spawn(move || {
            for signal in signals.forever().filter_map(|number| Signal::try_from(number).ok()) {
                state.note(signal);
            }
        });
        Ok(interrupt)
    }

    /// The exit code that the signal asks for, once there was one.
    pub(crate) fn exit_code(&self) -> Option<u8> {
        let signal = self.state.signal.load(Ordering::Relaxed);
        u8::try_from(signal).ok().filter(|signal| *signal > 0).map(|signal| signal.saturating_add(128))
    }

    /// Runs a program with our stdio.
    pub(crate) fn status(&self, command: &mut Command) -> Result<ExitStatus> {
        let child = command.spawn().with_context(|| format!("cannot start `{}`", process::line(command)))?;
        self.wait(child)
    }

    /// Runs a program, shows what it writes to stdout and hands over each line.
    pub(crate) fn stream(
        &self,
        command: &mut Command,
        mut each_line: impl FnMut(&str),
    ) -> Result<ExitStatus> {
        let mut child = command
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start `{}`", process::line(command)))?;
        self.set_child(Some(&child));
        if let Some(stdout) = child.stdout.take() {
            let mut reader = BufReader::new(stdout);
            let mut bytes = Vec::new();
            while reader.read_until(b'\n', &mut bytes).context("cannot read a program's output")? > 0 {
                let text = String::from_utf8_lossy(&bytes);
                print!("{text}");
                each_line(text.trim_end());
                bytes.clear();
            }
        }
        self.wait(child)
    }

    fn wait(&self, mut child: Child) -> Result<ExitStatus> {
        self.set_child(Some(&child));
        let status = child.wait().context("cannot wait for a program");
        self.set_child(None);
        status
    }

    fn set_child(&self, child: Option<&Child>) {
        let pid = child.and_then(|child| i32::try_from(child.id()).ok()).map(Pid::from_raw);
        *self.state.child.lock().unwrap_or_else(PoisonError::into_inner) = pid;
    }
}

impl State {
    fn note(&self, signal: Signal) {
        let _ = self.signal.compare_exchange(0, signal as i32, Ordering::Relaxed, Ordering::Relaxed);
        // The terminal sends Ctrl-C to the program as well; other signals came to us alone.
        if signal != Signal::SIGINT
            && let Some(child) = *self.child.lock().unwrap_or_else(PoisonError::into_inner)
        {
            // It may have ended a moment ago, and then there is nobody to tell.
            let _ = kill(child, Signal::SIGTERM);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_signal_decides_the_exit_code() {
        let interrupt = Interrupt::default();
        assert_eq!(interrupt.exit_code(), None);
        interrupt.state.note(Signal::SIGINT);
        interrupt.state.note(Signal::SIGTERM);
        assert_eq!(interrupt.exit_code(), Some(130));
    }

    #[test]
    fn programs_are_started_with_no_signal_blocked() -> Result<()> {
        let interrupt = Interrupt::watch()?;
        let mut lines = Vec::new();
        interrupt.stream(Command::new("cat").arg("/proc/self/status"), |line| lines.push(line.to_owned()))?;
        let blocked = lines.iter().find_map(|line| line.strip_prefix("SigBlk:")).context("no SigBlk")?;
        assert_eq!(u64::from_str_radix(blocked.trim(), 16)?, 0, "{blocked}");
        Ok(())
    }

    #[test]
    fn each_line_of_a_program_is_handed_over() -> Result<()> {
        let mut lines = Vec::new();
        let mut command = Command::new("printf");
        command.arg("a\\nb");
        let status = Interrupt::default().stream(&mut command, |line| lines.push(line.to_owned()))?;
        assert!(status.success());
        assert_eq!(lines, ["a", "b"]);
        Ok(())
    }
}
