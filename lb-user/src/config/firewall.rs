//! `[firewall]`: who may reach what.
//!
//! Owns the rules' shape and their words. Reading a rule's file of prefixes is not for this room.

use std::fmt;
use std::path::PathBuf;

use ipnet::IpNet;

use crate::model::{DefaultPolicy, RuleName, ServiceName};

/// `[firewall]`: rules in their order; the first that matches decides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Firewall {
    /// What becomes of connections to the host itself that no rule decides about.
    pub host_default: DefaultPolicy,
    /// The rules.
    pub rules: Vec<FirewallRule>,
}

impl Default for Firewall {
    fn default() -> Self {
        Self { host_default: DefaultPolicy::Allow, rules: Vec::new() }
    }
}

/// `[[firewall.rule]]`: what is done with packets from some sources to some destination.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FirewallRule {
    /// Its name.
    pub name: RuleName,
    /// What it does.
    pub action: RuleAction,
    /// The sources it is about.
    pub sources: Sources,
    /// The destination it is about.
    pub target: RuleTarget,
}

/// What a rule does with what matches it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RuleAction {
    /// Lets it in.
    Allow,
    /// Drops it.
    Deny,
    /// Lets new connections in within limits, and drops those above.
    Limit(Limits),
}

/// Limits that each source has for itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// New connections a second, in the long run.
    pub new_flows_per_second: Option<u32>,
    /// How many may come at once; at least 1.
    pub burst: u32,
    /// Connections open at one time.
    pub active_flows: Option<u32>,
    /// How many leading bits of an IPv4 address make a source.
    pub per_ipv4: u8,
    /// The same for IPv6.
    pub per_ipv6: u8,
}

/// The sources a rule is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sources {
    /// These; at least one.
    Prefixes(Vec<IpNet>),
    /// Those in a file, one on a line.
    File(PathBuf),
}

/// The destination a rule is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum RuleTarget {
    /// Everything addressed to a VIP.
    Services,
    /// One service.
    Service(ServiceName),
    /// All TCP ports of the host itself.
    Host,
    /// One TCP port of the host itself.
    HostPort(u16),
}

impl RuleTarget {
    /// Whether it is the host, and not a service.
    pub fn is_host(&self) -> bool {
        matches!(self, Self::Host | Self::HostPort(_))
    }
}

impl RuleAction {
    /// Its word, as the key of a rule has it.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Deny => "deny",
            Self::Limit(_) => "limit",
        }
    }
}

impl fmt::Display for RuleTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Services => f.write_str("all services"),
            Self::Service(name) => write!(f, "service {name}"),
            Self::Host => f.write_str("host"),
            Self::HostPort(port) => write!(f, "host port {port}"),
        }
    }
}

/// Shows them as `198.51.100.0/24, 2001:db8::/32 and 7 more`, or as the file's path.
impl fmt::Display for Sources {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 3;
        match self {
            Self::File(path) => write!(f, "file {}", path.display()),
            Self::Prefixes(prefixes) if prefixes[..] == crate::model::any_source() => f.write_str("any"),
            Self::Prefixes(prefixes) => {
                super::write_list(f, &prefixes[..prefixes.len().min(SHOWN)])?;
                match prefixes.len().saturating_sub(SHOWN) {
                    0 => Ok(()),
                    more => write!(f, " and {more} more"),
                }
            }
        }
    }
}

/// Shows limits as `50 new/s (burst 100), 20 open, per /32 and /64`.
impl fmt::Display for Limits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(rate) = self.new_flows_per_second {
            write!(f, "{rate} new/s (burst {}), ", self.burst)?;
        }
        if let Some(active) = self.active_flows {
            write!(f, "{active} open, ")?;
        }
        write!(f, "per /{} and /{}", self.per_ipv4, self.per_ipv6)
    }
}

/// Shows a rule as `deny 198.51.100.0/24 to service web`.
impl fmt::Display for FirewallRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} to {}", self.action.word(), self.sources, self.target)?;
        match &self.action {
            RuleAction::Limit(limits) => write!(f, ": {limits}"),
            _ => Ok(()),
        }
    }
}
