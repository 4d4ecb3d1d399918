//! Shares cases out among the processors, and runs them one after the other.
//!
//! Nearly all the time goes into the kernel's verification of the program. So cases with the same sizes go by one load of it, and what a
//! case leaves in the tables is cleared away before the next; ids of backends and rules are never used again, so neither are
//! the counts under them.

use super::case::Case;
use super::environment::Environment;
use super::runner::Run;
use anyhow::{Context as _, Result};
use lb_user::io::dataplane::PROGRAM_OBJECT;
use lb_user::model::SynCookieMode;
use std::path::Path;

/// The folder of a freshly built object, where the caller wants that tested too.
const FRESH_VARIABLE: &str = "LBCTL_FRESH_OBJECT_DIR";

/// Runs a group of cases, each on empty tables, with the built-in object and, where there is one that differs, with the
/// freshly built one. Panics with all that went wrong. Every processor takes a share, in a namespace of its own.
pub(crate) fn run(cases: Vec<Case>) {
    let processors = std::thread::available_parallelism().map_or(1, |count| count.get());
    let mut shares: Vec<Vec<Case>> = std::iter::repeat_with(Vec::new).take(processors).collect();
    for (number, case) in cases.into_iter().enumerate() {
        shares[number % processors].push(case);
    }
    let threads: Vec<_> =
        shares.into_iter().map(|share| std::thread::spawn(move || run_share(share))).collect();
    let mut failures = Vec::new();
    for thread in threads {
        match thread.join() {
            Ok(Ok(found)) => failures.extend(found),
            Ok(Err(error)) => panic!("the environment of the packet cases: {error:#}"),
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }
    assert!(failures.is_empty(), "{} cases failed\n\n{}\n", failures.len(), failures.join("\n\n"));
}

fn run_share(mut cases: Vec<Case>) -> Result<Vec<String>> {
    let environment = Environment::enter()?;
    // Those that go by one load stand together.
    cases.sort_by_key(load_of);
    let mut failures = all(&environment, "built-in object", PROGRAM_OBJECT, &cases);
    if let Some(dir) = std::env::var_os(FRESH_VARIABLE) {
        let path = Path::new(&dir).join("lb-xdp.o");
        let object = std::fs::read(&path).with_context(|| path.display().to_string())?;
        // Where the same compiler built it, it is the same to the byte: nothing would be learnt from it.
        if object != PROGRAM_OBJECT {
            failures.extend(all(&environment, "fresh object", &object, &cases));
        }
    }
    Ok(failures)
}

/// What cases must have in common to go by one load.
fn load_of(case: &Case) -> (u32, (u16, u16), SynCookieMode) {
    (case.setup.established_flows, case.setup.nat_ports, case.setup.syn_cookies)
}

fn all(environment: &Environment, program: &str, object: &[u8], cases: &[Case]) -> Vec<String> {
    let mut failures = Vec::new();
    let mut loaded = None;
    for case in cases {
        let load = load_of(case);
        let before = loaded.take().filter(|(other, _)| *other == load);
        let run = match before {
            Some((_, run)) => Ok(run),
            None => Run::begin(environment, case, object),
        };
        let result = run.and_then(|mut run| {
            run.case(case)?;
            run.clear()?;
            Ok(run)
        });
        match result {
            Ok(run) => loaded = Some((load, run)),
            Err(error) => failures.push(format!("case \"{}\" ({program}):\n  {error:#}", case.name)),
        }
    }
    failures
}
