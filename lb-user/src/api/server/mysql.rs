//! Services of databases.

use super::{Answer, Context, Json, Path};
use crate::api::{
    Command, MysqlDigest, MysqlKilled, MysqlPromoted, MysqlPromotion, MysqlQuestion, MysqlRoute, MysqlView,
};
use crate::model::ServiceName;
use axum::Router;
use axum::extract::State;
use axum::routing::{get, post};

pub(super) fn routes() -> Router<Context> {
    Router::new()
        .route("/mysql", get(view))
        .route("/mysql/route", post(route))
        .route("/mysql/{service}/digests", get(digests))
        .route("/mysql/{service}/promote", post(promote))
        .route("/mysql/{service}/sessions/{number}/kill", post(kill))
}

async fn view(State(context): State<Context>) -> Answer<Vec<MysqlView>> {
    Ok(Json(context.look().await?.mysql))
}

async fn route(State(context): State<Context>, Json(question): Json<MysqlQuestion>) -> Answer<MysqlRoute> {
    context.ask(|reply| Command::RouteMysql(question, reply)).await.map(Json)
}

async fn digests(
    State(context): State<Context>,
    Path(service): Path<ServiceName>,
) -> Answer<Vec<MysqlDigest>> {
    context.ask(|reply| Command::ListDigests(service, reply)).await.map(Json)
}

async fn promote(
    State(context): State<Context>,
    Path(service): Path<ServiceName>,
    Json(promotion): Json<MysqlPromotion>,
) -> Answer<MysqlPromoted> {
    context.ask(|reply| Command::PromoteMysql(service, promotion, reply)).await.map(Json)
}

async fn kill(
    State(context): State<Context>,
    Path((service, number)): Path<(ServiceName, u32)>,
) -> Answer<MysqlKilled> {
    context.ask(|reply| Command::KillMysql(service, number, reply)).await.map(Json)
}
