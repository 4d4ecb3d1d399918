//! The name that a client asks for (SNI), read from the first bytes of a TLS connection without being part of it.
//!
//! Source: RFC 8446 §4.1.2 and §5.1, RFC 6066 §3; all versions of TLS begin alike. Owns reading these bytes, and the bound for how many are
//! looked at. What is not a ClientHello is said to be none, and is nobody's fault: whoever peeks decides what becomes of it.

/// What is looked at: more than any client sends in a hello, and a bound for what one can make us keep.
pub const HELLO_BYTES_MAX: usize = 16 * 1024;

const RECORD_HANDSHAKE: u8 = 22;
const MESSAGE_CLIENT_HELLO: u8 = 1;
const EXTENSION_SERVER_NAME: u16 = 0;
const NAME_TYPE_HOST: u8 = 0;

/// What a hello says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientHello {
    /// The name that is asked for, in lower case.
    pub server_name: Option<String>,
}

/// The bytes are no ClientHello, or one that is longer than is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no ClientHello of TLS")]
pub struct NoClientHello;

/// Reads a hello from the beginning of a connection. `Ok(None)`: so far it is one, but more of it has to come.
pub fn peek(bytes: &[u8]) -> Result<Option<ClientHello>, NoClientHello> {
    let Some(message) = message(bytes)? else {
        return if bytes.len() < HELLO_BYTES_MAX { Ok(None) } else { Err(NoClientHello) };
    };
    let mut body = Reader(&message);
    let server_name = extensions(&mut body).and_then(|mut extensions| server_name(&mut extensions));
    match server_name {
        Some(server_name) => Ok(Some(ClientHello { server_name })),
        None => Err(NoClientHello),
    }
}

/// The first message, which may be spread over records; `None` where it is not whole yet.
fn message(bytes: &[u8]) -> Result<Option<Vec<u8>>, NoClientHello> {
    let (mut records, mut message) = (Reader(bytes), Vec::new());
    loop {
        let header = (records.u8(), records.u8(), records.u8(), records.u16());
        // What is there must be right, also before the rest has come.
        if header.0.is_some_and(|kind| kind != RECORD_HANDSHAKE) || header.1.is_some_and(|major| major != 3) {
            return Err(NoClientHello);
        }
        let Some(length) = header.3 else { return Ok(None) };
        let there = records.0.len().min(length.into());
        message.extend(records.take(there).unwrap_or_default());
        if message.first().is_some_and(|kind| *kind != MESSAGE_CLIENT_HELLO) || length == 0 {
            return Err(NoClientHello);
        }
        if let Some([_, a, b, c]) = message.first_chunk() {
            let wanted = u32::from_be_bytes([0, *a, *b, *c]) as usize;
            if wanted > HELLO_BYTES_MAX {
                return Err(NoClientHello);
            }
            if message.len() >= 4 + wanted {
                return Ok(Some(message.drain(4..4 + wanted).collect()));
            }
        }
        if there < usize::from(length) {
            return Ok(None);
        }
    }
}

/// What follows a hello's fixed parts: its extensions; empty where there are none.
fn extensions<'a>(body: &mut Reader<'a>) -> Option<Reader<'a>> {
    // Version and random.
    body.take(2 + 32)?;
    let session = body.u8()?;
    body.take(session.into())?;
    let suites = body.u16()?;
    body.take(suites.into())?;
    let compressions = body.u8()?;
    body.take(compressions.into())?;
    if body.0.is_empty() {
        return Some(Reader(&[]));
    }
    let length = body.u16()?;
    Some(Reader(body.take(length.into())?))
}

/// `None`: they are malformed. `Some(None)`: no name is asked for.
fn server_name(extensions: &mut Reader<'_>) -> Option<Option<String>> {
    while !extensions.0.is_empty() {
        let (kind, length) = (extensions.u16()?, extensions.u16()?);
        let value = extensions.take(length.into())?;
        if kind != EXTENSION_SERVER_NAME {
            continue;
        }
        let mut list = Reader(value);
        let length = list.u16()?;
        let mut list = Reader(list.take(length.into())?);
        while !list.0.is_empty() {
            let (kind, length) = (list.u8()?, list.u16()?);
            let name = list.take(length.into())?;
            if kind == NAME_TYPE_HOST {
                let name =
                    std::str::from_utf8(name).ok().filter(|name| name.is_ascii() && !name.is_empty())?;
                return Some(Some(name.to_ascii_lowercase()));
            }
        }
    }
    Some(None)
}

/// Reads from the front; `None` where there is not so much.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn u8(&mut self) -> Option<u8> {
        self.take(1)?.first().copied()
    }

    fn u16(&mut self) -> Option<u16> {
        Some(u16::from_be_bytes(*self.take(2)?.first_chunk()?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rustls::pki_types::ServerName;
    use std::sync::Arc;

    /// What a real client sends.
    fn hello(name: &str) -> Vec<u8> {
        let config = rustls::ClientConfig::builder()
            .with_root_certificates(rustls::RootCertStore::empty())
            .with_no_client_auth();
        let name = ServerName::try_from(name.to_owned()).expect("a name");
        let mut client = rustls::ClientConnection::new(Arc::new(config), name).expect("a client");
        let mut bytes = Vec::new();
        client.write_tls(&mut bytes).expect("a hello");
        bytes
    }

    fn named(name: Option<&str>) -> Result<Option<ClientHello>, NoClientHello> {
        Ok(Some(ClientHello { server_name: name.map(str::to_owned) }))
    }

    #[test]
    fn the_name_is_found_however_the_hello_arrives() {
        let mut bytes = hello("Web.example.org");
        for cut in 0..bytes.len() {
            assert_eq!(peek(&bytes[..cut]), Ok(None), "cut at {cut}");
        }
        assert_eq!(peek(&bytes), named(Some("web.example.org")));
        bytes.extend(b"and what follows");
        assert_eq!(peek(&bytes), named(Some("web.example.org")));
        assert_eq!(peek(&hello("10.80.0.100")), named(None), "an address is no name");
    }

    #[test]
    fn a_hello_may_be_spread_over_records() {
        let whole = hello("web.example.org");
        let mut spread = Vec::new();
        for part in whole[5..].chunks(7) {
            spread.extend([RECORD_HANDSHAKE, 3, 1, 0, part.len() as u8]);
            spread.extend(part);
        }
        assert_eq!(peek(&spread), named(Some("web.example.org")));
        assert_eq!(peek(&spread[..spread.len() - 1]), Ok(None));
    }

    #[test]
    fn what_is_no_hello_is_refused_as_soon_as_that_is_clear() {
        assert_eq!(peek(b""), Ok(None));
        for bytes in [&b"G"[..], b"SSH-2.0", b"\x16\x02", b"\x16\x03\x01\0\x05\x02", b"\x16\x03\x01\0\0"] {
            assert_eq!(peek(bytes), Err(NoClientHello), "{bytes:?}");
        }
        // Longer than anybody needs.
        assert_eq!(peek(b"\x16\x03\x01\x40\0\x01\x01\0\0"), Err(NoClientHello));
        let mut endless = Vec::new();
        while endless.len() < HELLO_BYTES_MAX {
            endless.extend(b"\x16\x03\x01\0\x05\x01\0\x3f\xff\0");
        }
        assert_eq!(peek(&endless), Err(NoClientHello));
    }

    proptest! {
        #[test]
        fn no_bytes_are_too_strange(cut in 0..600_usize, changes: Vec<(u16, u8)>, rest: Vec<u8>) {
            let mut bytes = hello("web.example.org");
            for (at, byte) in changes {
                let at = usize::from(at) % bytes.len();
                bytes[at] = byte;
            }
            bytes.truncate(cut);
            bytes.extend(rest);
            // What is decided stays so, whatever follows.
            let decided = peek(&bytes);
            if decided != Ok(None) {
                bytes.extend(b"more");
                prop_assert_eq!(peek(&bytes), decided);
            }
        }
    }
}
