//! Words of `lbctl tui`.

use clap::Args;

/// The terminal UI.
#[derive(Debug, Args)]
pub struct TuiArgs {
    /// Let keys change things: drain, ready, maint, weight, failover. Each asks before it does.
    #[arg(long)]
    pub write: bool,
    /// A node to follow: its socket's name in /run/lbctl without .sock, or the socket's path; may be given several times [default: all that are found].
    #[arg(long = "node", value_name = "NODE")]
    pub nodes: Vec<String>,
}
