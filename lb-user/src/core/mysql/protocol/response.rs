//! Responses: what a server sends after a command.
//!
//! Owns the layout of OK, EOF and ERR packets, and [`ResponseTracker`], which finds the end of a response in
//! the stream. Never looks into rows and never holds a connection.

mod column_count;
mod eof;
mod err;
mod errors;
mod ok;
mod phase;
mod piece;
mod prepared;
mod rows;
mod session;
mod tracker;

use thiserror::Error;

use super::packet::ReadError;

pub use column_count::ColumnCount;
pub use eof::EofPacket;
pub use err::{ErrPacket, PROGRESS_CODE};
pub use errors::ServerError;
pub use ok::OkPacket;
pub use piece::{Piece, RawPacket};
pub use prepared::PreparedStatement;
pub use rows::{TextAnswer, TextReader, TextRow};
pub use session::{SessionChange, SessionChanges};
pub use tracker::ResponseTracker;

/// Why a response was not understood. The connection is of no more use: where the next response begins is
/// not known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum ResponseError {
    /// A packet is broken.
    #[error("a packet of the server is malformed: {0}")]
    Malformed(#[from] ReadError),
    /// A packet begins with a byte that cannot stand here.
    #[error("a packet of the server begins with 0x{0:02x}, which cannot stand here")]
    Unexpected(u8),
    /// A packet without a payload, where one is due.
    #[error("the server sent an empty packet where an answer was due")]
    Empty,
    /// A packet that is not a row is over 16 MB.
    #[error("the server sent a control packet of more than 16 MB")]
    TooLong,
    /// Bytes came after the end of the response.
    #[error("the server sent more after the end of its response")]
    AfterTheEnd,
}

#[cfg(test)]
mod tests;
