//! The firewall: who may begin a flow, what happens to flows that are there, what is judged at the host.

use super::builder::{ACK, Content, FIN, Icmp, PSH, Packet, RST, SYN};
use super::case::{Act, Case, Setup};
use super::cases_reset::answer;
use super::scene::{FIRST_NAT_PORT, Flow, SCENES, Scene};
use ipnet::IpNet;
use lb_ebpf::abi::RuleHits;
use lb_ebpf::outcome::{Occurrence, Outcome};
use lb_user::core::plan::firewall::{FirewallRule, Limits, ReadyRule, RuleAction, RuleTarget, Sources};
use lb_user::model::{DefaultPolicy, RuleName, ServiceName, any_source};
use std::net::SocketAddr;

pub(crate) fn cases() -> Vec<Case> {
    let groups = [rules, established, limits, strays, host];
    SCENES.into_iter().flat_map(|scene| groups.iter().flat_map(move |group| group(scene))).collect()
}

/// A rule about some networks.
pub(crate) fn rule(name: &str, action: RuleAction, target: RuleTarget, prefixes: &[IpNet]) -> ReadyRule {
    let name = RuleName::new(name).expect("a name");
    let sources = Sources::Prefixes(prefixes.to_vec());
    ReadyRule {
        rule: FirewallRule { name, action, sources, target },
        prefixes: prefixes.iter().copied().collect(),
    }
}

fn web() -> RuleTarget {
    RuleTarget::Service(ServiceName::new("web").expect("a name"))
}

/// The client alone, its network, and everybody.
fn client(scene: Scene) -> [IpNet; 1] {
    [IpNet::from(scene.client())]
}

fn network(scene: Scene) -> [IpNet; 1] {
    let bits = if scene.v6 { 64 } else { 24 };
    [IpNet::new(scene.client(), bits).expect("a prefix").trunc()]
}

pub(crate) fn deny_client(scene: Scene) -> ReadyRule {
    rule("client", RuleAction::Deny, RuleTarget::Services, &client(scene))
}

fn deny_all() -> ReadyRule {
    rule("all", RuleAction::Deny, RuleTarget::Services, &any_source())
}

fn hits(allowed: u64, denied: u64) -> RuleHits {
    RuleHits { allowed, denied, ..RuleHits::default() }
}

fn rules(scene: Scene) -> Vec<Case> {
    let flow = scene.flow();
    let setup = Setup::web(scene, &[scene.web(1)]);
    let syn = || flow.client_sends(SYN, b"").frame();
    let allow = |target| rule("friend", RuleAction::Allow, target, &client(scene));
    let deny_net = |target| rule("net", RuleAction::Deny, target, &network(scene));
    let mut denying = setup.clone();
    denying.services[0].default_policy = DefaultPolicy::Deny;
    let admin = SocketAddr::new(scene.vip(), 8443);
    let mut two = setup.clone();
    two.services.push(super::case::Service::over("admin", admin, &[scene.web(1)]));
    let to_admin = Flow { service: admin, ..flow.another(5, FIRST_NAT_PORT + 1, scene.web(1)) };
    vec![
        Case::new(scene, "a SYN from a denied network is dropped and counted by its rule", {
            setup.clone().behind(&[deny_net(RuleTarget::Services)])
        })
        .drops(Outcome::Denied, syn())
        .drops(Outcome::Denied, syn())
        .hits("net", hits(0, 2))
        .entries(0, 0),
        Case::new(scene, "an address that is allowed first is let in from a denied network", {
            setup.clone().behind(&[allow(RuleTarget::Services), deny_net(RuleTarget::Services)])
        })
        .opened(&flow)
        .hits("friend", hits(1, 0))
        .hits("net", hits(0, 0)),
        Case::new(scene, "of two rules that match the first decides, however long their prefixes", {
            setup.clone().behind(&[deny_net(RuleTarget::Services), allow(RuleTarget::Services)])
        })
        .drops(Outcome::Denied, syn()),
        Case::new(scene, "a rule about one service leaves the other services alone", {
            two.clone().behind(&[deny_net(web())])
        })
        .drops(Outcome::Denied, syn())
        .begun(&Flow { nat_port: FIRST_NAT_PORT, ..to_admin }),
        Case::new(scene, "an exception for one service lets nobody in to the others", {
            two.behind(&[allow(web()), deny_all()])
        })
        .begun(&flow)
        .drops(Outcome::Denied, to_admin.client_sends(SYN, b"").frame()),
        Case::new(scene, "a service that denies by default lets in whom a rule allows and nobody else", {
            denying.clone().behind(&[allow(web())])
        })
        .begun(&flow)
        .drops(
            Outcome::NotAllowed,
            Packet { source: scene.stranger(), ..flow.client_sends(SYN, b"") }.frame(),
        ),
        Case::new(scene, "without any rule a service that denies by default lets nobody in", denying)
            .drops(Outcome::NotAllowed, syn()),
        Case::new(scene, "a SYN that is sent again is judged again and counted once as allowed", {
            setup.behind(&[allow(web())])
        })
        .begun(&flow)
        .forward(Outcome::Handshake, &flow, &flow.client_sends(SYN, b""))
        .hits("friend", hits(1, 0)),
    ]
}

fn established(scene: Scene) -> Vec<Case> {
    let flow = scene.flow();
    let setup = Setup::web(scene, &[scene.web(1)]);
    let data = flow.client_sends(ACK | PSH, b"more");
    let answer_data = flow.backend_sends(ACK | PSH, b"much more");
    let denied = setup.clone().behind(&[deny_all()]);
    let other = || {
        rule("other", RuleAction::Deny, RuleTarget::Services, &["192.0.2.0/24".parse().expect("a prefix")])
    };
    let allow = rule("friend", RuleAction::Allow, RuleTarget::Services, &client(scene));
    let mut denying = setup.clone();
    denying.services[0].default_policy = DefaultPolicy::Deny;
    let opened = |sentence: &str| Case::new(scene, sentence, setup.clone()).opened(&flow);
    let straggler = flow.backend_sends(ACK, b"late");
    vec![
        opened("a new deny cuts an established flow at its client's next packet")
            .act(Act::Desire(denied.clone()))
            .drops(Outcome::Denied, data.frame())
            .with(Occurrence::FlowCut, 1)
            .entries(0, 0)
            .active(&flow, 0),
        opened("a new deny cuts an established flow at its backend's next packet")
            .act(Act::Desire(denied.clone()))
            .drops(Outcome::Denied, answer_data.frame())
            .with(Occurrence::FlowCut, 1)
            .entries(0, 0)
            .active(&flow, 0),
        opened("the backend of a flow that was cut is told with RST")
            .act(Act::Desire(denied.clone()))
            .drops(Outcome::Denied, data.frame())
            .with(Occurrence::FlowCut, 1)
            .becomes(Outcome::UnknownFlow, straggler.frame(), answer(&straggler).frame()),
        opened("a half-closed flow that is cut is counted off once")
            .forward(Outcome::ToBackend, &flow, &flow.client_sends(FIN | ACK, b""))
            .act(Act::Desire(denied.clone()))
            .drops(Outcome::Denied, answer_data.frame())
            .with(Occurrence::FlowCut, 1)
            .active(&flow, 0),
        opened("a deny for others lets the flow go on, and so does its end")
            .act(Act::Desire(setup.clone().behind(&[other()])))
            .forward(Outcome::ToBackend, &flow, &data)
            .act(Act::Desire(setup.clone()))
            .back(Outcome::ToClient, &flow, &answer_data)
            .active(&flow, 1),
        opened("a service that begins to deny by default cuts the flows that no rule allows")
            .act(Act::Desire(denying))
            .drops(Outcome::NotAllowed, data.frame())
            .with(Occurrence::FlowCut, 1),
        Case::new(scene, "an allow that goes cuts the flows that it alone had let in", {
            setup.clone().behind(&[allow, deny_all()])
        })
        .opened(&flow)
        .act(Act::Desire(denied.clone()))
        .drops(Outcome::Denied, data.frame())
        .with(Occurrence::FlowCut, 1),
        Case::new(scene, "a flow in its handshake is cut as well", setup.clone())
            .answered(&flow)
            .act(Act::Desire(denied))
            .drops(Outcome::Denied, flow.client_sends(ACK, b"").frame())
            .with(Occurrence::FlowCut, 1)
            .entries(0, 0),
    ]
}

fn limits(scene: Scene) -> Vec<Case> {
    let setup = Setup::web(scene, &[scene.web(1)]);
    let limit = |rate: Option<u32>, burst, active| {
        let bits =
            Limits { new_flows_per_second: rate, burst, active_flows: active, per_ipv4: 24, per_ipv6: 64 };
        rule("polite", RuleAction::Limit(bits), RuleTarget::Services, &any_source())
    };
    // One a second: the packets of a case are through far sooner.
    let slow = |burst| Limits { burst, ..SLOW };
    let rated = |burst| {
        let mut polite = limit(Some(1), burst, None);
        polite.rule.action = RuleAction::Limit(slow(burst));
        setup.clone().behind(&[polite])
    };
    let flow = |number: u16| scene.flow().another(41000 + number, FIRST_NAT_PORT + number, scene.web(1));
    let syn = |number| flow(number).client_sends(SYN, b"");
    let over_rate = |count| RuleHits { over_rate: count, ..RuleHits::default() };
    let active = |count| setup.clone().behind(&[limit(None, 1, Some(count))]);
    let ended =
        |case: Case, flow: &Flow| case.forward(Outcome::ToBackend, flow, &flow.client_sends(RST | ACK, b""));
    vec![
        Case::new(scene, "a burst is let in and what comes above it at once is dropped", rated(2))
            .begun(&flow(0))
            .begun(&flow(1))
            .drops(Outcome::OverRate, syn(2).frame())
            .drops(Outcome::OverRate, syn(3).frame())
            .hits("polite", RuleHits { allowed: 2, ..over_rate(2) }),
        Case::new(scene, "a SYN that is sent again takes no second turn", rated(1))
            .begun(&flow(0))
            .forward(Outcome::Handshake, &flow(0), &syn(0))
            .drops(Outcome::OverRate, syn(1).frame()),
        Case::new(scene, "sources of other networks have turns of their own", rated(1))
            .begun(&flow(0))
            .drops(Outcome::OverRate, syn(1).frame())
            .begun(&Flow { client: SocketAddr::new(scene.router().address, 7), ..flow(1) }),
        Case::new(scene, "a source has as many flows open as its limit says and no more", active(2))
            .opened(&flow(0))
            .opened(&flow(1))
            .drops(Outcome::OverActive, syn(2).frame())
            .hits("polite", RuleHits { allowed: 2, over_active: 1, ..RuleHits::default() }),
        ended(
            Case::new(scene, "a flow that closed makes room for another one", active(1)).opened(&flow(0)),
            &flow(0),
        )
        .opened(&flow(1))
        .drops(Outcome::OverActive, syn(2).frame()),
        Case::new(scene, "handshakes begun at one time do not get past the limit together", active(1))
            .answered(&flow(0))
            .answered(&flow(1))
            .forward(Outcome::Promoted, &flow(0), &flow(0).client_sends(ACK, b""))
            .drops(Outcome::OverActive, flow(1).client_sends(ACK, b"").frame())
            .entries(2, 0)
            .active(&flow(0), 1),
        Case::new(scene, "a flow that was cut is taken off its source's account", active(1))
            .opened(&flow(0))
            .act(Act::Desire(setup.clone().behind(&[deny_all(), limit(None, 1, Some(1))])))
            .drops(Outcome::Denied, flow(0).client_sends(ACK, b"x").frame())
            .with(Occurrence::FlowCut, 1)
            .act(Act::Desire(active(1)))
            .opened(&flow(1)),
    ]
}

pub(crate) const SLOW: Limits =
    Limits { new_flows_per_second: Some(1), burst: 1, active_flows: None, per_ipv4: 24, per_ipv6: 64 };

fn strays(scene: Scene) -> Vec<Case> {
    let flow = scene.flow();
    let setup = Setup::web(scene, &[scene.web(1)]).behind(&[deny_all()]);
    let to_port = |port| flow.client_sends(SYN, b"").with_tcp(|tcp| tcp.destination_port = port);
    let echo = |kind| {
        let icmp = Icmp { kind, code: 0, rest: [0, 1, 0, 1], body: b"ping".to_vec() };
        let macs = (super::scene::ROUTER_MAC, super::scene::Port::Lan.mac());
        Packet::new(macs, (scene.client(), scene.vip()), Content::Icmp(icmp))
    };
    let ping = echo(if scene.v6 { 128 } else { 8 });
    let case = |sentence: &str| Case::new(scene, sentence, setup.clone());
    vec![
        case("a denied source gets no RST for a segment of no flow")
            .drops(Outcome::Denied, flow.client_sends(ACK, b"").frame()),
        case("a denied source reaches no port of a VIP").drops(Outcome::Denied, to_port(22).frame()),
        case("a denied source does not get a VIP's echo").drops(Outcome::Denied, ping.frame()),
        case("a denied source reaches an address that only looks like a VIP").passes(
            Outcome::NotOurs,
            Packet { destination: scene.double(), ..flow.client_sends(SYN, b"") }.frame(),
        ),
    ]
}

fn host(scene: Scene) -> Vec<Case> {
    let flow = scene.flow();
    let to_host = |flags, port| {
        let packet = Packet { destination: scene.node(), ..flow.client_sends(flags, b"") };
        packet.with_tcp(|tcp| tcp.destination_port = port)
    };
    let hidden = |packet: Packet, next: Option<u8>| match (scene.v6, next) {
        (true, _) => Packet { extension: Some(60), options: vec![1, 4, 0, 0, 0, 0], ..packet },
        (false, _) => Packet { options: vec![1, 1, 1, 0], ..packet },
    };
    let ssh = rule("ssh", RuleAction::Allow, RuleTarget::HostPort(22), &network(scene));
    let deny_host = rule("nobody", RuleAction::Deny, RuleTarget::Host, &client(scene));
    let web = Setup::web(scene, &[scene.web(1)]);
    let mut closed = web.clone().behind(std::slice::from_ref(&ssh));
    closed.firewall.host_default = DefaultPolicy::Deny;
    let case = |sentence: &str| Case::new(scene, sentence, closed.clone());
    let udp = Packet { content: Content::Other { protocol: 17, bytes: vec![0; 8] }, ..to_host(SYN, 53) };
    vec![
        case("with the host closed a connection to it needs a rule that allows it")
            .passes(Outcome::NotOurs, to_host(SYN, 22).frame())
            .drops(Outcome::NotAllowed, to_host(SYN, 23).frame())
            .hits("ssh", hits(1, 0)),
        case("with the host closed its own connections and everything but TCP go on")
            .passes(Outcome::NotOurs, to_host(SYN | ACK, 40000).frame())
            .passes(Outcome::NotOurs, to_host(ACK, 23).frame())
            .passes(Outcome::NotOurs, udp.frame()),
        case("with the host closed services stay open").begun(&flow),
        case("a VIP's other ports are the host's, and closed with it")
            .passes(
                Outcome::NoService,
                flow.client_sends(SYN, b"").with_tcp(|tcp| tcp.destination_port = 22).frame(),
            )
            .drops(
                Outcome::NotAllowed,
                flow.client_sends(SYN, b"").with_tcp(|tcp| tcp.destination_port = 23).frame(),
            ),
        case("a segment cut short hides nothing behind it: padding is not its flags")
            .drops(Outcome::NotAllowed, cut_short(to_host(SYN, 23))),
        case("IP options and extension headers hide nothing from a closed host")
            .drops(Outcome::NotAllowed, hidden(to_host(SYN, 23), None).frame()),
        Case::new(scene, "a port that cannot be seen may be the one that is denied", {
            web.clone().behind(&[rule("no-ssh", RuleAction::Deny, RuleTarget::HostPort(22), &network(scene))])
        })
        .drops(Outcome::Denied, cut_short(to_host(SYN, 23)))
        .passes(Outcome::NotOurs, to_host(SYN, 23).frame()),
        Case::new(scene, "a rule about the host is none about services", {
            web.clone().behind(std::slice::from_ref(&deny_host))
        })
        .drops(Outcome::Denied, to_host(SYN, 22).frame())
        .begun(&flow)
        .hits("nobody", hits(0, 1)),
        Case::new(scene, "one port of the host may be open that is closed for the rest", {
            web.behind(&[ssh, deny_host])
        })
        .passes(Outcome::NotOurs, to_host(SYN, 22).frame())
        .drops(Outcome::Denied, to_host(SYN, 80).frame()),
    ]
}

/// The packet with the first eight bytes of its TCP header, and padding that looks like the rest.
fn cut_short(packet: Packet) -> Vec<u8> {
    let mut tcp = packet.clone();
    let whole = packet.frame();
    let header = whole.len() - packet.ip_bytes().len() + packet.header_bytes();
    let bytes = whole[header..header + 8].to_vec();
    tcp.content = Content::Other { protocol: 6, bytes };
    let mut frame = tcp.frame();
    frame.extend([0; 12]);
    frame
}
