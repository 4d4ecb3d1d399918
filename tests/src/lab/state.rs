//! The lab's memory on disk: what was started, so that a later command (or the next lab, after a
//! crash) can end exactly that and nothing else.
//!
//! The file is written before a thing is relied upon, always by replacing it whole.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use super::paths;
use super::processes::ProcessId;

/// Everything that is known about a lab.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// Identifies the boot: process ids of an earlier one mean nothing.
    pub boot_id: String,
    /// The process that brought the lab up.
    pub owner: ProcessId,
    /// True: the lab is meant to outlive its owner.
    pub detached: bool,
    /// True: everything answered.
    pub ready: bool,
    /// How it was made.
    pub setup: Setup,
    /// Namespaces that were made.
    pub namespaces: Vec<String>,
    /// Servers that were started and not yet ended.
    pub processes: Vec<ProcessRecord>,
    /// Links and folders that appear outside the lab's own folder because of it; removed with it, folders
    /// only when empty. (What agents leave has fixed names and need not be remembered.)
    pub leftovers: Vec<PathBuf>,
}

/// The choices a lab was made with.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Setup {
    /// With MariaDB and the application servers.
    pub database: bool,
    /// With agents on the load balancers.
    pub agents: bool,
    /// With VIPs that move between the agents.
    pub failover: bool,
    /// With access logs.
    pub access_log: bool,
    /// With MySQL from that root folder in place of MariaDB.
    pub mysql: Option<PathBuf>,
    /// The agents' binary, if one is known.
    pub lbctl: Option<PathBuf>,
    /// The application server's binary, if there is one.
    pub app: Option<PathBuf>,
    /// Overrides where the application servers find the database.
    pub app_database: Option<String>,
}

/// A server that the lab started.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessRecord {
    /// The host it runs on, without `lab-`.
    pub host: String,
    /// What it is, unique on its host.
    pub name: String,
    /// Which process.
    pub id: ProcessId,
    /// Where its output goes.
    pub log: PathBuf,
}

impl State {
    /// The state of a lab of which nothing stands yet.
    pub fn new(setup: Setup) -> Result<State> {
        Ok(State {
            boot_id: boot_id()?,
            owner: ProcessId::current()?,
            detached: false,
            ready: false,
            setup,
            namespaces: Vec::new(),
            processes: Vec::new(),
            leftovers: Vec::new(),
        })
    }

    /// Whether the recorded process ids belong to this boot.
    pub fn is_of_this_boot(&self) -> bool {
        boot_id().is_ok_and(|id| id == self.boot_id)
    }

    /// Whether this is a lab that was left running on purpose and still does.
    pub fn is_running_detached(&self) -> bool {
        self.detached && self.is_of_this_boot() && self.processes.iter().any(|record| record.id.is_alive())
    }
}

/// Serialises read-modify-write between threads of this process. (Between processes the lab's lock does.)
static WRITING: Mutex<()> = Mutex::new(());

/// Where a [`State`] is kept.
#[derive(Debug)]
pub struct StateFile {
    path: PathBuf,
}

impl Default for StateFile {
    fn default() -> Self {
        StateFile::at(Path::new(paths::STATE_DIR).join("state.json"))
    }
}

impl StateFile {
    /// The state kept at `path`.
    pub fn at(path: PathBuf) -> StateFile {
        StateFile { path }
    }

    /// Reads the state; `None` when there is no lab.
    pub fn load(&self) -> Result<Option<State>> {
        let text = match fs::read_to_string(&self.path) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error).with_context(|| format!("reading {}", self.path.display())),
        };
        let state = serde_json::from_str(&text).with_context(|| {
            format!(
                "{} is not a state file of this version; `cargo xtask lab down` removes it",
                self.path.display()
            )
        })?;
        Ok(Some(state))
    }

    /// Writes the state, making its folder if needed.
    pub fn save(&self, state: &State) -> Result<()> {
        if let Some(folder) = self.path.parent() {
            fs::create_dir_all(folder).with_context(|| format!("creating {}", folder.display()))?;
        }
        replace_file(&self.path, &serde_json::to_vec_pretty(state)?)
    }

    /// Changes the stored state.
    pub fn update(&self, change: impl FnOnce(&mut State)) -> Result<()> {
        let _writing = WRITING.lock().unwrap_or_else(PoisonError::into_inner);
        let mut state = self.load()?.context("the lab has been taken down meanwhile")?;
        change(&mut state);
        self.save(&state)
    }
}

/// Writes a file so that readers see the old or the new content, never half of it.
pub fn replace_file(path: &Path, content: &[u8]) -> Result<()> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(".new");
    let beside = PathBuf::from(beside);
    fs::write(&beside, content).with_context(|| format!("writing {}", beside.display()))?;
    fs::rename(&beside, path).with_context(|| format!("replacing {}", path.display()))
}

fn boot_id() -> Result<String> {
    let path = "/proc/sys/kernel/random/boot_id";
    let text = fs::read_to_string(path).with_context(|| format!("reading {path}"))?;
    Ok(text.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_saved_is_loaded_again() {
        let folder = tempfile::tempdir().unwrap();
        let file = StateFile::at(folder.path().join("deep/state.json"));
        assert_eq!(file.load().unwrap(), None);
        let mut state = State::new(Setup { database: true, ..Setup::default() }).unwrap();
        state.processes.push(ProcessRecord {
            host: "web1".into(),
            name: "nginx".into(),
            id: ProcessId { pid: 1, start_ticks: 2 },
            log: "/x.log".into(),
        });
        file.save(&state).unwrap();
        assert_eq!(file.load().unwrap(), Some(state));
    }

    #[test]
    fn an_update_changes_only_what_it_names() {
        let folder = tempfile::tempdir().unwrap();
        let file = StateFile::at(folder.path().join("state.json"));
        let state = State::new(Setup::default()).unwrap();
        file.save(&state).unwrap();
        file.update(|state| state.ready = true).unwrap();
        assert_eq!(file.load().unwrap(), Some(State { ready: true, ..state }));
    }

    #[test]
    fn an_update_of_a_lab_that_is_gone_fails() {
        let folder = tempfile::tempdir().unwrap();
        let file = StateFile::at(folder.path().join("state.json"));
        assert!(file.update(|state| state.ready = true).is_err());
    }

    #[test]
    fn a_damaged_state_file_says_the_way_out() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state.json");
        fs::write(&path, "{").unwrap();
        let error = StateFile::at(path).load().unwrap_err();
        assert!(error.to_string().contains("lab down"), "{error}");
    }
}
