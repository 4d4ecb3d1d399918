//! One lab at a time: a lock that the kernel releases when its holder dies, however it dies.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};

use super::paths;

/// Held by the process that owns the lab.
#[derive(Debug)]
pub(super) struct LabLock {
    path: PathBuf,
    // Closing the file releases the lock.
    _file: Flock<File>,
}

impl LabLock {
    /// Takes the lock; `None` when another process holds it.
    pub(super) fn try_take() -> Result<Option<LabLock>> {
        LabLock::try_take_at(Path::new(paths::LOCK_FILE))
    }

    fn try_take_at(path: &Path) -> Result<Option<LabLock>> {
        loop {
            let file = OpenOptions::new().create(true).truncate(false).write(true).open(path);
            let file = file.with_context(|| format!("opening {}", path.display()))?;
            let inode = file.metadata().context("reading the lock's inode")?.ino();
            let locked = match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
                Ok(locked) => locked,
                Err((_, Errno::EWOULDBLOCK)) => return Ok(None),
                Err((_, errno)) => bail!("locking {}: {}", path.display(), errno.desc()),
            };
            // Whoever held it may have removed the file between our opening and our locking it.
            if std::fs::metadata(path).is_ok_and(|now| now.ino() == inode) {
                return Ok(Some(LabLock { path: path.to_owned(), _file: locked }));
            }
        }
    }
}

impl Drop for LabLock {
    /// Leaves no file behind.
    fn drop(&mut self) {
        // Removed while still locked, so that nobody else's lock is removed. If it stays, it is empty.
        let _ = std::fs::remove_file(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_holder_is_refused_until_the_first_lets_go() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lock");
        let first = LabLock::try_take_at(&path).unwrap().unwrap();
        assert!(LabLock::try_take_at(&path).unwrap().is_none());
        drop(first);
        assert!(!path.exists());
        assert!(LabLock::try_take_at(&path).unwrap().is_some());
    }
}
