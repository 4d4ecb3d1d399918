//! Failures as they go over the wire.

use serde::{Deserialize, Serialize};
use std::fmt;

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
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ApiError {
    /// Its kind.
    pub kind: ErrorKind,
    /// What is wrong, where, and the way out.
    pub message: String,
    /// The same with the lines of the file that it is about, for who may see them: no log is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shown: Option<String>,
}

impl ApiError {
    /// A failure.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), shown: None }
    }

    /// Something that is not there.
    pub fn not_found(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::NotFound, message)
    }
}

/// In words; with `{:#}` as it may be shown to who asked.
impl fmt::Display for ApiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = self.shown.as_ref().filter(|_| f.alternate());
        f.write_str(shown.unwrap_or(&self.message))
    }
}

impl std::error::Error for ApiError {}
