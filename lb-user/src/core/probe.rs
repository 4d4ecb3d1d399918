//! A question to a backend whose configuration decides whether it can answer: one that must hold the VIP, or one that must
//! route its answers through this node.
//!
//! Owns the bytes of the question, the knowledge of what answers it, and the RST that ends it. Never sends them.

use bytemuck::bytes_of;
use lb_ebpf::csum::Sum;
use lb_ebpf::wire::{
    ETHER_TYPE_IPV4, ETHER_TYPE_IPV6, Ethernet, Ipv4, Ipv6, PROTOCOL_ICMP, PROTOCOL_ICMPV6, PROTOCOL_TCP,
    Tcp, TcpFlags,
};
use std::net::{IpAddr, SocketAddr};

/// Bytes of an echo message without data.
const ECHO_BYTES: u16 = 8;
const TCP_BYTES: u16 = 20;
const SEQUENCE: u32 = 0x6c62_6374;
const HOPS: u8 = 64;

/// How a backend is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Means {
    /// With a SYN to the service's port.
    Syn,
    /// With an echo request, where there is no handshake to try.
    Echo,
}

/// One question: from an address of our choice to the address under which a backend is to answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Probe {
    /// How it is asked.
    pub means: Means,
    /// The source; its port is also the mark of an echo request.
    pub from: SocketAddr,
    /// The destination, of the same family.
    pub to: SocketAddr,
}

/// What came back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// SYN-ACK, or the echo.
    Accepted,
    /// RST: the address is right, but nothing listens there.
    Refused,
}

impl Probe {
    /// The Ethernet frame of the question. `None` where the addresses are of two families.
    pub fn question(&self, from: [u8; 6], to: [u8; 6]) -> Option<Vec<u8>> {
        let content = match self.means {
            Means::Syn => bytes_of(&self.segment(TcpFlags::SYN, SEQUENCE)).to_vec(),
            Means::Echo => self.echo(),
        };
        self.frame(from, to, &content)
    }

    /// The frame that ends what a SYN began.
    pub fn goodbye(&self, from: [u8; 6], to: [u8; 6]) -> Option<Vec<u8>> {
        match self.means {
            Means::Syn => {
                self.frame(from, to, bytes_of(&self.segment(TcpFlags::RST, SEQUENCE.wrapping_add(1))))
            }
            Means::Echo => None,
        }
    }

    /// What a frame means for this probe, if anything.
    pub fn answer_in(&self, frame: &[u8]) -> Option<Answer> {
        let ethernet = take::<Ethernet>(frame, 0)?;
        let at = size_of::<Ethernet>();
        let (source, destination, protocol, content_at) = match ethernet.ether_type {
            ETHER_TYPE_IPV4 => {
                let ip = take::<Ipv4>(frame, at)?;
                let header_bytes = usize::from(ip.version_ihl & 0x0f) * 4;
                (IpAddr::from(ip.source), IpAddr::from(ip.destination), ip.protocol, at + header_bytes)
            }
            ETHER_TYPE_IPV6 => {
                let ip = take::<Ipv6>(frame, at)?;
                let content_at = at + size_of::<Ipv6>();
                (IpAddr::from(ip.source), IpAddr::from(ip.destination), ip.next_header, content_at)
            }
            _ => return None,
        };
        if source != self.to.ip() || destination != self.from.ip() {
            return None;
        }
        match self.means {
            Means::Syn if protocol == PROTOCOL_TCP => self.answer_in_segment(&take(frame, content_at)?),
            Means::Echo if matches!(protocol, PROTOCOL_ICMP | PROTOCOL_ICMPV6) => {
                let [kind, _, _, _, mark @ ..] = take::<[u8; 6]>(frame, content_at)?;
                let echoes = kind == self.echo_kind().1 && mark == self.from.port().to_be_bytes();
                echoes.then_some(Answer::Accepted)
            }
            _ => None,
        }
    }

    fn answer_in_segment(&self, tcp: &Tcp) -> Option<Answer> {
        let ports = (self.to.port().to_be_bytes(), self.from.port().to_be_bytes());
        let acknowledges = tcp.acknowledgement == SEQUENCE.wrapping_add(1).to_be_bytes();
        if (tcp.source_port, tcp.destination_port) != ports || !acknowledges {
            return None;
        }
        let flags = TcpFlags::new(tcp.flags);
        if flags.has(TcpFlags::RST) {
            Some(Answer::Refused)
        } else if flags.is_open_answer() {
            Some(Answer::Accepted)
        } else {
            None
        }
    }

    fn segment(&self, flags: u8, sequence: u32) -> Tcp {
        let mut tcp = Tcp {
            source_port: self.from.port().to_be_bytes(),
            destination_port: self.to.port().to_be_bytes(),
            sequence: sequence.to_be_bytes(),
            acknowledgement: [0; 4],
            data_offset: 0x50,
            flags,
            window: 1024u16.to_be_bytes(),
            checksum: [0; 2],
            urgent: [0; 2],
        };
        let bytes: [u8; TCP_BYTES as usize] = bytemuck::cast(tcp);
        tcp.checksum = self.pseudo_sum(PROTOCOL_TCP, TCP_BYTES).plus(&bytes).finish();
        tcp
    }

    /// Types of the question and its answer.
    fn echo_kind(&self) -> (u8, u8) {
        if self.to.is_ipv4() { (8, 0) } else { (128, 129) }
    }

    fn echo(&self) -> Vec<u8> {
        let [high, low] = self.from.port().to_be_bytes();
        let mut echo = [self.echo_kind().0, 0, 0, 0, high, low, 0, 1];
        // Only ICMPv6's checksum covers addresses.
        let begun =
            if self.to.is_ipv4() { Sum::default() } else { self.pseudo_sum(PROTOCOL_ICMPV6, ECHO_BYTES) };
        [echo[2], echo[3]] = begun.plus(&echo).finish();
        echo.to_vec()
    }

    fn pseudo_sum(&self, protocol: u8, content_bytes: u16) -> Sum {
        let sum = Sum::default().plus(&[0, protocol]).plus(&content_bytes.to_be_bytes());
        [self.from.ip(), self.to.ip()].iter().fold(sum, |sum, address| match address {
            IpAddr::V4(v4) => sum.plus(&v4.octets()),
            IpAddr::V6(v6) => sum.plus(&v6.octets()),
        })
    }

    fn frame(&self, from: [u8; 6], to: [u8; 6], content: &[u8]) -> Option<Vec<u8>> {
        let content_bytes = u16::try_from(content.len()).ok()?;
        let protocol = match (self.means, self.to.is_ipv4()) {
            (Means::Syn, _) => PROTOCOL_TCP,
            (Means::Echo, true) => PROTOCOL_ICMP,
            (Means::Echo, false) => PROTOCOL_ICMPV6,
        };
        let (ether_type, header) = match (self.from.ip(), self.to.ip()) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                let mut ip = Ipv4 {
                    version_ihl: 0x45,
                    traffic_class: 0,
                    total_length: (content_bytes + 20).to_be_bytes(),
                    identification: [0; 2],
                    fragment: [0x40, 0],
                    ttl: HOPS,
                    protocol,
                    checksum: [0; 2],
                    source: source.octets(),
                    destination: destination.octets(),
                };
                ip.checksum = Sum::default().plus(&bytemuck::cast::<_, [u8; 20]>(ip)).finish();
                (ETHER_TYPE_IPV4, bytes_of(&ip).to_vec())
            }
            (IpAddr::V6(source), IpAddr::V6(destination)) => {
                let ip = Ipv6 {
                    version_class_label: [0x60, 0, 0, 0],
                    payload_length: content_bytes.to_be_bytes(),
                    next_header: protocol,
                    hop_limit: HOPS,
                    source: source.octets(),
                    destination: destination.octets(),
                };
                (ETHER_TYPE_IPV6, bytes_of(&ip).to_vec())
            }
            _ => return None,
        };
        let ethernet = Ethernet { destination: to, source: from, ether_type };
        Some([bytes_of(&ethernet), &header, content].concat())
    }
}

/// A value at that offset of a frame.
fn take<T: bytemuck::AnyBitPattern>(frame: &[u8], at: usize) -> Option<T> {
    let bytes = frame.get(at..at.checked_add(size_of::<T>())?)?;
    bytemuck::try_pod_read_unaligned(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn probe(means: Means, v6: bool) -> Probe {
        let (from, to) =
            if v6 { ("[fd80::2]:61007", "[fd80::102]:80") } else { ("10.80.0.2:61007", "10.80.0.102:80") };
        Probe { means, from: from.parse().expect("an address"), to: to.parse().expect("an address") }
    }

    /// The answer's frame, made of the question that would have it as its own, turned round.
    fn answer(probe: &Probe, change: impl Fn(&mut Tcp)) -> Vec<u8> {
        let back = Probe { from: probe.to, to: probe.from, ..*probe };
        let mut tcp = back.segment(TcpFlags::SYN | TcpFlags::ACK, 77);
        tcp.acknowledgement = SEQUENCE.wrapping_add(1).to_be_bytes();
        change(&mut tcp);
        back.frame([2; 6], [1; 6], bytes_of(&tcp)).expect("one family")
    }

    #[test]
    fn questions_have_right_checksums() {
        for (means, v6) in
            [(Means::Syn, false), (Means::Syn, true), (Means::Echo, false), (Means::Echo, true)]
        {
            let probe = probe(means, v6);
            let frame = probe.question([1; 6], [2; 6]).expect("one family");
            let content = &frame[14 + if v6 { 40 } else { 20 }..];
            let words = content.chunks(2).map(|pair| [pair[0], pair[1]]);
            let protocol = if means == Means::Syn { PROTOCOL_TCP } else { PROTOCOL_ICMPV6 };
            let begun = if means == Means::Echo && !v6 {
                Sum::default()
            } else {
                probe.pseudo_sum(protocol, content.len() as u16)
            };
            let sum = words.fold(begun, |sum, word| sum.plus(&word)).finish();
            assert_eq!(sum, [0, 0], "{means:?}, IPv6: {v6}");
        }
    }

    #[test]
    fn a_syn_ack_accepts_and_a_reset_refuses() {
        for v6 in [false, true] {
            let probe = probe(Means::Syn, v6);
            assert_eq!(probe.answer_in(&answer(&probe, |_| {})), Some(Answer::Accepted));
            let reset = answer(&probe, |tcp| tcp.flags = TcpFlags::RST | TcpFlags::ACK);
            assert_eq!(probe.answer_in(&reset), Some(Answer::Refused));
        }
    }

    #[test]
    fn what_is_not_addressed_to_the_probe_is_no_answer() {
        let probe = probe(Means::Syn, false);
        let other_port = answer(&probe, |tcp| tcp.destination_port = [1, 2]);
        let other_number = answer(&probe, |tcp| tcp.acknowledgement = [0; 4]);
        let question = probe.question([1; 6], [2; 6]).expect("one family");
        let mut cut = answer(&probe, |_| {});
        cut.truncate(40);
        for frame in [other_port, other_number, question, cut, Vec::new()] {
            assert_eq!(probe.answer_in(&frame), None);
        }
        let elsewhere = Probe { to: "10.80.0.21:80".parse().expect("an address"), ..probe };
        assert_eq!(elsewhere.answer_in(&answer(&probe, |_| {})), None, "answered under another address");
    }

    #[test]
    fn an_echo_has_its_requests_mark() {
        for v6 in [false, true] {
            let probe = probe(Means::Echo, v6);
            let back = Probe { from: probe.to, to: probe.from, ..probe };
            let mut content = probe.echo();
            content[0] = probe.echo_kind().1;
            let frame = back.frame([2; 6], [1; 6], &content).expect("one family");
            assert_eq!(probe.answer_in(&frame), Some(Answer::Accepted));
            let other = Probe { from: SocketAddr::new(probe.from.ip(), 5), ..probe };
            assert_eq!(other.answer_in(&frame), None);
            assert_eq!(probe.answer_in(&probe.question([1; 6], [2; 6]).expect("one family")), None);
        }
    }
}
