//! `[sync]`: with whom flows are shared; and what nodes compare of their configurations.

use super::{Config, edit};
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// The UDP port when the file names none.
pub const DEFAULT_SYNC_PORT: u16 = 8788;

/// `[sync]`: this node tells others of its flows, and takes copies of theirs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FlowSync {
    /// This node's own address and port for it.
    pub address: SocketAddr,
    /// The other nodes'; at least one, and of the same family.
    pub peers: Vec<SocketAddr>,
    /// The file with the key that all nodes share.
    pub key_file: PathBuf,
    /// For how long after it took a VIP over this node drops packets of flows it does not know, instead of resetting them.
    pub grace: Duration,
    /// For how long after its start this node waits for others' flows before it takes a VIP from an Active router.
    pub join_timeout: Duration,
}

impl fmt::Display for FlowSync {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "from {} to ", self.address)?;
        super::write_list(f, &self.peers)?;
        let times = (humantime::format_duration(self.grace), humantime::format_duration(self.join_timeout));
        write!(f, " key {} grace {} join within {}", self.key_file.display(), times.0, times.1)
    }
}

impl Config {
    /// What all nodes of a tier should have alike, as a file would say it: addresses and intervals of VIPs, services and their
    /// backends, the firewall's rules. What has its default is not in it, so releases that know more keys agree with those that do not.
    pub fn shared_text(&self) -> String {
        let mut text = String::new();
        for (name, vip) in &self.vips {
            let mut addresses: Vec<String> = vip.addresses.iter().map(ToString::to_string).collect();
            addresses.sort();
            text.push_str(&format!("[vip.{name}]\naddress = {addresses:?}\n"));
            if let Some(vrrp) = &vip.vrrp {
                let interval = humantime::format_duration(vrrp.interval.duration());
                text.push_str(&format!("vrrp = {} {interval}\n", vrrp.id));
            }
        }
        for service in self.services.values() {
            text.push_str(&edit::service_table(service));
        }
        text.push_str(&format!("host_default = {}\n", self.firewall.host_default));
        for rule in &self.firewall.rules {
            text.push_str(&edit::rule_table(rule));
        }
        text
    }

    /// A hash (FNV-1a) of [`Config::shared_text`].
    pub fn fingerprint(&self) -> u64 {
        let step = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        self.shared_text().bytes().fold(0xcbf2_9ce4_8422_2325, step)
    }
}
