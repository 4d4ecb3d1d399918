//! The userspace proxy, as far as it needs no sockets: which backend a connection gets, and the bytes that come before its data.

mod balance;
mod client_hello;
mod header;
mod names;
mod redirect;
mod tls_fields;

pub use balance::{Ask, Choice, Table, TableBackend};
pub use client_hello::{ClientHello, HELLO_BYTES_MAX, NoClientHello, peek};
pub use header::{HEADER_BYTES_MAX, Header, HeaderError, parse, write};
pub use names::Tables;
pub use redirect::{HEAD_BYTES_MAX, NoRequest, RequestAnswer, redirect};
pub use tls_fields::TlsTold;
