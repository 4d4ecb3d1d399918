//! What each step of the tests does.
//!
//! Owns the command lines. Never decides which steps run: that is the command's business.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use super::interrupt::Interrupt;
use super::report::Done;
use super::tally::Tally;
use crate::build_ebpf::{self, record::Record};
use crate::packages::Consent;
use crate::{debs, dist, lab, process, project, pypi, roots};

const DENY_VERSION: &str = "0.20.2";
/// The fuzz targets are a workspace of their own.
const FUZZ_MANIFEST: &str = "lb-user/fuzz/Cargo.toml";
/// The end-to-end tests' binary: the only one that needs root.
const ROOT_TESTS: &str = "e2e";
/// Tells the tests where a freshly built BPF object is, so that they load it as well.
const FRESH_VARIABLE: &str = "LBCTL_FRESH_OBJECT_DIR";
/// Tells the tests in which root folder another keepalived is.
const KEEPALIVED_VARIABLE: &str = "LBCTL_KEEPALIVED_ROOT";

/// Tells the tests in which root folder MySQL is.
const MYSQL_VARIABLE: &str = "LBCTL_MYSQL_ROOT";
/// Tells the tests in which root folder systemd can start.
const SYSTEMD_VARIABLE: &str = "LBCTL_SYSTEMD_ROOT";
/// Tells the tests which package to install.
const PACKAGE_VARIABLE: &str = "LBCTL_PACKAGE";
/// Tells the tests which Python has clients of databases.
const DRIVERS_VARIABLE: &str = "LBCTL_PYTHON";
/// Tells the tests where MariaDB's own tests are.
const MARIADB_TEST_VARIABLE: &str = "LBCTL_MARIADB_TEST";
/// Tells the tests where sslyze is.
const SSLYZE_VARIABLE: &str = "LBCTL_SSLYZE";

/// Runs the steps.
#[derive(Debug)]
pub(crate) struct Steps {
    pub(crate) interrupt: Interrupt,
    pub(crate) filter: Option<String>,
    pub(crate) fresh: Option<PathBuf>,
    /// Where another keepalived is than this machine's.
    pub(crate) keepalived: Option<PathBuf>,
    /// Scans servers that end TLS.
    pub(crate) sslyze: Option<PathBuf>,
    /// Where MySQL is.
    pub(crate) mysql: Option<PathBuf>,
    /// A Python with clients of databases.
    pub(crate) drivers: Option<PathBuf>,
    /// MariaDB's own tests.
    pub(crate) mariadb_test: Option<PathBuf>,
    /// Where systemd can start.
    pub(crate) systemd: Option<PathBuf>,
    /// What is installed there.
    pub(crate) package: Option<PathBuf>,
    pub(crate) consent: Consent,
}

impl Steps {
    pub(crate) fn packages(&mut self, sid: bool) -> Result<Done> {
        lab::install_test_packages(self.consent)?;
        self.sslyze = Some(pypi::sslyze(self.consent)?);
        self.drivers = Some(pypi::drivers(self.consent)?);
        self.mariadb_test = Some(debs::mariadb_test()?);
        self.mysql = Some(roots::mysql(self.consent)?);
        self.systemd = Some(roots::systemd(self.consent)?);
        if sid {
            self.keepalived = Some(roots::keepalived(self.consent)?);
        }
        Ok(Done::default())
    }

    pub(crate) fn format(&self) -> Result<Done> {
        self.cargo(&["fmt", "--all", "--", "--check"], &[]).context("run `cargo fmt`")?;
        let fuzz = ["fmt", "--manifest-path", FUZZ_MANIFEST, "--", "--check"];
        self.cargo(&fuzz, &[]).with_context(|| format!("run `cargo fmt --manifest-path {FUZZ_MANIFEST}`"))
    }

    pub(crate) fn clippy(&self) -> Result<Done> {
        self.cargo(&["clippy", "--workspace", "--all-targets", "--keep-going", "--", "-D", "warnings"], &[])
    }

    pub(crate) fn documentation(&self) -> Result<Done> {
        self.cargo(&["doc", "--workspace", "--no-deps", "--keep-going"], &[("RUSTDOCFLAGS", "-D warnings")])
    }

    fn cargo(&self, arguments: &[&str], variables: &[(&str, &str)]) -> Result<Done> {
        let mut cargo = project::cargo();
        cargo.args(arguments).envs(variables.iter().copied());
        let status = self.interrupt.status(&mut cargo)?;
        if !status.success() {
            bail!("`cargo {}` failed", arguments.join(" "));
        }
        Ok(Done::default())
    }

    /// The objects in the repository belong to the sources in the repository.
    pub(crate) fn object_is_fresh(&self) -> Result<Done> {
        let stale = build_ebpf::stale(&project::root())?;
        if stale.is_empty() {
            return Ok(Done::default());
        }
        for line in &stale {
            println!("{line}");
        }
        bail!("the BPF object is not built from these sources ({}): run `cargo xtask build-ebpf`", stale[0])
    }

    /// Builds the objects anew; with the recorded compiler they must come out the same to the byte.
    pub(crate) fn object_builds(&mut self) -> Result<Done> {
        let root = project::root();
        let fresh_dir = project::target_dir().join("bpf/fresh");
        let fresh = build_ebpf::build(&root, &fresh_dir, self.consent)?;
        self.fresh = Some(fresh_dir);
        let recorded = Record::load(&build_ebpf::object_dir(&root))?;
        if (&recorded.compiler, &recorded.linker) != (&fresh.compiler, &fresh.linker) {
            let note = format!("not compared: the repository's was built by {}", recorded.compiler);
            return Ok(Done::with_note(note));
        }
        if recorded.objects != fresh.objects {
            bail!("the same sources and tools give another object: run `cargo xtask build-ebpf`");
        }
        Ok(Done::with_note("the same to the byte"))
    }

    /// What users install.
    pub(crate) fn package(&mut self) -> Result<Done> {
        self.package =
            dist::make()?.into_iter().find(|path| path.extension().is_some_and(|kind| kind == "deb"));
        Ok(Done::default())
    }

    /// Everything that needs no root, and the examples in the documentation.
    pub(crate) fn unit_tests(&self) -> Result<Done> {
        let mut arguments = vec!["test", "--workspace", "--no-fail-fast", "--lib", "--bins"];
        let names = integration_tests()?;
        for name in &names {
            arguments.extend(["--test", name]);
        }
        let mut tally = self.cargo_test(&arguments)?;
        let documentation = self.cargo_test(&["test", "--workspace", "--no-fail-fast", "--doc"])?;
        tally.add(&documentation);
        Ok(Done::tested(tally))
    }

    fn cargo_test(&self, arguments: &[&str]) -> Result<Tally> {
        let mut cargo = project::cargo();
        cargo.args(arguments).args(&self.filter);
        if let Some(dir) = &self.fresh {
            cargo.env(FRESH_VARIABLE, dir);
        }
        self.tested(&mut cargo)
    }

    /// Runs a program that prints libtest's results; ending badly without a failed test counts as one.
    fn tested(&self, command: &mut Command) -> Result<Tally> {
        let mut tally = Tally::default();
        let status = self.interrupt.stream(command, |line| tally.read_line(line))?;
        if !status.success() && tally.failed == 0 {
            tally.failed = 1;
            tally.failures.push(format!("`{}` ended with {status}", process::line(command)));
        }
        Ok(tally)
    }

    /// Licences, sources and duplicates of the dependencies.
    pub(crate) fn dependencies(&self, may_install: bool) -> Result<Done> {
        let deny = match find_deny() {
            Some(deny) => deny,
            None if may_install => self.install_deny()?,
            None => return Ok(Done::skipped("no cargo-deny here; the full run installs it")),
        };
        let mut command = Command::new(deny);
        command.current_dir(project::root());
        command.args(["--log-level", "error", "check", "licenses", "bans", "sources"]);
        if !self.interrupt.status(&mut command)?.success() {
            bail!("a dependency breaks deny.toml");
        }
        Ok(Done::with_note("licences, bans, sources; advisories: `cargo deny check advisories`"))
    }

    fn install_deny(&self) -> Result<PathBuf> {
        let mut cargo = project::install_tool("cargo-deny", DENY_VERSION);
        if !self.interrupt.status(&mut cargo)?.success() {
            bail!("cannot install cargo-deny");
        }
        Ok(project::tools_dir().join("bin/cargo-deny"))
    }

    /// Builds as the user what runs as root: the lab, `lbctl` and the end-to-end tests.
    pub(crate) fn build_root_tests(&self) -> Result<PathBuf> {
        lab::build(false)?;
        let mut cargo = project::cargo();
        cargo.args(["test", "--release", "--package", "lbctl-tests", "--test", ROOT_TESTS]);
        cargo.args(["--no-run", "--message-format=json-render-diagnostics"]).stderr(Stdio::inherit());
        let messages = process::output(&mut cargo).context("the end-to-end tests do not build")?;
        executable(&messages, ROOT_TESTS).context("cargo did not say where the end-to-end tests are")
    }

    /// Runs the end-to-end tests as root, one after the other: they share the lab's names.
    pub(crate) fn root_tests(&self, program: &Path) -> Result<Done> {
        let mut variables = lab::kept_variables();
        let places = [
            (FRESH_VARIABLE, &self.fresh),
            (KEEPALIVED_VARIABLE, &self.keepalived),
            (SSLYZE_VARIABLE, &self.sslyze),
            (MYSQL_VARIABLE, &self.mysql),
            (DRIVERS_VARIABLE, &self.drivers),
            (MARIADB_TEST_VARIABLE, &self.mariadb_test),
            (SYSTEMD_VARIABLE, &self.systemd),
            (PACKAGE_VARIABLE, &self.package),
        ];
        for (name, path) in places {
            variables.extend(path.as_ref().map(|path| (name, OsString::from(path))));
        }
        let mut command = process::as_root(program, &variables)?;
        command.arg("--test-threads=1").args(&self.filter).current_dir(project::root().join("tests"));
        Ok(Done::tested(self.tested(&mut command)?))
    }
}

fn find_deny() -> Option<PathBuf> {
    let own = project::tools_dir().join("bin/cargo-deny");
    let home = project::cargo_home().join("bin/cargo-deny");
    [Some(own), project::find_program("cargo-deny"), Some(home)]
        .into_iter()
        .flatten()
        .find(|path| process::output(Command::new(path).arg("--version")).is_ok())
}

/// Names of the workspace's test binaries that need no root.
fn integration_tests() -> Result<Vec<String>> {
    let mut cargo = project::cargo();
    cargo.args(["metadata", "--format-version=1", "--no-deps"]);
    test_targets(&process::output(&mut cargo)?)
}

fn test_targets(metadata: &str) -> Result<Vec<String>> {
    #[derive(Deserialize)]
    struct Metadata {
        packages: Vec<Package>,
    }
    #[derive(Deserialize)]
    struct Package {
        targets: Vec<Target>,
    }
    let metadata: Metadata = serde_json::from_str(metadata).context("cannot understand `cargo metadata`")?;
    let targets = metadata.packages.into_iter().flat_map(|package| package.targets);
    Ok(targets
        .filter(|target| target.kind.iter().any(|kind| kind == "test") && target.name != ROOT_TESTS)
        .map(|target| target.name)
        .collect())
}

#[derive(Deserialize)]
struct Target {
    name: String,
    kind: Vec<String>,
}

/// The path of a test binary among cargo's JSON messages.
fn executable(messages: &str, name: &str) -> Option<PathBuf> {
    #[derive(Deserialize)]
    struct Artifact {
        target: Target,
        executable: Option<PathBuf>,
    }
    messages
        .lines()
        .filter_map(|line| serde_json::from_str::<Artifact>(line).ok())
        .find(|artifact| artifact.target.name == name && artifact.target.kind == ["test"])?
        .executable
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_to_end_tests_are_not_among_those_without_root() -> Result<()> {
        let metadata = r#"{"packages":[{"targets":[
            {"name":"lab","kind":["bin"]}, {"name":"e2e","kind":["test"]}, {"name":"cases","kind":["test"]}]}]}"#;
        assert_eq!(test_targets(metadata)?, ["cases"]);
        Ok(())
    }

    #[test]
    fn the_test_binary_is_found_among_cargos_messages() {
        let messages = "{\"reason\":\"build-script-executed\"}\n\
            {\"target\":{\"name\":\"lab\",\"kind\":[\"bin\"]},\"executable\":\"/t/lab\"}\n\
            {\"target\":{\"name\":\"e2e\",\"kind\":[\"test\"]},\"executable\":\"/t/deps/e2e-1\"}\n";
        assert_eq!(executable(messages, "e2e"), Some(PathBuf::from("/t/deps/e2e-1")));
        assert_eq!(executable(messages, "other"), None);
    }
}
