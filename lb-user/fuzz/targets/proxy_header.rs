//! The PROXY header: it is read alike however it arrives, and what has been read can be written and read again.
//!
//! Owns what must hold of `parse` and of `write`.

#![no_main]

use std::net::SocketAddr;

use lbctl_fuzz::decided;
use lbctl_fuzz::header::{HEADER_BYTES_MAX, Header, parse, write};
use lbctl_fuzz::model::ProxyVersion;
use lbctl_fuzz::tls_fields::TlsTold;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(Some(header)) = decided(bytes, parse) else { return };
    assert!(header.bytes <= HEADER_BYTES_MAX);
    let (own, rest) = bytes.split_at(header.bytes);
    assert_eq!(parse(own), Ok(Some(header.clone())), "it is one with nothing behind it");
    assert_eq!(parse(&own[..own.len() - 1]), Ok(None), "it is whole with its last byte and not before");
    if let Some((client, vip)) = header.addresses {
        comes_back(client, vip, rest);
    }
});

/// Addresses that were read are written so that they are read again; whatever is told of TLS, which here is what came behind the header.
fn comes_back(client: SocketAddr, vip: SocketAddr, told: &[u8]) {
    let mut told = told.split(|byte| *byte == b'\n');
    let mut text = || told.next().and_then(|text| std::str::from_utf8(text).ok());
    let tls = TlsTold {
        version: text().unwrap_or_default(),
        cipher: text().unwrap_or_default(),
        alpn: text().map(str::as_bytes),
        server_name: text(),
        client_name: text(),
        is_resumed: text().is_some(),
    };
    for (version, tls) in [(ProxyVersion::V1, None), (ProxyVersion::V2, None), (ProxyVersion::V2, Some(&tls))]
    {
        let written = write(version, client, vip, tls);
        let header = Header { addresses: Some((client, vip)), bytes: written.len() };
        assert_eq!(parse(&written), Ok(Some(header)), "{version:?} with {tls:?}");
    }
}
