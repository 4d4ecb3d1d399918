//! Taking a lab away: also one whose owner was killed, also one that stands only in parts.
//!
//! Ends only processes that the lab recorded (checked by start time) and those inside the lab's own
//! namespaces. Goes on after a failure and reports the first one at the end.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Error, Result, bail};
use nix::sys::signal::Signal;

use super::addresses::{DATABASES, namespaces};
use super::processes::{ProcessId, send};
use super::state::{State, StateFile};
use super::{agents, control_groups, folder, paths, poll, topology};

/// What there was to take away.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Cleaned {
    /// Processes that were ended.
    pub processes: usize,
    /// Namespaces that were removed.
    pub namespaces: usize,
}

/// Whether a lab, or what is left of one, is there.
pub fn anything_left() -> bool {
    Path::new(paths::STATE_DIR).exists() || namespaces().any(|name| paths::namespace(&name).exists())
}

/// Takes everything away. The caller holds the lab's lock.
pub(super) fn clean(file: &StateFile) -> Result<Cleaned> {
    let mut failures = Vec::new();
    // A state file nobody can read must not stand in the way: names and folders are fixed anyway.
    let state = file.load().unwrap_or_default();
    let mut cleaned = Cleaned::default();
    if let Some(state) = state.as_ref().filter(|state| state.is_of_this_boot()) {
        cleaned.processes += end_recorded(state, &mut failures);
    }
    cleaned.processes += end_strays(&mut failures);
    control_groups::remove_all();
    match topology::destroy() {
        Ok(count) => cleaned.namespaces = count,
        Err(error) => failures.push(error),
    }
    for path in agents::leftovers() {
        keep(remove(&path), &mut failures);
    }
    for path in state.into_iter().flat_map(|state| state.leftovers) {
        // Others may have come to use them meanwhile: then they stay.
        let _ = fs::remove_dir(&path).or_else(|_| fs::remove_file(&path));
    }
    // Others may use these folders too; only empty ones go.
    let _ = fs::remove_dir(paths::PIN_DIR);
    let _ = fs::remove_dir(paths::SOCKET_DIR);
    keep(folder::remove(), &mut failures);
    match failures.into_iter().next() {
        None => Ok(cleaned),
        Some(first) => Err(first),
    }
}

/// Ends recorded processes: politely, except the databases, whose data goes away with them.
fn end_recorded(state: &State, failures: &mut Vec<Error>) -> usize {
    let alive: Vec<_> = state.processes.iter().filter(|record| record.id.is_alive()).collect();
    for record in &alive {
        let polite = !DATABASES.contains(&record.host.as_str());
        let signal = if polite { Signal::SIGTERM } else { Signal::SIGKILL };
        keep(send(&record.id, signal), failures);
    }
    let all_ended = || alive.iter().all(|record| !record.id.is_alive());
    if poll::wait(Duration::from_secs(3), all_ended) {
        return alive.len();
    }
    for record in alive.iter().filter(|record| record.id.is_alive()) {
        keep(send(&record.id, Signal::SIGKILL), failures);
    }
    if !poll::wait(Duration::from_secs(5), all_ended) {
        failures.push(Error::msg("a process of the lab does not end, not even by SIGKILL"));
    }
    alive.len()
}

/// Ends what still runs in the lab's namespaces: workers whose parent died, shells, captures.
fn end_strays(failures: &mut Vec<Error>) -> usize {
    let strays: Vec<ProcessId> = topology::processes_inside().into_iter().filter_map(ProcessId::of).collect();
    for stray in &strays {
        keep(send_alone(stray), failures);
    }
    if !poll::wait(Duration::from_secs(5), || strays.iter().all(|stray| !stray.is_alive())) {
        failures.push(Error::msg("a process in a namespace of the lab does not end, not even by SIGKILL"));
    }
    strays.len()
}

/// SIGKILL for one process only: a stray's group may reach outside the lab.
fn send_alone(id: &ProcessId) -> Result<()> {
    use nix::errno::Errno;
    use nix::sys::signal::kill;
    if !id.is_alive() {
        return Ok(());
    }
    match kill(nix::unistd::Pid::from_raw(id.pid), Signal::SIGKILL) {
        Ok(()) | Err(Errno::ESRCH) => Ok(()),
        Err(errno) => bail!("cannot end process {}: {}", id.pid, errno.desc()),
    }
}

/// Removes a file or a folder with everything in it; its absence is no error.
pub(super) fn remove(path: &Path) -> Result<()> {
    let removed = match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) => Err(error),
    };
    match removed {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(error).with_context(|| format!("removing {}", path.display()))
        }
        _ => Ok(()),
    }
}

fn keep(result: Result<()>, failures: &mut Vec<Error>) {
    failures.extend(result.err());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn removing_what_is_not_there_is_no_error() {
        let folder = tempfile::tempdir().unwrap();
        assert!(remove(&folder.path().join("nothing")).is_ok());
    }

    #[test]
    fn files_and_folders_are_removed() {
        let folder = tempfile::tempdir().unwrap();
        let (file, deep) = (folder.path().join("file"), folder.path().join("a/b"));
        fs::write(&file, "x").unwrap();
        fs::create_dir_all(&deep).unwrap();
        remove(&file).unwrap();
        remove(&folder.path().join("a")).unwrap();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
