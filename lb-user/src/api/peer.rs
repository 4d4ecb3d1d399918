//! Who is at the other end of the socket, and what they may do.

use axum::extract::connect_info::Connected;
use axum::serve::IncomingStream;
use nix::unistd::{Gid, Group, Uid, User, getgrouplist};
use std::ffi::CString;
use tokio::net::UnixListener;

/// What a peer may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Right {
    /// Nothing.
    None,
    /// Look.
    Read,
    /// Change things.
    Write,
}

/// The process that connected, as the kernel tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Peer {
    credentials: Option<(Uid, Gid)>,
}

impl Connected<IncomingStream<'_, UnixListener>> for Peer {
    fn connect_info(stream: IncomingStream<'_, UnixListener>) -> Self {
        let credentials = stream.io().peer_cred().ok();
        Self {
            credentials: credentials.map(|found| (Uid::from_raw(found.uid()), Gid::from_raw(found.gid()))),
        }
    }
}

/// Who may do what.
#[derive(Clone, Debug)]
pub struct Policy {
    /// Root and the members of this group may write.
    pub group: Option<Gid>,
    /// Everybody may read.
    pub others_may_read: bool,
}

impl Policy {
    pub(super) fn right_of(&self, peer: Peer) -> Right {
        let Some((uid, gid)) = peer.credentials else { return Right::None };
        if uid.is_root() || self.group.is_some_and(|group| gid == group || is_member(uid, gid, group)) {
            Right::Write
        } else if self.others_may_read {
            Right::Read
        } else {
            Right::None
        }
    }

    /// Mode of the socket's file: who may connect at all.
    pub fn socket_mode(&self) -> u32 {
        match (self.others_may_read, self.group) {
            (true, _) => 0o666,
            (false, Some(_)) => 0o660,
            (false, None) => 0o600,
        }
    }

    /// Looks a group up by name.
    pub fn group_by_name(name: &str) -> Option<Gid> {
        Group::from_name(name).ok().flatten().map(|group| group.gid)
    }
}

fn is_member(uid: Uid, gid: Gid, group: Gid) -> bool {
    let Ok(Some(user)) = User::from_uid(uid) else { return false };
    let Ok(name) = CString::new(user.name) else { return false };
    getgrouplist(&name, gid).is_ok_and(|groups| groups.contains(&group))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(uid: u32, gid: u32) -> Peer {
        Peer { credentials: Some((Uid::from_raw(uid), Gid::from_raw(gid))) }
    }

    #[test]
    fn root_and_the_group_may_write_others_only_what_is_allowed() {
        let policy = Policy { group: Some(Gid::from_raw(4242)), others_may_read: false };
        assert_eq!(policy.right_of(peer(0, 0)), Right::Write);
        assert_eq!(policy.right_of(peer(12345, 4242)), Right::Write);
        assert_eq!(policy.right_of(peer(12345, 12345)), Right::None);
        let open = Policy { others_may_read: true, ..policy };
        assert_eq!(open.right_of(peer(12345, 12345)), Right::Read);
    }

    #[test]
    fn a_peer_without_credentials_may_nothing() {
        let policy = Policy { group: None, others_may_read: true };
        assert_eq!(policy.right_of(Peer { credentials: None }), Right::None);
    }

    #[test]
    fn the_sockets_mode_lets_in_whom_the_policy_knows() {
        assert_eq!(Policy { group: None, others_may_read: false }.socket_mode(), 0o600);
        assert_eq!(Policy { group: Some(Gid::from_raw(1)), others_may_read: false }.socket_mode(), 0o660);
        assert_eq!(Policy { group: None, others_may_read: true }.socket_mode(), 0o666);
    }
}
