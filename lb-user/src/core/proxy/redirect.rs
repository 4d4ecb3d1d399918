//! The answer to a request over HTTP/1 where HTTPS alone is served: 308 to the same place.
//!
//! Source: RFC 9110 §15.4.9 and §7.2, RFC 9112 §3.2. Owns reading as much of a request as that takes, and the answer's bytes. What a client says comes back
//! in the answer only where it can be part of an address.

use std::collections::BTreeMap;
use std::net::SocketAddr;

/// Of a request's head: what servers allow, and a bound for what a client can make us keep.
pub const HEAD_BYTES_MAX: usize = 16 * 1024;
const HEADERS_MAX: usize = 100;

/// It is no request over HTTP/1, or one that says no place to go to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no request over HTTP/1")]
pub struct NoRequest;

/// Where an authority looks for an answer, before the token it asks by. RFC 8555 §8.3.
const CHALLENGES: &str = "/.well-known/acme-challenge/";

/// What is answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RequestAnswer {
    /// Where else the request is to be made.
    Elsewhere(Vec<u8>),
    /// What an authority wants to see.
    Challenge(Vec<u8>),
}

impl RequestAnswer {
    /// All of it.
    pub fn bytes(&self) -> &[u8] {
        match self {
            Self::Elsewhere(bytes) | Self::Challenge(bytes) => bytes,
        }
    }
}

/// The answer to a request that was sent to that VIP; HTTPS is at that port, and what authorities ask by has these answers. `Ok(None)`: more
/// of the request has to come.
pub fn redirect(
    head: &[u8],
    vip: SocketAddr,
    https_port: u16,
    challenges: Option<&BTreeMap<String, String>>,
) -> Result<Option<RequestAnswer>, NoRequest> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut request = httparse::Request::new(&mut headers);
    match request.parse(head) {
        Ok(httparse::Status::Complete(_)) => {}
        Ok(httparse::Status::Partial) if head.len() < HEAD_BYTES_MAX => return Ok(None),
        _ => return Err(NoRequest),
    }
    let target = request.path.ok_or(NoRequest)?;
    let said = request.headers.iter().find(|header| header.name.eq_ignore_ascii_case("host"));
    let said = said.and_then(|header| std::str::from_utf8(header.value).ok()).map(str::trim);
    let (host, path) = match (absolute(target), target) {
        // A target with a place of its own goes before what the header says.
        (Some(rest), _) => {
            let at = rest.find(['/', '?']).unwrap_or(rest.len());
            (Some(&rest[..at]), &rest[at..])
        }
        (None, "*") => (said, "/"),
        (None, path) => (said, path),
    };
    if let Some(answer) = path.strip_prefix(CHALLENGES).and_then(|token| challenges?.get(token)) {
        let length = answer.len();
        let head = "HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\nConnection: close\r\n";
        let answer = format!("{head}Content-Length: {length}\r\n\r\n{answer}");
        return Ok(Some(RequestAnswer::Challenge(answer.into_bytes())));
    }
    let host = match host.filter(|host| !host.is_empty()) {
        Some(host) => without_port(host).ok_or(NoRequest)?.to_owned(),
        None if vip.is_ipv6() => format!("[{}]", vip.ip()),
        None => vip.ip().to_string(),
    };
    if !host.bytes().all(is_of_host) || !path.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(NoRequest);
    }
    let port = if https_port == 443 { String::new() } else { format!(":{https_port}") };
    let slash = if path.starts_with('/') { "" } else { "/" };
    Ok(Some(RequestAnswer::Elsewhere(
        format!(
            "HTTP/1.1 308 Permanent Redirect\r\nLocation: https://{host}{port}{slash}{path}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        )
        .into_bytes(),
    )))
}

/// What follows the scheme, where a target has one: RFC 9112 §3.2.2. One that begins with a slash has none, whatever is in it.
fn absolute(target: &str) -> Option<&str> {
    let (scheme, rest) = target.split_once("://")?;
    ["http", "https"].iter().any(|known| scheme.eq_ignore_ascii_case(known)).then_some(rest)
}

/// A host, without the port it may have; `None`: it is none.
fn without_port(host: &str) -> Option<&str> {
    let end = match host.strip_prefix('[') {
        Some(rest) => rest.find(']')? + 2,
        None => host.find(':').unwrap_or(host.len()),
    };
    let (host, rest) = host.split_at_checked(end)?;
    let is_port = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let is_whole = rest.is_empty() || rest.strip_prefix(':').is_some_and(is_port);
    (is_whole && !host.is_empty()).then_some(host)
}

fn is_of_host(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_' | b'[' | b']' | b':')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn vip() -> SocketAddr {
        "10.80.0.100:80".parse().expect("an address")
    }

    fn location(head: &str, port: u16) -> Option<String> {
        let answer = redirect(head.as_bytes(), vip(), port, None).ok().flatten()?;
        let answer = String::from_utf8(answer.bytes().to_vec()).expect("text");
        assert!(answer.starts_with("HTTP/1.1 308 ") && answer.ends_with("\r\n\r\n"), "{answer}");
        answer.lines().find_map(|line| line.strip_prefix("Location: ")).map(str::to_owned)
    }

    #[test]
    fn a_request_is_sent_to_the_same_place_over_https() {
        for (head, port, wanted) in [
            ("GET /a?b=c HTTP/1.1\r\nHost: web.example.org\r\n\r\n", 443, "https://web.example.org/a?b=c"),
            ("POST / HTTP/1.1\r\nAccept: */*\r\nhOST: web:80\r\n\r\nbody", 443, "https://web/"),
            ("GET / HTTP/1.1\r\nHost: [fd80::100]:80\r\n\r\n", 8443, "https://[fd80::100]:8443/"),
            ("GET / HTTP/1.0\r\n\r\n", 443, "https://10.80.0.100/"),
            ("GET http://other.org/x HTTP/1.1\r\nHost: web\r\n\r\n", 443, "https://other.org/x"),
            ("GET http://other.org?x HTTP/1.1\r\nHost: web\r\n\r\n", 443, "https://other.org/?x"),
            (
                "GET /login?next=http://evil.org/x HTTP/1.1\r\nHost: web\r\n\r\n",
                443,
                "https://web/login?next=http://evil.org/x",
            ),
            ("GET HTTPS://other.org/x HTTP/1.1\r\nHost: web\r\n\r\n", 443, "https://other.org/x"),
            ("OPTIONS * HTTP/1.1\r\nHost: web\r\n\r\n", 443, "https://web/"),
        ] {
            assert_eq!(location(head, port).as_deref(), Some(wanted), "{head}");
        }
    }

    #[test]
    fn what_is_no_request_is_refused_and_what_is_a_part_waited_for() {
        let head = b"GET / HTTP/1.1\r\nHost: web\r\n\r\n";
        for cut in 0..head.len() {
            assert_eq!(redirect(&head[..cut], vip(), 443, None), Ok(None), "cut at {cut}");
        }
        let long = format!("GET / HTTP/1.1\r\nHost: {}", "x".repeat(HEAD_BYTES_MAX));
        for head in [
            "\x16\x03\x01",
            "GET / HTTP/1.1\r\nHost: a b\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n",
            &long,
        ] {
            assert_eq!(redirect(head.as_bytes(), vip(), 443, None), Err(NoRequest), "{head:?}");
        }
    }

    #[test]
    fn an_authority_gets_the_answer_to_what_it_asks_and_nobody_else_does() {
        let answers = BTreeMap::from([("tok-en_1".to_owned(), "tok-en_1.thumb".to_owned())]);
        let ask = |path: &str| {
            let head = format!("GET {path} HTTP/1.1\r\nHost: a.org\r\n\r\n");
            let answer = redirect(head.as_bytes(), vip(), 443, Some(&answers)).expect("a request");
            let answer = answer.expect("a whole one");
            (
                matches!(answer, RequestAnswer::Challenge(_)),
                String::from_utf8(answer.bytes().to_vec()).expect("text"),
            )
        };
        let (is_challenge, answer) = ask("/.well-known/acme-challenge/tok-en_1");
        assert!(is_challenge && answer.starts_with("HTTP/1.1 200 "), "{answer}");
        assert!(answer.ends_with("Content-Length: 14\r\n\r\ntok-en_1.thumb"), "{answer}");
        for path in ["/.well-known/acme-challenge/other", "/.well-known/acme-challenge/", "/tok-en_1"] {
            assert!(!ask(path).0, "{path}");
        }
    }

    proptest! {
        #[test]
        fn no_request_puts_a_line_into_the_answer(path in "[ -~\r\n]{0,40}", host in "[ -~\r\n]{0,40}") {
            let head = format!("GET /{path} HTTP/1.1\r\nHost: {host}\r\n\r\n");
            if let Ok(Some(answer)) = redirect(head.as_bytes(), vip(), 443, None) {
                let lines = answer.bytes().windows(2).filter(|two| two == b"\r\n").count();
                prop_assert_eq!(lines, 5);
            }
        }
    }
}
