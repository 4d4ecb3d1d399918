//! Next hops: what the kernel's routing and neighbour tables answer, and what then becomes of packets.

use super::builder::{ACK, Packet, SYN};
use super::case::{Act, Case, Plant, Setup};
use super::scene::{Flow, NARROW_MTU, Port, SCENES, Scene};
use lb_ebpf::outcome::{Occurrence, Outcome};
use std::net::SocketAddr;
use std::time::Duration;

pub(crate) fn cases() -> Vec<Case> {
    SCENES.into_iter().flat_map(|scene| [refused(scene), ways(scene), cached(scene)]).flatten().collect()
}

fn refused(scene: Scene) -> Vec<Case> {
    let flow = scene.flow();
    let syn = flow.client_sends(SYN, b"").frame();
    let over = |sentence: &str, host| Case::new(scene, sentence, Setup::web(scene, &[host]));
    vec![
        over(
            "a backend whose MAC address nobody knows cannot be reached, and nothing is left of the SYN",
            scene.silent(),
        )
        .drops(Outcome::NoNeighbour, syn.clone())
        .entries(0, 0),
        over("a backend without a route cannot be reached", scene.nowhere())
            .drops(Outcome::NoRoute, syn.clone())
            .entries(0, 0),
        over("a backend with a route that says \"unreachable\" cannot be reached", scene.refused())
            .drops(Outcome::NoRoute, syn.clone()),
        over(
            "the node itself is no backend: its packets do not leave",
            super::scene::Host { address: scene.node(), ..scene.web(1) },
        )
        .drops(Outcome::NoRoute, syn.clone()),
        over("an interface that does not forward has an outcome that says so", scene.web(1))
            .drops(Outcome::ForwardingDisabled, syn)
            .on(Port::Dark)
            .entries(0, 0),
    ]
}

fn ways(scene: Scene) -> Vec<Case> {
    let flow = scene.flow();
    let over = |sentence: &str, host| Case::new(scene, sentence, Setup::web(scene, &[host]));
    let far = Flow { backend: scene.far(), ..flow };
    let narrow = Flow { backend: scene.narrow(), ..flow };
    let headers = flow.client_sends(ACK, b"").header_bytes() + 20;
    let fits = vec![0x77; NARROW_MTU - headers];
    let too_much = vec![0x77; NARROW_MTU - headers + 1];
    let stranger = Flow { client: SocketAddr::new(scene.stranger(), 40000), ..flow };
    vec![
        over(
            "a backend on another interface is reached by redirection, and answers come back so",
            scene.far(),
        )
        .opened(&far)
        .forward(Outcome::ToBackend, &far, &far.client_sends(ACK, b"over there"))
        .back(Outcome::ToClient, &far, &far.backend_sends(ACK, b"and back")),
        over("a packet that just fits the route's MTU is sent", scene.narrow()).opened(&narrow).forward(
            Outcome::ToBackend,
            &narrow,
            &narrow.client_sends(ACK, &fits),
        ),
        over("padding does not count against the route's MTU", scene.narrow()).opened(&narrow).forward(
            Outcome::ToBackend,
            &narrow,
            &Packet { trailer: vec![0; 8], ..narrow.client_sends(ACK, &fits) },
        ),
        over("a packet one byte larger than the route's MTU is dropped", scene.narrow())
            .opened(&narrow)
            .drops(Outcome::ExceedsMtu, narrow.client_sends(ACK, &too_much).frame()),
        over("the way back has an MTU of its own", scene.narrow()).opened(&narrow).back(
            Outcome::ToClient,
            &narrow,
            &narrow.backend_sends(ACK, &too_much),
        ),
        over("a SYN with more data than the route's MTU takes is dropped", scene.narrow())
            .drops(Outcome::ExceedsMtu, narrow.client_sends(SYN, &too_much).frame()),
        over(
            "a client to whom no route leads gets its answers by the router its SYN came from",
            scene.web(1),
        )
        .begun(&stranger)
        .back(Outcome::Handshake, &stranger, &stranger.backend_sends(SYN | ACK, b""))
        .with(Occurrence::NextHopKept, 1)
        .forward(Outcome::Promoted, &stranger, &stranger.client_sends(ACK, b"")),
    ]
}

/// Flows whose next hop was looked up a while ago.
fn cached(scene: Scene) -> Vec<Case> {
    let flow = scene.flow();
    let old_mac = [2, 0, 0, 0, 0, 0x99];
    let case = |sentence: &str, flow: &Flow, age| {
        let setup = Setup::web(scene, &[flow.backend]);
        Case::new(scene, sentence, setup).act(Act::Plant(Plant {
            flow: *flow,
            next_hop_age: age,
            next_hop: old_mac,
            timestamp_shift: 0,
        }))
    };
    let ack = flow.client_sends(ACK, b"");
    let old_way = |flow: &Flow| Packet { to_mac: old_mac, ..flow.forwarded(&ack) }.frame();
    let old_back = Packet { to_mac: old_mac, ..flow.returned(&flow.backend_sends(ACK, b"x")) }.frame();
    let silent = Flow { backend: scene.silent(), ..flow };
    let nowhere = Flow { backend: scene.nowhere(), ..flow };
    // Well before now on the program's coarse clock, well within a second for the two packets.
    let young = Duration::from_millis(100);
    let old = Duration::from_secs(2);
    vec![
        case("a next hop older than a second is looked up again, so a moved backend is found", &flow, old)
            .forward(Outcome::ToBackend, &flow, &ack)
            .with(Occurrence::NextHopRefreshed, 1),
        case("an old next hop towards the client is looked up again too", &flow, old)
            .back(Outcome::ToClient, &flow, &flow.backend_sends(ACK, b"x"))
            .with(Occurrence::NextHopRefreshed, 1),
        case("a young next hop is used as it is", &flow, young)
            .becomes(Outcome::ToBackend, ack.frame(), old_way(&flow))
            .becomes(Outcome::ToClient, flow.backend_sends(ACK, b"x").frame(), old_back),
        case("where the neighbour is not known any more, the old next hop stays in use", &silent, old)
            .becomes(Outcome::ToBackend, ack.frame(), old_way(&silent))
            .with(Occurrence::NextHopKept, 1),
        case("where the route is gone, the old next hop stays in use", &nowhere, old)
            .becomes(Outcome::ToBackend, ack.frame(), old_way(&nowhere))
            .with(Occurrence::NextHopKept, 1),
    ]
}
