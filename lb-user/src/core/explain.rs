//! The packet that `lbctl explain` asks about, and what became of it.
//!
//! Owns the bytes of that packet. Knows nothing of maps.

use std::net::{IpAddr, SocketAddr};

const ETHERNET_BYTES: usize = 14;
const TCP: u8 = 6;
const UDP: u8 = 17;
const HOPS: u8 = 64;

/// What kind of packet is asked about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SegmentKind {
    /// It opens a connection.
    Syn,
    /// It belongs to one.
    Ack,
    /// It ends one.
    Fin,
    /// It resets one.
    Reset,
    /// It is a datagram of UDP.
    Datagram,
}

impl SegmentKind {
    /// TCP's control bits; of a datagram, none.
    fn flags(self) -> Option<u8> {
        match self {
            Self::Syn => Some(0x02),
            Self::Ack => Some(0x10),
            Self::Fin => Some(0x11),
            Self::Reset => Some(0x04),
            Self::Datagram => None,
        }
    }
}

/// A packet without data, from one address to another of the same family.
pub fn packet(from: SocketAddr, to: SocketAddr, kind: SegmentKind) -> Option<Vec<u8>> {
    let mut content = from.port().to_be_bytes().to_vec();
    content.extend(to.port().to_be_bytes());
    let protocol = match kind.flags() {
        Some(flags) => {
            content.extend([0; 8]);
            content.extend([0x50, flags, 0xff, 0xff, 0, 0, 0, 0]);
            TCP
        }
        None => {
            content.extend([0, 8, 0, 0]);
            UDP
        }
    };
    let content_bytes = content.len() as u8;
    let mut bytes = vec![0; ETHERNET_BYTES];
    match (from.ip(), to.ip()) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            bytes[12..].copy_from_slice(&[0x08, 0x00]);
            bytes.extend([0x45, 0, 0, 20 + content_bytes, 0, 0, 0x40, 0, HOPS, protocol, 0, 0]);
            bytes.extend(source.octets());
            bytes.extend(destination.octets());
        }
        (IpAddr::V6(source), IpAddr::V6(destination)) => {
            bytes[12..].copy_from_slice(&[0x86, 0xdd]);
            bytes.extend([0x60, 0, 0, 0, 0, content_bytes, protocol, HOPS]);
            bytes.extend(source.octets());
            bytes.extend(destination.octets());
        }
        _ => return None,
    }
    bytes.extend(content);
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
            let datagram = packet(from, to, SegmentKind::Datagram).expect("one family");
            assert_eq!(read(&datagram), Some(Addressed { from, to, next_hop: [0; 6] }));
            assert_eq!(datagram.len(), bytes.len() - 12);
        }
    }

    #[test]
    fn two_families_make_no_packet() {
        let (v4, v6) = ("10.0.0.1:1".parse().expect("an address"), "[::1]:1".parse().expect("an address"));
        assert_eq!(packet(v4, v6, SegmentKind::Ack), None);
    }
}
