//! Services that look at what a client says first: a PROXY header, the name it asks for in TLS that ends elsewhere, a request that is sent to HTTPS.

use super::tls::{Authority, TlsStream, begin, tls_echo};
use super::*;

#[test]
fn a_header_says_who_the_client_is_and_another_one_tells_the_backend() {
    let (seen, saw) = std::sync::mpsc::channel();
    let scene = Scene::new(
        &[backend(move |mut stream| {
            let mut all = Vec::new();
            let _ = stream.read_to_end(&mut all);
            let _ = seen.send(all);
        })],
        |terms| {
            terms.accept_proxy_from = vec!["127.0.0.0/8".parse().expect("a prefix")];
            terms.send_proxy = Some(ProxyVersion::V2);
            terms.handshake = Duration::from_millis(300);
        },
    );
    let mut stream = scene.connect();
    // In pieces, and with data right behind it.
    stream.write_all(b"PROXY TCP4 198.51.100.7 ").expect("sent");
    stream.set_nodelay(true).expect("set");
    stream.write_all(b"10.80.0.100 4711 80\r\nGET").expect("sent");
    stream.shutdown(Shutdown::Write).expect("shut");
    let client = "198.51.100.7:4711".parse().expect("an address");
    let vip = "10.80.0.100:80".parse().expect("an address");
    let mut wanted = crate::core::proxy::write(ProxyVersion::V2, client, vip, None);
    wanted.extend(b"GET");
    assert_eq!(saw.recv_timeout(PATIENCE), Ok(wanted));
    drop(stream);
    // Without one, with half of one, and with one too late.
    let mut stream = scene.connect();
    stream.write_all(b"GET / HTTP/1.1\r\n\r\n").expect("sent");
    assert!(was_reset(&mut stream));
    let mut stream = scene.connect();
    stream.write_all(b"PROXY TC").expect("sent");
    stream.shutdown(Shutdown::Write).expect("shut");
    assert!(was_reset(&mut stream));
    let mut stream = scene.connect();
    assert!(was_reset(&mut stream));
    scene.expect_ended(&[("closed", 1), ("bad_handshake", 3)]);
    assert_eq!(scene.proxy.backend_counts(1, scene.backends[0]).begun, 1);
}

/// The name that a client gets to see where it asks for one.
fn served_by(scene: &Scene, authority: &Authority, name: &str) -> bool {
    let mut stream = begin(scene.connect(), authority.client(), name);
    stream.write_all(b"hello").expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).is_ok() && answer == "thello"
}

#[test]
fn clients_reach_the_backend_of_the_name_they_ask_for_and_tls_ends_there() {
    let authority = Authority::new();
    let backends = ["a.org", "x.b.org", "rest.org"].map(|name| tls_echo(authority.server(name)));
    let mut scene = Scene::new(&backends, |terms| {
        terms.handshake = Duration::from_millis(300);
        terms.send_proxy = None;
    });
    scene.names = vec![vec!["a.org".to_owned()], vec!["*.b.org".to_owned()], Vec::new()];
    scene.follow();
    // Each has a certificate for its own name alone: who is served reached the right one.
    for _ in 0..3 {
        for name in ["a.org", "x.b.org", "rest.org"] {
            assert!(served_by(&scene, &authority, name), "{name}");
        }
    }
    for (index, wanted) in [3, 3, 3].into_iter().enumerate() {
        let counts = scene.proxy.backend_counts(index as u64 + 1, scene.backends[index]);
        assert_eq!(counts.established, wanted, "backend {index}");
    }
    // What is no TLS, what does not come, and what stops in its middle.
    let mut plain = scene.connect();
    plain.write_all(b"GET / HTTP/1.1\r\n\r\n").expect("sent");
    assert!(was_reset(&mut plain));
    assert!(was_reset(&mut scene.connect()));
    let mut part = scene.connect();
    part.write_all(b"\x16\x03\x01\x02\0\x01").expect("sent");
    assert!(was_reset(&mut part));
    scene.expect_ended(&[("closed", 9), ("bad_handshake", 3)]);
    // Where all backends have names, others have none.
    scene.names[2] = vec!["rest.org".to_owned()];
    scene.follow();
    assert!(served_by(&scene, &authority, "rest.org"));
    let mut stream = begin(scene.connect(), authority.client(), "other.org");
    assert!(stream.write_all(b"x").is_err());
    scene.expect_ended(&[("closed", 10), ("bad_handshake", 3), ("no_backend", 1)]);
}

#[test]
fn names_choose_among_backends_where_tls_ends_here_too() {
    let authority = Authority::new();
    let mut scene = Scene::new(&[echo("a"), echo("b")], |_| {});
    scene.terms.tls = Some(TlsServer(authority.server("*.b.org")));
    scene.names = vec![vec!["a.b.org".to_owned()], Vec::new()];
    scene.follow();
    for (name, wanted) in [("a.b.org", b'a'), ("x.b.org", b'b'), ("a.b.org", b'a')] {
        let mut stream = begin(scene.connect(), authority.client(), name);
        let mut said = [0; 1];
        stream.read_exact(&mut said).expect("a name");
        assert_eq!(said[0], wanted, "{name}");
    }
}

#[test]
fn who_waits_for_one_names_backend_does_not_keep_the_bell_of_another_from_ringing() {
    let authority = Authority::new();
    let mut scene = Scene::with_limit(&[echo("a"), echo("b")], 1, |terms| terms.queue = PATIENCE);
    scene.terms.tls = Some(TlsServer(authority.server("*.b.org")));
    scene.names = vec![vec!["a.b.org".to_owned()], vec!["b.b.org".to_owned()]];
    scene.follow();
    let open = |name: &str| {
        let mut stream = begin(scene.connect(), authority.client(), name);
        stream.write_all(b"x").expect("sent");
        stream
    };
    let served = |stream: &mut TlsStream| stream.read_exact(&mut [0; 1]).expect("a name");
    let (mut first_a, mut first_b) = (open("a.b.org"), open("b.b.org"));
    served(&mut first_a);
    served(&mut first_b);
    let waiting = |count| {
        let begun = Instant::now();
        while scene.proxy.service_counts(&"web".parse().expect("a name")).waiting != count {
            assert!(begun.elapsed() < PATIENCE, "not {count} wait");
            std::thread::yield_now();
        }
    };
    // The one who waits for `a` was there first.
    let _second_a = open("a.b.org");
    waiting(1);
    let mut second_b = open("b.b.org");
    waiting(2);
    let begun = Instant::now();
    drop(first_b);
    served(&mut second_b);
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    waiting(1);
}

#[test]
fn every_request_is_sent_to_https_and_nothing_else_is_answered() {
    let scene = Scene::new(&[], |terms| {
        terms.redirect = Some(443);
        terms.handshake = Duration::from_millis(300);
    });
    let mut stream = scene.connect();
    stream.set_nodelay(true).expect("set");
    // In pieces, and with a body that nobody reads.
    stream.write_all(b"POST /a?b HTTP/1.1\r\nHo").expect("sent");
    stream.write_all(b"st: web.example.org\r\nContent-Length: 100000\r\n\r\n").expect("sent");
    stream.write_all(&[b'x'; 100_000]).expect("sent");
    stream.shutdown(Shutdown::Write).expect("shut");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer, and an orderly end");
    assert!(answer.starts_with("HTTP/1.1 308 "), "{answer}");
    assert!(answer.contains("\r\nLocation: https://web.example.org/a?b\r\n"), "{answer}");
    let mut stream = scene.connect();
    stream.write_all(b"\x16\x03\x01").expect("sent");
    assert!(was_reset(&mut stream));
    assert!(was_reset(&mut scene.connect()), "who says nothing is left");
    scene.expect_ended(&[("bad_handshake", 2), ("redirected", 1)]);
}
