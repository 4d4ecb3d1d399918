//! The PROXY protocol, versions 1 and 2: a header before a connection's data that says whose connection it is.
//!
//! Source: the specification that HAProxy publishes, "The PROXY protocol, versions 1 & 2" (2020/03/05). Owns reading and writing the
//! bytes; who may send a header, and for how long it is waited for, whoever owns the connection decides.

use super::tls_fields::{self, TlsTold};
use crate::model::ProxyVersion;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

/// §2.2: what version 2 begins with. No text of version 1, and of no other known protocol, does.
const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";
/// §2.1: the longest line of version 1, with its end.
const LINE_BYTES_MAX: usize = 107;
/// Of a version-2 header, with its fields: more than any sender has a use for, and a bound for what a client can make us keep.
pub const HEADER_BYTES_MAX: usize = 4096;

/// What a header says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// The client, and the address it connected to; `None` where the sender speaks for itself or does not know.
    pub addresses: Option<(SocketAddr, SocketAddr)>,
    /// Its bytes; what follows is the connection's.
    pub bytes: usize,
}

/// Why bytes are no header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    /// Neither version begins like that.
    #[error("no PROXY header")]
    Missing,
    /// It begins like one and goes on otherwise.
    #[error("a malformed PROXY header")]
    Malformed,
    /// A version, command or protocol that does not exist.
    #[error("a PROXY header of an unknown kind")]
    Unknown,
    /// Longer than is read.
    #[error("a PROXY header of more than {HEADER_BYTES_MAX} bytes")]
    TooLong,
}

/// Reads a header from the beginning of a connection. `Ok(None)`: so far it is one, but more of it has to come.
pub fn parse(bytes: &[u8]) -> Result<Option<Header>, HeaderError> {
    let common = bytes.len().min(SIGNATURE.len());
    if bytes[..common] == SIGNATURE[..common] {
        return if common < SIGNATURE.len() { Ok(None) } else { parse_v2(bytes) };
    }
    parse_v1(bytes)
}

fn parse_v1(bytes: &[u8]) -> Result<Option<Header>, HeaderError> {
    const START: &[u8] = b"PROXY ";
    let common = bytes.len().min(START.len());
    if bytes[..common] != START[..common] {
        return Err(HeaderError::Missing);
    }
    let searched = &bytes[..bytes.len().min(LINE_BYTES_MAX)];
    let Some(end) = searched.windows(2).position(|two| two == b"\r\n") else {
        return if searched.len() < LINE_BYTES_MAX { Ok(None) } else { Err(HeaderError::Malformed) };
    };
    let line = std::str::from_utf8(&searched[..end]).map_err(|_| HeaderError::Malformed)?;
    let mut words = line.split(' ').skip(1);
    let family = words.next().ok_or(HeaderError::Malformed)?;
    let bytes = end + 2;
    // What follows UNKNOWN is to be ignored.
    if family == "UNKNOWN" {
        return Ok(Some(Header { addresses: None, bytes }));
    }
    let is_v4 = match family {
        "TCP4" => true,
        "TCP6" => false,
        _ => return Err(HeaderError::Unknown),
    };
    let mut word = || words.next().ok_or(HeaderError::Malformed);
    let (source, destination) = (address(word()?, is_v4)?, address(word()?, is_v4)?);
    let (source_port, destination_port) = (port(word()?)?, port(word()?)?);
    if words.next().is_some() {
        return Err(HeaderError::Malformed);
    }
    let addresses =
        Some((SocketAddr::new(source, source_port), SocketAddr::new(destination, destination_port)));
    Ok(Some(Header { addresses, bytes }))
}

fn address(word: &str, is_v4: bool) -> Result<IpAddr, HeaderError> {
    let parsed = if is_v4 {
        Ipv4Addr::from_str(word).map(IpAddr::V4)
    } else {
        Ipv6Addr::from_str(word).map(IpAddr::V6)
    };
    parsed.map_err(|_| HeaderError::Malformed)
}

/// §2.1: decimal, without leading zeros.
fn port(word: &str) -> Result<u16, HeaderError> {
    let is_plain = word.bytes().all(|byte| byte.is_ascii_digit()) && (word == "0" || !word.starts_with('0'));
    if is_plain { word.parse().map_err(|_| HeaderError::Malformed) } else { Err(HeaderError::Malformed) }
}

fn parse_v2(bytes: &[u8]) -> Result<Option<Header>, HeaderError> {
    let Some(&[version_command, family_protocol, high, low]) = bytes.get(12..16) else { return Ok(None) };
    if version_command >> 4 != 2 {
        return Err(HeaderError::Unknown);
    }
    let bytes_max = 16 + usize::from(u16::from_be_bytes([high, low]));
    if bytes_max > HEADER_BYTES_MAX {
        return Err(HeaderError::TooLong);
    }
    let Some(body) = bytes.get(16..bytes_max) else { return Ok(None) };
    let addresses = match (version_command & 0xf, family_protocol) {
        // LOCAL: the sender speaks for itself, whatever else it says. UNSPEC: it does not know.
        (0, _) | (1, 0x00) => None,
        // TCP over IPv4, over IPv6. A stream over a Unix socket has no address that means anything here.
        (1, 0x11) => Some(addresses_v4(body).ok_or(HeaderError::Malformed)?),
        (1, 0x21) => Some(addresses_v6(body).ok_or(HeaderError::Malformed)?),
        (1, 0x31) => None,
        _ => return Err(HeaderError::Unknown),
    };
    Ok(Some(Header { addresses, bytes: bytes_max }))
}

fn addresses_v4(body: &[u8]) -> Option<(SocketAddr, SocketAddr)> {
    let [a, b, c, d, e, f, g, h, ports @ ..] = *body.first_chunk::<12>()?;
    let [source, destination] = ports_of(ports);
    Some((SocketAddr::from(([a, b, c, d], source)), SocketAddr::from(([e, f, g, h], destination))))
}

fn addresses_v6(body: &[u8]) -> Option<(SocketAddr, SocketAddr)> {
    let source: [u8; 16] = *body.first_chunk()?;
    let destination: [u8; 16] = *body.get(16..)?.first_chunk()?;
    let [source_port, destination_port] = ports_of(*body.get(32..)?.first_chunk()?);
    Some((SocketAddr::from((source, source_port)), SocketAddr::from((destination, destination_port))))
}

const fn ports_of([a, b, c, d]: [u8; 4]) -> [u16; 2] {
    [u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d])]
}

/// Writes the header of a client's connection. Addresses of two families, which do not happen on one connection, are said to be unknown.
/// Version 1 has no room to tell of TLS.
pub fn write(
    version: ProxyVersion,
    client: SocketAddr,
    vip: SocketAddr,
    tls: Option<&TlsTold<'_>>,
) -> Vec<u8> {
    match version {
        ProxyVersion::V1 => write_v1(client, vip),
        ProxyVersion::V2 => write_v2(client, vip, tls),
    }
}

fn write_v1(client: SocketAddr, vip: SocketAddr) -> Vec<u8> {
    let family = match (client, vip) {
        (SocketAddr::V4(_), SocketAddr::V4(_)) => "TCP4",
        (SocketAddr::V6(_), SocketAddr::V6(_)) => "TCP6",
        _ => return b"PROXY UNKNOWN\r\n".to_vec(),
    };
    let (source, destination) = (client.ip(), vip.ip());
    format!("PROXY {family} {source} {destination} {} {}\r\n", client.port(), vip.port()).into_bytes()
}

fn write_v2(client: SocketAddr, vip: SocketAddr, tls: Option<&TlsTold<'_>>) -> Vec<u8> {
    let mut out = SIGNATURE.to_vec();
    let mut body = Vec::with_capacity(36);
    let kind = match (client.ip(), vip.ip()) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            body.extend(source.octets());
            body.extend(destination.octets());
            0x11
        }
        (IpAddr::V6(source), IpAddr::V6(destination)) => {
            body.extend(source.octets());
            body.extend(destination.octets());
            0x21
        }
        _ => 0x00,
    };
    if kind != 0x00 {
        body.extend(client.port().to_be_bytes());
        body.extend(vip.port().to_be_bytes());
    }
    body.extend(tls.map(tls_fields::write).unwrap_or_default());
    out.extend([0x21, kind]);
    // At most a few fields of bounded length.
    out.extend((body.len() as u16).to_be_bytes());
    out.extend(body);
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn v4() -> (SocketAddr, SocketAddr) {
        ("198.51.100.7:4711".parse().expect("an address"), "10.80.0.100:80".parse().expect("an address"))
    }

    fn v6() -> (SocketAddr, SocketAddr) {
        ("[2001:db8::7]:4711".parse().expect("an address"), "[fd80::100]:443".parse().expect("an address"))
    }

    #[test]
    fn what_is_written_is_what_the_specification_shows() {
        let (client, vip) = v4();
        assert_eq!(
            write(ProxyVersion::V1, client, vip, None),
            b"PROXY TCP4 198.51.100.7 10.80.0.100 4711 80\r\n"
        );
        let (client, vip) = v6();
        assert_eq!(
            write(ProxyVersion::V1, client, vip, None),
            b"PROXY TCP6 2001:db8::7 fd80::100 4711 443\r\n"
        );
        let (client, vip) = v4();
        let wanted = [
            &b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c"[..],
            &[198, 51, 100, 7, 10, 80, 0, 100, 0x12, 0x67, 0, 80],
        ];
        assert_eq!(write(ProxyVersion::V2, client, vip, None), wanted.concat());
        assert_eq!(write(ProxyVersion::V1, v4().0, v6().1, None), b"PROXY UNKNOWN\r\n");
    }

    #[test]
    fn what_is_written_is_read_however_it_arrives() {
        for (client, vip) in [v4(), v6()] {
            for version in [ProxyVersion::V1, ProxyVersion::V2] {
                let mut bytes = write(version, client, vip, None);
                let header = Header { addresses: Some((client, vip)), bytes: bytes.len() };
                for cut in 0..bytes.len() {
                    assert_eq!(parse(&bytes[..cut]), Ok(None), "{version} cut at {cut}");
                }
                bytes.extend(b"GET / HTTP/1.1\r\n\r\n");
                assert_eq!(parse(&bytes), Ok(Some(header)), "{version}");
            }
        }
    }

    #[test]
    fn senders_that_speak_for_themselves_or_do_not_know_are_believed_to_be_the_client() {
        let unknown = |bytes: usize| Ok(Some(Header { addresses: None, bytes }));
        assert_eq!(parse(b"PROXY UNKNOWN\r\n"), unknown(15));
        assert_eq!(parse(b"PROXY UNKNOWN ffff::1 ffff::2 1 2\r\nx"), unknown(35));
        let local = [&SIGNATURE[..], &[0x20, 0x11, 0, 3, 1, 2, 3]].concat();
        assert_eq!(parse(&local), unknown(19));
        let unspec = [&SIGNATURE[..], &[0x21, 0, 0, 0]].concat();
        assert_eq!(parse(&unspec), unknown(16));
    }

    #[test]
    fn fields_behind_the_addresses_are_skipped() {
        let (client, vip) = v4();
        let mut bytes = write(ProxyVersion::V2, client, vip, None);
        bytes[15] += 5;
        bytes.extend([0x04, 0, 2, 0xaa, 0xbb]);
        assert_eq!(parse(&bytes), Ok(Some(Header { addresses: Some((client, vip)), bytes: 33 })));
    }

    #[test]
    fn what_is_no_header_is_refused_as_soon_as_that_is_clear() {
        assert_eq!(parse(b"G"), Err(HeaderError::Missing));
        assert_eq!(parse(b"PROXX"), Err(HeaderError::Missing));
        assert_eq!(parse(b""), Ok(None));
        for line in [
            "PROXY TCP4 1.2.3.4 1.2.3.4 1\r\n",
            "PROXY TCP4 1.2.3.4 1.2.3.4 01 2\r\n",
            "PROXY TCP4 1.2.3.4 1.2.3.4 1 65536\r\n",
            "PROXY TCP4 ::1 ::1 1 2\r\n",
            "PROXY TCP4 1.2.3.4 1.2.3.4 1 2 3\r\n",
            "PROXY TCP4  1.2.3.4 1.2.3.4 1 2\r\n",
        ] {
            assert_eq!(parse(line.as_bytes()), Err(HeaderError::Malformed), "{line}");
        }
        assert_eq!(parse(b"PROXY UDP4 1.2.3.4 1.2.3.4 1 2\r\n"), Err(HeaderError::Unknown));
        let long = [b"PROXY TCP6 ".as_slice(), &[b'f'; 120]].concat();
        assert_eq!(parse(&long), Err(HeaderError::Malformed));
        let with = |rest: &[u8]| parse(&[&SIGNATURE[..], rest].concat());
        assert_eq!(with(&[0x11, 0x11, 0, 12]), Err(HeaderError::Unknown), "version 1 in binary");
        assert_eq!(with(&[0x22, 0x11, 0, 0]), Err(HeaderError::Unknown), "a command that does not exist");
        assert_eq!(with(&[0x21, 0x12, 0, 0]), Err(HeaderError::Unknown), "datagrams");
        assert_eq!(
            with(&[0x21, 0x11, 0, 4, 1, 2, 3, 4]),
            Err(HeaderError::Malformed),
            "no room for addresses"
        );
        assert_eq!(with(&[0x21, 0x11, 0xff, 0xff]), Err(HeaderError::TooLong));
    }

    proptest! {
        #[test]
        fn no_bytes_are_too_strange(start in 0..4_u8, rest: Vec<u8>) {
            let start: &[u8] = match start {
                0 => b"",
                1 => b"PROXY ",
                2 => b"PROXY TCP4 ",
                _ => &SIGNATURE,
            };
            let bytes = [start, &rest].concat();
            if let Ok(Some(header)) = parse(&bytes) {
                prop_assert!(header.bytes <= bytes.len());
                // What is a header is one with anything behind it.
                prop_assert_eq!(parse(&bytes[..header.bytes]), Ok(Some(header)));
            }
        }
    }
}
