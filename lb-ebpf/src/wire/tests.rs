use super::*;

fn ipv4() -> Ipv4 {
    Ipv4 {
        version_ihl: 0x45,
        traffic_class: 0,
        total_length: [0, 40],
        identification: [0, 1],
        fragment: [0x40, 0],
        ttl: 64,
        protocol: PROTOCOL_TCP,
        checksum: [0, 0],
        source: [10, 90, 0, 10],
        destination: [10, 80, 0, 100],
    }
}

fn ipv6() -> Ipv6 {
    Ipv6 {
        version_class_label: [0x60, 0, 0, 0],
        payload_length: [0, 20],
        next_header: PROTOCOL_TCP,
        hop_limit: 64,
        source: [0xfd; 16],
        destination: [0xfe; 16],
    }
}

#[test]
fn a_plain_header_passes_even_with_ethernet_padding_behind_it() {
    assert_eq!(ipv4().check(40), Ok(()));
    assert_eq!(ipv4().check(46), Ok(()));
    assert_eq!(ipv6().check(60), Ok(()));
}

#[test]
fn lengths_that_contradict_the_frame_are_bad_headers() {
    assert_eq!(ipv4().check(39), Err(Outcome::BadIpHeader));
    assert_eq!(Ipv4 { total_length: [0, 19], ..ipv4() }.check(40), Err(Outcome::BadIpHeader));
    assert_eq!(Ipv4 { version_ihl: 0x44, ..ipv4() }.check(40), Err(Outcome::BadIpHeader));
    assert_eq!(Ipv4 { version_ihl: 0x65, ..ipv4() }.check(40), Err(Outcome::BadIpHeader));
    assert_eq!(ipv6().check(59), Err(Outcome::BadIpHeader));
    assert_eq!(Ipv6 { version_class_label: [0x40, 0, 0, 0], ..ipv6() }.check(60), Err(Outcome::BadIpHeader));
}

#[test]
fn fragments_are_told_from_the_dont_fragment_bit() {
    assert_eq!(Ipv4 { fragment: [0x20, 0], ..ipv4() }.check(40), Err(Outcome::Fragment));
    assert_eq!(Ipv4 { fragment: [0, 1], ..ipv4() }.check(40), Err(Outcome::Fragment));
    assert_eq!(Ipv4 { fragment: [0x40, 0], ..ipv4() }.check(40), Ok(()));
    assert_eq!(Ipv6 { next_header: 44, ..ipv6() }.check(60), Err(Outcome::Fragment));
}

#[test]
fn options_and_extension_headers_have_outcomes_of_their_own() {
    assert_eq!(Ipv4 { version_ihl: 0x46, ..ipv4() }.check(44), Err(Outcome::IpOptions));
    for extension in [0, 43, 60] {
        assert_eq!(Ipv6 { next_header: extension, ..ipv6() }.check(60), Err(Outcome::Ipv6Extension));
    }
}

#[test]
fn insane_tcp_flags_are_told_from_sane_ones() {
    let tcp = |flags| Tcp { data_offset: 0x50, flags, ..bytemuck::Zeroable::zeroed() };
    for sane in [TcpFlags::SYN, TcpFlags::ACK, TcpFlags::RST, TcpFlags::FIN | TcpFlags::ACK, 0xc2] {
        assert_eq!(tcp(sane).check(20), Ok(()));
    }
    for insane in [0, TcpFlags::PSH, TcpFlags::SYN | TcpFlags::FIN, TcpFlags::SYN | TcpFlags::RST] {
        assert_eq!(tcp(insane).check(20), Err(Outcome::BadTcpFlags));
    }
}

#[test]
fn a_tcp_header_must_fit_its_segment() {
    let tcp = |data_offset| Tcp { data_offset, flags: TcpFlags::ACK, ..bytemuck::Zeroable::zeroed() };
    assert_eq!(tcp(0x40).check(20), Err(Outcome::BadTcpHeader));
    assert_eq!(tcp(0x60).check(20), Err(Outcome::BadTcpHeader));
    assert_eq!(tcp(0x60).check(24), Ok(()));
}
