//! Groups of processes (cgroups) of machines in the lab that are their own systemd's to divide: one for each host that wants it.
//!
//! Owns where they are. What is in them are their owners' processes.

use anyhow::{Context as _, Result};
use std::fs;
use std::path::{Path, PathBuf};

use super::addresses::NODES;

/// Where groups are, one of these for each hierarchy that systemd works in.
fn hierarchies() -> Vec<PathBuf> {
    let root = Path::new("/sys/fs/cgroup");
    let named = ["systemd", "unified"].map(|name| root.join(name));
    let mut found: Vec<PathBuf> = named.into_iter().filter(|path| path.is_dir()).collect();
    if found.is_empty() {
        found.push(root.to_owned());
    }
    found
}

fn folders(host: &str) -> Vec<PathBuf> {
    hierarchies().iter().map(|path| path.join(format!("lbctl-lab-{host}"))).collect()
}

/// Makes those of a host.
///
/// # Errors
/// The kernel refused.
pub fn make(host: &str) -> Result<Vec<PathBuf>> {
    let folders = folders(host);
    for folder in &folders {
        fs::create_dir_all(folder).with_context(|| format!("making {}", folder.display()))?;
    }
    Ok(folders)
}

/// Removes those of a host, once nobody is in them.
pub fn remove(host: &str) {
    folders(host).iter().for_each(|folder| remove_below(folder));
}

/// All that are left.
pub(super) fn remove_all() {
    NODES.into_iter().for_each(remove);
}

/// Groups go from the inside out, and only empty ones do.
fn remove_below(folder: &Path) {
    let inside = fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    inside.filter(|path| path.is_dir()).for_each(|path| remove_below(&path));
    let _ = fs::remove_dir(folder);
}
