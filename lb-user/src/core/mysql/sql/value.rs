//! The value of a token: names without their quotes, strings without their escapes.
//!
//! Owns the escape rules of both families; it never converts between character sets.
//! MySQL Reference Manual, "String Literals".

use super::SqlMode;
use super::token::{Token, TokenKind};

/// The bytes of a string token: without `N` and quotes, escapes resolved.
pub(crate) fn string(token: &Token, mode: SqlMode) -> Vec<u8> {
    let text = match token.text {
        [b'n' | b'N', rest @ ..] => rest,
        text => text,
    };
    unquote(text, !mode.no_backslash_escapes)
}

/// A name without its quotes, as text; bytes that are no UTF-8 are replaced.
pub(crate) fn name(token: &Token) -> String {
    match token.kind {
        TokenKind::Quoted => String::from_utf8_lossy(&unquote(token.text, false)).into_owned(),
        _ => String::from_utf8_lossy(token.text).into_owned(),
    }
}

/// The lower-case name of a user variable token, without `@` and quotes.
pub(crate) fn user_variable(token: &Token, mode: SqlMode) -> String {
    let text = token.text.get(1..).unwrap_or_default();
    let name = match text.first() {
        Some(b'`') => unquote(text, false),
        Some(b'"') => unquote(text, !mode.no_backslash_escapes && !mode.ansi_quotes),
        Some(b'\'') => unquote(text, !mode.no_backslash_escapes),
        _ => return String::from_utf8_lossy(text).to_ascii_lowercase(),
    };
    String::from_utf8_lossy(&name).to_lowercase()
}

fn unquote(text: &[u8], escapes: bool) -> Vec<u8> {
    let Some((&quote, rest)) = text.split_first() else { return Vec::new() };
    let inner = rest.strip_suffix(&[quote]).unwrap_or(rest);
    let mut value = Vec::with_capacity(inner.len());
    let mut bytes = inner.iter().copied();
    while let Some(byte) = bytes.next() {
        if byte == b'\\' && escapes {
            match bytes.next() {
                Some(escaped) => unescape(escaped, &mut value),
                None => value.push(byte),
            }
        } else {
            value.push(byte);
            if byte == quote {
                // The second of a pair.
                let _ = bytes.next();
            }
        }
    }
    value
}

fn unescape(byte: u8, value: &mut Vec<u8>) {
    match byte {
        b'0' => value.push(0),
        b'b' => value.push(8),
        b'n' => value.push(b'\n'),
        b'r' => value.push(b'\r'),
        b't' => value.push(b'\t'),
        b'Z' => value.push(26),
        // These keep their backslash, for the sake of LIKE patterns.
        b'%' | b'_' => value.extend_from_slice(&[b'\\', byte]),
        _ => value.push(byte),
    }
}
