//! Flows that begin with a cookie, and what either end sees of them.

use super::builder::{ACK, Packet, SYN};
use super::case::Case;
use super::cases_reset::answer;
use super::runner::COOKIE_KEYS;
use super::scene::{Flow, Scene};
use lb_ebpf::abi::{FlowKey, SynCookies};
use lb_ebpf::cookie::Offer;
use lb_ebpf::outcome::Outcome;

/// What the clients' SYNs offer: as Linux does it.
pub(crate) const CLIENT_SCALE: u8 = 8;
/// What the backend scales its windows by, and what the node says it does.
const BACKEND_SCALE: u8 = 10;
const ANNOUNCED_SCALE: u8 = 7;

/// A flow in a flood, the cookie that it gets, and what its ends scale their windows by.
#[derive(Clone, Copy)]
pub(crate) struct Spliced {
    pub(crate) flow: Flow,
    pub(crate) cookie: u32,
    pub(crate) client_scale: Option<u8>,
    pub(crate) backend_scale: Option<u8>,
}

pub(crate) fn segment_bytes(scene: Scene) -> u16 {
    if scene.v6 { 1440 } else { 1460 }
}

pub(crate) fn cookie(flow: &Flow, offer: Offer) -> u32 {
    let (client, service) = (flow.client, flow.service);
    let ports = (client.port().to_be_bytes(), service.port().to_be_bytes());
    let key = FlowKey::new(client.ip().into(), ports.0, service.ip().into(), ports.1, 6);
    SynCookies { keys: COOKIE_KEYS, current: 0, threshold: 0, direct_threshold: 0, zero: 0 }.make(
        &key,
        flow.client_isn,
        offer,
    )
}

impl Spliced {
    pub(crate) fn of(flow: Flow) -> Self {
        Self::scaling(flow, Some(CLIENT_SCALE), Some(BACKEND_SCALE))
    }

    pub(crate) fn scaling(flow: Flow, client_scale: Option<u8>, backend_scale: Option<u8>) -> Self {
        let offer = Offer::NONE.with_segment_bytes(segment_bytes(flow.scene), flow.scene.v6).with_sack();
        let offer = client_scale.map_or(offer, |scale| offer.with_window_scale(scale));
        Self { flow, cookie: cookie(&flow, offer), client_scale, backend_scale }
    }

    /// A backend's window, as its client is to see it.
    pub(crate) fn client_window(&self, window: u16) -> u16 {
        let bytes = u32::from(window) << self.backend_scale.unwrap_or(0);
        if self.client_scale.is_none() { window } else { (bytes >> ANNOUNCED_SCALE).min(0xffff) as u16 }
    }

    /// A client's window, as its backend is to see it.
    pub(crate) fn backend_window(&self, window: u16) -> u16 {
        match (self.client_scale, self.backend_scale) {
            (Some(scale), None) => (u32::from(window) << scale).min(0xffff) as u16,
            _ => window,
        }
    }

    /// The same flow in its client's eyes: of a backend that begins with the cookie.
    pub(crate) fn as_client_sees(&self) -> Flow {
        Flow { backend_isn: self.cookie, ..self.flow }
    }

    pub(crate) fn options(&self, scale: Option<u8>) -> Vec<u8> {
        let [high, low] = segment_bytes(self.flow.scene).to_be_bytes();
        let scale = scale.map_or([1, 1, 1], |scale| [3, 3, scale]);
        [&[2, 4, high, low, 4, 2, 1, 1], &scale[..], &[1]].concat()
    }

    /// The client's SYN, as Linux lays it out.
    pub(crate) fn syn(&self) -> Packet {
        let [high, low] = segment_bytes(self.flow.scene).to_be_bytes();
        let mut options = vec![2, 4, high, low, 4, 2, 8, 10, 1, 2, 3, 4, 0, 0, 0, 0, 1];
        options.extend(self.client_scale.map_or([1, 1, 1], |scale| [3, 3, scale]));
        self.flow.client_sends(SYN, b"").with_tcp(|tcp| tcp.options = options)
    }

    /// The cookie, on its way to the client.
    pub(crate) fn answer(&self) -> Packet {
        let options = self.options(self.client_scale.map(|_| ANNOUNCED_SCALE));
        cookie_answer(&self.syn()).with_tcp(|tcp| {
            tcp.sequence = self.cookie;
            tcp.options = options;
        })
    }

    pub(crate) fn client_sends(&self, flags: u8, payload: &[u8]) -> Packet {
        self.as_client_sees().client_sends(flags, payload)
    }

    /// The SYN that a client's packet is made.
    pub(crate) fn restored(&self, packet: &Packet) -> Packet {
        packet.clone().with_tcp(|tcp| {
            tcp.sequence = self.flow.client_isn;
            tcp.acknowledgement = 0;
            tcp.flags = SYN;
            tcp.window = (u32::from(tcp.window) << self.client_scale.unwrap_or(0)).min(0xffff) as u16;
            tcp.options = self.options(self.client_scale);
            tcp.payload = Vec::new();
        })
    }

    pub(crate) fn backend_answer(&self) -> Packet {
        let options = self.options(self.backend_scale);
        self.flow.backend_sends(SYN | ACK, b"").with_tcp(|tcp| tcp.options = options)
    }

    /// What the backend's answer is made, before it is sent back.
    pub(crate) fn window_opened(&self) -> Packet {
        self.backend_answer().with_tcp(|tcp| {
            tcp.sequence = self.cookie;
            tcp.flags = ACK;
            tcp.options = Vec::new();
            // Not scaled yet: 63 KiB in units of the backend, and those in units of the node.
            tcp.window = self.client_window(tcp.window >> self.backend_scale.unwrap_or(0));
            tcp.payload = vec![0];
        })
    }
}

/// The node's answer to a SYN, without its number and options.
pub(crate) fn cookie_answer(syn: &Packet) -> Packet {
    let packet = answer(syn);
    let mut asked = syn.clone();
    let isn = asked.tcp_mut().sequence;
    packet.with_tcp(|tcp| {
        tcp.acknowledgement = isn.wrapping_add(1);
        tcp.flags = SYN | ACK;
    })
}

impl Case {
    /// The client's SYN is answered with a cookie.
    pub(crate) fn asked(self, spliced: &Spliced) -> Self {
        self.becomes(Outcome::CookieSent, spliced.syn().frame(), spliced.answer().frame())
    }

    /// The client brings it back, and its backend sees a SYN.
    pub(crate) fn proved(self, spliced: &Spliced) -> Self {
        let ack = spliced.client_sends(ACK, b"");
        self.asked(spliced).makes(Outcome::CookieAccepted, spliced, &ack, &spliced.restored(&ack))
    }

    /// And the backend's answer opens the client's window.
    pub(crate) fn connected(self, spliced: &Spliced) -> Self {
        self.proved(spliced).answered_by_backend(spliced)
    }

    pub(crate) fn answered_by_backend(self, spliced: &Spliced) -> Self {
        let (arrives, leaves) = (spliced.backend_answer(), spliced.flow.returned(&spliced.window_opened()));
        self.becomes(Outcome::Handshake, arrives.frame(), leaves.frame())
    }

    /// And the client's answer completes the backend's handshake.
    pub(crate) fn spliced(self, spliced: &Spliced) -> Self {
        let ack = spliced.client_sends(ACK, b"");
        self.connected(spliced).makes(Outcome::Promoted, spliced, &ack, &spliced.flow.client_sends(ACK, b""))
    }

    /// A client's packet leaves for the backend as another one.
    pub(crate) fn makes(self, outcome: Outcome, spliced: &Spliced, packet: &Packet, other: &Packet) -> Self {
        let other = other.clone().with_tcp(|tcp| {
            if tcp.flags & SYN == 0 {
                tcp.window = spliced.backend_window(tcp.window);
            }
        });
        self.becomes(outcome, packet.frame(), spliced.flow.forwarded(&other).frame())
    }

    /// A backend's packet leaves for the client with the client's numbers.
    pub(crate) fn renumbers(self, outcome: Outcome, spliced: &Spliced, packet: &Packet) -> Self {
        let seen = packet.clone().with_tcp(|tcp| {
            tcp.sequence = tcp.sequence.wrapping_sub(spliced.flow.backend_isn).wrapping_add(spliced.cookie);
            tcp.window = spliced.client_window(tcp.window);
        });
        self.becomes(outcome, packet.frame(), spliced.flow.returned(&seen).frame())
    }
}
