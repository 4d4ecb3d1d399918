//! Frames that are not ours, or not for the program: they reach the host as they came.

use super::builder::{ACK, Content, Packet, RST, SYN, ethernet, with_byte};
use super::case::{Case, Setup};
use super::scene::{IcmpKind, Port, ROUTER_MAC, SCENES, Scene, V4, V6};
use lb_ebpf::outcome::Outcome;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

fn web(scene: Scene) -> Setup {
    Setup::web(scene, &[scene.web(1)])
}

pub(crate) fn cases() -> Vec<Case> {
    let mut cases = not_ip();
    cases.extend(too_short());
    for scene in SCENES {
        cases.extend(not_ours(scene));
        cases.extend(for_the_host(scene));
    }
    cases.push(mapped_address());
    cases
}

fn not_ip() -> Vec<Case> {
    let case = |sentence: &str| Case::new(V4, sentence, web(V4));
    let lan = Port::Lan.mac();
    let arp_request = [
        &[0, 1, 8, 0, 6, 4, 0, 1][..],
        &ROUTER_MAC,
        &[10, 80, 0, 1],
        &[0; 6],
        &[10, 80, 0, 100], // who has the VIP?
    ]
    .concat();
    let broadcast = [0xff; 6];
    let lldp = [2, 7, 4, 2, 0, 0, 0, 0, 1, 4, 2, 5, 1, 6, 2, 0, 120, 0, 0];
    let syn = V4.flow().client_sends(SYN, b"").ip_bytes();
    let tagged = |ether_type| {
        let content = [&[0, 7, 8, 0][..], &syn].concat();
        ethernet(ROUTER_MAC, lan, ether_type, &content)
    };
    vec![
        case("an ARP request for a VIP is the host's to answer")
            .passes(Outcome::NotIp, ethernet(ROUTER_MAC, broadcast, 0x0806, &arp_request)),
        case("LLDP is the host's business")
            .passes(Outcome::NotIp, ethernet(ROUTER_MAC, [1, 0x80, 0xc2, 0, 0, 0x0e], 0x88cc, &lldp)),
        case("an EtherType nobody here knows is left to the host")
            .passes(Outcome::NotIp, ethernet(ROUTER_MAC, lan, 0x88b5, &syn)),
        case(
            "an 802.1Q tag is passed although a service's SYN is behind it: only untagged frames are served",
        )
        .passes(Outcome::VlanTagged, tagged(0x8100)),
        case("an 802.1ad tag is passed like the inner one").passes(Outcome::VlanTagged, tagged(0x88a8)),
        case("an IPv6 EtherType in front of an IPv4 packet does not make it a VIP's").passes(
            Outcome::Runt,
            ethernet(ROUTER_MAC, lan, 0x86dd, &V4.flow().client_sends(ACK, b"").ip_bytes()[..39]),
        ),
    ]
}

fn too_short() -> Vec<Case> {
    let mut cases = Vec::new();
    for (scene, lengths) in [(V4, [14, 15, 33]), (V6, [14, 34, 53])] {
        for length in lengths {
            let sentence = format!("a frame of {length} bytes has no destination, so it may not be ours");
            let mut frame = scene.flow().client_sends(SYN, b"").frame();
            frame.truncate(length);
            cases.push(Case::new(scene, &sentence, web(scene)).passes(Outcome::Runt, frame));
        }
    }
    cases
}

/// Packets to addresses that are no VIPs, among them one that the filter of last bytes lets through.
fn not_ours(scene: Scene) -> Vec<Case> {
    let case = |sentence: &str| Case::new(scene, sentence, web(scene));
    let to = |destination: IpAddr, packet: Packet| Packet { destination, ..packet };
    let flow = scene.flow();
    let double = |flags| to(scene.double(), flow.client_sends(flags, b""));
    let plain = double(ACK).frame();
    let header_end = 14 + double(ACK).header_bytes();
    let error = scene.error(scene.web(1), IcmpKind::PortUnreachable, &flow.client_sends(ACK, b""), 20);
    let udp = Content::Other { protocol: 17, bytes: vec![0, 53, 0, 53, 0, 8, 0, 0] };
    let first_byte = plain[14];
    vec![
        case("a SYN to the node's own address is the host's")
            .passes(Outcome::NotOurs, to(scene.node(), flow.client_sends(SYN, b"")).frame()),
        case("a SYN through the node to somebody else is the host's to forward")
            .passes(Outcome::NotOurs, to(scene.client(), flow.client_sends(SYN, b"")).frame()),
        case("a SYN to an address that only ends like a VIP is not ours")
            .passes(Outcome::NotOurs, double(SYN).frame()),
        case("an ACK to an address that only ends like a VIP gets no RST from us")
            .passes(Outcome::NotOurs, plain.clone()),
        case("a RST to an address that only ends like a VIP is not ours to drop")
            .passes(Outcome::NotOurs, double(RST).frame()),
        case("insane TCP flags to an address that only ends like a VIP are not ours to drop")
            .passes(Outcome::NotOurs, double(0).frame()),
        case("a bad IP header to an address that only ends like a VIP is not ours to drop")
            .passes(Outcome::NotOurs, with_byte(plain.clone(), 14, first_byte ^ 0xf0)),
        case("a cut TCP header to an address that only ends like a VIP is not ours to drop").passes(
            Outcome::NotOurs,
            Packet { content: Content::Other { protocol: 6, bytes: vec![1; 12] }, ..double(ACK) }.frame(),
        ),
        case(
            "a TCP header that claims too much, to an address that only ends like a VIP, is not ours to drop",
        )
        .passes(Outcome::NotOurs, with_byte(plain, header_end + 12, 0xf0)),
        case("UDP to an address that only ends like a VIP is not ours")
            .passes(Outcome::NotOurs, Packet { content: udp, ..double(ACK) }.frame()),
        case("an ICMP error to an address that only ends like a VIP is not ours")
            .passes(Outcome::NotOurs, to(scene.double(), error).frame()),
        case("an address that stops being a VIP stops being ours at once, its flows too")
            .opened(&flow)
            .act(super::case::Act::Desire(Setup::new(&[], Vec::new())))
            .passes(Outcome::NotOurs, flow.client_sends(ACK, b"more").frame()),
    ]
}

/// Packets to a VIP that the host itself answers.
fn for_the_host(scene: Scene) -> Vec<Case> {
    let case = |sentence: &str| Case::new(scene, sentence, web(scene));
    let flow = scene.flow();
    let with_content = |protocol, bytes: &[u8]| Packet {
        content: Content::Other { protocol, bytes: bytes.to_vec() },
        ..flow.client_sends(ACK, b"")
    };
    let to_port =
        |port, flags| flow.client_sends(flags, b"").with_tcp(|tcp| tcp.destination_port = port).frame();
    let after_nat_ports = web(scene).nat_ports.1 + 1;
    let vip_b = SocketAddr::new(scene.vip_b(), 80);
    let two_vips = Setup { vips: vec![scene.vip(), scene.vip_b()], ..web(scene) };
    vec![
        case("a SYN to a port of the VIP without a service is the host's, which answers it with RST")
            .passes(Outcome::NoService, to_port(81, SYN)),
        case("an ACK to a port of the VIP without a service may be of a socket of the host")
            .passes(Outcome::NoService, to_port(22, ACK)),
        case("a RST to a port of the VIP without a service may be for a socket of the host")
            .passes(Outcome::NoService, to_port(22, RST)),
        case("a packet to another node's NAT port is not answered with our RST")
            .passes(Outcome::NoService, to_port(after_nat_ports, ACK)),
        case("a packet to the port just below our NAT ports is not answered with our RST")
            .passes(Outcome::NoService, to_port(super::scene::FIRST_NAT_PORT - 1, ACK)),
        Case::new(scene, "a service at one VIP is no service at another", two_vips).passes(
            Outcome::NoService,
            Packet { destination: vip_b.ip(), ..flow.client_sends(SYN, b"") }.frame(),
        ),
        case("UDP to a VIP, even to the port of a service of TCP, is the host's")
            .passes(Outcome::NoService, with_content(17, &[0x9c, 0x40, 0, 80, 0, 8, 0, 0]).frame()),
        case("GRE to a VIP is the host's").passes(Outcome::OtherProtocol, with_content(47, &[0; 24]).frame()),
        case("a VIP's packet without TCP behind the header it announces is still another protocol's")
            .passes(Outcome::OtherProtocol, with_content(59, &[]).frame()),
    ]
}

/// Tables hold IPv4 addresses in their IPv4-mapped form, which must not be confused with the same
/// address in an IPv6 header (RFC 4291 §2.5.5.2 says it stands for an IPv4 node, never for an IPv6 one).
fn mapped_address() -> Case {
    let mapped = |address: IpAddr| match address {
        IpAddr::V4(v4) => IpAddr::V6(Ipv4Addr::to_ipv6_mapped(&v4)),
        IpAddr::V6(_) => address,
    };
    let packet = |flags| {
        let v6 = V4.flow().client_sends(flags, b"");
        Packet { source: V6.client(), destination: mapped(V4.vip()), ..v6 }.frame()
    };
    Case::new(V6, "an IPv6 packet to the IPv4-mapped form of an IPv4 VIP is not ours", web(V4))
        .passes(Outcome::NotOurs, packet(ACK))
        .passes(Outcome::NotOurs, packet(SYN))
}
