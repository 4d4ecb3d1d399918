//! One agent for a node, one for a folder of pins, one listener on a socket.

use crate::api::server::Policy;
use crate::model::NodeName;
use nix::fcntl::{Flock, FlockArg, OFlag};
use nix::unistd::{Uid, chown};
use std::fs::{File, OpenOptions, Permissions};
use std::io::{ErrorKind, Read, Seek, Write};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use tokio::net::UnixListener;

/// Why this agent may not be the one.
#[derive(Debug, thiserror::Error)]
pub enum UniquenessError {
    /// Another agent of this node runs.
    #[error(
        "another agent of node {node} is running (pid {pid}); stop it first, or give this one another node.name"
    )]
    Running {
        /// The node.
        node: NodeName,
        /// Its process, as it said itself.
        pid: String,
    },
    /// Another agent has the pins.
    #[error(
        "another agent{} has the pins in {pin_dir}; stop it first, or give this one another dataplane.pin_dir",
        holder(*pid)
    )]
    PinsInUse {
        /// The folder.
        pin_dir: PathBuf,
        /// Its process, where the kernel's list of locks shows it.
        pid: Option<u32>,
    },
    /// Detaching under a running agent.
    #[error("nothing was detached: {who}; stop it first")]
    NotDetached {
        /// Which agent, in words.
        who: String,
    },
    /// Another agent listens there.
    #[error("another agent answers at {0}; stop it first, or set control.socket")]
    SocketInUse(PathBuf),
    /// Something else is there.
    #[error("{0} is there and is no socket; remove it, or set control.socket")]
    NotASocket(PathBuf),
    /// Something else is there.
    #[error("{0} is there and is no file of an agent's alone; remove it")]
    NotALock(PathBuf),
    /// The file system refused.
    #[error("{path}: {cause}")]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        cause: std::io::Error,
    },
}

impl UniquenessError {
    /// The same for who wanted to detach, and has no other name or folder to go to.
    pub(super) fn not_detached(self) -> Self {
        let who = match self {
            Self::Running { node, pid } => format!("an agent of node {node} is running (pid {pid})"),
            Self::PinsInUse { pin_dir, pid } => {
                format!("an agent{} has the pins in {}", holder(pid), pin_dir.display())
            }
            other => return other,
        };
        Self::NotDetached { who }
    }
}

fn failed(path: &Path) -> impl Fn(std::io::Error) -> UniquenessError + '_ {
    move |cause| UniquenessError::File { path: path.to_owned(), cause }
}

fn holder(pid: Option<u32>) -> String {
    pid.map_or(String::new(), |pid| format!(" (pid {pid})"))
}

/// The locks of an agent, held for as long as this lives. The kernel lets go of them with the process, so a
/// crash leaves no stale ones.
#[derive(Debug)]
pub(super) struct Claim {
    _node: Option<Flock<File>>,
    pins: Option<Flock<File>>,
}

impl Claim {
    /// With the node's lock, and that of the folder of its pins.
    pub(super) fn with(node: Flock<File>, pin_dir: &Path) -> Result<Self, UniquenessError> {
        Ok(Self { _node: Some(node), pins: lock_pins(pin_dir)? })
    }

    /// Takes the lock of the folder of pins that is there now: it may not have been before, or something was mounted on it since.
    pub(super) fn follow_pins(&mut self, pin_dir: &Path) -> Result<(), UniquenessError> {
        let inode =
            |found: std::io::Result<std::fs::Metadata>| found.ok().map(|found| (found.dev(), found.ino()));
        let held = self.pins.as_ref().and_then(|held| inode(held.metadata()));
        if held.is_none() || held != inode(std::fs::metadata(pin_dir)) {
            self.pins = lock_pins(pin_dir)?;
        }
        Ok(())
    }
}

/// Takes the node's lock and, if it is there, that of the folder of its pins. Each is needed: the node's keeps
/// one name from running twice, the folder's keeps two names from one dataplane.
pub(super) fn claim(node: &NodeName, socket: &Path, pin_dir: &Path) -> Result<Claim, UniquenessError> {
    Claim::with(claim_node(node, socket)?, pin_dir)
}

/// The node's alone.
pub(super) fn claim_node(node: &NodeName, socket: &Path) -> Result<Flock<File>, UniquenessError> {
    let path = lock_file(node, socket);
    let dir = path.parent().unwrap_or(Path::new("/"));
    std::fs::create_dir_all(dir).map_err(failed(dir))?;
    let mut held = lock_node(node, &path, OpenOptions::new().read(true).write(true).create(true))?;
    let write = |file: &mut File| {
        file.set_len(0)?;
        file.rewind()?;
        writeln!(file, "{}", std::process::id())
    };
    write(&mut held).map_err(failed(&path))?;
    Ok(held)
}

/// The same for who only wants to be sure that no agent runs: writes nothing and makes nothing.
pub(super) fn claim_what_is_there(
    node: &NodeName,
    socket: &Path,
    pin_dir: &Path,
) -> Result<Claim, UniquenessError> {
    let held = match lock_node(node, &lock_file(node, socket), OpenOptions::new().read(true)) {
        // An agent makes it first of all.
        Err(UniquenessError::File { cause, .. }) if cause.kind() == ErrorKind::NotFound => None,
        held => Some(held?),
    };
    Ok(Claim { _node: held, pins: lock_pins(pin_dir)? })
}

fn lock_file(node: &NodeName, socket: &Path) -> PathBuf {
    socket.parent().unwrap_or(Path::new("/run/lbctl")).join(format!("{node}.lock"))
}

/// What is there in place of a file of its own, a link to another one, say, is not touched.
fn lock_node(
    node: &NodeName,
    path: &Path,
    options: &mut OpenOptions,
) -> Result<Flock<File>, UniquenessError> {
    let careful = (OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK).bits();
    let mut file = options.truncate(false).custom_flags(careful).open(path).map_err(|cause| {
        match cause.raw_os_error() {
            Some(libc::ELOOP) => UniquenessError::NotALock(path.to_owned()),
            _ => failed(path)(cause),
        }
    })?;
    let found = file.metadata().map_err(failed(path))?;
    if !found.is_file() || found.nlink() != 1 {
        return Err(UniquenessError::NotALock(path.to_owned()));
    }
    let mut pid = String::new();
    // Only for the message: an unreadable one leaves it empty.
    let _ = file.read_to_string(&mut pid);
    Flock::lock(file, FlockArg::LockExclusiveNonblock)
        .map_err(|_| UniquenessError::Running { node: node.clone(), pid: pid.trim().to_owned() })
}

/// Locks the folder itself: the BPF file system holds no ordinary files. `None` if it is not there.
fn lock_pins(pin_dir: &Path) -> Result<Option<Flock<File>>, UniquenessError> {
    loop {
        let folder = (OFlag::O_DIRECTORY | OFlag::O_NONBLOCK).bits();
        let dir = match OpenOptions::new().read(true).custom_flags(folder).open(pin_dir) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            opened => opened.map_err(failed(pin_dir))?,
        };
        let inode = dir.metadata().map_err(failed(pin_dir))?.ino();
        let held = Flock::lock(dir, FlockArg::LockExclusiveNonblock).map_err(|_| {
            let locks = std::fs::read_to_string("/proc/locks").unwrap_or_default();
            UniquenessError::PinsInUse { pin_dir: pin_dir.to_owned(), pid: lock_holder(&locks, inode) }
        })?;
        // Detaching removes the folder: a lock on one that is gone keeps nobody away from the next.
        if std::fs::metadata(pin_dir).is_ok_and(|now| now.ino() == inode) {
            return Ok(Some(held));
        }
    }
}

/// Who holds a flock on an inode, from `/proc/locks`: `1: FLOCK  ADVISORY  WRITE 713 00:21:17 0 EOF`.
/// The device is left out: what stat says of it differs from what is listed on some file systems, and a lock
/// on another file of the same number only spoils a message.
fn lock_holder(locks: &str, inode: u64) -> Option<u32> {
    locks.lines().find_map(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [_, "FLOCK", _, _, pid, place, ..] = words.as_slice() else { return None };
        let found = place.rsplit(':').next()?.parse::<u64>().ok()?;
        (found == inode).then(|| pid.parse().ok()).flatten()
    })
}

/// Listens on the control socket. A stale one is replaced, one that somebody answers at is not.
pub(super) fn listen(path: &Path, policy: &Policy) -> Result<UnixListener, UniquenessError> {
    if let Ok(metadata) = std::fs::symlink_metadata(path) {
        if !metadata.file_type().is_socket() {
            return Err(UniquenessError::NotASocket(path.to_owned()));
        }
        if std::os::unix::net::UnixStream::connect(path).is_ok() {
            return Err(UniquenessError::SocketInUse(path.to_owned()));
        }
        std::fs::remove_file(path).map_err(failed(path))?;
    }
    let listener = UnixListener::bind(path).map_err(failed(path))?;
    chown(path, Some(Uid::effective()), policy.group).map_err(|errno| failed(path)(errno.into()))?;
    std::fs::set_permissions(path, Permissions::from_mode(policy.socket_mode())).map_err(failed(path))?;
    Ok(listener)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(name: &str) -> NodeName {
        name.parse().expect("a name")
    }

    #[test]
    fn two_agents_of_other_names_and_sockets_do_not_share_pins() {
        let dir = tempfile::tempdir().expect("a folder");
        let pins = dir.path().join("pins");
        std::fs::create_dir(&pins).expect("a folder");
        let first = claim(&node("lb1"), &dir.path().join("a/s"), &pins).expect("nobody else is there");
        let refused = claim(&node("lb2"), &dir.path().join("b/s"), &pins).expect_err("the pins are taken");
        let message = refused.to_string();
        assert!(message.contains(&pins.display().to_string()), "{message}");
        assert!(message.contains("dataplane.pin_dir"), "the way out is missing: {message}");
        let pid = std::process::id();
        assert!(message.contains(&format!("(pid {pid})")), "{message}");
        let message = refused.not_detached().to_string();
        assert!(message.ends_with("stop it first"), "{message}");
        drop(first);
        claim(&node("lb2"), &dir.path().join("b/s"), &pins).expect("the first one is gone");
    }

    #[test]
    fn one_node_runs_once_whatever_its_pins() {
        let dir = tempfile::tempdir().expect("a folder");
        let socket = dir.path().join("s");
        let _first = claim(&node("lb1"), &socket, &dir.path().join("none")).expect("nobody else is there");
        let refused = claim(&node("lb1"), &socket, &dir.path().join("none")).expect_err("it runs");
        assert!(matches!(refused, UniquenessError::Running { .. }), "{refused}");
    }

    #[test]
    fn a_lock_that_leads_to_another_file_leaves_that_as_it_is() {
        let dir = tempfile::tempdir().expect("a folder");
        let (socket, lock, other) =
            (dir.path().join("s"), dir.path().join("lb1.lock"), dir.path().join("other"));
        std::fs::write(&other, "mine").expect("written");
        let refused = || {
            let none = dir.path().join("none");
            claim(&node("lb1"), &socket, &none).expect_err("refused");
            let error = claim_what_is_there(&node("lb1"), &socket, &none).expect_err("refused");
            assert!(matches!(&error, UniquenessError::NotALock(path) if *path == lock), "{error}");
            std::fs::remove_file(&lock).expect("removed");
        };
        std::os::unix::fs::symlink(&other, &lock).expect("linked");
        refused();
        std::fs::hard_link(&other, &lock).expect("linked");
        refused();
        nix::unistd::mkfifo(&lock, nix::sys::stat::Mode::S_IRWXU).expect("made");
        refused();
        assert_eq!(std::fs::read_to_string(&other).expect("it is there"), "mine");
    }

    #[test]
    fn who_detaches_makes_no_lock_but_heeds_one() {
        let dir = tempfile::tempdir().expect("a folder");
        let (socket, none) = (dir.path().join("s"), dir.path().join("none"));
        claim_what_is_there(&node("lb1"), &socket, &none).expect("nobody is there");
        assert!(!dir.path().join("lb1.lock").exists());
        let agent = claim(&node("lb1"), &socket, &none).expect("nobody else is there");
        let refused = claim_what_is_there(&node("lb1"), &socket, &none).expect_err("it runs").not_detached();
        let words = format!("an agent of node lb1 is running (pid {})", std::process::id());
        assert!(refused.to_string().contains(&words), "{refused}");
        drop(agent);
        claim_what_is_there(&node("lb1"), &socket, &none).expect("it has ended");
    }

    #[test]
    fn the_holder_of_a_lock_is_found_by_inode() {
        let locks = "1: POSIX  ADVISORY  WRITE 501 00:19:17 0 EOF\n\
                     2: FLOCK  ADVISORY  WRITE 713 00:21:17 0 EOF\n2: -> FLOCK  ADVISORY  WRITE 9 00:21:18 0 EOF\n";
        assert_eq!(lock_holder(locks, 17), Some(713));
        assert_eq!(lock_holder(locks, 18), None, "who waits holds nothing");
    }
}
