//! Statement ids in commands.
//!
//! Owns reading and replacing the id a command names, as each backend has its own ids.

use super::super::response::PreparedStatement;
use super::Command;

/// The id MariaDB clients use for "the statement prepared last on this connection".
pub const LAST_PREPARED: u32 = u32::MAX;

/// The id in the payload of a command that names a statement.
pub fn statement_id(payload: &[u8]) -> Option<u32> {
    Command::of(payload).filter(|command| command.names_statement())?;
    let bytes = payload.get(PreparedStatement::ID_RANGE)?;
    bytes.try_into().ok().map(u32::from_le_bytes)
}

/// Puts another id in the payload of a command that names a statement. `false`, and nothing changed, when it
/// does not name one.
pub fn put_statement_id(payload: &mut [u8], id: u32) -> bool {
    let names = Command::of(payload).is_some_and(Command::names_statement);
    match payload.get_mut(PreparedStatement::ID_RANGE).filter(|_| names) {
        Some(place) => {
            place.copy_from_slice(&id.to_le_bytes());
            true
        }
        None => false,
    }
}
