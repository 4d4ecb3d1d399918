//! The lab's own folder: a file system in memory, so that databases start in a fraction of a second,
//! big files do not touch a disk, and all of it vanishes with one unmount.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};
use nix::errno::Errno;
use nix::mount::{MntFlags, MsFlags, mount, umount2};

use super::{cleanup, paths};

/// Makes the folder.
pub(super) fn create() -> Result<()> {
    let folder = paths::STATE_DIR;
    fs::create_dir_all(folder).with_context(|| format!("creating {folder}"))?;
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
    mount(Some("tmpfs"), folder, Some("tmpfs"), flags, Some("mode=0755"))
        .with_context(|| format!("mounting a memory file system at {folder}"))
}

/// Removes the folder and everything in it.
pub(super) fn remove() -> Result<()> {
    let folder = Path::new(paths::STATE_DIR);
    loop {
        // Detached, because somebody's shell may stand in it.
        match umount2(folder, MntFlags::MNT_DETACH) {
            Ok(()) => {}
            Err(Errno::EINVAL | Errno::ENOENT) => break,
            Err(errno) => bail!("unmounting {}: {}", folder.display(), errno.desc()),
        }
    }
    cleanup::remove(folder)
}
