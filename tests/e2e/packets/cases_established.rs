//! Established flows: every field that is not ours to change stays, every checksum stays right.

use super::builder::{ACK, CWR, ECE, PSH, Packet, SYN, URG};
use super::case::{Act, Case, Setup};
use super::scene::{SCENES, Scene, V4};
use lb_ebpf::outcome::Outcome;

pub(crate) fn cases() -> Vec<Case> {
    let mut cases: Vec<Case> = SCENES
        .into_iter()
        .flat_map(|scene| [content(scene), checksums(scene), agent(scene)])
        .flatten()
        .collect();
    cases.extend(ipv4_header());
    cases
}

fn web(scene: Scene) -> Setup {
    Setup::web(scene, &[scene.web(1), scene.web(2)])
}

fn opened(scene: Scene, sentence: &str) -> Case {
    Case::new(scene, sentence, web(scene)).opened(&scene.flow())
}

fn content(scene: Scene) -> Vec<Case> {
    let case = |sentence: &str| opened(scene, sentence);
    let flow = scene.flow();
    let ack = flow.client_sends(ACK, b"");
    let header = ack.header_bytes() as u64 + 20;
    let large: Vec<u8> = (0..8000u32).map(|n| (n * 7 % 251) as u8).collect();
    vec![
        case("data from the client reaches the backend and is counted for the flow")
            .forward(Outcome::ToBackend, &flow, &flow.client_sends(ACK | PSH, b"GET / HTTP/1.1\r\n\r\n"))
            .forward_account(3, 3 * header + 18),
        case("data from the backend reaches the client")
            .back(Outcome::ToClient, &flow, &flow.backend_sends(ACK | PSH, b"HTTP/1.1 200 OK\r\n\r\n"))
            .forward_account(2, 2 * header),
        case("an odd number of bytes keeps its checksum")
            .forward(Outcome::ToBackend, &flow, &flow.client_sends(ACK, b"odd"))
            .back(Outcome::ToClient, &flow, &flow.backend_sends(ACK, b"x")),
        case("urgent data stays urgent, with its pointer").forward(
            Outcome::ToBackend,
            &flow,
            &flow.client_sends(ACK | PSH | URG, b"!data").with_tcp(|tcp| tcp.urgent = 1),
        ),
        case("the ECN bits of IP and of TCP stay, and so does the traffic class")
            .forward(
                Outcome::ToBackend,
                &flow,
                &Packet { traffic_class: 0xbb, ..flow.client_sends(ACK | CWR | ECE, b"marked") },
            )
            .back(
                Outcome::ToClient,
                &flow,
                &Packet { traffic_class: 0x02, ..flow.backend_sends(ACK | ECE, b"capable") },
            ),
        case("reserved bits of TCP are not ours to clear").forward(
            Outcome::ToBackend,
            &flow,
            &ack.clone().with_tcp(|tcp| tcp.reserved = 0x9),
        ),
        case("TCP options (SACK, timestamps) of a data segment stay").forward(
            Outcome::ToBackend,
            &flow,
            &flow.client_sends(ACK, b"data").with_tcp(|tcp| {
                tcp.options = vec![1, 1, 8, 10, 9, 9, 9, 9, 8, 8, 8, 8, 1, 1, 5, 10, 1, 2, 3, 4, 5, 6, 7, 8];
            }),
        ),
        case("Ethernet padding behind a short packet travels with it, whatever is in it").forward(
            Outcome::ToBackend,
            &flow,
            &Packet { trailer: b"padded".to_vec(), ..ack.clone() },
        ),
        case("padding from a backend travels too").back(
            Outcome::ToClient,
            &flow,
            &Packet { trailer: vec![0; 6], ..flow.backend_sends(ACK, b"") },
        ),
        case("a SYN on the tuple of an open flow goes to that flow's backend, which knows what to do")
            .forward(Outcome::ToBackend, &flow, &flow.client_sends(SYN, b""))
            .leaves(&[(&flow, "established")]),
        case("a jumbo frame, which the kernel keeps in several buffers, is forwarded whole")
            .forward(Outcome::ToBackend, &flow, &flow.client_sends(ACK, &large))
            .back(Outcome::ToClient, &flow, &flow.backend_sends(ACK, &large)),
    ]
}

fn checksums(scene: Scene) -> Vec<Case> {
    let case = |sentence: &str| opened(scene, sentence);
    let flow = scene.flow();
    let wrong = |packet: Packet| packet.with_tcp(|tcp| tcp.checksum_error = 0x0101);
    // A first word of the payload that makes the checksum of `seen(packet)` come out as zero: the
    // checksum of the packet without it.
    let zeroed = |from_client: bool, seen: &dyn Fn(&Packet) -> Packet| {
        let make = |word: u16| {
            let payload = [&word.to_be_bytes()[..], b"edge"].concat();
            if from_client { flow.client_sends(ACK, &payload) } else { flow.backend_sends(ACK, &payload) }
        };
        let packet = make(seen(&make(0)).tcp_checksum());
        assert_eq!(seen(&packet).tcp_checksum(), 0, "the edge is not where it was sought");
        packet
    };
    let arrives_zero = zeroed(true, &Packet::clone);
    // One's complement has two zeros, and some senders write the other one. It must not go wrong.
    let arrives_minus_zero = arrives_zero.clone().with_tcp(|tcp| tcp.checksum_error = 0xffff);
    let mut random = 0x2545_f491u32;
    let mut draw = || {
        random ^= random << 13;
        random ^= random >> 17;
        random ^= random << 5;
        random
    };
    let mut many = case("forty arbitrary segments each way keep checksums that verify");
    for _ in 0..40 {
        let bytes: Vec<u8> = (0..draw() % 40).map(|_| draw() as u8).collect();
        let (sequence, window, label) = (draw(), draw() as u16, draw() & 0xfffff);
        let arbitrary = |packet: Packet| {
            let packet = Packet { identification: window ^ 0x5555, flow_label: label, ..packet };
            packet.with_tcp(|tcp| (tcp.sequence, tcp.window) = (sequence, window))
        };
        many = many.forward(Outcome::ToBackend, &flow, &arbitrary(flow.client_sends(ACK, &bytes))).back(
            Outcome::ToClient,
            &flow,
            &arbitrary(flow.backend_sends(ACK, &bytes)),
        );
    }
    let other_zero = flow.forwarded(&arrives_zero).frame();
    vec![
        many,
        case("a wrong checksum stays wrong by as much: hiding damage is not ours")
            .forward(Outcome::ToBackend, &flow, &wrong(flow.client_sends(ACK, b"damaged")))
            .back(Outcome::ToClient, &flow, &wrong(flow.backend_sends(ACK, b"damaged"))),
        case("a checksum that arrives as 0x0000 leaves right").forward(
            Outcome::ToBackend,
            &flow,
            &arrives_zero,
        ),
        case("a checksum that arrives as 0xffff, the other zero, leaves right").becomes(
            Outcome::ToBackend,
            arrives_minus_zero.frame(),
            other_zero,
        ),
        case("a checksum that must leave as 0x0000 does not leave as 0xffff").forward(
            Outcome::ToBackend,
            &flow,
            &zeroed(true, &|packet| flow.forwarded(packet)),
        ),
        case("a checksum that must reach the client as 0x0000 does not come as 0xffff").back(
            Outcome::ToClient,
            &flow,
            &zeroed(false, &|packet| flow.returned(packet)),
        ),
    ]
}

/// What the IPv4 header has and IPv6 has not.
fn ipv4_header() -> Vec<Case> {
    let case = |sentence: &str| opened(V4, sentence);
    let flow = V4.flow();
    let identified = |identification| Packet { identification, ..flow.client_sends(ACK, b"") };
    let arrives_zero = identified(identified(0).ipv4_checksum());
    let leaves_zero = identified(flow.forwarded(&identified(0)).ipv4_checksum());
    assert_eq!((arrives_zero.ipv4_checksum(), flow.forwarded(&leaves_zero).ipv4_checksum()), (0, 0));
    vec![
        case("a header checksum that arrives as 0x0000 leaves right").forward(
            Outcome::ToBackend,
            &flow,
            &arrives_zero,
        ),
        case("a header checksum that must leave as 0x0000 does not leave as 0xffff").forward(
            Outcome::ToBackend,
            &flow,
            &leaves_zero,
        ),
        case("a packet that may be fragmented later stays so").forward(
            Outcome::ToBackend,
            &flow,
            &Packet { fragment: 0, ..identified(7) },
        ),
    ]
}

/// What the agent changes does not break flows.
fn agent(scene: Scene) -> Vec<Case> {
    let case = |sentence: &str| opened(scene, sentence);
    let flow = scene.flow();
    let second = flow.another(40001, flow.nat_port, scene.web(2));
    let change = |change: &dyn Fn(&mut Setup)| {
        let mut setup = web(scene);
        change(&mut setup);
        Act::Desire(setup)
    };
    let drained = change(&|setup| setup.services[0].slots = vec!["b2"]);
    let gone = change(&|setup| {
        setup.services[0].slots = vec!["b2"];
        setup.services[0].backends.remove(0);
    });
    let unserved = change(&|setup| setup.services.clear());
    vec![
        case("a drained backend keeps its flows, and new ones go elsewhere")
            .act(drained)
            .begun(&second)
            .forward(Outcome::ToBackend, &flow, &flow.client_sends(ACK, b"go on"))
            .back(Outcome::ToClient, &flow, &flow.backend_sends(ACK, b"yes")),
        case("a backend that is gone from the configuration keeps the flows it has").act(gone).forward(
            Outcome::ToBackend,
            &flow,
            &flow.client_sends(ACK, b"go on"),
        ),
        case("a service that is gone keeps the flows it has, and its port is the host's")
            .act(unserved)
            .back(Outcome::ToClient, &flow, &flow.backend_sends(ACK, b"still here"))
            .passes(Outcome::NoService, second.client_sends(SYN, b"").frame()),
    ]
}
