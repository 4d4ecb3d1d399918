//! PEM, as far as a public key needs it.
//!
//! Owns base64 with its frame of dashes. Never knows what is inside.

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
const BEGIN: &str = "-----BEGIN PUBLIC KEY-----";
const END: &str = "-----END PUBLIC KEY-----";

/// A public key (SubjectPublicKeyInfo in DER) as PEM, in lines of 64.
pub(super) fn encode(der: &[u8]) -> String {
    let mut text = String::from(BEGIN);
    for (index, group) in der.chunks(3).enumerate() {
        if index % 16 == 0 {
            text.push('\n');
        }
        let mut bytes = [0; 4];
        for (to, from) in bytes.iter_mut().skip(1).zip(group) {
            *to = *from;
        }
        let bits = u32::from_be_bytes(bytes);
        for (place, shift) in [18, 12, 6, 0].into_iter().enumerate() {
            let digit = usize::try_from(bits >> shift & 63).unwrap_or(0);
            let letter = ALPHABET.get(digit).copied().filter(|_| place <= group.len());
            text.push(char::from(letter.unwrap_or(b'=')));
        }
    }
    text.push('\n');
    text.push_str(END);
    text.push('\n');
    text
}

/// The DER bytes of the first public key in `pem`; `None` when there is none or its base64 is broken.
pub(super) fn decode(pem: &[u8]) -> Option<Vec<u8>> {
    let text = std::str::from_utf8(pem).ok()?;
    let (_, rest) = text.split_once(BEGIN)?;
    let (body, _) = rest.split_once(END)?;
    let mut out = Vec::with_capacity(body.len());
    let (mut bits, mut count) = (0_u32, 0_u32);
    for letter in body.bytes().filter(|letter| !letter.is_ascii_whitespace() && *letter != b'=') {
        let digit = ALPHABET.iter().position(|known| *known == letter)?;
        bits = bits << 6 | u32::try_from(digit).ok()?;
        count += 6;
        if count >= 8 {
            count -= 8;
            out.push(u8::try_from(bits >> count & 0xff).ok()?);
        }
    }
    Some(out)
}
