//! `COM_CHANGE_USER`: a login in the midst of a connection.
//!
//! Owns its layout. MySQL protocol: `COM_CHANGE_USER`.

use super::super::capabilities::Capabilities;
use super::super::packet::{Reader, Writer};
use super::HandshakeError;

/// A request to go on as another user, or as the same one with a fresh session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChangeUser {
    /// The user's name.
    pub user: Vec<u8>,
    /// What the plugin made of the password and the scramble.
    pub auth_response: Vec<u8>,
    /// The database to start in; empty for none.
    pub database: Vec<u8>,
    /// Id of the client's collation, in full.
    pub collation: Option<u16>,
    /// The plugin the client used.
    pub auth_plugin: Option<Vec<u8>>,
    /// Connection attributes as they came, without the length of the whole.
    pub attributes: Option<Vec<u8>>,
}

impl ChangeUser {
    /// The command's byte.
    pub const COMMAND: u8 = 0x11;

    /// Reads the payload, command byte included, of a client with the negotiated `capabilities`.
    pub fn parse(payload: &[u8], capabilities: Capabilities) -> Result<Self, HandshakeError> {
        let mut reader = Reader::new(payload);
        match reader.u8()? {
            Self::COMMAND => {}
            other => return Err(HandshakeError::Unexpected(other)),
        }
        let user = reader.nul_bytes()?.to_vec();
        let auth_response = match capabilities.contains(Capabilities::SECURE_CONNECTION) {
            true => {
                let length = usize::from(reader.u8()?);
                reader.bytes(length)?.to_vec()
            }
            false => reader.nul_bytes()?.to_vec(),
        };
        let database = reader.nul_or_rest().to_vec();
        let collation = if reader.remaining() >= 2 { Some(reader.u16()?) } else { None };
        let auth_plugin = (capabilities.contains(Capabilities::PLUGIN_AUTH) && !reader.is_empty())
            .then(|| reader.nul_or_rest().to_vec());
        let attributes = match capabilities.contains(Capabilities::CONNECT_ATTRS) && !reader.is_empty() {
            true => Some(reader.lenenc_bytes()?.to_vec()),
            false => None,
        };
        Ok(Self { user, auth_response, database, collation, auth_plugin, attributes })
    }

    /// The payload, for a server with which `capabilities` were agreed. A response over 255 bytes is cut: the
    /// packet has no room for it, and no plugin makes one.
    pub fn encode(&self, capabilities: Capabilities) -> Vec<u8> {
        let mut writer = Writer::new();
        writer.u8(Self::COMMAND).nul_bytes(&self.user);
        match capabilities.contains(Capabilities::SECURE_CONNECTION) {
            true => {
                let length = u8::try_from(self.auth_response.len()).unwrap_or(u8::MAX);
                writer.u8(length).bytes(self.auth_response.get(..usize::from(length)).unwrap_or_default());
            }
            false => {
                writer.nul_bytes(&self.auth_response);
            }
        }
        writer.nul_bytes(&self.database);
        // Every field stands on those before it, so one that is missing ends the packet.
        let Some(collation) = self.collation else { return writer.finish() };
        writer.u16(collation);
        if capabilities.contains(Capabilities::PLUGIN_AUTH) {
            writer.nul_bytes(self.auth_plugin.as_deref().unwrap_or_default());
        }
        if capabilities.contains(Capabilities::CONNECT_ATTRS) {
            writer.lenenc_bytes(self.attributes.as_deref().unwrap_or_default());
        }
        writer.finish()
    }
}
