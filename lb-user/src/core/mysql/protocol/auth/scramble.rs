//! Hashing a password with a scramble.
//!
//! Owns the arithmetic of `mysql_native_password` and `caching_sha2_password`. Compares in constant time.

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{Algorithm, Context, SHA1_FOR_LEGACY_USE_ONLY, SHA256, digest};

/// Bytes of a scramble.
pub const SCRAMBLE_LENGTH: usize = 20;

/// A scramble from random bytes: servers send no zero bytes and no `$` in it, and keep to seven bits.
pub fn scramble_from_seed(seed: [u8; SCRAMBLE_LENGTH]) -> [u8; SCRAMBLE_LENGTH] {
    seed.map(|byte| match byte & 0x7f {
        0 | b'$' => (byte & 0x7f).saturating_add(1),
        other => other,
    })
}

fn hash(algorithm: &'static Algorithm, parts: [&[u8]; 2]) -> Vec<u8> {
    let mut context = Context::new(algorithm);
    for part in parts {
        context.update(part);
    }
    context.finish().as_ref().to_vec()
}

fn exclusive_or(left: &[u8], right: &[u8]) -> Vec<u8> {
    left.iter().zip(right).map(|(left, right)| left ^ right).collect()
}

/// `SHA1(password) XOR SHA1(scramble, SHA1(SHA1(password)))`; nothing for an empty password. MySQL protocol:
/// Native Authentication.
pub fn native_response(password: &[u8], scramble: &[u8]) -> Vec<u8> {
    if password.is_empty() {
        return Vec::new();
    }
    let once = digest(&SHA1_FOR_LEGACY_USE_ONLY, password);
    let twice = digest(&SHA1_FOR_LEGACY_USE_ONLY, once.as_ref());
    exclusive_or(once.as_ref(), &hash(&SHA1_FOR_LEGACY_USE_ONLY, [scramble, twice.as_ref()]))
}

/// `SHA256(password) XOR SHA256(SHA256(SHA256(password)), scramble)`; one zero byte for an empty password.
/// MySQL protocol: Caching SHA-2 Authentication.
pub fn caching_sha2_response(password: &[u8], scramble: &[u8]) -> Vec<u8> {
    if password.is_empty() {
        return vec![0];
    }
    let once = digest(&SHA256, password);
    let twice = digest(&SHA256, once.as_ref());
    exclusive_or(once.as_ref(), &hash(&SHA256, [twice.as_ref(), scramble]))
}

/// Whether a client that sent `response` has the password.
pub fn verify_native(password: &[u8], scramble: &[u8], response: &[u8]) -> bool {
    equal(&native_response(password, scramble), response)
}

/// Whether a client that sent `response` has the password.
pub fn verify_caching_sha2(password: &[u8], scramble: &[u8], response: &[u8]) -> bool {
    // An empty password comes as nothing or as a zero byte.
    let response = if response.is_empty() { &[0] } else { response };
    equal(&caching_sha2_response(password, scramble), response)
}

/// Compares in constant time; the lengths are no secret.
pub(super) fn equal(left: &[u8], right: &[u8]) -> bool {
    verify_slices_are_equal(left, right).is_ok()
}
