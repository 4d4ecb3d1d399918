//! Headers to a VIP that are wrong, or of a kind that services do not take: dropped, unchanged, counted
//! each by its reason.

use super::builder::{ACK, Content, FIN, Packet, RST, SYN, URG, with_byte};
use super::case::{Case, Setup};
use super::scene::{IcmpKind, SCENES, Scene, V4, V6};
use lb_ebpf::outcome::Outcome;

fn web(scene: Scene) -> Setup {
    Setup::web(scene, &[scene.web(1)])
}

pub(crate) fn cases() -> Vec<Case> {
    let mut cases = ipv4();
    cases.extend(ipv6());
    for scene in SCENES {
        cases.extend(tcp(scene));
        cases.extend(hops(scene));
    }
    cases
}

fn ipv4() -> Vec<Case> {
    let case = |sentence: &str| Case::new(V4, sentence, web(V4));
    let syn = V4.flow().client_sends(SYN, b"");
    let with = |at: usize, value: u8| with_byte(syn.frame(), 14 + at, value);
    let fragment = |fragment: u16| Packet { fragment, ..syn.clone() }.frame();
    let options = |bytes: &[u8]| Packet { options: bytes.to_vec(), ..syn.clone() };
    vec![
        case("another version than the EtherType says is a bad header")
            .drops(Outcome::BadIpHeader, with(0, 0x65)),
        case("a header length below five words is a bad header").drops(Outcome::BadIpHeader, with(0, 0x44)),
        case("a packet that claims one byte more than came was cut").drops(Outcome::BadIpHeader, with(3, 41)),
        case("a packet that claims far more than came was cut").drops(Outcome::BadIpHeader, with(2, 0xff)),
        case("a packet that claims less than its header is a bad header")
            .drops(Outcome::BadIpHeader, with(3, 19)),
        case("a packet that claims no length at all is a bad header").drops(Outcome::BadIpHeader, with(3, 0)),
        case("a header length beyond the packet's end is a bad header")
            .drops(Outcome::BadIpHeader, with(0, 0x4f)),
        case("a record-route option is not what services take")
            .drops(Outcome::IpOptions, options(&[7, 7, 4, 0, 0, 0, 0, 0]).frame()),
        case("a source-route option could lead anywhere")
            .drops(Outcome::IpOptions, options(&[131, 7, 4, 10, 0, 0, 1, 0]).frame()),
        case("a first fragment has ports but its followers do not, so neither is served")
            .drops(Outcome::Fragment, fragment(0x2000)),
        case("a middle fragment has no ports").drops(Outcome::Fragment, fragment(0x2000 | 185)),
        case("a last fragment has no ports").drops(Outcome::Fragment, fragment(370)),
        case("a fragment so far behind that only the high bits of its offset are set is one too")
            .drops(Outcome::Fragment, fragment(0x0100)),
        case("a fragment of a UDP packet to a VIP is dropped like any other").drops(
            Outcome::Fragment,
            Packet {
                fragment: 185,
                content: Content::Other { protocol: 17, bytes: vec![0; 8] },
                ..syn.clone()
            }
            .frame(),
        ),
        case("a fragment of an ICMP error is not translated").drops(Outcome::Fragment, {
            let error = V4.error(V4.web(1), IcmpKind::PortUnreachable, &syn, 20);
            Packet { fragment: 0x2000, ..error }.frame()
        }),
    ]
}

fn ipv6() -> Vec<Case> {
    let case = |sentence: &str| Case::new(V6, sentence, web(V6));
    let syn = V6.flow().client_sends(SYN, b"");
    let extended = |number: u8| {
        Packet { extension: Some(number), options: vec![0, 0, 1, 2, 0, 0], ..syn.clone() }.frame()
    };
    let with = |at: usize, value: u8| with_byte(syn.frame(), 14 + at, value);
    vec![
        case("another version than the EtherType says is a bad header")
            .drops(Outcome::BadIpHeader, with(0, 0x40)),
        case("a packet that claims one byte more than came was cut").drops(Outcome::BadIpHeader, with(5, 21)),
        case("a packet that claims far more than came was cut").drops(Outcome::BadIpHeader, with(4, 0xff)),
        case("a packet without payload has no TCP header, whatever follows in the frame")
            .drops(Outcome::BadTcpHeader, with(5, 0)),
        case("a fragment header is a fragment").drops(Outcome::Fragment, extended(44)),
        case("hop-by-hop options are not what services take").drops(Outcome::Ipv6Extension, extended(0)),
        case("a routing header could lead anywhere").drops(Outcome::Ipv6Extension, extended(43)),
        case("destination options are not what services take").drops(Outcome::Ipv6Extension, extended(60)),
        case("an authentication header covers the addresses we would change")
            .drops(Outcome::Ipv6Extension, extended(51)),
    ]
}

fn tcp(scene: Scene) -> Vec<Case> {
    let case = |sentence: &str| Case::new(scene, sentence, web(scene));
    let flow = scene.flow();
    let ack = flow.client_sends(ACK, b"");
    let at = 14 + ack.header_bytes();
    let cut = Packet { content: Content::Other { protocol: 6, bytes: vec![0x50; 19] }, ..ack.clone() };
    let flags = |flags| flow.client_sends(flags, b"").frame();
    vec![
        case("a TCP header of 19 bytes was cut").drops(Outcome::BadTcpHeader, cut.frame()),
        case("a TCP header of 19 bytes was cut, though padding fills the frame")
            .drops(Outcome::BadTcpHeader, Packet { trailer: vec![0; 40], ..cut }.frame()),
        case("a TCP header of less than five words cannot be")
            .drops(Outcome::BadTcpHeader, with_byte(ack.frame(), at + 12, 0x40)),
        case("a TCP header that is longer than its packet cannot be")
            .drops(Outcome::BadTcpHeader, with_byte(ack.frame(), at + 12, 0x60)),
        case("SYN and FIN together is a scanner's packet").drops(Outcome::BadTcpFlags, flags(SYN | FIN)),
        case("SYN and RST together is a scanner's packet").drops(Outcome::BadTcpFlags, flags(SYN | RST)),
        case("no flags at all is a scanner's packet").drops(Outcome::BadTcpFlags, flags(0)),
        case("URG alone says nothing to a connection").drops(Outcome::BadTcpFlags, flags(URG)),
        case("insane flags do not touch the flow they name")
            .opened(&flow)
            .drops(Outcome::BadTcpFlags, flags(SYN | FIN | ACK))
            .leaves(&[(&flow, "established")])
            .forward_account(2, 2 * (ack.header_bytes() as u64 + 20)),
    ]
}

fn hops(scene: Scene) -> Vec<Case> {
    let case = |sentence: &str| Case::new(scene, sentence, web(scene));
    let flow = scene.flow();
    let left = |hops, packet: Packet| Packet { hops, ..packet };
    let syn = |hops| left(hops, flow.client_sends(SYN, b""));
    vec![
        case("a SYN on its last hop takes no slot and no port")
            .drops(Outcome::TtlExceeded, syn(1).frame())
            .entries(0, 0),
        case("a SYN with no hop left does not wrap to 255").drops(Outcome::TtlExceeded, syn(0).frame()),
        case("a SYN with one hop more than needed is sent on with the last").forward(
            Outcome::NewFlow,
            &flow,
            &syn(2),
        ),
        case("a client's segment on its last hop is dropped")
            .opened(&flow)
            .drops(Outcome::TtlExceeded, left(1, flow.client_sends(ACK, b"late")).frame()),
        case("a segment on its last hop does not close the flow it would have closed")
            .opened(&flow)
            .drops(Outcome::TtlExceeded, left(1, flow.client_sends(RST | ACK, b"")).frame())
            .leaves(&[(&flow, "established")]),
        case("a backend's segment on its last hop is dropped")
            .opened(&flow)
            .drops(Outcome::TtlExceeded, left(1, flow.backend_sends(ACK, b"late")).frame()),
        case("a backend's SYN-ACK on its last hop does not count as its answer")
            .begun(&flow)
            .drops(Outcome::TtlExceeded, left(0, flow.backend_sends(SYN | ACK, b"")).frame())
            .leaves(&[(&flow, "embryonic")]),
        case("a segment with two hops left reaches its backend with one").opened(&flow).forward(
            Outcome::ToBackend,
            &flow,
            &left(2, flow.client_sends(ACK, b"just so")),
        ),
        case("the hop count goes from 255 to 254 and no further").opened(&flow).forward(
            Outcome::ToBackend,
            &flow,
            &left(255, flow.client_sends(ACK, b"far")),
        ),
    ]
}
