use std::fs;
use std::os::unix::fs::symlink;

use super::*;

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().mode() & 0o7777
}

#[test]
fn the_new_text_replaces_the_old_one_and_keeps_its_mode() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("lbctl.toml");
    fs::write(&path, "old").unwrap();
    fs::set_permissions(&path, Permissions::from_mode(0o604)).unwrap();
    write_atomically(&path, "new").unwrap();
    assert_eq!(fs::read_to_string(&path).unwrap(), "new");
    assert_eq!(mode(&path), 0o604);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "a temporary file was left behind");
}

#[test]
fn the_owner_stays() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("lbctl.toml");
    fs::write(&path, "old").unwrap();
    // Only root may give a file away.
    if std::os::unix::fs::chown(&path, Some(1234), Some(2345)).is_err() {
        return;
    }
    write_atomically(&path, "new").unwrap();
    let found = fs::metadata(&path).unwrap();
    assert_eq!((found.uid(), found.gid()), (1234, 2345));
}

#[test]
fn a_file_that_was_not_there_is_not_for_others_to_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("lbctl.toml");
    write_atomically(&path, "new").unwrap();
    assert_eq!(mode(&path), NEW_FILE_MODE);
}

#[test]
fn a_symbolic_link_stays_and_its_target_is_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let target = folder.path().join("real.toml");
    let link = folder.path().join("link.toml");
    fs::write(&target, "old").unwrap();
    symlink(&target, &link).unwrap();
    write_atomically(&link, "new").unwrap();
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    assert_eq!(fs::read_to_string(&target).unwrap(), "new");
}

#[test]
fn whoever_has_the_old_file_open_still_reads_all_of_it() {
    use std::io::Read;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("lbctl.toml");
    fs::write(&path, "old").unwrap();
    let mut open = File::open(&path).unwrap();
    write_atomically(&path, "new").unwrap();
    let mut text = String::new();
    open.read_to_string(&mut text).unwrap();
    assert_eq!(text, "old");
}

#[test]
fn a_folder_that_is_not_there_is_an_error_and_nothing_is_made() {
    assert!(write_atomically(Path::new("/nonexistent/lbctl.toml"), "new").is_err());
}
