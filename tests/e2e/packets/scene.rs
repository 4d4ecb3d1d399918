//! Who is where in the namespace of the packet cases, once for each family, and what one flow looks like
//! from each side.
//!
//! Owns names, addresses and MACs; `environment` builds the same in the kernel. Never runs anything.

use super::builder::{ACK, Content, Icmp, Mac, Packet, SYN, Tcp, Udp};
use lb_ebpf::abi::Forwarding;
use std::net::{IpAddr, SocketAddr};

/// The balancer's interfaces.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Port {
    /// Where clients' router and most backends are.
    Lan,
    /// Another network.
    Far,
    /// An interface that does not forward.
    Dark,
}

impl Port {
    pub(crate) const ALL: [Self; 3] = [Self::Lan, Self::Far, Self::Dark];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Lan => "lan",
            Self::Far => "far",
            Self::Dark => "dark",
        }
    }

    pub(crate) fn mac(self) -> Mac {
        [2, 0, 0, 0, self as u8, 2]
    }
}

/// A neighbour of the balancer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Host {
    pub(crate) address: IpAddr,
    pub(crate) mac: Mac,
    pub(crate) port: Port,
}

/// One family's addresses.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scene {
    pub(crate) v6: bool,
}

/// Both families.
pub(crate) const SCENES: [Scene; 2] = [Scene { v6: false }, Scene { v6: true }];
pub(crate) const V4: Scene = SCENES[0];
pub(crate) const V6: Scene = SCENES[1];
pub(crate) const ROUTER_MAC: Mac = [2, 0, 0, 0, 0, 1];
/// The route to `narrow` takes no larger IP packet.
pub(crate) const NARROW_MTU: usize = 1400;

impl Scene {
    pub(crate) fn family(self) -> &'static str {
        if self.v6 { "IPv6" } else { "IPv4" }
    }

    fn at(self, v4: &str, v6: &str) -> IpAddr {
        (if self.v6 { v6 } else { v4 }).parse().expect("the addresses here are well formed")
    }

    fn host(self, v4: &str, v6: &str, port: Port, number: u8) -> Host {
        Host { address: self.at(v4, v6), mac: [2, 0, 0, 0, port as u8, number], port }
    }

    pub(crate) fn node(self) -> IpAddr {
        self.at("10.80.0.2", "fd80::2")
    }
    pub(crate) fn far_node(self) -> IpAddr {
        self.at("10.81.0.2", "fd81::2")
    }
    pub(crate) fn vip(self) -> IpAddr {
        self.at("10.80.0.100", "fd80::100")
    }
    pub(crate) fn vip_b(self) -> IpAddr {
        self.at("10.80.0.101", "fd80::101")
    }
    /// No VIP, but it ends in the same 16 bits as one.
    pub(crate) fn double(self) -> IpAddr {
        self.at("10.99.0.100", "fd99::100")
    }
    pub(crate) fn router(self) -> Host {
        Host { address: self.at("10.80.0.1", "fd80::1"), mac: ROUTER_MAC, port: Port::Lan }
    }
    pub(crate) fn client(self) -> IpAddr {
        self.at("10.90.0.10", "fd90::10")
    }
    /// A client whose network no route leads to.
    pub(crate) fn stranger(self) -> IpAddr {
        self.at("198.51.100.7", "2001:db8:7::7")
    }
    /// Backend 1, 2 or 3.
    pub(crate) fn web(self, number: u8) -> Host {
        let (v4, v6) = (format!("10.80.0.2{number}"), format!("fd80::2{number}"));
        self.host(&v4, &v6, Port::Lan, 0x20 + number)
    }
    pub(crate) fn far(self) -> Host {
        self.host("10.81.0.24", "fd81::24", Port::Far, 0x24)
    }
    pub(crate) fn narrow(self) -> Host {
        self.host("10.80.0.26", "fd80::26", Port::Lan, 0x26)
    }
    /// Nobody knows its MAC address.
    pub(crate) fn silent(self) -> Host {
        self.host("10.80.0.27", "fd80::27", Port::Lan, 0x27)
    }
    /// No route leads there.
    pub(crate) fn nowhere(self) -> Host {
        self.host("192.0.2.9", "2001:db8::9", Port::Lan, 0x28)
    }
    /// A route says that it cannot be reached.
    pub(crate) fn refused(self) -> Host {
        self.host("203.0.113.9", "2001:db8:1::9", Port::Lan, 0x29)
    }

    /// The first flow of a balancer with nothing but `web1` behind port 80.
    pub(crate) fn flow(self) -> Flow {
        Flow {
            scene: self,
            client: SocketAddr::new(self.client(), 40000),
            service: SocketAddr::new(self.vip(), 80),
            nat_port: FIRST_NAT_PORT,
            backend: self.web(1),
            backend_port: 8080,
            client_isn: 0x1000_0000,
            backend_isn: 0x2000_0000,
            forwarding: Forwarding::Nat,
        }
    }

    /// An ICMP error from a host, arriving from it or its router, that quotes so much of a packet's content.
    pub(crate) fn error(self, from: Host, kind: IcmpKind, quoted: &Packet, content_bytes: usize) -> Packet {
        let mut body = quoted.ip_bytes();
        body.truncate(quoted.header_bytes() + content_bytes);
        let (kind, code, rest) = kind.fields(self.v6);
        let content = Content::Icmp(Icmp { kind, code, rest, body });
        Packet::new((from.mac, from.port.mac()), (from.address, self.vip()), content)
    }
}

/// The first of the cases' NAT ports.
pub(crate) const FIRST_NAT_PORT: u16 = 2048;

/// ICMP errors, in both families' numbers.
#[derive(Clone, Copy, Debug)]
pub(crate) enum IcmpKind {
    TooBig,
    PortUnreachable,
    TimeExceeded,
    ParameterProblem,
}

impl IcmpKind {
    fn fields(self, v6: bool) -> (u8, u8, [u8; 4]) {
        match (self, v6) {
            (Self::TooBig, false) => (3, 4, [0, 0, 0x05, 0x14]),
            (Self::TooBig, true) => (2, 0, [0, 0, 0x05, 0x14]),
            (Self::PortUnreachable, false) => (3, 3, [0; 4]),
            (Self::PortUnreachable, true) => (1, 4, [0; 4]),
            (Self::TimeExceeded, false) => (11, 0, [0; 4]),
            (Self::TimeExceeded, true) => (3, 0, [0; 4]),
            (Self::ParameterProblem, false) => (12, 0, [8, 0, 0, 0]),
            (Self::ParameterProblem, true) => (4, 0, [0, 0, 0, 7]),
        }
    }
}

/// A connection as both its ends see it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Flow {
    pub(crate) scene: Scene,
    pub(crate) client: SocketAddr,
    pub(crate) service: SocketAddr,
    pub(crate) nat_port: u16,
    pub(crate) backend: Host,
    pub(crate) backend_port: u16,
    pub(crate) client_isn: u32,
    pub(crate) backend_isn: u32,
    pub(crate) forwarding: Forwarding,
}

impl Flow {
    /// The same from another client port, with the NAT port and backend it should get.
    pub(crate) fn another(self, client_port: u16, nat_port: u16, backend: Host) -> Self {
        let client = SocketAddr::new(self.client.ip(), client_port);
        Self { client, nat_port, backend, ..self }
    }

    /// A segment from the client, as it reaches the balancer by the router.
    pub(crate) fn client_sends(&self, flags: u8, payload: &[u8]) -> Packet {
        let is_open = flags & (SYN | ACK) == SYN;
        let tcp = Tcp {
            source_port: self.client.port(),
            destination_port: self.service.port(),
            sequence: self.client_isn.wrapping_add(u32::from(!is_open)),
            acknowledgement: if flags & ACK == 0 { 0 } else { self.backend_isn.wrapping_add(1) },
            flags,
            window: 64240,
            payload: payload.to_vec(),
            ..Tcp::default()
        };
        let macs = (ROUTER_MAC, Port::Lan.mac());
        let packet = Packet::tcp(macs, (self.client.ip(), self.service.ip()), tcp);
        Packet { hops: 63, ..packet }
    }

    /// A segment from the backend, as it reaches the balancer.
    pub(crate) fn backend_sends(&self, flags: u8, payload: &[u8]) -> Packet {
        let is_answer = flags & SYN != 0;
        let tcp = Tcp {
            source_port: self.backend_port,
            destination_port: self.nat_port,
            sequence: self.backend_isn.wrapping_add(u32::from(!is_answer)),
            acknowledgement: if flags & ACK == 0 { 0 } else { self.client_isn.wrapping_add(1) },
            flags,
            window: 65160,
            payload: payload.to_vec(),
            ..Tcp::default()
        };
        self.arriving(Content::Tcp(tcp))
    }

    /// A datagram from the client, as it reaches the balancer by the router.
    pub(crate) fn client_says(&self, payload: &[u8]) -> Packet {
        let content = datagram(self.client.port(), self.service.port(), payload);
        let macs = (ROUTER_MAC, Port::Lan.mac());
        Packet { hops: 63, ..Packet::new(macs, (self.client.ip(), self.service.ip()), content) }
    }

    /// A datagram from the backend, as it reaches the balancer.
    pub(crate) fn backend_says(&self, payload: &[u8]) -> Packet {
        self.arriving(datagram(self.backend_port, self.nat_port, payload))
    }

    fn arriving(&self, content: Content) -> Packet {
        let macs = (self.backend.mac, self.backend.port.mac());
        let seen = self.seen_by_backend();
        Packet::new(macs, (self.backend.address, seen.ip()), content)
            .with_ports(self.backend_port, seen.port())
    }

    /// The source that the backend sees.
    pub(crate) fn seen_by_backend(&self) -> SocketAddr {
        match self.forwarding {
            Forwarding::Nat => SocketAddr::new(self.service.ip(), self.nat_port),
            Forwarding::KeepSource | Forwarding::Direct => self.client,
        }
    }

    /// What a client's packet must have become when it leaves for the backend.
    pub(crate) fn forwarded(&self, packet: &Packet) -> Packet {
        let sent = Packet { to_mac: self.backend.mac, from_mac: self.backend.port.mac(), ..packet.clone() };
        if self.forwarding == Forwarding::Direct {
            return sent;
        }
        let seen = self.seen_by_backend();
        let (source, destination) = (seen.ip(), self.backend.address);
        let sent = Packet { source, destination, hops: packet.hops - 1, ..sent };
        sent.with_ports(seen.port(), self.backend_port)
    }

    /// What a backend's packet must have become when it leaves for the client's router.
    pub(crate) fn returned(&self, packet: &Packet) -> Packet {
        let sent = Packet {
            to_mac: ROUTER_MAC,
            from_mac: Port::Lan.mac(),
            source: self.service.ip(),
            destination: self.client.ip(),
            hops: packet.hops - 1,
            ..packet.clone()
        };
        sent.with_ports(self.service.port(), self.client.port())
    }
}

fn datagram(source_port: u16, destination_port: u16, payload: &[u8]) -> Content {
    let payload = payload.to_vec();
    Content::Udp(Udp { source_port, destination_port, payload, length_error: 0, has_checksum: true })
}
