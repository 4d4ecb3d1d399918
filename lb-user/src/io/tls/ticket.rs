//! Session tickets (RFC 8446 §4.6.1, RFC 5077) under keys that nodes with one secret have in common, so that a session goes on at another
//! node after a failover.
//!
//! Nothing is exchanged: each key is made of the secret and the number of its half-day, and so rotates on all nodes at once, as long as their
//! clocks agree within that time. Owns keys and the form of tickets. What is in one is for the TLS library alone to know.

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use aws_lc_rs::hmac;
use rustls::server::ProducesTickets;
use std::time::{Duration, SystemTime};

/// How long one key is used for new tickets. Those of the key before are still good, so a ticket lasts that long at least.
pub const ROTATED_EVERY: Duration = Duration::from_secs(12 * 3600);

/// What keys are made of: whoever has it can read tickets.
#[derive(Clone)]
pub struct TicketSecret([u8; 32]);

impl TicketSecret {
    /// Made of a secret, for one service: a ticket of one is worth nothing at another.
    pub fn new(secret: &[u8], service: &str) -> Self {
        let of_all = Self(tag(secret, b"lbctl session tickets"));
        of_all.of(service.as_bytes())
    }

    /// The one for those parties of it that have this in common.
    #[must_use]
    pub(super) fn of(&self, parties: &[u8]) -> Self {
        Self(tag(&self.0, parties))
    }
}

impl std::fmt::Debug for TicketSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TicketSecret")
    }
}

fn tag(key: &[u8], text: &[u8]) -> [u8; 32] {
    let key = hmac::Key::new(hmac::HMAC_SHA256, key);
    let mut out = [0; 32];
    // As long as the hash is.
    out.copy_from_slice(hmac::sign(&key, text).as_ref());
    out
}

/// Tickets, as the TLS library wants them made and read.
#[derive(Debug)]
pub(super) struct Tickets {
    secret: TicketSecret,
}

/// Which key it was: the number of half-days since 1970.
type KeyNumber = u32;
const NUMBER_BYTES: usize = size_of::<KeyNumber>();

impl Tickets {
    pub(super) fn new(secret: &TicketSecret) -> Self {
        Self { secret: secret.clone() }
    }

    fn key(&self, number: KeyNumber) -> Option<RandomizedNonceKey> {
        RandomizedNonceKey::new(&AES_256_GCM, &self.secret.of(&number.to_be_bytes()).0).ok()
    }

    fn encrypt_at(&self, now: KeyNumber, plain: &[u8]) -> Option<Vec<u8>> {
        let mut sealed = plain.to_vec();
        let number = now.to_be_bytes();
        let nonce = self.key(now)?.seal_in_place_append_tag(Aad::from(number), &mut sealed).ok()?;
        Some([&number[..], nonce.as_ref(), &sealed].concat())
    }

    fn decrypt_at(&self, now: KeyNumber, ticket: &[u8]) -> Option<Vec<u8>> {
        let (number, rest) = ticket.split_first_chunk::<NUMBER_BYTES>()?;
        let (nonce, sealed) = rest.split_first_chunk::<NONCE_LEN>()?;
        let made = KeyNumber::from_be_bytes(*number);
        // The one before; and the one after, which a node whose clock is ahead has already.
        if made.abs_diff(now) > 1 {
            return None;
        }
        let mut opened = sealed.to_vec();
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let plain = self.key(made)?.open_in_place(nonce, Aad::from(*number), &mut opened).ok()?.len();
        opened.truncate(plain);
        Some(opened)
    }
}

fn now() -> KeyNumber {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    KeyNumber::try_from(since.as_secs() / ROTATED_EVERY.as_secs()).unwrap_or(KeyNumber::MAX)
}

impl ProducesTickets for Tickets {
    fn enabled(&self) -> bool {
        true
    }

    fn lifetime(&self) -> u32 {
        ROTATED_EVERY.as_secs() as u32
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        self.encrypt_at(now(), plain)
    }

    fn decrypt(&self, ticket: &[u8]) -> Option<Vec<u8>> {
        self.decrypt_at(now(), ticket)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tickets(secret: &str, service: &str) -> Tickets {
        Tickets::new(&TicketSecret::new(secret.as_bytes(), service))
    }

    #[test]
    fn a_ticket_of_one_node_is_read_by_another_with_the_same_secret() {
        let ticket = tickets("secret", "web").encrypt_at(7, b"a session").expect("a ticket");
        assert_eq!(tickets("secret", "web").decrypt_at(7, &ticket).as_deref(), Some(&b"a session"[..]));
        assert_eq!(tickets("another", "web").decrypt_at(7, &ticket), None);
    }

    #[test]
    fn a_ticket_of_one_service_is_worth_nothing_at_another() {
        let ticket = tickets("secret", "open").encrypt_at(7, b"a session").expect("a ticket");
        assert_eq!(tickets("secret", "closed").decrypt_at(7, &ticket), None);
    }

    #[test]
    fn a_ticket_is_good_until_its_key_was_rotated_twice() {
        let tickets = tickets("secret", "web");
        let ticket = tickets.encrypt_at(7, b"a session").expect("a ticket");
        let reads = |now| tickets.decrypt_at(now, &ticket).is_some();
        assert_eq!([5, 6, 7, 8, 9].map(reads), [false, true, true, true, false]);
    }

    #[test]
    fn no_bytes_are_taken_for_a_ticket() {
        let tickets = tickets("secret", "web");
        let whole = tickets.encrypt_at(7, b"a session").expect("a ticket");
        for cut in 0..whole.len() {
            assert_eq!(tickets.decrypt_at(7, &whole[..cut]), None, "cut at {cut}");
        }
        for at in 0..whole.len() {
            let mut wrong = whole.clone();
            wrong[at] ^= 1;
            assert_eq!(tickets.decrypt_at(7, &wrong), None, "changed at {at}");
        }
    }
}
