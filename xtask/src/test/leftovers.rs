//! After the end-to-end tests nothing of the lab is left on the machine.
//!
//! Owns the list of places to look. Taking things down is the lab's business.

use std::fs;
use std::path::Path;

use anyhow::{Result, bail};

use super::report::Done;
use crate::{process, project};

const PLACES: [&str; 3] = ["/run/lbctl-lab", "/run/lbctl-lab.lock", "/sys/fs/bpf/lbctl"];

/// Hierarchies of groups of processes.
const CONTROL_GROUPS: [&str; 3] = ["/sys/fs/cgroup", "/sys/fs/cgroup/systemd", "/sys/fs/cgroup/unified"];

/// Takes the lab down, whatever the tests left, and fails when something stays.
pub(crate) fn clean_up() -> Result<Done> {
    let before = found(Path::new("/"));
    let lab = project::release_program("lab");
    if lab.is_file() {
        process::run(process::as_root(lab, &[])?.arg("down"))?;
    }
    let after = found(Path::new("/"));
    if !after.is_empty() {
        bail!("still there after `lab down`: {}", after.join(", "));
    }
    if before.is_empty() {
        return Ok(Done::default());
    }
    Ok(Done::with_note(format!("the tests had left {}; gone now", before.join(", "))))
}

/// What of the lab exists below a root.
fn found(root: &Path) -> Vec<String> {
    let inside = |place: &str| root.join(place.trim_start_matches('/'));
    let mut left: Vec<String> =
        PLACES.iter().filter(|place| inside(place).exists()).map(|place| (*place).to_owned()).collect();
    for groups in CONTROL_GROUPS {
        let names = names_in(&inside(groups)).into_iter().filter(|name| name.starts_with("lbctl-lab-"));
        left.extend(names.map(|name| format!("{groups}/{name}")));
    }
    let namespaces = names_in(&inside("/run/netns")).into_iter().filter(|name| name.starts_with("lab-"));
    left.extend(namespaces.map(|name| format!("namespace {name}")));
    left.sort();
    left
}

fn names_in(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn namespaces_and_state_of_the_lab_are_found_and_others_are_not() -> std::io::Result<()> {
        let root = std::env::temp_dir().join(format!("lbctl-leftovers-{}", std::process::id()));
        for folder in
            ["run/netns/lab-lb1", "run/netns/other", "run/lbctl-lab", "sys/fs/cgroup/systemd/lbctl-lab-lb2"]
        {
            fs::create_dir_all(root.join(folder))?;
        }
        let left = found(&root);
        fs::remove_dir_all(&root)?;
        assert_eq!(left, ["/run/lbctl-lab", "/sys/fs/cgroup/systemd/lbctl-lab-lb2", "namespace lab-lb1"]);
        Ok(())
    }
}
