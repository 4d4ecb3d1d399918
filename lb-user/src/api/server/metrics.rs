//! The endpoint for whoever looks from outside: figures for Prometheus, and a page for people. HTTP over TCP, for reading alone.

use super::{Context, StatusCode, status_page};
use crate::api::metrics::{CONTENT_TYPE, render};
use crate::api::{ApiError, Command};
use axum::Router;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::serve::Listener;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// As many look at a time; others wait to be accepted. Their descriptors are the proxy's, too.
const LOOKING_MAX: usize = 64;

/// Serves until `ends` does; then those who are there may finish.
///
/// # Errors
/// The socket is broken.
pub async fn serve_metrics(
    listener: TcpListener,
    context: Context,
    ends: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    let router = Router::new()
        .route("/", get(status_page::page))
        .route("/status.json", get(status_page::data))
        .route("/metrics", get(metrics))
        .fallback(elsewhere)
        .with_state(context);
    let listener = Limited { listener, places: Arc::new(Semaphore::new(LOOKING_MAX)) };
    axum::serve(listener, router).with_graceful_shutdown(ends).await
}

async fn metrics(State(context): State<Context>) -> Result<Response, ApiError> {
    let snapshot = context.look().await?;
    let firewall = context.ask(Command::LookAtFirewall).await?;
    Ok(([(header::CONTENT_TYPE, CONTENT_TYPE)], render(&snapshot, &firewall)).into_response())
}

async fn elsewhere() -> Response {
    (StatusCode::NOT_FOUND, "figures are at /metrics, and a page for people at /\n").into_response()
}

/// Accepts while there is a place.
struct Limited {
    listener: TcpListener,
    places: Arc<Semaphore>,
}

impl Listener for Limited {
    type Io = Held;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Held, SocketAddr) {
        let place = self.places.clone().acquire_owned().await.ok();
        let (stream, from) = Listener::accept(&mut self.listener).await;
        (Held { stream, _place: place }, from)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// A connection, and its place.
struct Held {
    stream: TcpStream,
    _place: Option<OwnedSemaphorePermit>,
}

impl AsyncRead for Held {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut TaskContext<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, into)
    }
}

impl AsyncWrite for Held {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut TaskContext<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
