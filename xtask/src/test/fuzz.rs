//! The step that looks for bytes which break a parser: a few seconds for each target of `lb-user/fuzz`.
//!
//! Owns how targets are built and run here, and what a run leaves in the target folder. What must hold, the targets say. Never changes the
//! corpora in the repository.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use super::interrupt::Interrupt;
use super::report::Done;
use super::tally::Tally;
use crate::{process, project};

/// Of libFuzzer, for each target. The seed makes two runs alike as far as their speed allows; an input is `-timeout` seconds under way at most.
const LIMITS: [&str; 5] =
    ["-max_total_time=5", "-seed=1", "-max_len=20000", "-rss_limit_mb=512", "-timeout=5"];
/// What is shown of the log when something was found.
const LOG_LINES_SHOWN: usize = 40;
/// Variables that would replace the flags of the package's own configuration.
const FLAG_VARIABLES: [&str; 2] = ["RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS"];

/// Builds and runs the targets whose names contain the filter. libFuzzer is C++: where nothing compiles it, they are left out, unless a compiler
/// should have been installed.
pub(super) fn run(interrupt: &Interrupt, filter: Option<&str>, has_packages: bool) -> Result<Done> {
    let package = project::root().join("lb-user/fuzz");
    let mut targets = names(&package.join("targets"))?;
    targets.retain(|name| filter.is_none_or(|filter| name.contains(filter)));
    if targets.is_empty() {
        return Ok(Done::skipped("no target has such a name"));
    }
    if !has_packages && project::find_program("c++").is_none() {
        return Ok(Done::skipped("no C++ compiler here; the full run installs one"));
    }
    let fuzzing = Fuzzing { interrupt, package, target_dir: project::target_dir().join("fuzz") };
    let mut build = fuzzing.cargo("build");
    build.args(targets.iter().flat_map(|name| ["--bin", name]));
    if !interrupt.status(&mut build)?.success() {
        bail!("the fuzz targets do not build");
    }
    let (mut tally, mut executions) = (Tally::default(), 0);
    for name in targets.iter().take_while(|_| interrupt.exit_code().is_none()) {
        executions += fuzzing.fuzz(name, &mut tally)?;
    }
    Ok(Done { tally, note: format!("{executions} executions"), skipped: false })
}

/// The targets there are: a file each.
fn names(folder: &Path) -> Result<Vec<String>> {
    let entries = fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?;
    let paths = entries.map(|entry| Ok(entry?.path())).collect::<Result<Vec<PathBuf>>>()?;
    let stems = paths.iter().filter_map(|path| path.file_stem()?.to_str());
    let mut names: Vec<String> = stems.map(str::to_owned).collect();
    names.sort();
    Ok(names)
}

struct Fuzzing<'a> {
    interrupt: &'a Interrupt,
    package: PathBuf,
    target_dir: PathBuf,
}

impl Fuzzing<'_> {
    /// In the package's folder, where its configuration has the flags.
    fn cargo(&self, verb: &str) -> Command {
        let mut cargo = project::cargo();
        cargo.current_dir(&self.package).args([verb, "--release", "--locked", "--target-dir"]);
        cargo.arg(&self.target_dir);
        for variable in FLAG_VARIABLES {
            cargo.env_remove(variable);
        }
        cargo
    }

    /// How many inputs were tried. What breaks the target counts as a failed test.
    fn fuzz(&self, name: &str, tally: &mut Tally) -> Result<u64> {
        let found = fresh_folder(&self.target_dir.join("found").join(name))?;
        let broken = fresh_folder(&self.target_dir.join("broken").join(name))?;
        let log = self.target_dir.join(format!("{name}.log"));
        let file = File::create(&log).with_context(|| format!("cannot write {}", log.display()))?;
        let mut cargo = self.cargo("run");
        cargo.args(["--quiet", "--bin", name, "--"]).args(LIMITS);
        cargo.arg(format!("-artifact_prefix={}/", broken.display()));
        // libFuzzer writes into the first folder and only reads the others.
        cargo.arg(found).arg(self.package.join("corpus").join(name)).stdout(Stdio::null()).stderr(file);
        let status = self.interrupt.status(&mut cargo)?;
        let bytes = fs::read(&log).with_context(|| format!("cannot read {}", log.display()))?;
        let text = String::from_utf8_lossy(&bytes);
        let executions = executions(&text);
        if status.success() {
            tally.passed += 1;
            println!("{name}: {executions} executions");
            return Ok(executions);
        }
        let lines: Vec<&str> = text.lines().collect();
        println!("{}", lines[lines.len().saturating_sub(LOG_LINES_SHOWN)..].join("\n"));
        let line = match self.reproducer(name, &broken)? {
            Some(line) => format!("{name}: an input breaks it: {line}"),
            None => format!("{name}: `{}` ended with {status}", process::line(&cargo)),
        };
        println!("{line}");
        tally.failed += 1;
        tally.failures.push(line);
        Ok(executions)
    }

    /// The command that shows the failure again, where libFuzzer kept an input that leads to it.
    fn reproducer(&self, name: &str, broken: &Path) -> Result<Option<String>> {
        let Some(entry) = fs::read_dir(broken)?.next() else { return Ok(None) };
        let (package, file) = (self.package.display(), entry?.path());
        Ok(Some(format!("(cd {package} && cargo run --release --bin {name} -- {})", file.display())))
    }
}

/// Empty, whatever an earlier run left.
fn fresh_folder(path: &Path) -> Result<PathBuf> {
    if path.exists() {
        fs::remove_dir_all(path).with_context(|| format!("cannot empty {}", path.display()))?;
    }
    fs::create_dir_all(path).with_context(|| format!("cannot create {}", path.display()))?;
    Ok(path.to_path_buf())
}

/// From libFuzzer's last line, `Done 12 runs in 6 second(s)`.
fn executions(log: &str) -> u64 {
    let done = log.lines().rev().find_map(|line| line.strip_prefix("Done "));
    done.and_then(|rest| rest.split(' ').next()?.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn executions_are_read_from_the_last_line() {
        let log = "#2\tINITED cov: 3 ft: 4\n#4096\tpulse\nDone 1201 runs in 6 second(s)\n";
        assert_eq!(executions(log), 1201);
        assert_eq!(executions("==1== ERROR: libFuzzer: deadly signal\n"), 0);
    }

    #[test]
    fn each_target_has_a_corpus_and_a_binary() -> Result<()> {
        let package = project::root().join("lb-user/fuzz");
        let manifest = fs::read_to_string(package.join("Cargo.toml"))?;
        let names = names(&package.join("targets"))?;
        assert!(!names.is_empty());
        for name in names {
            assert!(manifest.contains(&format!("path = \"targets/{name}.rs\"")), "{name}");
            assert!(fs::read_dir(package.join("corpus").join(&name))?.next().is_some(), "{name}");
        }
        Ok(())
    }
}
