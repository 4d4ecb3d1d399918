//! Who the agent is once it has started.

use super::ConfineError;
use nix::sys::prctl;
use nix::unistd::{Gid, Uid, User, getgroups, setgid, setgroups, setuid};
use std::ffi::CString;

/// A user to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    name: String,
    pub(super) uid: Uid,
    pub(super) gid: Gid,
    /// Groups beside its own.
    pub(super) groups: Vec<Gid>,
}

impl Account {
    /// The user of that name. `None`: it is who we are.
    ///
    /// # Errors
    /// There is no such user.
    pub fn named(name: &str) -> Result<Option<Self>, ConfineError> {
        let missing = || ConfineError::NoUser(name.to_owned());
        let user = User::from_name(name).ok().flatten().ok_or_else(missing)?;
        if user.uid == Uid::effective() {
            return Ok(None);
        }
        let c_name = CString::new(name).map_err(|_| missing())?;
        let groups = nix::unistd::getgrouplist(&c_name, user.gid).unwrap_or_default();
        Ok(Some(Self { name: name.to_owned(), uid: user.uid, gid: user.gid, groups }))
    }

    /// Whether the system has it in that group.
    pub fn is_in(&self, group: Gid) -> bool {
        self.gid == group || self.groups.contains(&group)
    }

    /// Capabilities stay permitted.
    pub(super) fn become_it(&self, more: &[Gid]) -> Result<(), ConfineError> {
        let failed = |errno| ConfineError::Become { user: self.name.clone(), errno };
        prctl::set_keepcaps(true).map_err(failed)?;
        setgroups(&[&self.groups, more].concat()).map_err(failed)?;
        setgid(self.gid).map_err(failed)?;
        setuid(self.uid).map_err(failed)
    }
}

/// Is in these groups, too: without the right to give files to any group, only one's own can be given them.
pub(super) fn join(more: &[Gid]) {
    let own = getgroups().unwrap_or_default();
    if more.iter().any(|group| !own.contains(group)) {
        // Who may not is no root, and then the groups were for whoever started it to give.
        let _ = setgroups(&[own.as_slice(), more].concat());
    }
}
