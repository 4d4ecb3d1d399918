//! A certificate with its key, from files.

use super::{TlsError, content, provider, read};
use crate::config::CertificateFiles;
use crate::core::certificate::CertificateFacts;
use rustls::InconsistentKeys;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

/// A certificate that clients may get.
#[derive(Clone, Debug)]
pub struct Certificate {
    /// Where it was read from.
    pub file: PathBuf,
    /// What it says.
    pub facts: CertificateFacts,
    /// Whether an authority is asked for it, so that it needs nobody's care.
    pub is_asked_for: bool,
    /// For sessions.
    pub(super) key: Arc<CertifiedKey>,
}

impl Certificate {
    /// Whether it is the very same, with all that lead from it.
    pub fn is_same_as(&self, other: &Self) -> bool {
        self.key.cert == other.key.cert
    }
}

/// What the first certificate in some PEM says; `None`: there is none.
pub fn first_certificate(pem: &[u8]) -> Option<CertificateFacts> {
    let first = CertificateDer::pem_slice_iter(pem).next()?.ok()?;
    CertificateFacts::of(&first).ok()
}

/// What a certificate with its key, both in this PEM, says; `None`: it is of no use, or not for all of these names.
pub fn issued(pem: &[u8], names: &[String]) -> Option<CertificateFacts> {
    let nowhere = CertificateFiles { file: PathBuf::new(), key: None, acme: names.to_vec() };
    let facts = assemble(&nowhere, pem, || Ok(pem.to_vec())).ok()?.facts;
    let has = |name: &String| facts.names.iter().any(|one| one.eq_ignore_ascii_case(name));
    names.iter().all(has).then_some(facts)
}

/// The part of a file's name that tells of which authority its certificate is: `NAME-HASH.MARK.pem`.
fn authority_mark(file: &Path) -> Option<&OsStr> {
    Path::new(file.file_stem()?).extension()
}

/// The certificate that is meant. For one that an authority has not given out yet, or whose file is gone or damaged, that is the best of those it
/// gave out before, in its folder or in force: rather one of the same authority than of another, then one that is for the most of its names, and
/// of these the one that lasts longest, if it has not expired. `None`: there is none.
pub(super) fn meant(
    files: &CertificateFiles,
    in_force: &[Certificate],
) -> Result<Option<Certificate>, TlsError> {
    if files.acme.is_empty() {
        return load(files).map(Some);
    }
    if let Ok(certificate) = load(files) {
        return Ok(Some(certificate));
    }
    let kept = files.file.parent().and_then(|folder| std::fs::read_dir(folder).ok()).into_iter().flatten();
    let kept = kept.flatten().map(|entry| entry.path());
    let kept = kept.filter(|path| path.extension().is_some_and(|extension| extension == "pem"));
    let kept = kept.filter_map(|file| load(&CertificateFiles { file, ..files.clone() }).ok());
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let judged = kept.chain(in_force.iter().filter(|known| known.is_asked_for).cloned()).filter_map(|one| {
        let names = one.facts.names.iter().filter(|name| files.acme.contains(name)).count();
        let is_of_the_same = authority_mark(&one.file) == authority_mark(&files.file);
        let merit = (is_of_the_same, names, one.facts.not_after);
        (names > 0 && one.facts.not_after > now).then_some((merit, one))
    });
    Ok(judged.max_by_key(|(merit, _)| *merit).map(|(_, one)| one))
}

/// Reads a certificate, those that lead from it to an authority, and its key.
pub(super) fn load(files: &CertificateFiles) -> Result<Certificate, TlsError> {
    assemble(files, &read(&files.file)?, || read(files.key_file()))
}

/// Makes a certificate of what is in its files; the key's is read when the other has been found right.
fn assemble(
    files: &CertificateFiles,
    chain: &[u8],
    key: impl FnOnce() -> Result<Vec<u8>, TlsError>,
) -> Result<Certificate, TlsError> {
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(chain)
        .collect::<Result<_, _>>()
        .map_err(|error| content(&files.file, error))?;
    let Some(own) = chain.first() else {
        return Err(content(&files.file, "there is no certificate in it (PEM)"));
    };
    let facts = CertificateFacts::of(own).map_err(|error| content(&files.file, error))?;
    let key_file = files.key_file();
    let key = PrivateKeyDer::from_pem_slice(&key()?).map_err(|error| match error {
        rustls::pki_types::pem::Error::NoItemsFound => {
            content(key_file, "there is no private key in it (PEM, without a passphrase)")
        }
        other => content(key_file, other),
    })?;
    let key = CertifiedKey::from_der(chain, key, &provider()).map_err(|error| match error {
        rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => {
            TlsError::OtherKey { file: files.file.clone(), key: key_file.to_owned() }
        }
        other => content(key_file, other),
    })?;
    let is_asked_for = !files.acme.is_empty();
    Ok(Certificate { file: files.file.clone(), facts, is_asked_for, key: Arc::new(key) })
}
