//! `[agent]`: what the agent keeps of the rights it is started with.

use std::fmt;
use std::path::PathBuf;

/// The agent as a process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AgentTerms {
    /// Who it is once it has started.
    pub user: Option<String>,
    /// Whether it gives up what it does not need.
    pub confine: bool,
    /// Where it and the commands it runs may write, beside its own files.
    pub writable: Vec<PathBuf>,
}

impl Default for AgentTerms {
    fn default() -> Self {
        Self { user: None, confine: true, writable: Vec::new() }
    }
}

impl fmt::Display for AgentTerms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "user {}, confine {}", self.user.as_deref().unwrap_or("as started"), self.confine)?;
        let paths: Vec<_> = self.writable.iter().map(|path| path.display().to_string()).collect();
        if paths.is_empty() { Ok(()) } else { write!(f, ", writable {}", paths.join(", ")) }
    }
}
