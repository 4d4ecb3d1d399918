//! What is left for this host on purpose: services that the agent itself serves, and VIPs that are there for services alone.

use super::builder::{ACK, Content, FIN, Icmp, Packet, RST, SYN};
use super::case::{Act, Case, Setup};
use super::cases_firewall::{SLOW, deny_client, rule};
use super::cases_icmp::neighbour;
use super::scene::{IcmpKind, Port, ROUTER_MAC, SCENES, Scene, V6};
use lb_ebpf::abi::RuleHits;
use lb_ebpf::outcome::Outcome;
use lb_user::core::plan::firewall::{RuleAction, RuleTarget};
use lb_user::io::dataplane::VipTerms;
use lb_user::model::{DefaultPolicy, any_source};

pub(crate) fn cases() -> Vec<Case> {
    let mut cases: Vec<_> =
        SCENES.into_iter().flat_map(|scene| [of_the_agent(scene), for_services(scene)]).flatten().collect();
    cases.push(
        Case::new(V6, "who has a VIP that is for services alone is told all the same", spared(V6))
            .passes(Outcome::IcmpToHost, neighbour("fd80::100", Port::Lan.mac())),
    );
    cases
}

/// The service has no slots: whom it is given to, the agent decides.
fn local(scene: Scene) -> Setup {
    Setup::web(scene, &[]).with(|service| service.forwarding = None)
}

fn of_the_agent(scene: Scene) -> Vec<Case> {
    let flow = scene.flow();
    let from = |flags, payload: &[u8]| flow.client_sends(flags, payload).frame();
    let to_other_port = |flags| flow.client_sends(flags, b"").with_tcp(|tcp| tcp.destination_port = 81);
    let polite = rule("polite", RuleAction::Limit(SLOW), RuleTarget::Services, &any_source());
    let mut closed = local(scene);
    closed.firewall.host_default = DefaultPolicy::Deny;
    let mut denying = local(scene);
    denying.services[0].default_policy = DefaultPolicy::Deny;
    vec![
        Case::new(
            scene,
            "a connection to a service of the agent is the host's from its SYN to its end",
            local(scene),
        )
        .passes(Outcome::ToAgent, from(SYN, b""))
        .passes(Outcome::ToAgent, from(ACK, b"GET /"))
        .passes(Outcome::ToAgent, from(FIN | ACK, b""))
        .passes(Outcome::ToAgent, from(RST, b""))
        .passes(Outcome::NoService, to_other_port(SYN).frame())
        .entries(0, 0),
        Case::new(
            scene,
            "a flood changes nothing for a service of the agent: the host has its own cookies",
            local(scene).with_cookies(),
        )
        .passes(Outcome::ToAgent, from(SYN, b""))
        .passes(Outcome::ToAgent, from(ACK, b"")),
        Case::new(scene, "the firewall denies connections to the agent's services, and cuts them", {
            local(scene)
        })
        .passes(Outcome::ToAgent, from(SYN, b""))
        .act(Act::Desire(local(scene).behind(&[deny_client(scene)])))
        .drops(Outcome::Denied, from(ACK, b"data"))
        .drops(Outcome::Denied, from(SYN, b""))
        .hits("client", RuleHits { denied: 2, ..RuleHits::default() }),
        Case::new(scene, "a service of the agent that wants a rule is closed without one", denying)
            .drops(Outcome::NotAllowed, from(SYN, b"")),
        Case::new(
            scene,
            "rates of new connections hold for the agent's services",
            local(scene).behind(&[polite]),
        )
        .passes(Outcome::ToAgent, from(SYN, b""))
        .drops(Outcome::OverRate, from(SYN, b""))
        .passes(Outcome::ToAgent, from(ACK, b"")),
        Case::new(scene, "a closed host leaves the agent's services open", closed)
            .passes(Outcome::ToAgent, from(SYN, b""))
            .drops(Outcome::NotAllowed, to_other_port(SYN).frame()),
        Case::new(scene, "flows of a service that is the agent's by now go on as they began", {
            Setup::web(scene, &[scene.web(1)])
        })
        .opened(&flow)
        .act(Act::Desire(local(scene)))
        .forward(Outcome::ToBackend, &flow, &flow.client_sends(ACK, b"data"))
        .passes(Outcome::ToAgent, flow.another(7, 0, scene.web(1)).client_sends(SYN, b"").frame()),
    ]
}

fn spared(scene: Scene) -> Setup {
    let terms = VipTerms { needs_lease: false, is_for_services: true };
    Setup { terms, ..Setup::web(scene, &[scene.web(1)]) }
}

fn for_services(scene: Scene) -> Vec<Case> {
    let flow = scene.flow();
    let case = |sentence: &str| Case::new(scene, sentence, spared(scene));
    let to_port =
        |port, flags| flow.client_sends(flags, b"").with_tcp(|tcp| tcp.destination_port = port).frame();
    let echo =
        Icmp { kind: if scene.v6 { 128 } else { 8 }, code: 0, rest: [0, 1, 0, 1], body: b"ping".to_vec() };
    let macs = (ROUTER_MAC, Port::Lan.mac());
    let ping = Packet::new(macs, (scene.client(), scene.vip()), Content::Icmp(echo));
    let gre = Packet { content: Content::Other { protocol: 47, bytes: vec![0; 24] }, ..ping.clone() };
    let stranger =
        scene.error(scene.router(), IcmpKind::TooBig, &flow.returned(&flow.backend_sends(ACK, b"x")), 28);
    let to_node = Packet { destination: scene.node(), ..flow.client_sends(SYN, b"") };
    vec![
        case("a VIP for services alone serves them").opened(&flow),
        case("a VIP for services alone has no other ports, for nobody")
            .drops(Outcome::NotAccepted, to_port(22, SYN))
            .drops(Outcome::NotAccepted, to_port(22, ACK)),
        case("a VIP for services alone answers no ping and speaks no other protocol")
            .drops(Outcome::NotAccepted, ping.frame())
            .drops(Outcome::NotAccepted, gre.frame()),
        case("the node's own addresses are no VIPs, whatever holds for those")
            .passes(Outcome::NotOurs, to_node.frame()),
        case("an error that is about no flow may be about a connection of the agent")
            .passes(Outcome::IcmpUnrelated, stranger.frame()),
        Case::new(scene, "a service of the agent is one of a VIP's services", {
            let local = local(scene);
            Setup { terms: spared(scene).terms, ..local }
        })
        .passes(Outcome::ToAgent, flow.client_sends(SYN, b"").frame())
        .drops(Outcome::NotAccepted, to_port(22, SYN)),
    ]
}
