//! The handshake: the packets of the login, before the first command.
//!
//! Owns their layout on both sides. Never checks a password: that is [`super::auth`]'s.

mod change_user;
mod initial;
mod response;
mod switch;

use thiserror::Error;

use super::packet::ReadError;

pub use change_user::ChangeUser;
pub use initial::InitialHandshake;
pub use response::{ClientHello, HandshakeResponse, SslRequest};
pub use switch::{AuthMoreData, AuthSwitchRequest};

/// Why a packet of the login was not understood.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum HandshakeError {
    /// A field is broken.
    #[error("a packet of the login is malformed: {0}")]
    Malformed(#[from] ReadError),
    /// The server speaks another version of the protocol than 10.
    #[error("the server speaks version {0} of the protocol; only version 10 is supported")]
    Version(u8),
    /// The client speaks the protocol of before MySQL 4.1.
    #[error("the client speaks the protocol of before MySQL 4.1")]
    ClientTooOld,
    /// The server asks for the password as it was hashed before MySQL 4.1.
    #[error("the server asks for a password in the format of before MySQL 4.1")]
    OldPassword,
    /// Another packet was due.
    #[error("a packet that begins with 0x{0:02x} came in the midst of the login")]
    Unexpected(u8),
}

#[cfg(test)]
mod tests;
