//! Addresses: what they must look like, and which of them can be used.

use std::net::{IpAddr, SocketAddr};

use super::Validator;
use crate::config::locate::{Complaint, Path};

const ADDRESS_EXAMPLE: &str = "\"10.80.0.100\"";
const ENDPOINT_EXAMPLE: &str = "IP:PORT such as \"10.80.0.21:80\" or \"[fd80::21]:80\"";

impl Validator<'_> {
    /// An address that hosts can send to.
    pub(super) fn address(&mut self, path: &Path, text: &str) -> Option<IpAddr> {
        let Ok(address) = text.parse::<IpAddr>() else {
            let wrong = if text.parse::<SocketAddr>().is_ok() {
                "has a port"
            } else if text.split_once('/').is_some_and(|(address, _)| address.parse::<IpAddr>().is_ok()) {
                "has a prefix length"
            } else {
                "is not an IP address"
            };
            let expected = format!("an address alone such as {ADDRESS_EXAMPLE}");
            return self.complain(path, Complaint::new(format!("{text:?} {wrong}")).expected(expected));
        };
        self.usable(path, text, address)?;
        Some(address)
    }

    /// An address and port of a backend.
    pub(super) fn endpoint(&mut self, path: &Path, text: &str) -> Option<SocketAddr> {
        let endpoint = match text.parse::<SocketAddr>() {
            Ok(endpoint) => endpoint,
            Err(_) => return self.complain(path, no_endpoint(text)),
        };
        if endpoint.port() == 0 {
            let wrong = format!("{text:?} has port 0, which nothing can be reached at");
            return self.complain(path, Complaint::new(wrong).expected("a port from 1 to 65535"));
        }
        self.usable(path, text, endpoint.ip())?;
        if let SocketAddr::V6(v6) = endpoint
            && v6.scope_id() != 0
        {
            let wrong = format!("{text:?} has a zone, which the dataplane does not know");
            return self.complain(path, Complaint::new(wrong).expected(ENDPOINT_EXAMPLE));
        }
        Some(endpoint)
    }

    fn usable(&mut self, path: &Path, text: &str, address: IpAddr) -> Option<()> {
        match unusable(address) {
            Some(why) => self.complain(
                path,
                Complaint::new(format!("{text:?} is {why}")).expected("the address of one host"),
            ),
            None => Some(()),
        }
    }
}

/// Why no host on the network can be sent to at this address, if so.
fn unusable(address: IpAddr) -> Option<&'static str> {
    let broadcast = matches!(address, IpAddr::V4(v4) if v4.is_broadcast());
    let link_local = matches!(address, IpAddr::V6(v6) if v6.is_unicast_link_local());
    let mapped = matches!(address, IpAddr::V6(v6) if v6.to_ipv4_mapped().is_some());
    let reasons = [
        (address.is_unspecified(), "the unspecified address"),
        (address.is_loopback(), "a loopback address, which never leaves its machine"),
        (address.is_multicast(), "a multicast address"),
        (broadcast, "the broadcast address"),
        (link_local, "a link-local address, which means nothing without its link"),
        (mapped, "an IPv4 address written as IPv6"),
    ];
    reasons.into_iter().find(|(applies, _)| *applies).map(|(_, why)| why)
}

/// Says what a text lacks to be an address with a port.
fn no_endpoint(text: &str) -> Complaint {
    match text.parse::<IpAddr>() {
        Ok(address) => {
            let example = SocketAddr::new(address, 80);
            let brackets =
                if address.is_ipv6() { " (an IPv6 address stands in brackets before its port)" } else { "" };
            Complaint::new(format!("{text:?} has no port{brackets}"))
                .expected(format!("IP:PORT such as \"{example}\""))
        }
        Err(_) => {
            let complaint = Complaint::new(format!("{text:?} is not an IP address and a port"))
                .expected(ENDPOINT_EXAMPLE);
            let host = text.rsplit_once(':').map_or(text, |(host, _)| host);
            let named = host.contains(|c: char| c.is_alphabetic()) && !host.contains(':');
            complaint.suggest(named.then(|| "host names are not looked up: write the address".to_owned()))
        }
    }
}
