//! Sessions of databases.
//!
//! Owns the keys of `[service.NAME.mysql]` and of the tables inside.

use serde::Deserialize;

use super::value::DurationText;

/// `[service.NAME.mysql]`
///
/// Sessions of databases.
#[derive(Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct FileMysql {
    /// text | `"session"` | `session`, `global`, `eventual`: [how recent](mysql.md#how-recent-answers-are) replicas'
    /// answers are
    pub(in crate::config) consistency: Option<String>,
    /// duration | `"10s"` | 1 ms to 1 day: a replica that is further behind answers nothing
    pub(in crate::config) max_lag: Option<DurationText>,
    /// duration | `"50ms"` | 0 to 60 s: how long a read waits for a replica
    pub(in crate::config) max_wait: Option<DurationText>,
    /// duration | none | 1 s to a day: after so long without a command a session [lends its
    /// connections](mysql.md#more-sessions-than-connections) to others
    pub(in crate::config) multiplex_after: Option<DurationText>,
    /// duration | none | 1 ms to a day: a statement that takes as long is written into the log, without its literals
    pub(in crate::config) slow_log: Option<DurationText>,
    /// text | `"configured"` | `configured`, `passthrough`: with the latter, users that are not listed here may log
    /// in with passwords that only the backends know
    pub(in crate::config) auth: Option<String>,
    /// table | required | as whom backends are [watched](#servicenamemysqlmonitor), and how often
    pub(in crate::config) monitor: Option<FileMysqlMonitor>,
    /// table | none | as whom backends [replicate](#servicenamemysqlreplication) from one that was promoted
    pub(in crate::config) replication: Option<FileMysqlReplication>,
    /// tables | required, one at least; none needed with `auth = "passthrough"` | `[[service.NAME.mysql.user]]`: [who
    /// may log in](#servicenamemysqluser)
    #[serde(default)]
    pub(in crate::config) user: Vec<FileMysqlUser>,
}

/// `[service.NAME.mysql.monitor]`
///
/// As whom backends are watched.
#[derive(Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct FileMysqlMonitor {
    /// text | required | a user that all backends know
    pub(in crate::config) user: Option<String>,
    /// text | required | its password, or where it is: `file:/PATH`, `env:NAME`
    pub(in crate::config) password: Option<String>,
    /// duration | `"500ms"` | from one question to each backend to the next; 50 ms to 60 s
    pub(in crate::config) interval: Option<DurationText>,
}

/// `[service.NAME.mysql.replication]`
///
/// As whom backends replicate from one that was promoted.
#[derive(Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct FileMysqlReplication {
    /// text | required | a user that may replicate from any backend
    pub(in crate::config) user: Option<String>,
    /// text | required | its password, or where it is: `file:/PATH`, `env:NAME`
    pub(in crate::config) password: Option<String>,
}

/// `[[service.NAME.mysql.user]]`
///
/// Somebody who may log in.
#[derive(Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct FileMysqlUser {
    /// text | required | the user's name as the backends know it; at most 128 characters; none twice
    pub(in crate::config) name: Option<String>,
    /// text | required | its password, or where it is: `file:/PATH`, `env:NAME`
    pub(in crate::config) password: Option<String>,
}
