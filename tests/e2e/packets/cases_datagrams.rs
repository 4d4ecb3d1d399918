//! UDP: flows without beginning or end, in all modes.

use super::builder::{ACK, Content, Packet, SYN};
use super::case::{Case, Setup};
use super::scene::{FIRST_NAT_PORT, Flow, IcmpKind, Port, SCENES, Scene};
use lb_ebpf::abi::Forwarding;
use lb_ebpf::outcome::Outcome;
use lb_user::model::Protocol;

pub(crate) fn cases() -> Vec<Case> {
    let groups = [translated, kept_and_direct, wrong, errors, shared];
    SCENES.into_iter().flat_map(|scene| groups.iter().flat_map(move |group| group(scene))).collect()
}

fn setup(scene: Scene, forwarding: Forwarding) -> Setup {
    Setup::web(scene, &[scene.web(1)]).with(|service| {
        service.protocol = Protocol::Udp;
        service.forwarding = Some(forwarding);
        if forwarding == Forwarding::Direct {
            service.backends.iter_mut().for_each(|(_, address)| address.set_port(80));
        }
    })
}

fn case(scene: Scene, sentence: &str) -> Case {
    Case::new(scene, sentence, setup(scene, Forwarding::Nat))
}

/// Two datagrams from the client with an answer between them.
fn opened(case: Case, flow: &Flow) -> Case {
    case.forward(Outcome::NewFlow, flow, &flow.client_says(b"first"))
        .back(Outcome::Handshake, flow, &flow.backend_says(b"answer"))
        .forward(Outcome::Promoted, flow, &flow.client_says(b"second"))
}

fn translated(scene: Scene) -> Vec<Case> {
    let flow = scene.flow();
    let query = flow.client_says(b"query");
    let answer = flow.backend_says(b"answer");
    let bare = |packet: &Packet| packet.clone().with_udp(|udp| udp.has_checksum = false);
    // What makes the sum over the translated datagram zero.
    let zero = |packet: Packet| {
        let seen =
            flow.forwarded(&packet.clone().with_udp(|udp| udp.payload = vec![0, 0])).content_checksum();
        packet.with_udp(|udp| udp.payload = seen.to_be_bytes().to_vec())
    };
    let sums_to_zero = zero(flow.client_says(&[0, 0]));
    assert_eq!(flow.forwarded(&sums_to_zero).content_checksum(), 0xffff, "the case would show nothing");
    vec![
        case(scene, "one query and its answer are a flow that is never established")
            .forward(Outcome::NewFlow, &flow, &query)
            .back(Outcome::Handshake, &flow, &answer)
            .active(&flow, 0)
            .entries(0, 2)
            .leaves(&[(&flow, "established")]),
        opened(case(scene, "a client that goes on after an answer has an established flow"), &flow)
            .back(Outcome::ToClient, &flow, &answer)
            .forward(Outcome::ToBackend, &flow, &query)
            .active(&flow, 1)
            .entries(2, 0)
            .forward_account(3, 3 * (query.header_bytes() as u64 + 8) + 16),
        case(scene, "a client that is not answered stays with its backend and is not established")
            .forward(Outcome::NewFlow, &flow, &query)
            .forward(Outcome::Handshake, &flow, &query)
            .forward(Outcome::Handshake, &flow, &query)
            .entries(0, 2)
            .leaves(&[(&flow, "embryonic")]),
        case(scene, "a datagram without a checksum gets none")
            .forward(Outcome::NewFlow, &flow, &bare(&query))
            .back(Outcome::Handshake, &flow, &bare(&answer)),
        case(scene, "a checksum that comes out as zero is sent as its other form").forward(
            Outcome::NewFlow,
            &flow,
            &sums_to_zero,
        ),
        case(scene, "an empty datagram is one").forward(Outcome::NewFlow, &flow, &flow.client_says(b"")),
        case(scene, "the second client gets the next port").forward(Outcome::NewFlow, &flow, &query).forward(
            Outcome::NewFlow,
            &flow.another(40001, FIRST_NAT_PORT + 1, flow.backend),
            &flow.another(40001, FIRST_NAT_PORT + 1, flow.backend).client_says(b"query"),
        ),
    ]
}

fn kept_and_direct(scene: Scene) -> Vec<Case> {
    let kept = Flow { forwarding: Forwarding::KeepSource, ..scene.flow() };
    let direct = Flow { forwarding: Forwarding::Direct, backend_port: 80, ..scene.flow() };
    let say = direct.client_says(b"hello");
    vec![
        opened(
            Case::new(scene, "datagrams can keep their source, too", setup(scene, Forwarding::KeepSource)),
            &kept,
        )
        .back(Outcome::ToClient, &kept, &kept.backend_says(b"more"))
        .entries(2, 0)
        .leaves(&[(&kept, "established")]),
        Case::new(scene, "datagrams can go to their backend directly, too", setup(scene, Forwarding::Direct))
            .forward(Outcome::NewFlow, &direct, &say)
            .forward(Outcome::Promoted, &direct, &say)
            .forward(Outcome::ToBackend, &direct, &say)
            .active(&direct, 1)
            .entries(1, 0)
            .leaves(&[(&direct, "established")]),
    ]
}

fn wrong(scene: Scene) -> Vec<Case> {
    let flow = scene.flow();
    let query = flow.client_says(b"query");
    let length = |error| query.clone().with_udp(|udp| udp.length_error = error).frame();
    let cut = Packet { content: Content::Other { protocol: 17, bytes: vec![0; 7] }, ..query.clone() };
    let to_port = |port| query.clone().with_ports(40000, port).frame();
    let elsewhere = Packet { destination: scene.double(), ..query.clone() };
    let mut down = setup(scene, Forwarding::Nat);
    down.services[0].slots.clear();
    vec![
        case(scene, "a datagram whose length says more than there is, or less than a header, is dropped")
            .drops(Outcome::BadUdpHeader, length(1))
            .drops(Outcome::BadUdpHeader, length(-6))
            .drops(Outcome::BadUdpHeader, cut.frame()),
        case(scene, "a datagram to an address that only looks like a VIP is the host's, right or wrong")
            .passes(Outcome::NotOurs, elsewhere.frame())
            .passes(Outcome::NotOurs, Packet { content: cut.content.clone(), ..elsewhere.clone() }.frame()),
        case(scene, "a datagram to a port of no service is the host's")
            .passes(Outcome::NoService, to_port(81)),
        case(scene, "a datagram to a NAT port of no flow is dropped")
            .drops(Outcome::UnknownDatagram, to_port(FIRST_NAT_PORT + 5)),
        Case::new(scene, "a datagram without a backend to take it is dropped", down)
            .drops(Outcome::NoBackendDropped, query.frame()),
        case(scene, "a datagram that says it comes from a VIP would be answered by another service, and that by this one")
            .drops(Outcome::BadSource, Packet { source: scene.vip(), ..query.clone() }.frame()),
        case(scene, "a datagram that may not make another hop is dropped")
            .drops(Outcome::TtlExceeded, Packet { hops: 1, ..query.clone() }.frame()),
    ]
}

fn errors(scene: Scene) -> Vec<Case> {
    let flow = scene.flow();
    let sent = Packet { hops: 62, ..flow.client_says(b"query") };
    let seen = Packet { hops: 62, ..flow.forwarded(&sent) };
    let router = scene.router();
    let leaves = |packet: Packet| Packet {
        to_mac: router.mac,
        from_mac: router.port.mac(),
        source: flow.service.ip(),
        destination: flow.client.ip(),
        hops: 63,
        ..packet
    };
    let translated = |case: Case, sent: &Packet, seen: &Packet, quoted| {
        let error = |packet| scene.error(flow.backend, IcmpKind::PortUnreachable, packet, quoted);
        case.forward(Outcome::NewFlow, &flow, &Packet { hops: 63, ..sent.clone() }).becomes(
            Outcome::IcmpError,
            error(seen).frame(),
            leaves(error(sent)).frame(),
        )
    };
    let bare = |packet: &Packet| packet.clone().with_udp(|udp| udp.has_checksum = false);
    vec![
        translated(
            case(scene, "a closed port's error reaches the client with the datagram it sent"),
            &sent,
            &seen,
            8,
        ),
        translated(
            case(scene, "an error that quotes a datagram without a checksum gives it none"),
            &bare(&sent),
            &bare(&seen),
            13,
        ),
        case(scene, "an error about a datagram is not taken for one about a segment")
            .forward(Outcome::NewFlow, &flow, &Packet { hops: 63, ..sent.clone() })
            .passes(
                Outcome::IcmpUnrelated,
                scene
                    .error(
                        flow.backend,
                        IcmpKind::PortUnreachable,
                        &flow.forwarded(&flow.client_sends(ACK, b"")),
                        20,
                    )
                    .frame(),
            ),
    ]
}

/// One port for both protocols, as name servers have it.
fn shared(scene: Scene) -> Vec<Case> {
    let flow = scene.flow();
    let mut both = setup(scene, Forwarding::Nat);
    let mut tcp = both.services[0].clone();
    (tcp.name, tcp.protocol) = ("tcp", Protocol::Tcp);
    both.services.push(tcp);
    vec![
        Case::new(scene, "two services share a port if one is of TCP and one of UDP", both)
            .forward(Outcome::NewFlow, &flow, &flow.client_says(b"query"))
            .forward(Outcome::NewFlow, &flow, &flow.client_sends(SYN, b""))
            .back(Outcome::Handshake, &flow, &flow.backend_says(b"answer"))
            .back(Outcome::Handshake, &flow, &flow.backend_sends(SYN | ACK, b""))
            .forward(Outcome::Promoted, &flow, &flow.client_sends(ACK, b"")),
        case(scene, "a segment to a service of datagrams is the host's")
            .passes(Outcome::NoService, flow.client_sends(SYN, b"").frame())
            .on(Port::Lan),
    ]
}
