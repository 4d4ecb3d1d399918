//! What the agent's log tells.

use crate::model::{LogFilter, LogFormat};
use serde::{Deserialize, Serialize};

/// `GET /v1/log`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogView {
    /// What is told now.
    pub level: LogFilter,
    /// What the configuration wants.
    pub configured: LogFilter,
    /// In which form.
    pub format: LogFormat,
}

/// `PATCH /v1/log`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LogPatch {
    /// What is told from now on, until the agent's end or a change of the configuration's level. `null`: what the configuration wants.
    pub level: Option<LogFilter>,
}
