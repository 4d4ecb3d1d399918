//! What the server asks the agent to do. Each command carries the way back for its answer.

use super::{
    ApiError, ApplyReport, ApplyRequest, BackendPatch, BackendSpec, ChangeOptions, FlowFilter, FlowList,
    ServiceSpec,
};
use crate::model::{BackendName, ServiceName};
use tokio::sync::oneshot;

/// The way back.
pub type Reply<T> = oneshot::Sender<Result<T, ApiError>>;

/// A request to the agent.
#[derive(Debug)]
pub enum Command {
    /// Publish a fresh snapshot.
    Refresh(Reply<()>),
    /// Apply a configuration.
    Apply(ApplyRequest, Reply<ApplyReport>),
    /// Change one thing.
    Mutate(Mutation, ChangeOptions, Reply<ApplyReport>),
    /// List flows.
    ListFlows(FlowFilter, Reply<FlowList>),
}

/// A change of one thing.
#[derive(Clone, Debug, PartialEq)]
pub enum Mutation {
    /// A new service.
    AddService(ServiceSpec),
    /// A service goes.
    RemoveService(ServiceName),
    /// A new backend.
    AddBackend(ServiceName, BackendSpec),
    /// A backend's weight or state.
    SetBackend(ServiceName, BackendName, BackendPatch),
    /// A backend goes.
    RemoveBackend(ServiceName, BackendName),
}
