//! Authenticating a client: the proxy as server.
//!
//! Owns the dialogue from the client's login to "it has the password" or "it has not". Never says, by words
//! or by the number of packets, whether a user exists.

use std::sync::Arc;

use super::super::capabilities::Capabilities;
use super::super::handshake::{AuthMoreData, AuthSwitchRequest, HandshakeResponse};
use super::super::response::{ErrPacket, ServerError};
use super::scramble::{SCRAMBLE_LENGTH, equal, verify_caching_sha2, verify_native};
use super::{Password, Plugin, ProxyKey};

/// What the proxy knows of a user's password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Credential {
    /// The password.
    Known(Password),
    /// There is no such user. The client goes through the same motions, and is refused.
    Nobody,
    /// Nothing: the client must send the password itself, and a backend judges it.
    Ask,
}

/// All a login depends on.
#[derive(Debug, Clone)]
pub struct ClientAuthSettings {
    /// What is known of the password.
    pub credential: Credential,
    /// Whether nobody else can read along: TLS, or a socket of this machine.
    pub private: bool,
    /// The scramble of the initial handshake.
    pub scramble: [u8; SCRAMBLE_LENGTH],
    /// Another one ([`super::scramble_from_seed`]), for a client that must use another plugin.
    pub second_scramble: [u8; SCRAMBLE_LENGTH],
    /// Whether SHA-1 will do.
    pub native_allowed: bool,
    /// The plugin the initial handshake named: [`Plugin::Native`] or [`Plugin::CachingSha2`]. Only a client
    /// that uses it has used the scramble; one whose own plugin will not do is asked to use it.
    pub announced: Plugin,
    /// The proxy's key, by which clients without TLS send their password; without it they cannot.
    pub key: Option<Arc<ProxyKey>>,
}

/// Why a client was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// The password is wrong, or there is no such user.
    Denied {
        /// Whether the client sent a password.
        with_password: bool,
    },
    /// The client and the proxy have no plugin in common, or the password cannot be sent in secret.
    NotSupported,
    /// The client sent what cannot be read.
    Malformed,
}

impl Refusal {
    /// The error for the client.
    pub fn packet(self, user: &str, host: &str) -> ErrPacket {
        match self {
            Self::Denied { with_password } => {
                ServerError::AccessDenied { user, host, with_password }.packet()
            }
            Self::NotSupported => ServerError::AuthNotSupported.packet(),
            Self::Malformed => ServerError::BadHandshake.packet(),
        }
    }
}

/// What to do next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClientStep {
    /// Send this payload and wait for the client's next packet.
    Send(Vec<u8>),
    /// The client has the password. Before the OK packet, this payload is to be sent, if any.
    Authenticated {
        /// A payload to send before the OK packet.
        before_ok: Option<Vec<u8>>,
        /// The password.
        password: Password,
    },
    /// The client is to be refused.
    Refused(Refusal),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// The client answers a request to use this plugin.
    Response(Plugin),
    /// The client sends its password as it is.
    PlainPassword,
    /// The client sends its password encrypted, or asks for our key first.
    KeyOrPassword,
    /// The client sends its password encrypted.
    EncryptedPassword,
    /// There is nothing more to come.
    Over,
}

/// The dialogue with one client.
#[derive(Debug)]
pub struct ClientAuth {
    settings: ClientAuthSettings,
    scramble: [u8; SCRAMBLE_LENGTH],
    state: State,
}

const FAST_SUCCESS: u8 = 3;
const FULL_AUTHENTICATION: u8 = 4;
const KEY_REQUEST: [u8; 1] = [2];
/// Compared with where there is no user; what it is does not matter, as the answer is "no" whatever comes.
const DECOY: &[u8] = b"nobody's password";

impl ClientAuth {
    /// Begins with the client's handshake response.
    pub fn start(settings: ClientAuthSettings, response: &HandshakeResponse) -> (Self, ClientStep) {
        let capabilities = response.fixed.capabilities;
        let mut auth = Self { scramble: settings.scramble, settings, state: State::Over };
        if !capabilities.contains(Capabilities::PLUGIN_AUTH) {
            // Without plugins the response is what 4.1 and later made of the password.
            let step = match auth.accepts(Plugin::Native) {
                true => auth.judge(Plugin::Native, &response.auth_response),
                false => ClientStep::Refused(Refusal::NotSupported),
            };
            return (auth, step);
        }
        let plugin = match &response.auth_plugin {
            Some(name) => Plugin::from_name(name),
            None => Some(Plugin::Native),
        };
        let plugin = plugin.filter(|plugin| auth.accepts(*plugin));
        let step = match plugin {
            Some(plugin) if plugin == auth.settings.announced => auth.judge(plugin, &response.auth_response),
            // Client libraries that are told to use a plugin of their own send no response at first.
            plugin => auth.switch(plugin),
        };
        (auth, step)
    }

    /// Begins with a `COM_CHANGE_USER`. Its response is not looked at: which scramble a client made it for is
    /// not the same with all clients, so every one is given a new scramble.
    pub fn start_change_user(settings: ClientAuthSettings, client: Capabilities) -> (Self, ClientStep) {
        let mut auth = Self { scramble: settings.scramble, settings, state: State::Over };
        let step = match client.contains(Capabilities::PLUGIN_AUTH) {
            true => auth.switch(None),
            false => ClientStep::Refused(Refusal::NotSupported),
        };
        (auth, step)
    }

    /// Goes on with the payload of the client's next packet.
    pub fn packet(&mut self, payload: &[u8]) -> ClientStep {
        let state = std::mem::replace(&mut self.state, State::Over);
        match state {
            State::Response(plugin) => self.judge(plugin, payload),
            State::PlainPassword => authenticated(strip_zero(payload)),
            State::KeyOrPassword if payload == KEY_REQUEST => match &self.settings.key {
                Some(key) => {
                    self.state = State::EncryptedPassword;
                    more_data(key.public_key_pem().as_bytes())
                }
                None => ClientStep::Refused(Refusal::NotSupported),
            },
            State::KeyOrPassword | State::EncryptedPassword => self.decrypt(payload),
            State::Over => ClientStep::Refused(Refusal::Malformed),
        }
    }

    fn accepts(&self, plugin: Plugin) -> bool {
        let asks = self.settings.credential == Credential::Ask;
        match plugin {
            Plugin::Native => self.settings.native_allowed && !asks,
            Plugin::CachingSha2 => !asks || self.settings.private || self.settings.key.is_some(),
            Plugin::Clear => self.settings.private,
            Plugin::Sha256 | Plugin::Ed25519 => false,
        }
    }

    /// Asks the client to use `plugin`, or the usual one, with the second scramble.
    fn switch(&mut self, plugin: Option<Plugin>) -> ClientStep {
        let announced = Some(self.settings.announced).filter(|plugin| self.accepts(*plugin));
        let plugin = plugin.or(announced).unwrap_or(Plugin::CachingSha2);
        if !self.accepts(plugin) {
            return ClientStep::Refused(Refusal::NotSupported);
        }
        self.scramble = self.settings.second_scramble;
        self.state = State::Response(plugin);
        let data = [&self.scramble[..], &[0]].concat();
        ClientStep::Send(AuthSwitchRequest { plugin: plugin.name().into(), data }.encode())
    }

    fn judge(&mut self, plugin: Plugin, response: &[u8]) -> ClientStep {
        let (password, exists) = match &self.settings.credential {
            Credential::Known(password) => (&password.0[..], true),
            Credential::Nobody => (DECOY, false),
            Credential::Ask => return self.ask(plugin, response),
        };
        let (matches, with_password) = match plugin {
            Plugin::Native => (verify_native(password, &self.scramble, response), !response.is_empty()),
            Plugin::CachingSha2 => {
                (verify_caching_sha2(password, &self.scramble, response), response.len() > 1)
            }
            Plugin::Clear => (equal(password, strip_zero(response)), response.len() > 1),
            Plugin::Sha256 | Plugin::Ed25519 => (false, true),
        };
        if !(matches & exists) {
            return ClientStep::Refused(Refusal::Denied { with_password });
        }
        let fast = plugin == Plugin::CachingSha2 && with_password;
        let before_ok = fast.then(|| AuthMoreData { data: vec![FAST_SUCCESS] }.encode());
        ClientStep::Authenticated { before_ok, password: Password(password.to_vec()) }
    }

    /// The response is of no use: only a backend could judge it. The client is to send the password itself.
    fn ask(&mut self, plugin: Plugin, response: &[u8]) -> ClientStep {
        let is_empty = strip_zero(response).is_empty();
        match plugin {
            Plugin::Clear => authenticated(strip_zero(response)),
            Plugin::CachingSha2 if is_empty => authenticated(&[]),
            Plugin::CachingSha2 => {
                self.state = if self.settings.private { State::PlainPassword } else { State::KeyOrPassword };
                more_data(&[FULL_AUTHENTICATION])
            }
            Plugin::Native | Plugin::Sha256 | Plugin::Ed25519 => ClientStep::Refused(Refusal::NotSupported),
        }
    }

    fn decrypt(&self, payload: &[u8]) -> ClientStep {
        let Some(key) = &self.settings.key else { return ClientStep::Refused(Refusal::NotSupported) };
        match key.decrypt(payload, &self.scramble) {
            Ok(password) => ClientStep::Authenticated { before_ok: None, password },
            Err(_) => ClientStep::Refused(Refusal::Denied { with_password: true }),
        }
    }
}

fn strip_zero(text: &[u8]) -> &[u8] {
    text.strip_suffix(&[0]).unwrap_or(text)
}

fn authenticated(password: &[u8]) -> ClientStep {
    ClientStep::Authenticated { before_ok: None, password: Password(password.to_vec()) }
}

fn more_data(data: &[u8]) -> ClientStep {
    ClientStep::Send(AuthMoreData { data: data.to_vec() }.encode())
}
