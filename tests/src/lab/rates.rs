//! Rates for the live line: what passes the router's ports and what the agents count, read twice.
//!
//! The ports see every packet of every host, also those a load balancer transmits from XDP. An agent
//! that does not answer, or answers something else, is left out.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::addresses::{HOSTS, NODES};
use super::{Host, agents, http, programs};

/// Counters of one port, seen from the host behind it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PortCounters {
    /// Packets the host has sent.
    pub sent_packets: u64,
    /// Packets the host has received.
    pub received_packets: u64,
    /// Bytes the host has sent.
    pub sent_bytes: u64,
    /// Bytes the host has received.
    pub received_bytes: u64,
}

/// Counters of all hosts at one moment.
#[derive(Debug, Clone)]
pub struct Sample {
    taken: Instant,
    ports: BTreeMap<String, PortCounters>,
    agents: BTreeMap<String, AgentCounters>,
}

/// What an agent counts, over all its backends.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct AgentCounters {
    new_flows: u64,
    open_flows: u64,
}

/// Reads the counters of all hosts (by name without `lab-`).
pub fn sample() -> Result<Sample> {
    let output = programs::run(Host::find("router")?.command("cat").arg("/proc/net/dev"))?;
    let ports = parse(&String::from_utf8_lossy(&output.stdout));
    let agents = NODES.iter().filter_map(|node| Some(((*node).to_owned(), agent_counters(node)?))).collect();
    Ok(Sample { taken: Instant::now(), ports, agents })
}

impl Sample {
    /// The counters of a host.
    pub fn host(&self, name: &str) -> Result<PortCounters> {
        self.ports.get(name).copied().with_context(|| format!("no port of `{name}` at the router"))
    }
}

fn agent_counters(node: &str) -> Option<AgentCounters> {
    let answer = http::get_over_unix_socket(&agents::socket_path(node), "/v1/services").ok()?;
    parse_services(&answer.body)
}

/// Sums over the backends of all services.
fn parse_services(body: &str) -> Option<AgentCounters> {
    let services: serde_json::Value = serde_json::from_str(body).ok()?;
    let backends = services.as_array()?.iter().filter_map(|service| service["backends"].as_array()).flatten();
    let mut sum = AgentCounters::default();
    for backend in backends {
        sum.new_flows += backend["flows_new"].as_u64().unwrap_or(0);
        sum.open_flows += backend["active_flows"].as_u64().unwrap_or(0);
    }
    Some(sum)
}

/// The live line: new flows per second and open flows of each agent; packets and bits per second of the
/// hosts at both ends, both directions together.
pub fn rates(before: &Sample, after: &Sample) -> String {
    let period = after.taken.duration_since(before.taken).max(Duration::from_millis(1)).as_secs_f64();
    let mut parts = Vec::new();
    for (node, new) in &after.agents {
        let Some(old) = before.agents.get(node) else { continue };
        let per_second = short(new.new_flows.saturating_sub(old.new_flows) as f64 / period);
        parts.push(format!("{node} {per_second} new flows/s, {} open", new.open_flows));
    }
    for name in ["client", "web1", "web2", "db1"] {
        let (Some(old), Some(new)) = (before.ports.get(name), after.ports.get(name)) else { continue };
        let packets =
            (new.sent_packets + new.received_packets).saturating_sub(old.sent_packets + old.received_packets);
        let bytes = (new.sent_bytes + new.received_bytes).saturating_sub(old.sent_bytes + old.received_bytes);
        let (packets, bits) = (short(packets as f64 / period), short(bytes as f64 * 8.0 / period));
        parts.push(format!("{name} {packets} pkt/s {bits}bit/s"));
    }
    parts.join(" | ")
}

/// A number in at most four characters and a unit prefix.
fn short(value: f64) -> String {
    let (scaled, prefix) = match value {
        v if v >= 1e9 => (v / 1e9, "G"),
        v if v >= 1e6 => (v / 1e6, "M"),
        v if v >= 1e3 => (v / 1e3, "k"),
        v => return format!("{v:.0}"),
    };
    if scaled < 10.0 { format!("{scaled:.1}{prefix}") } else { format!("{scaled:.0}{prefix}") }
}

/// `/proc/net/dev` of the router's namespace; what a port received is what its host sent.
fn parse(text: &str) -> BTreeMap<String, PortCounters> {
    let mut ports = BTreeMap::new();
    for line in text.lines() {
        let Some((link, numbers)) = line.split_once(':') else { continue };
        let Some(host) = HOSTS.iter().find(|host| host.router_port() == link.trim()) else { continue };
        let numbers: Vec<u64> = numbers.split_ascii_whitespace().map(|n| n.parse().unwrap_or(0)).collect();
        let at = |index: usize| numbers.get(index).copied().unwrap_or(0);
        let counters = PortCounters {
            sent_bytes: at(0),
            sent_packets: at(1),
            received_bytes: at(8),
            received_packets: at(9),
        };
        ports.insert(host.name.to_owned(), counters);
    }
    ports
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEV: &str = "Inter-|   Receive                                                |  Transmit\n \
        face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs\n    \
        lo:       0       0    0    0    0     0          0         0        0       0    0    0\n\
        p-web1: 1000 10 0 0 0 0 0 0 3000 30 0 0 0 0 0 0\n\
        eth-client: 5 1 0 0 0 0 0 0 7 2 0 0 0 0 0 0\n";

    #[test]
    fn ports_are_read_from_the_hosts_point_of_view() {
        let ports = parse(DEV);
        let expected =
            PortCounters { sent_packets: 10, received_packets: 30, sent_bytes: 1000, received_bytes: 3000 };
        assert_eq!(ports["web1"], expected);
        assert_eq!(ports["client"].received_packets, 2);
        assert_eq!(ports.len(), 2);
    }

    #[test]
    fn rates_are_per_second_and_short() {
        let start = Instant::now();
        let agents = |new_flows| BTreeMap::from([("lb1".into(), AgentCounters { new_flows, open_flows: 7 })]);
        let before = Sample { taken: start, ports: parse(DEV), agents: agents(100) };
        let mut after =
            Sample { taken: start + Duration::from_secs(2), ports: parse(DEV), agents: agents(3100) };
        after.ports.get_mut("web1").unwrap().sent_packets += 40_000;
        after.ports.get_mut("web1").unwrap().sent_bytes += 2_500_000;
        let expected = "lb1 1.5k new flows/s, 7 open | client 0 pkt/s 0bit/s | web1 20k pkt/s 10Mbit/s";
        assert_eq!(rates(&before, &after), expected);
    }

    #[test]
    fn flows_are_summed_over_services_and_backends() {
        let body = r#"[{"name":"web","backends":[{"flows_new":3,"active_flows":1},{"flows_new":4}]},{"backends":[]}]"#;
        assert_eq!(parse_services(body), Some(AgentCounters { new_flows: 7, open_flows: 1 }));
        assert_eq!(parse_services("{}"), None);
        assert_eq!(parse_services("<html>"), None);
    }

    #[test]
    fn numbers_stay_short() {
        let shown: Vec<_> = [0.4, 999.0, 1500.0, 71_000.0, 2.5e6, 3.2e9].map(short).into();
        assert_eq!(shown, ["0", "999", "1.5k", "71k", "2.5M", "3.2G"]);
    }
}
