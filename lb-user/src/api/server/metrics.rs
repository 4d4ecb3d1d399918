//! The endpoint for whoever looks from outside: figures for Prometheus, and a page for people. HTTP over TCP, for reading alone.

use super::{Context, StatusCode, status_page};
use crate::api::metrics::{CONTENT_TYPE, render};
use crate::api::{ApiError, Command};
use axum::Router;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tokio::net::TcpListener;

/// Serves until the task is dropped.
///
/// # Errors
/// The socket is broken.
pub async fn serve_metrics(listener: TcpListener, context: Context) -> std::io::Result<()> {
    let router = Router::new()
        .route("/", get(status_page::page))
        .route("/status.json", get(status_page::data))
        .route("/metrics", get(metrics))
        .fallback(elsewhere)
        .with_state(context);
    axum::serve(listener, router).await
}

async fn metrics(State(context): State<Context>) -> Result<Response, ApiError> {
    let snapshot = context.look().await?;
    let firewall = context.ask(Command::LookAtFirewall).await?;
    Ok(([(header::CONTENT_TYPE, CONTENT_TYPE)], render(&snapshot, &firewall)).into_response())
}

async fn elsewhere() -> Response {
    (StatusCode::NOT_FOUND, "figures are at /metrics, and a page for people at /\n").into_response()
}
