//! The HTTP part of a check: one GET, its status, and what is in its page.

use std::net::SocketAddr;

use bytes::Bytes;
use futures_util::future::{Either, select};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::{Request, Response, header};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use super::CheckFailure;

/// So much of a page is searched at most.
pub(super) const PAGE_BYTES_MAX: usize = 64 * 1024;

const USER_AGENT: &str = concat!("lbctl-health/", env!("CARGO_PKG_VERSION"));

/// Asks for a page over an open connection and judges what comes back.
pub(super) async fn ask(
    stream: TcpStream,
    target: SocketAddr,
    path: &str,
    expect_status: &[u16],
    expect_body: Option<&str>,
) -> Result<(), CheckFailure> {
    let (mut sender, connection) =
        http1::handshake(TokioIo::new(stream)).await.map_err(|error| failure(&error))?;
    let request = Request::get(path)
        .header(header::HOST, target.to_string())
        .header(header::USER_AGENT, USER_AGENT)
        .header(header::ACCEPT, "*/*")
        .header(header::CONNECTION, "close")
        .body(Empty::<Bytes>::new())
        .map_err(|error| CheckFailure::Local { why: error.to_string() })?;
    let exchange = std::pin::pin!(async {
        let response = sender.send_request(request).await.map_err(|error| failure(&error))?;
        judge(response, expect_status, expect_body).await
    });
    // Driven here, not in a task of its own, so that aborting the check leaves nothing behind.
    match select(exchange, std::pin::pin!(connection)).await {
        Either::Left((result, _)) => result,
        // The connection has ended; what it brought may still wait to be judged.
        Either::Right((_, exchange)) => exchange.await,
    }
}

async fn judge(
    response: Response<Incoming>,
    expect_status: &[u16],
    expect_body: Option<&str>,
) -> Result<(), CheckFailure> {
    let found = response.status().as_u16();
    if !expect_status.contains(&found) {
        return Err(CheckFailure::BadStatus { found, expected: expect_status.to_vec() });
    }
    let Some(wanted) = expect_body else { return Ok(()) };
    let mut body = response.into_body();
    let mut page: Vec<u8> = Vec::new();
    while page.len() < PAGE_BYTES_MAX {
        let Some(frame) = body.frame().await else { break };
        let Ok(data) = frame.map_err(|error| failure(&error))?.into_data() else { continue };
        let room = PAGE_BYTES_MAX - page.len();
        // The text may have begun in what was there before.
        let from = page.len().saturating_sub(wanted.len());
        page.extend(data.iter().take(room));
        if contains(page.get(from..).unwrap_or_default(), wanted.as_bytes()) {
            return Ok(());
        }
    }
    Err(CheckFailure::BodyWithoutMatch { wanted: wanted.to_owned(), searched_bytes: page.len() })
}

fn contains(page: &[u8], wanted: &[u8]) -> bool {
    wanted.is_empty() || page.windows(wanted.len()).any(|window| window == wanted)
}

/// What an error of the HTTP library means.
fn failure(error: &hyper::Error) -> CheckFailure {
    let mut cause: Option<&dyn std::error::Error> = Some(error);
    while let Some(inner) = cause {
        if let Some(io) = inner.downcast_ref::<std::io::Error>() {
            return CheckFailure::of(io);
        }
        cause = inner.source();
    }
    if error.is_incomplete_message() {
        return CheckFailure::Protocol {
            why: "the connection was closed before the answer was complete".to_owned(),
        };
    }
    CheckFailure::Protocol { why: error.to_string() }
}
