//! Steering: which backend, which NAT port, in which order.

use super::builder::{ACK, PSH, RST, SYN};
use super::case::{Case, Service, Setup};
use super::scene::{FIRST_NAT_PORT, Flow, Host, SCENES, Scene};
use lb_ebpf::outcome::{Occurrence, Outcome};
use std::net::SocketAddr;

pub(crate) fn cases() -> Vec<Case> {
    SCENES.into_iter().flat_map(|scene| [backends(scene), services(scene), ports(scene)]).flatten().collect()
}

/// Flows from one client port after the other, each with the backend and NAT port it should get.
fn begun_in_turn(case: Case, scene: Scene, wanted: &[(Host, u16)]) -> Case {
    wanted.iter().zip(41000..).fold(case, |case, ((host, offset), port)| {
        case.begun(&scene.flow().another(port, FIRST_NAT_PORT + offset, *host))
    })
}

fn backends(scene: Scene) -> Vec<Case> {
    let [one, two, three] = [1, 2, 3].map(|number| scene.web(number));
    let thirds = Setup::web(scene, &[one, two, three]);
    let mut weighted = Setup::web(scene, &[one, two]);
    weighted.services[0].slots = vec!["b1", "b1", "b2", "b1"];
    let mut fewer = thirds.clone();
    fewer.services[0].slots = vec!["b1", "b3"];
    let turn = [(one, 0), (two, 0), (three, 0), (one, 1), (two, 1), (three, 1), (one, 2), (two, 2)];
    let by_weight = [(one, 0), (one, 1), (two, 0), (one, 2), (one, 3), (one, 4), (two, 1), (one, 5)];
    // Three tickets are drawn before the change, so that the fourth one finds the second of two slots.
    let after = [(three, 1), (one, 1)];
    let before = begun_in_turn(
        Case::new(scene, "after a change the turn goes on over the slots that are left", thirds.clone()),
        scene,
        &turn[..3],
    );
    let changed = before.act(super::case::Act::Desire(fewer));
    vec![
        begun_in_turn(Case::new(scene, "three backends take flows exactly in turn", thirds), scene, &turn)
            .entries(0, 16),
        begun_in_turn(
            Case::new(scene, "weights 3 and 1 take three flows and one, in the slots' order", weighted),
            scene,
            &by_weight,
        ),
        after.iter().zip(42000..).fold(changed, |case, ((host, offset), port)| {
            case.begun(&scene.flow().another(port, FIRST_NAT_PORT + offset, *host))
        }),
    ]
}

fn services(scene: Scene) -> Vec<Case> {
    let (one, two) = (scene.web(1), scene.web(2));
    let at = |vip, port| SocketAddr::new(vip, port);
    let vips = [scene.vip(), scene.vip_b()];
    let mut both = Service::over("web", at(scene.vip(), 80), &[one, two]);
    both.listen.push(at(scene.vip_b(), 80));
    let shared = Setup::new(&vips, vec![both]);
    let mut admin_service = Service::over("admin", at(scene.vip(), 8443), &[one, two]);
    let same_backends = Setup::new(
        &vips,
        vec![admin_service.clone(), Service::over("web", at(scene.vip(), 80), &[one, two])],
    );
    admin_service.backends.iter_mut().for_each(|(_, address)| address.set_port(9090));
    let two_ports =
        Setup::new(&vips, vec![admin_service, Service::over("web", at(scene.vip(), 80), &[one, two])]);
    let flow = scene.flow();
    let through = |service, client_port, nat_port: u16, host| Flow {
        service,
        ..flow.another(client_port, FIRST_NAT_PORT + nat_port, host)
    };
    let (web, admin) = (at(scene.vip(), 80), at(scene.vip(), 8443));
    let (a, b) = (web, at(scene.vip_b(), 80));
    let other_family = SCENES[usize::from(!scene.v6)];
    let mut dual = Setup::web(scene, &[one, two]);
    dual.vips.push(other_family.vip());
    dual.services.extend(Setup::web(other_family, &[other_family.web(1), other_family.web(2)]).services);
    vec![
        Case::new(scene, "two services at one VIP each have their own turn", two_ports)
            .begun(&through(web, 1, 0, one))
            .begun(&Flow { backend_port: 9090, ..through(admin, 2, 0, one) })
            .begun(&through(web, 3, 0, two))
            .begun(&Flow { backend_port: 9090, ..through(admin, 4, 0, two) }),
        Case::new(
            scene,
            "two services with one backend behind one VIP do not share a NAT port",
            same_backends,
        )
        .begun(&through(web, 1, 0, one))
        .begun(&through(admin, 2, 1, one))
        .with(Occurrence::PortCollision, 1),
        Case::new(scene, "a service at two VIPs has one turn for both", shared.clone())
            .begun(&through(a, 1, 0, one))
            .begun(&through(b, 2, 0, two))
            .begun(&through(b, 3, 1, one))
            .begun(&through(a, 4, 1, two)),
        Case::new(scene, "a client port may be in use at two VIPs at once", shared)
            .opened(&through(a, 1, 0, one))
            .opened(&through(b, 1, 0, two))
            .forward(
                Outcome::ToBackend,
                &through(a, 1, 0, one),
                &through(a, 1, 0, one).client_sends(ACK, b"a"),
            )
            .back(Outcome::ToClient, &through(b, 1, 0, two), &through(b, 1, 0, two).backend_sends(ACK, b"b")),
        Case::new(scene, "each family of a service has its own turn", dual)
            .begun(&flow)
            .begun(&other_family.flow())
            .begun(&flow.another(2, FIRST_NAT_PORT, two)),
    ]
}

fn ports(scene: Scene) -> Vec<Case> {
    let one = scene.web(1);
    let setup = Setup::web(scene, &[one]);
    let flow = |client_port, offset: u16| scene.flow().another(client_port, FIRST_NAT_PORT + offset, one);
    let few = |sentence: &str, count| Case::new(scene, sentence, setup.clone().with_nat_ports(count));
    let in_turn = Case::new(scene, "NAT ports are taken in turn", setup.clone());
    let refuse =
        |case: Case, flow: &Flow| case.back(Outcome::Handshake, flow, &flow.backend_sends(RST | ACK, b""));
    let reused = flow(5, 1);
    vec![
        begun_in_turn(in_turn, scene, &[(one, 0), (one, 1), (one, 2), (one, 3)]),
        few("when every NAT port towards a backend is taken, a SYN is dropped after eight attempts", 2)
            .begun(&flow(1, 0))
            .begun(&flow(2, 1))
            .drops(Outcome::PortsExhausted, flow(3, 0).client_sends(SYN, b"").frame())
            .with(Occurrence::PortCollision, 8)
            .entries(0, 4),
        refuse(
            few("a port that a refused flow gave back is found again", 2)
                .begun(&flow(1, 0))
                .begun(&flow(2, 1)),
            &flow(1, 0),
        )
        .begun(&flow(3, 0)),
        // The third port is free, the first is not: one collision, and the entry must not show it.
        refuse(
            few("a port in use is stepped over, and the flow's answers are translated right", 3)
                .begun(&flow(1, 0))
                .begun(&flow(2, 1))
                .begun(&flow(3, 2)),
            &flow(2, 1),
        )
        .begun(&reused)
        .with(Occurrence::PortCollision, 1)
        .back(Outcome::Handshake, &reused, &reused.backend_sends(SYN | ACK, b""))
        .forward(Outcome::Promoted, &reused, &reused.client_sends(ACK | PSH, b"hello")),
        few("an established flow's port is stepped over like an embryonic one's", 2)
            .opened(&flow(1, 0))
            .begun(&flow(2, 1))
            .back(Outcome::Handshake, &flow(2, 1), &flow(2, 1).backend_sends(RST | ACK, b""))
            .begun(&flow(3, 1))
            .with(Occurrence::PortCollision, 1)
            .entries(2, 2),
        {
            let mut two = Setup::web(scene, &[one, scene.web(2)]).with_nat_ports(1);
            two.services[0].slots = vec!["b1", "b2"];
            let second = flow(2, 0);
            Case::new(scene, "one NAT port serves a flow to each backend: the tuples differ", two)
                .begun(&flow(1, 0))
                .begun(&Flow { backend: scene.web(2), ..second })
                .entries(0, 4)
        },
    ]
}
