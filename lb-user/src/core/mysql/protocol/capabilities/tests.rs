//! Tests of the negotiation.

use super::super::handshake::InitialHandshake;
use super::*;
use crate::core::mysql::protocol::status::StatusFlags;

fn sample(version: &str, capabilities: Capabilities) -> InitialHandshake {
    InitialHandshake {
        server_version: version.as_bytes().to_vec(),
        connection_id: 7,
        scramble: vec![b'a'; 20],
        capabilities,
        collation: 45,
        status: StatusFlags::AUTOCOMMIT,
        auth_plugin: b"mysql_native_password".to_vec(),
    }
}

const ALL_LOW: Capabilities = Capabilities(0xffff_ffff);

#[test]
fn compression_and_factors_are_never_offered() {
    let offer = Offer::new(&sample("8.4.2", ALL_LOW), false).capabilities;
    for flag in [
        Capabilities::COMPRESS,
        Capabilities::ZSTD_COMPRESSION,
        Capabilities::MULTI_FACTOR_AUTHENTICATION,
        Capabilities::SSL,
    ] {
        assert!(!offer.contains(flag), "{flag:?}");
    }
    assert!(offer.contains(Capabilities::LOCAL_FILES | Capabilities::QUERY_ATTRIBUTES | Capabilities::MYSQL));
}

#[test]
fn mariadb_keeps_the_mysql_bit_off_and_its_own_flags_on() {
    let server = Capabilities(0xffff_fffe | 0x1f << 32);
    let offer = Offer::new(&sample("5.5.5-10.11.6-MariaDB", server), true);
    assert_eq!(offer.flavor, Flavor::MariaDb);
    assert!(!offer.capabilities.contains(Capabilities::MYSQL));
    assert!(offer.capabilities.contains(Capabilities::MARIADB_EXTENDED_METADATA | Capabilities::SSL));
    // A server that leaves out what it sent before knows nothing of what another one has sent.
    assert!(!offer.capabilities.contains(Capabilities::MARIADB_CACHE_METADATA));
    assert!(!offer.capabilities.contains(Capabilities::MARIADB_COM_MULTI));
    let mysql_client = offer.negotiated(ALL_LOW | Capabilities::MARIADB_PROGRESS);
    assert_eq!(mysql_client.extended(), 0);
    assert!(mysql_client.contains(Capabilities::MYSQL));
}

#[test]
fn a_backend_is_asked_for_the_clients_shape_and_for_tracking() {
    let backend = sample("8.0.40", ALL_LOW);
    let client = Capabilities::PROTOCOL_41 | Capabilities::MYSQL | Capabilities::MULTI_STATEMENTS;
    let asked = backend_capabilities(client, &backend, true, false).unwrap();
    assert!(
        asked
            .contains(client | Capabilities::SESSION_TRACK | Capabilities::SSL | Capabilities::MULTI_RESULTS)
    );
    assert!(!asked.intersects(Capabilities::DEPRECATE_EOF | Capabilities::CONNECT_WITH_DB));
}

#[test]
fn a_backend_that_lacks_what_was_promised_is_refused() {
    let backend = sample("5.6.51", ALL_LOW.without(Capabilities::DEPRECATE_EOF));
    let client = Capabilities::PROTOCOL_41 | Capabilities::DEPRECATE_EOF;
    assert_eq!(
        backend_capabilities(client, &backend, false, false),
        Err(BackendCapabilitiesError::Lacking(Capabilities::DEPRECATE_EOF))
    );
}
