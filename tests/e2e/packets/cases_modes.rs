//! `nat` that keeps its clients' addresses, and `dsr`: what backends see, and what of their answers is seen here.

use super::builder::{ACK, FIN, Packet, RST, SYN};
use super::case::{Act, Case, Service, Setup};
use super::cases_firewall::deny_client;
use super::scene::{Flow, IcmpKind, Port, SCENES, Scene};
use lb_ebpf::abi::Forwarding;
use lb_ebpf::outcome::{Occurrence, Outcome};
use std::net::SocketAddr;

pub(crate) fn cases() -> Vec<Case> {
    SCENES
        .into_iter()
        .flat_map(|scene| {
            [
                kept(scene),
                kept_errors(scene),
                direct(scene),
                direct_ends(scene),
                changed(scene),
                shared(scene),
            ]
        })
        .flatten()
        .collect()
}

fn setup(scene: Scene, forwarding: Forwarding) -> Setup {
    Setup::web(scene, &[scene.web(1)]).with(|service| {
        service.forwarding = Some(forwarding);
        if forwarding == Forwarding::Direct {
            service.backends.iter_mut().for_each(|(_, address)| address.set_port(80));
        }
    })
}

fn flow(scene: Scene, forwarding: Forwarding) -> Flow {
    let flow = Flow { forwarding, ..scene.flow() };
    if forwarding == Forwarding::Direct { Flow { backend_port: 80, ..flow } } else { flow }
}

fn keeping(scene: Scene, sentence: &str) -> (Flow, Case) {
    (flow(scene, Forwarding::KeepSource), Case::new(scene, sentence, setup(scene, Forwarding::KeepSource)))
}

fn going_directly(scene: Scene, sentence: &str) -> (Flow, Case) {
    (flow(scene, Forwarding::Direct), Case::new(scene, sentence, setup(scene, Forwarding::Direct)))
}

/// A SYN and the ACK behind it, with an answer between them that is not seen here.
fn opened_directly(case: Case, flow: &Flow) -> Case {
    case.begun(flow).forward(Outcome::Promoted, flow, &flow.client_sends(ACK, b""))
}

fn kept(scene: Scene) -> Vec<Case> {
    let (flow, case) =
        keeping(scene, "a backend sees its client's own address, and its answers come from the VIP");
    let data = flow.client_sends(ACK, b"request");
    let answer = flow.backend_sends(ACK, b"answer");
    let whole = case
        .opened(&flow)
        .forward(Outcome::ToBackend, &flow, &data)
        .back(Outcome::ToClient, &flow, &answer)
        .active(&flow, 1)
        .entries(2, 0)
        .leaves(&[(&flow, "established")]);

    let (_, case) = keeping(scene, "both FINs and their acknowledgements end a flow that keeps its source");
    let ended = case
        .opened(&flow)
        .forward(Outcome::ToBackend, &flow, &flow.client_sends(FIN | ACK, b""))
        .back(
            Outcome::ToClient,
            &flow,
            &flow.backend_sends(FIN | ACK, b"").with_tcp(|tcp| tcp.acknowledgement += 1),
        )
        .forward(
            Outcome::ToBackend,
            &flow,
            &flow.client_sends(ACK, b"").with_tcp(|tcp| {
                tcp.sequence += 1;
                tcp.acknowledgement += 1;
            }),
        )
        .with(Occurrence::FlowEnded, 1)
        .active(&flow, 0)
        .entries(0, 0);

    let (_, case) =
        keeping(scene, "what a backend sends to a client of no flow of ours goes its way through the host");
    let others = Packet { destination: scene.stranger(), ..answer.clone() };
    let passes = case
        .opened(&flow)
        .passes(Outcome::NotOurs, others.frame())
        .passes(Outcome::NotOurs, flow.backend_sends(SYN, b"").with_ports(8081, flow.client.port()).frame());

    let (_, case) = keeping(scene, "a hop that is one too many is not made in either direction");
    let hops = case
        .opened(&flow)
        .drops(Outcome::TtlExceeded, Packet { hops: 1, ..answer.clone() }.frame())
        .drops(Outcome::TtlExceeded, Packet { hops: 1, ..data.clone() }.frame());
    vec![whole, ended, passes, hops, taken(scene), judged(scene)]
}

/// One client port by way of two VIPs to one backend: the backend could not tell them apart.
fn taken(scene: Scene) -> Case {
    let host = scene.web(1);
    let at = |name, vip| Service::over(name, SocketAddr::new(vip, 80), &[host]);
    let services = vec![at("web", scene.vip()), at("web-b", scene.vip_b())];
    let setup = Setup::new(&[scene.vip(), scene.vip_b()], services)
        .with(|service| service.forwarding = Some(Forwarding::KeepSource));
    let first = flow(scene, Forwarding::KeepSource);
    let second = Flow { service: SocketAddr::new(scene.vip_b(), 80), ..first };
    let syn = second.client_sends(SYN, b"").frame();
    Case::new(scene, "one client port has one flow to one backend, whatever VIP it comes by", setup)
        .opened(&first)
        .drops(Outcome::SourceTaken, syn)
        .leaves(&[(&first, "established")])
}

/// The firewall's next policy finds the client also where the backend speaks first.
fn judged(scene: Scene) -> Case {
    let (flow, case) =
        keeping(scene, "a new deny cuts a flow that keeps its source with its backend's next packet");
    let denied = setup(scene, Forwarding::KeepSource).behind(&[deny_client(scene)]);
    case.opened(&flow)
        .act(Act::Desire(denied))
        .drops(Outcome::Denied, flow.backend_sends(ACK, b"more").frame())
        .with(Occurrence::FlowCut, 1)
        .entries(0, 0)
}

fn kept_errors(scene: Scene) -> Vec<Case> {
    let (flow, case) =
        keeping(scene, "\"too big\" about an answer reaches the backend with the packet it sent");
    let sent = Packet { hops: 61, ..flow.backend_sends(ACK, &[0xa5; 500]) };
    let seen = Packet { hops: 61, ..flow.returned(&sent) };
    let router = scene.router();
    let to_backend = Packet {
        to_mac: flow.backend.mac,
        from_mac: flow.backend.port.mac(),
        source: flow.service.ip(),
        destination: flow.backend.address,
        hops: 63,
        ..scene.error(router, IcmpKind::TooBig, &sent, 520)
    };
    let arrives = scene.error(router, IcmpKind::TooBig, &seen, 520);
    let back = case.opened(&flow).becomes(Outcome::IcmpError, arrives.frame(), to_backend.frame());

    let (_, case) =
        keeping(scene, "a backend's error about a request reaches the client with the packet it sent");
    let sent = Packet { hops: 62, ..flow.client_sends(ACK, b"request") };
    let seen = Packet { hops: 62, ..flow.forwarded(&sent) };
    let error = |quoted: &Packet| Packet {
        destination: flow.client.ip(),
        ..scene.error(flow.backend, IcmpKind::PortUnreachable, quoted, 20)
    };
    let to_client = Packet {
        to_mac: router.mac,
        from_mac: router.port.mac(),
        source: flow.service.ip(),
        hops: 63,
        ..error(&sent)
    };
    let forth = case.opened(&flow).becomes(Outcome::IcmpError, error(&seen).frame(), to_client.frame());

    let (_, case) = keeping(scene, "a backend's error about something else goes its way through the host");
    let other = Packet { destination: scene.stranger(), ..error(&seen) };
    let passes = case.opened(&flow).passes(Outcome::NotOurs, other.frame());
    vec![back, forth, passes]
}

fn direct(scene: Scene) -> Vec<Case> {
    let (flow, case) =
        going_directly(scene, "only the MAC addresses change on the way to a backend that answers directly");
    let data = flow.client_sends(ACK, b"request");
    let whole = opened_directly(case, &flow)
        .forward(Outcome::ToBackend, &flow, &data)
        .active(&flow, 1)
        .entries(1, 0)
        .forward_account(3, 3 * (flow.client_sends(SYN, b"").ip_bytes().len() as u64) + 7)
        .leaves(&[(&flow, "established")]);

    let (_, case) =
        going_directly(scene, "the last hop of a packet to the VIP is the backend, which is there too");
    let last = Packet { hops: 1, ..data.clone() };
    let syn = Packet { hops: 1, ..flow.client_sends(SYN, b"") };
    let hops = case.forward(Outcome::NewFlow, &flow, &syn).forward(Outcome::Promoted, &flow, &last).forward(
        Outcome::ToBackend,
        &flow,
        &last,
    );

    let (_, case) = going_directly(scene, "a SYN that is sent again stays with its backend");
    let again =
        case.begun(&flow).forward(Outcome::Handshake, &flow, &flow.client_sends(SYN, b"")).entries(0, 1);

    let (_, case) = going_directly(scene, "an error about an answer is sent on to the backend as it is");
    let answer = Packet {
        source: flow.service.ip(),
        destination: flow.client.ip(),
        ..flow.backend_sends(ACK, &[0xa5; 500]).with_ports(80, flow.client.port())
    };
    let arrives = scene.error(scene.router(), IcmpKind::TooBig, &answer, 520);
    let leaves = Packet { to_mac: flow.backend.mac, from_mac: Port::Lan.mac(), ..arrives.clone() };
    let error = opened_directly(case, &flow).becomes(Outcome::IcmpError, arrives.frame(), leaves.frame());
    vec![whole, hops, again, error]
}

fn direct_ends(scene: Scene) -> Vec<Case> {
    let (flow, case) = going_directly(
        scene,
        "a client's FIN closes a flow that is seen from one side, and what follows still arrives",
    );
    let fin = flow.client_sends(FIN | ACK, b"");
    let closed = opened_directly(case, &flow)
        .forward(Outcome::ToBackend, &flow, &fin)
        .forward(Outcome::ToBackend, &flow, &flow.client_sends(ACK, b"").with_tcp(|tcp| tcp.sequence += 1))
        .active(&flow, 0)
        .leaves(&[(&flow, "closed")]);

    let (_, case) =
        going_directly(scene, "a SYN on the tuple of a closed flow begins one that goes directly anew");
    let anew = opened_directly(case, &flow)
        .forward(Outcome::ToBackend, &flow, &fin)
        .begun(&flow)
        .with(Occurrence::TupleReused, 1)
        .entries(0, 1);

    let (_, case) =
        going_directly(scene, "a client's RST in the handshake is sent on, and its flow forgotten");
    let reset =
        case.begun(&flow).forward(Outcome::Handshake, &flow, &flow.client_sends(RST, b"")).entries(0, 0);
    vec![closed, anew, reset]
}

/// One client port, one backend, two ways to it: what happens to the flow that is seen from one side is none of the
/// other's business.
fn shared(scene: Scene) -> Vec<Case> {
    let host = scene.web(1);
    let service = |name, vip, forwarding| {
        let mut service = Service::over(name, SocketAddr::new(vip, 80), &[host]);
        service.backends.iter_mut().for_each(|(_, address)| address.set_port(80));
        Service { forwarding: Some(forwarding), ..service }
    };
    let services = vec![
        service("direct", scene.vip(), Forwarding::Direct),
        service("kept", scene.vip_b(), Forwarding::KeepSource),
    ];
    let setup = Setup::new(&[scene.vip(), scene.vip_b()], services);
    let direct = flow(scene, Forwarding::Direct);
    let kept = Flow {
        service: SocketAddr::new(scene.vip_b(), 80),
        backend_port: 80,
        ..flow(scene, Forwarding::KeepSource)
    };
    let case = |sentence: &str| Case::new(scene, sentence, setup.clone());
    let goes_on = |case: Case| {
        case.back(Outcome::ToClient, &kept, &kept.backend_sends(ACK, b"answer")).forward(
            Outcome::ToBackend,
            &kept,
            &kept.client_sends(ACK, b"more"),
        )
    };
    let reset = opened_directly(
        case("a flow that goes directly ends, one of the same ends by way of the node does not")
            .opened(&kept),
        &direct,
    )
    .forward(Outcome::ToBackend, &direct, &direct.client_sends(RST | ACK, b""))
    .begun(&direct)
    .with(Occurrence::TupleReused, 1);
    let opened = opened_directly(
        case("a flow that goes directly is established, one of the same ends in its handshake stays")
            .answered(&kept),
        &direct,
    )
    .forward(Outcome::Promoted, &kept, &kept.client_sends(ACK, b""));
    vec![goes_on(reset).entries(2, 1), goes_on(opened).entries(3, 0)]
}

fn changed(scene: Scene) -> Vec<Case> {
    let (nat, kept, direct) =
        (scene.flow(), flow(scene, Forwarding::KeepSource), flow(scene, Forwarding::Direct));
    let kept = kept.another(40001, 0, kept.backend);
    let direct = Flow { backend_port: 80, ..direct.another(40002, 0, direct.backend) };
    let case = Case::new(
        scene,
        "a service whose mode changes leaves its flows as they are",
        setup(scene, Forwarding::Nat),
    );
    let case = case
        .opened(&nat)
        .act(Act::Desire(setup(scene, Forwarding::KeepSource)))
        .opened(&kept)
        .act(Act::Desire(setup(scene, Forwarding::Direct)));
    let case = opened_directly(case, &direct);
    let case = [&nat, &kept].into_iter().fold(case, |case, flow| {
        case.forward(Outcome::ToBackend, flow, &flow.client_sends(ACK, b"more")).back(
            Outcome::ToClient,
            flow,
            &flow.backend_sends(ACK, b"answer"),
        )
    });
    vec![case.forward(Outcome::ToBackend, &direct, &direct.client_sends(ACK, b"more")).entries(5, 0)]
}
