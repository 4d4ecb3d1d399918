//! How nodes tell each other about flows, so that connections outlive the node that carried them.
//!
//! `copy` is a flow as it is told: what a node needs to go on with it, in terms that both understand. Never reads a table,
//! a socket or a clock.

mod copy;

pub use copy::{Change, CopyError, FlowCopy};
