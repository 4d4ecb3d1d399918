//! TLS with clients and with backends, and whom certificates are asked of.
//!
//! Owns the keys of `[service.NAME.tls]`, `[service.NAME.backend_tls]` and `[acme]`.

use serde::Deserialize;

use super::value::OneOrMany;

/// `[service.NAME.tls]`
///
/// How clients' TLS ends.
#[derive(Debug, Default, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct FileTls {
    /// tables | required | `[[service.NAME.tls.certificate]]`, see [below](#servicenametlscertificate): one at least;
    /// the first is for whom there is no other
    #[serde(default)]
    pub(in crate::config) certificate: Vec<FileCertificate>,
    /// text | `"1.2"` | `1.2`, `1.3`
    pub(in crate::config) min_version: Option<String>,
    /// text or list | none | protocols that are offered, the dearest first, such as `["h2", "http/1.1"]`
    pub(in crate::config) alpn: Option<OneOrMany<String>>,
    /// text | `"default"` | `default`, `refuse`: clients that ask for a name without a certificate, or for none
    pub(in crate::config) unknown_name: Option<String>,
    /// text | none | a file of authorities, PEM: clients are asked for a certificate
    pub(in crate::config) client_ca: Option<String>,
    /// text | `"required"` | `required`, `optional`; with `client_ca`
    pub(in crate::config) client_certificate: Option<String>,
    /// text | none | a file of lists of revoked certificates, PEM; with `client_ca`
    pub(in crate::config) client_crl: Option<String>,
}

/// `[[service.NAME.tls.certificate]]`
///
/// A certificate, and where its key is.
#[derive(Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct FileCertificate {
    /// text | required without `acme` | the certificate and those that lead to its authority, PEM
    pub(in crate::config) file: Option<String>,
    /// text | none: in the same file | its key, PEM without a passphrase
    pub(in crate::config) key: Option<String>,
    /// text or list | none | instead of both, the names that [an authority](#acme) is asked for one with; at most 100
    pub(in crate::config) acme: Option<OneOrMany<String>>,
}

/// `[service.NAME.backend_tls]`
///
/// TLS with the backends.
#[derive(Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct FileBackendTls {
    /// text | required | a file of authorities, PEM, that backends' certificates must lead to
    pub(in crate::config) ca: Option<String>,
    /// text | the backend's address | the name that their certificates must be for
    pub(in crate::config) server_name: Option<String>,
}

/// `[acme]`
///
/// Who gives out certificates.
#[derive(Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct FileAcme {
    /// boolean | required | `true`: that you agree to the authority's terms
    pub(in crate::config) terms_of_service_agreed: Option<bool>,
    /// text | Let's Encrypt's | where the authority says what there is, an address of `https`
    pub(in crate::config) directory: Option<String>,
    /// text or list | none | `mailto:` addresses that it may write to
    pub(in crate::config) contact: Option<OneOrMany<String>>,
    /// text | `"tls-alpn-01"` | `tls-alpn-01`, `http-01`: how it finds out whose a name is
    pub(in crate::config) challenge: Option<String>,
    /// text | `"/var/lib/lbctl/acme"` | where the account, the certificates and their keys are kept
    pub(in crate::config) folder: Option<String>,
    /// text | the system's | the authority (one certificate, PEM) that the server of `directory` is trusted by
    pub(in crate::config) ca: Option<String>,
}
