//! What a certificate says: for whom it is, and for how long.
//!
//! Source: RFC 5280. Owns reading these few fields of the DER form. Never judges a chain, a signature or a time: who has to trust whom is
//! decided where TLS ends.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;
use x509_parser::prelude::{FromDer, GeneralName, ParsedExtension, X509Certificate};

/// A certificate in a few words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateFacts {
    /// The subject's common name; empty where it has none.
    pub common_name: String,
    /// The DNS names it is for, in lower case; `*.example.org` is one.
    pub names: Vec<String>,
    /// The addresses it is for.
    pub addresses: Vec<IpAddr>,
    /// Not good before; since 1970.
    pub not_before: Duration,
    /// Not good after; since 1970.
    pub not_after: Duration,
}

/// It is no certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no X.509 certificate")]
pub struct NoCertificate;

impl CertificateFacts {
    /// Of a certificate in DER.
    pub fn of(der: &[u8]) -> Result<Self, NoCertificate> {
        let (_, certificate) = X509Certificate::from_der(der).map_err(|_| NoCertificate)?;
        let common_name = certificate.subject().iter_common_name().next();
        let common_name = common_name.and_then(|name| name.as_str().ok()).unwrap_or_default().to_owned();
        let (mut names, mut addresses) = (Vec::new(), Vec::new());
        for extension in certificate.extensions() {
            let ParsedExtension::SubjectAlternativeName(alternative) = extension.parsed_extension() else {
                continue;
            };
            for name in &alternative.general_names {
                match name {
                    GeneralName::DNSName(name) => names.push(name.to_ascii_lowercase()),
                    GeneralName::IPAddress(octets) => addresses.extend(address(octets)),
                    _ => {}
                }
            }
        }
        let validity = certificate.validity();
        let time = |seconds: i64| Duration::from_secs(u64::try_from(seconds).unwrap_or_default());
        Ok(Self {
            common_name,
            names,
            addresses,
            not_before: time(validity.not_before.timestamp()),
            not_after: time(validity.not_after.timestamp()),
        })
    }

    /// Whether a server of that name may show it: RFC 6125 §6.4.3, where `*` stands for a whole first label.
    pub fn is_for(&self, name: &str) -> bool {
        let name = name.to_ascii_lowercase();
        let parent = name.split_once('.').map(|(_, parent)| parent);
        self.names
            .iter()
            .any(|own| *own == name || own.strip_prefix("*.").is_some_and(|own| parent == Some(own)))
    }
}

fn address(octets: &[u8]) -> Option<IpAddr> {
    if let Ok(octets) = <[u8; 4]>::try_from(octets) {
        return Some(Ipv4Addr::from(octets).into());
    }
    <[u8; 16]>::try_from(octets).ok().map(|octets| Ipv6Addr::from(octets).into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{CertificateParams, DnType, KeyPair};

    fn made() -> CertificateFacts {
        let names = ["Example.org", "*.example.org", "10.80.0.100", "fd80::100"].map(str::to_owned);
        let mut parameters = CertificateParams::new(names).expect("names");
        parameters.distinguished_name.push(DnType::CommonName, "somebody");
        parameters.not_after = rcgen::date_time_ymd(2031, 1, 1);
        let key = KeyPair::generate().expect("a key");
        let certificate = parameters.self_signed(&key).expect("a certificate");
        CertificateFacts::of(certificate.der()).expect("facts")
    }

    #[test]
    fn names_addresses_and_times_are_read() {
        let facts = made();
        assert_eq!(facts.common_name, "somebody");
        assert_eq!(facts.names, ["example.org", "*.example.org"]);
        let addresses: Vec<IpAddr> =
            ["10.80.0.100", "fd80::100"].map(|text| text.parse().expect("one")).into();
        assert_eq!(facts.addresses, addresses);
        assert_eq!(facts.not_after, Duration::from_secs(1_924_992_000));
        assert!(facts.not_before < facts.not_after);
    }

    #[test]
    fn an_asterisk_stands_for_one_label() {
        let facts = made();
        for name in ["example.org", "EXAMPLE.org", "www.example.org"] {
            assert!(facts.is_for(name), "{name}");
        }
        for name in ["a.b.example.org", "org", "example.com", ".example.org.", ""] {
            assert!(!facts.is_for(name), "{name}");
        }
    }

    #[test]
    fn what_is_no_certificate_is_none() {
        assert_eq!(CertificateFacts::of(b"x"), Err(NoCertificate));
        assert_eq!(CertificateFacts::of(&[]), Err(NoCertificate));
    }
}
