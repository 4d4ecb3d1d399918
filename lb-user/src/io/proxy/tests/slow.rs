//! Clients and backends that are slow, stop, or break off at any point: what they cost, and what others notice of it.

use super::*;
use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// Clients that send a byte a second.
const SLOW: usize = 2000;
/// What a connection of somebody else may take meanwhile.
const QUICK: Duration = Duration::from_secs(3);

/// Each connection takes four descriptors in this process: both ends of both sides.
fn allow_open_files() {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).expect("a limit");
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard).expect("up to the hard one");
}

/// Asks for a word and gets it back, on a connection of its own.
fn is_served_quickly(scene: &Scene) {
    let begun = Instant::now();
    let mut stream = scene.connect();
    read_name(&mut stream);
    stream.write_all(b"hello").expect("sent");
    stream.read_exact(&mut [0; 5]).expect("an answer");
    assert!(begun.elapsed() < QUICK, "it took {:?}", begun.elapsed());
}

/// One thread that gives every connection back what comes on it, however many there are.
fn echo_to_all() -> SocketAddr {
    let (address, listening) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async move {
            let listener = tokio::net::TcpSocket::new_v4().expect("a socket");
            listener.bind("127.0.0.1:0".parse().expect("an address")).expect("a port");
            let listener = listener.listen(4096).expect("listens");
            address.send(listener.local_addr().expect("its address")).expect("the test waits");
            while let Ok((mut stream, _)) = listener.accept().await {
                tokio::spawn(async move {
                    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
                    let mut bytes = [0; 64];
                    stream.write_all(b"e").await?;
                    loop {
                        let read = stream.read(&mut bytes).await?;
                        if read == 0 {
                            return io::Result::Ok(());
                        }
                        stream.write_all(bytes.get(..read).unwrap_or_default()).await?;
                    }
                });
            }
        });
    });
    listening.recv().expect("it listens")
}

#[test]
fn two_thousand_clients_with_a_byte_a_second_are_served_and_others_do_not_wait_for_them() {
    allow_open_files();
    let scene = Scene::new(&[echo_to_all()], |_| {});
    let mut slow: Vec<TcpStream> = (0..SLOW).map(|_| scene.connect()).collect();
    slow.iter_mut().for_each(|stream| assert_eq!(read_name(stream), "e"));
    for round in 0..3_u8 {
        let begun = Instant::now();
        for (number, stream) in slow.iter_mut().enumerate() {
            stream.write_all(&[round ^ number as u8]).expect("sent");
            if number % 500 == 0 {
                is_served_quickly(&scene);
            }
        }
        for (number, stream) in slow.iter_mut().enumerate() {
            let mut byte = [0; 1];
            stream.read_exact(&mut byte).expect("it comes back");
            assert_eq!(byte, [round ^ number as u8]);
        }
        while begun.elapsed() < Duration::from_secs(3) {
            is_served_quickly(&scene);
        }
    }
    let counts = scene.proxy.backend_counts(1, scene.backends[0]);
    assert!(counts.active >= SLOW as u64, "{counts:?}");
    // The last of those that were served quickly may be on its way out: in one account, and not in the other yet.
    let begun = Instant::now();
    while scene.proxy.open_connections() as u64 != scene.proxy.backend_counts(1, scene.backends[0]).active {
        assert!(begun.elapsed() < PATIENCE, "{} are open, {counts:?}", scene.proxy.open_connections());
    }
    drop(slow);
    let begun = Instant::now();
    while scene.proxy.open_connections() > 0 {
        assert!(begun.elapsed() < PATIENCE, "{} are open", scene.proxy.open_connections());
    }
}

#[test]
fn clients_that_never_read_hold_no_more_than_buffers_and_nobody_up() {
    const NEVER: usize = 100;
    const MOST: u64 = 16 << 20;
    // Whoever says "s" first gets a stream without end, others an echo.
    let streaming = Arc::new(AtomicU64::new(0));
    let sent = streaming.clone();
    let address = backend(move |mut stream| {
        let sent = sent.clone();
        std::thread::spawn(move || {
            let mut word = [0; 1];
            stream.write_all(b"n")?;
            stream.read_exact(&mut word)?;
            if word != *b"s" {
                stream.write_all(&word)?;
                let mut from = stream.try_clone()?;
                return std::io::copy(&mut from, &mut stream).map(drop);
            }
            let part = vec![0; 64 * 1024];
            while stream.write_all(&part).is_ok() {
                sent.fetch_add(part.len() as u64, Ordering::Relaxed);
            }
            Ok(())
        });
    });
    let scene = Scene::new(&[address], |terms| terms.idle.client = Duration::from_secs(2));
    let never: Vec<TcpStream> = (0..NEVER)
        .map(|_| {
            let mut stream = scene.connect();
            stream.write_all(b"s").expect("sent");
            stream
        })
        .collect();
    // Once what is taken has all its buffers full, no more is taken.
    let (mut before, mut since) = (0, Instant::now());
    while since.elapsed() < Duration::from_millis(300) {
        is_served_quickly(&scene);
        let now = streaming.load(Ordering::Relaxed);
        if now != before {
            (before, since) = (now, Instant::now());
        }
    }
    assert!(before < MOST * NEVER as u64, "{before} bytes were taken of {NEVER} backends");
    // In the end each is left, and it is the client who is blamed.
    let begun = Instant::now();
    let idle = |scene: &Scene| {
        scene.ended().into_iter().find(|(how, _)| *how == "client_idle").map_or(0, |(_, count)| count)
    };
    while idle(&scene) < NEVER as u64 {
        assert!(begun.elapsed() < PATIENCE, "{:?}", scene.ended());
        std::thread::yield_now();
    }
    drop(never);
}

/// How a backend goes wrong once it has accepted.
#[derive(Clone, Copy, Debug)]
enum Phase {
    /// At once.
    Accepted,
    /// Having heard the request.
    Asked,
    /// In the middle of its answer.
    Answering,
}

/// One that breaks off, or stops, there.
fn faulty(phase: Phase, resets: bool) -> SocketAddr {
    backend(move |mut stream| {
        std::thread::spawn(move || {
            if !matches!(phase, Phase::Accepted) {
                stream.read_exact(&mut [0; 5])?;
            }
            if matches!(phase, Phase::Answering) {
                stream.write_all(b"half an ans")?;
            }
            if resets {
                // What was said before must not be lost with it.
                let mut seen = Instant::now();
                while matches!(phase, Phase::Answering) && seen.elapsed() < Duration::from_millis(50) {
                    std::thread::yield_now();
                    seen = seen.min(Instant::now());
                }
                SockRef::from(&stream).set_linger(Some(Duration::ZERO))?;
            } else {
                // Until the proxy has enough of it.
                while !matches!(stream.read(&mut [0; 64]), Ok(0) | Err(_)) {}
            }
            io::Result::Ok(())
        });
    })
}

#[test]
fn a_backend_that_breaks_off_or_stops_at_any_point_is_seen_to_have_done_so() {
    for phase in [Phase::Accepted, Phase::Asked, Phase::Answering] {
        for resets in [true, false] {
            let scene = Scene::new(&[faulty(phase, resets)], |terms| {
                terms.idle.backend = Duration::from_millis(200);
            });
            let mut stream = scene.connect();
            // To one that has reset already it may not go any more.
            let _ = stream.write_all(b"hello");
            let mut heard = Vec::new();
            let end = stream.read_to_end(&mut heard);
            assert!(end.is_err(), "{phase:?}, resets {resets}: an orderly end after {heard:?}");
            let wanted: &[u8] = if matches!(phase, Phase::Answering) { b"half an ans" } else { b"" };
            assert_eq!(heard, wanted, "{phase:?}, resets {resets}");
            // One that resets at once may have done so before the proxy looked: then there was no connection.
            let ends: &[&str] = match (phase, resets) {
                (Phase::Accepted, true) => &["backend_reset", "connect_failed"],
                (_, true) => &["backend_reset"],
                (_, false) => &["backend_idle"],
            };
            scene.expect_ended_in_one_of(ends);
            assert_eq!(scene.proxy.backend_counts(1, scene.backends[0]).active, 0);
        }
    }
}

#[test]
fn a_backend_that_answers_no_syn_is_passed_over_in_time() {
    // A queue that is full, so that the kernel lets SYNs go unanswered.
    let full = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).expect("a socket");
    full.bind(&"127.0.0.1:0".parse::<SocketAddr>().expect("an address").into()).expect("a port");
    full.listen(0).expect("listens");
    let silent = full.local_addr().expect("its address").as_socket().expect("of IPv4");
    let brief = Duration::from_millis(100);
    let mut waiting = Vec::new();
    while let Ok(stream) = TcpStream::connect_timeout(&silent, brief) {
        waiting.push(stream);
        assert!(waiting.len() < 64, "its queue is endless");
    }
    let mut scene = Scene::new(&[silent, echo("b")], |terms| terms.connect = brief);
    for _ in 0..4 {
        let begun = Instant::now();
        assert_eq!(read_name(&mut scene.connect()), "b");
        assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
    }
    let told = scene.events.try_recv();
    assert_eq!(told, Ok(ProxyEvent::ConnectFailed { name_hash: 1, reason: None }));
}
