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
