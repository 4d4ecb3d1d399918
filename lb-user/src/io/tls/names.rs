//! Which certificate a client gets: by the name it asks for (SNI, RFC 6066 §3).
//!
//! A name of its own goes before `*`, and of several certificates for one name the first that the client can check wins.

use super::Certificate;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use std::collections::HashMap;
use std::sync::Arc;

type Keys = Vec<Arc<CertifiedKey>>;

/// Certificates by their names.
#[derive(Debug)]
pub(super) struct ByName {
    exact: HashMap<String, Keys>,
    /// By what follows `*.`.
    under: HashMap<String, Keys>,
    /// For everybody else; empty refuses them.
    default: Keys,
}

impl ByName {
    pub(super) fn new(certificates: &[Certificate], has_default: bool) -> Self {
        let (mut exact, mut under): (HashMap<String, Keys>, HashMap<String, Keys>) = Default::default();
        for certificate in certificates {
            for name in &certificate.facts.names {
                let keys = match name.strip_prefix("*.") {
                    Some(parent) => under.entry(parent.to_owned()),
                    None => exact.entry(name.clone()),
                };
                keys.or_default().push(certificate.key.clone());
            }
        }
        let default = certificates.iter().filter(|_| has_default).map(|one| one.key.clone()).collect();
        Self { exact, under, default }
    }

    fn of(&self, name: Option<&str>) -> &[Arc<CertifiedKey>] {
        let Some(name) = name else { return &self.default };
        let name = name.to_ascii_lowercase();
        let parent = name.split_once('.').map(|(_, parent)| parent);
        let found = self.exact.get(&name).or_else(|| self.under.get(parent?));
        found.unwrap_or(&self.default)
    }
}

impl ResolvesServerCert for ByName {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let keys = self.of(hello.server_name());
        let can_check = |key: &&Arc<CertifiedKey>| key.key.choose_scheme(hello.signature_schemes()).is_some();
        keys.iter().find(can_check).or(keys.first()).cloned()
    }
}
