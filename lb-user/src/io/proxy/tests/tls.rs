//! Services at which TLS ends, and backends that are spoken TLS with: real sessions on loopback.

use super::*;
use rcgen::{CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConfig, ServerConnection, StreamOwned};

pub(super) type TlsStream = StreamOwned<ClientConnection, TcpStream>;

/// An authority, and certificates of it.
pub(super) struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    pub(super) fn new() -> Self {
        let mut parameters = CertificateParams::default();
        parameters.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        Self(CertifiedIssuer::self_signed(parameters, key).expect("an authority"))
    }

    fn issue(&self, name: &str) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
        let mut parameters = CertificateParams::new([name.to_owned()]).expect("a name");
        parameters.distinguished_name.push(rcgen::DnType::CommonName, name);
        parameters.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let key = KeyPair::generate().expect("a key");
        let certificate = parameters.signed_by(&key, &self.0).expect("a certificate");
        (vec![certificate.der().clone()], key.into())
    }

    fn roots(&self) -> Arc<RootCertStore> {
        let mut roots = RootCertStore::empty();
        roots.add(self.0.der().clone()).expect("a root");
        Arc::new(roots)
    }

    pub(super) fn server(&self, name: &str) -> Arc<ServerConfig> {
        let (chain, key) = self.issue(name);
        let mut config =
            ServerConfig::builder().with_no_client_auth().with_single_cert(chain, key).expect("fits");
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Arc::new(config)
    }

    pub(super) fn client(&self) -> ClientConfig {
        ClientConfig::builder().with_root_certificates(self.roots()).with_no_client_auth()
    }
}

pub(super) fn begin(stream: TcpStream, config: ClientConfig, name: &str) -> TlsStream {
    let name = ServerName::try_from(name.to_owned()).expect("a name");
    StreamOwned::new(ClientConnection::new(Arc::new(config), name).expect("a client"), stream)
}

/// A service that ends TLS for `web`, and an authority to trust.
fn tls_scene(backends: &[SocketAddr], change: impl Fn(&mut Terms)) -> (Scene, Authority) {
    let authority = Authority::new();
    let scene = Scene::new(backends, |terms| {
        terms.tls = Some(TlsServer(authority.server("web")));
        change(terms);
    });
    (scene, authority)
}

/// Says that nothing more comes, as TLS does, and then as TCP does.
fn end(stream: &mut TlsStream) {
    stream.conn.send_close_notify();
    stream.flush().expect("sent");
    stream.sock.shutdown(Shutdown::Write).expect("shut");
}

#[test]
fn what_streams_through_tls_arrives_to_the_byte_in_both_directions_however_slow_its_reader() {
    const BYTES: usize = 12 << 20;
    let (scene, authority) = tls_scene(&[echo("a")], |_| {});
    let mut stream = begin(scene.connect(), authority.client(), "web");
    assert_eq!(stream.read(&mut [0; 1]).expect("the backend's name"), 1);
    // Both directions at once need two that read and write, and a session has one owner: the writing goes on as long as it is taken.
    stream.sock.set_nonblocking(true).expect("set");
    let (wanted, mut sent, mut got) = (pattern(BYTES), 0, Vec::<u8>::new());
    let (begun, mut part) = (Instant::now(), vec![0; 100_000]);
    let mut has_ended = false;
    while got.len() < BYTES {
        assert!(begun.elapsed() < PATIENCE * 3, "{sent} sent, {} came back", got.len());
        let room = (sent + 50_000).min(BYTES);
        sent += stream.write(&wanted[sent..room]).unwrap_or(0);
        if sent == BYTES && !std::mem::replace(&mut has_ended, true) {
            stream.conn.send_close_notify();
        }
        let _ = stream.flush();
        // Nothing is read until the first buffers must be full.
        if sent > 8 << 20 || begun.elapsed() > Duration::from_millis(200) {
            while let Ok(bytes @ 1..) = stream.read(&mut part) {
                got.extend(&part[..bytes]);
            }
        }
    }
    assert!(got == wanted, "other bytes came back");
    let begun = Instant::now();
    while !matches!(stream.read(&mut part), Ok(0)) {
        assert!(begun.elapsed() < PATIENCE, "its end is not announced");
    }
    drop(stream);
    scene.expect_ended(&[("closed", 1)]);
    let counts = scene.proxy.backend_counts(1, scene.backends[0]);
    assert_eq!((counts.up_bytes, counts.down_bytes), (BYTES as u64, BYTES as u64 + 1));
    let counts = scene.proxy.service_counts(&"web".parse().expect("a name"));
    assert_eq!((counts.full_handshakes, counts.resumed_handshakes), (1, 0));
}

#[test]
fn an_announced_end_is_passed_on_as_an_end_and_the_answer_comes_after_it() {
    let (scene, authority) = tls_scene(&[echo("a")], |_| {});
    let mut stream = begin(scene.connect(), authority.client(), "web");
    stream.write_all(b"hello").expect("sent");
    end(&mut stream);
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer, and an end that is announced");
    assert_eq!(answer, "ahello");
    scene.expect_ended(&[("closed", 1)]);
}

#[test]
fn an_end_that_was_not_announced_may_be_a_part_and_is_broken_off() {
    let (seen, saw) = std::sync::mpsc::channel();
    let (scene, authority) = tls_scene(
        &[backend(move |mut stream| {
            let mut all = Vec::new();
            let end = stream.read_to_end(&mut all).map_err(|error| error.kind());
            let _ = seen.send((all, end.is_err()));
        })],
        |_| {},
    );
    let mut stream = begin(scene.connect(), authority.client(), "web");
    stream.write_all(b"pay 100").expect("sent");
    while scene.proxy.backend_counts(1, scene.backends[0]).established == 0 {
        std::thread::yield_now();
    }
    stream.sock.shutdown(Shutdown::Write).expect("shut");
    let (_, was_broken_off) = saw.recv_timeout(PATIENCE).expect("the backend has seen its end");
    assert!(was_broken_off, "the backend saw an orderly end");
    scene.expect_ended(&[("client_reset", 1)]);
}

#[test]
fn what_is_no_tls_and_who_takes_too_long_is_refused_and_reaches_no_backend() {
    let (scene, authority) = tls_scene(&[echo("a")], |terms| terms.handshake = Duration::from_millis(200));
    let mut plain = scene.connect();
    plain.write_all(b"GET / HTTP/1.1\r\n\r\n").expect("sent");
    let mut alert = Vec::new();
    plain.read_to_end(&mut alert).expect("an orderly end");
    assert_eq!(alert.first(), Some(&21), "an alert tells why: {alert:?}");
    let mut silent = scene.connect();
    assert_eq!(silent.read(&mut [0; 1]).expect("an orderly end"), 0);
    // A byte at a time is no way to stay.
    let mut slow = scene.connect();
    let mut client =
        ClientConnection::new(Arc::new(authority.client()), ServerName::try_from("web").expect("a name"))
            .expect("a client");
    let mut hello = Vec::new();
    client.write_tls(&mut hello).expect("a hello");
    slow.set_nodelay(true).expect("set");
    let begun = Instant::now();
    slow.set_read_timeout(Some(Duration::from_millis(30))).expect("set");
    let cut = hello.iter().take(50).any(|byte| {
        let sent = slow.write_all(&[*byte]);
        let read = slow.read(&mut [0; 8]);
        sent.is_err()
            || matches!(read, Ok(0))
            || matches!(read, Err(error) if error.kind() == io::ErrorKind::ConnectionReset)
    });
    assert!(cut && begun.elapsed() < Duration::from_secs(2), "it may stay for {:?}", begun.elapsed());
    // One that does not trust the authority.
    let mut stream = begin(scene.connect(), Authority::new().client(), "web");
    assert!(stream.write_all(b"x").is_err());
    drop(stream);
    scene.expect_ended(&[("tls_failed", 4)]);
    assert_eq!(scene.proxy.backend_counts(1, scene.backends[0]).begun, 0);
}

#[test]
fn a_change_of_certificates_is_for_those_that_come() {
    let (mut scene, authority) = tls_scene(&[echo("a")], |_| {});
    let mut before = begin(scene.connect(), authority.client(), "web");
    before.read_exact(&mut [0; 1]).expect("a name");
    let another = Authority::new();
    scene.terms.tls = Some(TlsServer(another.server("web")));
    scene.follow();
    let mut after = begin(scene.connect(), another.client(), "web");
    after.read_exact(&mut [0; 1]).expect("a name");
    before.write_all(b"x").expect("it goes on");
    before.read_exact(&mut [0; 1]).expect("it goes on");
}

/// A backend that speaks TLS, and says its name.
pub(super) fn tls_echo(config: Arc<ServerConfig>) -> SocketAddr {
    backend(move |stream| {
        let session = ServerConnection::new(config.clone()).expect("a session");
        let mut stream = StreamOwned::new(session, stream);
        let _ = stream.write_all(b"t");
        let mut heard = [0; 5];
        if stream.read_exact(&mut heard).is_ok() {
            let _ = stream.write_all(&heard);
        }
        stream.conn.send_close_notify();
        let _ = stream.flush();
    })
}

#[test]
fn a_backend_is_spoken_tls_with_once_it_has_proved_its_name() {
    let inner = Authority::new();
    let (mut scene, outer) = tls_scene(&[tls_echo(inner.server("inside.example.org"))], |terms| {
        terms.backend_tls = Some(TlsClient {
            config: Arc::new(inner.client()),
            server_name: Some(ServerName::try_from("inside.example.org").expect("a name")),
        });
        terms.retries = 0;
    });
    let mut stream = begin(scene.connect(), outer.client(), "web");
    stream.write_all(b"hello").expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    assert_eq!(answer, "thello");
    end(&mut stream);
    scene.expect_ended(&[("closed", 1)]);

    // Another name than its certificate's: its address.
    let config = Arc::new(inner.client());
    scene.terms.backend_tls = Some(TlsClient { config, server_name: None });
    scene.follow();
    let mut stream = begin(scene.connect(), outer.client(), "web");
    assert!(stream.read_to_end(&mut Vec::new()).is_err());
    scene.expect_ended(&[("closed", 1), ("connect_failed", 1)]);
    let told = scene.events.try_recv().expect("the agent is told");
    let ProxyEvent::ConnectFailed { name_hash: 1, reason: Some(reason) } = told else { panic!("{told:?}") };
    assert!(reason.contains("certificate"), "{reason}");
    // Without TLS of the client's.
    scene.terms.tls = None;
    scene.terms.backend_tls = Some(TlsClient {
        config: Arc::new(inner.client()),
        server_name: Some(ServerName::try_from("inside.example.org").expect("a name")),
    });
    scene.follow();
    let mut plain = scene.connect();
    plain.write_all(b"hello").expect("sent");
    let mut answer = String::new();
    plain.read_to_string(&mut answer).expect("an answer");
    assert_eq!(answer, "thello");
}

#[test]
fn a_backend_is_told_what_the_clients_tls_is_like_and_who_it_is() {
    let (seen, saw) = std::sync::mpsc::channel();
    let address = backend(move |mut stream| {
        let mut all = Vec::new();
        let _ = stream.read_to_end(&mut all);
        let _ = seen.send(all);
    });
    let authority = Authority::new();
    let (chain, key) = authority.issue("web");
    let verifier = WebPkiClientVerifier::builder(authority.roots()).build().expect("a verifier");
    let mut config = ServerConfig::builder()
        .with_client_cert_verifier(verifier)
        .with_single_cert(chain, key)
        .expect("fits");
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let config = Arc::new(config);
    let scene = Scene::new(&[address], |terms| {
        terms.tls = Some(TlsServer(config.clone()));
        terms.send_proxy = Some(ProxyVersion::V2);
    });
    let (chain, key) = authority.issue("alice");
    let mut client = ClientConfig::builder()
        .with_root_certificates(authority.roots())
        .with_client_auth_cert(chain, key)
        .expect("fits");
    client.alpn_protocols = vec![b"http/1.1".to_vec()];
    let stream = scene.connect();
    let own = stream.local_addr().expect("an address");
    let mut stream = begin(stream, client, "web");
    stream.write_all(b"GET").expect("sent");
    end(&mut stream);
    let told = saw.recv_timeout(PATIENCE).expect("the backend has heard it");
    let wanted = crate::core::proxy::TlsTold {
        version: "TLSv1.3",
        cipher: "TLS13_AES_256_GCM_SHA384",
        alpn: Some(b"http/1.1"),
        server_name: Some("web"),
        client_name: Some("alice"),
        is_resumed: false,
    };
    let mut bytes = crate::core::proxy::write(ProxyVersion::V2, own, scene.at, Some(&wanted));
    bytes.extend(b"GET");
    assert_eq!(String::from_utf8_lossy(&told), String::from_utf8_lossy(&bytes));
    // One who does not say who he is.
    let mut stranger = begin(scene.connect(), authority.client(), "web");
    let refused = stranger.write_all(b"x").and_then(|()| stranger.read_to_end(&mut Vec::new()));
    assert!(refused.is_err(), "a stranger is served");
    scene.expect_ended(&[("closed", 1), ("tls_failed", 1)]);
}
