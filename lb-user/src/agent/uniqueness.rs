//! One agent for a node, one listener on a socket.

use crate::api::server::Policy;
use crate::model::NodeName;
use nix::fcntl::{Flock, FlockArg};
use nix::unistd::{Uid, chown};
use std::fs::{File, OpenOptions, Permissions};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
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
    /// Another agent listens there.
    #[error("another agent answers at {0}; stop it first, or set control.socket")]
    SocketInUse(PathBuf),
    /// Something else is there.
    #[error("{0} is there and is no socket; remove it, or set control.socket")]
    NotASocket(PathBuf),
    /// The file system refused.
    #[error("{path}: {cause}")]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        cause: std::io::Error,
    },
}

fn failed(path: &Path) -> impl Fn(std::io::Error) -> UniquenessError + '_ {
    move |cause| UniquenessError::File { path: path.to_owned(), cause }
}

/// Holds the node's lock for as long as it lives. The kernel lets go of it with the process, so a crash
/// leaves no stale one.
pub(super) fn lock(node: &NodeName, socket: &Path) -> Result<Flock<File>, UniquenessError> {
    let dir = socket.parent().unwrap_or(Path::new("/run/lbctl"));
    std::fs::create_dir_all(dir).map_err(failed(dir))?;
    let path = dir.join(format!("{node}.lock"));
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(&path)
        .map_err(failed(&path))?;
    let mut pid = String::new();
    // Only for the message: an unreadable one leaves it empty.
    let _ = file.read_to_string(&mut pid);
    let mut held = Flock::lock(file, FlockArg::LockExclusiveNonblock)
        .map_err(|_| UniquenessError::Running { node: node.clone(), pid: pid.trim().to_owned() })?;
    let write = |file: &mut File| {
        file.set_len(0)?;
        file.rewind()?;
        writeln!(file, "{}", std::process::id())
    };
    write(&mut held).map_err(failed(&path))?;
    Ok(held)
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
