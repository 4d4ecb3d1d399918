//! How nodes tell each other about flows, so that connections outlive the node that carried them.
//!
//! `copy` is a flow as it is told: what a node needs to go on with it, in terms that both understand. `datagram` is the front of what
//! carries it, `heard` what it says, `seal` its end, `introduction` what nodes say of themselves, `session` what was told and what was heard
//! of that, `waiting` what
//! is still to be told. Never reads a table, a socket or a clock.

mod copy;
mod datagram;
mod heard;
mod introduction;
mod seal;
mod session;
mod snapshot;
mod waiting;

pub use copy::{Change, CopyError, FlowCopy};
pub use datagram::DatagramError;
pub use heard::Heard;
pub use introduction::{ACTIVE_MAX, Introduction};
pub use seal::SyncKey;
pub use session::Session;
pub use snapshot::Walk;
