//! The packets of the login between the handshake and its end.
//!
//! Owns the layout of a request to use another plugin and of a plugin's own data.

use super::super::packet::{Reader, Writer};
use super::HandshakeError;

/// The server wants another plugin, with a new scramble. MySQL protocol: `Protocol::AuthSwitchRequest`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuthSwitchRequest {
    /// The plugin's name.
    pub plugin: Vec<u8>,
    /// The plugin's data, as sent: a scramble has a zero byte at its end.
    pub data: Vec<u8>,
}

impl AuthSwitchRequest {
    /// First byte of the payload.
    pub const MARKER: u8 = 0xfe;

    /// Reads the payload.
    pub fn parse(payload: &[u8]) -> Result<Self, HandshakeError> {
        let mut reader = Reader::new(payload);
        match reader.u8()? {
            Self::MARKER => {}
            other => return Err(HandshakeError::Unexpected(other)),
        }
        if reader.is_empty() {
            return Err(HandshakeError::OldPassword);
        }
        let plugin = reader.nul_bytes()?.to_vec();
        Ok(Self { plugin, data: reader.take_rest().to_vec() })
    }

    /// The data without the zero byte that ends a scramble.
    pub fn scramble(&self) -> &[u8] {
        self.data.strip_suffix(&[0]).unwrap_or(&self.data)
    }

    /// The payload.
    pub fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::new();
        writer.u8(Self::MARKER).nul_bytes(&self.plugin).bytes(&self.data);
        writer.finish()
    }
}

/// Data of the plugin in use, from the server. MySQL protocol: `Protocol::AuthMoreData`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuthMoreData {
    /// The data.
    pub data: Vec<u8>,
}

impl AuthMoreData {
    /// First byte of the payload.
    pub const MARKER: u8 = 0x01;

    /// Reads the payload.
    pub fn parse(payload: &[u8]) -> Result<Self, HandshakeError> {
        let mut reader = Reader::new(payload);
        match reader.u8()? {
            Self::MARKER => Ok(Self { data: reader.take_rest().to_vec() }),
            other => Err(HandshakeError::Unexpected(other)),
        }
    }

    /// The payload.
    pub fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::new();
        writer.u8(Self::MARKER).bytes(&self.data);
        writer.finish()
    }
}
