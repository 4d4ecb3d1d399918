//! Headers as they stand on the wire, and what their fields mean.
//!
//! All are byte arrays with an alignment of 2: a frame begins at an even address, and an Ethernet header
//! has 14 bytes, so every header of one begins at an even address too and is read two bytes at a time.
//! Checks that need no packet memory are here and are tested on the host.

mod flags;
mod ip;

pub use flags::TcpFlags;
pub use ip::{IpHeader, Transport, is_mapped};

use crate::outcome::Outcome;
use bytemuck::{Pod, Zeroable};

/// IP protocol number of ICMP.
pub const PROTOCOL_ICMP: u8 = 1;
/// IP protocol number of TCP.
pub const PROTOCOL_TCP: u8 = 6;
/// IP protocol number of UDP.
pub const PROTOCOL_UDP: u8 = 17;
/// IP protocol number of ICMPv6.
pub const PROTOCOL_ICMPV6: u8 = 58;
/// EtherType of ARP.
pub const ETHER_TYPE_ARP: [u8; 2] = [0x08, 0x06];
/// EtherType of IPv4.
pub const ETHER_TYPE_IPV4: [u8; 2] = [0x08, 0x00];
/// EtherType of IPv6.
pub const ETHER_TYPE_IPV6: [u8; 2] = [0x86, 0xdd];
/// EtherTypes of a VLAN tag: 802.1Q and 802.1ad.
pub const ETHER_TYPES_VLAN: [[u8; 2]; 2] = [[0x81, 0x00], [0x88, 0xa8]];
/// Bytes of an Ethernet header.
pub const ETHERNET_BYTES: usize = 14;

/// Ethernet II header.
#[repr(C, align(2))]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
pub struct Ethernet {
    /// Destination MAC.
    pub destination: [u8; 6],
    /// Source MAC.
    pub source: [u8; 6],
    /// EtherType.
    pub ether_type: [u8; 2],
}

/// IPv4 header without options. RFC 791 §3.1.
#[repr(C, align(2))]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
pub struct Ipv4 {
    /// Version (4 bits) and header length in words (4 bits).
    pub version_ihl: u8,
    /// DSCP and ECN.
    pub traffic_class: u8,
    /// Header and payload, in bytes.
    pub total_length: [u8; 2],
    /// Identification.
    pub identification: [u8; 2],
    /// Flags (3 bits) and fragment offset (13 bits).
    pub fragment: [u8; 2],
    /// Time to live.
    pub ttl: u8,
    /// Protocol of the payload.
    pub protocol: u8,
    /// Header checksum.
    pub checksum: [u8; 2],
    /// Source address.
    pub source: [u8; 4],
    /// Destination address.
    pub destination: [u8; 4],
}

impl Ipv4 {
    /// Whether the header agrees with itself and with the bytes that came (from the IP header on), and
    /// is of the plain kind that services take.
    #[inline(always)]
    pub const fn check(&self, ip_bytes: u32) -> Result<(), Outcome> {
        let header_bytes = (self.version_ihl & 0x0f) as u32 * 4;
        let total_length = u16::from_be_bytes(self.total_length) as u32;
        if self.version_ihl >> 4 != 4
            || header_bytes < 20
            || total_length < header_bytes
            || total_length > ip_bytes
        {
            return Err(Outcome::BadIpHeader);
        }
        // More fragments to come, or not the first of them.
        if self.fragment[0] & 0x3f != 0 || self.fragment[1] != 0 {
            return Err(Outcome::Fragment);
        }
        if header_bytes != 20 {
            return Err(Outcome::IpOptions);
        }
        Ok(())
    }
}

/// IPv6 header. RFC 8200 §3.
#[repr(C, align(2))]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
pub struct Ipv6 {
    /// Version (4 bits), traffic class (8), flow label (20).
    pub version_class_label: [u8; 4],
    /// Bytes after this header.
    pub payload_length: [u8; 2],
    /// Protocol of what follows.
    pub next_header: u8,
    /// Hop limit.
    pub hop_limit: u8,
    /// Source address.
    pub source: [u8; 16],
    /// Destination address.
    pub destination: [u8; 16],
}

impl Ipv6 {
    /// As [`Ipv4::check`].
    #[inline(always)]
    pub const fn check(&self, ip_bytes: u32) -> Result<(), Outcome> {
        let payload_length = u16::from_be_bytes(self.payload_length) as u32;
        if self.version_class_label[0] >> 4 != 6 || payload_length + 40 > ip_bytes {
            return Err(Outcome::BadIpHeader);
        }
        match self.next_header {
            44 => Err(Outcome::Fragment),
            // Hop-by-hop, routing, ESP, AH, destination options, mobility, HIP, shim6.
            0 | 43 | 50 | 51 | 60 | 135 | 139 | 140 => Err(Outcome::Ipv6Extension),
            _ => Ok(()),
        }
    }
}

/// TCP header without options. RFC 9293 §3.1.
#[repr(C, align(2))]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
pub struct Tcp {
    /// Source port.
    pub source_port: [u8; 2],
    /// Destination port.
    pub destination_port: [u8; 2],
    /// Sequence number.
    pub sequence: [u8; 4],
    /// Acknowledgement number.
    pub acknowledgement: [u8; 4],
    /// Header length in words (4 bits), reserved.
    pub data_offset: u8,
    /// Control bits.
    pub flags: u8,
    /// Receive window.
    pub window: [u8; 2],
    /// Checksum.
    pub checksum: [u8; 2],
    /// Urgent pointer.
    pub urgent: [u8; 2],
}

impl Tcp {
    /// Header length in bytes, options included.
    #[inline(always)]
    pub const fn header_bytes(&self) -> u32 {
        (self.data_offset >> 4) as u32 * 4
    }

    /// The acknowledgement that covers a segment of so many bytes, header included, with its FIN.
    #[inline(always)]
    pub const fn fin_end(&self, segment_bytes: u32) -> u32 {
        u32::from_be_bytes(self.sequence)
            .wrapping_add(segment_bytes.wrapping_sub(self.header_bytes()))
            .wrapping_add(1)
    }

    /// Whether lengths and flags make sense in a segment of this many bytes.
    #[inline(always)]
    pub const fn check(&self, segment_bytes: u32) -> Result<(), Outcome> {
        let header_bytes = self.header_bytes();
        if header_bytes < 20 || header_bytes > segment_bytes {
            return Err(Outcome::BadTcpHeader);
        }
        if TcpFlags::new(self.flags).are_sane() { Ok(()) } else { Err(Outcome::BadTcpFlags) }
    }
}

/// UDP header. RFC 768.
#[repr(C, align(2))]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
pub struct Udp {
    /// Source port.
    pub source_port: [u8; 2],
    /// Destination port.
    pub destination_port: [u8; 2],
    /// Header and payload, in bytes.
    pub length: [u8; 2],
    /// Checksum; 0 is none.
    pub checksum: [u8; 2],
}

impl Udp {
    /// Whether the length makes sense in a datagram of this many bytes.
    #[inline(always)]
    pub const fn check(&self, datagram_bytes: u32) -> Result<(), Outcome> {
        let length = u16::from_be_bytes(self.length) as u32;
        if length < 8 || length > datagram_bytes { Err(Outcome::BadUdpHeader) } else { Ok(()) }
    }
}

/// ICMP and ICMPv6 header of an error. RFC 792, RFC 4443 §2.1.
#[repr(C, align(2))]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
pub struct Icmp {
    /// Type.
    pub kind: u8,
    /// Code.
    pub code: u8,
    /// Checksum.
    pub checksum: [u8; 2],
    /// MTU or pointer, by type.
    pub rest: [u8; 4],
}

impl Icmp {
    /// Whether an ICMP type is an error about a packet that was sent: unreachable (with "fragmentation
    /// needed"), time exceeded, parameter problem.
    #[inline(always)]
    pub const fn is_error_v4(&self) -> bool {
        matches!(self.kind, 3 | 11 | 12)
    }

    /// The same for ICMPv6: all its error types are below 128, these are the ones in use.
    #[inline(always)]
    pub const fn is_error_v6(&self) -> bool {
        matches!(self.kind, 1..=4)
    }

    /// Whether an ICMPv6 type is one of Neighbor Discovery. RFC 4861 §4.
    #[inline(always)]
    pub const fn is_discovery(&self) -> bool {
        matches!(self.kind, 133..=137)
    }
}

/// The first 8 bytes of TCP or UDP, all that an ICMP error is sure to quote.
#[repr(C, align(2))]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
pub struct QuotedPorts {
    /// Source port.
    pub source_port: [u8; 2],
    /// Destination port.
    pub destination_port: [u8; 2],
    /// The first half of TCP's sequence number, or UDP's length.
    pub sequence_or_length: [u8; 2],
    /// The second half of TCP's sequence number, or UDP's checksum.
    pub sequence_or_checksum: [u8; 2],
}

/// The front of a frame that carries IP.
#[repr(C, align(2))]
#[derive(Clone, Copy)]
pub struct IpFrame<I> {
    /// Ethernet header.
    pub ethernet: Ethernet,
    /// IP header.
    pub ip: I,
}

/// The front of a frame that carries TCP.
#[repr(C, align(2))]
#[derive(Clone, Copy)]
pub struct TcpFrame<I> {
    /// Ethernet header.
    pub ethernet: Ethernet,
    /// IP header.
    pub ip: I,
    /// TCP header.
    pub tcp: Tcp,
}

/// The front of a frame that carries UDP.
#[repr(C, align(2))]
#[derive(Clone, Copy)]
pub struct UdpFrame<I> {
    /// Ethernet header.
    pub ethernet: Ethernet,
    /// IP header.
    pub ip: I,
    /// UDP header.
    pub udp: Udp,
}

/// The front of a frame that carries an ICMP error about a packet of TCP or UDP.
#[repr(C, align(2))]
#[derive(Clone, Copy)]
pub struct IcmpErrorFrame<I> {
    /// Ethernet header.
    pub ethernet: Ethernet,
    /// IP header.
    pub ip: I,
    /// ICMP header.
    pub icmp: Icmp,
    /// The IP header of the packet the error is about.
    pub quoted_ip: I,
    /// The beginning of its TCP or UDP header.
    pub quoted_ports: QuotedPorts,
}

/// A frame of ARP between Ethernet and IPv4. RFC 826.
#[repr(C, align(2))]
#[derive(Clone, Copy)]
pub struct ArpFrame {
    /// Ethernet header.
    pub ethernet: Ethernet,
    /// Kinds and lengths of addresses, what it is, and who sent it.
    pub before: [u8; 18],
    /// The MAC address that is asked for, or told to whom.
    pub target_mac: [u8; 6],
    /// The address that it is about.
    pub target: [u8; 4],
}

/// The front of a frame that asks for an IPv6 address' MAC address. RFC 4861 §4.3.
#[repr(C, align(2))]
#[derive(Clone, Copy)]
pub struct NeighbourSolicitationFrame {
    /// Ethernet header.
    pub ethernet: Ethernet,
    /// IP header.
    pub ip: Ipv6,
    /// Type, code, checksum.
    pub icmp: [u8; 4],
    /// Nothing.
    pub reserved: [u8; 4],
    /// The address that is asked for.
    pub target: [u8; 16],
}

impl NeighbourSolicitationFrame {
    /// Whether it is one.
    #[inline(always)]
    pub const fn is_one(&self) -> bool {
        const NEIGHBOUR_SOLICITATION: u8 = 135;
        self.ip.next_header == PROTOCOL_ICMPV6 && self.icmp[0] == NEIGHBOUR_SOLICITATION
    }
}

#[cfg(test)]
mod tests;
