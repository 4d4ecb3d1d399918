//! In folders of the test's own, as root: without the right to become another user there is nothing to try.

use super::*;
use std::os::unix::fs::{PermissionsExt as _, symlink};

/// A user that every Debian has, and that owns nothing; `None` where this process may not become it.
fn nobody() -> Option<Owner> {
    let user = User::from_name("nobody").ok().flatten()?;
    let owner = Owner { uid: user.uid, gid: user.gid, groups: vec![Gid::from_raw(54321)] };
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
    let refused = make_own(&own.join("a/b"), 0o700, &nobody).expect_err("it may not");
    assert!(refused.to_string().contains("Permission denied"), "{refused}");
    assert!(!own.join("a").exists());
    // One of root's that is there, with what is in there.
    std::fs::write(own.join("file"), "").expect("written");
    let refused = make_own(&own, 0o700, &nobody).expect_err("it is not its");
    assert!(refused.to_string().contains("chown -R nobody"), "the way out is missing: {refused}");
    give_file(&own.join("file"), &nobody).expect("nothing is done");
    assert_eq!((owner_of(&own).0, owner_of(&own.join("file")).0), (0, 0));
    // In its own it may.
    nix::unistd::chown(&own, Some(nobody.uid), None).expect("given");
    make_own(&own.join("a/b"), 0o700, &nobody).expect("made");
    assert_eq!(owner_of(&own.join("a")), (nobody.uid.as_raw(), 0o755));
    assert_eq!(owner_of(&own.join("a/b")), (nobody.uid.as_raw(), 0o700));
    make_own(&own.join("a/b"), 0o700, &nobody).expect("it is there");
    assert!(Uid::effective().is_root() && Gid::effective().as_raw() == 0, "it is itself again");
}

#[test]
fn a_folder_that_all_may_write_is_nobodys_own_and_one_of_its_groups_is() {
    let Some(nobody) = nobody() else { return };
    let root = folder_for_all();
    let folder = |name: &str, gid: u32, mode: u32| {
        let folder = root.path().join(name);
        DirBuilder::new().create(&folder).expect("made");
        nix::unistd::chown(&folder, None, Some(Gid::from_raw(gid))).expect("given");
        std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(mode)).expect("a mode");
        folder
    };
    let own_group = nobody.gid.as_raw();
    for (name, gid, mode, is_fine) in [
        ("all", 0, 0o1777, false),
        ("all-of-its-group", own_group, 0o777, false),
        ("roots", 0, 0o770, false),
        ("its-groups", own_group, 0o770, true),
        ("anothers-it-is-in", 54321, 0o2770, true),
    ] {
        let made = make_own(&folder(name, gid, mode), 0o700, &nobody);
        assert_eq!(made.is_ok(), is_fine, "{name}: {made:?}");
    }
}

#[test]
fn who_works_in_a_place_is_seen_by_a_lock_that_is_held() {
    let Some(nobody) = nobody() else { return };
    let root = folder_for_all();
    let lock = root.path().join("lb1.lock");
    std::fs::write(&lock, "4711\n").expect("written");
    symlink("/etc/passwd", root.path().join("link.lock")).expect("linked");
    let others = |owner: &Owner| {
        let mut folder = Dir::open(root.path(), FOLDER, Mode::empty()).expect("it is there");
        others_in(&mut folder, owner).map(|Working { uid, pid }| (uid.as_raw(), pid))
    };
    assert_eq!(others(&nobody), None, "nobody holds it");
    let held =
        Flock::lock(File::open(&lock).expect("opened"), FlockArg::LockExclusiveNonblock).expect("free");
    assert_eq!(others(&nobody), Some((0, "4711".to_owned())));
    assert_eq!(others(&Owner::of(None)), None, "it is ours");
    drop(held);
    assert_eq!(others(&nobody), None, "it has ended");
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
    give_folder(&mut open_within(&place, Path::new("acme")).expect("it is there"), &nobody).expect("given");
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
    let own = &Owner::of(None);
    give_stale_socket(&socket, own).expect("it is none, and stays");
    give_stale_socket(&root.path().join("none"), own).expect("nothing is there");
}
