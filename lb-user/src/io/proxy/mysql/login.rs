//! A client's login: the greeting, TLS where the client wants it, and the proof of its password.
//!
//! Owns the dialogue up to the moment before the client is told that it is in: that is told when a backend has let it in, too.

use super::super::connection::Ends;
use super::super::handshake;
use super::super::terms::{MysqlPlan, Terms};
use super::super::wire::Wire;
use super::channel::{Channel, Message};
use crate::core::mysql::protocol::auth::{
    ClientAuth, ClientAuthSettings, ClientStep, Credential, Password, Plugin, SCRAMBLE_LENGTH,
    scramble_from_seed,
};
use crate::core::mysql::protocol::capabilities::{Capabilities, Flavor, Offer};
use crate::core::mysql::protocol::handshake::{ChangeUser, ClientHello, HandshakeResponse, InitialHandshake};
use crate::core::mysql::protocol::packet::frame;
use crate::core::mysql::protocol::response::{ErrPacket, ServerError};
use crate::core::mysql::protocol::status::StatusFlags;
use std::io;
use tokio::net::TcpStream;

/// A client that is who it says.
pub(super) struct Client {
    pub(super) channel: Channel,
    /// What holds with it.
    pub(super) capabilities: Capabilities,
    pub(super) identity: Identity,
    /// Of the packet that tells it how its login ended.
    pub(super) next_sequence: u8,
    is_private: bool,
    /// It has asked to hear of changes.
    pub(super) hears_all: bool,
}

/// As whom it goes on to backends.
#[derive(Clone, Debug)]
pub(super) struct Identity {
    pub(super) user: String,
    pub(super) password: Password,
    pub(super) schema: Option<Vec<u8>>,
    /// Its low byte, as the handshake has it.
    pub(super) collation: u8,
    pub(super) attributes: Option<Vec<u8>>,
}

/// Why there is no session.
#[derive(Debug, thiserror::Error)]
pub(super) enum LoginError {
    #[error(transparent)]
    Io(#[from] io::Error),
    /// It was told why.
    #[error("refused: {0}")]
    Refused(String),
    #[error("no TLS with it: {0}")]
    Tls(#[from] handshake::HandshakeError),
}

fn scramble() -> io::Result<[u8; SCRAMBLE_LENGTH]> {
    let mut seed = [0; SCRAMBLE_LENGTH];
    getrandom::fill(&mut seed).map_err(io::Error::other)?;
    Ok(scramble_from_seed(seed))
}

/// What the password of a user is judged by.
fn settings(
    plan: &MysqlPlan,
    user: &str,
    first: [u8; SCRAMBLE_LENGTH],
    announced: Plugin,
    private: bool,
) -> io::Result<ClientAuthSettings> {
    let credential = match (plan.users.get(user), &plan.passthrough) {
        (Some(password), _) => Credential::Known(password.clone()),
        (None, Some(_)) => Credential::Ask,
        (None, None) => Credential::Nobody,
    };
    let second_scramble = scramble()?;
    Ok(ClientAuthSettings {
        credential,
        private,
        scramble: first,
        second_scramble,
        native_allowed: true,
        announced,
        key: plan.passthrough.as_ref().map(|key| key.0.clone()),
    })
}

fn announced(flavor: Flavor) -> Plugin {
    match flavor {
        Flavor::MySql => Plugin::CachingSha2,
        Flavor::MariaDb => Plugin::Native,
    }
}

/// Greets a client and finds out who it is.
pub(super) async fn accept(
    tcp: TcpStream,
    first: Vec<u8>,
    (ends, number): (Ends, u32),
    (terms, plan, sample): (&Terms, &MysqlPlan, &InitialHandshake),
) -> Result<Client, LoginError> {
    let offer = Offer::new(sample, terms.tls.is_some());
    let plugin = announced(offer.flavor);
    let scramble = scramble()?;
    let greeting = InitialHandshake {
        server_version: sample.server_version.clone(),
        connection_id: number,
        scramble: scramble.to_vec(),
        capabilities: offer.capabilities,
        collation: sample.collation,
        status: StatusFlags::AUTOCOMMIT,
        auth_plugin: plugin.name().into(),
    };
    let mut channel = Channel::of_a_stranger(Wire::new(tcp, None), first);
    channel.send(&frame(0, &greeting.encode())).await?;
    let mut message = channel.message().await?;
    let mut is_private = false;
    let response = loop {
        match ClientHello::parse(&message.payload) {
            Ok(ClientHello::Ssl(_)) if !is_private && terms.tls.is_some() => {
                channel = begin_tls(channel, terms).await?;
                is_private = true;
                message = channel.message().await?;
            }
            Ok(ClientHello::Response(response)) => break response,
            _ => {
                let packet = ServerError::BadHandshake.packet();
                let payload = packet.encode(Capabilities::default());
                channel.send(&frame(message.sequence.wrapping_add(1), &payload)).await?;
                return Err(LoginError::Refused("a handshake that was not understood".into()));
            }
        }
    };
    let capabilities = offer.negotiated(response.fixed.capabilities);
    let user = String::from_utf8_lossy(&response.user).into_owned();
    let settings = settings(plan, &user, scramble, plugin, is_private)?;
    let (auth, step) = ClientAuth::start(settings, &response);
    let mut client = Client {
        channel,
        capabilities,
        next_sequence: message.sequence.wrapping_add(1),
        is_private,
        hears_all: false,
        identity: identity(user, response),
    };
    client.identity.password = client.prove(auth, step, ends).await?;
    client.channel.trust();
    Ok(client)
}

fn identity(user: String, response: HandshakeResponse) -> Identity {
    Identity {
        user,
        password: Password::default(),
        schema: response.database,
        collation: response.fixed.collation,
        attributes: response.attributes,
    }
}

async fn begin_tls(channel: Channel, terms: &Terms) -> Result<Channel, LoginError> {
    let Some(tls) = &terms.tls else { return Err(LoginError::Refused("TLS is not offered".into())) };
    let (wire, rest) = channel.into_parts();
    let tcp = wire.into_socket();
    let established = handshake::accept(&tcp, &rest, &tls.0, None).await?;
    Ok(Channel::of_a_stranger(Wire::new(tcp, Some(established.session)), established.first))
}

impl Client {
    /// Goes through the dialogue that proves its password.
    async fn prove(
        &mut self,
        mut auth: ClientAuth,
        mut step: ClientStep,
        ends: Ends,
    ) -> Result<Password, LoginError> {
        loop {
            match step {
                ClientStep::Send(payload) => {
                    self.answer(&payload).await?;
                    let Message { sequence, payload } = self.channel.message().await?;
                    self.next_sequence = sequence.wrapping_add(1);
                    step = auth.packet(&payload);
                }
                ClientStep::Authenticated { before_ok, password } => {
                    if let Some(payload) = before_ok {
                        self.answer(&payload).await?;
                    }
                    return Ok(password);
                }
                ClientStep::Refused(refusal) => {
                    let host = ends.client.ip().to_string();
                    let packet = refusal.packet(&self.identity.user, &host);
                    self.refuse(&packet).await?;
                    return Err(LoginError::Refused(String::from_utf8_lossy(&packet.message).into_owned()));
                }
            }
        }
    }

    /// The next packet of the dialogue.
    pub(super) async fn answer(&mut self, payload: &[u8]) -> io::Result<()> {
        let packet = frame(self.next_sequence, payload);
        self.next_sequence = self.next_sequence.wrapping_add(1);
        self.channel.send(&packet).await
    }

    /// Tells it an error as the next packet.
    pub(super) async fn refuse(&mut self, error: &ErrPacket) -> io::Result<()> {
        let payload = error.encode(self.capabilities);
        self.answer(&payload).await
    }

    /// Another login on the same connection (`COM_CHANGE_USER`).
    pub(super) async fn change_user(
        &mut self,
        message: &Message,
        plan: &MysqlPlan,
        flavor: Flavor,
        ends: Ends,
    ) -> Result<(), LoginError> {
        self.next_sequence = message.sequence.wrapping_add(1);
        let Ok(wanted) = ChangeUser::parse(&message.payload, self.capabilities) else {
            self.refuse(&ServerError::MalformedPacket.packet()).await?;
            return Err(LoginError::Refused("a change of users that was not understood".into()));
        };
        let user = String::from_utf8_lossy(&wanted.user).into_owned();
        let settings = settings(plan, &user, scramble()?, announced(flavor), self.is_private)?;
        let (auth, step) = ClientAuth::start_change_user(settings, self.capabilities);
        self.identity.user = user;
        self.identity.password = self.prove(auth, step, ends).await?;
        self.identity.schema = Some(wanted.database).filter(|name| !name.is_empty());
        if let Some(collation) = wanted.collation {
            self.identity.collation = u8::try_from(collation).unwrap_or(self.identity.collation);
        }
        if wanted.attributes.is_some() {
            self.identity.attributes = wanted.attributes;
        }
        Ok(())
    }
}
