//! Programs and libraries of PyPI, each set in a folder of its own, installed once.
//!
//! Nothing of it touches the machine's own Python but the module that makes such folders.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};

use crate::packages::{self, Consent, Package};
use crate::{process, project};

const PYTHON: [Package; 1] = [Package::named("python3-venv")];

/// sslyze, which scans servers that end TLS.
const SSLYZE: Set = Set { folder: "sslyze-6.2.0", purpose: "sslyze", packages: &["sslyze==6.2.0"] };

/// What programs in Python reach databases with.
const DRIVERS: Set = Set {
    folder: "python-drivers-1",
    purpose: "clients of databases in Python",
    packages: &["PyMySQL==1.2.4", "mysql-connector-python==26.10.0", "aiomysql==0.3.2", "cryptography"],
};

struct Set {
    /// In the folder of tools.
    folder: &'static str,
    purpose: &'static str,
    packages: &'static [&'static str],
}

/// sslyze itself; installed if it is not there.
pub(crate) fn sslyze(consent: Consent) -> Result<PathBuf> {
    Ok(SSLYZE.folder(consent)?.join("bin/sslyze"))
}

/// A Python that has the clients; installed if it is not there.
pub(crate) fn drivers(consent: Consent) -> Result<PathBuf> {
    Ok(DRIVERS.folder(consent)?.join("bin/python3"))
}

impl Set {
    fn folder(&self, consent: Consent) -> Result<PathBuf> {
        let folder = project::tools_dir().join(self.folder);
        // Made last: a folder that a broken-off attempt left is made anew.
        let whole = folder.join("whole");
        if whole.exists() {
            return Ok(folder);
        }
        packages::install_missing(self.purpose, &PYTHON, consent)?;
        println!(
            "Installing {} from PyPI into {} (some seconds).",
            self.packages.join(", "),
            folder.display()
        );
        let mut make = Command::new("/usr/bin/python3");
        make.args(["-m", "venv", "--clear"]).arg(&folder);
        process::run(&mut make).context("making a folder for Python programs")?;
        let mut install = Command::new(folder.join("bin/python3"));
        install.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"]).args(self.packages);
        process::run(&mut install).with_context(|| format!("installing {}", self.purpose))?;
        std::fs::write(&whole, "").with_context(|| format!("cannot write {}", whole.display()))?;
        Ok(folder)
    }
}
