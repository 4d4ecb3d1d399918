//! What of this host's settings gets in the dataplane's way, in words for the operator.
//!
//! Reads `/proc`, and changes nothing but this process' own limits. The judging is apart from the reading.

use crate::config::Node;
use crate::model::PortRange;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

const LOCAL_PORTS: &str = "/proc/sys/net/ipv4/ip_local_port_range";
/// Flags of `/proc/net/ipv6_route` (linux/ipv6_route.h): a default router, learned by autoconfiguration.
const RTF_DEFAULT: u32 = 0x0001_0000;
const RTF_ADDRCONF: u32 = 0x0004_0000;

/// Lets this process have as many files open as the host allows at all: each proxied connection takes two.
pub(super) fn allow_open_files() {
    if let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE)
        && soft < hard
    {
        // What was allowed before has to do otherwise.
        let _ = setrlimit(Resource::RLIMIT_NOFILE, hard, hard);
    }
}

/// All that is to be said before anything is changed.
pub(super) fn warnings(node: &Node) -> Vec<String> {
    router_warnings(&node.interfaces).into_iter().chain(port_warning(node.nat_ports)).collect()
}

/// Whether the node's ports are also given to this host's own connections.
fn port_warning(nat_ports: PortRange) -> Option<String> {
    overlap(nat_ports, &fs::read_to_string(LOCAL_PORTS).ok()?)
}

/// Which default routes turning IPv6 forwarding on for these interfaces takes away. To be asked before: the
/// kernel does it at once.
fn router_warnings(interfaces: &[String]) -> Vec<String> {
    let setting = |interface: &str, name: &str| {
        let path = Path::new("/proc/sys/net/ipv6/conf").join(interface).join(name);
        fs::read_to_string(path).ok()?.trim().parse::<i32>().ok()
    };
    // The kernel asks all interfaces when it is turned on for any.
    if interfaces.iter().all(|interface| setting(interface, "forwarding") == Some(1)) {
        return Vec::new();
    }
    let routes = fs::read_to_string("/proc/net/ipv6_route").unwrap_or_default();
    let lost = default_routes_learned(&routes)
        .into_iter()
        .filter(|interface| setting(interface, "accept_ra").is_some_and(|accepts| accepts != 2));
    lost.map(|interface| {
        format!(
            "interface {interface} learned its IPv6 default route from router advertisements, and the kernel drops \
             that now that IPv6 forwarding is on: `sysctl -w net/ipv6/conf/{interface}/accept_ra=2` keeps it, or \
             configure the route"
        )
    })
    .collect()
}

fn overlap(nat_ports: PortRange, local_ports: &str) -> Option<String> {
    let mut ends = local_ports.split_whitespace().map(str::parse);
    let local = PortRange::new(ends.next()?.ok()?, ends.next()?.ok()?).ok()?;
    nat_ports.overlaps(local).then(|| {
        format!(
            "node.nat_ports {nat_ports} overlaps {local}, the ports this host gives to its own connections \
             (net.ipv4.ip_local_port_range): answers to its connections to backends may go to clients; change one \
             of the two"
        )
    })
}

/// Interfaces with a default route from router advertisements, each once.
fn default_routes_learned(routes: &str) -> BTreeSet<&str> {
    let lines = routes.lines().filter(|line| is_learned_default(line));
    lines.filter_map(|line| line.split_whitespace().next_back()).collect()
}

/// A line is: destination, its prefix, source, its prefix, next hop, metric, references, use, flags, interface.
fn is_learned_default(line: &str) -> bool {
    let words: Vec<&str> = line.split_whitespace().collect();
    let [to, "00", _, _, _, _, _, _, flags, _] = words.as_slice() else { return false };
    let flags = u32::from_str_radix(flags, 16).unwrap_or(0);
    let wanted = RTF_DEFAULT | RTF_ADDRCONF;
    to.bytes().all(|digit| digit == b'0') && flags & wanted == wanted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_that_the_host_uses_itself_are_told_with_both_ranges() {
        let range = |text: &str| text.parse::<PortRange>().expect("a range");
        let warning = overlap(range("2048-32767"), "15000\t60999\n").expect("they overlap");
        assert!(warning.contains("2048-32767") && warning.contains("15000-60999"), "{warning}");
        assert!(warning.contains("net.ipv4.ip_local_port_range"), "{warning}");
        assert_eq!(overlap(range("2048-32767"), "32768\t60999\n"), None);
        assert_eq!(overlap(range("2048-32767"), "nonsense"), None);
    }

    #[test]
    fn only_default_routes_from_advertisements_count() {
        let any = "00000000000000000000000000000000";
        let router = "fe800000000000000000000000000001";
        let line = |to: &str, prefix: &str, flags: &str, interface: &str| {
            format!("{to} {prefix} {any} 00 {router} 00000400 00000001 00000000 {flags} {interface:>8}\n")
        };
        let routes = [
            line(any, "00", "00450003", "eth0"),
            line(any, "00", "00450003", "eth0"),
            line(any, "00", "00000003", "eth1"),
            line("fd800000000000000000000000000000", "40", "00450003", "eth2"),
            line(any, "00", "00200200", "lo"),
        ];
        assert_eq!(default_routes_learned(&routes.concat()), ["eth0"].into());
        assert_eq!(default_routes_learned("short line\n"), BTreeSet::new());
    }
}
