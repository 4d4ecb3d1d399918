//! The steps of a test run and their summary.
//!
//! Owns what a person reads: headers, times, the table and the closing line. Never runs a program.

use std::time::{Duration, Instant};

use anyhow::Result;

use super::tally::Tally;

/// What a step that ran to its end has to say.
#[derive(Debug, Default)]
pub(crate) struct Done {
    pub(crate) tally: Tally,
    pub(crate) note: String,
    pub(crate) skipped: bool,
}

impl Done {
    /// Fine, with a remark.
    pub(crate) fn with_note(note: impl Into<String>) -> Self {
        Self { note: note.into(), ..Self::default() }
    }

    /// Not done, and why.
    pub(crate) fn skipped(reason: impl Into<String>) -> Self {
        Self { note: reason.into(), skipped: true, ..Self::default() }
    }

    /// Tests were run.
    pub(crate) fn tested(tally: Tally) -> Self {
        Self { tally, ..Self::default() }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Passed,
    Failed,
    Skipped,
}

#[derive(Debug)]
struct Step {
    title: &'static str,
    state: State,
    took: Duration,
    tally: Tally,
    note: String,
}

/// All steps so far.
#[derive(Debug, Default)]
pub(crate) struct Report {
    steps: Vec<Step>,
}

impl Report {
    /// Runs a step and keeps its result; an error is a failed step, not the end of the run.
    pub(crate) fn step(&mut self, title: &'static str, work: impl FnOnce() -> Result<Done>) -> bool {
        println!("\n== {title}");
        let start = Instant::now();
        let result = work();
        let step = Step::new(title, start.elapsed(), result);
        let passed = step.state != State::Failed;
        println!("== {}", step.line().trim_start());
        self.steps.push(step);
        passed
    }

    /// Prints the table and the closing line; whether everything is well.
    pub(crate) fn close(&self, stopped: bool) -> bool {
        println!("\nSummary");
        let mut total = Tally::default();
        for step in &self.steps {
            println!("  {}", step.line());
            for name in &step.tally.failures {
                println!("           failed: {name}");
            }
            total.add(&step.tally);
        }
        if stopped {
            println!("Stopped by a signal: the steps that are not listed were left out.");
        }
        let took: Duration = self.steps.iter().map(|step| step.took).sum();
        println!("{:.0} s in all, {} ignored\n", took.as_secs_f64(), total.ignored);
        println!("{}", closing_line(&total));
        total.failed == 0
    }
}

/// Read by programs: nothing else on the line.
fn closing_line(total: &Tally) -> String {
    format!("{} passed, {} failed", total.passed, total.failed)
}

impl Step {
    fn new(title: &'static str, took: Duration, result: Result<Done>) -> Self {
        let (mut tally, note, skipped, broken) = match result {
            Ok(done) => (done.tally, done.note, done.skipped, false),
            Err(error) => (Tally::default(), format!("{error:#}"), false, true),
        };
        if broken && tally.failed == 0 {
            tally.failed = 1;
        }
        let state = match (tally.failed, skipped) {
            (0, true) => State::Skipped,
            (0, false) => State::Passed,
            _ => State::Failed,
        };
        Self { title, state, took, tally, note }
    }

    fn line(&self) -> String {
        let state = match self.state {
            State::Passed => "ok",
            State::Failed => "FAILED",
            State::Skipped => "skipped",
        };
        let mut line = format!("{state:<7} {:<30} {:>6.1} s", self.title, self.took.as_secs_f64());
        if !self.tally.is_empty() && self.tally.passed > 0 {
            line += &format!("  {} passed, {} failed", self.tally.passed, self.tally.failed);
        }
        if !self.note.is_empty() {
            line += &format!("  {}", self.note.lines().next().unwrap_or_default());
        }
        line
    }
}

#[cfg(test)]
mod tests {
    use anyhow::anyhow;

    use super::*;

    fn tally(passed: u64, failed: u64) -> Tally {
        Tally { passed, failed, ..Tally::default() }
    }

    #[test]
    fn a_failed_step_without_tests_counts_as_one_failed() {
        let mut report = Report::default();
        assert!(report.step("unit tests", || Ok(Done::tested(tally(5, 0)))));
        assert!(!report.step("clippy", || Err(anyhow!("it does not compile"))));
        let mut total = Tally::default();
        report.steps.iter().for_each(|step| total.add(&step.tally));
        assert_eq!(closing_line(&total), "5 passed, 1 failed");
        assert!(!report.close(false));
    }

    #[test]
    fn a_skipped_step_is_no_failure_and_says_why() {
        let step = Step::new("a", Duration::ZERO, Ok(Done::skipped("--quick")));
        assert_eq!(step.state, State::Skipped);
        assert!(step.line().ends_with("--quick"));
    }

    #[test]
    fn failed_tests_fail_their_step() {
        assert_eq!(Step::new("a", Duration::ZERO, Ok(Done::tested(tally(3, 2)))).state, State::Failed);
    }
}
