//! Packets from first principles: every length and every checksum is computed from scratch.
//!
//! This is the independent judge of the program's incremental checksum updates, so it shares no code with
//! the program. Owns the wire formats of the cases; knows nothing of flows or verdicts.

use std::net::IpAddr;

pub(crate) type Mac = [u8; 6];

pub(crate) const FIN: u8 = 0x01;
pub(crate) const SYN: u8 = 0x02;
pub(crate) const RST: u8 = 0x04;
pub(crate) const PSH: u8 = 0x08;
pub(crate) const ACK: u8 = 0x10;
pub(crate) const URG: u8 = 0x20;
pub(crate) const ECE: u8 = 0x40;
pub(crate) const CWR: u8 = 0x80;

const DONT_FRAGMENT: u16 = 0x4000;

/// A frame that carries IP.
#[derive(Clone, Debug)]
pub(crate) struct Packet {
    pub(crate) to_mac: Mac,
    pub(crate) from_mac: Mac,
    pub(crate) source: IpAddr,
    pub(crate) destination: IpAddr,
    /// TTL or hop limit.
    pub(crate) hops: u8,
    /// DSCP and ECN.
    pub(crate) traffic_class: u8,
    /// IPv4 only.
    pub(crate) identification: u16,
    /// IPv4 only: flags and offset.
    pub(crate) fragment: u16,
    /// IPv6 only.
    pub(crate) flow_label: u32,
    /// IPv4 options, or the rest of an IPv6 extension header behind its first two bytes.
    pub(crate) options: Vec<u8>,
    /// IPv6 only: the number of the extension header that `options` is of.
    pub(crate) extension: Option<u8>,
    pub(crate) content: Content,
    /// What follows the IP packet in the frame: padding, as a rule.
    pub(crate) trailer: Vec<u8>,
}

#[derive(Clone, Debug)]
pub(crate) enum Content {
    Tcp(Tcp),
    Udp(Udp),
    Icmp(Icmp),
    Other { protocol: u8, bytes: Vec<u8> },
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Tcp {
    pub(crate) source_port: u16,
    pub(crate) destination_port: u16,
    pub(crate) sequence: u32,
    pub(crate) acknowledgement: u32,
    pub(crate) flags: u8,
    /// The four bits behind the header's length.
    pub(crate) reserved: u8,
    pub(crate) window: u16,
    pub(crate) urgent: u16,
    pub(crate) options: Vec<u8>,
    pub(crate) payload: Vec<u8>,
    /// Added to the right checksum, in one's complement.
    pub(crate) checksum_error: u16,
}

#[derive(Clone, Debug)]
pub(crate) struct Udp {
    pub(crate) source_port: u16,
    pub(crate) destination_port: u16,
    pub(crate) payload: Vec<u8>,
    /// Added to the right length.
    pub(crate) length_error: i16,
    /// Whether it has a checksum.
    pub(crate) has_checksum: bool,
}

#[derive(Clone, Debug)]
pub(crate) struct Icmp {
    pub(crate) kind: u8,
    pub(crate) code: u8,
    pub(crate) rest: [u8; 4],
    pub(crate) body: Vec<u8>,
}

/// One's complement addition of 16-bit words, RFC 1071; an odd last byte is the high half of a word.
fn add(sum: u16, bytes: &[u8]) -> u16 {
    let words = bytes.chunks(2).map(|pair| u16::from_be_bytes([pair[0], *pair.get(1).unwrap_or(&0)]));
    words.fold(sum, |sum, word| {
        let (sum, carry) = sum.overflowing_add(word);
        sum + u16::from(carry)
    })
}

/// The checksum of these bytes after a sum already begun.
pub(crate) fn checksum(begun: u16, bytes: &[u8]) -> u16 {
    !add(begun, bytes)
}

fn address_bytes(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(v4) => v4.octets().to_vec(),
        IpAddr::V6(v6) => v6.octets().to_vec(),
    }
}

impl Content {
    fn protocol(&self, v6: bool) -> u8 {
        match self {
            Self::Tcp(_) => 6,
            Self::Udp(_) => 17,
            Self::Icmp(_) if v6 => 58,
            Self::Icmp(_) => 1,
            Self::Other { protocol, .. } => *protocol,
        }
    }
}

impl Packet {
    /// A TCP packet with everything else as a usual stack has it.
    pub(crate) fn tcp(macs: (Mac, Mac), addresses: (IpAddr, IpAddr), tcp: Tcp) -> Self {
        Self::new(macs, addresses, Content::Tcp(tcp))
    }

    /// From, to; from, to.
    pub(crate) fn new(macs: (Mac, Mac), addresses: (IpAddr, IpAddr), content: Content) -> Self {
        Self {
            to_mac: macs.1,
            from_mac: macs.0,
            source: addresses.0,
            destination: addresses.1,
            hops: 64,
            traffic_class: 0,
            identification: 0x1234,
            fragment: DONT_FRAGMENT,
            flow_label: 0x4711,
            options: Vec::new(),
            extension: None,
            content,
            trailer: Vec::new(),
        }
    }

    /// The same packet with its TCP part changed.
    pub(crate) fn with_tcp(mut self, change: impl FnOnce(&mut Tcp)) -> Self {
        change(self.tcp_mut());
        self
    }

    /// The same packet with other ports.
    pub(crate) fn with_ports(mut self, source: u16, destination: u16) -> Self {
        match &mut self.content {
            Content::Tcp(tcp) => (tcp.source_port, tcp.destination_port) = (source, destination),
            Content::Udp(udp) => (udp.source_port, udp.destination_port) = (source, destination),
            other => panic!("no ports: {other:?}"),
        }
        self
    }

    /// The same packet with its UDP part changed.
    pub(crate) fn with_udp(mut self, change: impl FnOnce(&mut Udp)) -> Self {
        match &mut self.content {
            Content::Udp(udp) => change(udp),
            other => panic!("no datagram: {other:?}"),
        }
        self
    }

    pub(crate) fn tcp_mut(&mut self) -> &mut Tcp {
        match &mut self.content {
            Content::Tcp(tcp) => tcp,
            other => panic!("no TCP packet: {other:?}"),
        }
    }

    fn is_v6(&self) -> bool {
        self.source.is_ipv6()
    }

    /// Bytes of the IP header, extension header included.
    pub(crate) fn header_bytes(&self) -> usize {
        let extension = if self.extension.is_some() { 2 } else { 0 };
        (if self.is_v6() { 40 } else { 20 }) + extension + self.options.len()
    }

    /// The sum over the pseudo header, for content of this length.
    fn pseudo_sum(&self, protocol: u8, content_bytes: usize) -> u16 {
        let length = u32::try_from(content_bytes).expect("packets are small").to_be_bytes();
        let sum = add(add(0, &address_bytes(self.source)), &address_bytes(self.destination));
        add(add(sum, &length), &[0, protocol])
    }

    /// UDP's checksum as it must be.
    pub(crate) fn content_checksum(&self) -> u16 {
        let bytes = self.content_bytes();
        u16::from_be_bytes([bytes[6], bytes[7]])
    }

    /// TCP's checksum as it must be.
    pub(crate) fn tcp_checksum(&self) -> u16 {
        let bytes = self.content_bytes();
        u16::from_be_bytes([bytes[16], bytes[17]])
    }

    /// The IPv4 header's checksum as it must be.
    pub(crate) fn ipv4_checksum(&self) -> u16 {
        let bytes = self.ip_bytes();
        u16::from_be_bytes([bytes[10], bytes[11]])
    }

    fn content_bytes(&self) -> Vec<u8> {
        match &self.content {
            Content::Tcp(tcp) => {
                let mut bytes = tcp.bytes_without_checksum();
                let sum = checksum(self.pseudo_sum(6, bytes.len()), &bytes);
                let sum =
                    if tcp.checksum_error == 0 { sum } else { add(sum, &tcp.checksum_error.to_be_bytes()) };
                bytes[16..18].copy_from_slice(&sum.to_be_bytes());
                bytes
            }
            Content::Udp(udp) => {
                let mut bytes = udp.bytes_without_checksum();
                if udp.has_checksum {
                    let sum = checksum(self.pseudo_sum(17, bytes.len()), &bytes);
                    // Zero would say that there is none: RFC 768.
                    let sum = if sum == 0 { 0xffff } else { sum };
                    bytes[6..8].copy_from_slice(&sum.to_be_bytes());
                }
                bytes
            }
            Content::Icmp(icmp) => {
                let mut bytes = vec![icmp.kind, icmp.code, 0, 0];
                bytes.extend(icmp.rest);
                bytes.extend(&icmp.body);
                // Only ICMPv6's checksum covers addresses.
                let begun = if self.is_v6() { self.pseudo_sum(58, bytes.len()) } else { 0 };
                let sum = checksum(begun, &bytes);
                bytes[2..4].copy_from_slice(&sum.to_be_bytes());
                bytes
            }
            Content::Other { bytes, .. } => bytes.clone(),
        }
    }

    /// The packet from its IP header on.
    pub(crate) fn ip_bytes(&self) -> Vec<u8> {
        let content = self.content_bytes();
        let length = self.header_bytes() + content.len();
        let mut bytes = if self.is_v6() { self.ipv6_header(length) } else { self.ipv4_header(length) };
        bytes.extend(content);
        bytes
    }

    fn ipv4_header(&self, length: usize) -> Vec<u8> {
        let words = u8::try_from(self.header_bytes() / 4).expect("options are whole words");
        let mut header = vec![0x40 | words, self.traffic_class];
        header.extend(u16::try_from(length).expect("packets are small").to_be_bytes());
        header.extend(self.identification.to_be_bytes());
        header.extend(self.fragment.to_be_bytes());
        header.extend([self.hops, self.content.protocol(false), 0, 0]);
        header.extend(address_bytes(self.source));
        header.extend(address_bytes(self.destination));
        header.extend(&self.options);
        let sum = checksum(0, &header);
        header[10..12].copy_from_slice(&sum.to_be_bytes());
        header
    }

    fn ipv6_header(&self, length: usize) -> Vec<u8> {
        let protocol = self.content.protocol(true);
        let first = 6 << 28 | u32::from(self.traffic_class) << 20 | self.flow_label;
        let mut header = first.to_be_bytes().to_vec();
        header.extend(u16::try_from(length - 40).expect("packets are small").to_be_bytes());
        header.extend([self.extension.unwrap_or(protocol), self.hops]);
        header.extend(address_bytes(self.source));
        header.extend(address_bytes(self.destination));
        if self.extension.is_some() {
            let eights = u8::try_from((self.options.len() + 2) / 8 - 1).expect("extension headers are small");
            header.extend([protocol, eights]);
            header.extend(&self.options);
        }
        header
    }

    /// The whole frame.
    pub(crate) fn frame(&self) -> Vec<u8> {
        let ether_type = if self.is_v6() { 0x86dd } else { 0x0800 };
        let mut frame = ethernet(self.from_mac, self.to_mac, ether_type, &self.ip_bytes());
        frame.extend(&self.trailer);
        frame
    }
}

impl Udp {
    fn bytes_without_checksum(&self) -> Vec<u8> {
        let length = i16::try_from(8 + self.payload.len()).expect("datagrams are small") + self.length_error;
        let mut bytes = Vec::new();
        bytes.extend(self.source_port.to_be_bytes());
        bytes.extend(self.destination_port.to_be_bytes());
        bytes.extend(length.to_be_bytes());
        bytes.extend([0, 0]);
        bytes.extend(&self.payload);
        bytes
    }
}

impl Tcp {
    fn bytes_without_checksum(&self) -> Vec<u8> {
        let words = u8::try_from(5 + self.options.len() / 4).expect("options are whole words");
        let mut bytes = Vec::new();
        bytes.extend(self.source_port.to_be_bytes());
        bytes.extend(self.destination_port.to_be_bytes());
        bytes.extend(self.sequence.to_be_bytes());
        bytes.extend(self.acknowledgement.to_be_bytes());
        bytes.extend([words << 4 | self.reserved, self.flags]);
        bytes.extend(self.window.to_be_bytes());
        bytes.extend([0, 0]);
        bytes.extend(self.urgent.to_be_bytes());
        bytes.extend(&self.options);
        bytes.extend(&self.payload);
        bytes
    }
}

/// An Ethernet frame of any kind.
pub(crate) fn ethernet(from: Mac, to: Mac, ether_type: u16, content: &[u8]) -> Vec<u8> {
    let mut frame = [to, from].concat();
    frame.extend(ether_type.to_be_bytes());
    frame.extend(content);
    frame
}

/// A frame with one byte replaced: what a sender out of order sends.
pub(crate) fn with_byte(mut frame: Vec<u8>, at: usize, value: u8) -> Vec<u8> {
    frame[at] = value;
    frame
}

#[test]
fn checksums_of_published_packets_come_out_as_published() {
    // The example of RFC 1071 §3, and a UDP header's worth of IPv4 that many textbooks print.
    assert_eq!(checksum(0, &[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7]), !0xddf2);
    let header = [0x45, 0, 0, 0x73, 0, 0, 0x40, 0, 0x40, 0x11, 0, 0, 0xc0, 0xa8, 0, 1, 0xc0, 0xa8, 0, 0xc7];
    assert_eq!(checksum(0, &header), 0xb861);
}
