//! The answer to a handshake that an authority makes to see whose a name is: a certificate that nobody signed, with the proof in it.
//!
//! Source: RFC 8737.

use super::{TlsError, provider};
use crate::core::acme::{ACME_TLS, Challenge};
use rcgen::{CertificateParams, CustomExtension, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use rustls::server::NoServerSessionStorage;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use sha2::{Digest as _, Sha256};
use std::sync::Arc;

/// For the handshake that a challenge announces.
///
/// # Errors
/// The name is none, or the cryptography is broken.
pub fn challenge(challenge: &Challenge) -> Result<Arc<ServerConfig>, TlsError> {
    let (certificate, key) = proof(challenge).map_err(|error| TlsError::Refused(error.to_string()))?;
    let refused = |error: rustls::Error| TlsError::Refused(error.to_string());
    let key = provider().key_provider.load_private_key(key.into()).map_err(refused)?;
    // Nobody checks whether they are a pair: that check knows not the extension, which is critical.
    let shown = CertifiedKey::new(vec![certificate], key);
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(refused)?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(SingleCertAndKey::from(shown)));
    config.alpn_protocols = vec![ACME_TLS.to_vec()];
    config.session_storage = Arc::new(NoServerSessionStorage {});
    Ok(Arc::new(config))
}

fn proof(
    challenge: &Challenge,
) -> Result<(CertificateDer<'static>, PrivatePkcs8KeyDer<'static>), rcgen::Error> {
    let mut params = CertificateParams::new([challenge.name.clone()])?;
    let digest = Sha256::digest(challenge.key_authorization.as_bytes());
    params.custom_extensions = vec![CustomExtension::new_acme_identifier(&digest)];
    let key = KeyPair::generate()?;
    let certificate = params.self_signed(&key)?;
    Ok((certificate.der().clone(), PrivatePkcs8KeyDer::from(key.serialize_der())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::AcmeChallenge;
    use x509_parser::prelude::{FromDer as _, X509Certificate};

    /// RFC 8737 §3: critical, an octet string with the digest, and the name as the only one.
    #[test]
    fn the_proof_is_in_the_certificate() {
        let about = Challenge {
            name: "web.example.org".into(),
            kind: AcmeChallenge::TlsAlpn01,
            token: "t".into(),
            key_authorization: "t.thumb".into(),
        };
        assert_eq!(challenge(&about).expect("a configuration").alpn_protocols, [ACME_TLS]);
        let (certificate, _) = proof(&about).expect("a certificate");
        let (_, certificate) = X509Certificate::from_der(&certificate).expect("X.509");
        let is_proof = |oid: &str| oid == "1.3.6.1.5.5.7.1.31";
        let found = certificate.extensions().iter().find(|one| is_proof(&one.oid.to_id_string()));
        let found = found.expect("the extension");
        let digest = Sha256::digest(b"t.thumb");
        assert!(found.critical);
        assert_eq!(found.value, [&[4, 32], digest.as_slice()].concat());
        assert!(challenge(&Challenge { name: "\u{e9}".into(), ..about }).is_err());
    }
}
