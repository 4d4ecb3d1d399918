//! What is said of TLS: certificates, and reading them again.

use crate::model::ServiceName;
use serde::{Deserialize, Serialize};
use std::net::IpAddr;
use std::path::PathBuf;

/// The end of clients' TLS at a service.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct TlsView {
    /// Handshakes that began a session.
    pub full_handshakes: u64,
    /// And that went on with one.
    pub resumed_handshakes: u64,
    /// Those in force.
    pub certificates: Vec<CertificateView>,
    /// Why the files as they are now are not in force; null where they are.
    pub trouble: Option<String>,
}

/// A certificate that clients may get.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CertificateView {
    /// Where it was read from.
    pub file: PathBuf,
    /// Its subject's common name; may be empty.
    pub common_name: String,
    /// DNS names it is for.
    pub names: Vec<String>,
    /// Addresses it is for.
    pub addresses: Vec<IpAddr>,
    /// Not good before, in seconds since 1970.
    pub not_before_unix_seconds: u64,
    /// Not good after, likewise.
    pub not_after_unix_seconds: u64,
}

/// What came of reading a service's files again.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ReloadedService {
    /// The service.
    pub service: ServiceName,
    /// Whether they are in force.
    pub reloaded: bool,
    /// The same in words, with the reason where they are not.
    pub outcome: String,
}
