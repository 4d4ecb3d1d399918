//! The words of `lbctl firewall`.

use super::{ChangeArgs, duration};
use crate::model::{RuleName, ServiceName, any_source, parse_prefix};
use clap::{Args, Subcommand};
use ipnet::IpNet;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

/// The firewall.
#[derive(Debug, Subcommand)]
pub enum FirewallCommand {
    /// Rules, in their order: the first that matches decides.
    #[command(subcommand)]
    Rule(RuleCommand),
    /// List whose packets were dropped in the last ten minutes, and why: those of whom it is most come first.
    Dropped {
        /// At most so many
        #[arg(long, default_value_t = 20)]
        limit: usize,
    },
    /// Say whether a connection would be let in, and which rule decides. Asks the tables that the program asks.
    Test {
        /// Who connects.
        #[arg(long, value_name = "IP")]
        from: IpAddr,
        /// Where to.
        #[arg(long, value_name = "IP:PORT")]
        to: SocketAddr,
    },
}

/// Rules.
#[derive(Debug, Subcommand)]
pub enum RuleCommand {
    /// List the rules with what they did.
    List,
    /// Add a rule: allow, deny or limit sources.
    Add(Box<AddRuleArgs>),
    /// Remove a rule.
    Del {
        /// Its name.
        rule: RuleName,
        /// How to change it.
        #[command(flatten)]
        change: ChangeArgs,
        /// When to take it back.
        #[command(flatten)]
        confirm: ConfirmArgs,
    },
}

/// A change that must be confirmed.
#[derive(Clone, Copy, Debug, Args)]
pub struct ConfirmArgs {
    /// Take the change back unless `lbctl confirm` comes within this time: nobody locks themselves out.
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub confirm_within: Option<Duration>,
}

/// A rule to add.
#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("action").required(true))]
pub struct AddRuleArgs {
    /// Its name.
    pub rule: RuleName,
    /// Let these sources in: prefixes with commas between, `any`, or `file:/PATH`.
    #[arg(long, value_name = "SOURCES", group = "action", value_parser = sources)]
    pub allow: Option<SourceArgs>,
    /// Drop packets of these sources.
    #[arg(long, value_name = "SOURCES", group = "action", value_parser = sources)]
    pub deny: Option<SourceArgs>,
    /// Let these sources in within limits: --rate, --active or both.
    #[arg(long, value_name = "SOURCES", group = "action", value_parser = sources)]
    pub limit: Option<SourceArgs>,
    /// About this service only; without it and without the host, about all services.
    #[arg(long, conflicts_with_all = ["host", "host_port"])]
    pub service: Option<ServiceName>,
    /// About connections to the host itself.
    #[arg(long)]
    pub host: bool,
    /// About connections to this TCP port of the host itself.
    #[arg(long, value_name = "PORT")]
    pub host_port: Option<u16>,
    /// Limit: new connections a second of one source.
    #[arg(long, requires = "limit", value_name = "NUMBER")]
    pub rate: Option<u32>,
    /// Limit: how many may come at once [default: as many as in a second].
    #[arg(long, requires = "rate", value_name = "NUMBER")]
    pub burst: Option<u32>,
    /// Limit: open connections of one source.
    #[arg(long, requires = "limit", value_name = "NUMBER")]
    pub active: Option<u32>,
    /// Limit: leading bits of an IPv4 address that make a source [default: 32].
    #[arg(long, requires = "limit", value_name = "BITS")]
    pub per_ipv4: Option<u8>,
    /// The same for IPv6 [default: 64].
    #[arg(long, requires = "limit", value_name = "BITS")]
    pub per_ipv6: Option<u8>,
    /// Put it before this rule [default: behind all].
    #[arg(long, value_name = "RULE")]
    pub before: Option<RuleName>,
    /// How to change it.
    #[command(flatten)]
    pub change: ChangeArgs,
    /// When to take it back.
    #[command(flatten)]
    pub confirm: ConfirmArgs,
}

/// Sources on the command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SourceArgs {
    /// These.
    Prefixes(Vec<IpNet>),
    /// Those in a file.
    File(PathBuf),
}

fn sources(text: &str) -> Result<SourceArgs, String> {
    if let Some(path) = text.strip_prefix("file:") {
        return match path.starts_with('/') {
            true => Ok(SourceArgs::File(path.into())),
            false => Err("the agent needs the file's whole path: file:/PATH".into()),
        };
    }
    let mut prefixes = Vec::new();
    for part in text.split(',') {
        match part {
            "any" => prefixes.extend(any_source()),
            part => prefixes.push(parse_prefix(part).map_err(|error| error.to_string())?),
        }
    }
    Ok(SourceArgs::Prefixes(prefixes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_are_prefixes_with_commas_or_a_file() {
        let two = sources("198.51.100.0/24,2001:db8::1").expect("sources");
        assert!(matches!(two, SourceArgs::Prefixes(prefixes) if prefixes.len() == 2));
        assert_eq!(sources("any").expect("sources"), SourceArgs::Prefixes(any_source().to_vec()));
        assert_eq!(sources("file:/etc/deny").expect("sources"), SourceArgs::File("/etc/deny".into()));
        assert!(sources("file:deny").is_err() && sources("198.51.100.7/24").is_err() && sources("").is_err());
    }
}
