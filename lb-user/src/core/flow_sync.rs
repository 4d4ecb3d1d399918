//! How nodes tell each other about flows, so that connections outlive the node that carried them.
//!
//! `copy` is a flow as it is told: what a node needs to go on with it, in terms that both understand. `datagram` is the front of what
//! carries it, `session` what was told, what was heard of that, and what is still to be told. Never reads a table, a socket or a clock.

mod copy;
mod datagram;
mod session;

pub use copy::{Change, CopyError, FlowCopy};
pub use datagram::DatagramError;
pub use session::{Heard, Session, Walk};
