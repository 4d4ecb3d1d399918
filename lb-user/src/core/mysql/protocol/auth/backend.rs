//! Logging in to a backend: the proxy as client.
//!
//! Owns the dialogue from the server's initial handshake to its OK. Never gives a password away in the clear:
//! over TLS only and where that is allowed, or encrypted with the server's key.

use thiserror::Error;

use super::super::capabilities::Capabilities;
use super::super::handshake::{
    AuthMoreData, AuthSwitchRequest, ChangeUser, HandshakeError, HandshakeResponse, InitialHandshake,
    SslRequest,
};
use super::super::packet::ReadError;
use super::super::response::{ErrPacket, OkPacket};
use super::ed25519::NONCE_LENGTH;
use super::scramble::{SCRAMBLE_LENGTH, caching_sha2_response, native_response};
use super::{Password, Plugin, RsaError, ed25519_response, encrypt_password};

/// Whom to log in as, and how.
#[derive(Debug, Clone)]
pub struct Login {
    /// The user's name.
    pub user: Vec<u8>,
    /// The password.
    pub password: Password,
    /// The database to start in.
    pub database: Option<Vec<u8>>,
    /// What to ask for: see [`super::super::capabilities::backend_capabilities`].
    pub capabilities: Capabilities,
    /// The longest packet, bytes.
    pub max_packet: u32,
    /// Id of the collation.
    pub collation: u8,
    /// Connection attributes as they came from the client, without the length of the whole.
    pub attributes: Option<Vec<u8>>,
    /// Whether nobody else can read along: TLS, or a socket of this machine.
    pub private: bool,
    /// Whether a server may have the password as it is (`mysql_clear_password`) when `private` holds.
    pub clear_allowed: bool,
    /// The server's public key in PEM, when it is known.
    pub server_key: Option<Vec<u8>>,
    /// Whether to ask the server for its key. Without TLS somebody in between could send his own.
    pub key_request_allowed: bool,
}

/// Why a login cannot go on.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum BackendAuthError {
    /// A packet was not understood.
    #[error("{0}")]
    Handshake(#[from] HandshakeError),
    /// The server asks for a plugin the proxy does not have.
    #[error("the server asks for the authentication plugin {0:?}, which is not supported")]
    Plugin(String),
    /// The server wants the password in a way others could read, or that is not allowed.
    #[error("the server wants the password itself, which is allowed over TLS only")]
    NotPrivate,
    /// The password could not be encrypted.
    #[error("{0}")]
    Rsa(#[from] RsaError),
    /// The server asks again and again.
    #[error("the server asks for one authentication plugin after the other")]
    TooManySwitches,
    /// The server's data for a plugin does not have the size it must.
    #[error("the server's scramble is too short")]
    Scramble,
}

impl From<ReadError> for BackendAuthError {
    fn from(error: ReadError) -> Self {
        Self::Handshake(HandshakeError::Malformed(error))
    }
}

/// What to do next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BackendStep {
    /// Send this payload, with the sequence id after the server's, and wait for the server's next packet.
    Send(Vec<u8>),
    /// Wait for the server's next packet.
    Wait,
    /// The login is done.
    Ready(OkPacket),
    /// The server refused.
    Refused(ErrPacket),
}

/// The dialogue with one backend.
#[derive(Debug, Clone)]
pub struct BackendAuth {
    login: Login,
    plugin: Plugin,
    /// The plugin's data from the server.
    challenge: Vec<u8>,
    switches: u8,
    awaits_key: bool,
}

/// MariaDB may try the several plugins of a user in turn; more than this many are not a login.
const MAX_SWITCHES: u8 = 8;
const FAST_SUCCESS: [u8; 1] = [3];
const FULL_AUTHENTICATION: [u8; 1] = [4];
const CACHING_KEY_REQUEST: u8 = 2;
const SHA256_KEY_REQUEST: u8 = 1;

impl BackendAuth {
    /// The payload to send before TLS begins, with sequence id 1. The handshake response follows inside TLS.
    pub fn ssl_request(login: &Login) -> Vec<u8> {
        let capabilities = login.capabilities | Capabilities::SSL;
        SslRequest { capabilities, max_packet: login.max_packet, collation: login.collation }.encode()
    }

    /// Begins: the payload of the handshake response, to be sent with sequence id 1, or 2 after a request for
    /// TLS.
    pub fn start(handshake: &InitialHandshake, login: Login) -> Result<(Self, Vec<u8>), BackendAuthError> {
        // A plugin that gives the password away, or is not known, is not used unasked.
        let plugin = match Plugin::from_name(&handshake.auth_plugin) {
            Some(plugin @ (Plugin::CachingSha2 | Plugin::Ed25519)) => plugin,
            _ => Plugin::Native,
        };
        let challenge = handshake.scramble.clone();
        let mut auth = Self { login, plugin, challenge, switches: 0, awaits_key: false };
        let auth_response = auth.respond()?;
        let login = &auth.login;
        let response = HandshakeResponse {
            fixed: SslRequest {
                capabilities: login.capabilities,
                max_packet: login.max_packet,
                collation: login.collation,
            },
            user: login.user.clone(),
            auth_response,
            database: login.database.clone(),
            auth_plugin: login.capabilities.contains(Capabilities::PLUGIN_AUTH).then(|| plugin.name().into()),
            attributes: login.attributes.clone(),
            zstd_level: None,
        };
        let payload = response.encode();
        Ok((auth, payload))
    }

    /// Begins a login on a connection that has one already: the payload of `COM_CHANGE_USER`, to be sent with
    /// sequence id 0. Its response is empty and its plugin one that no account has, so that the server sends a
    /// new scramble: which of the old ones it would take differs between servers. `login.private` and
    /// `login.capabilities` are those of the connection; `collation` is an id in full.
    pub fn change_user(login: Login, collation: u16) -> (Self, Vec<u8>) {
        let command = ChangeUser {
            user: login.user.clone(),
            auth_response: Vec::new(),
            database: login.database.clone().unwrap_or_default(),
            collation: Some(collation),
            auth_plugin: Some(Plugin::Clear.name().into()),
            attributes: login.attributes.clone(),
        };
        let payload = command.encode(login.capabilities);
        let auth =
            Self { login, plugin: Plugin::Clear, challenge: Vec::new(), switches: 0, awaits_key: false };
        (auth, payload)
    }

    /// Goes on with the payload of the server's next packet.
    pub fn packet(&mut self, payload: &[u8]) -> Result<BackendStep, BackendAuthError> {
        match payload.first() {
            Some(&OkPacket::OK) => Ok(BackendStep::Ready(OkPacket::parse(payload, self.login.capabilities)?)),
            Some(&ErrPacket::MARKER) => Ok(BackendStep::Refused(ErrPacket::parse(payload)?)),
            Some(&AuthSwitchRequest::MARKER) => self.switch(&AuthSwitchRequest::parse(payload)?),
            Some(&AuthMoreData::MARKER) => self.more_data(&AuthMoreData::parse(payload)?.data),
            Some(&other) => Err(HandshakeError::Unexpected(other).into()),
            None => Err(ReadError::Truncated.into()),
        }
    }

    fn switch(&mut self, request: &AuthSwitchRequest) -> Result<BackendStep, BackendAuthError> {
        self.switches = self.switches.saturating_add(1);
        if self.switches > MAX_SWITCHES {
            return Err(BackendAuthError::TooManySwitches);
        }
        let Some(plugin) = Plugin::from_name(&request.plugin) else {
            return Err(BackendAuthError::Plugin(String::from_utf8_lossy(&request.plugin).into_owned()));
        };
        self.plugin = plugin;
        self.challenge.clone_from(&request.data);
        self.awaits_key = false;
        self.respond().map(BackendStep::Send)
    }

    fn more_data(&mut self, data: &[u8]) -> Result<BackendStep, BackendAuthError> {
        if self.awaits_key {
            self.awaits_key = false;
            let encrypted = encrypt_password(data, &self.login.password.0, self.scramble()?)?;
            return Ok(BackendStep::Send(encrypted));
        }
        match self.plugin {
            Plugin::CachingSha2 if data == FAST_SUCCESS => Ok(BackendStep::Wait),
            Plugin::CachingSha2 if data == FULL_AUTHENTICATION => {
                self.password_itself(CACHING_KEY_REQUEST).map(BackendStep::Send)
            }
            _ => Err(HandshakeError::Unexpected(AuthMoreData::MARKER).into()),
        }
    }

    /// The plugin's first answer.
    fn respond(&mut self) -> Result<Vec<u8>, BackendAuthError> {
        let password = &self.login.password.0;
        match self.plugin {
            Plugin::Native => Ok(native_response(password, self.scramble()?)),
            Plugin::CachingSha2 => Ok(caching_sha2_response(password, self.scramble()?)),
            Plugin::Ed25519 => {
                let nonce = self.challenge.get(..NONCE_LENGTH).ok_or(BackendAuthError::Scramble)?;
                Ok(ed25519_response(password, nonce))
            }
            Plugin::Clear if self.login.private && self.login.clear_allowed => Ok(with_zero(password)),
            Plugin::Clear => Err(BackendAuthError::NotPrivate),
            Plugin::Sha256 if password.is_empty() => Ok(vec![0]),
            Plugin::Sha256 => self.password_itself(SHA256_KEY_REQUEST),
        }
    }

    /// The password for a server that must have it: as it is where nobody reads along, else encrypted, or a
    /// request for the key to do so.
    fn password_itself(&mut self, key_request: u8) -> Result<Vec<u8>, BackendAuthError> {
        if self.login.private {
            return Ok(with_zero(&self.login.password.0));
        }
        if let Some(key) = &self.login.server_key {
            return Ok(encrypt_password(key, &self.login.password.0, self.scramble()?)?);
        }
        if !self.login.key_request_allowed {
            return Err(BackendAuthError::NotPrivate);
        }
        self.awaits_key = true;
        Ok(vec![key_request])
    }

    fn scramble(&self) -> Result<&[u8], BackendAuthError> {
        self.challenge.get(..SCRAMBLE_LENGTH).ok_or(BackendAuthError::Scramble)
    }
}

fn with_zero(password: &[u8]) -> Vec<u8> {
    [password, &[0]].concat()
}
