//! Limits: how many flows a backend and a service may have, and what becomes of the next.

use super::builder::{ACK, FIN, RST, SYN};
use super::case::{Act, Case, Setup};
use super::cases_reset::answer;
use super::scene::{FIRST_NAT_PORT, Flow, SCENES, Scene};
use lb_ebpf::outcome::Outcome;
use lb_user::io::dataplane::BackendTotals;
use lb_user::model::{AtLimit, Protocol, SchedulerKind};
use std::net::SocketAddr;

pub(crate) fn cases() -> Vec<Case> {
    let groups = [of_backends, of_services, in_the_handshake];
    SCENES.into_iter().flat_map(|scene| groups.iter().flat_map(move |group| group(scene))).collect()
}

fn setup(scene: Scene, max_flows: u32, backend_max_flows: u32, at_limit: AtLimit) -> Setup {
    Setup::web(scene, &[1, 2, 3].map(|number| scene.web(number))).with(|service| {
        service.max_flows = max_flows;
        service.backend_max_flows = backend_max_flows;
        service.at_limit = at_limit;
    })
}

/// A flow from that client port to that backend, the so-many-eth one it gets.
fn flow(scene: Scene, client_port: u16, nat_port: u16, backend: u8) -> Flow {
    scene.flow().another(client_port, FIRST_NAT_PORT + nat_port, scene.web(backend))
}

fn refused(case: Case, outcome: Outcome, flow: &Flow) -> Case {
    let syn = flow.client_sends(SYN, b"");
    case.becomes(outcome, syn.frame(), answer(&syn).frame())
}

fn full(scene: Scene, case: Case) -> Case {
    (1..=3).fold(case, |case, number| case.opened(&flow(scene, number, 0, number as u8)))
}

fn of_backends(scene: Scene) -> Vec<Case> {
    let fourth = flow(scene, 4, 0, 1);
    let case = |sentence: &str, at_limit| Case::new(scene, sentence, setup(scene, 0, 1, at_limit));
    let closed = flow(scene, 2, 0, 2);
    let over = |flows_over_limit, flow: &Flow| BackendTotals { flows_over_limit, ..opened_totals(flow) };
    let mut turn = full(
        scene,
        case("a backend that is full is passed over for the next one with room", AtLimit::OtherBackend),
    );
    turn = turn
        .forward(Outcome::ToBackend, &closed, &closed.client_sends(RST | ACK, b""))
        .opened(&flow(scene, 5, 1, 2));
    let mut reset =
        full(scene, case("where all backends are full a connection is refused", AtLimit::OtherBackend));
    reset = refused(reset, Outcome::AtLimit, &fourth).totals(&flow(scene, 1, 0, 1), over(1, &fourth));
    let mut strict = case("a service may want a full backend's connections refused", AtLimit::Reset)
        .opened(&flow(scene, 1, 0, 1))
        .opened(&flow(scene, 2, 0, 2))
        .opened(&flow(scene, 3, 0, 3));
    strict = refused(strict, Outcome::AtLimit, &fourth);
    let silent = full(scene, case("a service may want them dropped", AtLimit::Drop))
        .drops(Outcome::AtLimitDropped, fourth.client_sends(SYN, b"").frame());
    let mut least = setup(scene, 0, 1, AtLimit::OtherBackend).scheduled(SchedulerKind::LeastConnections);
    least.services[0].slots = vec!["b1", "b2"];
    let least = Case::new(scene, "the less loaded of two is not taken where it is full", least)
        .opened(&flow(scene, 1, 0, 1))
        .opened(&flow(scene, 2, 0, 2));
    let least = refused(least, Outcome::AtLimit, &fourth);
    let lifted = full(scene, case("a limit that is lifted lets the next one in", AtLimit::Reset))
        .act(Act::Desire(setup(scene, 0, 0, AtLimit::Reset)))
        .opened(&flow(scene, 4, 1, 1))
        .active(&flow(scene, 4, 1, 1), 2);
    vec![turn, reset, strict, silent, least, lifted]
}

/// What a backend counted of one flow that was opened with three packets.
fn opened_totals(flow: &Flow) -> BackendTotals {
    let bytes = |packet: super::builder::Packet| packet.ip_bytes().len() as u64;
    let (syn, ack) = (bytes(flow.client_sends(SYN, b"")), bytes(flow.client_sends(ACK, b"")));
    BackendTotals {
        flows_new: 1,
        flows_established: 1,
        forward_packets: 2,
        forward_bytes: syn + ack,
        reverse_packets: 1,
        reverse_bytes: bytes(flow.backend_sends(SYN | ACK, b"")),
        ..BackendTotals::default()
    }
}

fn of_services(scene: Scene) -> Vec<Case> {
    let case = |sentence: &str, at_limit| Case::new(scene, sentence, setup(scene, 2, 0, at_limit));
    let (first, second, third) = (flow(scene, 1, 0, 1), flow(scene, 2, 0, 2), flow(scene, 3, 0, 3));
    let both = |case: Case| case.opened(&first).opened(&second);
    let refused = refused(
        both(case("a service that is full refuses a connection", AtLimit::OtherBackend)),
        Outcome::AtLimit,
        &third,
    );
    let silent = both(case("a service that is full may drop a connection", AtLimit::Drop))
        .drops(Outcome::AtLimitDropped, third.client_sends(SYN, b"").frame());
    let fin = |flow: &Flow| flow.client_sends(FIN | ACK, b"");
    let again = both(case("a flow that closes makes room in its service", AtLimit::OtherBackend))
        .forward(Outcome::ToBackend, &first, &fin(&first))
        .back(Outcome::ToClient, &first, &first.backend_sends(FIN | ACK, b""))
        .opened(&third);
    let datagrams = setup(scene, 1, 0, AtLimit::Reset).with(|service| service.protocol = Protocol::Udp);
    let datagrams =
        Case::new(scene, "a service of datagrams that is full drops them, whatever it wants", datagrams)
            .forward(Outcome::NewFlow, &first, &first.client_says(b"1"))
            .back(Outcome::Handshake, &first, &first.backend_says(b"2"))
            .forward(Outcome::Promoted, &first, &first.client_says(b"3"))
            .drops(Outcome::AtLimitDropped, second.client_says(b"4").frame())
            .forward(Outcome::ToBackend, &first, &first.client_says(b"5"));
    vec![refused, silent, again, datagrams]
}

/// SYNs count for nothing, so that a flood of them fills no limit; more flows than may be open can be in their
/// handshakes, and those that come too late are ended.
fn in_the_handshake(scene: Scene) -> Vec<Case> {
    let (first, second) = (flow(scene, 1, 0, 1), flow(scene, 2, 0, 2));
    let late = |setup: Setup, sentence: &str, second: &Flow| {
        Case::new(scene, sentence, setup)
            .answered(&first)
            .answered(second)
            .forward(Outcome::Promoted, &first, &first.client_sends(ACK, b""))
            .drops(Outcome::AtLimitDropped, second.client_sends(ACK, b"").frame())
            .active(&first, 1)
            .entries(2, 0)
    };
    let mut one_backend = setup(scene, 0, 1, AtLimit::OtherBackend);
    one_backend.services[0].slots = vec!["b1"];
    let same = flow(scene, 2, 1, 1);
    let sibling = SocketAddr::new(scene.client(), 7);
    vec![
        late(
            setup(scene, 1, 0, AtLimit::OtherBackend),
            "of two handshakes to a service with room for one, one is completed",
            &second,
        ),
        late(one_backend, "of two handshakes to a backend with room for one, one is completed", &same),
        Case::new(
            scene,
            "handshakes that are never completed fill no limit",
            setup(scene, 1, 1, AtLimit::Reset),
        )
        .answered(&first)
        .answered(&second)
        .opened(&Flow { client: sibling, ..flow(scene, 3, 0, 3) }),
    ]
}
