//! The frames that tell a network which host now has an address: for IPv4 an ARP announcement (RFC 5227,
//! section 2.3), for IPv6 an unsolicited Neighbor Advertisement (RFC 4861, section 7.2.6).
//!
//! Owns their bytes. Never sends them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

const BROADCAST: [u8; 6] = [0xff; 6];
/// The Ethernet address of the group of all nodes, ff02::1.
const ALL_NODES_MAC: [u8; 6] = [0x33, 0x33, 0, 0, 0, 1];
const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
const ICMPV6: u8 = 58;
/// A Neighbor Advertisement with the option for the sender's Ethernet address.
const ADVERTISEMENT_BYTES: u8 = 32;
/// Router, as this host forwards; not solicited; override what caches hold.
const ROUTER_AND_OVERRIDE: u8 = 0b1010_0000;

/// The Ethernet frame that says `address` is at `mac`.
pub fn announcement(mac: [u8; 6], address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => arp(mac, address),
        IpAddr::V6(address) => advertisement(mac, address),
    }
}

/// A request for the own address: everybody hears it, nobody answers, and caches take the sender over.
fn arp(mac: [u8; 6], address: Ipv4Addr) -> Vec<u8> {
    let mut frame = ethernet(BROADCAST, mac, 0x0806);
    // Ethernet, IPv4, address lengths 6 and 4, request.
    frame.extend([0, 1, 0x08, 0, 6, 4, 0, 1]);
    frame.extend(mac);
    frame.extend(address.octets());
    frame.extend([0; 6]);
    frame.extend(address.octets());
    frame
}

fn advertisement(mac: [u8; 6], address: Ipv6Addr) -> Vec<u8> {
    let mut message = vec![136, 0, 0, 0, ROUTER_AND_OVERRIDE, 0, 0, 0];
    message.extend(address.octets());
    // Option: target link-layer address, 1 × 8 bytes.
    message.extend([2, 1]);
    message.extend(mac);
    let [high, low] = checksum(address, ALL_NODES, &message);
    message[2] = high;
    message[3] = low;

    let mut frame = ethernet(ALL_NODES_MAC, mac, 0x86dd);
    frame.extend([0x60, 0, 0, 0, 0, ADVERTISEMENT_BYTES, ICMPV6, 255]);
    frame.extend(address.octets());
    frame.extend(ALL_NODES.octets());
    frame.extend(message);
    frame
}

fn ethernet(to: [u8; 6], from: [u8; 6], ether_type: u16) -> Vec<u8> {
    [&to[..], &from, &ether_type.to_be_bytes()].concat()
}

/// ICMPv6's checksum, which covers the addresses too (RFC 8200, section 8.1).
fn checksum(from: Ipv6Addr, to: Ipv6Addr, message: &[u8]) -> [u8; 2] {
    let covered = [&from.octets()[..], &to.octets(), &[0, ADVERTISEMENT_BYTES, 0, ICMPV6], message].concat();
    let mut sum: u32 = covered.chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(pair[1])).sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    (!(sum as u16)).to_be_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAC: [u8; 6] = [0x02, 0x42, 0x0a, 0x50, 0x00, 0x02];

    fn hex(text: &str) -> Vec<u8> {
        let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
        let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).expect("ASCII"), 16);
        digits.chunks(2).map(|pair| byte(pair).expect("hex digits")).collect()
    }

    #[test]
    fn an_ipv4_address_is_announced_by_a_broadcast_request_for_itself() {
        let frame = announcement(MAC, "10.80.0.100".parse().expect("an address"));
        let expected = "ffffffffffff 02420a500002 0806  0001 0800 06 04 0001
                        02420a500002 0a500064  000000000000 0a500064";
        assert_eq!(frame, hex(expected));
    }

    #[test]
    fn an_ipv6_address_is_announced_by_an_advertisement_to_all_nodes_that_overrides() {
        let frame = announcement(MAC, "fd80::100".parse().expect("an address"));
        let expected = "333300000001 02420a500002 86dd  60000000 0020 3a ff
                        fd800000000000000000000000000100 ff020000000000000000000000000001
                        88 00 cd09 a0000000 fd800000000000000000000000000100 02 01 02420a500002";
        assert_eq!(frame, hex(expected));
    }

    #[test]
    fn any_advertisement_sums_up_to_all_ones() {
        for address in ["fd80::1", "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff", "::2"] {
            let address: Ipv6Addr = address.parse().expect("an address");
            let frame = announcement(MAC, address.into());
            assert_eq!(checksum(address, ALL_NODES, &frame[54..]), [0, 0], "{address}");
        }
    }
}
