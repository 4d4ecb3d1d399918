//! The end of flows: FIN and RST each way, and what may use their tuple and port again.

use super::builder::{ACK, FIN, PSH, Packet, RST, SYN};
use super::case::{Case, Setup};
use super::scene::{Flow, SCENES, Scene};
use lb_ebpf::outcome::{Occurrence, Outcome};

pub(crate) fn cases() -> Vec<Case> {
    SCENES
        .into_iter()
        .flat_map(|scene| [fins(scene), ends(scene), resets(scene), again(scene)])
        .flatten()
        .collect()
}

fn two(scene: Scene) -> Setup {
    Setup::web(scene, &[scene.web(1), scene.web(2)])
}

fn opened(scene: Scene, sentence: &str) -> Case {
    Case::new(scene, sentence, two(scene)).opened(&scene.flow())
}

/// Closed by FIN from both sides.
fn closed(case: Case, flow: &Flow) -> Case {
    case.forward(Outcome::ToBackend, flow, &flow.client_sends(FIN | ACK, b"")).back(
        Outcome::ToClient,
        flow,
        &flow.backend_sends(FIN | ACK, b""),
    )
}

fn fins(scene: Scene) -> Vec<Case> {
    let case = |sentence: &str| opened(scene, sentence);
    let flow = scene.flow();
    vec![
        case("the client's FIN half-closes: the backend may still send")
            .forward(Outcome::ToBackend, &flow, &flow.client_sends(FIN | ACK, b""))
            .back(Outcome::ToClient, &flow, &flow.backend_sends(ACK | PSH, b"the rest"))
            .leaves(&[(&flow, "half-closed")])
            .entries(2, 0),
        case("the backend's FIN half-closes, and the client's entry knows")
            .back(Outcome::ToClient, &flow, &flow.backend_sends(FIN | ACK, b"all of it"))
            .forward(Outcome::ToBackend, &flow, &flow.client_sends(ACK | PSH, b"one more"))
            .leaves(&[(&flow, "half-closed")]),
        case("a FIN that comes twice is still one side's")
            .forward(Outcome::ToBackend, &flow, &flow.client_sends(FIN | ACK, b""))
            .forward(Outcome::ToBackend, &flow, &flow.client_sends(FIN | ACK, b""))
            .leaves(&[(&flow, "half-closed")]),
        closed(case("FIN from both sides closes, and the entries stay for the last ACK"), &flow)
            .forward(Outcome::ToBackend, &flow, &flow.client_sends(ACK, b""))
            .leaves(&[(&flow, "closed")])
            .entries(2, 0),
        case("both sides may close at once, the backend first")
            .back(Outcome::ToClient, &flow, &flow.backend_sends(FIN | ACK, b""))
            .forward(Outcome::ToBackend, &flow, &flow.client_sends(FIN | ACK, b""))
            .leaves(&[(&flow, "closed")]),
        Case::new(
            scene,
            "a client that asks and closes in the ACK of its handshake is half-closed",
            two(scene),
        )
        .answered(&flow)
        .forward(Outcome::Promoted, &flow, &flow.client_sends(FIN | ACK, b"GET /\r\n"))
        .leaves(&[(&flow, "half-closed")]),
    ]
}

/// The segment, acknowledging so much more than the other side's SYN.
fn acknowledging(segment: Packet, more: u32) -> Packet {
    // What the scene's segments acknowledge is the SYN.
    segment.with_tcp(|tcp| tcp.acknowledgement = tcp.acknowledgement.wrapping_add(more))
}

/// A flow whose sides acknowledge each other's FINs as TCP does, the client's first.
fn ended(case: Case, flow: &Flow) -> Case {
    case.forward(Outcome::ToBackend, flow, &flow.client_sends(FIN | ACK, b""))
        .back(Outcome::ToClient, flow, &acknowledging(flow.backend_sends(FIN | ACK, b""), 1))
        .forward(Outcome::ToBackend, flow, &acknowledging(flow.client_sends(ACK, b""), 1))
        .with(Occurrence::FlowEnded, 1)
}

fn ends(scene: Scene) -> Vec<Case> {
    let case = |sentence: &str| opened(scene, sentence);
    let flow = scene.flow();
    let anew = flow.another(flow.client.port(), flow.nat_port, scene.web(2));
    let data = b"all of it";
    let first = flow.backend_sends(FIN | ACK, data);
    let all_bytes = data.len() as u32 + 1;
    let client = acknowledging(flow.client_sends(FIN | ACK, b""), all_bytes);
    let short = acknowledging(flow.client_sends(FIN | ACK, b""), all_bytes - 1);
    let last = acknowledging(flow.backend_sends(ACK, b""), 1);
    let (question, answer) = (b"GET /\r\n", b"HTTP/1.1 200");
    let late = flow.backend_sends(FIN | ACK, b"");
    let reset = super::cases_reset::answer(&late);
    let reply = acknowledging(flow.backend_sends(FIN | ACK, answer), question.len() as u32 + 1);
    let thanks = acknowledging(flow.client_sends(ACK, b""), answer.len() as u32 + 1);
    vec![
        ended(case("a flow is forgotten at once when each side has acknowledged the other's FIN"), &flow)
            .leaves(&[])
            .entries(0, 0),
        case("the data before a FIN counts for what acknowledges it")
            .back(Outcome::ToClient, &flow, &first)
            .forward(Outcome::ToBackend, &flow, &client)
            .back(Outcome::ToClient, &flow, &last)
            .with(Occurrence::FlowEnded, 1)
            .entries(0, 0),
        case("a FIN that is not acknowledged whole keeps its flow")
            .back(Outcome::ToClient, &flow, &first)
            .forward(Outcome::ToBackend, &flow, &short)
            .back(Outcome::ToClient, &flow, &last)
            .leaves(&[(&flow, "closed")])
            .entries(2, 0),
        ended(case("a FIN that comes again after the end gets a RST: its sender need not wait"), &flow)
            .becomes(Outcome::UnknownFlow, late.frame(), reset.frame()),
        ended(case("a SYN on the tuple of a flow that has ended begins a flow like any other"), &flow)
            .begun(&anew)
            .leaves(&[(&anew, "embryonic")])
            .entries(0, 2),
        Case::new(scene, "a flow can end that half-closed with the ACK of its handshake", two(scene))
            .answered(&flow)
            .forward(Outcome::Promoted, &flow, &flow.client_sends(FIN | ACK, question))
            .back(Outcome::ToClient, &flow, &reply)
            .forward(Outcome::ToBackend, &flow, &thanks)
            .with(Occurrence::FlowEnded, 1)
            .entries(0, 0),
    ]
}

fn resets(scene: Scene) -> Vec<Case> {
    let case = |sentence: &str| opened(scene, sentence);
    let flow = scene.flow();
    vec![
        case("the client's RST closes the flow for both sides")
            .forward(Outcome::ToBackend, &flow, &flow.client_sends(RST, b""))
            .leaves(&[(&flow, "closed")])
            .entries(2, 0),
        case("the backend's RST closes, and the client's entry knows")
            .back(Outcome::ToClient, &flow, &flow.backend_sends(RST | ACK, b""))
            .leaves(&[(&flow, "closed")]),
        case("what is under way when a flow is reset still arrives")
            .forward(Outcome::ToBackend, &flow, &flow.client_sends(RST, b""))
            .back(Outcome::ToClient, &flow, &flow.backend_sends(ACK, b"under way")),
    ]
}

fn again(scene: Scene) -> Vec<Case> {
    let case = |sentence: &str| opened(scene, sentence);
    let flow = scene.flow();
    // The same client port again: the next backend, with that backend's first NAT port.
    let anew = flow.another(flow.client.port(), flow.nat_port, scene.web(2));
    let one_port = Setup::web(scene, &[scene.web(1)]).with_nat_ports(1);
    let other = flow.another(40001, flow.nat_port, scene.web(1));
    let one = |sentence: &str| Case::new(scene, sentence, one_port.clone());
    vec![
        closed(case("a SYN on the tuple of a closed flow begins anew, with the next backend"), &flow)
            .begun(&anew)
            .with(Occurrence::TupleReused, 1)
            .leaves(&[(&anew, "embryonic")])
            .entries(0, 2),
        case("a SYN after a reset begins anew too, and its handshake completes")
            .back(Outcome::ToClient, &flow, &flow.backend_sends(RST, b""))
            .begun(&anew)
            .with(Occurrence::TupleReused, 1)
            .back(Outcome::Handshake, &anew, &anew.backend_sends(SYN | ACK, b""))
            .forward(Outcome::Promoted, &anew, &anew.client_sends(ACK, b""))
            .leaves(&[(&anew, "established")])
            .entries(2, 0),
        case("a SYN on a half-closed flow is that flow's backend's to answer")
            .forward(Outcome::ToBackend, &flow, &flow.client_sends(FIN | ACK, b""))
            .forward(Outcome::ToBackend, &flow, &flow.client_sends(SYN, b""))
            .leaves(&[(&flow, "half-closed")]),
        closed(case("a SYN-ACK that a client sends on a closed flow does not begin a new one"), &flow)
            .forward(Outcome::ToBackend, &flow, &flow.client_sends(SYN | ACK, b""))
            .leaves(&[(&flow, "closed")]),
        {
            // A straggler of the old flow is to a NAT port that no flow has any more.
            let late = flow.backend_sends(ACK, b"late");
            let reset = super::cases_reset::answer(&late);
            closed(
                case("a straggler from the backend of a replaced flow gets a RST, not the new client"),
                &flow,
            )
            .begun(&anew)
            .with(Occurrence::TupleReused, 1)
            .becomes(Outcome::UnknownFlow, late.frame(), reset.frame())
        },
        closed(one("a closed flow's NAT port is used again when no other is left").opened(&flow), &flow)
            .begun(&other)
            .with(Occurrence::PortReused, 1)
            .leaves(&[(&other, "embryonic")])
            .entries(0, 2),
        {
            let late = flow.client_sends(ACK, b"");
            let reset = super::cases_reset::answer(&late);
            let case =
                one("a straggler of the client whose NAT port went to another does not reach the backend");
            closed(case.opened(&flow), &flow).begun(&other).with(Occurrence::PortReused, 1).becomes(
                Outcome::UnknownFlow,
                late.frame(),
                reset.frame(),
            )
        },
        one("an open flow's NAT port is not taken from it")
            .opened(&flow)
            .drops(Outcome::PortsExhausted, other.client_sends(SYN, b"").frame())
            .with(Occurrence::PortCollision, 8)
            .forward(Outcome::ToBackend, &flow, &flow.client_sends(ACK, b"still mine"))
            .leaves(&[(&flow, "established")])
            .entries(2, 0),
    ]
}
