//! `COM_QUERY` with and without attributes, and the commands that are a bare text.
//!
//! Owns finding where the text begins. MySQL protocol: `COM_QUERY`.

use super::super::capabilities::Capabilities;
use super::super::packet::Reader;
use super::execute::skip_value;
use super::{Command, CommandError};

/// The parts of a `COM_QUERY` payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Query<'a> {
    /// Everything before the text, the command's byte included: to be sent again as it is.
    pub prefix: &'a [u8],
    /// How many attributes (or parameters) the prefix holds.
    pub attributes: u64,
    /// The text.
    pub sql: &'a [u8],
}

/// The most attributes a query is taken with; servers take 65535.
const MAX_ATTRIBUTES: u64 = 0xffff;

impl<'a> Query<'a> {
    /// Reads the payload of a client with the negotiated `capabilities`.
    pub fn parse(payload: &'a [u8], capabilities: Capabilities) -> Result<Self, CommandError> {
        let mut reader = Reader::new(payload);
        let command = reader.u8()?;
        if command != Command::Query.byte() {
            return Err(CommandError::Another(command));
        }
        let mut attributes = 0;
        if capabilities.contains(Capabilities::QUERY_ATTRIBUTES) {
            attributes = reader.lenenc_int()?;
            let sets = reader.lenenc_int()?;
            if attributes > MAX_ATTRIBUTES || (attributes > 0 && sets != 1) {
                return Err(CommandError::AttributeSets);
            }
            skip_attributes(&mut reader, usize::try_from(attributes).unwrap_or(usize::MAX))?;
        }
        let (prefix, sql) = payload.split_at_checked(reader.position()).unwrap_or((payload, &[]));
        Ok(Self { prefix, attributes, sql })
    }

    /// The payload with another text.
    pub fn with_sql(&self, sql: &[u8]) -> Vec<u8> {
        [self.prefix, sql].concat()
    }

    /// The payload of a query without attributes, for a connection with `capabilities`.
    pub fn encode(sql: &[u8], capabilities: Capabilities) -> Vec<u8> {
        let prefix: &[u8] = match capabilities.contains(Capabilities::QUERY_ATTRIBUTES) {
            true => &[0x03, 0, 1],
            false => &[0x03],
        };
        [prefix, sql].concat()
    }
}

fn skip_attributes(reader: &mut Reader<'_>, count: usize) -> Result<(), CommandError> {
    if count == 0 {
        return Ok(());
    }
    let nulls = reader.bytes(count.div_ceil(8))?;
    if reader.u8()? != 1 {
        return Err(CommandError::AttributeSets);
    }
    let mut kinds = Vec::new();
    for _ in 0..count {
        let [kind, _] = reader.array()?;
        reader.lenenc_bytes()?;
        kinds.push(kind);
    }
    for (index, kind) in kinds.into_iter().enumerate() {
        let bit = 1_u8 << (index % 8);
        let is_null = nulls.get(index / 8).is_some_and(|byte| byte & bit != 0);
        if !is_null {
            skip_value(reader, kind)?;
        }
    }
    Ok(())
}

/// A command that is one byte and a text: `COM_INIT_DB`, `COM_STMT_PREPARE`, `COM_CREATE_DB`, `COM_DROP_DB`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StatementText<'a> {
    /// The command.
    pub command: Command,
    /// The text: a statement, or the name of a database.
    pub text: &'a [u8],
}

impl<'a> StatementText<'a> {
    /// Reads the payload.
    pub fn parse(payload: &'a [u8]) -> Result<Self, CommandError> {
        let mut reader = Reader::new(payload);
        let byte = reader.u8()?;
        let command = Command::from_byte(byte);
        match command {
            Command::InitDb | Command::StmtPrepare | Command::CreateDb | Command::DropDb => {
                Ok(Self { command, text: reader.take_rest() })
            }
            _ => Err(CommandError::Another(byte)),
        }
    }

    /// The payload.
    pub fn encode(&self) -> Vec<u8> {
        [&[self.command.byte()], self.text].concat()
    }
}

/// What a `COM_SET_OPTION` asks for: whether multi-statements are on from now on. `None` when it is another
/// command or an option no server knows. MySQL protocol: `COM_SET_OPTION`.
pub fn multi_statements_option(payload: &[u8]) -> Option<bool> {
    let mut reader = Reader::new(payload);
    let command = reader.u8().ok()?;
    match (Command::from_byte(command), reader.u16().ok()?) {
        (Command::SetOption, 0) => Some(true),
        (Command::SetOption, 1) => Some(false),
        _ => None,
    }
}
