//! The endpoint for whoever looks from outside: figures for Prometheus, and a page for people. HTTP over TCP, for reading alone.

use super::{Context, StatusCode, status_page};
use crate::api::metrics::{CONTENT_TYPE, render};
use crate::api::{ApiError, Command};
use axum::Router;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};

/// As many look at a time; others wait to be accepted. Their descriptors are the proxy's, too.
const LOOKING_MAX: usize = 64;
/// Who asks nothing for as long loses the place: longer than figures are collected apart.
const IDLE_MAX: Duration = Duration::from_secs(75);
/// And so does anybody in the end, also who takes no answer.
const AGE_MAX: Duration = Duration::from_secs(600);
/// How long an answer may take that has begun when there are to be no more.
const FINISH_WITHIN: Duration = Duration::from_secs(5);
/// Before another one is accepted, where this machine has no means to.
const RETRY: Duration = Duration::from_secs(1);

/// Serves until `ends` does; then those who are being answered may finish, for a moment.
pub async fn serve_metrics(listener: TcpListener, context: Context, ends: impl Future<Output = ()>) {
    let router = Router::new()
        .route("/", get(status_page::page))
        .route("/status.json", get(status_page::data))
        .route("/metrics", get(metrics))
        .fallback(elsewhere)
        .with_state(context);
    let places = Arc::new(Semaphore::new(LOOKING_MAX));
    let (serving, served) = watch::channel(());
    let accepting = async {
        loop {
            let place = places.clone().acquire_owned().await;
            match listener.accept().await {
                Ok((stream, _)) => drop(tokio::spawn(look(stream, router.clone(), served.clone(), place))),
                Err(_) => tokio::time::sleep(RETRY).await,
            }
        }
    };
    tokio::select! {
        () = accepting => {}
        () = ends => {}
    }
    drop(serving);
}

/// One connection, for as long as it has its place.
async fn look<P>(stream: TcpStream, router: Router, mut served: watch::Receiver<()>, _place: P) {
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(IDLE_MAX)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    let mut connection = std::pin::pin!(connection);
    tokio::select! {
        // Who breaks off is nobody's concern.
        _ = connection.as_mut() => return,
        _ = served.changed() => {}
        () = tokio::time::sleep(AGE_MAX) => {}
    }
    connection.as_mut().graceful_shutdown();
    let _ = tokio::time::timeout(FINISH_WITHIN, connection).await;
}

async fn metrics(State(context): State<Context>) -> Result<Response, ApiError> {
    let snapshot = context.look().await?;
    let firewall = context.ask(Command::LookAtFirewall).await?;
    Ok(([(header::CONTENT_TYPE, CONTENT_TYPE)], render(&snapshot, &firewall)).into_response())
}

async fn elsewhere() -> Response {
    (StatusCode::NOT_FOUND, "figures are at /metrics, and a page for people at /\n").into_response()
}
