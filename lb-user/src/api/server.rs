//! The server: HTTP on a Unix socket. Checks who asks, turns requests into commands, and answers with what
//! the agent says. Holds nothing itself.

pub use super::peer::Policy;
use super::peer::{Peer, Right};
mod connections;
mod metrics;
mod mysql;
mod status_page;
mod streams;

pub use metrics::serve_metrics;

use super::{
    ApiError, ApplyReport, ApplyRequest, BackendPatch, BackendSpec, BackendView, ChangeOptions, CheckView,
    Command, Confirmed, CountersView, DroppedFilter, DroppedList, ErrorKind, Event, ExplainQuestion,
    Explanation, FirewallAnswer, FirewallQuestion, FirewallView, FlowFilter, FlowList, Guide,
    HandOverRequest, HandedOver, Mutation, ProbeView, ReloadedService, Reply, RuleSpec, ServicePatch,
    ServiceSpec, ServiceView, Snapshot, Status, SyncView, UpgradeRequest, UpgradeStarted, VrrpView,
};
use crate::model::{BackendName, RuleName, ServiceName};
use axum::Router;
use axum::extract::rejection::{JsonRejection, PathRejection, QueryRejection};
use axum::extract::{ConnectInfo, FromRequest, FromRequestParts, Request, State};
use axum::http::{Method, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, patch, post};
use tokio::net::UnixListener;
use tokio::sync::{broadcast, mpsc, oneshot};

/// What the server works with.
#[derive(Clone)]
pub struct Context {
    /// To the agent.
    pub commands: mpsc::Sender<Command>,
    /// Events to come.
    pub events: broadcast::Sender<Event>,
    /// Who may do what.
    pub policy: Policy,
}

#[derive(FromRequest)]
#[from_request(via(axum::Json), rejection(ApiError))]
struct Json<T>(T);

#[derive(FromRequestParts)]
#[from_request(via(axum::extract::Query), rejection(ApiError))]
struct Query<T>(T);

#[derive(FromRequestParts)]
#[from_request(via(axum::extract::Path), rejection(ApiError))]
struct Path<T>(T);

impl<T: serde::Serialize> IntoResponse for Json<T> {
    fn into_response(self) -> Response {
        axum::Json(self.0).into_response()
    }
}

impl From<JsonRejection> for ApiError {
    fn from(rejection: JsonRejection) -> Self {
        Self::new(ErrorKind::Invalid, rejection.body_text())
    }
}

impl From<QueryRejection> for ApiError {
    fn from(rejection: QueryRejection) -> Self {
        Self::new(ErrorKind::Invalid, rejection.body_text())
    }
}

impl From<PathRejection> for ApiError {
    fn from(rejection: PathRejection) -> Self {
        Self::new(ErrorKind::Invalid, rejection.body_text())
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let status = match self.kind {
            ErrorKind::Invalid => StatusCode::BAD_REQUEST,
            ErrorKind::Forbidden => StatusCode::FORBIDDEN,
            ErrorKind::NotFound => StatusCode::NOT_FOUND,
            ErrorKind::BadMethod => StatusCode::METHOD_NOT_ALLOWED,
            ErrorKind::Conflict => StatusCode::CONFLICT,
            ErrorKind::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        };
        (status, axum::Json(self)).into_response()
    }
}

type Answer<T> = Result<Json<T>, ApiError>;

impl Context {
    async fn ask<T>(&self, command: impl FnOnce(Reply<T>) -> Command) -> Result<T, ApiError> {
        let gone = || ApiError::new(ErrorKind::Internal, "the agent is stopping");
        let (reply, answer) = oneshot::channel();
        self.commands.send(command(reply)).await.map_err(|_| gone())?;
        answer.await.map_err(|_| gone())?
    }

    async fn look(&self) -> Result<Snapshot, ApiError> {
        self.ask(Command::Look).await
    }

    async fn change(&self, mutation: Mutation, options: ChangeOptions) -> Answer<ApplyReport> {
        self.ask(|reply| Command::Mutate(mutation, options, reply)).await.map(Json)
    }
}

/// Serves until the task is dropped.
pub async fn serve(listener: UnixListener, context: Context) -> std::io::Result<()> {
    axum::serve(listener, router(context).into_make_service_with_connect_info::<Peer>()).await
}

fn router(context: Context) -> Router {
    let v1 = Router::new()
        .route("/snapshot", get(snapshot))
        .route("/status", get(status))
        .route("/services", get(services).post(add_service))
        .route("/services/{service}", get(service).patch(set_service).delete(remove_service))
        .route("/services/{service}/guide", get(guide))
        .route("/services/{service}/probe", post(probe))
        .route("/services/{service}/backends", post(add_backend))
        .route(
            "/services/{service}/backends/{backend}",
            patch(set_backend).get(backend).delete(remove_backend),
        )
        .route("/health", get(health))
        .route("/counters", get(counters))
        .route("/flows", get(flows))
        .route("/events", get(streams::events))
        .route("/config", post(apply))
        .route("/firewall", get(firewall))
        .route("/firewall/test", get(test_firewall))
        .route("/firewall/dropped", get(dropped))
        .route("/firewall/rules", post(add_rule))
        .route("/firewall/rules/{rule}", delete(remove_rule))
        .route("/confirm", post(confirm))
        .route("/certificates/reload", post(reload_certificates))
        .route("/upgrade", post(upgrade))
        .merge(mysql::routes())
        .merge(connections::routes())
        .route("/sync", get(sync))
        .route("/vrrp", get(vrrp))
        .route("/vrrp/failover", post(hand_over))
        .route("/trace", post(streams::trace))
        .route("/explain", get(explain))
        .method_not_allowed_fallback(no_such_method);
    Router::new()
        .nest(super::V1, v1)
        .fallback(nothing_here)
        .layer(middleware::from_fn_with_state(context.clone(), check_right))
        .with_state(context)
}

async fn check_right(
    State(context): State<Context>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    request: Request,
    next: Next,
) -> Response {
    let needed = needed_for(request.method());
    if context.policy.right_of(peer) < needed {
        let what = if needed == Right::Read { "look" } else { "change things" };
        let message =
            format!("you may not {what}: be root, or join the group of [control] in the configuration");
        return ApiError::new(ErrorKind::Forbidden, message).into_response();
    }
    next.run(request).await
}

fn needed_for(method: &Method) -> Right {
    match *method {
        Method::GET | Method::HEAD => Right::Read,
        _ => Right::Write,
    }
}

async fn no_such_method(request: Request) -> ApiError {
    // This router does not see the prefix that it lies under.
    let (method, prefix, path) = (request.method(), super::V1, request.uri().path());
    ApiError::new(ErrorKind::BadMethod, format!("{prefix}{path} has no method {method}; see docs/api.md"))
}

async fn nothing_here(request: Request) -> ApiError {
    ApiError::not_found(format!("there is no {} {}; see docs/api.md", request.method(), request.uri().path()))
}

async fn snapshot(State(context): State<Context>) -> Answer<Snapshot> {
    context.look().await.map(Json)
}

async fn status(State(context): State<Context>) -> Answer<Status> {
    Ok(Json(context.look().await?.status))
}

async fn services(State(context): State<Context>) -> Answer<Vec<ServiceView>> {
    Ok(Json(context.look().await?.services))
}

async fn service(State(context): State<Context>, Path(name): Path<ServiceName>) -> Answer<ServiceView> {
    find_service(&context.look().await?, &name).cloned().map(Json)
}

async fn guide(State(context): State<Context>, Path(name): Path<ServiceName>) -> Answer<Guide> {
    context.ask(|reply| Command::Guide(name, reply)).await.map(Json)
}

async fn probe(State(context): State<Context>, Path(name): Path<ServiceName>) -> Answer<Vec<ProbeView>> {
    context.ask(|reply| Command::Probe(name, reply)).await.map(Json)
}

fn find_service<'a>(snapshot: &'a Snapshot, name: &ServiceName) -> Result<&'a ServiceView, ApiError> {
    let found = snapshot.services.iter().find(|service| service.name == *name);
    found.ok_or_else(|| {
        let names: Vec<_> = snapshot.services.iter().map(|service| service.name.as_str()).collect();
        ApiError::not_found(format!("there is no service {name}; there are: {}", names.join(", ")))
    })
}

async fn backend(
    State(context): State<Context>,
    Path((service, name)): Path<(ServiceName, BackendName)>,
) -> Answer<BackendView> {
    let snapshot = context.look().await?;
    let service = find_service(&snapshot, &service)?;
    let found = service.backends.iter().find(|backend| backend.name == name);
    let missing = || {
        let names: Vec<_> = service.backends.iter().map(|backend| backend.name.as_str()).collect();
        let all = names.join(", ");
        ApiError::not_found(format!("service {} has no backend {name}; there are: {all}", service.name))
    };
    found.cloned().map(Json).ok_or_else(missing)
}

/// The checks of all addresses, one by one.
async fn health(State(context): State<Context>) -> Answer<Vec<CheckView>> {
    let services = context.look().await?.services;
    Ok(Json(services.iter().flat_map(|service| &service.backends).flat_map(checks).collect()))
}

fn checks(backend: &BackendView) -> impl Iterator<Item = CheckView> {
    backend.addresses.iter().map(|address| CheckView {
        service: backend.service.clone(),
        backend: backend.name.clone(),
        address: address.address,
        state: backend.state,
        health: address.health,
        last_check: address.last_check.clone(),
        last_check_us: address.last_check_us,
    })
}

async fn counters(State(context): State<Context>) -> Answer<CountersView> {
    Ok(Json(context.look().await?.counters))
}

async fn flows(State(context): State<Context>, Query(filter): Query<FlowFilter>) -> Answer<FlowList> {
    context.ask(|reply| Command::ListFlows(filter, reply)).await.map(Json)
}

async fn add_service(
    State(context): State<Context>,
    Query(options): Query<ChangeOptions>,
    Json(spec): Json<ServiceSpec>,
) -> Answer<ApplyReport> {
    context.change(Mutation::AddService(spec), options).await
}

async fn set_service(
    State(context): State<Context>,
    Path(name): Path<ServiceName>,
    Query(options): Query<ChangeOptions>,
    Json(patch): Json<ServicePatch>,
) -> Answer<ApplyReport> {
    context.change(Mutation::SetService(name, patch), options).await
}

async fn remove_service(
    State(context): State<Context>,
    Path(name): Path<ServiceName>,
    Query(options): Query<ChangeOptions>,
) -> Answer<ApplyReport> {
    context.change(Mutation::RemoveService(name), options).await
}

async fn add_backend(
    State(context): State<Context>,
    Path(service): Path<ServiceName>,
    Query(options): Query<ChangeOptions>,
    Json(spec): Json<BackendSpec>,
) -> Answer<ApplyReport> {
    context.change(Mutation::AddBackend(service, spec), options).await
}

async fn set_backend(
    State(context): State<Context>,
    Path((service, backend)): Path<(ServiceName, BackendName)>,
    Query(options): Query<ChangeOptions>,
    Json(patch): Json<BackendPatch>,
) -> Answer<ApplyReport> {
    context.change(Mutation::SetBackend(service, backend, patch), options).await
}

async fn remove_backend(
    State(context): State<Context>,
    Path((service, backend)): Path<(ServiceName, BackendName)>,
    Query(options): Query<ChangeOptions>,
) -> Answer<ApplyReport> {
    context.change(Mutation::RemoveBackend(service, backend), options).await
}

async fn apply(State(context): State<Context>, Json(request): Json<ApplyRequest>) -> Answer<ApplyReport> {
    context.ask(|reply| Command::Apply(request, reply)).await.map(Json)
}

async fn firewall(State(context): State<Context>) -> Answer<FirewallView> {
    context.ask(Command::LookAtFirewall).await.map(Json)
}

async fn dropped(State(context): State<Context>, Query(filter): Query<DroppedFilter>) -> Answer<DroppedList> {
    context.ask(|reply| Command::ListDropped(filter, reply)).await.map(Json)
}

async fn test_firewall(
    State(context): State<Context>,
    Query(question): Query<FirewallQuestion>,
) -> Answer<FirewallAnswer> {
    context.ask(|reply| Command::TestFirewall(question, reply)).await.map(Json)
}

async fn explain(
    State(context): State<Context>,
    Query(question): Query<ExplainQuestion>,
) -> Answer<Explanation> {
    context.ask(|reply| Command::Explain(question, reply)).await.map(Json)
}

async fn add_rule(
    State(context): State<Context>,
    Query(options): Query<ChangeOptions>,
    Json(spec): Json<RuleSpec>,
) -> Answer<ApplyReport> {
    context.change(Mutation::AddRule(spec), options).await
}

async fn remove_rule(
    State(context): State<Context>,
    Path(name): Path<RuleName>,
    Query(options): Query<ChangeOptions>,
) -> Answer<ApplyReport> {
    context.change(Mutation::RemoveRule(name), options).await
}

async fn sync(State(context): State<Context>) -> Answer<SyncView> {
    Ok(Json(context.look().await?.sync))
}

async fn vrrp(State(context): State<Context>) -> Answer<VrrpView> {
    Ok(Json(context.look().await?.vrrp))
}

async fn hand_over(
    State(context): State<Context>,
    Json(request): Json<HandOverRequest>,
) -> Answer<HandedOver> {
    context.ask(|reply| Command::HandOver(request, reply)).await.map(Json)
}

async fn reload_certificates(State(context): State<Context>) -> Answer<Vec<ReloadedService>> {
    context.ask(Command::ReloadCertificates).await.map(Json)
}

async fn upgrade(
    State(context): State<Context>,
    Json(request): Json<UpgradeRequest>,
) -> Answer<UpgradeStarted> {
    context.ask(|reply| Command::Upgrade(request, reply)).await.map(Json)
}

async fn confirm(State(context): State<Context>) -> Answer<Confirmed> {
    context.ask(Command::Confirm).await.map(Json)
}

#[cfg(test)]
mod tests;
