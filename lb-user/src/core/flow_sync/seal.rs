//! The seal of a datagram: HMAC-SHA256 (RFC 2104) with the key that all nodes share.
//!
//! Says that somebody who has the key made it. That it is neither old nor another's is for the session, whose epochs are under the seal.

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

/// Bytes of a seal.
const SEAL_BYTES: usize = 32;

/// The key that nodes share.
#[derive(Clone)]
pub struct SyncKey(Hmac<Sha256>);

impl SyncKey {
    /// The shortest secret that is taken, in bytes.
    pub const MIN_BYTES: usize = 32;

    /// Of a file's content; space around it does not belong to it. `None`: it is too short to be a secret.
    pub fn new(content: &[u8]) -> Option<Self> {
        let secret = content.trim_ascii();
        let keyed = Hmac::new_from_slice(secret).ok()?;
        (secret.len() >= Self::MIN_BYTES).then_some(Self(keyed))
    }

    /// Appends the seal.
    pub fn seal(&self, datagram: &mut Vec<u8>) {
        let seal = self.0.clone().chain_update(&*datagram).finalize();
        datagram.extend(seal.into_bytes());
    }

    /// What is under the seal; `None`: it is not of this key.
    pub fn open<'a>(&self, datagram: &'a [u8]) -> Option<&'a [u8]> {
        let (content, seal) = datagram.split_last_chunk::<SEAL_BYTES>()?;
        // Compares in constant time.
        self.0.clone().chain_update(content).verify_slice(seal).ok().map(|()| content)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &[u8] = b"0123456789abcdef0123456789abcdef";

    #[test]
    fn a_seal_opens_with_its_key_alone_and_for_these_bytes_alone() {
        let key = SyncKey::new(SECRET).expect("long enough");
        let mut datagram = b"flows".to_vec();
        key.seal(&mut datagram);
        assert_eq!(datagram.len(), 5 + SEAL_BYTES);
        assert_eq!(key.open(&datagram), Some(&b"flows"[..]));
        let same = SyncKey::new(&[SECRET, b"\n"].concat()).expect("the line's end is not part of it");
        assert_eq!(same.open(&datagram), Some(&b"flows"[..]));
        let other = SyncKey::new(&[SECRET, b"x"].concat()).expect("long enough");
        assert_eq!(other.open(&datagram), None);
        for at in 0..datagram.len() {
            let mut changed = datagram.clone();
            changed[at] ^= 1;
            assert_eq!(key.open(&changed), None, "byte {at}");
            assert_eq!(key.open(&datagram[..at]), None, "cut at {at}");
        }
    }

    #[test]
    fn a_short_secret_is_none() {
        assert!(SyncKey::new(&SECRET[1..]).is_none());
    }

    /// RFC 4231, test case 2 has a key that is too short here; 6 has one of 131 bytes.
    #[test]
    fn seals_are_those_of_the_standard() {
        let key = SyncKey::new(&[0xaa; 131]).expect("long enough");
        let mut datagram = b"Test Using Larger Than Block-Size Key - Hash Key First".to_vec();
        let length = datagram.len();
        key.seal(&mut datagram);
        let seal: String = datagram[length..].iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(seal, "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54");
    }
}
