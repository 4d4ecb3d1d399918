//! Debian packages: which are missing, installing them, and keeping their services from starting.
//!
//! Owns `/usr/sbin/policy-rc.d` while apt runs and puts back what was there. Never removes a package.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{IsTerminal, Write};
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, bail};

use crate::{process, project};

const POLICY: &str = "/usr/sbin/policy-rc.d";
const POLICY_MARK: &str = "temporary file of lbctl: no service may start";

/// invoke-rc.d asks policy-rc.d whether it may start a service; 101 forbids it. The mark tells a file that a
/// killed run left behind from one that belongs to the machine.
const INSTALL_SCRIPT: &str = r#"
policy=/usr/sbin/policy-rc.d
saved=$policy.before-lbctl
restore() {
    rm -f "$policy"
    if [ -e "$saved" ] || [ -L "$saved" ]; then mv "$saved" "$policy"; fi
}
trap restore EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP
if [ -e "$policy" ] || [ -L "$policy" ]; then
    grep -qs "$mark" "$policy" || mv "$policy" "$saved"
fi
rm -f "$policy"
printf '#!/bin/sh\n# %s\nexit 101\n' "$mark" > "$policy"
chmod 755 "$policy"
export DEBIAN_FRONTEND=noninteractive
[ $# -gt 0 ] || exit 0
# An installation that was broken off is finished first: apt refuses to go on without.
dpkg --configure -a || echo 'dpkg --configure -a failed'
# Without the network, the lists and packages that are there may still do.
apt-get update -q || echo 'apt-get update failed; trying with the lists that are there'
apt-get install -q -y --no-install-recommends -o DPkg::Lock::Timeout=300 "$@"
if command -v systemctl > /dev/null; then
    for unit in $SERVICES; do systemctl disable "$unit" || echo "cannot disable $unit"; done
fi
"#;

/// A package and how to see that it is there.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Package {
    name: &'static str,
    sign: Sign,
    /// The systemd unit that Debian would start at every boot.
    service: Option<&'static str>,
}

#[derive(Debug, Clone, Copy)]
enum Sign {
    /// A program in the PATH: whoever installed it.
    Program(&'static str),
    /// A file that must exist.
    File(&'static str),
    /// dpkg must say that it is installed.
    Installed,
}

impl Package {
    /// Present when this program is found.
    pub(crate) const fn program(name: &'static str, program: &'static str) -> Self {
        Self { name, sign: Sign::Program(program), service: None }
    }

    /// Present when this file exists.
    pub(crate) const fn file(name: &'static str, path: &'static str) -> Self {
        Self { name, sign: Sign::File(path), service: None }
    }

    /// Present when dpkg says so.
    pub(crate) const fn named(name: &'static str) -> Self {
        Self { name, sign: Sign::Installed, service: None }
    }

    /// The package brings this systemd unit, which must not start on the host, now or at boot.
    pub(crate) const fn with_service(self, unit: &'static str) -> Self {
        Self { service: Some(unit), ..self }
    }

    fn is_present(&self) -> bool {
        match self.sign {
            Sign::Program(program) => project::find_program(program).is_some(),
            Sign::File(path) => Path::new(path).exists(),
            Sign::Installed => {
                let mut dpkg = Command::new("dpkg-query");
                dpkg.args(["--show", "--showformat=${db:Status-Status}", self.name]);
                process::output(&mut dpkg).is_ok_and(|status| status == "installed")
            }
        }
    }
}

/// Whether to ask before installing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Consent {
    /// Ask, if there is a terminal to ask on; otherwise go on.
    Ask,
    /// The user said `--yes`.
    Given,
}

impl Consent {
    pub(crate) fn from_yes(yes: bool) -> Self {
        if yes { Self::Given } else { Self::Ask }
    }
}

/// Whether this is a system with apt at all.
pub(crate) fn has_apt() -> bool {
    project::find_program("apt-get").is_some()
}

/// Says what is missing and installs it without starting any service.
pub(crate) fn install_missing(purpose: &str, wanted: &[Package], consent: Consent) -> Result<()> {
    let missing: Vec<&str> =
        wanted.iter().filter(|package| !package.is_present()).map(|package| package.name).collect();
    if missing.is_empty() {
        return repair_policy();
    }
    let list = missing.join(" ");
    if !has_apt() {
        bail!(
            "{purpose} needs what Debian packages as: {list}. There is no apt-get here: install them yourself"
        );
    }
    println!("Missing Debian packages for {purpose}: {list}");
    println!("They will be installed with apt-get; no service of theirs is started.");
    if consent == Consent::Ask && !confirmed()? {
        bail!("not installed. By hand: apt-get install --no-install-recommends {list}");
    }
    let start = Instant::now();
    let services: Vec<&str> = wanted
        .iter()
        .filter(|package| missing.contains(&package.name))
        .filter_map(|package| package.service)
        .collect();
    apt_install(&missing, &services)?;
    println!("Installed in {:.0} s.", start.elapsed().as_secs_f64());
    Ok(())
}

/// A run that was killed while apt worked left its policy-rc.d: with no package to install, it is only taken back.
fn repair_policy() -> Result<()> {
    let left = fs::read_to_string(POLICY).is_ok_and(|text| text.contains(POLICY_MARK));
    if left { apt_install(&[], &[]) } else { Ok(()) }
}

/// Runs the whole change as one root shell: its traps put policy-rc.d back even when we are gone.
fn apt_install(packages: &[&str], services: &[&str]) -> Result<()> {
    let log_path = project::target_dir().join("apt.log");
    fs::create_dir_all(project::target_dir()).context("cannot create the target folder")?;
    let log = File::create(&log_path).with_context(|| format!("cannot write {}", log_path.display()))?;
    let errors = log.try_clone().context("cannot use the log file twice")?;
    let services = OsString::from(services.join(" "));
    let mut command = process::as_root("sh", &[("SERVICES", services), ("mark", POLICY_MARK.into())])?;
    command.args(["-euc", INSTALL_SCRIPT, "sh"]).args(packages).stdout(log).stderr(errors);
    let status = process::status(&mut command)?;
    if !status.success() {
        let text = fs::read_to_string(&log_path).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        let tail = lines[lines.len().saturating_sub(15)..].join("\n");
        bail!(
            "apt-get could not install {} ({status}); the whole log is {}:\n{tail}",
            packages.join(" "),
            log_path.display()
        );
    }
    Ok(())
}

/// Asks on a terminal; without one the answer is yes.
fn confirmed() -> Result<bool> {
    if !std::io::stdin().is_terminal() || !std::io::stdout().is_terminal() {
        return Ok(true);
    }
    print!("Install them? [Y/n] ");
    std::io::stdout().flush()?;
    let mut answer = String::new();
    let bytes = std::io::stdin().read_line(&mut answer).context("cannot read the answer")?;
    Ok(bytes > 0 && matches!(answer.trim().to_lowercase().as_str(), "" | "y" | "yes"))
}
