//! Takes from this process what the agent does not need: capabilities, its user, the right to gain any by a program, the right to
//! write elsewhere than where it has to, and system calls.
//!
//! Owns the order in which that goes. All of it is the calling thread's, so it has to come before there are others; threads that come
//! later, and the operator's commands, have no more than this one. Nothing can be taken back. Never decides where the agent writes.

mod calls;
mod capabilities;
mod files;
mod own;
mod user;

pub use own::{Owner, PLACES, give_file, give_stale_socket, make, make_own};
pub use user::Account;

use nix::sys::prctl;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::unistd::Gid;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// By this variable an agent tells the one that takes its place what they both have given up.
pub const VARIABLE: &str = "LBCTL_CONFINED";

/// What is wanted.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// Who to be from now on; `None`: who it is.
    pub account: Option<Account>,
    /// Groups to be in beside one's own: files are given to them.
    pub groups: Vec<Gid>,
    /// Where it and its commands may write.
    pub writable: Vec<PathBuf>,
    /// Files that may be written, such as devices.
    pub writable_files: Vec<PathBuf>,
}

/// What is in force.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Confinement {
    /// Capabilities that are left.
    pub capabilities: Vec<String>,
    /// Whether the kernel sees to where files are written.
    pub files: FilesKept,
    /// Where they may be: folders that were there.
    pub writable: Vec<PathBuf>,
    /// An agent before this one has seen to all that, and its confinement is ours.
    #[serde(skip)]
    pub inherited: bool,
}

/// How far the kernel sees to where files are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum FilesKept {
    /// In every way there is.
    All,
    /// An older kernel: files elsewhere can be cut short, or devices spoken to.
    Partly,
    /// It has no Landlock.
    #[default]
    None,
}

/// Why that could not be.
#[derive(Debug, thiserror::Error)]
pub enum ConfineError {
    /// There is no such user.
    #[error(
        "agent.user: there is no user {0} on this machine; make it with `useradd --system {0}`, or leave it out"
    )]
    NoUser(String),
    /// Becoming somebody else.
    #[error("agent.user: becoming {user}: {}", errno.desc())]
    Become {
        /// Who.
        user: String,
        /// Why not.
        errno: nix::Error,
    },
    /// A folder or file that has to be the agent's.
    #[error("{path} cannot be made the agent's: {cause}")]
    Own {
        /// Which.
        path: PathBuf,
        /// Why not.
        cause: std::io::Error,
    },
    /// A folder that is another user's, where not only agents have theirs.
    #[error(
        "{path} is there and is not {user}'s: give it away with `chown -R {user} {path}`, or have another folder"
    )]
    Foreign {
        /// Which.
        path: PathBuf,
        /// Whose it has to be.
        user: String,
    },
    /// A place of agents that an agent of another user works in.
    #[error(
        "{path} is in use by an agent of user {user} (pid {pid}): stop it first, or start this one as that user (agent.user)"
    )]
    PlaceInUse {
        /// Which.
        path: PathBuf,
        /// Whose that agent is.
        user: String,
        /// Its process, as it said itself.
        pid: String,
    },
    /// Capabilities.
    #[error("taking capabilities away: {0}")]
    Capabilities(#[from] caps::errors::CapsError),
    /// `no_new_privs`.
    #[error("no_new_privs: {}", .0.desc())]
    NoNewPrivileges(nix::Error),
    /// Where it may write.
    #[error("Landlock: {0}")]
    Files(#[from] landlock::RulesetError),
    /// System calls.
    #[error("seccomp: {0}")]
    Calls(String),
}

/// As far before others as a program of the system's should be; see [`super::urgency`].
const NICE_LIMIT: u64 = 30;

/// The confinement that an agent has whose place this process takes.
pub fn inherited() -> Option<Confinement> {
    let told = std::env::var(VARIABLE).ok()?;
    let confinement: Confinement = serde_json::from_str(&told).ok()?;
    Some(Confinement { inherited: true, ..confinement })
}

impl Confinement {
    /// Whether anything was given up.
    pub fn is_in_force(&self) -> bool {
        !self.capabilities.is_empty()
    }

    /// The same, for the agent that takes this one's place.
    pub fn to_tell(&self) -> String {
        // Words and paths are always JSON; one that is no text is left out and may be written nevertheless.
        serde_json::to_string(self).unwrap_or_default()
    }

    /// Whether files below a folder may be written.
    pub fn allows(&self, folder: &Path) -> bool {
        self.files == FilesKept::None || self.writable.iter().any(|allowed| folder.starts_with(allowed))
    }
}

/// Takes all of it away. What is missing already stays missing: an agent that is no root needs capabilities from whoever starts it.
///
/// # Errors
/// See [`ConfineError`]; then the process should end, as some of it may be gone.
pub fn confine(wanted: &Wanted) -> Result<Confinement, ConfineError> {
    // Where limits may not be raised, the right to exceed this one has to stay.
    let may_be_urgent = setrlimit(Resource::RLIMIT_NICE, NICE_LIMIT, NICE_LIMIT).is_ok()
        || getrlimit(Resource::RLIMIT_NICE).is_ok_and(|(soft, _)| soft >= NICE_LIMIT);
    let kept = capabilities::kept(may_be_urgent)?;
    capabilities::bound(&kept)?;
    match &wanted.account {
        Some(account) => account.become_it(&wanted.groups)?,
        None => user::join(&wanted.groups),
    }
    capabilities::keep(&kept)?;
    prctl::set_no_new_privs().map_err(ConfineError::NoNewPrivileges)?;
    let files = files::restrict(&wanted.writable, &wanted.writable_files)?;
    calls::restrict()?;
    let capabilities = capabilities::effective()?;
    // What was not there cannot be written, also when it comes to be.
    let writable = wanted.writable.iter().filter(|folder| folder.exists()).cloned().collect();
    Ok(Confinement { capabilities, files, writable, inherited: false })
}
