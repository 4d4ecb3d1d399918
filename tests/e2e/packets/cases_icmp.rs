//! ICMP to a VIP: errors about our flows reach the side that must know, everything else the host.

use super::builder::{ACK, Content, Icmp, Mac, Packet, SYN};
use super::case::{Case, Setup};
use super::scene::{Flow, IcmpKind, SCENES, Scene, V4, V6};
use lb_ebpf::outcome::Outcome;
use std::net::IpAddr;

pub(crate) fn cases() -> Vec<Case> {
    let mut cases: Vec<Case> = SCENES
        .into_iter()
        .flat_map(|scene| [to_the_backend(scene), to_the_client(scene), not_translated(scene), broken(scene)])
        .flatten()
        .collect();
    cases.extend(of_one_family());
    cases
}

fn web(scene: Scene) -> Setup {
    Setup::web(scene, &[scene.web(1)])
}

fn opened(scene: Scene, sentence: &str) -> Case {
    Case::new(scene, sentence, web(scene)).opened(&scene.flow())
}

/// An error about a packet that left for the client: as it arrives from the router, and as it must reach the
/// backend, which has to find in it what it sent.
fn about_reply(flow: &Flow, kind: IcmpKind, payload: &[u8], quoted: usize) -> (Packet, Packet) {
    let sent = Packet { hops: 61, ..flow.backend_sends(ACK, payload) };
    let seen = Packet { hops: 61, ..flow.returned(&sent) };
    let arrives = flow.scene.error(flow.scene.router(), kind, &seen, quoted);
    let leaves = flow.scene.error(flow.scene.router(), kind, &sent, quoted);
    let leaves = Packet {
        to_mac: flow.backend.mac,
        from_mac: flow.backend.port.mac(),
        source: flow.service.ip(),
        destination: flow.backend.address,
        hops: 63,
        ..leaves
    };
    (arrives, leaves)
}

/// The same about a packet that left for the backend, from there to the client.
fn about_request(flow: &Flow, kind: IcmpKind, flags: u8, quoted: usize) -> (Packet, Packet) {
    let sent = Packet { hops: 62, ..flow.client_sends(flags, b"request") };
    let seen = Packet { hops: 62, ..flow.forwarded(&sent) };
    let arrives = flow.scene.error(flow.backend, kind, &seen, quoted);
    let leaves = flow.scene.error(flow.backend, kind, &sent, quoted);
    let router = flow.scene.router();
    let leaves = Packet {
        to_mac: router.mac,
        from_mac: router.port.mac(),
        source: flow.service.ip(),
        destination: flow.client.ip(),
        hops: 63,
        ..leaves
    };
    (arrives, leaves)
}

fn to_the_backend(scene: Scene) -> Vec<Case> {
    let flow = scene.flow();
    let payload = vec![0xa5; 500];
    let translated = |sentence: &str, kind, quoted| {
        let (arrives, leaves) = about_reply(&flow, kind, &payload, quoted);
        opened(scene, sentence)
            .becomes(Outcome::IcmpError, arrives.frame(), leaves.frame())
            .leaves(&[(&flow, "established")])
    };
    vec![
        translated(
            "\"too big\" about a reply tells the backend, so that path MTU discovery works",
            IcmpKind::TooBig,
            520,
        ),
        translated("an error that quotes only 8 bytes of TCP is translated", IcmpKind::TooBig, 8),
        translated(
            "an error that quotes TCP up to just before its checksum is translated",
            IcmpKind::TooBig,
            16,
        ),
        translated(
            "an error that quotes the whole TCP header has that checksum right too",
            IcmpKind::TooBig,
            20,
        ),
        translated("an error that quotes an odd number of bytes is translated", IcmpKind::TooBig, 33),
        translated("\"time exceeded\" on the way to a client tells the backend", IcmpKind::TimeExceeded, 28),
        translated("\"parameter problem\" tells the backend", IcmpKind::ParameterProblem, 28),
        translated("an unreachable client is the backend's to know", IcmpKind::PortUnreachable, 28),
    ]
}

fn to_the_client(scene: Scene) -> Vec<Case> {
    let flow = scene.flow();
    let (arrives, leaves) = about_request(&flow, IcmpKind::PortUnreachable, ACK, 27);
    let (short, short_leaves) = about_request(&flow, IcmpKind::TooBig, ACK, 8);
    let (early, early_leaves) = about_request(&flow, IcmpKind::PortUnreachable, SYN, 20);
    vec![
        opened(scene, "\"port unreachable\" from a backend tells the client, as if the VIP said it").becomes(
            Outcome::IcmpError,
            arrives.frame(),
            leaves.frame(),
        ),
        opened(scene, "\"too big\" about a request tells the client").becomes(
            Outcome::IcmpError,
            short.frame(),
            short_leaves.frame(),
        ),
        Case::new(scene, "an error about a SYN tells the client why nobody answers", web(scene))
            .begun(&flow)
            .becomes(Outcome::IcmpError, early.frame(), early_leaves.frame())
            .leaves(&[(&flow, "embryonic")]),
    ]
}

fn not_translated(scene: Scene) -> Vec<Case> {
    let case = |sentence: &str| opened(scene, sentence);
    let flow = scene.flow();
    let router = scene.router();
    let message = |kind, rest: &[u8]| {
        let content = Content::Icmp(Icmp { kind, code: 0, rest: [0, 7, 0, 1], body: rest.to_vec() });
        Packet { content, ..scene.error(router, IcmpKind::TooBig, &flow.client_sends(ACK, b""), 8) }
    };
    let quoting = |quoted: &Packet| scene.error(router, IcmpKind::TooBig, quoted, 8).frame();
    let reply = flow.returned(&flow.backend_sends(ACK, b"data"));
    let stranger = flow.another(50000, flow.nat_port, scene.web(1));
    let udp = Content::Other { protocol: 17, bytes: vec![0, 80, 0x9c, 0x40, 0, 8, 0, 0] };
    let (kind, quoted_extended) = match scene.v6 {
        false => (8, Packet { options: vec![1, 1, 1, 0], ..reply.clone() }),
        true => (128, Packet { extension: Some(60), options: vec![1, 4, 0, 0, 0, 0], ..reply.clone() }),
    };
    vec![
        case("an echo request to a VIP is answered by the host")
            .passes(Outcome::IcmpToHost, message(kind, b"ping").frame()),
        case("an error about a packet of no flow may be for a socket of the host").passes(
            Outcome::IcmpUnrelated,
            quoting(&stranger.returned(&stranger.backend_sends(ACK, b"data"))),
        ),
        case("an error about a UDP packet is the host's, though the ports are a flow's")
            .passes(Outcome::IcmpUnrelated, quoting(&Packet { content: udp, ..reply.clone() })),
        case("an error about a packet with options, which we do not send, is not ours")
            .passes(Outcome::IcmpUnrelated, quoting(&quoted_extended)),
        case("an error that quotes a packet the wrong way round is not about one we sent")
            .passes(Outcome::IcmpUnrelated, quoting(&flow.client_sends(ACK, b"data"))),
    ]
}

fn broken(scene: Scene) -> Vec<Case> {
    let case = |sentence: &str| opened(scene, sentence);
    let flow = scene.flow();
    let (whole, _) = about_reply(&flow, IcmpKind::TooBig, b"data", 24);
    let protocol = if scene.v6 { 58 } else { 1 };
    let cut = |bytes: usize| {
        let mut content = whole.ip_bytes().split_off(whole.header_bytes());
        content.truncate(bytes);
        Packet { content: Content::Other { protocol, bytes: content }, ..whole.clone() }
    };
    let quote = whole.header_bytes();
    let behind = whole.ip_bytes().split_off(quote + 8);
    let (short, short_leaves) = about_reply(&flow, IcmpKind::TooBig, b"data", 8);
    let padded = |packet: Packet| Packet { trailer: (1..=16).collect(), ..packet }.frame();
    vec![
        case("an ICMP header of 4 bytes was cut").drops(Outcome::BadIcmp, cut(4).frame()),
        case("an error that quotes nothing was cut").drops(Outcome::BadIcmp, cut(8).frame()),
        case("an error whose quote ends before the ports was cut")
            .drops(Outcome::BadIcmp, cut(8 + quote).frame()),
        case("an error whose quote ends within the 8 bytes that must be there was cut")
            .drops(Outcome::BadIcmp, cut(8 + quote + 7).frame()),
        case(
            "what follows the packet in its frame is no quote: an error that was cut is not translated by it",
        )
        .drops(Outcome::BadIcmp, Packet { trailer: behind, ..cut(8) }.frame()),
        case("padding behind a short quote is neither changed nor counted in the checksum").becomes(
            Outcome::IcmpError,
            padded(short),
            padded(short_leaves),
        ),
        case("an error on its last hop is dropped")
            .drops(Outcome::TtlExceeded, Packet { hops: 1, ..whole.clone() }.frame()),
    ]
}

/// The router asks, at that address, who has the VIP.
pub(crate) fn neighbour(destination: &str, to_mac: Mac) -> Vec<u8> {
    let target = match V6.vip() {
        IpAddr::V6(vip) => vip.octets(),
        IpAddr::V4(_) => unreachable!("the IPv6 scene has IPv6 addresses"),
    };
    let body = [&target[..], &[1, 1], &V6.router().mac].concat();
    let content = Content::Icmp(Icmp { kind: 135, code: 0, rest: [0; 4], body });
    let destination = destination.parse().expect("an address");
    let packet = Packet::new((V6.router().mac, to_mac), (V6.router().address, destination), content);
    Packet { hops: 255, ..packet }.frame()
}

fn of_one_family() -> Vec<Case> {
    let flow = V4.flow();
    let reply = V4.flow().returned(&flow.backend_sends(ACK, b"data"));
    let fragment = Packet { fragment: 0x2000 | 185, ..reply.clone() };
    let plain =
        |kind, body: &[u8]| Content::Icmp(Icmp { kind, code: 0, rest: [10, 80, 0, 9], body: body.to_vec() });
    let error = V4.error(V4.router(), IcmpKind::TooBig, &reply, 8);
    let redirect = Packet { content: plain(5, &reply.ip_bytes()[..28]), ..error.clone() };
    let options = Packet { options: vec![148, 4, 0, 0], ..error };
    let lan = super::scene::Port::Lan.mac();
    // The quote names the IPv4 flow as the tables hold it.
    let mapped = |address: IpAddr| match address {
        IpAddr::V4(v4) => IpAddr::V6(v4.to_ipv6_mapped()),
        IpAddr::V6(_) => address,
    };
    let quoted =
        Packet { source: mapped(reply.source), destination: mapped(reply.destination), ..reply.clone() };
    let crossing = V6.error(V6.router(), IcmpKind::TooBig, &quoted, 8);
    let crossing = Packet { destination: V6.vip(), ..crossing };
    let both = web(V4);
    let both = Setup { vips: [both.vips.clone(), vec![V6.vip()]].concat(), ..both };
    vec![
        Case::new(V4, "an ICMPv6 error that quotes an IPv4 flow's addresses does not reach that flow", both)
            .opened(&flow)
            .passes(Outcome::IcmpUnrelated, crossing.frame()),
        opened(V4, "an error about a later fragment, which has no ports, is not about a flow").passes(
            Outcome::IcmpUnrelated,
            V4.error(V4.router(), IcmpKind::TimeExceeded, &fragment, 8).frame(),
        ),
        opened(V4, "an ICMP redirect is the host's to believe or not")
            .passes(Outcome::IcmpToHost, redirect.frame()),
        opened(V4, "an ICMP error with IP options of its own is dropped like all such packets")
            .drops(Outcome::IpOptions, options.frame()),
        opened(V6, "a neighbour solicitation to the VIP itself is the host's to answer")
            .passes(Outcome::IcmpToHost, neighbour("fd80::100", lan)),
        opened(V6, "a neighbour solicitation to the VIP's multicast group, which ends like it, is not ours")
            .passes(Outcome::NotOurs, neighbour("ff02::1:ff00:100", [0x33, 0x33, 0xff, 0, 1, 0])),
    ]
}
