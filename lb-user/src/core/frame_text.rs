//! A frame in a line of words, for people who look at packets going by.

use lb_ebpf::wire::{
    ETHER_TYPE_IPV4, ETHER_TYPE_IPV6, Ethernet, IpHeader, Ipv4, Ipv6, PROTOCOL_ICMP, PROTOCOL_ICMPV6,
    PROTOCOL_TCP, PROTOCOL_UDP, Tcp,
};
use std::net::{IpAddr, SocketAddr};

/// TCP's control bits with their letters, as packet sniffers have them.
const FLAGS: [(u8, char); 8] =
    [(0x02, 'S'), (0x01, 'F'), (0x04, 'R'), (0x08, 'P'), (0x10, '.'), (0x20, 'U'), (0x40, 'E'), (0x80, 'W')];

/// `10.90.0.10:4711 > 10.80.0.100:80 tcp [S]`, or as much of that as the frame tells.
pub fn summary(frame: &[u8]) -> String {
    let Some(ethernet) = take::<Ethernet>(frame, 0) else { return "no Ethernet header".to_owned() };
    let at = size_of::<Ethernet>();
    match ethernet.ether_type {
        ETHER_TYPE_IPV4 => match take::<Ipv4>(frame, at) {
            Some(ip) => packet(&ip, frame, at + usize::from(ip.version_ihl & 0x0f) * 4),
            None => "IPv4, cut short".to_owned(),
        },
        ETHER_TYPE_IPV6 => match take::<Ipv6>(frame, at) {
            Some(ip) => packet(&ip, frame, at + size_of::<Ipv6>()),
            None => "IPv6, cut short".to_owned(),
        },
        [high, low] => format!("EtherType {high:02x}{low:02x}"),
    }
}

fn packet<I: IpHeader>(ip: &I, frame: &[u8], content_at: usize) -> String {
    let (source, destination) = (IpAddr::from(ip.source()), IpAddr::from(ip.destination()));
    let ports = || {
        let [a, b, c, d] = take::<[u8; 4]>(frame, content_at)?;
        Some((u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d])))
    };
    let ends = match ports() {
        Some((from, to)) if matches!(ip.protocol(), PROTOCOL_TCP | PROTOCOL_UDP) => {
            format!("{} > {}", SocketAddr::new(source, from), SocketAddr::new(destination, to))
        }
        _ => format!("{source} > {destination}"),
    };
    let protocol = match ip.protocol() {
        PROTOCOL_TCP => {
            let flags = take::<Tcp>(frame, content_at).map_or(0, |tcp| tcp.flags);
            let letters: String =
                FLAGS.iter().filter(|(bit, _)| flags & bit != 0).map(|(_, letter)| letter).collect();
            format!("tcp [{letters}]")
        }
        PROTOCOL_UDP => "udp".to_owned(),
        PROTOCOL_ICMP | PROTOCOL_ICMPV6 => {
            let [kind, code] = take::<[u8; 2]>(frame, content_at).unwrap_or_default();
            format!("icmp type {kind} code {code}")
        }
        other => format!("protocol {other}"),
    };
    format!("{ends} {protocol}")
}

/// A value at that offset of a frame.
fn take<T: bytemuck::AnyBitPattern>(frame: &[u8], at: usize) -> Option<T> {
    let bytes = frame.get(at..at.checked_add(size_of::<T>())?)?;
    bytemuck::try_pod_read_unaligned(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SYN: &[u8] = &[
        2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 8, 0, 0x45, 0, 0, 40, 0, 0, 0x40, 0, 64, 6, 0, 0, 10, 90, 0, 10,
        10, 80, 0, 100, 0x12, 0x67, 0, 80, 0, 0, 0, 1, 0, 0, 0, 0, 0x50, 0x12, 0, 0, 0, 0, 0, 0,
    ];

    #[test]
    fn a_segment_has_its_ends_and_flags() {
        assert_eq!(summary(SYN), "10.90.0.10:4711 > 10.80.0.100:80 tcp [S.]");
    }

    #[test]
    fn what_is_cut_short_is_told_as_far_as_it_goes() {
        assert_eq!(summary(&SYN[..36]), "10.90.0.10 > 10.80.0.100 tcp []");
        assert_eq!(summary(&SYN[..20]), "IPv4, cut short");
        assert_eq!(summary(&SYN[..6]), "no Ethernet header");
        assert_eq!(summary(&[0; 14]), "EtherType 0000");
    }
}
