//! The programs the lab needs from the system: where they are, and which Debian package has them.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use anyhow::{Context, Result, bail};

/// Program and Debian package.
const PACKAGES: [(&str, &str); 15] = [
    ("ip", "iproute2"),
    ("ethtool", "ethtool"),
    ("nsenter", "util-linux"),
    ("sh", "dash"),
    ("cat", "coreutils"),
    ("cp", "coreutils"),
    ("tail", "coreutils"),
    ("openssl", "openssl"),
    ("nginx", "nginx"),
    ("mariadbd", "mariadb-server"),
    ("mariadb-install-db", "mariadb-server"),
    ("mariadb", "mariadb-client"),
    ("tcpdump", "tcpdump"),
    ("dnsmasq", "dnsmasq-base"),
    ("curl", "curl"),
];

const ALWAYS: [&str; 9] = ["ip", "ethtool", "nsenter", "sh", "cat", "cp", "openssl", "nginx", "dnsmasq"];
const WITH_DATABASE: [&str; 3] = ["mariadbd", "mariadb-install-db", "mariadb"];

/// System folders that the search path of an ordinary user lacks.
const SYSTEM_FOLDERS: [&str; 3] = ["/usr/local/sbin", "/usr/sbin", "/sbin"];

/// The search path with the system's folders in it.
pub fn search_path() -> String {
    let mut path = std::env::var("PATH").unwrap_or_else(|_| "/usr/local/bin:/usr/bin:/bin".into());
    for folder in SYSTEM_FOLDERS {
        if !path.split(':').any(|part| part == folder) {
            path.push(':');
            path.push_str(folder);
        }
    }
    path
}

/// Where a program is; the error names the package to install.
pub fn find(program: &str) -> Result<PathBuf> {
    let path = search_path();
    let found = path.split(':').map(|folder| Path::new(folder).join(program)).find(|file| file.is_file());
    match found {
        Some(file) => Ok(file),
        None => bail!(
            "the program `{program}` is missing; install it with `apt-get install {}`",
            package(program)
        ),
    }
}

/// An error that names every missing program at once, with the command that installs them.
pub fn check(with_database: bool) -> Result<()> {
    let mut needed = ALWAYS.to_vec();
    if with_database {
        needed.extend(WITH_DATABASE);
    }
    let missing: Vec<&str> = needed.into_iter().filter(|program| find(program).is_err()).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let mut packages: Vec<&str> = missing.iter().map(|program| package(program)).collect();
    packages.dedup();
    bail!("missing: {}; install with `apt-get install {}`", missing.join(", "), packages.join(" "))
}

fn package(program: &str) -> &str {
    PACKAGES.iter().find(|(name, _)| *name == program).map_or(program, |(_, package)| package)
}

/// A binary of this project by its name: beside the running one, or one folder up (tests run from
/// `deps/`).
pub fn sibling(name: &str) -> Result<PathBuf> {
    let running = std::env::current_exe().context("finding the running program")?;
    let folders = running.ancestors().skip(1).take(2);
    let found = folders.map(|folder| folder.join(name)).find(|file| file.is_file());
    found.with_context(|| {
        format!("no `{name}` beside {}; build it with `cargo build --workspace`", running.display())
    })
}

/// Runs a program to its end; a failure shows what it said.
pub fn run(command: &mut Command) -> Result<Output> {
    let name =
        Path::new(command.get_program()).file_name().unwrap_or_default().to_string_lossy().into_owned();
    let output = command.output().with_context(|| format!("running {name}"))?;
    if !output.status.success() {
        let said = [&output.stderr[..], &output.stdout[..]].concat();
        bail!("{name} failed ({}): {}", output.status, String::from_utf8_lossy(&said).trim());
    }
    Ok(output)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_program_names_its_package() {
        assert_eq!(package("mariadbd"), "mariadb-server");
        let error = find("lbctl-no-such-program").unwrap_err();
        assert!(error.to_string().contains("apt-get install"), "{error}");
    }

    #[test]
    fn every_needed_program_has_a_package() {
        let known = |program: &&str| PACKAGES.iter().any(|(name, _)| name == program);
        assert!(ALWAYS.iter().chain(&WITH_DATABASE).all(known));
    }

    #[test]
    fn a_failing_program_is_quoted() {
        let error = run(Command::new("sh").args(["-c", "echo broken >&2; exit 3"])).unwrap_err();
        assert!(error.to_string().contains("broken"), "{error}");
    }
}
