//! Programs of Debian's sid, for tests with newer peers than this machine's release has: a folder that debootstrap makes once.
//!
//! Nothing of it is started here, and nothing is installed on the machine but debootstrap itself.

use std::path::PathBuf;

use anyhow::{Context, Result};

use crate::packages::{self, Consent, Package};
use crate::{process, project};

const DEBOOTSTRAP: [Package; 1] = [Package::program("debootstrap", "debootstrap")];

/// The folder with sid's keepalived; made if it is not there.
pub(crate) fn keepalived(consent: Consent) -> Result<PathBuf> {
    folder("keepalived", "usr/sbin/keepalived", consent)
}

/// The folder with sid's MySQL, which other releases of Debian do not have; made if it is not there.
pub(crate) fn mysql(consent: Consent) -> Result<PathBuf> {
    folder("mysql-server", "usr/sbin/mysqld", consent)
}

fn folder(package: &str, program: &str, consent: Consent) -> Result<PathBuf> {
    let folder = project::target_dir().join("sid").join(package);
    if folder.join(program).exists() {
        return Ok(folder);
    }
    packages::install_missing("programs of Debian's sid", &DEBOOTSTRAP, consent)?;
    println!("Making {} with {package} of Debian's sid (about half a minute).", folder.display());
    let parent = folder.parent().context("the folder has no parent")?;
    std::fs::create_dir_all(parent).with_context(|| format!("cannot make {}", parent.display()))?;
    // In a folder of another name, so that what was broken off is not taken for whole.
    let half = folder.with_extension("new");
    let mut remove = process::as_root("rm", &[])?;
    process::run(remove.arg("-rf").arg(&half))?;
    let mut make = process::as_root("debootstrap", &[])?;
    make.args(["--variant=minbase", &format!("--include={package}"), "sid"])
        .arg(&half)
        .stdout(std::process::Stdio::null());
    process::run(&mut make).context("debootstrap failed")?;
    let mut clean = process::as_root("rm", &[])?;
    process::run(clean.arg("-rf").arg(half.join("var/cache/apt/archives")))?;
    let mut rename = process::as_root("mv", &[])?;
    process::run(rename.arg(&half).arg(&folder))?;
    Ok(folder)
}
