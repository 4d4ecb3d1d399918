//! Words: the states, modes and kinds there are, each with one spelling.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::ModelError;

macro_rules! words {
    ($($(#[$doc:meta])* $name:ident is a $what:literal {
        $($(#[$variant_doc:meta])* $variant:ident = $word:literal,)*
    })*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub enum $name {
            $($(#[$variant_doc])* #[serde(rename = $word)] $variant,)*
        }

        impl $name {
            /// All the words, as they are written in files and on the command line.
            pub const WORDS: &'static [&'static str] = &[$($word),*];

            /// The word for this value.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word,)* }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.as_str())
            }
        }

        impl FromStr for $name {
            type Err = ModelError;
            fn from_str(text: &str) -> Result<Self, ModelError> {
                match text {
                    $($word => Ok(Self::$variant),)*
                    _ => Err(ModelError::Word { what: $what, given: text.to_owned(), expected: Self::WORDS }),
                }
            }
        }
    )*};
}

words! {
    /// In which form the agent's log is written.
    LogFormat is a "form of the log" {
        /// Text on a terminal; else systemd's journal where it listens, and JSON where it does not.
        Auto = "auto",
        /// Lines for people.
        Text = "text",
        /// An object of JSON on each line.
        Json = "json",
        /// Entries of systemd's journal, with fields.
        Journald = "journald",
    }

    /// How recent what a replica answers has to be.
    Consistency is a "consistency" {
        /// A session finds what it wrote itself.
        Session = "session",
        /// And what all others had written before it asked.
        Global = "global",
        /// It may not.
        Eventual = "eventual",
    }

    /// How an authority that gives out certificates finds out whose a name is.
    AcmeChallenge is a "challenge" {
        /// It asks for a page over HTTP, at port 80: RFC 8555 §8.3.
        Http01 = "http-01",
        /// It makes a handshake of TLS, at port 443: RFC 8737.
        TlsAlpn01 = "tls-alpn-01",
    }

    /// What the checksum of an IPv4 advertisement of VRRP covers. RFC 9568 §5.2.8 means the message alone; nearly everybody includes
    /// a pseudo-header, as it must be with IPv6.
    ChecksumForm is a "form of checksum" {
        /// Pseudo-header and message.
        PseudoHeader = "pseudo-header",
        /// The message alone.
        Message = "message",
    }

    /// The IP version of an address.
    Family is a "family" {
        /// IPv4.
        V4 = "ipv4",
        /// IPv6.
        V6 = "ipv6",
    }

    /// What the operator wants of a backend.
    AdminState is a "state" {
        /// It takes new flows.
        Ready = "ready",
        /// It takes no new flows; those it has go on.
        Drain = "drain",
        /// It is out of service: no new flows and no checks; those it has go on unless they are cut by force.
        Maint = "maint",
    }

    /// What the health checks say about a backend's address.
    HealthState is a "health" {
        /// No check has said anything yet.
        Unknown = "unknown",
        /// It answers.
        Up = "up",
        /// It does not answer as it should.
        Down = "down",
    }

    /// What the health checks say about a backend, over all its addresses.
    BackendHealth is a "backend health" {
        /// There are no checks, or they have not said enough yet.
        Unknown = "unknown",
        /// All addresses answer.
        Up = "up",
        /// Some addresses answer, others do not.
        Degraded = "degraded",
        /// No address answers as it should.
        Down = "down",
    }

    /// How a service forwards.
    Mode is a "mode" {
        /// In XDP, destination and source translated.
        Nat = "nat",
        /// In XDP, only the destination MAC changed; the backend answers the client directly.
        Dsr = "dsr",
        /// In the agent, as a TCP proxy.
        Tcp = "tcp",
        /// In the agent, ending TLS.
        Tls = "tls",
        /// In the agent, which sends every request over HTTP/1 to HTTPS.
        RedirectHttps = "redirect-https",
        /// In the agent, understanding MySQL's protocol.
        Mysql = "mysql",
    }

    /// The oldest version of TLS that is spoken.
    TlsVersion is a "version of TLS" {
        /// RFC 5246.
        V1_2 = "1.2",
        /// RFC 8446.
        V1_3 = "1.3",
    }

    /// What becomes of clients that ask for a name there is no certificate for, or for none.
    UnknownName is a "way to treat unknown names" {
        /// They get the first certificate.
        Default = "default",
        /// They are refused.
        Refuse = "refuse",
    }

    /// Whether clients must have a certificate.
    ClientCertificateMode is a "way to treat clients" {
        /// Those without are refused.
        Required = "required",
        /// Those without are served; those with a wrong one are refused.
        Optional = "optional",
    }

    /// Which header of the PROXY protocol is written before a connection's data.
    ProxyVersion is a "version of the PROXY protocol" {
        /// A line of text.
        V1 = "v1",
        /// Binary, with room for more.
        V2 = "v2",
    }

    /// A flow's state.
    FlowStateWord is a "state of a flow" {
        /// Its handshake is not complete.
        Embryonic = "embryonic",
        /// Both directions are open.
        Established = "established",
        /// One side sent FIN.
        HalfClosed = "half-closed",
        /// Both sides sent FIN, or one RST.
        Closed = "closed",
    }

    /// What becomes of a new flow when a backend, or its service, has as many as it may have.
    AtLimit is a "behaviour at a limit" {
        /// Another backend takes it; where none can, it is reset.
        OtherBackend = "other-backend",
        /// It is reset.
        Reset = "reset",
        /// It is dropped, so its client tries again.
        Drop = "drop",
    }

    /// The transport protocol of a service.
    Protocol is a "protocol" {
        /// TCP.
        Tcp = "tcp",
        /// UDP.
        Udp = "udp",
    }

    /// How a service picks the backend of a new flow.
    SchedulerKind is a "scheduler" {
        /// In turn, in proportion to the weights, exact across CPUs.
        RoundRobin = "round-robin",
        /// The less loaded of two.
        LeastConnections = "least-connections",
        /// By the client's address.
        SourceHash = "source-hash",
        /// By the 5-tuple, on a table that hardly changes when backends come and go.
        Maglev = "maglev",
    }

    /// What a service does with a new flow when no backend can take it.
    WhenDown is a "way to be down" {
        /// It answers with RST: the client knows at once.
        Reset = "reset",
        /// It says nothing: the client tries again for a while.
        Drop = "drop",
        /// It goes on with all backends that are ready, as if their checks had not failed.
        LastKnown = "last-known",
    }

    /// What becomes of a connection that no rule of the firewall decides about.
    DefaultPolicy is a "default policy" {
        /// It is let in.
        Allow = "allow",
        /// It is dropped.
        Deny = "deny",
    }

    /// When SYNs are answered with cookies.
    SynCookieMode is a "mode of SYN cookies" {
        /// When more handshakes are unfinished than can be remembered.
        Auto = "auto",
        /// Always.
        Always = "always",
        /// Never: a flood of SYNs then keeps new clients out.
        Never = "never",
    }

    /// Where in the interface's receive path the program is attached.
    AttachMode is a "attach mode" {
        /// In the driver where it can, otherwise generic, with a warning.
        Auto = "auto",
        /// In the driver, or not at all.
        Native = "native",
        /// In the kernel's generic path, which works everywhere and is slower.
        Generic = "generic",
    }
}

impl Family {
    /// The family of an address.
    pub fn of(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(_) => Self::V4,
            IpAddr::V6(_) => Self::V6,
        }
    }

    /// The family that this one is not.
    pub fn other(self) -> Self {
        match self {
            Self::V4 => Self::V6,
            Self::V6 => Self::V4,
        }
    }

    /// The family's name as people write it: `IPv4` or `IPv6`.
    pub fn title(self) -> &'static str {
        match self {
            Self::V4 => "IPv4",
            Self::V6 => "IPv6",
        }
    }
}

impl Mode {
    /// Whether the agent serves it, and connections end at this node.
    pub const fn is_served_by_agent(self) -> bool {
        matches!(self, Self::Tcp | Self::Tls | Self::RedirectHttps | Self::Mysql)
    }

    /// Whether it has backends; one that has none answers itself.
    pub const fn has_backends(self) -> bool {
        !matches!(self, Self::RedirectHttps)
    }
}

impl BackendHealth {
    /// The health of a backend whose addresses have these.
    pub fn of(addresses: impl IntoIterator<Item = HealthState>) -> Self {
        let addresses: Vec<HealthState> = addresses.into_iter().collect();
        let all = |state| addresses.iter().all(|health| *health == state);
        match () {
            () if addresses.is_empty() => Self::Unknown,
            () if all(HealthState::Up) => Self::Up,
            () if all(HealthState::Down) => Self::Down,
            () if addresses.contains(&HealthState::Up) && addresses.contains(&HealthState::Down) => {
                Self::Degraded
            }
            () => Self::Unknown,
        }
    }
}

impl Protocol {
    /// The protocol's number in the IP header.
    pub fn number(self) -> u8 {
        match self {
            Self::Tcp => 6,
            Self::Udp => 17,
        }
    }
}
