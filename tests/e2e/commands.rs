//! The command line and the control API against running agents.

mod answers;
mod api;
mod changes;
mod configuration;
