//! What a tracker hands on: pieces of a response.
//!
//! Owns the kinds of pieces. All pieces of a response together are its bytes, in order and each once.

use std::borrow::Cow;

use super::super::packet::{HEADER_LENGTH, Header, frame};
use super::{ColumnCount, EofPacket, ErrPacket, OkPacket, PreparedStatement};

/// One packet as it stood on the wire, header included.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RawPacket<'a> {
    bytes: Cow<'a, [u8]>,
}

impl<'a> RawPacket<'a> {
    pub(super) fn new(bytes: Cow<'a, [u8]>) -> Self {
        Self { bytes }
    }

    /// The bytes to pass on.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The payload.
    pub fn payload(&self) -> &[u8] {
        self.bytes.get(HEADER_LENGTH..).unwrap_or_default()
    }

    /// The sequence id.
    pub fn sequence(&self) -> u8 {
        Header::parse(&self.bytes).map_or(0, |header| header.sequence)
    }

    /// The same packet with bytes of its own.
    pub fn into_owned(self) -> RawPacket<'static> {
        RawPacket { bytes: Cow::Owned(self.bytes.into_owned()) }
    }

    /// The packet with another payload, framed with the same sequence id. A payload of 16 MB or more takes
    /// more packets and so moves the ids of those that follow; no OK packet is that long.
    pub fn with_payload(&self, payload: &[u8]) -> Vec<u8> {
        frame(self.sequence(), payload)
    }

    /// The packet with another statement id at its place: for [`Piece::Prepared`].
    pub fn with_statement_id(&self, id: u32) -> Vec<u8> {
        let mut payload = self.payload().to_vec();
        super::prepared::put_statement_id(&mut payload, id);
        self.with_payload(&payload)
    }
}

/// A piece of a response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece<'a> {
    /// Bytes to pass on as they are: rows, column definitions, and parts of them.
    Forward(Cow<'a, [u8]>),
    /// A result set begins.
    ResultSet(ColumnCount, RawPacket<'a>),
    /// A success, or the end of a result set for a client with `DEPRECATE_EOF`.
    Ok(OkPacket, RawPacket<'a>),
    /// The end of columns or of rows.
    Eof(EofPacket, RawPacket<'a>),
    /// An error: the end of the response.
    Err(ErrPacket, RawPacket<'a>),
    /// A statement was prepared. Its id may be rewritten with [`RawPacket::with_statement_id`].
    Prepared(PreparedStatement, RawPacket<'a>),
    /// The server wants a file of the client: the client sends packets until an empty one, and then the
    /// response goes on.
    LocalInfile {
        /// The name of the file.
        name: Vec<u8>,
        /// The packet.
        raw: RawPacket<'a>,
    },
    /// A report of progress (MariaDB), which ends nothing.
    Progress(RawPacket<'a>),
    /// The server goes on with a login (`COM_CHANGE_USER`), and waits for the client's next packet.
    Login(RawPacket<'a>),
    /// A bare text (`COM_STATISTICS`).
    Text(RawPacket<'a>),
}

impl Piece<'_> {
    /// The same piece with bytes of its own.
    pub fn into_owned(self) -> Piece<'static> {
        match self {
            Self::Forward(bytes) => Piece::Forward(Cow::Owned(bytes.into_owned())),
            Self::ResultSet(count, raw) => Piece::ResultSet(count, raw.into_owned()),
            Self::Ok(packet, raw) => Piece::Ok(packet, raw.into_owned()),
            Self::Eof(packet, raw) => Piece::Eof(packet, raw.into_owned()),
            Self::Err(packet, raw) => Piece::Err(packet, raw.into_owned()),
            Self::Prepared(statement, raw) => Piece::Prepared(statement, raw.into_owned()),
            Self::LocalInfile { name, raw } => Piece::LocalInfile { name, raw: raw.into_owned() },
            Self::Progress(raw) => Piece::Progress(raw.into_owned()),
            Self::Login(raw) => Piece::Login(raw.into_owned()),
            Self::Text(raw) => Piece::Text(raw.into_owned()),
        }
    }

    /// The bytes to pass on when nothing in them is to be changed.
    pub fn bytes(&self) -> &[u8] {
        match self {
            Self::Forward(bytes) => bytes,
            Self::ResultSet(_, raw)
            | Self::Ok(_, raw)
            | Self::Eof(_, raw)
            | Self::Err(_, raw)
            | Self::Prepared(_, raw)
            | Self::LocalInfile { raw, .. }
            | Self::Progress(raw)
            | Self::Login(raw)
            | Self::Text(raw) => raw.bytes(),
        }
    }
}
