//! Where in a response a tracker stands.
//!
//! Owns the order of packets in the response to every command, and which packets must be read. Sees payloads
//! only, one at a time; the stream is [`super::tracker`]'s.

use super::super::capabilities::Capabilities;
use super::super::command::Command;
use super::super::packet::MAX_PACKET;
use super::super::status::StatusFlags;
use super::{ColumnCount, EofPacket, ErrPacket, OkPacket, PreparedStatement, ResponseError};

/// What may come next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// The first packet of a result.
    Result,
    /// Column definitions of a result set.
    Columns { left: u64 },
    /// The EOF after them.
    ColumnsEnd,
    /// Rows, and the end of them.
    Rows,
    /// Definitions of a prepared statement's parameters or columns; `next` definitions follow them.
    Definitions { left: u16, next: u16 },
    /// The EOF after them.
    DefinitionsEnd { next: u16, metadata: bool },
    /// The answer to `COM_STMT_PREPARE`.
    Prepare,
    /// Column definitions without a count.
    FieldList,
    /// A bare text.
    Text,
    /// OK, EOF or ERR.
    Simple,
    /// The client sends a file, then OK or ERR comes.
    Infile,
    /// A login.
    Login,
    /// Events without end.
    Events,
    /// Nothing.
    Done,
}

/// A packet that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Found {
    ResultSet(ColumnCount),
    Ok(OkPacket),
    Eof(EofPacket),
    Err(ErrPacket),
    Prepared(PreparedStatement),
    LocalInfile(Vec<u8>),
    Progress,
    Login,
    Text,
}

/// The state machine of one response.
#[derive(Debug, Clone)]
pub(super) struct Machine {
    phase: Phase,
    command: Command,
    capabilities: Capabilities,
    status: Option<StatusFlags>,
    /// The rows being sent are OUT parameters, and another result follows them.
    more_after_rows: bool,
    /// A result set ended with an EOF, which has no room for changes of the session.
    hides_changes: bool,
}

const LOCAL_INFILE: u8 = 0xfb;
const LOGIN_DATA: u8 = 0x01;

impl Machine {
    pub(super) fn new(command: Command, capabilities: Capabilities) -> Self {
        let phase = match command {
            Command::Query | Command::StmtExecute | Command::StmtBulkExecute | Command::ProcessInfo => {
                Phase::Result
            }
            Command::StmtPrepare => Phase::Prepare,
            Command::StmtFetch => Phase::Rows,
            Command::FieldList => Phase::FieldList,
            Command::Statistics => Phase::Text,
            Command::ChangeUser => Phase::Login,
            Command::BinlogDump | Command::BinlogDumpGtid | Command::TableDump => Phase::Events,
            command if !command.has_response() => Phase::Done,
            _ => Phase::Simple,
        };
        Self { phase, command, capabilities, status: None, more_after_rows: false, hides_changes: false }
    }

    pub(super) fn is_done(&self) -> bool {
        self.phase == Phase::Done
    }

    pub(super) fn is_in_rows(&self) -> bool {
        self.phase == Phase::Rows
    }

    pub(super) fn awaits_infile(&self) -> bool {
        self.phase == Phase::Infile
    }

    pub(super) fn status(&self) -> Option<StatusFlags> {
        self.status
    }

    pub(super) fn hides_changes(&self) -> bool {
        self.hides_changes
    }

    /// Whether a payload that begins with `first` and has `length` bytes in its first packet must be read;
    /// any other is passed on unread.
    pub(super) fn must_read(&self, length: usize, first: Option<u8>) -> bool {
        match (self.phase, first) {
            (Phase::Rows, Some(EofPacket::MARKER)) => {
                length < if self.deprecates_eof() { MAX_PACKET } else { EofPacket::LENGTH_LIMIT }
            }
            (Phase::Events, Some(EofPacket::MARKER)) => length < EofPacket::LENGTH_LIMIT,
            (Phase::FieldList, Some(EofPacket::MARKER)) => true,
            (
                Phase::Rows
                | Phase::Events
                | Phase::FieldList
                | Phase::Columns { .. }
                | Phase::Definitions { .. },
                first,
            ) => first == Some(ErrPacket::MARKER),
            _ => true,
        }
    }

    /// Takes note of a payload that was passed on unread.
    pub(super) fn passed(&mut self) {
        match self.phase {
            Phase::Columns { left } if left > 1 => {
                self.phase = Phase::Columns { left: left.saturating_sub(1) }
            }
            Phase::Columns { .. } => self.phase = self.after_columns(),
            Phase::Definitions { left, next } if left > 1 => {
                self.phase = Phase::Definitions { left: left.saturating_sub(1), next };
            }
            Phase::Definitions { next, .. } if self.deprecates_eof() => self.define(next, 0, true),
            Phase::Definitions { next, .. } => self.phase = Phase::DefinitionsEnd { next, metadata: true },
            _ => {}
        }
    }

    /// Reads a payload and moves on.
    pub(super) fn read(&mut self, payload: &[u8]) -> Result<Found, ResponseError> {
        let first = *payload.first().ok_or(ResponseError::Empty)?;
        if first == ErrPacket::MARKER {
            return self.read_error(payload);
        }
        match (self.phase, first) {
            (Phase::Text, _) => {
                self.phase = Phase::Done;
                Ok(Found::Text)
            }
            (Phase::Login, EofPacket::MARKER | LOGIN_DATA) => Ok(Found::Login),
            (Phase::Prepare, OkPacket::OK) => {
                let statement = PreparedStatement::parse(payload, self.capabilities)?;
                self.define(statement.parameters, statement.columns, statement.metadata_follows);
                Ok(Found::Prepared(statement))
            }
            (Phase::Result | Phase::Simple | Phase::Infile | Phase::Login, OkPacket::OK) => {
                self.read_ok(payload)
            }
            (
                Phase::Result
                | Phase::Simple
                | Phase::Infile
                | Phase::ColumnsEnd
                | Phase::Rows
                | Phase::DefinitionsEnd { .. }
                | Phase::FieldList
                | Phase::Events,
                EofPacket::MARKER,
            ) => self.read_end(payload),
            (Phase::Result, LOCAL_INFILE) => {
                self.phase = Phase::Infile;
                Ok(Found::LocalInfile(payload.get(1..).unwrap_or_default().to_vec()))
            }
            (Phase::Result, _) => {
                let count = ColumnCount::parse(payload, self.capabilities)?;
                self.phase = match count.metadata_follows {
                    true => Phase::Columns { left: count.columns },
                    false => self.after_columns(),
                };
                Ok(Found::ResultSet(count))
            }
            (_, first) => Err(ResponseError::Unexpected(first)),
        }
    }

    fn read_error(&mut self, payload: &[u8]) -> Result<Found, ResponseError> {
        if ErrPacket::is_progress(payload, self.capabilities) {
            return Ok(Found::Progress);
        }
        let error = ErrPacket::parse(payload)?;
        self.phase = Phase::Done;
        Ok(Found::Err(error))
    }

    fn read_ok(&mut self, payload: &[u8]) -> Result<Found, ResponseError> {
        let packet = OkPacket::parse(payload, self.capabilities)?;
        self.status = Some(packet.status);
        self.end_result(packet.status);
        Ok(Found::Ok(packet))
    }

    /// A packet with the marker of EOF: an EOF, or the OK that stands in its place.
    fn read_end(&mut self, payload: &[u8]) -> Result<Found, ResponseError> {
        // The shortest OK packet has seven bytes, an EOF five: some answers stay EOFs whatever was agreed.
        let is_ok = self.deprecates_eof() && payload.len() >= 7;
        let (found, status) = if is_ok {
            let packet = OkPacket::parse(payload, self.capabilities)?;
            let status = packet.status;
            (Found::Ok(packet), status)
        } else {
            let packet = EofPacket::parse(payload)?;
            self.hides_changes |= matches!(self.phase, Phase::Rows | Phase::ColumnsEnd);
            (Found::Eof(packet), packet.status)
        };
        self.status = Some(status);
        match self.phase {
            Phase::ColumnsEnd if !self.opened_cursor(status) => {
                // MySQL says that a result follows OUT parameters in the EOF before them, and not after them.
                self.more_after_rows =
                    status.contains(StatusFlags::PS_OUT_PARAMETERS | StatusFlags::MORE_RESULTS);
                self.phase = Phase::Rows;
            }
            Phase::DefinitionsEnd { next, metadata } => self.define(next, 0, metadata),
            _ => self.end_result(status),
        }
        Ok(found)
    }

    /// With a cursor, the rows come with `COM_STMT_FETCH`: the result set ends after the columns. One that a procedure has open is told of by the same
    /// flag, with rows to come, and more after them.
    fn opened_cursor(&self, status: StatusFlags) -> bool {
        let (cursor, more) = (StatusFlags::CURSOR_EXISTS, StatusFlags::MORE_RESULTS);
        self.command == Command::StmtExecute && status.contains(cursor) && !status.contains(more)
    }

    fn end_result(&mut self, status: StatusFlags) {
        let may_have_more =
            matches!(self.command, Command::Query | Command::StmtExecute | Command::StmtBulkExecute);
        let has_more = status.contains(StatusFlags::MORE_RESULTS) || self.more_after_rows;
        self.more_after_rows = false;
        self.phase = match may_have_more && has_more {
            true => Phase::Result,
            false => Phase::Done,
        };
    }

    /// A statement's definitions: `count` of one kind and then `next` of the other. Without metadata servers
    /// still send the EOFs.
    fn define(&mut self, count: u16, next: u16, metadata: bool) {
        self.phase = match (count, next) {
            (0, 0) => Phase::Done,
            (0, _) => return self.define(next, 0, metadata),
            _ if metadata => Phase::Definitions { left: count, next },
            _ if self.deprecates_eof() => Phase::Done,
            _ => Phase::DefinitionsEnd { next, metadata },
        };
    }

    fn after_columns(&self) -> Phase {
        if self.deprecates_eof() { Phase::Rows } else { Phase::ColumnsEnd }
    }

    fn deprecates_eof(&self) -> bool {
        self.capabilities.contains(Capabilities::DEPRECATE_EOF)
    }
}
