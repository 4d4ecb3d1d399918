//! The answer to `COM_STMT_PREPARE`.
//!
//! Owns its layout, and putting the proxy's own statement id in it. MySQL protocol: `COM_STMT_PREPARE_OK`.

use super::super::capabilities::Capabilities;
use super::super::packet::{ReadError, Reader};

/// What a server says of a statement it prepared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PreparedStatement {
    /// The id on this connection.
    pub id: u32,
    /// Columns of its result; 0 when it has none, or when that shows only on execution.
    pub columns: u16,
    /// Parameters, the question marks in it.
    pub parameters: u16,
    /// Warnings.
    pub warnings: u16,
    /// Whether the definitions of parameters and columns follow.
    pub metadata_follows: bool,
}

impl PreparedStatement {
    /// Where the id stands in the payload, here and in the commands that name a statement.
    pub const ID_RANGE: std::ops::Range<usize> = 1..5;

    /// Reads the payload.
    pub fn parse(payload: &[u8], capabilities: Capabilities) -> Result<Self, ReadError> {
        let mut reader = Reader::new(payload);
        reader.u8()?;
        let id = reader.u32()?;
        let columns = reader.u16()?;
        let parameters = reader.u16()?;
        // Servers of old end here.
        let warnings = match reader.remaining() >= 3 {
            true => {
                reader.u8()?;
                reader.u16()?
            }
            false => 0,
        };
        let optional = capabilities.contains(Capabilities::OPTIONAL_RESULTSET_METADATA);
        let metadata_follows = !optional || reader.is_empty() || reader.u8()? != 0;
        Ok(Self { id, columns, parameters, warnings, metadata_follows })
    }
}

/// Puts `id` at its place in a payload that has a statement id there. A payload without room for it stays as
/// it is, and `false` is returned.
pub(super) fn put_statement_id(payload: &mut [u8], id: u32) -> bool {
    match payload.get_mut(PreparedStatement::ID_RANGE) {
        Some(place) => {
            place.copy_from_slice(&id.to_le_bytes());
            true
        }
        None => false,
    }
}
