//! The configuration: from a TOML file to checked, typed values, and back by small edits.
//!
//! The way in is [`Config::load`] (or [`Config::parse`]): file text → `file` (what may be written)
//! → `validate` (what makes sense) → [`Config`]. [`mod@diff`] says what changes between two
//! configurations, [`adopt`] what of a new one a running agent can take, [`edit`] writes a change into
//! the file's text and keeps its comments.
//! Owns the meaning and the defaults of every key of the file. Never acts on a configuration.

mod acme;
mod adopt;
mod agent;
pub mod diff;
pub mod edit;
mod error;
mod file;
mod firewall;
mod locate;
mod log;
mod metrics;
mod mysql;
mod proxy;
mod sync;
mod tls;
mod track;
mod validate;
mod vrrp;
mod write;

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

pub use self::acme::{Acme, DEFAULT_ACME_FOLDER, acme_file, is_acme_file};
pub use self::adopt::adopt;
pub use self::agent::AgentTerms;
pub use self::error::{ConfigError, ConfigErrors, LoadError};
pub use self::firewall::{Firewall, FirewallRule, Limits, RuleAction, RuleTarget, Sources};
pub use self::log::Log;
pub use self::metrics::Metrics;
pub use self::mysql::{MysqlMonitor, MysqlTerms, MysqlUser, Secret};
pub use self::proxy::ProxyTerms;
pub use self::sync::{DEFAULT_SYNC_PORT, FlowSync};
pub use self::tls::{BackendTls, CertificateFiles, ClientCertificates, TlsTerms};
pub use self::track::{Notify, TrackedCommand, Tracker};
pub use self::vrrp::Vrrp;
pub use self::write::{write_atomically, write_for_owner};
use crate::model::{
    AdminState, AtLimit, BackendName, DefaultPolicy, Family, Mode, NodeName, PortRange, Protocol,
    SchedulerKind, ServiceName, TrackerName, VipName, Weight, WhenDown,
};
pub use crate::model::{AttachMode, SynCookieMode};

/// The control socket when the file names none.
pub const DEFAULT_SOCKET: &str = "/run/lbctl/lbctl.sock";

/// How many refused connections take a backend down when the file does not say.
pub const DEFAULT_REFUSALS: u32 = 3;

/// The folder of the pins of all nodes on this machine; each node has a folder of its own in it.
pub const PIN_ROOT: &str = "/sys/fs/bpf/lbctl";

/// A whole configuration that has been checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// This machine.
    pub node: Node,
    /// The control socket.
    pub control: Control,
    /// The XDP dataplane.
    pub dataplane: Dataplane,
    /// All VIPs, those of other nodes too.
    pub vips: BTreeMap<VipName, Vip>,
    /// All services.
    pub services: BTreeMap<ServiceName, Service>,
    /// Who may reach what.
    pub firewall: Firewall,
    /// With whom flows are shared.
    pub sync: Option<FlowSync>,
    /// What priorities of virtual routers hang on.
    pub trackers: BTreeMap<TrackerName, Tracker>,
    /// Who is told when the state of a virtual router changes.
    pub notify: Option<Notify>,
    /// Who gives out certificates.
    pub acme: Option<Acme>,
    /// Where figures are shown.
    pub metrics: Option<Metrics>,
    /// What the agent tells of itself.
    pub log: Log,
    /// What it keeps of its rights.
    pub agent: AgentTerms,
}

/// `[node]`: this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// Its name.
    pub name: NodeName,
    /// The ports that translated flows get as their source.
    pub nat_ports: PortRange,
    /// The interfaces the program is attached to; at least one.
    pub interfaces: Vec<String>,
    /// How it is attached.
    pub attach: AttachMode,
}

/// `[control]`: the control socket and who may use it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Control {
    /// The socket's path.
    pub socket: PathBuf,
    /// Its members may change things, as root may.
    pub group: Option<String>,
    /// Whether everybody may look.
    pub others_may_read: bool,
}

/// `[dataplane]`: sizes and times of the XDP dataplane.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dataplane {
    /// The folder of the pinned maps and links.
    pub pin_dir: PathBuf,
    /// How many established flows there can be; each is two entries of the table.
    pub established_flows: u32,
    /// How many flows there can be whose handshake is not finished.
    pub embryonic_flows: u32,
    /// How many sources the firewall's limits are kept for at one time.
    pub limited_sources: u32,
    /// How many prefixes of each family the firewall's rules may have.
    pub prefixes: u32,
    /// When SYNs are answered with cookies.
    pub syn_cookies: SynCookieMode,
    /// After which silence a flow is forgotten.
    pub timeouts: FlowTimeouts,
}

/// `[dataplane.timeouts]`: after which silence a flow is forgotten.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlowTimeouts {
    /// Both directions open.
    pub established: Duration,
    /// One direction closed.
    pub half_closed: Duration,
    /// Both directions closed, or reset.
    pub closed: Duration,
    /// Handshake not finished.
    pub embryonic: Duration,
    /// Datagrams, whose flows have no end.
    pub udp: Duration,
}

impl Default for FlowTimeouts {
    fn default() -> Self {
        Self {
            // RFC 5382 asks a NAT for at least 2 hours and 4 minutes.
            established: Duration::from_secs(2 * 3600 + 5 * 60),
            half_closed: Duration::from_secs(4 * 60),
            closed: Duration::from_secs(10),
            embryonic: Duration::from_secs(60),
            // RFC 4787 asks a NAT for at least 2 minutes.
            udp: Duration::from_secs(2 * 60),
        }
    }
}

/// `[vip.NAME]`: virtual addresses that move together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vip {
    /// The addresses; at least one.
    pub addresses: Vec<IpAddr>,
    /// The interface they live on.
    pub interface: String,
    /// The node that serves them; with VRRP, the one that does as long as it can.
    pub active_on: NodeName,
    /// How nodes agree on which of them serves them.
    pub vrrp: Option<Vrrp>,
}

impl Vip {
    /// Its addresses of one family.
    pub fn addresses_of(&self, family: Family) -> impl Iterator<Item = IpAddr> + use<'_> {
        self.addresses.iter().copied().filter(move |address| Family::of(*address) == family)
    }

    /// Whether a node may serve it.
    pub fn may_be_on(&self, node: &NodeName) -> bool {
        self.vrrp.is_some() || self.active_on == *node
    }
}

/// `[service.NAME]`: VIPs and a port, and where their flows go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// Its name.
    pub name: ServiceName,
    /// The VIPs it is reached at; at least one.
    pub vips: Vec<VipName>,
    /// The port it is reached at.
    pub port: u16,
    /// The transport protocol.
    pub protocol: Protocol,
    /// How it forwards.
    pub mode: Mode,
    /// In `nat` mode: whether backends see clients' own addresses, and route their answers through this node.
    pub keep_source: bool,
    /// How it picks a backend.
    pub scheduler: SchedulerKind,
    /// What it does with new flows when no backend can take them.
    pub when_down: WhenDown,
    /// What becomes of connections that no rule of the firewall decides about.
    pub default_policy: DefaultPolicy,
    /// How many flows it may have; 0 is as many as come.
    pub max_flows: u32,
    /// What becomes of a new flow when it, or the backend whose turn it is, has as many as it may have.
    pub at_limit: AtLimit,
    /// What holds for its connections, where they end at this node: with modes `tcp` and `tls`.
    pub proxy: Option<ProxyTerms>,
    /// How clients' TLS ends at this node: with mode `tls`.
    pub tls: Option<TlsTerms>,
    /// TLS with its backends: with modes `tcp` and `tls`.
    pub backend_tls: Option<BackendTls>,
    /// Who may log in, and where statements run: with mode `mysql`.
    pub mysql: Option<MysqlTerms>,
    /// Where requests are sent: with mode `redirect-https`.
    pub https_port: Option<u16>,
    /// How its backends are checked; without it they are always up.
    pub health: Option<HealthCheck>,
    /// Its backends, in the order of the file; may be empty.
    pub backends: Vec<Backend>,
}

/// `[[service.NAME.backend]]`: one real server of a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Backend {
    /// Its name, unique within the service.
    pub name: BackendName,
    /// At least one address, and at most one of each family.
    pub addresses: Vec<SocketAddr>,
    /// Its share of new flows.
    pub weight: Weight,
    /// What the operator wants of it.
    pub state: AdminState,
    /// How many flows it may have; 0 is as many as come.
    pub max_flows: u32,
    /// The names, asked for in TLS, whose connections it takes; without any it takes those that no other one has a name for.
    pub names: Vec<String>,
}

impl Backend {
    /// Its address of one family, if it has one.
    pub fn address(&self, family: Family) -> Option<SocketAddr> {
        self.addresses.iter().copied().find(|address| Family::of(address.ip()) == family)
    }
}

/// `[service.NAME.health]`: how the backends of a service are checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HealthCheck {
    /// What a check does.
    pub kind: CheckKind,
    /// From the start of one check to the start of the next.
    pub interval: Duration,
    /// A check that takes longer has failed; never longer than the interval.
    pub timeout: Duration,
    /// So many successes in a row bring a backend up.
    pub rise: u32,
    /// So many failures in a row take a backend down.
    pub fall: u32,
    /// For how long a backend that came up gets less than its share; zero is off.
    pub slow_start: Duration,
    /// So many refused connections of clients since the last success take a backend down at once; 0 is off.
    pub refusals: u32,
    /// The port to check when it is not the backend's own.
    pub port: Option<u16>,
}

/// What a health check does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CheckKind {
    /// Opens a TCP connection.
    Tcp,
    /// Asks for a page over HTTP/1.1.
    Http {
        /// The path asked for; starts with `/`.
        path: String,
        /// Any of these is a success; at least one.
        expect_status: Vec<u16>,
        /// The page must contain this.
        expect_body: Option<String>,
    },
}

impl Config {
    /// Reads and checks a configuration. `file_name` is what errors call the text.
    pub fn parse(text: &str, file_name: &str) -> Result<Self, ConfigErrors> {
        let source = locate::Source::parse(text, file_name)?;
        let file = file::File::read(&source)?;
        validate::validate(&source, &file)
    }

    /// Reads and checks the configuration in a file.
    pub fn load(path: &Path) -> Result<Self, LoadError> {
        let text = std::fs::read_to_string(path)
            .map_err(|cause| LoadError::Read { path: path.to_owned(), cause })?;
        Ok(Self::parse(&text, &path.display().to_string())?)
    }
}

/// Where a node's pins are when the file does not say.
///
/// The kernel's bpf file system reserves names with dots, so a dot becomes an underscore.
pub fn default_pin_dir(node: &NodeName) -> PathBuf {
    Path::new(PIN_ROOT).join(node.as_str().replace('.', "_"))
}

/// Writes a list with commas between its parts.
fn write_list<T: fmt::Display>(f: &mut fmt::Formatter<'_>, list: &[T]) -> fmt::Result {
    for (position, part) in list.iter().enumerate() {
        if position > 0 {
            f.write_str(", ")?;
        }
        part.fmt(f)?;
    }
    Ok(())
}

/// Shows a backend as `web1 (10.80.0.21:80, weight 1, ready)`.
impl fmt::Display for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (", self.name)?;
        write_list(f, &self.addresses)?;
        write!(f, ", weight {}, {}", self.weight, self.state)?;
        if self.max_flows != 0 {
            write!(f, ", at most {} flows", self.max_flows)?;
        }
        if !self.names.is_empty() {
            f.write_str(", for ")?;
            write_list(f, &self.names)?;
        }
        f.write_str(")")
    }
}

/// Shows a check as `http /healthz`.
impl fmt::Display for CheckKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp => f.write_str("tcp"),
            Self::Http { path, expect_status, expect_body } => {
                write!(f, "http {path} status ")?;
                write_list(f, expect_status)?;
                match expect_body {
                    Some(body) => write!(f, " body {body:?}"),
                    None => Ok(()),
                }
            }
        }
    }
}

/// Shows a check with all its numbers.
impl fmt::Display for HealthCheck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let time = humantime::format_duration;
        write!(f, "{} every {}, timeout {}", self.kind, time(self.interval), time(self.timeout))?;
        write!(f, ", rise {}, fall {}, slow start {}", self.rise, self.fall, time(self.slow_start))?;
        if self.refusals != DEFAULT_REFUSALS {
            write!(f, ", refusals {}", self.refusals)?;
        }
        match self.port {
            Some(port) => write!(f, ", port {port}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod generate;
#[cfg(test)]
mod tests;
