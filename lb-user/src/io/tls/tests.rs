//! Files on a disk, and sessions in memory.

use super::*;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer,
    ExtendedKeyUsagePurpose, IsCa, KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams, SerialNumber,
};
use rustls::pki_types::{PrivateKeyDer, ServerName};
use rustls::server::{Accepted, Acceptor};
use rustls::{ClientConnection, HandshakeKind, ServerConnection};
use tempfile::TempDir;

/// A folder with an authority and what it has issued.
struct Folder {
    dir: TempDir,
    authority: CertifiedIssuer<'static, KeyPair>,
}

impl Folder {
    fn new() -> Self {
        let mut parameters = CertificateParams::default();
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        parameters.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate().expect("a key");
        let authority = CertifiedIssuer::self_signed(parameters, key).expect("an authority");
        let folder = Self { dir: tempfile::tempdir().expect("a folder"), authority };
        folder.write("ca.pem", &folder.authority.pem());
        folder
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).expect("written");
    }

    /// A certificate and its key, in one file.
    fn issue(&self, file: &str, names: &[&str], serial: u64) -> CertificateFiles {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut parameters = CertificateParams::new(names).expect("names");
        parameters.serial_number = Some(SerialNumber::from(serial));
        parameters.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let key = KeyPair::generate().expect("a key");
        let certificate = parameters.signed_by(&key, &self.authority).expect("a certificate");
        self.write(file, &(certificate.pem() + &key.serialize_pem()));
        CertificateFiles { file: self.path(file), key: None, acme: Vec::new() }
    }

    fn terms(&self, certificates: Vec<CertificateFiles>) -> TlsTerms {
        TlsTerms {
            certificates,
            min_version: TlsVersion::V1_2,
            alpn: Vec::new(),
            unknown_name: UnknownName::Default,
            client: None,
        }
    }

    fn client(&self) -> Arc<ClientConfig> {
        client(&BackendTls { ca: self.path("ca.pem"), server_name: None }).expect("a client").config
    }
}

use crate::config::CertificateFiles;

fn secret() -> TicketSecret {
    TicketSecret::new(b"a secret that nodes have in common", "web")
}

fn hello(client: &mut ClientConnection) -> Accepted {
    let mut bytes = Vec::new();
    client.write_tls(&mut bytes).expect("a hello");
    let mut acceptor = Acceptor::default();
    acceptor.read_tls(&mut &bytes[..]).expect("read");
    acceptor.accept().ok().flatten().expect("a whole hello")
}

/// Makes a handshake; what the client got to see, and how it began.
fn handshake(
    config: &Arc<ServerConfig>,
    client: Arc<ClientConfig>,
    name: &str,
) -> Result<(Vec<u8>, HandshakeKind), rustls::Error> {
    let name = ServerName::try_from(name.to_owned()).expect("a name");
    let mut client = ClientConnection::new(client, name)?;
    let accepted = hello(&mut client);
    let mut server: ServerConnection =
        accepted.into_connection(config.clone()).map_err(|(error, _)| error)?;
    let mut told = Vec::new();
    for _ in 0..6 {
        told.clear();
        server.write_tls(&mut told).expect("told");
        if !told.is_empty() {
            let mut unread = &told[..];
            while !unread.is_empty() {
                client.read_tls(&mut unread).expect("read");
                client.process_new_packets()?;
            }
        }
        told.clear();
        client.write_tls(&mut told).expect("told");
        let mut unread = &told[..];
        while !unread.is_empty() {
            server.read_tls(&mut unread).expect("read");
            server.process_new_packets()?;
        }
    }
    let shown = client.peer_certificates().and_then(|chain| chain.first()).map(|one| one.to_vec());
    Ok((shown.unwrap_or_default(), server.handshake_kind().expect("it is over")))
}

fn names_of(der: &[u8]) -> Vec<String> {
    crate::core::certificate::CertificateFacts::of(der).expect("a certificate").names
}

#[test]
fn a_client_gets_the_certificate_of_the_name_it_asks_for() {
    let folder = Folder::new();
    let certificates = vec![
        folder.issue("first.pem", &["first.org"], 1),
        folder.issue("wild.pem", &["*.wild.org"], 2),
        folder.issue("own.pem", &["own.wild.org"], 3),
    ];
    let mut terms = folder.terms(certificates);
    let loaded = server(&terms, &secret(), &[]).expect("loaded");
    let asks =
        |name: &str| handshake(&loaded.config, folder.client(), name).map(|(shown, _)| names_of(&shown));
    assert_eq!(asks("first.org").expect("served"), ["first.org"]);
    assert_eq!(asks("any.wild.org").expect("served"), ["*.wild.org"]);
    assert_eq!(asks("own.wild.org").expect("served"), ["own.wild.org"]);
    assert!(asks("unknown.org").is_err(), "the first one is not for that name");

    let resolves = |config: &ServerConfig, name: &'static str| {
        let name = ServerName::try_from(name).expect("a name");
        let mut client = ClientConnection::new(folder.client(), name).expect("a client");
        config.cert_resolver.resolve(hello(&mut client).client_hello()).is_some()
    };
    assert!(resolves(&loaded.config, "unknown.org") && resolves(&loaded.config, "10.0.0.1"));
    terms.unknown_name = UnknownName::Refuse;
    let strict = server(&terms, &secret(), &[]).expect("loaded").config;
    assert!(resolves(&strict, "FIRST.org") && resolves(&strict, "x.wild.org"));
    assert!(
        !resolves(&strict, "unknown.org") && !resolves(&strict, "10.0.0.1") && !resolves(&strict, "wild.org")
    );
}

#[test]
fn a_session_goes_on_at_another_node_and_not_at_another_service() {
    let folder = Folder::new();
    let terms = folder.terms(vec![folder.issue("web.pem", &["web"], 1)]);
    let load = |secret: &TicketSecret| server(&terms, secret, &[]).expect("loaded").config;
    let client = folder.client();
    let kind = |config: Arc<ServerConfig>| handshake(&config, client.clone(), "web").expect("served").1;
    assert_eq!(kind(load(&secret())), HandshakeKind::Full);
    assert_eq!(kind(load(&secret())), HandshakeKind::Resumed, "another node has the same keys");
    let another = TicketSecret::new(b"a secret that nodes have in common", "another");
    assert_ne!(kind(load(&another)), HandshakeKind::Resumed);
}

fn with_identity(folder: &Folder, file: &str) -> Arc<ClientConfig> {
    let bytes = fs::read(folder.path(file)).expect("a file");
    let (roots, _) = roots(&folder.path("ca.pem")).expect("roots");
    let chain = CertificateDer::pem_slice_iter(&bytes).collect::<Result<_, _>>().expect("a chain");
    let key = PrivateKeyDer::from_pem_slice(&bytes).expect("a key");
    let builder = ClientConfig::builder_with_provider(provider()).with_safe_default_protocol_versions();
    let config = builder.expect("versions").with_root_certificates(roots).with_client_auth_cert(chain, key);
    Arc::new(config.expect("fits"))
}

#[test]
fn clients_must_say_who_they_are_and_the_revoked_are_refused() {
    let folder = Folder::new();
    let mut terms = folder.terms(vec![folder.issue("web.pem", &["web"], 1)]);
    folder.issue("alice.pem", &["alice"], 7);
    folder.issue("bob.pem", &["bob"], 8);
    let ca = folder.path("ca.pem");
    let mode = ClientCertificateMode::Required;
    terms.client = Some(ClientCertificates { ca: ca.clone(), crl: None, mode });
    let config = server(&terms, &secret(), &[]).expect("loaded").config;
    assert!(handshake(&config, folder.client(), "web").is_err());
    let bob = with_identity(&folder, "bob.pem");
    assert!(handshake(&config, bob.clone(), "web").is_ok());
    assert!(handshake(&config, with_identity(&folder, "alice.pem"), "web").is_ok());

    let list = CertificateRevocationListParams {
        this_update: rcgen::date_time_ymd(2026, 1, 1),
        next_update: rcgen::date_time_ymd(2036, 1, 1),
        crl_number: SerialNumber::from(1_u64),
        issuing_distribution_point: None,
        revoked_certs: vec![RevokedCertParams {
            serial_number: SerialNumber::from(8_u64),
            revocation_time: rcgen::date_time_ymd(2026, 1, 1),
            reason_code: None,
            invalidity_date: None,
        }],
        key_identifier_method: KeyIdMethod::Sha256,
    };
    folder.write("crl.pem", &list.signed_by(&folder.authority).expect("a list").pem().expect("its text"));
    let crl = Some(folder.path("crl.pem"));
    terms.client = Some(ClientCertificates { ca: ca.clone(), crl, mode });
    let config = server(&terms, &secret(), &[]).expect("loaded").config;
    assert!(handshake(&config, with_identity(&folder, "alice.pem"), "web").is_ok());
    // Bob has a ticket from before: it is worth nothing any more.
    assert!(handshake(&config, bob, "web").is_err(), "the revoked is served");

    terms.client = Some(ClientCertificates { ca, crl: None, mode: ClientCertificateMode::Optional });
    let config = server(&terms, &secret(), &[]).expect("loaded").config;
    assert!(handshake(&config, folder.client(), "web").is_ok());
}

#[test]
fn files_that_are_of_no_use_are_named_with_what_is_wrong() {
    let folder = Folder::new();
    let right = folder.issue("web.pem", &["web"], 1);
    folder.issue("other.pem", &["other"], 2);
    folder.write("empty.pem", "");
    folder.write("broken.pem", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
    let load = |files: CertificateFiles| {
        let loaded = server(&folder.terms(vec![files]), &secret(), &[]);
        loaded.map(drop).map_err(|error| error.to_string()).expect_err("refused")
    };
    let file = |name: &str| CertificateFiles { file: folder.path(name), key: None, acme: Vec::new() };
    let with_key = |name: &str| CertificateFiles { key: Some(folder.path(name)), ..right.clone() };
    for (error, name, words) in [
        (load(file("gone.pem")), "gone.pem", "No such file"),
        (load(file("empty.pem")), "empty.pem", "no certificate in it"),
        (load(file("broken.pem")), "broken.pem", "no X.509 certificate"),
        (load(file("ca.pem")), "ca.pem", "no private key in it"),
        (load(with_key("other.pem")), "other.pem", "not the one of the certificate"),
        (load(with_key("empty.pem")), "empty.pem", "no private key in it"),
    ] {
        assert!(error.contains(name) && error.contains(words), "{error}");
    }
    let wrong =
        ClientCertificates { ca: folder.path("empty.pem"), crl: None, mode: ClientCertificateMode::Required };
    let terms = TlsTerms { client: Some(wrong), ..folder.terms(vec![right]) };
    let error = server(&terms, &secret(), &[]).map(drop).expect_err("refused").to_string();
    assert!(error.contains("empty.pem: there is no certificate in it"), "{error}");
}

#[test]
fn stamps_tell_of_files_that_were_written_replaced_or_removed() {
    let folder = Folder::new();
    let files = folder.issue("web.pem", &["web"], 1);
    let stamps = Stamps::of([files.file.as_path(), &folder.path("ca.pem")]);
    assert_eq!(stamps.now(), stamps);
    folder.write("new.pem", "x");
    fs::rename(folder.path("new.pem"), &files.file).expect("replaced");
    let replaced = stamps.now();
    assert_ne!(replaced, stamps);
    fs::remove_file(&files.file).expect("removed");
    assert_ne!(replaced.now(), replaced);
}
