//! Connections one by one, and what the log tells.

use super::{Answer, Context, Json, Query};
use crate::api::{Command, ConnectionFilter, ConnectionList, LogPatch, LogView};
use axum::Router;
use axum::extract::State;
use axum::routing::get;

pub(super) fn routes() -> Router<Context> {
    Router::new().route("/connections", get(connections)).route("/log", get(log).patch(set_log))
}

async fn connections(
    State(context): State<Context>,
    Query(filter): Query<ConnectionFilter>,
) -> Answer<ConnectionList> {
    context.ask(|reply| Command::ListConnections(filter, reply)).await.map(Json)
}

async fn log(State(context): State<Context>) -> Answer<LogView> {
    context.ask(|reply| Command::Log(None, reply)).await.map(Json)
}

async fn set_log(State(context): State<Context>, Json(patch): Json<LogPatch>) -> Answer<LogView> {
    context.ask(|reply| Command::Log(Some(patch), reply)).await.map(Json)
}
