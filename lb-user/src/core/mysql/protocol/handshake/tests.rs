//! Tests of the login's packets.

use super::super::capabilities::Capabilities;
use super::super::status::StatusFlags;
use super::*;
use proptest::prelude::*;

fn bytes(max: usize) -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(1_u8..=255, 0..max)
}

fn response(capabilities: Capabilities) -> HandshakeResponse {
    HandshakeResponse {
        fixed: SslRequest { capabilities, max_packet: 1 << 24, collation: 45 },
        user: b"app".to_vec(),
        auth_response: vec![1; 20],
        database: None,
        auth_plugin: None,
        attributes: None,
        zstd_level: None,
    }
}

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u32> = text.chars().filter_map(|letter| letter.to_digit(16)).collect();
    digits.chunks(2).map(|pair| u8::try_from(pair[0] << 4 | pair[1]).unwrap()).collect()
}

#[test]
fn the_greeting_of_mariadb_has_extended_flags() {
    let greeting = hex(
        "0a352e352e352d31302e31312e31392d4d6172696144422d302b646562313275312d6c6f6700370000004d79384c5440243100fef7080200ff81150000000000001d000000693e3b4d523345425c2b5c70006d7973716c5f6e61746976655f70617373776f726400",
    );
    let handshake = InitialHandshake::parse(&greeting).unwrap();
    assert!(handshake.server_version.starts_with(b"5.5.5-10.11."));
    assert!(handshake.capabilities.contains(Capabilities::MARIADB_CACHE_METADATA));
    assert!(!handshake.capabilities.contains(Capabilities::MYSQL));
    assert_eq!((handshake.scramble.len(), &handshake.auth_plugin[..]), (20, &b"mysql_native_password"[..]));
    assert_eq!(handshake.encode(), greeting);
}

#[test]
fn the_greeting_of_mysql_9_has_none() {
    let greeting = hex(
        "0a392e372e342d32002d000000211344442a43074900ffffff0200ffdf1500000000000000000000302918731b764e2c3d762f150063616368696e675f736861325f70617373776f726400",
    );
    let handshake = InitialHandshake::parse(&greeting).unwrap();
    assert!(handshake.server_version.starts_with(b"9.7."));
    assert!(handshake.capabilities.contains(Capabilities::MYSQL | Capabilities::QUERY_ATTRIBUTES));
    assert_eq!(handshake.capabilities.extended(), 0);
    assert_eq!((handshake.scramble.len(), &handshake.auth_plugin[..]), (20, &b"caching_sha2_password"[..]));
    assert_eq!(handshake.encode(), greeting);
}

#[test]
fn data_of_another_length_than_a_scramble_keeps_its_last_zero() {
    let greeting = hex(
        "0a352e352e352d31302e31312e31392d4d6172696144422d302b646562313275312d6c6f6700370000004d79384c5440243100fef7080200ff81150000000000001d000000693e3b4d523345425c2b5c70006d7973716c5f6e61746976655f70617373776f726400",
    );
    let mut sent = InitialHandshake::parse(&greeting).unwrap();
    sent.scramble = vec![7; 32];
    sent.scramble[31] = 0;
    assert_eq!(InitialHandshake::parse(&sent.encode()).unwrap().scramble, sent.scramble);
}

#[test]
fn a_client_of_before_4_1_is_named_so() {
    assert_eq!(ClientHello::parse(&[0x05, 0x24, 0, 0, 0, b'a', 0]), Err(HandshakeError::ClientTooOld));
}

#[test]
fn thirty_two_bytes_with_the_flag_ask_for_tls() {
    let capabilities = Capabilities::SSL | Capabilities::PROTOCOL_41 | Capabilities::MARIADB_PROGRESS;
    let request = SslRequest { capabilities, max_packet: 5, collation: 8 };
    assert_eq!(ClientHello::parse(&request.encode()), Ok(ClientHello::Ssl(request)));
}

#[test]
fn a_mysql_client_has_no_extended_flags() {
    let mut sent = response(Capabilities::MYSQL).encode();
    sent[28] = 0xff;
    assert_eq!(HandshakeResponse::parse(&sent).unwrap().fixed.capabilities.extended(), 0);
}

#[test]
fn a_switch_without_a_plugin_means_the_old_password() {
    assert_eq!(AuthSwitchRequest::parse(&[0xfe]), Err(HandshakeError::OldPassword));
}

#[test]
fn an_auth_response_over_250_bytes_gets_the_long_length() {
    let mut sent = response(Capabilities::default());
    sent.auth_response = vec![3; 256];
    let back = HandshakeResponse::parse(&sent.encode()).unwrap();
    assert_eq!(back.auth_response, sent.auth_response);
    assert!(back.fixed.capabilities.contains(Capabilities::PLUGIN_AUTH_LENENC));
}

proptest! {
    #[test]
    fn any_bytes_never_panic(payload in prop::collection::vec(any::<u8>(), 0..120), flags in any::<u64>()) {
        let _ = InitialHandshake::parse(&payload);
        let _ = ClientHello::parse(&payload);
        let _ = AuthSwitchRequest::parse(&payload);
        let _ = AuthMoreData::parse(&payload);
        let _ = ChangeUser::parse(&payload, Capabilities(flags));
    }

    #[test]
    fn any_login_survives_the_round_trip(
        user in bytes(40), auth_response in prop::collection::vec(any::<u8>(), 0..300),
        database in prop::option::of(bytes(20).prop_filter("named", |name| !name.is_empty())),
        auth_plugin in prop::option::of(bytes(20).prop_filter("named", |name| !name.is_empty())),
        attributes in prop::option::of(bytes(300)), zstd_level in prop::option::of(any::<u8>()),
    ) {
        let sent = HandshakeResponse {
            user, auth_response, database, auth_plugin, attributes, zstd_level,
            ..response(Capabilities::MARIADB_PROGRESS)
        };
        let mut back = HandshakeResponse::parse(&sent.encode()).unwrap();
        back.fixed = sent.fixed;
        prop_assert_eq!(back, sent);
    }

    #[test]
    fn any_initial_handshake_survives_the_round_trip(
        version in bytes(30), connection_id in any::<u32>(), flags in any::<u64>(), status in any::<u16>(),
        scramble in prop::collection::vec(1_u8..=255, 20..40), collation in any::<u8>(), plugin in bytes(30),
    ) {
        let login = Capabilities::SECURE_CONNECTION | Capabilities::PLUGIN_AUTH | Capabilities::PROTOCOL_41;
        let sent = InitialHandshake {
            server_version: version, connection_id, scramble, collation,
            capabilities: (Capabilities(flags) | login).without(Capabilities::MYSQL),
            status: StatusFlags(status), auth_plugin: plugin,
        };
        prop_assert_eq!(InitialHandshake::parse(&sent.encode()).unwrap(), sent);
    }

    #[test]
    fn any_change_of_user_survives_the_round_trip(
        user in bytes(30), auth_response in prop::collection::vec(any::<u8>(), 0..255), database in bytes(20),
        collation in any::<u16>(), plugin in bytes(20), attributes in bytes(300),
    ) {
        let capabilities =
            Capabilities::SECURE_CONNECTION | Capabilities::PLUGIN_AUTH | Capabilities::CONNECT_ATTRS;
        let sent = ChangeUser {
            user, auth_response, database, collation: Some(collation), auth_plugin: Some(plugin),
            attributes: Some(attributes),
        };
        prop_assert_eq!(ChangeUser::parse(&sent.encode(capabilities), capabilities).unwrap(), sent);
    }
}
