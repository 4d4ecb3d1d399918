//! What `lab up` tells while it works: one line per step, with how long it took.

use std::io::{IsTerminal, Write};
use std::time::Instant;

use anyhow::Result;

/// Where progress goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// Nowhere: for tests.
    Silent,
    /// To standard output, for people.
    Lines,
}

impl Progress {
    /// Does one step and tells how long it took.
    pub(super) fn step<T>(self, what: &str, work: impl FnOnce() -> Result<T>) -> Result<T> {
        if self == Progress::Silent {
            return work();
        }
        let mut output = std::io::stdout();
        if output.is_terminal() {
            // A step that takes long shows its name before it is done. Losing it does no harm.
            let _ = write!(output, "  …  {what}").and_then(|()| output.flush());
        }
        let started = Instant::now();
        let result = work();
        let mark = if result.is_ok() { "ok" } else { "--" };
        let returned = if output.is_terminal() { "\r\x1b[K" } else { "" };
        let _ = writeln!(output, "{returned}  {mark} {what:<58} {:>6} ms", started.elapsed().as_millis());
        result
    }

    /// Tells something in passing.
    pub(super) fn note(self, text: &str) {
        if self == Progress::Lines {
            let _ = writeln!(std::io::stdout(), "  -- {text}");
        }
    }
}
