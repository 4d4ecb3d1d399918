//! MariaDB's `client_ed25519`.
//!
//! Owns the signature with a key made from a password of any length, for which a library of ordinary Ed25519
//! has no place. The rest follows RFC 8032, 5.1.6.

use aws_lc_rs::digest::{Context, SHA512, digest};
use curve25519_dalek::edwards::EdwardsPoint;
use curve25519_dalek::scalar::{Scalar, clamp_integer};

/// Bytes of the server's nonce.
pub(super) const NONCE_LENGTH: usize = 32;

/// The signature of the server's nonce (32 bytes) with the password as the key: 64 bytes. MariaDB protocol:
/// Authentication Plugin - ed25519.
pub fn ed25519_response(password: &[u8], nonce: &[u8]) -> Vec<u8> {
    let [scalar_bytes, prefix] = halves(digest(&SHA512, password).as_ref());
    let secret = Scalar::from_bytes_mod_order(clamp_integer(scalar_bytes));
    let public = EdwardsPoint::mul_base(&secret).compress();
    let once = scalar_of([&prefix, nonce, &[]]);
    let commitment = EdwardsPoint::mul_base(&once).compress();
    let challenge = scalar_of([commitment.as_bytes(), public.as_bytes(), nonce]);
    let answer = challenge * secret + once;
    [commitment.to_bytes(), answer.to_bytes()].concat()
}

fn scalar_of(parts: [&[u8]; 3]) -> Scalar {
    let mut context = Context::new(&SHA512);
    for part in parts {
        context.update(part);
    }
    let mut wide = [0; 64];
    for (to, from) in wide.iter_mut().zip(context.finish().as_ref()) {
        *to = *from;
    }
    Scalar::from_bytes_mod_order_wide(&wide)
}

fn halves(hash: &[u8]) -> [[u8; 32]; 2] {
    let mut halves = [[0; 32]; 2];
    for (to, from) in halves.iter_mut().flatten().zip(hash) {
        *to = *from;
    }
    halves
}
