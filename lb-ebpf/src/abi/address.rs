//! One address type for both families.

use bytemuck::{Pod, Zeroable};
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// An IPv6 address, or an IPv4 one in its IPv4-mapped form (`::ffff:a.b.c.d`, RFC 4291 §2.5.5.2), so
/// that both families share tables. Network byte order.
#[repr(C, align(4))]
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Pod, Zeroable)]
pub struct Address([u8; 16]);

impl Address {
    /// No address at all: `::`.
    pub const NONE: Self = Self::from_v6([0; 16]);

    /// The IPv4 address whose bytes stand in a header.
    #[inline(always)]
    pub const fn from_v4(bytes: [u8; 4]) -> Self {
        Self([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, bytes[0], bytes[1], bytes[2], bytes[3]])
    }

    /// The IPv6 address whose bytes stand in a header.
    #[inline(always)]
    pub const fn from_v6(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// All 16 bytes, as an IPv6 header has them.
    #[inline(always)]
    pub const fn v6(&self) -> [u8; 16] {
        self.0
    }

    /// All 16 bytes, where they are.
    #[inline(always)]
    pub const fn bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// All of it in words, as they lie in memory.
    #[inline(always)]
    pub fn words(&self) -> &[u32; 4] {
        bytemuck::cast_ref(self)
    }

    /// The last four bytes: the address itself where it is an IPv4 one.
    #[inline(always)]
    pub const fn v4(&self) -> [u8; 4] {
        [self.0[12], self.0[13], self.0[14], self.0[15]]
    }

    /// Equality in words: the comparison of arrays becomes a library call, which BPF does not have.
    #[inline(always)]
    pub const fn is(&self, other: &Self) -> bool {
        let (a, b) = (&self.0, &other.0);
        let mut at = 0;
        let mut difference = 0;
        while at < 16 {
            difference |= u32::from_ne_bytes([a[at], a[at + 1], a[at + 2], a[at + 3]])
                ^ u32::from_ne_bytes([b[at], b[at + 1], b[at + 2], b[at + 3]]);
            at += 4;
        }
        difference == 0
    }

    /// Whether it is an IPv4 address.
    #[inline(always)]
    pub fn is_mapped_v4(&self) -> bool {
        let words = self.words();
        words[0] | words[1] | (words[2] ^ 0xffff_u32.to_be()) == 0
    }

    /// The last two bytes, which place an address in the VIP filter.
    #[inline(always)]
    pub const fn last_bytes(&self) -> [u8; 2] {
        [self.0[14], self.0[15]]
    }
}

impl From<IpAddr> for Address {
    fn from(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(v4) => Self::from_v4(v4.octets()),
            IpAddr::V6(v6) => Self::from_v6(v6.octets()),
        }
    }
}

impl From<Address> for IpAddr {
    fn from(address: Address) -> Self {
        let v6 = Ipv6Addr::from(address.0);
        match v6.to_ipv4_mapped() {
            Some(v4) => IpAddr::V4(Ipv4Addr::from(v4.octets())),
            None => IpAddr::V6(v6),
        }
    }
}
