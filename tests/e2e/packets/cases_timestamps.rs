//! TCP timestamps: the client's are shifted to begin at the node's clock, their echo is shifted back, and
//! nothing that only looks like them is touched.

use super::builder::{ACK, PSH, Packet, SYN};
use super::case::{Act, Action, Case, Exchange, Plant, Setup};
use super::scene::{Flow, ROUTER_MAC, SCENES, Scene};
use lb_ebpf::outcome::Outcome;
use std::time::Duration;

/// The client's clock when it sends its SYN.
const CLIENT_CLOCK: u32 = 0xffff_ff00;
/// The backend's.
const BACKEND_CLOCK: u32 = 0x0070_0000;
const SHIFT: u32 = 0x9000_0001;

pub(crate) fn cases() -> Vec<Case> {
    SCENES.into_iter().flat_map(|scene| [handshakes(scene), not_timestamps(scene)]).flatten().collect()
}

/// Options with timestamps behind `lead`, filled up to whole words.
fn stamped(lead: &[u8], value: u32, echo: u32) -> Vec<u8> {
    let mut options = [lead, &[8, 10], &value.to_be_bytes(), &echo.to_be_bytes()].concat();
    options.resize(options.len().next_multiple_of(4), 1);
    options
}

fn with_options(packet: Packet, options: Vec<u8>) -> Packet {
    packet.with_tcp(|tcp| tcp.options = options)
}

/// A client's segment: as it comes with `value`, as it leaves with `shifted`.
fn forward(outcome: Outcome, flow: &Flow, packet: &Packet, options: [Vec<u8>; 2]) -> Exchange {
    let [before, after] = options;
    let input = with_options(packet.clone(), before).frame();
    let output = with_options(flow.forwarded(packet), after).frame();
    Exchange::new(Action::Transmit, outcome, input, output)
}

fn back(outcome: Outcome, flow: &Flow, packet: &Packet, options: [Vec<u8>; 2]) -> Exchange {
    let [before, after] = options;
    let input = with_options(packet.clone(), before).frame();
    let output = with_options(flow.returned(packet), after).frame();
    Exchange::new(Action::Transmit, outcome, input, output)
}

/// A connection from its SYN on, with timestamps behind these bytes of options.
fn connection(scene: Scene, sentence: &str, lead: &'static [u8]) -> Case {
    let flow = scene.flow();
    let syn = flow.client_sends(SYN, b"");
    let value_at = 14 + syn.header_bytes() + 20 + lead.len() + 2;
    let both = move |before: (u32, u32), after: (u32, u32)| {
        [stamped(lead, before.0, before.1), stamped(lead, after.0, after.1)]
    };
    let usual = |before: (u32, u32), after: (u32, u32)| {
        [stamped(&[1, 1], before.0, before.1), stamped(&[1, 1], after.0, after.1)]
    };
    // The retransmission comes a second later on the client's clock, which wraps meanwhile.
    let later = CLIENT_CLOCK.wrapping_add(1000);
    Case::new(scene, sentence, Setup::web(scene, &[scene.web(1)]))
        .act(Act::Clock(
            value_at,
            Box::new(move |clock| {
                forward(Outcome::NewFlow, &flow, &syn, both((CLIENT_CLOCK, 0), (clock, 0)))
            }),
        ))
        .act(Act::Timed(Box::new(move |clock| {
            let again = flow.client_sends(SYN, b"");
            forward(Outcome::Handshake, &flow, &again, both((later, 0), (clock.wrapping_add(1000), 0)))
        })))
        .act(Act::Timed(Box::new(move |clock| {
            let options = both((BACKEND_CLOCK, clock), (BACKEND_CLOCK, CLIENT_CLOCK));
            back(Outcome::Handshake, &flow, &flow.backend_sends(SYN | ACK, b""), options)
        })))
        .act(Act::Timed(Box::new(move |clock| {
            let options = usual((later, BACKEND_CLOCK), (clock.wrapping_add(1000), BACKEND_CLOCK));
            forward(Outcome::Promoted, &flow, &flow.client_sends(ACK, b""), options)
        })))
        .act(Act::Timed(Box::new(move |clock| {
            let options = usual((later + 5, BACKEND_CLOCK), (clock.wrapping_add(1005), BACKEND_CLOCK));
            forward(Outcome::ToBackend, &flow, &flow.client_sends(ACK | PSH, b"GET /"), options)
        })))
        .act(Act::Timed(Box::new(move |clock| {
            let options = usual((BACKEND_CLOCK, clock.wrapping_add(1005)), (BACKEND_CLOCK, later + 5));
            back(Outcome::ToClient, &flow, &flow.backend_sends(ACK | PSH, b"200"), options)
        })))
}

fn handshakes(scene: Scene) -> Vec<Case> {
    vec![
        connection(
            scene,
            "timestamps where Linux has them begin at the node's clock, and the client gets its own back",
            &[2, 4, 5, 0xb4, 4, 2],
        ),
        connection(scene, "timestamps at an odd offset keep the checksum right", &[2, 4, 5, 0xb4, 3, 3, 7]),
        connection(scene, "timestamps in front of all other options are found", &[]),
        connection(scene, "timestamps behind as many options as fit are found", &[1; 30]),
    ]
}

fn not_timestamps(scene: Scene) -> Vec<Case> {
    let flow = scene.flow();
    // A next hop so old is looked up, and found, with the first packet.
    let next_hop_age = Duration::from_secs(3);
    let plant = Plant { flow, next_hop_age, next_hop: ROUTER_MAC, timestamp_shift: SHIFT };
    let case = |sentence: &str| {
        Case::new(scene, sentence, Setup::web(scene, &[scene.web(1)])).act(Act::Plant(plant))
    };
    let forwards = |sentence: &str, options: &[u8], payload: &[u8]| {
        let packet = with_options(flow.client_sends(ACK, payload), options.to_vec());
        case(sentence).forward(Outcome::ToBackend, &flow, &packet)
    };
    let look_alike = stamped(&[1, 1], 1, 2);
    let near_wrap = u32::MAX - 1;
    let shifted = [stamped(&[1, 1], near_wrap, 9), stamped(&[1, 1], near_wrap.wrapping_add(SHIFT), 9)];
    let behind_selective = [&[1, 1, 5, 10, 8, 10, 8, 10, 8, 10, 8, 10][..], &stamped(&[1, 1], 3, 4)].concat();
    let behind_selective_shifted =
        [&[1, 1, 5, 10, 8, 10, 8, 10, 8, 10, 8, 10][..], &stamped(&[1, 1], 3u32.wrapping_add(SHIFT), 4)]
            .concat();
    let exchange = |options| forward(Outcome::ToBackend, &flow, &flow.client_sends(ACK, b"x"), options);
    vec![
        case("a value near the wrap is shifted across it").act(Act::Send(exchange(shifted))),
        case("timestamps behind a SACK option are found, and the SACK stays")
            .act(Act::Send(exchange([behind_selective, behind_selective_shifted]))),
        forwards("a payload that looks like timestamps is not touched", &[], &look_alike),
        forwards(
            "a payload behind other options that looks like timestamps is not touched",
            &[1; 12],
            &look_alike,
        ),
        forwards(
            "a SACK option in the timestamps' place is not touched",
            &[1, 1, 5, 10, 1, 2, 3, 4, 5, 6, 7, 8],
            b"",
        ),
        forwards("nothing behind the end of options is touched", &[0, 1, 8, 10, 1, 2, 3, 4, 5, 6, 7, 8], b""),
        forwards("an option of no length ends the search", &[5, 0, 8, 10, 1, 2, 3, 4, 5, 6, 7, 8], b""),
        forwards(
            "an option that is longer than the header ends the search",
            &[30, 40, 8, 10, 1, 2, 3, 4, 5, 6, 7, 8],
            b"",
        ),
        forwards("timestamps of another length are none", &[1, 1, 8, 9, 1, 2, 3, 4, 5, 6, 7, 8], b""),
        forwards(
            "timestamps that the header cuts off are not touched",
            &[1, 1, 1, 1, 1, 1, 1, 1, 8, 10, 1, 2],
            &[3, 4, 5, 6, 7, 8],
        ),
    ]
}
