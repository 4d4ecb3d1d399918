//! `cargo xtask test`: every check there is, in one run, with a summary at the end.
//!
//! Owns which steps run and in which order. Steps go on after a failed one; Ctrl-C skips to the clean-up.

use std::process::ExitCode;

use anyhow::Result;
use clap::Args;

use crate::packages::Consent;
use crate::tidy;

mod fuzz;
mod interrupt;
mod leftovers;
mod report;
mod steps;
mod tally;

use interrupt::Interrupt;
use report::{Done, Report};
use steps::Steps;

/// Arguments of `cargo xtask test`.
#[derive(Debug, Args)]
pub(crate) struct Test {
    /// Only what needs neither root nor further packages
    #[arg(long)]
    quick: bool,
    /// Install what is missing without asking
    #[arg(long, short)]
    yes: bool,
    /// With the keepalived of Debian's sid as the other node, in a folder that debootstrap makes once
    #[arg(long, conflicts_with = "quick")]
    sid: bool,
    /// Only tests whose name contains this; leaves out the checks that are no tests
    filter: Option<String>,
}

impl Test {
    pub(crate) fn run(self) -> ExitCode {
        match self.all() {
            Ok(code) => code,
            Err(error) => {
                eprintln!("error: {error:#}");
                ExitCode::FAILURE
            }
        }
    }

    fn all(self) -> Result<ExitCode> {
        let interrupt = Interrupt::watch()?;
        let mut steps = Steps {
            interrupt: interrupt.clone(),
            filter: self.filter.clone(),
            fresh: None,
            keepalived: None,
            sslyze: None,
            mysql: None,
            drivers: None,
            mariadb_test: None,
            systemd: None,
            package: None,
            consent: Consent::from_yes(self.yes),
        };
        let mut report = Report::default();
        self.steps(&mut steps, &mut report);
        let well = report.close(interrupt.exit_code().is_some());
        Ok(match interrupt.exit_code() {
            Some(code) => ExitCode::from(code),
            None if well => ExitCode::SUCCESS,
            None => ExitCode::FAILURE,
        })
    }

    /// A step begins only while nobody has asked us to stop; a failed one does not keep the next from running.
    fn steps(&self, steps: &mut Steps, report: &mut Report) {
        let interrupt = steps.interrupt.clone();
        let goes_on = || interrupt.exit_code().is_none();
        let (full, checks) = (!self.quick, self.filter.is_none());
        if full && goes_on() {
            report.step("packages", || steps.packages(self.sid));
        }
        if checks && goes_on() {
            report.step("house rules (tidy)", || tidy::run().map(|()| Done::default()));
        }
        if checks && goes_on() {
            report.step("rustfmt", || steps.format());
        }
        if checks && goes_on() {
            report.step("clippy", || steps.clippy());
        }
        if goes_on() {
            report.step("BPF object is up to date", || steps.object_is_fresh());
        }
        if full && goes_on() {
            report.step("BPF object rebuilds", || steps.object_builds());
        }
        if goes_on() {
            report.step("unit tests", || steps.unit_tests());
        }
        if goes_on() {
            report.step("fuzz targets", || fuzz::run(&interrupt, self.filter.as_deref(), full));
        }
        if checks && goes_on() {
            report.step("documentation builds", || steps.documentation());
        }
        if checks && goes_on() {
            report.step("dependencies (cargo-deny)", || steps.dependencies(full));
        }
        if full && goes_on() {
            end_to_end(steps, report);
        }
        if self.quick && goes_on() {
            for title in ["BPF object rebuilds", "package", "end-to-end tests"] {
                report.step(title, || Ok(Done::skipped("left out by --quick")));
            }
        }
    }
}

/// The tests in the lab; whatever becomes of them, the lab is taken down and looked after.
fn end_to_end(steps: &mut Steps, report: &mut Report) {
    let mut program = None;
    report.step("end-to-end tests build", || {
        program = Some(steps.build_root_tests()?);
        Ok(Done::default())
    });
    let Some(program) = program else { return };
    report.step("package", || steps.package());
    report.step("end-to-end tests", || steps.root_tests(&program));
    report.step("nothing is left behind", leftovers::clean_up);
}
