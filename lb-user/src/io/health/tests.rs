use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;

/// Long enough that a busy machine does not turn a success into a failure.
const PATIENCE: Duration = Duration::from_secs(10);

fn page(path: &str, body: Option<&str>) -> CheckKind {
    CheckKind::Http {
        path: path.to_owned(),
        expect_status: vec![200, 204],
        expect_body: body.map(str::to_owned),
    }
}

async fn listener() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

/// Answers one request with these bytes, closes, and gives the request back.
fn answer_once(listener: TcpListener, answer: Vec<u8>) -> tokio::task::JoinHandle<String> {
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            if stream.read(&mut byte).await.unwrap() == 0 {
                break;
            }
            request.push(byte[0]);
        }
        // The check may have seen enough and gone.
        let _ = stream.write_all(&answer).await;
        let _ = stream.shutdown().await;
        String::from_utf8(request).unwrap()
    })
}

/// The outcome of an HTTP check against a server that answers with these bytes.
async fn outcome_of(answer: impl Into<Vec<u8>>, kind: &CheckKind) -> CheckOutcome {
    let (listener, address) = listener().await;
    let server = answer_once(listener, answer.into());
    let outcome = check_once(address, kind, PATIENCE, None).await;
    server.await.unwrap();
    outcome
}

fn ok(body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

#[tokio::test]
async fn a_tcp_check_passes_where_somebody_listens() {
    let (listener, address) = listener().await;
    let took = check_once(address, &CheckKind::Tcp, PATIENCE, None).await.unwrap();
    assert!(took < PATIENCE);
    drop(listener);
}

#[tokio::test]
async fn a_tcp_check_ends_with_a_reset_so_that_nothing_stays_in_time_wait() {
    let (listener, address) = listener().await;
    check_once(address, &CheckKind::Tcp, PATIENCE, None).await.unwrap();
    let (mut stream, _) = listener.accept().await.unwrap();
    let error = stream.read(&mut [0]).await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
}

#[tokio::test]
async fn a_check_where_nobody_listens_is_refused() {
    let (listener, address) = listener().await;
    drop(listener);
    for kind in [CheckKind::Tcp, page("/", None)] {
        let failure = check_once(address, &kind, PATIENCE, None).await.unwrap_err();
        assert_eq!(failure, CheckFailure::Refused);
        assert_eq!(failure.to_string(), "connection refused");
    }
}

#[tokio::test]
async fn a_check_comes_from_the_address_it_is_told() {
    let (listener, address) = listener().await;
    let source = "127.0.0.9".parse().unwrap();
    check_once(address, &CheckKind::Tcp, PATIENCE, Some(source)).await.unwrap();
    assert_eq!(listener.accept().await.unwrap().1.ip(), source);
}

#[tokio::test]
async fn a_check_that_this_machine_cannot_make_is_not_the_backends_fault() {
    let source = "192.0.2.1".parse().unwrap();
    let (_listener, address) = listener().await;
    let failure = check_once(address, &CheckKind::Tcp, PATIENCE, Some(source)).await.unwrap_err();
    assert!(failure.is_local(), "{failure}");
    assert!(failure.to_string().starts_with("this machine could not make the check: "), "{failure}");
}

#[tokio::test]
async fn ipv6_is_checked_as_ipv4_is() {
    let Ok(listener) = TcpListener::bind("[::1]:0").await else { return };
    let address = listener.local_addr().unwrap();
    let server = answer_once(listener, ok("fine").into_bytes());
    check_once(address, &page("/", None), PATIENCE, None).await.unwrap();
    assert!(server.await.unwrap().contains(&format!("host: [::1]:{}\r\n", address.port())));
}

#[tokio::test]
async fn an_http_check_asks_for_its_path_and_says_who_asks() {
    let (listener, address) = listener().await;
    let server = answer_once(listener, ok("all ok").into_bytes());
    check_once(address, &page("/healthz?full=1", Some("ok")), PATIENCE, None).await.unwrap();
    let request = server.await.unwrap();
    assert!(request.starts_with("GET /healthz?full=1 HTTP/1.1\r\n"), "{request}");
    for line in [
        format!("host: {address}"),
        format!("user-agent: lbctl-health/{}", env!("CARGO_PKG_VERSION")),
        "connection: close".to_owned(),
    ] {
        assert!(request.contains(&format!("\r\n{line}\r\n")), "{request} has no {line}");
    }
}

#[tokio::test]
async fn any_of_the_expected_statuses_passes_and_others_are_named() {
    outcome_of("HTTP/1.1 204 No Content\r\n\r\n", &page("/", None)).await.unwrap();
    let failure =
        outcome_of("HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n", &page("/", None)).await.unwrap_err();
    assert_eq!(failure.to_string(), "status 503, expected 200 or 204");
}

#[tokio::test]
async fn a_page_that_ends_with_the_connection_is_searched_too() {
    outcome_of("HTTP/1.1 200 OK\r\n\r\nall ok", &page("/", Some("all ok"))).await.unwrap();
    outcome_of("HTTP/1.0 200 OK\r\n\r\nall ok", &page("/", Some("all ok"))).await.unwrap();
}

#[tokio::test]
async fn a_text_that_arrives_in_two_pieces_is_found() {
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nxxal\r\n4\r\nl ok\r\n0\r\n\r\n";
    outcome_of(chunked, &page("/", Some("all ok"))).await.unwrap();
}

#[tokio::test]
async fn a_page_without_the_text_is_told_with_what_was_searched() {
    let failure = outcome_of(ok("broken"), &page("/", Some("all ok"))).await.unwrap_err();
    assert_eq!(failure.to_string(), "\"all ok\" is not in the first 6 bytes of the page");
}

#[tokio::test]
async fn only_the_first_64_kib_of_a_page_are_searched() {
    let filler = "x".repeat(http::PAGE_BYTES_MAX);
    let failure = outcome_of(ok(&format!("{filler}ok")), &page("/", Some("ok"))).await.unwrap_err();
    assert_eq!(failure, CheckFailure::BodyWithoutMatch { wanted: "ok".to_owned(), searched_bytes: 65536 });
    outcome_of(ok(&format!("{}ok", &filler[2..])), &page("/", Some("ok"))).await.unwrap();
}

#[tokio::test]
async fn what_is_no_http_is_a_protocol_failure() {
    let failure = outcome_of("SSH-2.0-OpenSSH\r\n", &page("/", None)).await.unwrap_err();
    assert!(failure.to_string().starts_with("not a proper HTTP answer: "), "{failure}");
}

#[tokio::test]
async fn a_connection_closed_without_an_answer_is_told_as_such() {
    let failure = outcome_of("", &page("/", None)).await.unwrap_err();
    assert_eq!(
        failure.to_string(),
        "not a proper HTTP answer: the connection was closed before the answer was complete"
    );
}

#[tokio::test]
async fn a_connection_that_is_cut_is_a_reset() {
    let (listener, address) = listener().await;
    let server = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.read_exact(&mut [0; 16]).await.unwrap();
        stream.set_zero_linger().unwrap();
    });
    let failure = check_once(address, &page("/", None), PATIENCE, None).await.unwrap_err();
    assert_eq!(failure, CheckFailure::Reset);
    server.await.unwrap();
}

#[tokio::test]
async fn a_server_that_accepts_and_says_nothing_times_out() {
    let (listener, address) = listener().await;
    let timeout = Duration::from_millis(30);
    let failure = check_once(address, &page("/", None), timeout, None).await.unwrap_err();
    assert_eq!(failure.to_string(), "no answer within 30ms");
    drop(listener);
}

fn every(interval: Duration, kind: CheckKind) -> HealthCheck {
    HealthCheck {
        kind,
        interval,
        timeout: PATIENCE,
        rise: 1,
        fall: 1,
        slow_start: Duration::ZERO,
        refusals: 3,
        port: None,
    }
}

#[tokio::test]
async fn running_checks_send_an_outcome_for_each_until_nobody_listens() {
    let (_listener, address) = listener().await;
    let (sink, mut outcomes) = mpsc::channel(1);
    let task = tokio::spawn(run("web1", address, every(Duration::from_millis(10), CheckKind::Tcp), sink));
    for _ in 0..3 {
        let (key, outcome) = tokio::time::timeout(PATIENCE, outcomes.recv()).await.unwrap().unwrap();
        assert_eq!(key, "web1");
        outcome.unwrap();
    }
    drop(outcomes);
    tokio::time::timeout(PATIENCE, task).await.unwrap().unwrap();
}

#[tokio::test]
async fn running_checks_go_to_the_port_of_the_check_if_it_has_one() {
    let (_listener, address) = listener().await;
    let (sink, mut outcomes) = mpsc::channel(1);
    let mut check = every(Duration::from_millis(10), CheckKind::Tcp);
    check.port = Some(address.port());
    let task = tokio::spawn(run((), "127.0.0.1:1".parse().unwrap(), check, sink));
    let (_, outcome) = tokio::time::timeout(PATIENCE, outcomes.recv()).await.unwrap().unwrap();
    outcome.unwrap();
    task.abort();
}

#[test]
fn different_addresses_have_different_seeds_and_one_address_always_the_same() {
    let seed = |text: &str| seed_of(text.parse().unwrap());
    let texts = ["10.80.0.21:80", "10.80.0.22:80", "10.80.0.21:81", "[fd80::21]:80"];
    let mut seeds: Vec<u64> = texts.into_iter().map(seed).collect();
    assert_eq!(seeds[0], seed("10.80.0.21:80"));
    seeds.sort_unstable();
    seeds.dedup();
    assert_eq!(seeds.len(), texts.len());
}
