//! The address plan: who is called what, and where. Fixed; documents and tests spell it out too.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// One host of the lab.
#[derive(Debug, PartialEq, Eq)]
pub struct HostPlan {
    /// Its name without `lab-`.
    pub name: &'static str,
    /// The network its `eth0` is on.
    pub network: Network,
    /// The last part of its addresses, read as decimal in IPv4 and as written in IPv6.
    pub number: u8,
}

/// The two networks that meet at the router.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Network {
    /// 10.80.0.0/24 and fd80::/64: load balancers, web servers, databases.
    Servers,
    /// 10.90.0.0/24 and fd90::/64: the client.
    Clients,
}

/// The router, which stands on both networks with number [`ROUTER_NUMBER`].
pub const ROUTER: &str = "router";
/// The router's number on both networks.
pub const ROUTER_NUMBER: u8 = 1;
/// VIP A, active on lb1.
pub const VIP_A: u8 = 100;
/// VIP B, active on lb2.
pub const VIP_B: u8 = 101;
/// VIP `direct`, active on lb1; the web servers have it too, and answer from it themselves.
pub const VIP_DIRECT: u8 = 102;
/// The nodes that run an agent.
pub const NODES: [&str; 2] = ["lb1", "lb2"];
/// The web servers.
pub const WEBS: [&str; 2] = ["web1", "web2"];
/// The databases, primary first.
pub const DATABASES: [&str; 2] = ["db1", "db2"];

/// Every host but the router, which has no `eth0`.
pub const HOSTS: [HostPlan; 7] = [
    HostPlan { name: "client", network: Network::Clients, number: 10 },
    HostPlan { name: "lb1", network: Network::Servers, number: 2 },
    HostPlan { name: "lb2", network: Network::Servers, number: 3 },
    HostPlan { name: "web1", network: Network::Servers, number: 21 },
    HostPlan { name: "web2", network: Network::Servers, number: 22 },
    HostPlan { name: "db1", network: Network::Servers, number: 31 },
    HostPlan { name: "db2", network: Network::Servers, number: 32 },
];

impl Network {
    /// The IPv4 address of `number` on this network.
    pub fn ipv4(self, number: u8) -> Ipv4Addr {
        match self {
            Network::Servers => Ipv4Addr::new(10, 80, 0, number),
            Network::Clients => Ipv4Addr::new(10, 90, 0, number),
        }
    }

    /// The IPv6 address of `number` on this network: the decimal digits, written as they are
    /// (.21 is ::21), so that people recognise the host.
    pub fn ipv6(self, number: u8) -> Ipv6Addr {
        let digits = u16::from(number);
        let as_written = (digits / 100) << 8 | (digits / 10 % 10) << 4 | (digits % 10);
        let prefix = match self {
            Network::Servers => 0xfd80,
            Network::Clients => 0xfd90,
        };
        Ipv6Addr::new(prefix, 0, 0, 0, 0, 0, 0, as_written)
    }
}

impl HostPlan {
    /// The host's IPv4 address.
    pub fn ipv4(&self) -> Ipv4Addr {
        self.network.ipv4(self.number)
    }

    /// The host's IPv6 address.
    pub fn ipv6(&self) -> Ipv6Addr {
        self.network.ipv6(self.number)
    }

    /// The other end of the host's link, in the router's namespace.
    pub fn router_port(&self) -> String {
        match self.network {
            Network::Servers => format!("p-{}", self.name),
            Network::Clients => "eth-client".to_owned(),
        }
    }
}

/// The plan of a host by its name (without `lab-`); `None` for the router and for strangers.
pub fn plan(name: &str) -> Option<&'static HostPlan> {
    HOSTS.iter().find(|host| host.name == name)
}

/// Both addresses of a VIP.
pub fn vip(number: u8) -> [IpAddr; 2] {
    [Network::Servers.ipv4(number).into(), Network::Servers.ipv6(number).into()]
}

/// All namespaces of the lab, the router's first because the links end there.
pub fn namespaces() -> impl Iterator<Item = String> {
    std::iter::once(ROUTER).chain(HOSTS.iter().map(|host| host.name)).map(|name| format!("lab-{name}"))
}

/// The IPv4 address of a host of the plan as text.
///
/// # Panics
/// When the name is not in the plan.
pub fn ipv4_of(name: &str) -> Ipv4Addr {
    match plan(name) {
        Some(host) => host.ipv4(),
        None => panic!("{name} is not in the address plan"),
    }
}

/// The IPv6 address of a host of the plan.
///
/// # Panics
/// When the name is not in the plan.
pub fn ipv6_of(name: &str) -> Ipv6Addr {
    match plan(name) {
        Some(host) => host.ipv6(),
        None => panic!("{name} is not in the address plan"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ipv6_addresses_show_the_same_digits_as_ipv4() {
        assert_eq!(ipv6_of("web1").to_string(), "fd80::21");
        assert_eq!(ipv4_of("web1").to_string(), "10.80.0.21");
        assert_eq!(vip(VIP_A).map(|ip| ip.to_string()), ["10.80.0.100", "fd80::100"]);
        assert_eq!(vip(VIP_B).map(|ip| ip.to_string()), ["10.80.0.101", "fd80::101"]);
        assert_eq!(ipv6_of("client").to_string(), "fd90::10");
    }

    #[test]
    fn no_two_hosts_share_an_address() {
        let mut addresses: Vec<_> = HOSTS.iter().map(HostPlan::ipv4).collect();
        addresses
            .extend([VIP_A, VIP_B, VIP_DIRECT, ROUTER_NUMBER].map(|number| Network::Servers.ipv4(number)));
        let all = addresses.len();
        addresses.sort();
        addresses.dedup();
        assert_eq!(addresses.len(), all);
    }

    #[test]
    fn link_names_fit_into_an_interface_name() {
        assert!(HOSTS.iter().all(|host| host.router_port().len() <= 15));
    }

    #[test]
    fn there_is_one_namespace_per_host_and_one_for_the_router() {
        let names: Vec<_> = namespaces().collect();
        assert_eq!(names.len(), 8);
        assert_eq!(names[0], "lab-router");
        assert!(names.contains(&"lab-db2".to_owned()));
    }
}
