//! The userspace proxy, as far as it needs no sockets: which backend a connection gets, and the header that tells who a client is.

mod balance;
mod header;

pub use balance::{Ask, Choice, Table, TableBackend};
pub use header::{HEADER_BYTES_MAX, Header, HeaderError, parse, write};
