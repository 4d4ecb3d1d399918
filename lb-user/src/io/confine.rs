//! Takes from this process what the agent does not need: capabilities, its user, the right to gain any by a program, the right to
//! write elsewhere than where it has to, and system calls.
//!
//! Owns the order in which that goes. All of it is the calling thread's, so it has to come before there are others; threads that come
//! later, and the operator's commands, have no more than this one. Nothing can be taken back. Never decides where the agent writes.

mod calls;
mod capabilities;
mod files;
mod user;

pub use calls::DENIED;
pub use capabilities::KEPT;
pub use user::{Account, make_own};

use nix::sys::prctl;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use std::path::PathBuf;

/// What is wanted.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// Who to be from now on; `None`: who it is.
    pub account: Option<Account>,
    /// Where it and its commands may write.
    pub writable: Vec<PathBuf>,
    /// Files that may be written, such as devices.
    pub writable_files: Vec<PathBuf>,
    /// Whether it takes the place of an agent that has done it already.
    pub is_successor: bool,
}

/// What is in force.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Confinement {
    /// Capabilities that are left.
    pub capabilities: Vec<String>,
    /// Whether the kernel sees to where files are written: not all do.
    pub files: bool,
    /// An agent before this one has seen to all that, and its confinement is ours.
    pub inherited: bool,
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
    /// A folder that has to be the user's.
    #[error("agent.user: {path}: {cause}")]
    Own {
        /// Which.
        path: PathBuf,
        /// Why not.
        cause: std::io::Error,
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

/// Takes all of it away. What is missing already stays missing: an agent that is no root needs the [kept](KEPT) capabilities from whoever
/// starts it.
///
/// # Errors
/// See [`ConfineError`]; then the process should end, as some of it may be gone.
pub fn confine(wanted: &Wanted) -> Result<Confinement, ConfineError> {
    if wanted.is_successor && is_confined() {
        let capabilities = capabilities::effective()?;
        return Ok(Confinement { capabilities, files: true, inherited: true });
    }
    // Where limits may not be raised, the right to exceed this one has to stay.
    let may_be_urgent = setrlimit(Resource::RLIMIT_NICE, NICE_LIMIT, NICE_LIMIT).is_ok()
        || getrlimit(Resource::RLIMIT_NICE).is_ok_and(|(soft, _)| soft >= NICE_LIMIT);
    let kept = capabilities::kept(may_be_urgent)?;
    capabilities::bound(&kept)?;
    if let Some(account) = &wanted.account {
        account.become_it()?;
    }
    capabilities::keep(&kept)?;
    prctl::set_no_new_privs().map_err(ConfineError::NoNewPrivileges)?;
    let files = files::restrict(&wanted.writable, &wanted.writable_files)?;
    calls::restrict()?;
    Ok(Confinement { capabilities: capabilities::effective()?, files, inherited: false })
}

/// Whether it is done: confinements in one another are limited in number, and no wider.
fn is_confined() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let says = |what: &str, value: &str| {
        status.lines().filter_map(|line| line.strip_prefix(what)).any(|found| found.trim() == value)
    };
    says("NoNewPrivs:", "1") && says("Seccomp:", "2")
}
