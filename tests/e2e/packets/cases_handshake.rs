//! Handshakes: what makes a flow, what completes it, and what does not.

use super::builder::{ACK, CWR, ECE, FIN, PSH, Packet, RST, SYN};
use super::case::{Case, Setup};
use super::cases_reset::answer;
use super::scene::{Flow, SCENES, Scene};
use lb_ebpf::outcome::{Occurrence, Outcome};
use lb_user::io::dataplane::BackendTotals;

pub(crate) fn cases() -> Vec<Case> {
    SCENES
        .into_iter()
        .flat_map(|scene| {
            [
                opening(scene),
                proving(scene),
                answered_twice(scene),
                beside_a_full_table(scene),
                refusing(scene),
            ]
        })
        .flatten()
        .collect()
}

fn web(scene: Scene) -> Setup {
    Setup::web(scene, &[scene.web(1)])
}

fn opening(scene: Scene) -> Vec<Case> {
    let case = |sentence: &str| Case::new(scene, sentence, web(scene));
    let three = |sentence: &str| {
        Case::new(scene, sentence, Setup::web(scene, &[scene.web(1), scene.web(2), scene.web(3)]))
    };
    let flow = scene.flow();
    let syn = flow.client_sends(SYN, b"");
    let ip_bytes = syn.header_bytes() as u64 + 20;
    // Maximum segment size, SACK permitted, window scale; timestamps have cases of their own.
    let usual = [2, 4, 5, 0xb4, 1, 1, 4, 2, 1, 3, 3, 7];
    let fast_open = [34, 10, 1, 2, 3, 4, 5, 6, 7, 8, 1, 1];
    let options = |packet: Packet, options: &[u8]| packet.with_tcp(|tcp| tcp.options = options.to_vec());
    vec![
        case("a SYN to a service goes to its backend from a NAT port, one hop older")
            .begun(&flow)
            .leaves(&[(&flow, "embryonic")])
            .entries(0, 2)
            .forward_account(1, ip_bytes)
            .totals(
                &flow,
                BackendTotals {
                    flows_new: 1,
                    forward_packets: 1,
                    forward_bytes: ip_bytes,
                    ..BackendTotals::default()
                },
            ),
        case("a SYN's options reach the backend as they are").forward(
            Outcome::NewFlow,
            &flow,
            &options(syn.clone(), &usual),
        ),
        case("a SYN with data (TCP Fast Open) is forwarded whole").forward(
            Outcome::NewFlow,
            &flow,
            &options(flow.client_sends(SYN, b"GET / HTTP/1.0\r\n\r\n"), &fast_open),
        ),
        case("a SYN that offers ECN opens a flow like any other").forward(
            Outcome::NewFlow,
            &flow,
            &flow.client_sends(SYN | ECE | CWR, b""),
        ),
        three("a retransmitted SYN goes to the same backend from the same NAT port")
            .begun(&flow)
            .forward(Outcome::Handshake, &flow, &syn)
            .forward(Outcome::Handshake, &flow, &syn)
            .leaves(&[(&flow, "embryonic")])
            .entries(0, 2)
            .forward_account(3, 3 * ip_bytes),
        case("the backend's SYN-ACK reaches the client as the VIP's")
            .answered(&flow)
            .leaves(&[(&flow, "established")])
            .entries(0, 2),
        case("a SYN-ACK's options reach the client as they are").begun(&flow).back(
            Outcome::Handshake,
            &flow,
            &options(flow.backend_sends(SYN | ACK, b""), &usual),
        ),
        case("a retransmitted SYN-ACK is forwarded like the first").answered(&flow).back(
            Outcome::Handshake,
            &flow,
            &flow.backend_sends(SYN | ACK, b""),
        ),
    ]
}

/// What proves that the client is where it says: the acknowledgement of the backend's sequence number.
impl Case {
    /// A client's segment that proves nothing.
    fn resets(self, packet: &Packet) -> Self {
        self.becomes(Outcome::HandshakeMismatch, packet.frame(), answer(packet).frame())
    }
}

/// A backend that keeps nothing of handshakes, or lost one, answers a SYN that is sent again with another number.
fn answered_twice(scene: Scene) -> Vec<Case> {
    let case = |sentence: &str| Case::new(scene, sentence, web(scene));
    let flow = scene.flow();
    let later = Flow { backend_isn: 0x3000_0000, ..flow };
    let again = |case: Case| {
        case.answered(&flow).forward(Outcome::Handshake, &flow, &flow.client_sends(SYN, b"")).back(
            Outcome::Handshake,
            &later,
            &later.backend_sends(SYN | ACK, b""),
        )
    };
    let other = Flow { backend_isn: 0x4000_0000, ..flow };
    vec![
        again(case("of two answers with two numbers a client may acknowledge the first"))
            .forward(Outcome::Promoted, &flow, &flow.client_sends(ACK, b""))
            .leaves(&[(&flow, "established")])
            .entries(2, 0),
        again(case("of two answers with two numbers a client may acknowledge the second"))
            .forward(Outcome::Promoted, &later, &later.client_sends(ACK, b""))
            .back(Outcome::ToClient, &later, &later.backend_sends(FIN | ACK, b""))
            .leaves(&[(&later, "half-closed")]),
        again(case("what acknowledges neither of two answers proves nothing"))
            .resets(&other.client_sends(ACK, b""))
            .entries(0, 2),
    ]
}

fn proving(scene: Scene) -> Vec<Case> {
    let case = |sentence: &str| Case::new(scene, sentence, web(scene));
    let flow = scene.flow();
    let off_by = |by: u32| {
        flow.client_sends(ACK, b"").with_tcp(|tcp| tcp.acknowledgement = tcp.acknowledgement.wrapping_add(by))
    };
    let wrapping = Flow { backend_isn: u32::MAX, ..flow };
    let both_wrap = Flow { backend_isn: u32::MAX - 1, client_isn: u32::MAX, ..flow };
    vec![
        case("the client's ACK moves the flow to the table that never evicts")
            .opened(&flow)
            .leaves(&[(&flow, "established")])
            .entries(2, 0),
        case("a flow keeps its accounts when it is promoted").opened(&flow).totals(
            &flow,
            BackendTotals {
                flows_new: 1,
                flows_established: 1,
                forward_packets: 2,
                forward_bytes: 2 * (off_by(0).header_bytes() as u64 + 20),
                reverse_packets: 1,
                reverse_bytes: off_by(0).header_bytes() as u64 + 20,
                ..BackendTotals::default()
            },
        ),
        case("data may come with the ACK that completes the handshake")
            .answered(&flow)
            .forward(Outcome::Promoted, &flow, &flow.client_sends(ACK | PSH, b"GET / HTTP/1.1\r\n\r\n"))
            .entries(2, 0),
        case(
            "a wrong acknowledgement reaches no backend, which would have to refuse it, and does not promote",
        )
        .answered(&flow)
        .resets(&off_by(0x8000_0000))
        .entries(0, 2),
        case("an acknowledgement one below the right one does not promote")
            .answered(&flow)
            .resets(&off_by(u32::MAX)),
        case("after a wrong acknowledgement the right one still promotes")
            .answered(&flow)
            .resets(&off_by(0x0010_0000))
            .forward(Outcome::Promoted, &flow, &off_by(0)),
        case("when the first ACK was lost, one of up to 64 KiB of the answer promotes")
            .answered(&flow)
            .forward(Outcome::Promoted, &flow, &off_by(0xffff)),
        case("an acknowledgement further ahead than that is a guess")
            .answered(&flow)
            .resets(&off_by(0x1_0000)),
        case("an ACK before the backend's answer proves nothing, whatever it acknowledges")
            .begun(&flow)
            .forward(Outcome::Handshake, &flow, &off_by(0))
            .entries(0, 2)
            .leaves(&[(&flow, "embryonic")]),
        case("the backend's sequence number may be the last one before the wrap")
            .opened(&wrapping)
            .entries(2, 0),
        case("both sequence numbers may wrap").opened(&both_wrap).entries(2, 0),
    ]
}

fn beside_a_full_table(scene: Scene) -> Vec<Case> {
    let flow = scene.flow();
    let full = Setup { established_flows: 1, ..web(scene) };
    let second = flow.another(40001, flow.nat_port + 1, scene.web(1));
    vec![
        Case::new(
            scene,
            "with the established table full a flow stays embryonic and goes on all the same",
            full.clone(),
        )
        .opened(&flow)
        .answered(&second)
        .forward(Outcome::Handshake, &second, &second.client_sends(ACK, b""))
        .with(Occurrence::EstablishedFull, 1)
        .forward(Outcome::Handshake, &second, &second.client_sends(ACK | PSH, b"GET /"))
        .with(Occurrence::EstablishedFull, 1)
        .back(Outcome::Handshake, &second, &second.backend_sends(ACK | PSH, b"200"))
        .entries(2, 2),
        Case::new(
            scene,
            "a flow that found no room moves when there is, however far it has come",
            full.clone(),
        )
        .opened(&flow)
        .answered(&second)
        .forward(Outcome::Handshake, &second, &second.client_sends(ACK, b""))
        .with(Occurrence::EstablishedFull, 1)
        .forward(Outcome::ToBackend, &flow, &flow.client_sends(FIN | ACK, b""))
        .back(Outcome::ToClient, &flow, &more(flow.backend_sends(FIN | ACK, b""), 1))
        .forward(Outcome::ToBackend, &flow, &more(flow.client_sends(ACK, b""), 1))
        .with(Occurrence::FlowEnded, 1)
        .forward(Outcome::Promoted, &second, &more(second.client_sends(ACK, b""), 1 << 20))
        .leaves(&[(&second, "established")])
        .entries(2, 0),
        Case::new(scene, "a flow that never found room ends like any other", full)
            .opened(&flow)
            .answered(&second)
            .forward(Outcome::Handshake, &second, &second.client_sends(ACK, b""))
            .with(Occurrence::EstablishedFull, 1)
            .back(Outcome::Handshake, &second, &second.backend_sends(FIN | ACK, b""))
            .forward(Outcome::Handshake, &second, &more(second.client_sends(FIN | ACK, b""), 1))
            .with(Occurrence::EstablishedFull, 1)
            .back(Outcome::Handshake, &second, &more(second.backend_sends(ACK, b""), 1))
            .with(Occurrence::FlowEnded, 1)
            .entries(2, 0),
    ]
}

/// The segment, acknowledging so much more.
fn more(segment: Packet, by: u32) -> Packet {
    segment.with_tcp(|tcp| tcp.acknowledgement = tcp.acknowledgement.wrapping_add(by))
}

fn refusing(scene: Scene) -> Vec<Case> {
    let two = |sentence: &str| Case::new(scene, sentence, Setup::web(scene, &[scene.web(1), scene.web(2)]));
    let flow = scene.flow();
    let next = flow.another(40000, flow.nat_port, scene.web(2));
    let refusal = flow.backend_sends(RST | ACK, b"");
    let earlier = flow.backend_sends(ACK, b"");
    let ip_bytes = refusal.header_bytes() as u64 + 20;
    vec![
        two("a backend's refusal reaches the client and frees the flow")
            .begun(&flow)
            .back(Outcome::Handshake, &flow, &refusal)
            .entries(0, 0)
            .leaves(&[])
            .totals(
                &flow,
                BackendTotals {
                    flows_new: 1,
                    flows_refused: 1,
                    forward_packets: 1,
                    forward_bytes: ip_bytes,
                    reverse_packets: 1,
                    reverse_bytes: ip_bytes,
                    ..BackendTotals::default()
                },
            ),
        two("a backend that resets what it has answered refuses nobody")
            .answered(&flow)
            .back(Outcome::Handshake, &flow, &flow.backend_sends(RST, b""))
            .entries(0, 0)
            .totals(
                &flow,
                BackendTotals {
                    flows_new: 1,
                    forward_packets: 1,
                    forward_bytes: ip_bytes,
                    reverse_packets: 2,
                    reverse_bytes: 2 * ip_bytes,
                    ..BackendTotals::default()
                },
            ),
        two("nor does one that resets a segment which no SYN came before")
            .begun(&flow)
            .back(Outcome::Handshake, &flow, &flow.backend_sends(RST, b""))
            .totals(
                &flow,
                BackendTotals {
                    flows_new: 1,
                    forward_packets: 1,
                    forward_bytes: ip_bytes,
                    reverse_packets: 1,
                    reverse_bytes: ip_bytes,
                    ..BackendTotals::default()
                },
            ),
        two("a backend that answers a SYN by an earlier connection is told that there is none, and its client waits")
            .begun(&flow)
            .becomes(Outcome::Handshake, earlier.frame(), answer(&earlier).frame())
            .back(Outcome::Handshake, &flow, &flow.backend_sends(SYN | ACK, b""))
            .entries(0, 2),
        two("after a refusal the client's next SYN goes to the next backend")
            .begun(&flow)
            .back(Outcome::Handshake, &flow, &refusal)
            .begun(&next)
            .leaves(&[(&next, "embryonic")]),
        two("a client that gives up with RST frees the flow, which is no refusal")
            .answered(&flow)
            .forward(Outcome::Handshake, &flow, &flow.client_sends(RST, b""))
            .entries(0, 0)
            .totals(
                &flow,
                BackendTotals {
                    flows_new: 1,
                    forward_packets: 2,
                    forward_bytes: 2 * ip_bytes,
                    reverse_packets: 1,
                    reverse_bytes: ip_bytes,
                    ..BackendTotals::default()
                },
            ),
    ]
}
