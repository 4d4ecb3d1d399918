//! lbctl's userspace: configuration, the sans-IO core, the shells around it, the agent, its control API,
//! the command line and the terminal UI.
//!
//! `docs/ARCHITECTURE.md` has the map and the rules between these rooms; `cargo xtask tidy` checks them.

pub mod agent;
pub mod api;
#[cfg(test)]
mod blessed;
pub mod cli;
pub mod config;
pub mod core;
pub mod io;
pub mod model;
pub mod tui;
