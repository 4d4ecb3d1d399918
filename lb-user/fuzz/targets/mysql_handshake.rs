//! What strangers say before they have proved a password, and servers before they are trusted: what is understood and said again is understood as the same.

#![no_main]

use std::fmt::Debug;

use lbctl_fuzz::core::mysql::protocol::capabilities::Capabilities;
use lbctl_fuzz::core::mysql::protocol::handshake::{
    AuthSwitchRequest, ChangeUser, ClientHello, HandshakeResponse, InitialHandshake,
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Some((number, payload)) = bytes.split_first_chunk::<4>() else { return };
    let capabilities = Capabilities(u32::from_le_bytes(*number).into());
    // Plugins of today have challenges of that length.
    let initial =
        |payload: &[u8]| InitialHandshake::parse(payload).ok().filter(|one| one.scramble.len() == 20);
    same_again(payload, initial, InitialHandshake::encode);
    same_again(payload, |payload| HandshakeResponse::parse(payload).ok(), HandshakeResponse::encode);
    same_again(payload, |payload| AuthSwitchRequest::parse(payload).ok(), AuthSwitchRequest::encode);
    same_again(
        payload,
        |payload| ChangeUser::parse(payload, capabilities).ok(),
        |user| user.encode(capabilities),
    );
    let _ = ClientHello::parse(payload);
});

/// What was read, written, read and written again is what was written: flags for what is not there may go the first time.
#[track_caller]
fn same_again<T: Debug>(payload: &[u8], parse: impl Fn(&[u8]) -> Option<T>, encode: impl Fn(&T) -> Vec<u8>) {
    let Some(read) = parse(payload) else { return };
    let written = encode(&read);
    let again = parse(&written).map(|read| encode(&read));
    assert_eq!(again.as_deref(), Some(&written[..]), "{read:?}");
}
