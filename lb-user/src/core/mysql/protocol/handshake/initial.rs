//! The initial handshake (version 10): the first packet, from the server.
//!
//! Owns its layout with MariaDB's extended capabilities. MySQL protocol: `Protocol::HandshakeV10`; MariaDB
//! protocol: Connecting, "Initial Handshake Packet".

use super::super::capabilities::Capabilities;
use super::super::packet::{Reader, Writer};
use super::super::status::StatusFlags;
use super::HandshakeError;

/// What a server says of itself before the login.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InitialHandshake {
    /// Such as `8.4.2` or `5.5.5-10.11.6-MariaDB`.
    pub server_version: Vec<u8>,
    /// The id of the connection, the one `KILL` takes.
    pub connection_id: u32,
    /// Random bytes the password is hashed with: 20 for the plugins of today. Without the zero byte at the end.
    pub scramble: Vec<u8>,
    /// What the server can do, with MariaDB's extended flags.
    pub capabilities: Capabilities,
    /// Id of the server's default collation, its low byte.
    pub collation: u8,
    /// Status of the session.
    pub status: StatusFlags,
    /// The plugin the scramble is for; empty when the server has none.
    pub auth_plugin: Vec<u8>,
}

const VERSION: u8 = 10;
const FIRST_PART: usize = 8;
/// The least the second part takes: twelve bytes and a zero byte.
const SECOND_PART: usize = 13;

impl InitialHandshake {
    /// The version in words. `5.5.5-` before that of a MariaDB is for replicas of old.
    pub fn version(&self) -> String {
        let text = String::from_utf8_lossy(&self.server_version);
        text.strip_prefix("5.5.5-").unwrap_or(&text).to_owned()
    }

    /// Reads the payload of the server's first packet.
    pub fn parse(payload: &[u8]) -> Result<Self, HandshakeError> {
        let mut reader = Reader::new(payload);
        let version = reader.u8()?;
        if version != VERSION {
            return Err(HandshakeError::Version(version));
        }
        let server_version = reader.nul_bytes()?.to_vec();
        let connection_id = reader.u32()?;
        let mut scramble = reader.bytes(FIRST_PART)?.to_vec();
        reader.u8()?;
        let low = reader.u16()?;
        let mut handshake = Self {
            server_version,
            connection_id,
            scramble: Vec::new(),
            capabilities: Capabilities(u64::from(low)),
            collation: 0,
            status: StatusFlags::default(),
            auth_plugin: Vec::new(),
        };
        if !reader.is_empty() {
            handshake.parse_rest(&mut reader, low, &mut scramble)?;
        }
        handshake.scramble = scramble;
        Ok(handshake)
    }

    fn parse_rest(
        &mut self,
        reader: &mut Reader<'_>,
        low: u16,
        scramble: &mut Vec<u8>,
    ) -> Result<(), HandshakeError> {
        self.collation = reader.u8()?;
        self.status = StatusFlags(reader.u16()?);
        let [a, b] = low.to_le_bytes();
        let [c, d] = reader.u16()?.to_le_bytes();
        let flags = u32::from_le_bytes([a, b, c, d]);
        let auth_length = usize::from(reader.u8()?);
        reader.bytes(6)?;
        let extended = reader.u32()?;
        // MySQL keeps these bytes zero; only a server that says it is not MySQL fills them.
        let is_mysql = Capabilities(u64::from(flags)).contains(Capabilities::MYSQL);
        self.capabilities = Capabilities::from_halves(flags, if is_mysql { 0 } else { extended });
        if self.capabilities.contains(Capabilities::SECURE_CONNECTION) {
            let second = auth_length.saturating_sub(FIRST_PART).max(SECOND_PART);
            let part = reader.bytes(second.min(reader.remaining()))?;
            // Only the usual 20 bytes have a zero byte at the end; other plugins send what they send.
            let usual = second == SECOND_PART;
            scramble.extend_from_slice(part.strip_suffix(&[0]).filter(|_| usual).unwrap_or(part));
        }
        if self.capabilities.contains(Capabilities::PLUGIN_AUTH) {
            self.auth_plugin = reader.nul_or_rest().to_vec();
        }
        Ok(())
    }

    /// The payload.
    pub fn encode(&self) -> Vec<u8> {
        let [a, b, c, d] = self.capabilities.low().to_le_bytes();
        let mut first = self.scramble.clone();
        let mut second = first.split_off(first.len().min(FIRST_PART));
        first.resize(FIRST_PART, 0);
        second.resize(second.len().max(SECOND_PART), 0);
        let length = u8::try_from(FIRST_PART.saturating_add(second.len())).unwrap_or(u8::MAX);
        let has_plugin = self.capabilities.contains(Capabilities::PLUGIN_AUTH);
        let mut writer = Writer::new();
        writer.u8(VERSION).nul_bytes(&self.server_version).u32(self.connection_id).bytes(&first).u8(0);
        writer.bytes(&[a, b]).u8(self.collation).u16(self.status.0).bytes(&[c, d]);
        writer.u8(if has_plugin { length } else { 0 }).zeros(6).u32(self.capabilities.extended());
        if self.capabilities.contains(Capabilities::SECURE_CONNECTION) {
            writer.bytes(&second);
        }
        if has_plugin {
            writer.nul_bytes(&self.auth_plugin);
        }
        writer.finish()
    }
}
