//! The files of TLS: certificates, keys, authorities and lists of what was revoked, made into configurations that sessions go by.
//!
//! Owns reading and judging them, which certificate a client gets, and the keys of session tickets. Never makes a handshake: that is
//! the proxy's. When files are read again the agent decides; [`Stamps`] tells whether they have changed.

mod certificate;
mod challenge;
mod names;
mod ticket;

pub use certificate::{Certificate, first_certificate, issued};
pub use challenge::challenge;
pub use ticket::{ROTATED_EVERY, TicketSecret};

use crate::config::{BackendTls, ClientCertificates, TlsTerms};
use crate::model::{ClientCertificateMode, TlsVersion, UnknownName};
use rustls::client::danger::ServerCertVerifier;
use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::{ClientConfig, RootCertStore, ServerConfig, SupportedProtocolVersion, version};
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Why files are of no use.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// It cannot be read.
    #[error("{file}: {cause}")]
    Read {
        /// The file.
        file: PathBuf,
        /// Why not.
        cause: std::io::Error,
    },
    /// Something else is in it.
    #[error("{file}: {wrong}")]
    Content {
        /// The file.
        file: PathBuf,
        /// What is wrong.
        wrong: String,
    },
    /// Key and certificate are of two different pairs.
    #[error("{key}: this key is not the one of the certificate in {file}")]
    OtherKey {
        /// The certificate's file.
        file: PathBuf,
        /// The key's.
        key: PathBuf,
    },
    /// The parts do not go together.
    #[error("TLS: {0}")]
    Refused(String),
}

/// How clients' TLS ends.
pub struct Server {
    /// For sessions.
    pub config: Arc<ServerConfig>,
    /// Those that clients may get, in the order of the file.
    pub certificates: Vec<Certificate>,
    /// What the files were like when they were read.
    pub stamps: Stamps,
}

/// How backends are spoken TLS with.
pub struct Client {
    /// For sessions.
    pub config: Arc<ClientConfig>,
    /// What the files were like when they were read.
    pub stamps: Stamps,
}

/// What files were like: another one has another time, size or place on the disk.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stamps(BTreeMap<PathBuf, Option<[i128; 3]>>);

impl Stamps {
    /// Of these files, as they are now.
    pub fn of<'a>(files: impl IntoIterator<Item = &'a Path>) -> Self {
        let stamp = |file: &Path| {
            let found = fs::metadata(file).ok()?;
            let modified = i128::from(found.mtime()) * 1_000_000_000 + i128::from(found.mtime_nsec());
            Some([modified, found.len().into(), found.ino().into()])
        };
        Self(files.into_iter().map(|file| (file.to_owned(), stamp(file))).collect())
    }

    /// The same files, as they are now.
    #[must_use]
    pub fn now(&self) -> Self {
        Self::of(self.0.keys().map(PathBuf::as_path))
    }
}

/// Reads all files of a service's TLS. Where a certificate of an authority is missing, one that is in force stands in for it.
///
/// # Errors
/// A file is of no use.
pub fn server(terms: &TlsTerms, secret: &TicketSecret, in_force: &[Certificate]) -> Result<Server, TlsError> {
    // Before they are read: what is written meanwhile counts as changed.
    let stamps = Stamps::of(terms.files());
    let certificates: Vec<Certificate> = terms
        .certificates
        .iter()
        .filter_map(|files| certificate::meant(files, in_force).transpose())
        .collect::<Result<_, _>>()?;
    let refused = |error: rustls::Error| TlsError::Refused(error.to_string());
    let builder = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(versions(terms.min_version))
        .map_err(refused)?;
    let (builder, of_clients) = match &terms.client {
        None => (builder.with_no_client_auth(), Vec::new()),
        Some(client) => {
            let (verifier, fingerprint) = client_verifier(client)?;
            (builder.with_client_cert_verifier(verifier), fingerprint)
        }
    };
    let has_default = terms.unknown_name == UnknownName::Default;
    let mut config = builder.with_cert_resolver(Arc::new(names::ByName::new(&certificates, has_default)));
    config.alpn_protocols = terms.alpn.iter().map(|name| name.clone().into_bytes()).collect();
    config.session_storage = Arc::new(NoServerSessionStorage {});
    // A session that began under other terms for clients' certificates is not gone on with.
    config.ticketer = Arc::new(ticket::Tickets::new(&secret.of(&of_clients)));
    Ok(Server { config: Arc::new(config), certificates, stamps })
}

/// Reads the files for TLS with backends.
pub fn client(terms: &BackendTls) -> Result<Client, TlsError> {
    let stamps = Stamps::of([terms.ca.as_path()]);
    let (roots, _) = roots(&terms.ca)?;
    let wrong = |error: &dyn std::fmt::Display| TlsError::Content {
        file: terms.ca.clone(),
        wrong: error.to_string(),
    };
    let verifier: Arc<dyn ServerCertVerifier> =
        WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider())
            .build()
            .map_err(|error| wrong(&error))?;
    let mut config = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(|error| TlsError::Refused(error.to_string()))?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth();
    config.resumption = Resumption::in_memory_sessions(1024);
    Ok(Client { config: Arc::new(config), stamps })
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

fn versions(least: TlsVersion) -> &'static [&'static SupportedProtocolVersion] {
    static BOTH: [&SupportedProtocolVersion; 2] = [&version::TLS13, &version::TLS12];
    match least {
        TlsVersion::V1_2 => &BOTH,
        TlsVersion::V1_3 => &BOTH[..1],
    }
}

/// Who judges clients' certificates, and what its judgement depends on.
fn client_verifier(client: &ClientCertificates) -> Result<(Arc<dyn ClientCertVerifier>, Vec<u8>), TlsError> {
    let (roots, mut fingerprint) = roots(&client.ca)?;
    fingerprint.extend(client.mode.as_str().bytes());
    let mut builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider());
    if let Some(file) = &client.crl {
        let bytes = read(file)?;
        let lists: Vec<_> = CertificateRevocationListDer::pem_slice_iter(&bytes)
            .collect::<Result<_, _>>()
            .map_err(|error| content(file, error))?;
        if lists.is_empty() {
            return Err(content(file, "there is no list of revoked certificates in it (X509 CRL, in PEM)"));
        }
        builder = builder.with_crls(lists).only_check_end_entity_revocation();
        fingerprint.extend(bytes);
    }
    if client.mode == ClientCertificateMode::Optional {
        builder = builder.allow_unauthenticated();
    }
    let verifier = builder.build().map_err(|error| content(&client.ca, error))?;
    Ok((verifier, fingerprint))
}

fn roots(file: &Path) -> Result<(RootCertStore, Vec<u8>), TlsError> {
    let bytes = read(file)?;
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&bytes) {
        let certificate = certificate.map_err(|error| content(file, error))?;
        roots.add(certificate).map_err(|error| content(file, error))?;
    }
    if roots.is_empty() {
        return Err(content(file, "there is no certificate in it (PEM)"));
    }
    Ok((roots, bytes))
}

fn read(file: &Path) -> Result<Vec<u8>, TlsError> {
    fs::read(file).map_err(|cause| TlsError::Read { file: file.to_owned(), cause })
}

fn content(file: &Path, wrong: impl std::fmt::Display) -> TlsError {
    TlsError::Content { file: file.to_owned(), wrong: wrong.to_string() }
}

#[cfg(test)]
mod tests;
