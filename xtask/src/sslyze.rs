//! sslyze, which scans servers that end TLS: a Python program in a folder of its own, installed once.
//!
//! Nothing of it touches the machine's own Python but the module that makes such folders.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};

use crate::packages::{self, Consent, Package};
use crate::{process, project};

/// Of PyPI.
const VERSION: &str = "6.2.0";
const PYTHON: [Package; 1] = [Package::named("python3-venv")];

/// The program; installed if it is not there.
pub(crate) fn program(consent: Consent) -> Result<PathBuf> {
    let folder = project::tools_dir().join(format!("sslyze-{VERSION}"));
    let program = folder.join("bin/sslyze");
    if program.exists() {
        return Ok(program);
    }
    packages::install_missing("sslyze", &PYTHON, consent)?;
    println!("Installing sslyze {VERSION} from PyPI into {} (some seconds).", folder.display());
    // A folder that a broken-off attempt left is made anew.
    let mut make = Command::new("/usr/bin/python3");
    make.args(["-m", "venv", "--clear"]).arg(&folder);
    process::run(&mut make).context("making a folder for Python programs")?;
    let mut install = Command::new(folder.join("bin/python3"));
    install.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"]);
    install.arg(format!("sslyze=={VERSION}"));
    process::run(&mut install).context("installing sslyze")?;
    Ok(program)
}
