//! The proxy between real sockets, on loopback.

mod preface;
mod slow;
mod tls;

use super::*;
use crate::core::proxy::TableBackend;
use crate::model::{AtLimit, Family, ProxyVersion, SchedulerKind, WhenDown};
use socket2::SockRef;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(20);

/// A port that nobody has.
fn free_port() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("its address")
}

pub(super) fn terms() -> Terms {
    let long = Duration::from_secs(60);
    Terms {
        connect: Duration::from_secs(2),
        handshake: Duration::from_secs(2),
        queue: Duration::from_secs(5),
        idle: IdleTimeouts { client: long, backend: long, half_closed: long },
        retries: 2,
        max_queue: 8,
        max_flows: 0,
        at_limit: AtLimit::OtherBackend,
        when_down: WhenDown::Reset,
        accept_proxy_from: Vec::new(),
        send_proxy: None,
        transparent: false,
        tls: None,
        backend_tls: None,
        redirect: None,
        challenges: None,
        connection_log: None,
        mysql: None,
    }
}

/// A proxy with one service, whose backends take turns.
struct Scene {
    proxy: Proxy,
    events: mpsc::Receiver<ProxyEvent>,
    at: SocketAddr,
    backends: Vec<SocketAddr>,
    max: u32,
    terms: Terms,
    /// The names of each backend.
    names: Vec<Vec<String>>,
}

impl Scene {
    fn new(backends: &[SocketAddr], change: impl Fn(&mut Terms)) -> Self {
        Self::with_limit(backends, 0, change)
    }

    fn with_limit(backends: &[SocketAddr], max: u32, change: impl Fn(&mut Terms)) -> Self {
        let (proxy, events) = Proxy::spawn(2, BTreeMap::new()).expect("threads");
        let mut terms = terms();
        change(&mut terms);
        let mut scene = Self {
            proxy,
            events,
            at: free_port(),
            backends: backends.to_vec(),
            max,
            terms,
            names: Vec::new(),
        };
        scene.follow();
        assert!(scene.proxy.troubles().is_empty(), "{:?}", scene.proxy.troubles());
        scene
    }

    fn follow(&mut self) {
        let key = SteeringKey { service: "web".parse().expect("a name"), family: Family::V4 };
        let one = TableBackend { weight: 1, max: self.max };
        let table = Table {
            scheduler: SchedulerKind::RoundRobin,
            slots: (0..self.backends.len() as u32).collect(),
            backends: vec![one; self.backends.len()],
        };
        let planned = |(address, name_hash): (&SocketAddr, u64)| PlannedBackend {
            address: *address,
            name: format!("b{name_hash}").parse().expect("a name"),
            name_hash,
            names: self.names.get(name_hash as usize - 1).cloned().unwrap_or_default(),
        };
        let plan = ServicePlan {
            listen: [self.at].into(),
            table: Arc::new(table),
            backends: self.backends.iter().zip(1..).map(planned).collect(),
            terms: self.terms.clone(),
        };
        self.proxy.follow([(key, plan)].into());
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.at).expect("the proxy listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("a socket");
        stream
    }

    fn ended(&self) -> Vec<(&'static str, u64)> {
        let counts = self.proxy.service_counts(&"web".parse().expect("a name"));
        counts.ended.into_iter().map(|(ended, count)| (ended.name(), count)).collect()
    }

    /// Waits until that has ended, and nothing else.
    fn expect_ended(&self, wanted: &[(&'static str, u64)]) {
        let begun = Instant::now();
        while self.ended() != wanted {
            assert!(begun.elapsed() < PATIENCE, "{:?}, not {wanted:?}", self.ended());
            std::thread::yield_now();
        }
    }

    /// Waits until one connection has ended, in one of these ways.
    fn expect_ended_in_one_of(&self, ways: &[&'static str]) {
        let begun = Instant::now();
        while !matches!(self.ended()[..], [(how, 1)] if ways.contains(&how)) {
            assert!(begun.elapsed() < PATIENCE, "{:?}, not one of {ways:?}", self.ended());
            std::thread::yield_now();
        }
    }
}

/// A backend that serves one connection after the other, each by that.
fn backend(serve: impl Fn(TcpStream) + Send + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("its address");
    // It ends with the test.
    std::thread::spawn(move || listener.incoming().filter_map(Result::ok).for_each(serve));
    address
}

/// One that says its name, and then what it hears.
fn echo(name: &'static str) -> SocketAddr {
    backend(move |mut stream| {
        std::thread::spawn(move || {
            let mut from = stream.try_clone().expect("a socket");
            stream.write_all(name.as_bytes())?;
            std::io::copy(&mut from, &mut stream)?;
            stream.shutdown(Shutdown::Write)
        });
    })
}

fn read_name(stream: &mut TcpStream) -> String {
    let mut name = [0; 1];
    stream.read_exact(&mut name).expect("a name");
    String::from_utf8_lossy(&name).into_owned()
}

fn pattern(bytes: usize) -> Vec<u8> {
    (0..bytes as u64).map(|number| (number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8).collect()
}

fn was_reset(stream: &mut TcpStream) -> bool {
    matches!(stream.read(&mut [0; 16]), Err(error) if error.kind() == io::ErrorKind::ConnectionReset)
}

#[test]
fn connections_take_turns_and_end_when_both_sides_have_ended() {
    let scene = Scene::new(&[echo("a"), echo("b")], |_| {});
    let names: Vec<_> = (0..6)
        .map(|_| {
            let mut stream = scene.connect();
            let name = read_name(&mut stream);
            stream.write_all(b"hello").expect("sent");
            stream.shutdown(Shutdown::Write).expect("shut");
            let mut answer = String::new();
            stream.read_to_string(&mut answer).expect("an answer");
            assert_eq!(answer, "hello", "what was said before the end is answered after it");
            name
        })
        .collect();
    assert_eq!(names, ["a", "b", "a", "b", "a", "b"]);
    scene.expect_ended(&[("closed", 6)]);
    let counts = scene.proxy.backend_counts(1, scene.backends[0]);
    assert_eq!((counts.begun, counts.established, counts.active), (3, 3, 0));
    assert_eq!((counts.up_bytes, counts.down_bytes), (15, 18));
}

#[test]
fn what_streams_arrives_to_the_byte_in_both_directions_however_slow_its_reader() {
    const BYTES: usize = 24 << 20;
    let scene = Scene::new(&[echo("a")], |_| {});
    let mut stream = scene.connect();
    read_name(&mut stream);
    let mut sender = stream.try_clone().expect("a socket");
    let sent: JoinHandle<()> = std::thread::spawn(move || {
        sender.write_all(&pattern(BYTES)).expect("sent");
        sender.shutdown(Shutdown::Write).expect("shut");
    });
    // Nothing is read until the first buffers must be full.
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_millis(200) {
        std::thread::yield_now();
    }
    let mut got = Vec::new();
    stream.read_to_end(&mut got).expect("all of it");
    sent.join().expect("sent");
    assert!(got == pattern(BYTES), "{} bytes came back, or others", got.len());
    scene.expect_ended(&[("closed", 1)]);
    let counts = scene.proxy.backend_counts(1, scene.backends[0]);
    assert_eq!((counts.up_bytes, counts.down_bytes), (BYTES as u64, BYTES as u64 + 1));
}

#[test]
fn a_side_that_breaks_off_is_a_side_that_broke_off_to_the_other() {
    let (seen, saw) = std::sync::mpsc::channel();
    let scene = Scene::new(
        &[backend(move |mut stream| {
            let mut word = [0; 4];
            let heard = stream.read_exact(&mut word).map(|()| word);
            if heard.as_ref().is_ok_and(|word| word == b"stay") {
                let _ = seen.send(was_reset(&mut stream));
            } else {
                SockRef::from(&stream).set_linger(Some(Duration::ZERO)).expect("set");
            }
        })],
        |_| {},
    );
    let mut stream = scene.connect();
    stream.write_all(b"stay").expect("sent");
    // So that it is there before the end.
    while scene.proxy.backend_counts(1, scene.backends[0]).established == 0 {
        std::thread::yield_now();
    }
    SockRef::from(&stream).set_linger(Some(Duration::ZERO)).expect("set");
    drop(stream);
    scene.expect_ended(&[("client_reset", 1)]);
    let mut stream = scene.connect();
    stream.write_all(b"go!!").expect("sent");
    assert!(was_reset(&mut stream));
    scene.expect_ended(&[("client_reset", 1), ("backend_reset", 1)]);
    assert_eq!(saw.recv_timeout(PATIENCE), Ok(true), "the backend saw no reset");
}

#[test]
fn a_backend_that_refuses_is_passed_over_and_told_of() {
    let mut scene = Scene::new(&[free_port(), echo("b")], |_| {});
    for _ in 0..4 {
        assert_eq!(read_name(&mut scene.connect()), "b");
    }
    let told = scene.events.try_recv();
    assert_eq!(told, Ok(ProxyEvent::ConnectFailed { name_hash: 1, reason: None }));
    let counts = scene.proxy.backend_counts(1, scene.backends[0]);
    assert!(counts.failed >= 2 && counts.active == 0 && counts.established == 0, "{counts:?}");

    scene.backends = vec![free_port(), free_port()];
    scene.terms.retries = 1;
    scene.follow();
    assert!(was_reset(&mut scene.connect()));
    scene.backends.clear();
    scene.follow();
    assert!(was_reset(&mut scene.connect()));
    let ended: BTreeMap<_, _> = scene.ended().into_iter().collect();
    assert_eq!((ended["connect_failed"], ended["no_backend"]), (1, 1));
}

#[test]
fn connections_above_a_limit_wait_for_room_and_only_so_many() {
    let scene = Scene::with_limit(&[echo("a")], 1, |terms| {
        terms.max_queue = 1;
        terms.queue = Duration::from_secs(10);
    });
    let mut first = scene.connect();
    assert_eq!(read_name(&mut first), "a");
    let mut second = scene.connect();
    let waiting = || scene.proxy.service_counts(&"web".parse().expect("a name")).waiting;
    while waiting() == 0 {
        std::thread::yield_now();
    }
    assert!(was_reset(&mut scene.connect()), "a third one has no place to wait at");
    drop(first);
    assert_eq!(read_name(&mut second), "a");
    assert_eq!(waiting(), 0);
    drop(second);
    scene.expect_ended(&[("closed", 2), ("no_room", 1)]);

    let brief = Scene::with_limit(&[echo("a")], 1, |terms| terms.queue = Duration::from_millis(50));
    let mut first = brief.connect();
    read_name(&mut first);
    assert!(was_reset(&mut brief.connect()), "it waited for too long");
    let reset = Scene::with_limit(&[echo("a")], 1, |terms| terms.at_limit = AtLimit::Reset);
    let mut first = reset.connect();
    read_name(&mut first);
    assert!(was_reset(&mut reset.connect()), "it did not wait");
}

#[test]
fn with_nobody_there_a_service_that_drops_waits_for_a_backend_to_come() {
    let mut scene = Scene::new(&[], |terms| terms.when_down = WhenDown::Drop);
    let mut stream = scene.connect();
    while scene.proxy.service_counts(&"web".parse().expect("a name")).waiting == 0 {
        std::thread::yield_now();
    }
    scene.backends = vec![echo("a")];
    scene.follow();
    assert_eq!(read_name(&mut stream), "a");
}

#[test]
fn who_is_silent_for_too_long_is_broken_off_and_blamed() {
    let soon = Duration::from_millis(100);
    let scene = Scene::new(&[echo("a")], |terms| terms.idle.client = soon);
    let mut stream = scene.connect();
    read_name(&mut stream);
    assert!(was_reset(&mut stream));
    scene.expect_ended(&[("client_idle", 1)]);
    let scene = Scene::new(&[echo("a")], |terms| terms.idle.backend = soon);
    let mut stream = scene.connect();
    read_name(&mut stream);
    assert!(was_reset(&mut stream));
    scene.expect_ended(&[("backend_idle", 1)]);
    // A backend that hears the end and says nothing.
    let silent = backend(|mut stream| {
        let _ = stream.read_to_end(&mut Vec::new());
        // Open until the test's end.
        std::mem::forget(stream);
    });
    let scene = Scene::new(&[silent], |terms| terms.idle.half_closed = soon);
    let mut stream = scene.connect();
    stream.shutdown(Shutdown::Write).expect("shut");
    assert!(was_reset(&mut stream));
    scene.expect_ended(&[("half_closed_idle", 1)]);
}

#[test]
fn a_change_leaves_open_connections_and_listeners_alone_and_a_cut_does_not() {
    let mut scene = Scene::new(&[echo("a")], |_| {});
    let mut open = scene.connect();
    read_name(&mut open);
    let says = |open: &mut TcpStream| {
        open.write_all(b"x").expect("sent");
        let mut answer = [0; 1];
        open.read_exact(&mut answer).map(|()| answer)
    };
    let old = scene.backends.clone();
    scene.backends = vec![echo("b")];
    scene.follow();
    assert_eq!(read_name(&mut scene.connect()), "b");
    assert_eq!(says(&mut open).expect("it goes on"), *b"x");
    assert_eq!(scene.proxy.backend_counts(1, old[0]).active, 1, "it is counted until its end");
    scene.proxy.cut(1);
    assert!(was_reset(&mut open));
    scene.proxy.follow(BTreeMap::new());
    let begun = Instant::now();
    while TcpStream::connect(scene.at).is_ok() {
        assert!(begun.elapsed() < PATIENCE, "somebody still listens");
    }
}

#[test]
fn an_address_that_others_listen_at_is_named() {
    let other = TcpListener::bind("127.0.0.1:0").expect("a port");
    let mut scene = Scene::new(&[], |_| {});
    scene.at = other.local_addr().expect("its address");
    scene.follow();
    assert!(scene.proxy.troubles()[&scene.at].contains("in use"), "{:?}", scene.proxy.troubles());
    let at = scene.at;
    drop(other);
    scene.proxy.listen_again();
    assert!(scene.proxy.troubles().is_empty() && TcpStream::connect(at).is_ok());
}
