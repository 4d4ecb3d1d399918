//! `COM_STMT_EXECUTE` and MariaDB's `COM_STMT_BULK_EXECUTE`.
//!
//! Owns finding the types of the parameters, which clients send with the first execution only, and putting
//! them in for a backend that has not seen them. MySQL protocol: `COM_STMT_EXECUTE`; MariaDB protocol:
//! `COM_STMT_BULK_EXECUTE`.

use std::ops::Range;

use super::super::capabilities::Capabilities;
use super::super::packet::{ReadError, Reader};
use super::{Command, CommandError};

/// The parts of a `COM_STMT_EXECUTE` payload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Execute {
    /// The statement's id.
    pub statement: u32,
    /// Cursor type, and whether the number of parameters is in the packet.
    pub flags: u8,
    /// Parameters in the packet: those of the statement, and attributes of the query after them.
    pub parameters: usize,
    /// Where the bitmap of NULLs is; empty without parameters.
    pub nulls: Range<usize>,
    /// Whether the packet has the parameters' types.
    pub types_sent: bool,
    /// Where the types are: two bytes each, with the name after each when `QUERY_ATTRIBUTES` was agreed.
    /// Empty, at their place, when they were not sent.
    pub types: Range<usize>,
    /// Where the values are.
    pub values: Range<usize>,
}

/// The most parameters a statement has.
const MAX_PARAMETERS: u64 = 0xffff;

impl Execute {
    /// In the flags: a cursor, to read from.
    pub const CURSOR_READ_ONLY: u8 = 1;
    /// In the flags: the number of parameters is in the packet, even when the statement has none.
    pub const PARAMETER_COUNT_AVAILABLE: u8 = 8;

    /// Reads the payload, for a statement with `parameters` parameters, of a client with `capabilities`.
    pub fn parse(payload: &[u8], parameters: u16, capabilities: Capabilities) -> Result<Self, CommandError> {
        let mut reader = Reader::new(payload);
        let command = reader.u8()?;
        if command != Command::StmtExecute.byte() {
            return Err(CommandError::Another(command));
        }
        let statement = reader.u32()?;
        let flags = reader.u8()?;
        reader.u32()?;
        let named = capabilities.contains(Capabilities::QUERY_ATTRIBUTES);
        let mut count = usize::from(parameters);
        if named && (count > 0 || flags & Self::PARAMETER_COUNT_AVAILABLE != 0) {
            let sent = reader.lenenc_int()?;
            if sent > MAX_PARAMETERS {
                return Err(CommandError::Malformed(ReadError::TooLong(sent)));
            }
            count = usize::try_from(sent).map_err(|_| ReadError::TooLong(sent))?;
        }
        let end = payload.len();
        let none = reader.position()..reader.position();
        let mut execute = Self {
            statement,
            flags,
            parameters: count,
            nulls: none.clone(),
            types_sent: false,
            types: none,
            values: reader.position()..end,
        };
        if count > 0 {
            execute.nulls = reader.position()..reader.position().saturating_add(count.div_ceil(8));
            reader.bytes(count.div_ceil(8))?;
            execute.types_sent = reader.u8()? != 0;
            execute.types = reader.position()..reader.position();
            if execute.types_sent {
                skip_types(&mut reader, count, named)?;
                execute.types.end = reader.position();
            }
            execute.values = reader.position()..end;
        }
        Ok(execute)
    }

    /// The types as the packet has them, to be kept for later executions; `None` when they were not sent.
    pub fn types_of<'a>(&self, payload: &'a [u8]) -> Option<&'a [u8]> {
        self.types_sent.then(|| payload.get(self.types.clone())).flatten()
    }

    /// The payload with `types` in it, which an earlier execution sent with `parameters` parameters, for a
    /// backend that does not know them. A payload that has types, or needs none, is returned as it is.
    pub fn with_types(
        &self,
        payload: &[u8],
        types: &[u8],
        parameters: usize,
    ) -> Result<Vec<u8>, CommandError> {
        if self.types_sent || self.parameters == 0 {
            return Ok(payload.to_vec());
        }
        if parameters != self.parameters || types.len() < parameters.saturating_mul(2) {
            return Err(CommandError::Types);
        }
        let before = payload.get(..self.nulls.end).ok_or(ReadError::Truncated)?;
        let values = payload.get(self.values.clone()).ok_or(ReadError::Truncated)?;
        Ok([before, &[1], types, values].concat())
    }

    /// Whether a cursor is asked for.
    pub fn wants_cursor(&self) -> bool {
        self.flags & !Self::PARAMETER_COUNT_AVAILABLE != 0
    }
}

/// The parts of a `COM_STMT_BULK_EXECUTE` payload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BulkExecute {
    /// The statement's id.
    pub statement: u32,
    /// What the packet has and asks for.
    pub flags: u16,
    /// Where the types are, two bytes each; empty, at their place, when they were not sent.
    pub types: Range<usize>,
}

impl BulkExecute {
    /// In the flags: a result set of the single results is wanted (MariaDB ≥ 11.5).
    pub const SEND_UNIT_RESULTS: u16 = 64;
    /// In the flags: types are in the packet.
    pub const SEND_TYPES: u16 = 128;
    const TYPES_AT: usize = 7;

    /// Reads the payload, for a statement with `parameters` parameters.
    pub fn parse(payload: &[u8], parameters: u16) -> Result<Self, CommandError> {
        let mut reader = Reader::new(payload);
        let command = reader.u8()?;
        if command != Command::StmtBulkExecute.byte() {
            return Err(CommandError::Another(command));
        }
        let (statement, flags) = (reader.u32()?, reader.u16()?);
        let mut types = Self::TYPES_AT..Self::TYPES_AT;
        if flags & Self::SEND_TYPES != 0 {
            reader.bytes(usize::from(parameters).saturating_mul(2))?;
            types.end = reader.position();
        }
        Ok(Self { statement, flags, types })
    }

    /// The payload with `types` in it, for a backend that does not know them.
    pub fn with_types(&self, payload: &[u8], types: &[u8]) -> Result<Vec<u8>, CommandError> {
        if self.flags & Self::SEND_TYPES != 0 {
            return Ok(payload.to_vec());
        }
        let flags = (self.flags | Self::SEND_TYPES).to_le_bytes();
        let before = payload.get(..Self::TYPES_AT.saturating_sub(2)).ok_or(ReadError::Truncated)?;
        let after = payload.get(Self::TYPES_AT..).ok_or(ReadError::Truncated)?;
        Ok([before, &flags, types, after].concat())
    }
}

fn skip_types(reader: &mut Reader<'_>, count: usize, named: bool) -> Result<(), ReadError> {
    if !named {
        return reader.bytes(count.saturating_mul(2)).map(|_| ());
    }
    for _ in 0..count {
        reader.u16()?;
        reader.lenenc_bytes()?;
    }
    Ok(())
}

/// Skips one value of the binary protocol. MySQL protocol: Binary Protocol Resultset, "Binary Protocol Value".
pub(super) fn skip_value(reader: &mut Reader<'_>, kind: u8) -> Result<(), CommandError> {
    let fixed = match kind {
        // NULL
        6 => 0,
        // TINY, BOOL
        1 | 244 => 1,
        // SHORT, YEAR
        2 | 13 => 2,
        // LONG, FLOAT, INT24
        3 | 4 | 9 => 4,
        // DOUBLE, LONGLONG
        5 | 8 => 8,
        // TIMESTAMP, DATE, TIME, DATETIME: one byte of length
        7 | 10 | 11 | 12 => usize::from(reader.u8()?),
        // DECIMAL, VARCHAR, BIT, VECTOR, JSON, NEWDECIMAL, ENUM, SET, the BLOBs, VAR_STRING, STRING, GEOMETRY
        0 | 15 | 16 | 242 | 245..=255 => {
            reader.lenenc_bytes()?;
            0
        }
        other => return Err(CommandError::ParameterType(other)),
    };
    reader.bytes(fixed)?;
    Ok(())
}
