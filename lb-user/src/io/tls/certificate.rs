//! A certificate with its key, from files.

use super::{TlsError, content, provider, read};
use crate::config::CertificateFiles;
use crate::core::certificate::CertificateFacts;
use rustls::InconsistentKeys;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use std::path::PathBuf;
use std::sync::Arc;

/// A certificate that clients may get.
#[derive(Clone, Debug)]
pub struct Certificate {
    /// Where it was read from.
    pub file: PathBuf,
    /// What it says.
    pub facts: CertificateFacts,
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

/// The files that are meant. For a certificate that an authority has not given out yet that is the best of those it gave out before: one
/// that is for the most of its names, and of these the one that lasts longest. `None`: there is none yet.
pub(super) fn meant(files: &CertificateFiles) -> Option<CertificateFiles> {
    if files.acme.is_empty() || files.file.exists() {
        return Some(files.clone());
    }
    let kept = std::fs::read_dir(files.file.parent()?).ok()?.flatten().map(|entry| entry.path());
    let kept = kept.filter(|path| path.extension().is_some_and(|extension| extension == "pem"));
    let judged = kept.filter_map(|file| {
        let facts = first_certificate(&std::fs::read(&file).ok()?)?;
        let names = facts.names.iter().filter(|name| files.acme.contains(name)).count();
        (names > 0).then_some(((names, facts.not_after), file))
    });
    let (_, file) = judged.max()?;
    Some(CertificateFiles { file, ..files.clone() })
}

/// Reads a certificate, those that lead from it to an authority, and its key.
pub(super) fn load(files: &CertificateFiles) -> Result<Certificate, TlsError> {
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(&read(&files.file)?)
        .collect::<Result<_, _>>()
        .map_err(|error| content(&files.file, error))?;
    let Some(own) = chain.first() else {
        return Err(content(&files.file, "there is no certificate in it (PEM)"));
    };
    let facts = CertificateFacts::of(own).map_err(|error| content(&files.file, error))?;
    let key_file = files.key_file();
    let key = PrivateKeyDer::from_pem_slice(&read(key_file)?).map_err(|error| match error {
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
    Ok(Certificate { file: files.file.clone(), facts, key: Arc::new(key) })
}
