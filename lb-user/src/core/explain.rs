//! The packet that `lbctl explain` asks about, and what became of it.
//!
//! Owns the bytes of that packet. Knows nothing of maps.

use std::net::{IpAddr, SocketAddr};

const ETHERNET_BYTES: usize = 14;
const TCP_BYTES: usize = 20;
const TCP: u8 = 6;
const HOPS: u8 = 64;

/// What kind of segment is asked about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum SegmentKind {
    /// It opens a connection.
    Syn = 0x02,
    /// It belongs to one.
    Ack = 0x10,
    /// It ends one.
    Fin = 0x11,
    /// It resets one.
    Reset = 0x04,
}

/// A segment without data, from one address to another of the same family.
pub fn packet(from: SocketAddr, to: SocketAddr, kind: SegmentKind) -> Option<Vec<u8>> {
    let mut bytes = vec![0; ETHERNET_BYTES];
    let tcp_bytes = TCP_BYTES as u8;
    match (from.ip(), to.ip()) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            bytes[12..].copy_from_slice(&[0x08, 0x00]);
            bytes.extend([0x45, 0, 0, 20 + tcp_bytes, 0, 0, 0x40, 0, HOPS, TCP, 0, 0]);
            bytes.extend(source.octets());
            bytes.extend(destination.octets());
        }
        (IpAddr::V6(source), IpAddr::V6(destination)) => {
            bytes[12..].copy_from_slice(&[0x86, 0xdd]);
            bytes.extend([0x60, 0, 0, 0, 0, tcp_bytes, TCP, HOPS]);
            bytes.extend(source.octets());
            bytes.extend(destination.octets());
        }
        _ => return None,
    }
    bytes.extend(from.port().to_be_bytes());
    bytes.extend(to.port().to_be_bytes());
    bytes.extend([0; 8]);
    bytes.extend([0x50, kind as u8, 0xff, 0xff, 0, 0, 0, 0]);
    Some(bytes)
}

/// Where a packet goes, as its headers say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Addressed {
    /// Its source.
    pub from: SocketAddr,
    /// Its destination.
    pub to: SocketAddr,
    /// The MAC address it is sent to.
    pub next_hop: [u8; 6],
}

/// Reads the headers of a packet like those that [`packet`] makes.
pub fn read(bytes: &[u8]) -> Option<Addressed> {
    let next_hop = bytes.get(..6)?.try_into().ok()?;
    let port = |at: usize| Some(u16::from_be_bytes(bytes.get(at..at + 2)?.try_into().ok()?));
    let (source, destination, tcp) = match bytes.get(12..14)? {
        [0x08, 0x00] => {
            let address = |at: usize| -> Option<IpAddr> {
                Some(IpAddr::from(<[u8; 4]>::try_from(bytes.get(at..at + 4)?).ok()?))
            };
            (address(26)?, address(30)?, 34)
        }
        [0x86, 0xdd] => {
            let address = |at: usize| -> Option<IpAddr> {
                Some(IpAddr::from(<[u8; 16]>::try_from(bytes.get(at..at + 16)?).ok()?))
            };
            (address(22)?, address(38)?, 54)
        }
        _ => return None,
    };
    let (from, to) = (SocketAddr::new(source, port(tcp)?), SocketAddr::new(destination, port(tcp + 2)?));
    Some(Addressed { from, to, next_hop })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packet_says_where_it_was_made_to_go() {
        for (from, to) in [("198.51.100.7:4711", "10.80.0.100:80"), ("[2001:db8::7]:4711", "[fd80::100]:443")]
        {
            let (from, to) = (from.parse().expect("an address"), to.parse().expect("an address"));
            let bytes = packet(from, to, SegmentKind::Syn).expect("one family");
            assert_eq!(read(&bytes), Some(Addressed { from, to, next_hop: [0; 6] }));
            assert_eq!(read(&bytes[..bytes.len() - 20]), None, "cut short");
        }
    }

    #[test]
    fn two_families_make_no_packet() {
        let (v4, v6) = ("10.0.0.1:1".parse().expect("an address"), "[::1]:1".parse().expect("an address"));
        assert_eq!(packet(v4, v6, SegmentKind::Ack), None);
    }
}
