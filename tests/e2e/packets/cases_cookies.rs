//! SYN cookies: what a flood is answered with, and how a cookie that comes back becomes a flow of two halves that
//! count the backend's bytes from different numbers.

use super::builder::{ACK, CWR, ECE, FIN, PSH, Packet, RST, SYN};
use super::case::{Act, Action, Case, Exchange, Setup};
use super::cases_firewall::deny_client;
use super::cases_reset::answer;
use super::scene::{FIRST_NAT_PORT, Flow, IcmpKind, SCENES, Scene};
use super::spliced::{CLIENT_SCALE, Spliced, cookie, cookie_answer, segment_bytes};
use lb_ebpf::abi::{Forwarding, PORT_HOPS};
use lb_ebpf::cookie::Offer;
use lb_ebpf::outcome::{Occurrence, Outcome};
use lb_user::io::dataplane::BackendTotals;
use lb_user::model::{AtLimit, SynCookieMode};

pub(crate) fn cases() -> Vec<Case> {
    let groups = [answers, openings, troubles, windows, lives, other_modes, refusals];
    SCENES.into_iter().flat_map(|scene| groups.iter().flat_map(move |group| group(scene))).collect()
}

fn flooded(scene: Scene, sentence: &str) -> (Spliced, Case) {
    let setup = Setup::web(scene, &[scene.web(1)]).with_cookies();
    (Spliced::of(scene.flow()), Case::new(scene, sentence, setup))
}

fn answers(scene: Scene) -> Vec<Case> {
    let (spliced, case) = flooded(scene, "a SYN in a flood is answered with a cookie and leaves nothing");
    let nothing = case.asked(&spliced).asked(&spliced).leaves(&[]).entries(0, 0);
    let (_, case) = flooded(scene, "a cookie offers nothing that its SYN did not offer");
    let flow = scene.flow();
    let plain = flow.client_sends(SYN | ECE | CWR, b"");
    let [high, low] = segment_bytes(scene).to_be_bytes();
    let answered = cookie_answer(&plain).with_tcp(|tcp| {
        tcp.sequence = cookie(&flow, Offer::NONE);
        tcp.options = vec![2, 4, high, low, 1, 1, 1, 1, 1, 1, 1, 1];
    });
    let plain = case.becomes(Outcome::CookieSent, plain.frame(), answered.frame());
    let (spliced, mut case) = flooded(scene, "no cookie is wasted on a source that is denied");
    case.setup = case.setup.behind(&[deny_client(scene)]);
    let denied = case.drops(Outcome::Denied, spliced.syn().frame());
    let (spliced, case) = flooded(scene, "a cookie that nobody gave out begins no flow");
    let wrong = spliced.client_sends(ACK, b"").with_tcp(|tcp| tcp.acknowledgement ^= 0x100);
    let late = spliced.client_sends(ACK, b"").with_tcp(|tcp| tcp.sequence += 2);
    let mut guessed = case.asked(&spliced);
    for packet in [wrong, late] {
        guessed = guessed
            .becomes(Outcome::UnknownFlow, packet.frame(), answer(&packet).frame())
            .with(Occurrence::CookieMismatch, 1);
    }
    vec![nothing, plain, denied, guessed.leaves(&[]).entries(0, 0)]
}

fn openings(scene: Scene) -> Vec<Case> {
    let (spliced, case) = flooded(scene, "a cookie that comes back becomes the SYN, and then a flow");
    let whole = case.spliced(&spliced).leaves(&[(&spliced.flow, "established")]).entries(2, 0);
    let totals = BackendTotals {
        flows_new: 1,
        flows_established: 1,
        forward_packets: 2,
        forward_bytes: if scene.v6 { 120 } else { 80 },
        reverse_packets: 1,
        reverse_bytes: if scene.v6 { 72 } else { 52 },
        ..BackendTotals::default()
    };
    let whole = whole.active(&spliced.flow, 1).totals(&spliced.flow, totals);
    let (spliced, case) = flooded(scene, "a cookie also comes back with a probe of the closed window");
    let probe = spliced.client_sends(ACK, b"").with_tcp(|tcp| tcp.sequence = spliced.flow.client_isn);
    let probed = case
        .asked(&spliced)
        .makes(Outcome::CookieAccepted, &spliced, &probe, &spliced.restored(&probe))
        .answered_by_backend(&spliced)
        .leaves(&[(&spliced.flow, "established")]);
    let (spliced, case) = flooded(scene, "whatever its client sends repeats a SYN that may be lost");
    let data = spliced.client_sends(ACK | PSH, b"request");
    let repeated = case
        .proved(&spliced)
        .makes(Outcome::Handshake, &spliced, &data, &spliced.restored(&data))
        .answered_by_backend(&spliced)
        .entries(0, 2);
    let (spliced, case) = flooded(scene, "a backend's answer that is repeated opens the window again");
    let again = case.connected(&spliced).answered_by_backend(&spliced);
    let request = spliced.client_sends(ACK | PSH, b"request");
    let again =
        again.makes(Outcome::Promoted, &spliced, &request, &spliced.flow.client_sends(ACK | PSH, b"request"));
    vec![whole, probed, repeated, again]
}

fn troubles(scene: Scene) -> Vec<Case> {
    let (spliced, case) =
        flooded(scene, "a backend that refuses resets a client that believes it is connected");
    let refusal = spliced.flow.backend_sends(RST | ACK, b"").with_tcp(|tcp| {
        tcp.sequence = 0;
        tcp.window = 0;
    });
    let seen = refusal.clone().with_tcp(|tcp| tcp.sequence = spliced.cookie.wrapping_add(1));
    let refused = case
        .proved(&spliced)
        .becomes(Outcome::Handshake, refusal.frame(), spliced.flow.returned(&seen).frame())
        .leaves(&[])
        .entries(0, 0);

    // What a backend sends that has something else under the tuple: in TIME-WAIT, or half a handshake.
    let earlier = |flags: u8, spliced: &Spliced| {
        spliced.flow.backend_sends(flags, b"").with_tcp(|tcp| {
            tcp.sequence = 7;
            tcp.acknowledgement = 8;
        })
    };
    let elsewhere = |sentence: &str, flags: u8| {
        let (spliced, case) = flooded(scene, sentence);
        let other = Spliced::of(scene.flow().another(40001, FIRST_NAT_PORT + 1, scene.web(1)));
        let next = Spliced { flow: Flow { nat_port: FIRST_NAT_PORT + 2, ..spliced.flow }, ..spliced };
        let ack = next.client_sends(ACK, b"");
        let mut syn = next.flow.forwarded(&next.restored(&ack));
        (syn.hops, syn.identification, syn.flow_label) = (64, 0, 0);
        syn = syn.with_tcp(|tcp| tcp.window = 0xffff);
        case.proved(&spliced)
            .proved(&other)
            .becomes(Outcome::Handshake, earlier(flags, &spliced).frame(), syn.frame())
            .with(Occurrence::PortCollision, 1)
            .answered_by_backend(&next)
            .makes(Outcome::Promoted, &next, &ack, &next.flow.client_sends(ACK, b""))
            .answered_by_backend(&other)
            .leaves(&[(&next.flow, "established"), (&other.flow, "established")])
            .entries(2, 2)
    };
    let resting = elsewhere(
        "a SYN goes by another port where the backend rests from a connection on the first, whoever came meanwhile",
        ACK,
    );
    let stale = elsewhere("a SYN goes by another port where the backend answers another one", SYN | ACK);
    let (spliced, case) =
        flooded(scene, "a reset that is about another connection ends none that is made up for");
    let late = case
        .proved(&spliced)
        .drops(Outcome::UnknownReset, earlier(RST, &spliced).frame())
        .drops(Outcome::UnknownReset, earlier(RST | ACK, &spliced).frame())
        .answered_by_backend(&spliced)
        .entries(0, 2);

    let (spliced, case) = flooded(scene, "a client that gives up while its backend is asked ends its flow");
    let reset = spliced.client_sends(RST, b"");
    let given_up = case.proved(&spliced).makes(Outcome::Handshake, &spliced, &reset, &reset).entries(0, 0);
    let after = "after a flood a SYN that was not answered with a cookie goes by another port, too, without timestamps";
    let stale_after = "after a flood an answer to another SYN is not taken for one to this";
    vec![
        refused,
        resting,
        stale,
        late,
        given_up,
        hops(scene),
        after_a_flood(scene, after, ACK),
        after_a_flood(scene, stale_after, SYN | ACK),
        fast_open_after_a_flood(scene),
        another_syn_after_a_flood(scene),
    ]
}

/// The set-up after a flood, and the first flow there is then.
fn calm_after(scene: Scene, sentence: &str) -> (Flow, Case) {
    let (other, case) = flooded(scene, sentence);
    let calm = Setup { syn_cookies: SynCookieMode::Never, ..case.setup.clone() };
    let flow = scene.flow().another(40001, FIRST_NAT_PORT, scene.web(1));
    (flow, case.asked(&other).act(Act::Desire(calm)))
}

/// Its answer acknowledges the data, and is no answer to another SYN.
fn fast_open_after_a_flood(scene: Scene) -> Case {
    let (flow, case) = calm_after(scene, "after a flood a SYN with data is answered as at all times");
    let answer = flow.backend_sends(SYN | ACK, b"").with_tcp(|tcp| tcp.acknowledgement += 7);
    case.forward(Outcome::NewFlow, &flow, &flow.client_sends(SYN, b"request"))
        .back(Outcome::Handshake, &flow, &answer)
        .forward(Outcome::Promoted, &flow, &flow.client_sends(ACK, b""))
        .leaves(&[(&flow, "established")])
}

fn another_syn_after_a_flood(scene: Scene) -> Case {
    let sentence =
        "after a flood a client that began anew from the same port is answered by its second SYN's answer";
    let (flow, case) = calm_after(scene, sentence);
    let anew = Flow { client_isn: 0x5000_0000, ..flow };
    case.forward(Outcome::NewFlow, &flow, &flow.client_sends(SYN, b""))
        .forward(Outcome::Handshake, &anew, &anew.client_sends(SYN, b""))
        .back(Outcome::Handshake, &anew, &anew.backend_sends(SYN | ACK, b""))
        .forward(Outcome::Promoted, &anew, &anew.client_sends(ACK, b""))
        .leaves(&[(&anew, "established")])
}

/// A backend that rests on all ports, or says so.
fn hops(scene: Scene) -> Case {
    let (spliced, case) = flooded(scene, "a SYN goes by sixteen other ports, and no further");
    let earlier = |port: u16| {
        let flow = Flow { nat_port: FIRST_NAT_PORT + port, ..spliced.flow };
        (flow, flow.backend_sends(ACK, b"").with_tcp(|tcp| tcp.acknowledgement = 8))
    };
    let mut hopping = case.proved(&spliced);
    for port in 0..PORT_HOPS as u16 {
        let next = Spliced { flow: earlier(port + 1).0, ..spliced };
        let mut syn = next.flow.forwarded(&next.restored(&next.client_sends(ACK, b"")));
        (syn.hops, syn.identification, syn.flow_label) = (64, 0, 0);
        syn = syn.with_tcp(|tcp| tcp.window = 0xffff);
        hopping = hopping
            .becomes(Outcome::Handshake, earlier(port).1.frame(), syn.frame())
            .with(Occurrence::PortCollision, 1);
    }
    let last = earlier(PORT_HOPS as u16).1;
    hopping.becomes(Outcome::Handshake, last.frame(), answer(&last).frame()).entries(0, 2)
}

fn after_a_flood(scene: Scene, sentence: &str, flags: u8) -> Case {
    let (other, case) = flooded(scene, sentence);
    let calm = Setup { syn_cookies: SynCookieMode::Never, ..case.setup.clone() };
    let flow = scene.flow().another(40001, FIRST_NAT_PORT, scene.web(1));
    let next = Spliced::of(Flow { nat_port: FIRST_NAT_PORT + 1, ..flow });
    let options = next.options(next.client_scale);
    let syn = flow.client_sends(SYN, b"").with_tcp(|tcp| tcp.options = options);
    let resting = flow.backend_sends(flags, b"").with_tcp(|tcp| tcp.acknowledgement = 8);
    let mut again = next.flow.forwarded(&syn);
    (again.hops, again.identification, again.flow_label) = (64, 0, 0);
    again = again.with_tcp(|tcp| tcp.window = 0xffff);
    case.asked(&other)
        .act(Act::Desire(calm))
        .forward(Outcome::NewFlow, &flow, &syn)
        .becomes(Outcome::Handshake, resting.frame(), again.frame())
        .with(Occurrence::PortCollision, 1)
        .back(Outcome::Handshake, &next.flow, &next.flow.backend_sends(SYN | ACK, b""))
        .forward(Outcome::Promoted, &next.flow, &next.flow.client_sends(ACK, b""))
        .leaves(&[(&next.flow, "established")])
        .entries(2, 0)
}

fn windows(scene: Scene) -> Vec<Case> {
    let ends = [
        ("windows are left alone where neither end scales", None, None),
        (
            "a client's windows are scaled for a backend that does not know of scales",
            Some(CLIENT_SCALE),
            None,
        ),
        (
            "windows keep their size where a backend scales by less than was announced",
            Some(CLIENT_SCALE),
            Some(2),
        ),
    ];
    let case = |(sentence, client, backend): (&str, Option<u8>, Option<u8>)| {
        let (_, case) = flooded(scene, sentence);
        let spliced = Spliced::scaling(scene.flow(), client, backend);
        let small = |packet: Packet| packet.with_tcp(|tcp| tcp.window = 300);
        let request = |sees: &Flow| small(sees.client_sends(ACK | PSH, b"request"));
        case.spliced(&spliced)
            .makes(Outcome::ToBackend, &spliced, &request(&spliced.as_client_sees()), &request(&spliced.flow))
            .renumbers(Outcome::ToClient, &spliced, &spliced.flow.backend_sends(ACK | PSH, b"answer"))
            .renumbers(Outcome::ToClient, &spliced, &small(spliced.flow.backend_sends(ACK, b"")))
    };
    ends.into_iter().map(case).collect()
}

fn lives(scene: Scene) -> Vec<Case> {
    let (spliced, case) = flooded(scene, "data of a spliced flow keeps its bytes and changes its numbers");
    let request = spliced.flow.client_sends(ACK | PSH, b"request");
    let data = case
        .spliced(&spliced)
        .makes(Outcome::ToBackend, &spliced, &spliced.client_sends(ACK | PSH, b"request"), &request)
        .renumbers(Outcome::ToClient, &spliced, &spliced.flow.backend_sends(ACK | PSH, b"answer"));

    let (spliced, case) = flooded(scene, "selective acknowledgements are renumbered wherever they stand");
    let blocks = |isn: u32, lead: &[u8]| {
        let mut options = lead.to_vec();
        options.extend([5, 18]);
        for edge in [1, 100, 200, 300] {
            options.extend(isn.wrapping_add(edge).to_be_bytes());
        }
        options.resize(24, 0);
        options
    };
    let mut selective = case.spliced(&spliced);
    for lead in [&[1, 1][..], &[1], &[]] {
        let sent = spliced.client_sends(ACK, b"").with_tcp(|tcp| tcp.options = blocks(spliced.cookie, lead));
        let seen = spliced.flow.client_sends(ACK, b"");
        let seen = seen.with_tcp(|tcp| tcp.options = blocks(spliced.flow.backend_isn, lead));
        selective = selective.makes(Outcome::ToBackend, &spliced, &sent, &seen);
    }

    let (spliced, case) = flooded(scene, "both FINs of a spliced flow are seen, and their acknowledgements");
    let backend_fin = spliced.flow.backend_sends(FIN | ACK, b"");
    let fin = |sees: &Flow| {
        sees.client_sends(FIN | ACK, b"")
            .with_tcp(|tcp| tcp.acknowledgement = sees.backend_isn.wrapping_add(2))
    };
    let last = spliced.flow.backend_sends(ACK, b"").with_tcp(|tcp| {
        tcp.sequence += 1;
        tcp.acknowledgement += 1;
    });
    let ended = case
        .spliced(&spliced)
        .renumbers(Outcome::ToClient, &spliced, &backend_fin)
        .makes(Outcome::ToBackend, &spliced, &fin(&spliced.as_client_sees()), &fin(&spliced.flow))
        .renumbers(Outcome::ToClient, &spliced, &last)
        .with(Occurrence::FlowEnded, 1)
        .leaves(&[])
        .entries(0, 0);

    let (spliced, case) =
        flooded(scene, "an error about a segment to the client quotes the backend's number");
    let sent = Packet { hops: 61, ..spliced.flow.backend_sends(ACK, b"answer") };
    let seen = spliced.flow.returned(&sent).with_tcp(|tcp| tcp.sequence = spliced.cookie.wrapping_add(1));
    let seen = Packet { hops: 61, ..seen };
    // The quotes end before the checksum and the window: those are as they left.
    let arrives = scene.error(scene.router(), IcmpKind::TooBig, &seen, 8);
    let leaves = Packet {
        to_mac: spliced.flow.backend.mac,
        from_mac: spliced.flow.backend.port.mac(),
        source: spliced.flow.service.ip(),
        destination: spliced.flow.backend.address,
        hops: 63,
        ..scene.error(scene.router(), IcmpKind::TooBig, &sent, 8)
    };
    let error = case.spliced(&spliced).becomes(Outcome::IcmpError, arrives.frame(), leaves.frame());
    vec![data, selective, ended, error]
}

fn other_modes(scene: Scene) -> Vec<Case> {
    let sentence = "a cookie comes back to a backend that sees its client's own address";
    let (_, mut case) = flooded(scene, sentence);
    case.setup = case.setup.with(|service| service.forwarding = Some(Forwarding::KeepSource));
    let spliced = Spliced::of(Flow { forwarding: Forwarding::KeepSource, ..scene.flow() });
    let kept = case.spliced(&spliced).entries(2, 0);

    let sentence = "what backends answer directly gets no cookies, and is recorded as long as it is no flood";
    let (_, mut case) = flooded(scene, sentence);
    case.setup = case.setup.with(|service| {
        service.forwarding = Some(Forwarding::Direct);
        service.backends.iter_mut().for_each(|(_, address)| address.set_port(80));
    });
    let flow = Flow { forwarding: Forwarding::Direct, backend_port: 80, ..scene.flow() };
    let direct =
        case.begun(&flow).forward(Outcome::Promoted, &flow, &flow.client_sends(ACK, b"")).entries(1, 0);
    vec![kept, direct]
}

fn refusals(scene: Scene) -> Vec<Case> {
    let (first, mut case) = flooded(scene, "a limit that is reached resets who brings a cookie back");
    case.setup = case.setup.with(|service| {
        service.max_flows = 1;
        service.at_limit = AtLimit::Reset;
    });
    let second = Spliced::of(scene.flow().another(40001, FIRST_NAT_PORT + 1, scene.web(1)));
    let ack = second.client_sends(ACK, b"");
    let limited = case
        .spliced(&first)
        .asked(&second)
        .becomes(Outcome::AtLimit, ack.frame(), answer(&ack).frame())
        .leaves(&[(&first.flow, "established")]);

    let (spliced, case) = flooded(scene, "without a backend who brings a cookie back is reset");
    let mut calm = case.setup.clone();
    calm.services[0].slots = Vec::new();
    let reset = answer(&spliced.client_sends(ACK, b""));
    let gone = case.asked(&spliced).act(Act::Desire(calm)).act(Act::Send(Exchange::new(
        Action::Transmit,
        Outcome::NoBackend,
        spliced.client_sends(ACK, b"").frame(),
        reset.frame(),
    )));
    vec![limited, gone]
}
