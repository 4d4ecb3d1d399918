//! `[service.NAME.mysql]`: who may log in, and where statements run.

use crate::model::Consistency;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

/// A service of MySQL or MariaDB: mode `mysql`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MysqlTerms {
    /// How recent what a replica answers has to be.
    pub consistency: Consistency,
    /// A replica that is further behind answers nothing.
    pub max_lag: Duration,
    /// How long a read may wait until a replica is recent enough; then the primary answers it.
    pub max_wait: Duration,
    /// After so long without a command a session lends its connections to others; `None`: never.
    pub multiplex_after: Option<Duration>,
    /// A statement that takes as long is written into the log; `None`: none is.
    pub slow_log: Option<Duration>,
    /// Who looks at the backends, and how often.
    pub monitor: MysqlMonitor,
    /// As whom backends replicate from each other, where one is to take another's place.
    pub replication: Option<MysqlUser>,
    /// Who may log in.
    pub users: Vec<MysqlUser>,
    /// Others may, too, whose passwords the backends know: clients have to send them in secret.
    pub passthrough: bool,
}

/// Who looks at backends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MysqlMonitor {
    /// A user that all backends know.
    pub user: String,
    /// Its password.
    pub password: Secret,
    /// From one look to the next.
    pub interval: Duration,
}

/// A user of the service, by the same name and password as at the backends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MysqlUser {
    /// The name.
    pub name: String,
    /// The password.
    pub password: Secret,
}

/// A password, or where it is.
#[derive(Clone, PartialEq, Eq)]
pub enum Secret {
    /// This.
    Inline(String),
    /// The content of a file, without the line's end.
    File(PathBuf),
    /// What a variable of the agent's environment holds.
    Environment(String),
}

impl Secret {
    /// As a file of configuration has it.
    pub(in crate::config) fn text(&self) -> String {
        match self {
            Self::Inline(password) => password.clone(),
            Self::File(path) => format!("file:{}", path.display()),
            Self::Environment(name) => format!("env:{name}"),
        }
    }
}

/// Never shows a password.
impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Inline(_) => f.write_str("(hidden)"),
            other => f.write_str(&other.text()),
        }
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for MysqlTerms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let time = humantime::format_duration;
        write!(f, "consistency {}, max_lag {}", self.consistency, time(self.max_lag))?;
        write!(
            f,
            ", max_wait {}, monitor {} {} every {}",
            time(self.max_wait),
            self.monitor.user,
            self.monitor.password,
            time(self.monitor.interval)
        )?;
        if let Some(after) = self.multiplex_after {
            write!(f, ", multiplex_after {}", time(after))?;
        }
        if let Some(slow_log) = self.slow_log {
            write!(f, ", slow_log {}", time(slow_log))?;
        }
        f.write_str(", users ")?;
        super::write_list(f, &self.users)?;
        if let Some(user) = &self.replication {
            write!(f, ", replication {user}")?;
        }
        if self.passthrough { f.write_str(", auth passthrough") } else { Ok(()) }
    }
}

impl fmt::Display for MysqlUser {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.name, self.password)
    }
}
