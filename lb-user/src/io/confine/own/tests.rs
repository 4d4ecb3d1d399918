//! In folders of the test's own, as root: without the right to become another user there is nothing to try.

use super::*;
use std::os::unix::fs::{PermissionsExt as _, symlink};

/// A user that every Debian has, and that owns nothing; `None` where this process may not become it.
fn nobody() -> Option<Owner> {
    let user = User::from_name("nobody").ok().flatten()?;
    let owner = Owner { uid: user.uid, gid: user.gid };
    Uid::effective().is_root().then_some(owner).filter(|owner| owner.acts(|| ()).is_ok())
}

fn folder_for_all() -> tempfile::TempDir {
    let root = tempfile::tempdir().expect("a folder");
    std::fs::set_permissions(root.path(), std::fs::Permissions::from_mode(0o755)).expect("a mode");
    root
}

fn owner_of(path: &Path) -> (u32, u32) {
    let found = std::fs::symlink_metadata(path).expect("it is there");
    (found.uid(), found.mode() & 0o777)
}

#[test]
fn elsewhere_a_user_is_given_nothing_that_it_could_not_make() {
    let Some(nobody) = nobody() else { return };
    let root = folder_for_all();
    let own = root.path().join("own");
    DirBuilder::new().create(&own).expect("made");
    // A new folder in one of root's.
    let refused = make_own(&own.join("a/b"), 0o700, nobody).expect_err("it may not");
    assert!(refused.to_string().contains("Permission denied"), "{refused}");
    assert!(!own.join("a").exists());
    // One of root's that is there, with what is in there.
    std::fs::write(own.join("file"), "").expect("written");
    let refused = make_own(&own, 0o700, nobody).expect_err("it is not its");
    assert!(refused.to_string().contains("chown -R nobody"), "the way out is missing: {refused}");
    give_file(&own.join("file"), nobody).expect("nothing is done");
    assert_eq!((owner_of(&own).0, owner_of(&own.join("file")).0), (0, 0));
    // In its own it may.
    nix::unistd::chown(&own, Some(nobody.uid), None).expect("given");
    make_own(&own.join("a/b"), 0o700, nobody).expect("made");
    assert_eq!(owner_of(&own.join("a")), (nobody.uid.as_raw(), 0o755));
    assert_eq!(owner_of(&own.join("a/b")), (nobody.uid.as_raw(), 0o700));
    make_own(&own.join("a/b"), 0o700, nobody).expect("it is there");
    assert!(Uid::effective().is_root() && Gid::effective().as_raw() == 0, "it is itself again");
}

#[test]
fn what_is_given_in_a_place_of_agents_does_not_lead_elsewhere() {
    let Some(nobody) = nobody() else { return };
    let root = folder_for_all();
    let (place, system) = (root.path().join("place"), root.path().join("system"));
    std::fs::create_dir_all(place.join("acme/deep")).expect("made");
    std::fs::create_dir_all(&system).expect("made");
    std::fs::write(system.join("secret"), "").expect("written");
    std::fs::write(place.join("acme/deep/mine"), "").expect("written");
    std::fs::hard_link(system.join("secret"), place.join("acme/twice")).expect("linked");
    symlink(&system, place.join("acme/link")).expect("linked");
    symlink(&system, place.join("way")).expect("linked");
    give_folder(&mut open_within(&place, Path::new("acme")).expect("it is there"), nobody).expect("given");
    let uid = nobody.uid.as_raw();
    for mine in ["acme", "acme/deep", "acme/deep/mine"] {
        assert_eq!(owner_of(&place.join(mine)).0, uid, "{mine}");
    }
    for not in [&system, &system.join("secret"), &place] {
        assert_eq!(owner_of(not).0, 0, "{}", not.display());
    }
    assert!(open_within(&place, Path::new("way")).is_err(), "a link on the way leads nowhere");
    assert!(open_within(&place, Path::new("acme/../../system")).is_err(), "nor does one upwards");
}

#[test]
fn only_what_an_agent_left_is_given_of_sockets() {
    let root = folder_for_all();
    let socket = root.path().join("s");
    std::fs::write(&socket, "").expect("written");
    let own = Owner::of(None);
    give_stale_socket(&socket, own).expect("it is none, and stays");
    give_stale_socket(&root.path().join("none"), own).expect("nothing is there");
}
