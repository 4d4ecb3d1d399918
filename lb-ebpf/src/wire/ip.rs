//! What the two IP headers have in common.

use super::{Ipv4, Ipv6, PROTOCOL_ICMP, PROTOCOL_ICMPV6, PROTOCOL_TCP};
use crate::abi::Address;
use crate::outcome::Outcome;

/// What a packet carries, as far as its IP header tells.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Transport {
    /// TCP, so many bytes after the IP header's first one.
    Tcp(u32),
    /// Behind an IPv6 extension header.
    Hidden,
    /// TCP, from its ninth byte on: a fragment that only an attempt to hide the flags makes (RFC 3128).
    Cut,
    /// Something else, or a later fragment.
    Other,
}

/// What the two IP headers have in common for the pipeline.
pub trait IpHeader: Copy {
    /// Length of the header in bytes.
    const BYTES: usize;
    /// ICMP's protocol number in this family.
    const PROTOCOL_ICMP: u8;
    /// See [`Ipv4::check`].
    fn check(&self, ip_bytes: u32) -> Result<(), Outcome>;
    /// Protocol of the payload.
    fn protocol(&self) -> u8;
    /// Where TCP begins, also in packets that services do not take.
    fn transport(&self) -> Transport;
    /// TTL or hop limit.
    fn hops(&self) -> u8;
    /// Whole packet from this header on, in bytes.
    fn packet_bytes(&self) -> u32;
    /// Source address.
    fn source(&self) -> Address;
    /// Destination address.
    fn destination(&self) -> Address;
    /// Last two bytes of the destination.
    fn destination_last_bytes(&self) -> [u8; 2];
    /// Last two bytes of the source.
    fn source_last_bytes(&self) -> [u8; 2];
    /// Whether the destination is an IPv6 one that stands for an IPv4 one in our tables. No such packet belongs on
    /// a wire (RFC 4942 §2.2), and none may pass for an IPv4 packet.
    fn destination_is_mapped(&self) -> bool;
}

impl IpHeader for Ipv4 {
    const BYTES: usize = 20;
    const PROTOCOL_ICMP: u8 = PROTOCOL_ICMP;
    #[inline(always)]
    fn check(&self, ip_bytes: u32) -> Result<(), Outcome> {
        self.check(ip_bytes)
    }
    #[inline(always)]
    fn protocol(&self) -> u8 {
        self.protocol
    }
    #[inline(always)]
    fn transport(&self) -> Transport {
        let fragment_offset = u16::from_be_bytes([self.fragment[0] & 0x1f, self.fragment[1]]);
        match (self.protocol, fragment_offset) {
            (PROTOCOL_TCP, 0) => Transport::Tcp((self.version_ihl & 0x0f) as u32 * 4),
            (PROTOCOL_TCP, 1) => Transport::Cut,
            _ => Transport::Other,
        }
    }
    #[inline(always)]
    fn hops(&self) -> u8 {
        self.ttl
    }
    #[inline(always)]
    fn packet_bytes(&self) -> u32 {
        u16::from_be_bytes(self.total_length) as u32
    }
    #[inline(always)]
    fn source(&self) -> Address {
        Address::from_v4(self.source)
    }
    #[inline(always)]
    fn destination(&self) -> Address {
        Address::from_v4(self.destination)
    }
    #[inline(always)]
    fn destination_last_bytes(&self) -> [u8; 2] {
        [self.destination[2], self.destination[3]]
    }
    #[inline(always)]
    fn source_last_bytes(&self) -> [u8; 2] {
        [self.source[2], self.source[3]]
    }
    #[inline(always)]
    fn destination_is_mapped(&self) -> bool {
        false
    }
}

impl IpHeader for Ipv6 {
    const BYTES: usize = 40;
    const PROTOCOL_ICMP: u8 = PROTOCOL_ICMPV6;
    #[inline(always)]
    fn check(&self, ip_bytes: u32) -> Result<(), Outcome> {
        self.check(ip_bytes)
    }
    #[inline(always)]
    fn protocol(&self) -> u8 {
        self.next_header
    }
    #[inline(always)]
    fn transport(&self) -> Transport {
        match self.next_header {
            PROTOCOL_TCP => Transport::Tcp(40),
            // As in `check`, but for ESP, which hides everything from everybody.
            0 | 43 | 44 | 51 | 60 | 135 | 139 | 140 => Transport::Hidden,
            _ => Transport::Other,
        }
    }
    #[inline(always)]
    fn hops(&self) -> u8 {
        self.hop_limit
    }
    #[inline(always)]
    fn packet_bytes(&self) -> u32 {
        u16::from_be_bytes(self.payload_length) as u32 + 40
    }
    #[inline(always)]
    fn source(&self) -> Address {
        Address::from_v6(self.source)
    }
    #[inline(always)]
    fn destination(&self) -> Address {
        Address::from_v6(self.destination)
    }
    #[inline(always)]
    fn destination_last_bytes(&self) -> [u8; 2] {
        [self.destination[14], self.destination[15]]
    }
    #[inline(always)]
    fn source_last_bytes(&self) -> [u8; 2] {
        [self.source[14], self.source[15]]
    }
    #[inline(always)]
    fn destination_is_mapped(&self) -> bool {
        is_mapped(&self.destination)
    }
}

/// Whether an IPv6 address is one that stands for an IPv4 one (RFC 4291 §2.5.5.2).
#[inline(always)]
pub const fn is_mapped(address: &[u8; 16]) -> bool {
    let a = address;
    a[10] == 0xff && a[11] == 0xff && a[0] | a[1] | a[2] | a[3] | a[4] | a[5] | a[6] | a[7] | a[8] | a[9] == 0
}
