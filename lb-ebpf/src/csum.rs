//! Internet checksums: incremental updates (RFC 1624) and small full sums (RFC 1071).
//!
//! Words are taken in the host's order throughout: a one's complement sum is the same in either order
//! (RFC 1071 §2(B)), so no byte is ever swapped.

use bytemuck::{Pod, Zeroable};

/// A change to a one's complement sum: the sum of `!old + new` over all words that changed.
#[repr(transparent)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Pod, Zeroable)]
pub struct Delta(u16);

#[inline(always)]
const fn fold(sum: u64) -> u16 {
    let once = (sum & 0xffff) + (sum >> 16);
    let twice = (once & 0xffff) + (once >> 16);
    ((twice & 0xffff) + (twice >> 16)) as u16
}

impl Delta {
    /// No change.
    pub const ZERO: Self = Self(0);

    /// Also replaces `old` by `new`. `N` is even and the field begins at an even offset of the sum.
    #[inline(always)]
    pub const fn replace<const N: usize>(self, old: &[u8; N], new: &[u8; N]) -> Self {
        let mut sum = self.0 as u64;
        let mut at = 0;
        // Words of 32 bits are two of 16: 2^16 is 1 in this arithmetic (RFC 1071 §2(C)).
        while at + 3 < N {
            sum += !u32::from_ne_bytes([old[at], old[at + 1], old[at + 2], old[at + 3]]) as u64;
            sum += u32::from_ne_bytes([new[at], new[at + 1], new[at + 2], new[at + 3]]) as u64;
            at += 4;
        }
        while at + 1 < N {
            sum += !u16::from_ne_bytes([old[at], old[at + 1]]) as u64;
            sum += u16::from_ne_bytes([new[at], new[at + 1]]) as u64;
            at += 2;
        }
        Self(fold((sum & 0xffff_ffff) + (sum >> 32)))
    }

    /// The change back.
    #[inline(always)]
    pub const fn inverse(self) -> Self {
        Self(!self.0)
    }

    /// The same change to a field that begins at an odd offset.
    #[inline(always)]
    pub const fn exchanged(self) -> Self {
        Self(self.0.swap_bytes())
    }

    /// Both changes.
    #[inline(always)]
    pub const fn and(self, other: Self) -> Self {
        Self(fold(self.0 as u64 + other.0 as u64))
    }

    /// The checksum field after the change: `HC' = ~(~HC + ~m + m')`, RFC 1624 §3 equation 3.
    #[inline(always)]
    pub const fn apply(self, checksum: [u8; 2]) -> [u8; 2] {
        let sum = !u16::from_ne_bytes(checksum) as u64 + self.0 as u64;
        (!fold(sum)).to_ne_bytes()
    }
}

/// A running one's complement sum over whole fields.
#[derive(Clone, Copy, Default)]
pub struct Sum(u64);

impl Sum {
    /// Adds a field of an even number of bytes at an even offset.
    #[inline(always)]
    pub fn plus<const N: usize>(mut self, bytes: &[u8; N]) -> Self {
        let mut at = 0;
        while at + 1 < N {
            self.0 += u16::from_ne_bytes([bytes[at], bytes[at + 1]]) as u64;
            at += 2;
        }
        self
    }

    /// The checksum field for what was summed.
    #[inline(always)]
    pub const fn finish(self) -> [u8; 2] {
        (!fold(self.0)).to_ne_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::vec::Vec;

    fn full(bytes: &[u8]) -> [u8; 2] {
        let sum: u64 = bytes.chunks_exact(2).map(|w| u64::from(u16::from_be_bytes([w[0], w[1]]))).sum();
        let mut sum = sum;
        while sum > 0xffff {
            sum = (sum & 0xffff) + (sum >> 16);
        }
        (!(sum as u16)).to_be_bytes()
    }

    /// As a receiver judges it: the sum over data and checksum is all ones.
    fn verifies(bytes: &[u8], checksum: [u8; 2]) -> bool {
        let mut all = bytes.to_vec();
        all.extend_from_slice(&checksum);
        full(&all) == [0, 0]
    }

    #[test]
    fn rfc_1624_section_4_example_gives_zero_not_minus_zero() {
        // HC = 0xDD2F, m = 0x5555, m' = 0x3285 must give 0x0000.
        let delta = Delta::ZERO.replace(&[0x55, 0x55], &[0x32, 0x85]);
        assert_eq!(delta.apply([0xdd, 0x2f]), [0x00, 0x00]);
    }

    #[test]
    fn full_sum_of_a_known_ipv4_header_is_right() {
        let header: [u8; 20] =
            [0x45, 0, 0, 0x73, 0, 0, 0x40, 0, 0x40, 0x11, 0, 0, 0xc0, 0xa8, 0, 1, 0xc0, 0xa8, 0, 0xc7];
        assert_eq!(Sum::default().plus(&header).finish(), [0xb8, 0x61]);
    }

    proptest! {
        #[test]
        fn incremental_update_verifies_as_a_receiver_would(
            mut data in proptest::collection::vec(any::<u8>(), 64),
            new_address in any::<[u8; 16]>(),
            new_port in any::<[u8; 2]>(),
        ) {
            let checksum = full(&data);
            prop_assert!(verifies(&data, checksum));
            let mut old_address = [0u8; 16];
            old_address.copy_from_slice(&data[8..24]);
            let old_port = [data[30], data[31]];
            let delta = Delta::ZERO.replace(&old_address, &new_address).and(Delta::ZERO.replace(&old_port, &new_port));
            data[8..24].copy_from_slice(&new_address);
            data[30..32].copy_from_slice(&new_port);
            prop_assert!(verifies(&data, delta.apply(checksum)));
        }

        #[test]
        fn a_field_at_an_odd_offset_verifies_with_its_change_exchanged(
            mut data in proptest::collection::vec(any::<u8>(), 64), new in any::<[u8; 4]>()
        ) {
            let checksum = full(&data);
            let old = [data[7], data[8], data[9], data[10]];
            data[7..11].copy_from_slice(&new);
            prop_assert!(verifies(&data, Delta::ZERO.replace(&old, &new).exchanged().apply(checksum)));
        }

        #[test]
        fn a_change_and_its_inverse_leave_the_checksum_alone(
            old in any::<[u8; 16]>(), new in any::<[u8; 16]>(), checksum in 1u16..0xffff
        ) {
            let delta = Delta::ZERO.replace(&old, &new);
            let checksum = checksum.to_be_bytes();
            prop_assert_eq!(delta.inverse().apply(delta.apply(checksum)), checksum);
        }

        #[test]
        fn full_sum_agrees_with_the_reference(data in any::<[u8; 32]>()) {
            let reference: Vec<u8> = full(&data).to_vec();
            prop_assert_eq!(Sum::default().plus(&data).finish().to_vec(), reference);
        }
    }
}
