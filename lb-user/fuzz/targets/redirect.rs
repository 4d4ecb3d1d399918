//! The redirect: a request is sent to the place it asked for and to no other, and nothing else comes into the answer.
//!
//! Owns what must hold of `redirect`. Source of the forms a target has: RFC 9112 §3.2.

#![no_main]

use std::net::SocketAddr;

use lbctl_fuzz::decided;
use lbctl_fuzz::redirect::{HEAD_BYTES_MAX, redirect};
use libfuzzer_sys::fuzz_target;

const HEADERS_MAX: usize = 100;

fuzz_target!(|head: &[u8]| {
    let v4 = SocketAddr::from(([10, 80, 0, 100], 80));
    let v6 = SocketAddr::from(([0xfd80, 0, 0, 0, 0, 0, 0, 0x100], 80));
    // What is longer is nowhere promised to be decided alike, but it is read.
    let within = &head[..head.len().min(HEAD_BYTES_MAX)];
    if let Ok(Some(answer)) = decided(within, |head| redirect(head, v4, 443, None)) {
        leads_there(within, answer.bytes(), "10.80.0.100", "");
    }
    if let Ok(Some(answer)) = redirect(head, v6, 8443, None) {
        leads_there(head, answer.bytes(), "[fd80::100]", ":8443");
    }
});

/// The answer to a request that came to that VIP, with the port that it must name.
#[track_caller]
fn leads_there(head: &[u8], answer: &[u8], vip: &str, port: &str) {
    let answer = std::str::from_utf8(answer).expect("an answer is text");
    assert_eq!(answer.matches("\r\n").count(), 5, "{answer:?}");
    assert_eq!(answer.matches(['\r', '\n']).count(), 10, "{answer:?}");
    let location = answer.strip_prefix("HTTP/1.1 308 Permanent Redirect\r\nLocation: ");
    let location = location.and_then(|rest| rest.lines().next()).expect("a place to go to");
    assert!(location.bytes().all(|byte| byte.is_ascii_graphic()), "{location:?}");
    let place = location.strip_prefix("https://").expect("a place over HTTPS");
    let (authority, path) = place.split_at(place.find('/').expect("a path"));
    let host = authority.strip_suffix(port).expect("the port of HTTPS");

    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut request = httparse::Request::new(&mut headers);
    request.parse(head).expect("a request was answered");
    let target = request.path.expect("a request has a target");
    let said = request.headers.iter().find(|header| header.name.eq_ignore_ascii_case("host"));
    let said = said.and_then(|header| std::str::from_utf8(header.value).ok()).unwrap_or_default().trim();
    let (asked, wanted) = match absolute(target) {
        Some(rest) => rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len())),
        None if target == "*" => (said, ""),
        None => (said, target),
    };
    assert_eq!(path.strip_prefix('/'), Some(wanted.strip_prefix('/').unwrap_or(wanted)), "{target:?}");
    let asked = if asked.is_empty() { vip } else { asked };
    let behind = asked.strip_prefix(host).filter(|_| !host.is_empty());
    let is_port = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    assert!(
        behind.is_some_and(|rest| rest.is_empty() || rest.strip_prefix(':').is_some_and(is_port)),
        "{asked:?} was asked for, {host:?} is answered"
    );
}

/// What follows the scheme of a target in absolute form.
fn absolute(target: &str) -> Option<&str> {
    let lower = target.to_ascii_lowercase();
    let scheme = ["http://", "https://"].into_iter().find(|scheme| lower.starts_with(scheme))?;
    target.get(scheme.len()..)
}
