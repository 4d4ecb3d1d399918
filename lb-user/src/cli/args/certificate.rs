//! `lbctl cert …`.

use clap::Subcommand;

/// Certificates.
#[derive(Debug, Subcommand)]
pub enum CertCommand {
    /// Show those in force, what they are for and how long they last.
    List,
    /// Read all files again. The agent does that by itself when they change.
    Reload,
}
