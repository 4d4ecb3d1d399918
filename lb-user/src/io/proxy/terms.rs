//! What holds for connections of a service: times, limits, and what is spoken on either side.
//!
//! Owns the words alone. Large parts are shared by all threads, and equal where they are one and the same.

use super::IdleTimeouts;
use crate::core::mysql::protocol::auth::{Password, ProxyKey};
use crate::core::mysql::protocol::handshake::InitialHandshake;
use crate::core::mysql::sql::Dialect;
use crate::model::{AtLimit, Consistency, ProxyVersion, ServiceName, WhenDown};
use ipnet::IpNet;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// What holds for all connections of a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Terms {
    /// How long a backend may take to accept.
    pub connect: Duration,
    /// How long a client may take for what has to come before its data.
    pub handshake: Duration,
    /// How long a connection may wait for a backend.
    pub queue: Duration,
    /// How long who may be silent.
    pub idle: IdleTimeouts,
    /// How often another backend is tried.
    pub retries: u32,
    /// How many connections may wait for a backend.
    pub max_queue: u32,
    /// How many connections the service may have over both families; 0 is as many as come.
    pub max_flows: u32,
    /// What a connection meets at a limit.
    pub at_limit: AtLimit,
    /// What a connection meets without a backend.
    pub when_down: WhenDown,
    /// Whose connections begin with a PROXY header.
    pub accept_proxy_from: Vec<IpNet>,
    /// What backends are told first.
    pub send_proxy: Option<ProxyVersion>,
    /// Whether backends see clients' own addresses as the source; somebody else sees to it that their answers come here.
    pub transparent: bool,
    /// The end of clients' TLS.
    pub tls: Option<TlsServer>,
    /// TLS with backends.
    pub backend_tls: Option<TlsClient>,
    /// The port of HTTPS that every request over HTTP/1 is sent to; then there are no backends.
    pub redirect: Option<u16>,
    /// What authorities that ask whose a name is are answered.
    pub challenges: Option<ChallengeSet>,
    /// The service's name, where each connection is logged when it ends.
    pub connection_log: Option<ServiceName>,
    /// Sessions of databases, whose commands go to one or the other backend.
    pub mysql: Option<Arc<MysqlPlan>>,
}

impl Terms {
    /// Whether a backend sees that client's own address: of another family it cannot.
    pub(super) fn shows(&self, client: SocketAddr, backend: SocketAddr) -> bool {
        self.transparent && client.is_ipv4() == backend.is_ipv4()
    }
}

/// How sessions of databases are served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MysqlPlan {
    /// The service's name.
    pub service: String,
    /// Who may log in, by name.
    pub users: BTreeMap<String, Password>,
    /// Others may, too, if the primary lets them in: the key by which they send their passwords where there is no TLS.
    pub passthrough: Option<LoginKey>,
    /// How recent replicas have to be.
    pub consistency: Consistency,
    /// How long a read may wait for that.
    pub max_wait: Duration,
    /// After so long without a command a session lends its connections to others; `None`: never.
    pub multiplex_after: Option<Duration>,
    /// A statement that takes longer is told of.
    pub slow_log: Option<Duration>,
    /// What each backend is good for, in the order of the plan's.
    pub parts: Vec<Part>,
    /// What servers like these say first; `None`: none has been heard yet.
    pub greeting: Option<InitialHandshake>,
    /// What their statements are read as.
    pub dialect: Dialect,
    /// Why there is no primary, where there is none.
    pub no_primary: String,
}

/// What a backend is good for now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// It takes writes.
    Primary,
    /// It answers reads.
    Replica,
    /// Neither, now.
    None,
    /// It does not answer at all.
    Silent,
}

/// Answers to authorities that give out certificates.
#[derive(Debug, Default)]
pub struct Challenges {
    /// To requests over HTTP, by their tokens: RFC 8555 §8.3.
    pub answers: BTreeMap<String, String>,
    /// To handshakes of TLS, by the name in lower case: RFC 8737.
    pub sessions: BTreeMap<String, Arc<rustls::ServerConfig>>,
}

/// The same. Two are equal where they are one and the same.
#[derive(Clone, Debug)]
pub struct ChallengeSet(pub Arc<Challenges>);

impl PartialEq for ChallengeSet {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for ChallengeSet {}

/// A key for passwords. Two are equal where they are one and the same.
#[derive(Clone, Debug)]
pub struct LoginKey(pub Arc<ProxyKey>);

impl PartialEq for LoginKey {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for LoginKey {}

/// How clients' TLS ends here. Two are equal where they are one and the same.
#[derive(Clone, Debug)]
pub struct TlsServer(pub Arc<rustls::ServerConfig>);

impl PartialEq for TlsServer {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for TlsServer {}

/// How backends are spoken TLS with. Two are equal where their configurations are one and the same.
#[derive(Clone, Debug)]
pub struct TlsClient {
    /// Whom to trust.
    pub config: Arc<rustls::ClientConfig>,
    /// The name that a backend must have a certificate for; without it, its address.
    pub server_name: Option<rustls::pki_types::ServerName<'static>>,
}

impl PartialEq for TlsClient {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.config, &other.config) && self.server_name == other.server_name
    }
}

impl Eq for TlsClient {}
