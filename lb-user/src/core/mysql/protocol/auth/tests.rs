//! Tests of the logins, each side against the other.

use std::sync::{Arc, OnceLock};

use super::super::capabilities::Capabilities;
use super::super::handshake::{HandshakeResponse, InitialHandshake};
use super::super::response::{ErrPacket, OkPacket};
use super::super::status::StatusFlags;
use super::*;
use proptest::prelude::*;

const FIRST: [u8; SCRAMBLE_LENGTH] = *b"aaaaaaaaaaaaaaaaaaaa";
const SECOND: [u8; SCRAMBLE_LENGTH] = *b"bbbbbbbbbbbbbbbbbbbb";
const ASKED: Capabilities = Capabilities(
    Capabilities::PROTOCOL_41.0 | Capabilities::SECURE_CONNECTION.0 | Capabilities::PLUGIN_AUTH.0,
);

fn key() -> Arc<ProxyKey> {
    static KEY: OnceLock<Arc<ProxyKey>> = OnceLock::new();
    Arc::clone(KEY.get_or_init(|| Arc::new(ProxyKey::generate().unwrap())))
}

fn settings(credential: Credential, private: bool) -> ClientAuthSettings {
    ClientAuthSettings {
        credential,
        private,
        scramble: FIRST,
        second_scramble: SECOND,
        native_allowed: true,
        announced: Plugin::CachingSha2,
        key: Some(key()),
    }
}

fn known(password: &str) -> Credential {
    Credential::Known(Password(password.into()))
}

fn login(password: &str, private: bool) -> Login {
    Login {
        user: b"app".to_vec(),
        password: Password(password.into()),
        database: None,
        capabilities: ASKED,
        max_packet: 1 << 24,
        collation: 45,
        attributes: None,
        private,
        clear_allowed: false,
        server_key: None,
        key_request_allowed: true,
    }
}

fn handshake(plugin: &str) -> InitialHandshake {
    InitialHandshake {
        server_version: b"8.4.2".to_vec(),
        connection_id: 1,
        scramble: FIRST.to_vec(),
        capabilities: ASKED,
        collation: 45,
        status: StatusFlags::AUTOCOMMIT,
        auth_plugin: plugin.into(),
    }
}

type Talk = (Result<Password, Refusal>, Vec<Vec<u8>>);

/// Lets both sides talk. Returns the password the server side ends with, and the payloads it sent.
fn talk(settings: ClientAuthSettings, login: Login, plugin: &str) -> Result<Talk, BackendAuthError> {
    let announced = Plugin::from_name(plugin.as_bytes()).unwrap_or(Plugin::CachingSha2);
    let settings = ClientAuthSettings { announced, ..settings };
    let (mut backend, response) = BackendAuth::start(&handshake(plugin), login)?;
    let response = HandshakeResponse::parse(&response).unwrap();
    let (mut client, mut step) = ClientAuth::start(settings, &response);
    let mut sent = Vec::new();
    for _ in 0..6 {
        match step {
            ClientStep::Send(payload) => {
                sent.push(payload.clone());
                let BackendStep::Send(answer) = backend.packet(&payload)? else { panic!("an answer is due") };
                step = client.packet(&answer);
            }
            ClientStep::Authenticated { before_ok, password } => {
                if let Some(payload) = before_ok {
                    assert_eq!(backend.packet(&payload), Ok(BackendStep::Wait));
                }
                let ok = OkPacket::plain(StatusFlags::AUTOCOMMIT);
                assert_eq!(backend.packet(&ok.encode(ASKED)), Ok(BackendStep::Ready(ok)));
                return Ok((Ok(password), sent));
            }
            ClientStep::Refused(refusal) => {
                let error: ErrPacket = refusal.packet("app", "host");
                assert_eq!(backend.packet(&error.encode(ASKED)), Ok(BackendStep::Refused(error)));
                return Ok((Err(refusal), sent));
            }
        }
    }
    panic!("the login does not end");
}

const DENIED: Refusal = Refusal::Denied { with_password: true };

#[test]
fn the_right_password_and_no_other_opens() {
    for plugin in ["mysql_native_password", "caching_sha2_password"] {
        let (result, sent) = talk(settings(known("secret"), false), login("secret", false), plugin).unwrap();
        assert_eq!(result, Ok(Password(b"secret".to_vec())), "{plugin}");
        assert!(sent.is_empty());
        for (has, gives) in [("secret", "Secret"), ("secret", ""), ("", "secret")] {
            let (result, _) = talk(settings(known(has), false), login(gives, false), plugin).unwrap();
            assert_eq!(result, Err(Refusal::Denied { with_password: !gives.is_empty() }), "{plugin} {has}");
        }
        let (result, _) = talk(settings(known(""), false), login("", false), plugin).unwrap();
        assert_eq!(result, Ok(Password::default()));
    }
}

#[test]
fn nobody_is_told_from_a_wrong_password_by_nothing() {
    for plugin in ["mysql_native_password", "caching_sha2_password", "unheard_of"] {
        for password in ["x", "nobody's password", ""] {
            let nobody = talk(settings(Credential::Nobody, false), login(password, false), plugin).unwrap();
            let wrong = talk(settings(known("right"), false), login(password, false), plugin).unwrap();
            assert_eq!(nobody, wrong, "{plugin} {password:?}");
            assert!(nobody.0.is_err());
        }
    }
}

#[test]
fn where_sha1_will_not_do_the_client_is_switched() {
    let mut strict = settings(known("secret"), false);
    strict.native_allowed = false;
    let (result, sent) = talk(strict, login("secret", false), "mysql_native_password").unwrap();
    assert_eq!(result, Ok(Password(b"secret".to_vec())));
    assert_eq!(sent, [b"\xfecaching_sha2_password\0bbbbbbbbbbbbbbbbbbbb\0".to_vec()]);
}

#[test]
fn a_client_with_a_plugin_of_its_own_has_not_used_the_scramble_yet() {
    // The response is that of a client library that waits for a request to use its plugin.
    let start = BackendAuth::start(&handshake("caching_sha2_password"), login("secret", false)).unwrap();
    let mut response = HandshakeResponse::parse(&start.1).unwrap();
    response.auth_response = Vec::new();
    for credential in [known("secret"), Credential::Ask] {
        let native = ClientAuthSettings { announced: Plugin::Native, ..settings(credential, false) };
        let (_, step) = ClientAuth::start(native, &response);
        let switch = b"\xfecaching_sha2_password\0bbbbbbbbbbbbbbbbbbbb\0".to_vec();
        assert_eq!(step, ClientStep::Send(switch));
    }
}

#[test]
fn a_client_without_plugins_must_have_sha1() {
    let mut response = HandshakeResponse {
        fixed: super::super::handshake::SslRequest {
            capabilities: ASKED.without(Capabilities::PLUGIN_AUTH),
            max_packet: 0,
            collation: 8,
        },
        user: b"app".to_vec(),
        auth_response: native_response(b"secret", &FIRST),
        database: None,
        auth_plugin: None,
        attributes: None,
        zstd_level: None,
    };
    let (_, step) = ClientAuth::start(settings(known("secret"), false), &response);
    assert!(matches!(step, ClientStep::Authenticated { before_ok: None, .. }));
    let (_, step) = ClientAuth::start(settings(Credential::Ask, true), &response);
    assert_eq!(step, ClientStep::Refused(Refusal::NotSupported));
    response.auth_response = native_response(b"secret", &SECOND);
    let (_, step) = ClientAuth::start(settings(known("secret"), false), &response);
    assert_eq!(step, ClientStep::Refused(DENIED));
}

#[test]
fn a_password_asked_for_comes_over_tls_or_encrypted() {
    for plugin in ["mysql_native_password", "caching_sha2_password"] {
        for private in [true, false] {
            let (result, sent) =
                talk(settings(Credential::Ask, private), login("secret", private), plugin).unwrap();
            assert_eq!(result, Ok(Password(b"secret".to_vec())), "{plugin} {private}");
            assert!(sent.contains(&b"\x01\x04".to_vec()));
            assert_eq!(sent.iter().any(|payload| payload.starts_with(b"\x01-----BEGIN")), !private);
        }
        let (result, _) = talk(settings(Credential::Ask, true), login("", true), plugin).unwrap();
        assert_eq!(result, Ok(Password::default()));
    }
}

#[test]
fn a_password_is_not_asked_for_where_it_cannot_be_sent() {
    let mut open = settings(Credential::Ask, false);
    open.key = None;
    let (result, sent) = talk(open, login("secret", false), "caching_sha2_password").unwrap();
    assert_eq!((result, sent), (Err(Refusal::NotSupported), Vec::new()));
}

#[test]
fn a_password_encrypted_for_another_scramble_cannot_be_read() {
    let sent = encrypt_password(key().public_key_pem().as_bytes(), b"secret", &FIRST).unwrap();
    assert_eq!(key().decrypt(&sent, &FIRST), Ok(Password(b"secret".to_vec())));
    assert_eq!(key().decrypt(&sent, &SECOND), Err(RsaError::Decrypt));
    assert_eq!(key().decrypt(&sent[1..], &FIRST), Err(RsaError::Decrypt));
    assert_eq!(encrypt_password(b"no key", b"secret", &FIRST), Err(RsaError::Key));
    let long = vec![b'x'; 250];
    assert_eq!(encrypt_password(key().public_key_pem().as_bytes(), &long, &FIRST), Err(RsaError::Encrypt));
}

#[test]
fn a_client_that_knows_the_key_sends_no_request() {
    let mut knowing = login("secret", false);
    knowing.server_key = Some(key().public_key_pem().into());
    let (result, sent) = talk(settings(Credential::Ask, false), knowing, "caching_sha2_password").unwrap();
    assert_eq!(result, Ok(Password(b"secret".to_vec())));
    assert_eq!(sent, [b"\x01\x04".to_vec()]);
}

#[test]
fn a_backend_gets_no_password_in_the_clear() {
    let switch_to_clear = b"\xfemysql_clear_password\0";
    for (private, allowed, opens) in
        [(false, false, false), (true, false, false), (false, true, false), (true, true, true)]
    {
        let mut login = login("secret", private);
        login.clear_allowed = allowed;
        let (mut backend, _) = BackendAuth::start(&handshake("mysql_native_password"), login).unwrap();
        let step = backend.packet(switch_to_clear);
        match opens {
            true => assert_eq!(step, Ok(BackendStep::Send(b"secret\0".to_vec()))),
            false => assert_eq!(step, Err(BackendAuthError::NotPrivate)),
        }
    }
    let mut careful = login("secret", false);
    careful.key_request_allowed = false;
    let (mut backend, _) = BackendAuth::start(&handshake("caching_sha2_password"), careful).unwrap();
    assert_eq!(backend.packet(b"\x01\x04"), Err(BackendAuthError::NotPrivate));
}

#[test]
fn a_default_plugin_that_gives_the_password_away_is_not_used_unasked() {
    let mut login = login("secret", true);
    login.clear_allowed = true;
    let (_, response) = BackendAuth::start(&handshake("mysql_clear_password"), login).unwrap();
    let response = HandshakeResponse::parse(&response).unwrap();
    assert_eq!(response.auth_plugin.as_deref(), Some(&b"mysql_native_password"[..]));
}

#[test]
fn switches_without_end_are_no_login() {
    let (mut backend, _) = BackendAuth::start(&handshake(""), login("x", false)).unwrap();
    let switch = b"\xfemysql_native_password\0bbbbbbbbbbbbbbbbbbbb\0";
    let outcomes: Vec<_> = (0..9).map(|_| backend.packet(switch)).collect();
    assert!(matches!(outcomes[7], Ok(BackendStep::Send(_))));
    assert_eq!(outcomes[8], Err(BackendAuthError::TooManySwitches));
}

#[test]
fn a_change_of_user_always_gets_a_new_scramble() {
    let (mut backend, command) = BackendAuth::change_user(login("secret", false), 255);
    let command = super::super::handshake::ChangeUser::parse(&command, ASKED).unwrap();
    assert_eq!((command.collation, command.auth_response.len()), (Some(255), 0));
    let (mut client, step) = ClientAuth::start_change_user(settings(known("secret"), false), ASKED);
    let ClientStep::Send(switch) = step else { panic!() };
    let Ok(BackendStep::Send(answer)) = backend.packet(&switch) else { panic!() };
    assert!(matches!(client.packet(&answer), ClientStep::Authenticated { .. }));
}

#[test]
fn hashes_are_those_of_the_servers() {
    // Checked with a MariaDB server, whose table has SHA1(SHA1(password)).
    assert!(verify_native(b"x", &FIRST, &native_response(b"x", &FIRST)));
    assert!(!verify_native(b"x", &FIRST, &native_response(b"x", &SECOND)));
    assert!(verify_caching_sha2(b"", &FIRST, b"") && verify_caching_sha2(b"", &FIRST, b"\0"));
    assert!(!verify_caching_sha2(b"x", &FIRST, b"\0"));
}

#[test]
fn a_signature_is_one_of_ed25519() {
    use aws_lc_rs::signature::{ED25519, UnparsedPublicKey};
    // The public key of the password "secret" as MariaDB's ed25519_password() makes it.
    let nonce = [7_u8; 32];
    let signature = ed25519_response(b"secret", &nonce);
    let public = hex("648814444520e4f56043a2ec9215e63be7992d2d270bc6dee873e36164786096");
    assert!(UnparsedPublicKey::new(&ED25519, public).verify(&nonce, &signature).is_ok());
}

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u32> = text.chars().filter_map(|letter| letter.to_digit(16)).collect();
    digits.chunks(2).map(|pair| u8::try_from(pair[0] << 4 | pair[1]).unwrap()).collect()
}

#[test]
fn a_scramble_has_no_zero_bytes_and_no_dollars() {
    let all: Vec<u8> = (0..=255).collect();
    for seed in all.chunks(16) {
        let mut bytes = [0; SCRAMBLE_LENGTH];
        bytes[..16].copy_from_slice(seed);
        let scramble = scramble_from_seed(bytes);
        assert!(scramble.iter().all(|byte| (1..128).contains(byte) && *byte != b'$'));
    }
}

#[test]
fn a_password_is_not_shown() {
    assert!(!format!("{:?}", login("secret", true)).contains("115, 101"));
    assert!(!format!("{:?}", settings(known("secret"), true)).contains("secret"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_bytes_never_panic(payloads in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 1..4)) {
        for credential in [known("secret"), Credential::Nobody, Credential::Ask] {
            let response = HandshakeResponse::parse(
                &BackendAuth::start(&handshake("caching_sha2_password"), login("x", false)).unwrap().1,
            ).unwrap();
            let (mut client, _) = ClientAuth::start(settings(credential, false), &response);
            let (mut backend, _) = BackendAuth::start(&handshake("client_ed25519_"), login("x", false)).unwrap();
            for payload in &payloads {
                let opened = matches!(client.packet(payload), ClientStep::Authenticated { .. });
                prop_assert!(!opened);
                let _ = backend.packet(payload);
            }
        }
    }

    #[test]
    fn pem_survives_the_round_trip(der in prop::collection::vec(any::<u8>(), 0..300)) {
        let text = pem::encode(&der);
        prop_assert!(text.lines().all(|line| line.len() <= 64));
        prop_assert_eq!(pem::decode(text.as_bytes()), Some(der));
    }
}
