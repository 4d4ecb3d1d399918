//! `[service.NAME.tls]`: how clients' TLS ends here; `[service.NAME.backend_tls]`: TLS with backends.

use crate::model::{ClientCertificateMode, TlsVersion, UnknownName};
use std::fmt;
use std::path::{Path, PathBuf};

/// The end of clients' TLS: mode `tls`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsTerms {
    /// Those that clients may get; at least one. The first is for whom there is no other.
    pub certificates: Vec<CertificateFiles>,
    /// The oldest version that is spoken.
    pub min_version: TlsVersion,
    /// The application's protocols that are offered, the dearest first; empty offers none.
    pub alpn: Vec<String>,
    /// What becomes of clients that ask for a name without a certificate, or for none.
    pub unknown_name: UnknownName,
    /// Certificates of clients, where they are asked for.
    pub client: Option<ClientCertificates>,
}

/// `[[service.NAME.tls.certificate]]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateFiles {
    /// The certificate and those that lead to its authority, in PEM.
    pub file: PathBuf,
    /// Its key; `None` is in the same file.
    pub key: Option<PathBuf>,
    /// The names that an authority (`[acme]`) is asked for it with; the file is where it is kept. Empty is one that somebody else puts there.
    pub acme: Vec<String>,
}

/// What is asked of clients.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientCertificates {
    /// The authorities that their certificates must lead to, in PEM.
    pub ca: PathBuf,
    /// What these have revoked, in PEM.
    pub crl: Option<PathBuf>,
    /// Whether they must have one.
    pub mode: ClientCertificateMode,
}

/// TLS with backends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackendTls {
    /// The authorities that their certificates must lead to, in PEM.
    pub ca: PathBuf,
    /// The name that their certificates must be for; `None` is their address.
    pub server_name: Option<String>,
}

impl CertificateFiles {
    /// Where the key is.
    pub fn key_file(&self) -> &Path {
        self.key.as_deref().unwrap_or(&self.file)
    }
}

impl TlsTerms {
    /// The certificates that an authority is asked for.
    pub fn asked_for(&self) -> impl Iterator<Item = &CertificateFiles> {
        self.certificates.iter().filter(|files| !files.acme.is_empty())
    }

    /// All files.
    pub fn files(&self) -> impl Iterator<Item = &Path> {
        let certificates =
            self.certificates.iter().flat_map(|files| [files.file.as_path(), files.key_file()]);
        let of_clients = self.client.iter().flat_map(|client| [Some(&client.ca), client.crl.as_ref()]);
        certificates.chain(of_clients.flatten().map(PathBuf::as_path))
    }
}

impl fmt::Display for TlsTerms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("certificates ")?;
        super::write_list(f, &self.certificates)?;
        write!(f, ", min_version {}, unknown_name {}", self.min_version, self.unknown_name)?;
        if !self.alpn.is_empty() {
            f.write_str(", alpn ")?;
            super::write_list(f, &self.alpn)?;
        }
        let Some(client) = &self.client else { return Ok(()) };
        write!(f, ", client_certificate {}, client_ca {}", client.mode, client.ca.display())?;
        match &client.crl {
            Some(crl) => write!(f, ", client_crl {}", crl.display()),
            None => Ok(()),
        }
    }
}

impl fmt::Display for CertificateFiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.acme.is_empty() {
            f.write_str("acme ")?;
            return super::write_list(f, &self.acme);
        }
        write!(f, "{}", self.file.display())?;
        match &self.key {
            Some(key) => write!(f, " with {}", key.display()),
            None => Ok(()),
        }
    }
}

impl fmt::Display for BackendTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ca {}", self.ca.display())?;
        match &self.server_name {
            Some(name) => write!(f, ", server_name {name}"),
            None => Ok(()),
        }
    }
}
