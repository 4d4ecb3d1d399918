//! The handshake response: the client's first packet, or its second after a request for TLS.
//!
//! Owns the layout of the protocol since 4.1, and telling it from older ones. MySQL protocol:
//! `Protocol::HandshakeResponse41` and `Protocol::SSLRequest`.

use super::super::capabilities::Capabilities;
use super::super::packet::{Reader, Writer};
use super::HandshakeError;

/// The first packet of a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClientHello {
    /// The client wants TLS; its handshake response comes inside it.
    Ssl(SslRequest),
    /// The client logs in.
    Response(HandshakeResponse),
}

/// A client's request for TLS, and the fixed part of every handshake response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SslRequest {
    /// What the client can do, with MariaDB's extended flags.
    pub capabilities: Capabilities,
    /// The longest packet the client takes, bytes.
    pub max_packet: u32,
    /// Id of the client's collation. Servers read this one byte, so a collation over 255 cannot be told here.
    pub collation: u8,
}

/// A client's login. MySQL protocol: `Protocol::HandshakeResponse41`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HandshakeResponse {
    /// Capabilities, longest packet and collation.
    pub fixed: SslRequest,
    /// The user's name.
    pub user: Vec<u8>,
    /// What the plugin made of the password and the scramble.
    pub auth_response: Vec<u8>,
    /// The database to start in.
    pub database: Option<Vec<u8>>,
    /// The plugin the client used.
    pub auth_plugin: Option<Vec<u8>>,
    /// Connection attributes as they came: length-encoded names and values in turn, without the length of the
    /// whole.
    pub attributes: Option<Vec<u8>>,
    /// The level of zstd compression, when that was asked for.
    pub zstd_level: Option<u8>,
}

/// Bytes of the fixed part.
const FIXED: usize = 32;

impl ClientHello {
    /// Reads the payload of a client's first packet.
    pub fn parse(payload: &[u8]) -> Result<Self, HandshakeError> {
        let fixed = SslRequest::parse(payload)?;
        if payload.len() == FIXED && fixed.capabilities.contains(Capabilities::SSL) {
            return Ok(Self::Ssl(fixed));
        }
        HandshakeResponse::parse(payload).map(Self::Response)
    }
}

impl SslRequest {
    /// Reads the fixed part, whatever follows it.
    pub fn parse(payload: &[u8]) -> Result<Self, HandshakeError> {
        let mut reader = Reader::new(payload);
        let low = u32::from(reader.u16()?);
        if !Capabilities(u64::from(low)).contains(Capabilities::PROTOCOL_41) {
            return Err(HandshakeError::ClientTooOld);
        }
        let low = low | u32::from(reader.u16()?) << 16;
        let max_packet = reader.u32()?;
        let collation = reader.u8()?;
        reader.bytes(19)?;
        let extended = reader.u32()?;
        let is_mysql = Capabilities(u64::from(low)).contains(Capabilities::MYSQL);
        let capabilities = Capabilities::from_halves(low, if is_mysql { 0 } else { extended });
        Ok(Self { capabilities, max_packet, collation })
    }

    /// The payload of a request for TLS.
    pub fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::with_capacity(FIXED);
        self.write(&mut writer);
        writer.finish()
    }

    fn write(&self, writer: &mut Writer) {
        writer.u32(self.capabilities.low()).u32(self.max_packet).u8(self.collation).zeros(19);
        let is_mysql = self.capabilities.contains(Capabilities::MYSQL);
        writer.u32(if is_mysql { 0 } else { self.capabilities.extended() });
    }
}

impl HandshakeResponse {
    /// Reads the payload.
    pub fn parse(payload: &[u8]) -> Result<Self, HandshakeError> {
        let fixed = SslRequest::parse(payload)?;
        let capabilities = fixed.capabilities;
        let mut reader = Reader::new(payload);
        reader.bytes(FIXED)?;
        let user = reader.nul_bytes()?.to_vec();
        let auth_response = parse_auth_response(&mut reader, capabilities)?.to_vec();
        let with = |flag| capabilities.contains(flag);
        // A client that stops early is read as the servers read it: what is missing is absent.
        let database = (with(Capabilities::CONNECT_WITH_DB) && !reader.is_empty())
            .then(|| reader.nul_or_rest().to_vec())
            .filter(|name| !name.is_empty());
        let auth_plugin = (with(Capabilities::PLUGIN_AUTH) && !reader.is_empty())
            .then(|| reader.nul_or_rest().to_vec())
            .filter(|name| !name.is_empty());
        let attributes = match with(Capabilities::CONNECT_ATTRS) && !reader.is_empty() {
            true => Some(reader.lenenc_bytes()?.to_vec()),
            false => None,
        };
        let zstd_level = match with(Capabilities::ZSTD_COMPRESSION) && !reader.is_empty() {
            true => Some(reader.u8()?),
            false => None,
        };
        Ok(Self { fixed, user, auth_response, database, auth_plugin, attributes, zstd_level })
    }

    /// The payload. Which fields it has follows from the fields that are set; the flags that say so are put
    /// in order.
    pub fn encode(&self) -> Vec<u8> {
        let mut fixed = self.fixed;
        let long_response = self.auth_response.len() > 250;
        let fields = [
            (Capabilities::CONNECT_WITH_DB, self.database.is_some()),
            (Capabilities::PLUGIN_AUTH, self.auth_plugin.is_some()),
            (Capabilities::CONNECT_ATTRS, self.attributes.is_some()),
            (Capabilities::ZSTD_COMPRESSION, self.zstd_level.is_some()),
            (
                Capabilities::PLUGIN_AUTH_LENENC,
                long_response || fixed.capabilities.contains(Capabilities::PLUGIN_AUTH_LENENC),
            ),
        ];
        for (flag, present) in fields {
            let rest = fixed.capabilities.without(flag);
            fixed.capabilities = if present { rest | flag } else { rest };
        }
        fixed.capabilities = fixed.capabilities | Capabilities::PROTOCOL_41 | Capabilities::SECURE_CONNECTION;
        let mut writer = Writer::new();
        fixed.write(&mut writer);
        // Up to 250 bytes both notations of the length are the same byte.
        writer.nul_bytes(&self.user).lenenc_bytes(&self.auth_response);
        if let Some(database) = &self.database {
            writer.nul_bytes(database);
        }
        if let Some(plugin) = &self.auth_plugin {
            writer.nul_bytes(plugin);
        }
        if let Some(attributes) = &self.attributes {
            writer.lenenc_bytes(attributes);
        }
        if let Some(level) = self.zstd_level {
            writer.u8(level);
        }
        writer.finish()
    }
}

fn parse_auth_response<'a>(
    reader: &mut Reader<'a>,
    capabilities: Capabilities,
) -> Result<&'a [u8], HandshakeError> {
    if capabilities.contains(Capabilities::PLUGIN_AUTH_LENENC) {
        return Ok(reader.lenenc_bytes()?);
    }
    if capabilities.contains(Capabilities::SECURE_CONNECTION) {
        let length = usize::from(reader.u8()?);
        return Ok(reader.bytes(length)?);
    }
    Ok(reader.nul_or_rest())
}
