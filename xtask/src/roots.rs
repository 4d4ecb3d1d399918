//! Root folders of other systems, for tests: programs of Debian's sid, which are newer than this machine's, and a Debian that systemd can start in.
//! debootstrap makes each once.
//!
//! Nothing of them is started here, and nothing is installed on the machine but debootstrap itself.

use std::path::PathBuf;

use anyhow::{Context, Result};

use crate::packages::{self, Consent, Package};
use crate::{process, project};

const DEBOOTSTRAP: [Package; 1] = [Package::program("debootstrap", "debootstrap")];

/// A folder, and what is in it.
struct Root {
    release: &'static str,
    /// The folder's name.
    name: &'static str,
    packages: &'static str,
    /// What is there when it is whole.
    sign: &'static str,
}

/// The folder with sid's keepalived; made if it is not there.
pub(crate) fn keepalived(consent: Consent) -> Result<PathBuf> {
    let sign = "usr/sbin/keepalived";
    make(&Root { release: "sid", name: "keepalived", packages: "keepalived", sign }, consent)
}

/// The folder with sid's MySQL, which other releases of Debian do not have; made if it is not there.
pub(crate) fn mysql(consent: Consent) -> Result<PathBuf> {
    let sign = "usr/sbin/mysqld";
    make(&Root { release: "sid", name: "mysql-server", packages: "mysql-server", sign }, consent)
}

/// The folder that a package can be installed into, and its service started by systemd; made if it is not there.
pub(crate) fn systemd(consent: Consent) -> Result<PathBuf> {
    let packages = "systemd,systemd-sysv,iproute2,procps,openssl,sudo";
    make(&Root { release: "bookworm", name: "systemd", packages, sign: "usr/bin/sudo" }, consent)
}

fn make(root: &Root, consent: Consent) -> Result<PathBuf> {
    let Root { release, name, packages, sign } = root;
    let folder = project::target_dir().join(release).join(name);
    if folder.join(sign).exists() {
        return Ok(folder);
    }
    packages::install_missing("other systems' root folders", &DEBOOTSTRAP, consent)?;
    println!("Making {} with {packages} of Debian's {release} (about half a minute).", folder.display());
    let parent = folder.parent().context("the folder has no parent")?;
    std::fs::create_dir_all(parent).with_context(|| format!("cannot make {}", parent.display()))?;
    // In a folder of another name, so that what was broken off is not taken for whole.
    let half = folder.with_extension("new");
    let mut remove = process::as_root("rm", &[])?;
    process::run(remove.arg("-rf").arg(&half))?;
    let mut make = process::as_root("debootstrap", &[])?;
    make.args(["--variant=minbase", &format!("--include={packages}"), release])
        .arg(&half)
        .stdout(std::process::Stdio::null());
    process::run(&mut make).context("debootstrap failed")?;
    let mut clean = process::as_root("rm", &[])?;
    process::run(clean.arg("-rf").arg(half.join("var/cache/apt/archives")))?;
    let mut rename = process::as_root("mv", &[])?;
    process::run(rename.arg(&half).arg(&folder))?;
    Ok(folder)
}
