//! Failures as they go over the wire.

use serde::{Deserialize, Serialize};

/// Kinds of failures, each with its HTTP status.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorKind {
    /// The request makes no sense: 400.
    Invalid,
    /// This peer may not: 403.
    Forbidden,
    /// There is no such thing: 404.
    NotFound,
    /// There is such a thing, but not to do this with: 405.
    BadMethod,
    /// It exists already, or something is in the way: 409.
    Conflict,
    /// The agent failed: 500.
    Internal,
}

/// A failure, as JSON.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct ApiError {
    /// Its kind.
    pub kind: ErrorKind,
    /// What is wrong, where, and the way out.
    pub message: String,
}

impl ApiError {
    /// A failure.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into() }
    }

    /// Something that is not there.
    pub fn not_found(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::NotFound, message)
    }
}
