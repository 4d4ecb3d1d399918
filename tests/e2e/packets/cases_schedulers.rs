//! Schedulers: whose slot a new flow gets, and the count of active flows that one of them goes by.

use super::builder::{ACK, FIN, RST, SYN};
use super::case::{Act, Case, Setup};
use super::scene::{FIRST_NAT_PORT, Flow, Host, SCENES, Scene};
use lb_ebpf::abi::FlowKey;
use lb_ebpf::outcome::{Occurrence, Outcome};
use lb_ebpf::steer::{Hash, hashed_slot_index};
use lb_user::model::SchedulerKind;
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

pub(crate) fn cases() -> Vec<Case> {
    SCENES
        .into_iter()
        .flat_map(|scene| [least_connections(scene), hashed(scene), active_flows(scene)])
        .flatten()
        .collect()
}

fn hosts(scene: Scene) -> [Host; 3] {
    [1, 2, 3].map(|number| scene.web(number))
}

fn least_connections(scene: Scene) -> Vec<Case> {
    let [one, two, _] = hosts(scene);
    // Of two slots both are always compared, so there is no chance in it.
    let setup = Setup::web(scene, &[one, two]).scheduled(SchedulerKind::LeastConnections);
    let flow = |port, nat_port, host| scene.flow().another(port, FIRST_NAT_PORT + nat_port, host);
    let first = flow(1, 0, one);
    vec![
        Case::new(scene, "a backend with a flow waits until the other has as many", setup.clone())
            .opened(&first)
            .opened(&flow(2, 0, two))
            .opened(&flow(3, 1, one))
            .opened(&flow(4, 1, two))
            .active(&flow(0, 0, one), 2)
            .active(&flow(0, 0, two), 2),
        Case::new(scene, "it takes none while the other has fewer, whose turn it ever is", setup.clone())
            .opened(&first)
            .begun(&flow(2, 0, two))
            .begun(&flow(3, 1, two))
            .begun(&flow(4, 2, two))
            .active(&first, 1)
            .active(&flow(0, 0, two), 0),
        Case::new(scene, "a flow that was reset weighs nothing any more", setup)
            .opened(&first)
            .forward(Outcome::ToBackend, &first, &first.client_sends(RST | ACK, b""))
            .begun(&flow(2, 0, two))
            .begun(&flow(3, 1, one))
            .active(&first, 0),
    ]
}

/// Flows from these clients, each to the backend that its hash falls on.
fn by_hash(
    case: Case,
    scene: Scene,
    hosts: &[Host],
    clients: &[SocketAddr],
    hash: impl Fn(&Flow) -> u32,
) -> Case {
    let mut taken: BTreeMap<IpAddr, u16> = BTreeMap::new();
    clients.iter().fold(case, |case, client| {
        let flow = Flow { client: *client, ..scene.flow() };
        let host = hosts[hashed_slot_index(hash(&flow), hosts.len() as u32) as usize];
        let port = taken.entry(host.address).or_default();
        let flow = Flow { nat_port: FIRST_NAT_PORT + *port, backend: host, ..flow };
        *port += 1;
        case.begun(&flow)
    })
}

fn of_source(flow: &Flow) -> u32 {
    Hash::START.with(lb_ebpf::abi::Address::from(flow.client.ip()).words()).finish()
}

fn of_tuple(flow: &Flow) -> u32 {
    let (client, service) = (flow.client, flow.service);
    let ports = (client.port().to_be_bytes(), service.port().to_be_bytes());
    FlowKey::new(client.ip().into(), ports.0, service.ip().into(), ports.1, 6).hash()
}

fn hashed(scene: Scene) -> Vec<Case> {
    let hosts = hosts(scene);
    let setup = |scheduler| Setup::web(scene, &hosts).scheduled(scheduler);
    let clients: Vec<_> = (1..=12).map(|port| SocketAddr::new(scene.client(), port)).collect();
    let spread: std::collections::BTreeSet<u32> = clients
        .iter()
        .map(|client| hashed_slot_index(of_tuple(&Flow { client: *client, ..scene.flow() }), 3))
        .collect();
    assert_eq!(spread.len(), 3, "the case would show nothing");
    let source_hash = Case::new(
        scene,
        "source-hash sends one client's flows to one backend",
        setup(SchedulerKind::SourceHash),
    );
    let maglev =
        Case::new(scene, "maglev goes by the 5-tuple, not by the turn", setup(SchedulerKind::Maglev));
    let flow = scene.flow();
    let changed = setup(SchedulerKind::Maglev);
    let data = flow.client_sends(ACK, b"more");
    vec![
        by_hash(source_hash, scene, &hosts, &clients, of_source),
        by_hash(maglev, scene, &hosts, &clients, of_tuple),
        Case::new(
            scene,
            "another scheduler leaves open flows where they are",
            setup(SchedulerKind::RoundRobin),
        )
        .opened(&flow)
        .act(Act::Desire(changed))
        .forward(Outcome::ToBackend, &flow, &data)
        .back(Outcome::ToClient, &flow, &flow.backend_sends(ACK, b"answer")),
    ]
}

fn active_flows(scene: Scene) -> Vec<Case> {
    let setup = || Setup::web(scene, &hosts(scene)[..1]);
    let flow = scene.flow();
    let fin = flow.client_sends(FIN | ACK, b"");
    let answer = flow.backend_sends(FIN | ACK, b"").with_tcp(|tcp| tcp.acknowledgement += 1);
    let last = flow.client_sends(ACK, b"").with_tcp(|tcp| {
        tcp.sequence += 1;
        tcp.acknowledgement += 1;
    });
    vec![
        Case::new(scene, "a handshake is no active flow", setup()).answered(&flow).active(&flow, 0),
        Case::new(scene, "a flow is active once, however many packets it has", setup())
            .opened(&flow)
            .forward(Outcome::ToBackend, &flow, &flow.client_sends(ACK, b"a"))
            .back(Outcome::ToClient, &flow, &flow.backend_sends(ACK, b"b"))
            .active(&flow, 1),
        Case::new(scene, "one FIN leaves it active", setup())
            .opened(&flow)
            .forward(Outcome::ToBackend, &flow, &fin)
            .active(&flow, 1),
        Case::new(scene, "the second FIN ends it, and the last acknowledgement not again", setup())
            .opened(&flow)
            .forward(Outcome::ToBackend, &flow, &fin)
            .back(Outcome::ToClient, &flow, &answer)
            .forward(Outcome::ToBackend, &flow, &last)
            .with(Occurrence::FlowEnded, 1)
            .active(&flow, 0),
        Case::new(scene, "a reset from each side ends it once", setup())
            .opened(&flow)
            .forward(Outcome::ToBackend, &flow, &flow.client_sends(RST | ACK, b""))
            .back(Outcome::ToClient, &flow, &flow.backend_sends(RST | ACK, b""))
            .active(&flow, 0),
        Case::new(scene, "a new flow on a closed one's tuple counts anew", setup())
            .opened(&flow)
            .forward(Outcome::ToBackend, &flow, &flow.client_sends(RST | ACK, b""))
            .forward(
                Outcome::NewFlow,
                &Flow { nat_port: FIRST_NAT_PORT + 1, ..flow },
                &flow.client_sends(SYN, b""),
            )
            .with(Occurrence::TupleReused, 1)
            .active(&flow, 0),
    ]
}
