//! SYN cookies: answers to SYNs that nobody has to remember.
//!
//! The sequence number of such an answer is made of the connection's addresses, ports, the client's own sequence number and a
//! secret. Only who received it can send it back, and it brings along what the SYN offered, so a connection can be
//! begun when its client has proved that it is there. RFC 4987 §3.6 is the idea; the layout is our own: a code of 24
//! bits, then a byte that says which of two keys made the code and what the client offered. Timestamps are not
//! among that: a connection begun so has none.
//!
//! Owns the code and the layout. Never asks when cookies are wanted, and sends nothing.

use crate::abi::{FlowKey, SynCookies};

/// What a SYN offered, in seven bits: four of the window scale, two of the segment size, one of selective
/// acknowledgements.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Offer(u8);

/// Largest segment sizes that a cookie can tell apart: of IPv4, of IPv6. The last is what the node offers.
const SEGMENT_SIZES: [[u16; 4]; 2] = [[536, 1300, 1440, 1460], [1220, 1380, 1420, 1440]];
/// Not offered.
const NO_SCALE: u8 = 15;
/// The largest that there is: RFC 7323 §2.3.
const SCALE_MAX: u8 = 14;
const SACK: u8 = 1 << 6;
const OFFER: u32 = 0x7f;
const KEY: u32 = 0x80;
const CODE: u32 = !0xff;

/// The window scale that the node announces in the place of a backend that it has not chosen yet. Linux' own choice for receive
/// buffers between 4 and 8 MiB.
pub const ANNOUNCED_SCALE: u8 = 7;

/// The largest segment that the node announces.
#[inline(always)]
pub const fn announced_segment_bytes(v6: bool) -> u16 {
    SEGMENT_SIZES[v6 as usize][3]
}

impl Offer {
    /// Of a SYN that has no options.
    pub const NONE: Self = Self(NO_SCALE);

    /// With this window scale.
    #[inline(always)]
    pub const fn with_window_scale(self, scale: u8) -> Self {
        let scale = if scale > SCALE_MAX { SCALE_MAX } else { scale };
        Self(self.0 & !0x0f | scale)
    }

    /// With selective acknowledgements.
    #[inline(always)]
    pub const fn with_sack(self) -> Self {
        Self(self.0 | SACK)
    }

    /// With segments of that size at most, rounded down to one that a cookie can tell, or up to the least of them.
    #[inline(always)]
    pub const fn with_segment_bytes(self, bytes: u16, v6: bool) -> Self {
        let sizes = &SEGMENT_SIZES[v6 as usize];
        let index = (bytes >= sizes[1]) as u8 + (bytes >= sizes[2]) as u8 + (bytes >= sizes[3]) as u8;
        Self(self.0 & !0x30 | index << 4)
    }

    /// The window scale; `None` was not offered.
    #[inline(always)]
    pub const fn window_scale(self) -> Option<u8> {
        let scale = self.0 & 0x0f;
        if scale == NO_SCALE { None } else { Some(scale) }
    }

    /// Whether selective acknowledgements were offered.
    #[inline(always)]
    pub const fn has_sack(self) -> bool {
        self.0 & SACK != 0
    }

    /// The largest segment.
    #[inline(always)]
    pub const fn segment_bytes(self, v6: bool) -> u16 {
        SEGMENT_SIZES[v6 as usize][(self.0 >> 4 & 3) as usize]
    }

    /// As a cookie has it, without the rest of one.
    #[inline(always)]
    pub const fn bits(self) -> u32 {
        self.0 as u32
    }

    /// What a cookie brought along. Not checked: [`SynCookies::check`] does that.
    #[inline(always)]
    pub const fn of(cookie: u32) -> Self {
        Self((cookie & OFFER) as u8)
    }
}

impl SynCookies {
    /// The cookie for a client's SYN with that sequence number (host order) and offer.
    #[inline(always)]
    pub fn make(&self, key: &FlowKey, client_isn: u32, offer: Offer) -> u32 {
        let rest = (self.current & 1) << 7 | u32::from(offer.0) & OFFER;
        code(self.key(rest), key, client_isn, rest) | rest
    }

    /// Whether this is a cookie that was made, not longer ago than keys live, for such a SYN.
    #[inline(always)]
    pub fn check(&self, key: &FlowKey, client_isn: u32, cookie: u32) -> bool {
        let rest = cookie & !CODE;
        code(self.key(rest), key, client_isn, rest) == cookie & CODE
    }

    #[inline(always)]
    const fn key(&self, rest: u32) -> &[u64; 2] {
        // By a branch: the program may not index by a number that its verifier does not know.
        if rest & KEY == 0 { &self.keys[0] } else { &self.keys[1] }
    }
}

/// 24 bits of a code over all that a cookie must not be used for twice.
// A function of its own in the program, whose stack is small.
#[cfg_attr(target_arch = "bpf", inline(never))]
fn code(secret: &[u64; 2], key: &FlowKey, client_isn: u32, rest: u32) -> u32 {
    let mut hash = SipHash::new(secret);
    let words: &[u32; 10] = bytemuck::cast_ref(key);
    let mut at = 0;
    while at < 10 {
        hash.take(u64::from(u32::from_le(words[at])) | u64::from(u32::from_le(words[at + 1])) << 32);
        at += 2;
    }
    hash.take(u64::from(client_isn) << 32 | u64::from(rest));
    hash.finish(48) as u32 & CODE
}

/// SipHash-1-3 over whole words of 64 bits: a keyed hash that is fast on short input, made for secrets like this one
/// (Aumasson and Bernstein 2012). Linux and FreeBSD make their cookies with it.
struct SipHash([u64; 4]);

impl SipHash {
    #[inline(always)]
    const fn new(key: &[u64; 2]) -> Self {
        Self([
            key[0] ^ 0x736f_6d65_7073_6575,
            key[1] ^ 0x646f_7261_6e64_6f6d,
            key[0] ^ 0x6c79_6765_6e65_7261,
            key[1] ^ 0x7465_6462_7974_6573,
        ])
    }

    #[inline(always)]
    const fn round(&mut self) {
        let [mut a, mut b, mut c, mut d] = self.0;
        a = a.wrapping_add(b);
        b = b.rotate_left(13) ^ a;
        a = a.rotate_left(32);
        c = c.wrapping_add(d);
        d = d.rotate_left(16) ^ c;
        a = a.wrapping_add(d);
        d = d.rotate_left(21) ^ a;
        c = c.wrapping_add(b);
        b = b.rotate_left(17) ^ c;
        c = c.rotate_left(32);
        self.0 = [a, b, c, d];
    }

    #[inline(always)]
    const fn take(&mut self, word: u64) {
        self.0[3] ^= word;
        self.round();
        self.0[0] ^= word;
    }

    /// The hash of what was taken, so many bytes.
    #[inline(always)]
    const fn finish(mut self, bytes: u64) -> u64 {
        self.take(bytes << 56);
        self.0[2] ^= 0xff;
        self.round();
        self.round();
        self.round();
        self.0[0] ^ self.0[1] ^ self.0[2] ^ self.0[3]
    }
}

/// By what the windows of both sides are to be turned, as their SYNs offered scales: those of the backend, for [`rescaled_window`], and
/// those of the client, for [`expanded_window`]. Where the client does not scale, nobody does; where the backend does not, the client
/// does all the same, since its cookie said so.
#[inline(always)]
pub const fn scales(client: Option<u8>, backend: Option<u8>) -> (u8, u8) {
    match (client, backend) {
        (None, _) => (ANNOUNCED_SCALE, 0),
        (Some(client), None) => (0, client),
        (Some(_), Some(backend)) => (backend, 0),
    }
}

/// What arrives as a window of a client that scales by `client_scale`, for a backend that knows of no scale.
#[inline(always)]
pub const fn expanded_window(window: u16, client_scale: u8) -> u16 {
    let bytes = (window as u32) << (client_scale & 0x0f);
    if bytes > 0xffff { 0xffff } else { bytes as u16 }
}

/// What arrives as a window of a backend that scales by `backend_scale`, as one that the node announced: scaled by
/// [`ANNOUNCED_SCALE`], as near as that allows, and never more than the backend has.
#[inline(always)]
pub const fn rescaled_window(window: u16, backend_scale: u8) -> u16 {
    let bytes = (window as u32) << (backend_scale & 0x0f);
    let scaled = bytes >> ANNOUNCED_SCALE;
    if scaled > 0xffff { 0xffff } else { scaled as u16 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::abi::Address;
    use core::hash::Hasher as _;
    use proptest::prelude::*;

    fn cookies(current: u32) -> SynCookies {
        SynCookies { keys: [[1, 2], [3, 4]], current, threshold: 0, direct_threshold: 0, zero: 0 }
    }

    fn key(port: u16) -> FlowKey {
        let (client, vip) = (Address::from_v4([10, 90, 0, 10]), Address::from_v4([10, 80, 0, 100]));
        FlowKey::new(client, port.to_be_bytes(), vip, [0, 80], 6)
    }

    #[test]
    fn the_code_is_siphash_1_3_as_the_standard_library_has_it() {
        // Its default hasher is that, with a key of zeros.
        let mut theirs = std::collections::hash_map::DefaultHasher::new();
        let mut ours = SipHash::new(&[0, 0]);
        for word in [1u64, 0xdead_beef, u64::MAX] {
            theirs.write(&word.to_le_bytes());
            ours.take(word);
        }
        assert_eq!(ours.finish(24), theirs.finish());
    }

    #[test]
    fn a_cookie_is_good_for_one_connection_only() {
        let cookie = cookies(0).make(&key(4000), 77, Offer::NONE);
        assert!(cookies(0).check(&key(4000), 77, cookie));
        assert!(!cookies(0).check(&key(4001), 77, cookie));
        assert!(!cookies(0).check(&key(4000), 78, cookie));
        assert!(!cookies(0).check(&key(4000), 77, cookie ^ 1), "nobody offered that");
    }

    #[test]
    fn a_cookie_outlives_one_change_of_keys_and_not_two() {
        let cookie = cookies(0).make(&key(1), 5, Offer::NONE);
        assert!(cookies(1).check(&key(1), 5, cookie));
        let next = SynCookies { keys: [[9, 9], [3, 4]], ..cookies(0) };
        assert!(!next.check(&key(1), 5, cookie));
    }

    #[test]
    fn segment_sizes_are_rounded_down_to_one_that_can_be_told() {
        let told = |bytes, v6| Offer::NONE.with_segment_bytes(bytes, v6).segment_bytes(v6);
        assert_eq!(
            [told(100, false), told(1459, false), told(1460, false), told(8960, false)],
            [536, 1440, 1460, 1460]
        );
        assert_eq!([told(1220, true), told(1439, true), told(1440, true)], [1220, 1420, 1440]);
    }

    #[test]
    fn windows_keep_their_size_where_the_scale_allows() {
        assert_eq!(rescaled_window(509, 7), 509);
        assert_eq!(rescaled_window(509, 10), 4072);
        assert_eq!(rescaled_window(0xffff, 14), 0xffff, "eight megabytes are all that can be announced");
        assert_eq!(rescaled_window(64_240, 0), 501);
    }

    #[test]
    fn windows_are_not_scaled_for_who_does_not_scale() {
        let (backend, client) = scales(None, None);
        assert_eq!((rescaled_window(64_240, backend), expanded_window(64_240, client)), (64_240, 64_240));
        let (backend, client) = scales(Some(7), None);
        assert_eq!((rescaled_window(64_240, backend), expanded_window(501, client)), (501, 64_128));
        assert_eq!(expanded_window(0xffff, client), 0xffff, "a backend that does not scale can take no more");
        assert_eq!(scales(Some(7), Some(10)), (10, 0));
    }

    proptest! {
        #[test]
        fn a_cookie_brings_along_what_was_offered(
            isn: u32, scale in 0u8..15, segment_bytes: u16, sack: bool, v6: bool, current in 0u32..2
        ) {
            let offer = Offer::NONE.with_window_scale(scale).with_segment_bytes(segment_bytes, v6);
            let offer = if sack { offer.with_sack() } else { offer };
            let cookie = cookies(current).make(&key(9), isn, offer);
            prop_assert!(cookies(current).check(&key(9), isn, cookie));
            prop_assert_eq!(Offer::of(cookie), offer);
            prop_assert_eq!(offer.window_scale(), Some(scale));
            prop_assert_eq!(offer.has_sack(), sack);
        }

        #[test]
        fn guesses_fail(isn: u32, guess: u32) {
            // One in 16 million would be right; these are a few hundred.
            let right = cookies(0).make(&key(3), isn, Offer::of(guess));
            prop_assert!(guess == right || guess & 0x80 != 0 || !cookies(0).check(&key(3), isn, guess));
        }
    }
}
