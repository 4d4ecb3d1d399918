//! Segments of no flow: answered with RST as RFC 9293 §3.5.2 has it, or dropped.

use super::builder::{ACK, FIN, PSH, Packet, RST, SYN, Tcp, URG};
use super::case::{Act, Case, Setup};
use super::scene::{FIRST_NAT_PORT, Flow, SCENES, Scene};
use lb_ebpf::outcome::Outcome;
use lb_user::model::WhenDown;

pub(crate) fn cases() -> Vec<Case> {
    SCENES.into_iter().flat_map(|scene| [unknown(scene), no_backend(scene)]).flatten().collect()
}

/// The RST that answers a segment, from a host that knows nothing of its connection: nothing but headers,
/// sent back to the MAC address it came from.
pub(crate) fn answer(packet: &Packet) -> Packet {
    let mut asked = packet.clone();
    let tcp = asked.tcp_mut();
    let has = |flag: u8| u32::from(tcp.flags & flag != 0);
    let taken = tcp.payload.len() as u32 + has(SYN) + has(FIN);
    let (sequence, acknowledgement, flags) = match tcp.flags & ACK {
        0 => (0, tcp.sequence.wrapping_add(taken), RST | ACK),
        _ => (tcp.acknowledgement, 0, RST),
    };
    let reset = Tcp {
        source_port: tcp.destination_port,
        destination_port: tcp.source_port,
        sequence,
        acknowledgement,
        flags,
        ..Tcp::default()
    };
    let answer = Packet::tcp((asked.to_mac, asked.from_mac), (asked.destination, asked.source), reset);
    Packet { identification: 0, flow_label: 0, ..answer }
}

fn unknown(scene: Scene) -> Vec<Case> {
    let setup = Setup::web(scene, &[scene.web(1)]);
    let case = |sentence: &str| Case::new(scene, sentence, setup.clone());
    let answered = |sentence: &str, packet: Packet| {
        case(sentence).becomes(Outcome::UnknownFlow, packet.frame(), answer(&packet).frame()).entries(0, 0)
    };
    let flow = scene.flow();
    let to_nat = |flags, payload: &[u8], port| {
        flow.backend_sends(flags, payload).with_tcp(|tcp| tcp.destination_port = port)
    };
    let options = vec![1, 1, 8, 10, 1, 2, 3, 4, 5, 6, 7, 8];
    let jumbo: Vec<u8> = vec![0x5a; 8000];
    vec![
        answered(
            "an ACK of no flow is answered with RST at the number it expects",
            flow.client_sends(ACK, b""),
        ),
        answered(
            "data of no flow is answered with a RST without data: the frame shrinks",
            flow.client_sends(ACK | PSH, b"POST / HTTP/1.1\r\nContent-Length: 4\r\n\r\nlost"),
        ),
        answered(
            "options, urgent pointer, window and traffic class are not copied into a RST",
            Packet { traffic_class: 0xbb, ..flow.client_sends(ACK | URG, b"urgent") }.with_tcp(|tcp| {
                (tcp.options, tcp.urgent, tcp.reserved) = (options, 3, 1);
            }),
        ),
        answered(
            "Ethernet padding is cut off a RST",
            Packet { trailer: vec![0xee; 6], ..flow.client_sends(ACK, b"") },
        ),
        answered("a jumbo frame of no flow shrinks to a RST too", flow.client_sends(ACK, &jumbo)),
        answered(
            "a segment on its last hop is answered: it has arrived",
            Packet { hops: 1, ..flow.client_sends(ACK, b"") },
        ),
        answered(
            "a FIN of no flow without ACK is answered with RST and the number after it",
            flow.client_sends(FIN, b""),
        ),
        answered(
            "data without ACK is acknowledged by its RST to the last byte",
            flow.client_sends(FIN | PSH, b"abc"),
        ),
        answered("a SYN-ACK of no flow is answered with RST", flow.client_sends(SYN | ACK, b"")),
        answered(
            "a backend's SYN-ACK to a NAT port that no flow has is answered with RST",
            to_nat(SYN | ACK, b"", FIRST_NAT_PORT + 77),
        ),
        answered(
            "a backend's data to the last of the NAT ports, which no flow has, is answered with RST",
            to_nat(ACK, b"stale", FIRST_NAT_PORT + 999),
        ),
        answered("a SYN to a NAT port opens nothing", to_nat(SYN, b"", FIRST_NAT_PORT)),
        case("a RST of no flow gets no answer")
            .drops(Outcome::UnknownReset, flow.client_sends(RST, b"").frame()),
        case("a RST to a NAT port that no flow has gets no answer")
            .drops(Outcome::UnknownReset, flow.backend_sends(RST | ACK, b"").frame()),
        {
            let stranger = flow.another(40001, flow.nat_port, scene.web(1)).client_sends(ACK, b"");
            case("a flow of another client port is no flow of this one").opened(&flow).becomes(
                Outcome::UnknownFlow,
                stranger.frame(),
                answer(&stranger).frame(),
            )
        },
        {
            let impostor = Flow { backend: scene.web(2), ..flow }.backend_sends(ACK, b"psst");
            case("a host that is not the flow's backend cannot speak to its client").opened(&flow).becomes(
                Outcome::UnknownFlow,
                impostor.frame(),
                answer(&impostor).frame(),
            )
        },
    ]
}

fn no_backend(scene: Scene) -> Vec<Case> {
    let mut setup = Setup::web(scene, &[scene.web(1)]);
    let full = setup.clone();
    setup.services[0].slots.clear();
    let case = |sentence: &str| Case::new(scene, sentence, setup.clone());
    let answered = |sentence: &str, packet: Packet| {
        case(sentence).becomes(Outcome::NoBackend, packet.frame(), answer(&packet).frame()).entries(0, 0)
    };
    let flow = scene.flow();
    let stray = flow.client_sends(ACK, b"");
    let mut silent = setup.clone();
    silent.services[0].when_down = WhenDown::Drop;
    let mut silent_again = full.clone();
    silent_again.services[0].when_down = WhenDown::Drop;
    let syn = flow.client_sends(SYN, b"").frame();
    vec![
        Case::new(scene, "a SYN that no backend can take is dropped where that is wanted", silent.clone())
            .drops(Outcome::NoBackendDropped, syn)
            .entries(0, 0),
        Case::new(
            scene,
            "its open flows go on, and it takes new ones when a backend is back",
            silent_again.clone(),
        )
        .opened(&flow)
        .act(Act::Desire(silent))
        .forward(Outcome::ToBackend, &flow, &flow.client_sends(ACK, b"more"))
        .drops(
            Outcome::NoBackendDropped,
            Flow { ..flow.another(9, 0, flow.backend) }.client_sends(SYN, b"").frame(),
        )
        .act(Act::Desire(silent_again))
        .begun(&flow.another(9, FIRST_NAT_PORT + 1, flow.backend)),
        answered("a SYN that no backend can take is refused at once", flow.client_sends(SYN, b"")),
        answered(
            "a refused SYN's options are cut off",
            flow.client_sends(SYN, b"").with_tcp(|tcp| tcp.options = vec![2, 4, 5, 0xb4, 4, 2, 1, 1]),
        ),
        answered("a refused SYN's data counts in the RST's number", flow.client_sends(SYN, b"early data")),
        answered(
            "a refused SYN's number may wrap",
            Flow { client_isn: u32::MAX, ..flow }.client_sends(SYN, b""),
        ),
        case("without backends an ACK of no flow is still an unknown one").becomes(
            Outcome::UnknownFlow,
            stray.frame(),
            answer(&stray).frame(),
        ),
        Case::new(scene, "a flow goes on when its service has no backend left for new ones", full)
            .opened(&flow)
            .act(super::case::Act::Desire(setup.clone()))
            .forward(Outcome::ToBackend, &flow, &flow.client_sends(ACK, b"go on"))
            .back(Outcome::ToClient, &flow, &flow.backend_sends(ACK, b"yes")),
    ]
}
