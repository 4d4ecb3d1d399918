//! What is kept of an authority on the disk: the account, and certificates with their keys, for nobody else to read.

use crate::config::{Acme, is_acme_file, write_for_owner};
use std::collections::BTreeSet;
use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The file of an account: another authority has another.
pub fn account_file(acme: &Acme) -> PathBuf {
    let host = acme.directory.strip_prefix("https://").unwrap_or(&acme.directory);
    let is_plain = |letter: char| letter.is_ascii_alphanumeric() || ".-".contains(letter);
    let name: String = host.chars().map(|letter| if is_plain(letter) { letter } else { '_' }).collect();
    acme.folder.join(format!("account-{name}.json"))
}

/// The account with an authority, and when it was made, since 1970.
pub fn account(acme: &Acme) -> Option<(Duration, String)> {
    let file = account_file(acme);
    let made = u64::try_from(fs::metadata(&file).ok()?.mtime()).ok()?;
    let text = fs::read_to_string(&file).ok()?;
    // One that was damaged is none.
    let is_one = serde_json::from_str::<instant_acme::AccountCredentials>(&text).is_ok();
    is_one.then_some((Duration::from_secs(made), text))
}

/// Keeps it, unless it is there already.
///
/// # Errors
/// The folder cannot be made, or not written to.
pub fn keep_account(acme: &Acme, account: &str) -> io::Result<()> {
    let file = account_file(acme);
    if fs::read_to_string(&file).is_ok_and(|there| there == account) {
        return Ok(());
    }
    keep(&file, account)
}

/// A certificate with its key, in PEM.
pub fn certificate(file: &Path) -> Option<String> {
    fs::read_to_string(file).ok()
}

/// Writes a file that only its owner can read, whole or not at all, and its folder where there is none.
///
/// # Errors
/// The folder cannot be made, or not written to.
pub fn keep(file: &Path, text: &str) -> io::Result<()> {
    let folder = file.parent().unwrap_or(Path::new("/"));
    if !folder.exists() {
        // Those above are for all to go through.
        folder.parent().map_or(Ok(()), fs::create_dir_all)?;
        DirBuilder::new().mode(0o700).create(folder)?;
    }
    write_for_owner(file, text)
}

/// Removes certificates of authorities that have expired, which stand in for no others, but for those files; which it removed. What has a name of
/// another form is nobody's here to remove.
pub fn forget_expired(
    folder: &Path,
    wanted: &BTreeSet<PathBuf>,
    has_expired: impl Fn(&str) -> bool,
) -> Vec<PathBuf> {
    let files = fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let is_over = |file: &PathBuf| {
        is_acme_file(file) && !wanted.contains(file) && certificate(file).is_some_and(|pem| has_expired(&pem))
    };
    files.filter(is_over).filter(|file| fs::remove_file(file).is_ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::acme_file;
    use crate::model::AcmeChallenge;

    #[test]
    fn what_is_kept_is_for_its_owner_alone() {
        let root = tempfile::tempdir().expect("a folder");
        let folder = root.path().join("lib/acme");
        let directory = "https://ca.example.org:14000/dir".to_owned();
        let challenge = AcmeChallenge::Http01;
        let acme = Acme { directory, contact: Vec::new(), challenge, folder: folder.clone(), ca: None };
        assert_eq!(account(&acme), None);
        keep_account(&acme, "first").expect("kept");
        assert_eq!(account(&acme), None, "damaged");
        let made = r#"{"id":"https://ca/1","key_pkcs8":"AA","directory":"https://ca/dir"}"#;
        keep_account(&acme, made).expect("kept anew");
        assert_eq!(account(&acme).expect("an account").1, made);
        let file = folder.join("account-ca.example.org_14000_dir.json");
        let mode = |path: &Path| fs::metadata(path).expect("a file").mode() & 0o777;
        assert_eq!((mode(&folder), mode(&file)), (0o700, 0o600));
        assert_ne!(mode(&root.path().join("lib")), 0o700, "others have to get through there");
        assert_eq!(fs::read_dir(&folder).expect("a folder").count(), 1, "nothing else is left");
    }

    #[test]
    fn only_certificates_that_have_expired_and_that_nobody_wants_are_removed() {
        let root = tempfile::tempdir().expect("a folder");
        let folder = root.path();
        let made = |directory: &str, name: &str| acme_file(folder, directory, &[name.to_owned()]);
        let (wanted, other) = (made("https://ca", "a"), made("https://ca", "b"));
        let (hand_made, account) = (folder.join("mine.pem"), folder.join("account-ca.json"));
        let good = made("https://ca", "c");
        for file in [&wanted, &other, &hand_made, &account] {
            keep(file, "expired").expect("kept");
        }
        keep(&good, "good").expect("kept");
        let all: BTreeSet<PathBuf> = [wanted.clone()].into();
        assert_eq!(forget_expired(folder, &all, |pem| pem == "expired"), std::slice::from_ref(&other));
        assert!(!other.exists());
        for file in [&wanted, &hand_made, &account, &good] {
            assert!(file.exists(), "{}", file.display());
        }
    }
}
