//! `lab-app`: the application server of the reference system. Keeps notes in MySQL.
//!
//! An ordinary small web application: it knows one database address, opens connections when it needs
//! them, and answers a clear 503 while the database cannot be reached. It knows nothing of the load
//! balancer.

mod notes;

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::{Context, Result};
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use clap::Parser;
use serde::Deserialize;
use serde_json::json;

use notes::{Notes, NotesError};

/// The application server of the lab: notes over HTTP, kept in MySQL.
#[derive(Debug, Parser)]
#[command(name = "lab-app", version)]
struct CommandLine {
    /// Where to listen
    #[arg(long, default_value = "127.0.0.1:9000")]
    listen: SocketAddr,
    /// The database, as mysql://USER:PASSWORD@HOST:PORT/DATABASE
    #[arg(long)]
    database: String,
    /// This server's name, written into the notes it takes
    #[arg(long)]
    name: String,
}

#[derive(Debug, Deserialize)]
struct NewNote {
    text: String,
}

#[tokio::main]
async fn main() -> Result<()> {
    let options = CommandLine::parse();
    let notes = Arc::new(Notes::new(&options.database, options.name)?);
    let routes = Router::new()
        .route("/api/healthz", get(|| async { "ok\n" }))
        .route("/api/notes", get(list).post(add))
        .with_state(notes);
    let listener = tokio::net::TcpListener::bind(options.listen).await;
    let listener = listener.with_context(|| format!("listening on {}", options.listen))?;
    eprintln!("listening on {}", options.listen);
    axum::serve(listener, routes).await.context("serving")
}

async fn list(State(notes): State<Arc<Notes>>) -> Response {
    match notes.newest().await {
        Ok(found) => Json(json!({ "notes": found, "served_by": notes.server_name() })).into_response(),
        Err(error) => refusal(&error),
    }
}

async fn add(State(notes): State<Arc<Notes>>, Json(new): Json<NewNote>) -> Response {
    match notes.add(&new.text).await {
        Ok(note) => (StatusCode::CREATED, Json(note)).into_response(),
        Err(error) => refusal(&error),
    }
}

fn refusal(error: &NotesError) -> Response {
    let status = match error {
        NotesError::Text(_) => StatusCode::UNPROCESSABLE_ENTITY,
        NotesError::Unreachable(_) | NotesError::Late => StatusCode::SERVICE_UNAVAILABLE,
        NotesError::Database(error) if error.is_fatal() => StatusCode::SERVICE_UNAVAILABLE,
        NotesError::Database(_) => StatusCode::INTERNAL_SERVER_ERROR,
    };
    if status.is_server_error() {
        eprintln!("{error}");
    }
    (status, Json(json!({ "error": error.to_string() }))).into_response()
}
