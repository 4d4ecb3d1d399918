//! What Debian's packages have in them, unpacked for tests into a folder of tools.
//!
//! Nothing of it is installed: apt only fetches.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::{process, project};

/// The folder's name, and what is unpacked into it: MariaDB's own tests, the program that runs them, and what that needs.
const MARIADB_TEST: &str = "mariadb-test-1";
const MARIADB_TEST_PACKAGES: [&str; 3] = ["mariadb-test", "mariadb-test-data", "libpcre2-posix3"];

/// Where MariaDB's own tests are; fetched if they are not there.
pub(crate) fn mariadb_test() -> Result<PathBuf> {
    let folder = project::tools_dir().join(MARIADB_TEST);
    // Made last: a folder that a broken-off attempt left is made anew.
    let whole = folder.join("whole");
    if whole.exists() {
        return Ok(folder);
    }
    let names = MARIADB_TEST_PACKAGES.join(", ");
    println!("Unpacking {names} of Debian into {} (32 MB to fetch; nothing is installed).", folder.display());
    let packages = folder.join("packages");
    if folder.exists() {
        std::fs::remove_dir_all(&folder)?;
    }
    std::fs::create_dir_all(&packages).with_context(|| format!("cannot make {}", packages.display()))?;
    if fetch(&packages).is_err() {
        // The lists may be those of before an update.
        process::run(process::as_root("apt-get", &[])?.args(["update", "--quiet"]))?;
        fetch(&packages).context("fetching MariaDB's tests")?;
    }
    for package in std::fs::read_dir(&packages)? {
        let mut unpack = Command::new("dpkg-deb");
        process::run(unpack.arg("--extract").arg(package?.path()).arg(&folder))?;
    }
    std::fs::remove_dir_all(&packages)?;
    std::fs::write(&whole, "").with_context(|| format!("cannot write {}", whole.display()))?;
    Ok(folder)
}

fn fetch(into: &Path) -> Result<()> {
    let mut fetch = Command::new("apt-get");
    process::run(fetch.args(["download", "--quiet"]).args(MARIADB_TEST_PACKAGES).current_dir(into))
}
