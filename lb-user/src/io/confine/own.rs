//! Folders and files that have to be the agent's: made, or given to it while there is the right to.
//!
//! Never follows a symbolic link: in a folder that was another user's a name may lead anywhere, and change while it is looked at.

use super::{Account, ConfineError};
use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, AtFlags, OFlag};
use nix::sys::stat::{Mode, SFlag, fstat, fstatat};
use nix::unistd::{Gid, Uid, fchown, fchownat};
use std::ffi::CStr;
use std::fs::DirBuilder;
use std::os::fd::AsFd as _;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;

/// Whose something is to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Owner {
    uid: Uid,
    gid: Gid,
}

impl Owner {
    /// The account's, or else this process's.
    pub fn of(account: Option<&Account>) -> Self {
        match account {
            Some(account) => Self { uid: account.uid, gid: account.gid },
            None => Self { uid: Uid::effective(), gid: Gid::effective() },
        }
    }
}

/// What becomes of a folder that is there already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum There {
    /// It stays whose it is.
    Stays,
    /// It becomes the owner's, with all that is in it.
    IsTaken,
}

/// Makes a folder with that mode, and those above it, where there is none.
///
/// # Errors
/// The file system refused.
pub fn make_own(folder: &Path, mode: u32, there: There, owner: Owner) -> Result<(), ConfineError> {
    let failed = |cause: std::io::Error| ConfineError::Own { path: folder.to_owned(), cause };
    if !folder.exists() {
        DirBuilder::new().recursive(true).mode(mode).create(folder).map_err(failed)?;
    } else if there == There::Stays {
        return Ok(());
    }
    let flags = OFlag::O_DIRECTORY | OFlag::O_CLOEXEC | OFlag::O_NOFOLLOW;
    let mut opened = Dir::open(folder, flags, Mode::empty()).map_err(|errno| failed(errno.into()))?;
    give_folder(&mut opened, owner).map_err(|errno| failed(errno.into()))
}

/// Gives a file to the owner, if it is there.
///
/// # Errors
/// The file system refused.
pub fn give_file(file: &Path, owner: Owner) -> Result<(), ConfineError> {
    let (uid, gid) = (Some(owner.uid), Some(owner.gid));
    match fchownat(AT_FDCWD, file, uid, gid, AtFlags::AT_SYMLINK_NOFOLLOW) {
        Ok(()) | Err(Errno::ENOENT) => Ok(()),
        Err(errno) => Err(ConfineError::Own { path: file.to_owned(), cause: errno.into() }),
    }
}

fn give_folder(folder: &mut Dir, owner: Owner) -> nix::Result<()> {
    if fstat(folder.as_fd())?.st_uid != owner.uid.as_raw() {
        fchown(folder.as_fd(), Some(owner.uid), Some(owner.gid))?;
    }
    let names: Vec<_> = folder.iter().map(|entry| entry.map(|entry| entry.file_name().to_owned())).collect();
    for name in names {
        let name = name?;
        if name.as_c_str() != c"." && name.as_c_str() != c".." {
            give_entry(folder, &name, owner)?;
        }
    }
    Ok(())
}

fn give_entry(folder: &Dir, name: &CStr, owner: Owner) -> nix::Result<()> {
    let found = fstatat(folder.as_fd(), name, AtFlags::AT_SYMLINK_NOFOLLOW)?;
    if SFlag::from_bits_truncate(found.st_mode) & SFlag::S_IFMT == SFlag::S_IFDIR {
        let flags = OFlag::O_DIRECTORY | OFlag::O_CLOEXEC | OFlag::O_NOFOLLOW;
        return give_folder(&mut Dir::openat(folder.as_fd(), name, flags, Mode::empty())?, owner);
    }
    if found.st_uid != owner.uid.as_raw() {
        let (uid, gid) = (Some(owner.uid), Some(owner.gid));
        fchownat(folder.as_fd(), name, uid, gid, AtFlags::AT_SYMLINK_NOFOLLOW)?;
    }
    Ok(())
}
