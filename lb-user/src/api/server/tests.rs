use super::streams::follow;
use super::*;
use crate::api::EventKind;
use futures_util::StreamExt as _;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

fn event(sequence: u64) -> Event {
    Event { sequence, at_unix_ms: 1, kind: EventKind::HealthChanged, message: "up".into() }
}

/// Sends one request to a server without an agent; the status and the body of the answer.
async fn ask(method: &str, path: &str) -> (u16, String) {
    let dir = tempfile::tempdir().expect("a folder");
    let socket = dir.path().join("s");
    let listener = UnixListener::bind(&socket).expect("a socket");
    let (commands, _) = mpsc::channel(1);
    let group = Some(nix::unistd::getgid());
    let policy = Policy { group, others_may_read: true };
    let server = tokio::spawn(serve(listener, Context { commands, events: broadcast::channel(1).0, policy }));
    let mut stream = UnixStream::connect(&socket).await.expect("a server");
    let request = format!("{method} {path} HTTP/1.1\r\nhost: lbctl\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.expect("a request");
    let mut answer = String::new();
    let read = stream.read_to_string(&mut answer);
    tokio::time::timeout(Duration::from_secs(10), read).await.expect("in time").expect("an answer");
    server.abort();
    let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
    (status, answer.split_once("\r\n\r\n").expect("a body").1.to_owned())
}

#[tokio::test]
async fn every_refusal_is_an_error_of_the_api() {
    let refusals = [
        ("GET", "/v1/nothing", 404, ErrorKind::NotFound),
        ("GET", "/elsewhere", 404, ErrorKind::NotFound),
        ("DELETE", "/v1/status", 405, ErrorKind::BadMethod),
        ("PUT", "/v1/services/web", 405, ErrorKind::BadMethod),
        ("GET", "/v1/services/no%20name", 400, ErrorKind::Invalid),
        ("GET", "/v1/flows?limit=many", 400, ErrorKind::Invalid),
        ("POST", "/v1/config", 400, ErrorKind::Invalid),
        ("GET", "/v1/status", 500, ErrorKind::Internal),
        ("GET", "/v1/events", 500, ErrorKind::Internal),
    ];
    for (method, path, status, kind) in refusals {
        let (found, body) = ask(method, path).await;
        let error: ApiError = match serde_json::from_str(&body) {
            Ok(error) => error,
            Err(_) => panic!("{method} {path}: {found} {body:?}"),
        };
        assert_eq!((found, error.kind), (status, kind), "{method} {path}: {}", error.message);
        let says_where = !matches!(found, 404 | 405) || error.message.contains(path);
        assert!(says_where, "{method} {path}: {}", error.message);
    }
}

#[test]
fn looking_needs_only_the_right_to_look() {
    assert_eq!(needed_for(&Method::GET), Right::Read);
    assert_eq!(needed_for(&Method::HEAD), Right::Read);
    for method in [Method::POST, Method::PATCH, Method::DELETE, Method::PUT, Method::OPTIONS] {
        assert_eq!(needed_for(&method), Right::Write, "{method}");
    }
}

#[tokio::test]
async fn a_reader_that_was_too_slow_is_told_how_many_events_it_missed() {
    let (events, to_come) = broadcast::channel(2);
    for sequence in 4..=8 {
        events.send(event(sequence)).expect("a reader");
    }
    drop(events);
    let seen: Vec<Event> = follow(to_come, 3).collect().await;
    let numbers: Vec<u64> = seen.iter().map(|event| event.sequence).collect();
    assert_eq!(numbers, [6, 7, 8]);
    assert_eq!(seen[0].kind, EventKind::Warning);
    assert!(seen[0].message.starts_with("3 events were missed"), "{}", seen[0].message);
}

#[tokio::test]
async fn events_that_were_told_as_past_do_not_come_again() {
    let (events, to_come) = broadcast::channel(8);
    for sequence in 1..=4 {
        events.send(event(sequence)).expect("a reader");
    }
    drop(events);
    let seen: Vec<Event> = follow(to_come, 3).collect().await;
    assert_eq!(seen, [event(4)]);
}

#[tokio::test(start_paused = true)]
async fn who_asks_nothing_loses_the_place_and_who_asks_now_and_then_does_not() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let at = listener.local_addr().expect("its address");
    let (commands, _) = mpsc::channel(1);
    let policy = Policy { group: None, others_may_read: true };
    let context = Context { commands, events: broadcast::channel(1).0, policy };
    let (goes_on, ends) = oneshot::channel::<()>();
    let serving = tokio::spawn(serve_metrics(listener, context, async { drop(ends.await) }));
    let connect = || async { tokio::net::TcpStream::connect(at).await.expect("it listens") };
    let (mut silent, mut half, mut asking) = (connect().await, connect().await, connect().await);
    half.write_all(b"GET /metrics HTTP/1.1\r\nhost:").await.expect("sent");
    for _ in 0..4 {
        asking.write_all(b"GET /nothing HTTP/1.1\r\nhost: lb\r\n\r\n").await.expect("sent");
        let mut answer = vec![0; 4096];
        let bytes = asking.read(&mut answer).await.expect("an answer");
        assert!(answer[..bytes].starts_with(b"HTTP/1.1 404"), "{}", String::from_utf8_lossy(&answer));
        let more = tokio::time::timeout(Duration::from_secs(60), asking.read(&mut answer)).await;
        assert!(more.is_err(), "it was ended: {more:?}");
    }
    for gone in [&mut silent, &mut half] {
        let mut rest = Vec::new();
        let read = tokio::time::timeout(Duration::from_secs(1), gone.read_to_end(&mut rest)).await;
        assert!(read.is_ok(), "it is there yet");
    }
    drop(goes_on);
    tokio::time::timeout(Duration::from_secs(1), serving).await.expect("it ends").expect("well");
    let mut rest = Vec::new();
    asking.read_to_end(&mut rest).await.expect("the end");
}
