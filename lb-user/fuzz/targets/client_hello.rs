//! The ClientHello: the name in it is found however the hello arrives, and whichever records it is spread over.
//!
//! Owns what must hold of `peek`.

#![no_main]

use lbctl_fuzz::client_hello::{HELLO_BYTES_MAX, peek};
use lbctl_fuzz::decided;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    // What is longer is nowhere promised to be decided alike, but it is read.
    let _ = decided(&bytes[..bytes.len().min(HELLO_BYTES_MAX)], peek);
    let Ok(Some(hello)) = peek(bytes) else { return };
    let message = message(bytes);
    if let Some(name) = &hello.server_name {
        assert!(!name.is_empty() && name.is_ascii() && *name == name.to_ascii_lowercase(), "{name:?}");
        let lower = message.to_ascii_lowercase();
        assert!(lower.windows(name.len()).any(|part| part == name.as_bytes()), "{name:?} was not sent");
    }
    // As many bytes to a record as the last byte says: something that the fuzzer can change.
    let bytes_max = usize::from(bytes[bytes.len() - 1]) + 1;
    assert_eq!(peek(&spread(&message, bytes_max)), Ok(Some(hello)), "{bytes_max} bytes to a record");
});

/// What the records hold, as far as they are there. A length that a record claims ends with the input.
fn message(bytes: &[u8]) -> Vec<u8> {
    let (mut rest, mut message) = (bytes, Vec::new());
    while let [_, _, _, high, low, after @ ..] = rest {
        let length = after.len().min(u16::from_be_bytes([*high, *low]).into());
        message.extend(&after[..length]);
        rest = &after[length..];
    }
    message
}

/// The same in records of so many bytes at most.
fn spread(message: &[u8], bytes_max: usize) -> Vec<u8> {
    let mut records = Vec::new();
    for part in message.chunks(bytes_max) {
        records.extend([22, 3, 1]);
        records.extend((part.len() as u16).to_be_bytes());
        records.extend(part);
    }
    records
}
