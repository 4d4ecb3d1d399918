//! The fields of a PROXY header, version 2, that say what a client's TLS was like: §2.2.1 to §2.2.6 of its specification.
//!
//! Owns their bytes. What was agreed on, whoever made the handshake says.

/// §2.2.1.
const TYPE_ALPN: u8 = 0x01;
/// §2.2.2: the name the client asked for.
const TYPE_AUTHORITY: u8 = 0x02;
/// §2.2.6.
const TYPE_SSL: u8 = 0x20;
const SUBTYPE_VERSION: u8 = 0x21;
const SUBTYPE_COMMON_NAME: u8 = 0x22;
const SUBTYPE_CIPHER: u8 = 0x23;
/// The client spoke TLS.
const CLIENT_SSL: u8 = 0x01;
/// It showed a certificate on this connection.
const CLIENT_CERT_CONN: u8 = 0x02;
/// It showed one in this session, which may have begun on an earlier connection.
const CLIENT_CERT_SESS: u8 = 0x04;
/// `verify`: its certificate was checked and is good.
const VERIFIED: u32 = 0;
/// It showed none.
const NOT_VERIFIED: u32 = 1;
/// Of a name or protocol: more than any has, and so little that all fields have room in a header.
const VALUE_BYTES_MAX: usize = 512;

/// What backends are told of a client's TLS.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TlsTold<'a> {
    /// `TLSv1.3`.
    pub version: &'a str,
    /// The cipher suite.
    pub cipher: &'a str,
    /// The application's protocol that was agreed on.
    pub alpn: Option<&'a [u8]>,
    /// The name the client asked for.
    pub server_name: Option<&'a str>,
    /// The common name in the client's certificate, which was checked; empty where it has none.
    pub client_name: Option<&'a str>,
    /// The session began on an earlier connection.
    pub is_resumed: bool,
}

/// The fields, one behind the other.
pub(super) fn write(told: &TlsTold<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    if let Some(alpn) = told.alpn {
        field(&mut out, TYPE_ALPN, alpn);
    }
    if let Some(name) = told.server_name {
        field(&mut out, TYPE_AUTHORITY, name.as_bytes());
    }
    let mut client = CLIENT_SSL;
    if told.client_name.is_some() {
        client |= CLIENT_CERT_SESS | if told.is_resumed { 0 } else { CLIENT_CERT_CONN };
    }
    let mut ssl = vec![client];
    let verify = if told.client_name.is_some() { VERIFIED } else { NOT_VERIFIED };
    ssl.extend(verify.to_be_bytes());
    field(&mut ssl, SUBTYPE_VERSION, told.version.as_bytes());
    field(&mut ssl, SUBTYPE_CIPHER, told.cipher.as_bytes());
    if let Some(name) = told.client_name.filter(|name| !name.is_empty()) {
        field(&mut ssl, SUBTYPE_COMMON_NAME, name.as_bytes());
    }
    out.push(TYPE_SSL);
    // A few fields of bounded length.
    out.extend((ssl.len() as u16).to_be_bytes());
    out.extend(ssl);
    out
}

/// One that is longer than makes sense is left out.
fn field(out: &mut Vec<u8>, kind: u8, value: &[u8]) {
    if value.len() <= VALUE_BYTES_MAX {
        out.push(kind);
        out.extend((value.len() as u16).to_be_bytes());
        out.extend(value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_as_the_specification_has_them() {
        let told = TlsTold {
            version: "TLSv1.3",
            cipher: "X",
            alpn: Some(b"h2"),
            server_name: Some("web"),
            ..TlsTold::default()
        };
        let wanted =
            [&b"\x01\0\x02h2\x02\0\x03web\x20\0\x13"[..], b"\x01\0\0\0\x01", b"\x21\0\x07TLSv1.3\x23\0\x01X"];
        assert_eq!(write(&told), wanted.concat());
    }

    #[test]
    fn a_clients_certificate_is_told_with_its_name() {
        let told = TlsTold { client_name: Some("alice"), ..TlsTold::default() };
        let fields = write(&told);
        assert_eq!(fields[3], CLIENT_SSL | CLIENT_CERT_CONN | CLIENT_CERT_SESS);
        assert!(fields.ends_with(b"\x22\0\x05alice"));
        let resumed = write(&TlsTold { is_resumed: true, ..told });
        assert_eq!(resumed[3], CLIENT_SSL | CLIENT_CERT_SESS);
    }

    #[test]
    fn what_is_too_long_is_left_out() {
        let long = "x".repeat(VALUE_BYTES_MAX + 1);
        let told = TlsTold { server_name: Some(&long), ..TlsTold::default() };
        assert_eq!(write(&told), write(&TlsTold::default()));
    }
}
