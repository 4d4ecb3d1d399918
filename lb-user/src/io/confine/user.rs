//! Who the agent is once it has started.

use super::ConfineError;
use nix::sys::prctl;
use nix::unistd::{Gid, Uid, User, chown, setgid, setgroups, setuid};
use std::ffi::CString;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

/// A user to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    name: String,
    uid: Uid,
    gid: Gid,
    /// Groups beside its own.
    groups: Vec<Gid>,
}

impl Account {
    /// The user of that name, that is in this group, too. `None`: it is who we are.
    ///
    /// # Errors
    /// There is no such user.
    pub fn named(name: &str, group: Option<Gid>) -> Result<Option<Self>, ConfineError> {
        let missing = || ConfineError::NoUser(name.to_owned());
        let user = User::from_name(name).ok().flatten().ok_or_else(missing)?;
        if user.uid == Uid::effective() {
            return Ok(None);
        }
        let c_name = CString::new(name).map_err(|_| missing())?;
        let mut groups = nix::unistd::getgrouplist(&c_name, user.gid).unwrap_or_default();
        groups.extend(group);
        Ok(Some(Self { name: name.to_owned(), uid: user.uid, gid: user.gid, groups }))
    }

    /// Capabilities stay permitted.
    pub(super) fn become_it(&self) -> Result<(), ConfineError> {
        let failed = |errno| ConfineError::Become { user: self.name.clone(), errno };
        prctl::set_keepcaps(true).map_err(failed)?;
        setgroups(&self.groups).map_err(failed)?;
        setgid(self.gid).map_err(failed)?;
        setuid(self.uid).map_err(failed)
    }
}

/// Makes a folder where there is none, and the account's; one that is there stays whose it is, unless an agent made it as root: `with_content` takes that
/// over, with all that is in it.
///
/// # Errors
/// The file system refused.
pub fn make_own(folder: &Path, account: &Account, with_content: bool) -> Result<(), ConfineError> {
    let failed = |cause: std::io::Error| ConfineError::Own { path: folder.to_owned(), cause };
    let is_new = !folder.exists();
    fs::create_dir_all(folder).map_err(failed)?;
    if is_new || with_content {
        give(folder, account).map_err(failed)?;
    }
    Ok(())
}

fn give(path: &Path, account: &Account) -> std::io::Result<()> {
    let found = fs::symlink_metadata(path)?;
    if found.uid() == 0 {
        chown(path, Some(account.uid), Some(account.gid))?;
    }
    if found.is_dir() {
        for entry in fs::read_dir(path)? {
            give(&entry?.path(), account)?;
        }
    }
    Ok(())
}
