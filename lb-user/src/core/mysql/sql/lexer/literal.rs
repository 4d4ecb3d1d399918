//! Strings, quoted names, numbers and variables.
//!
//! Owns where each of them ends; what they mean is in `value`. It never decides between a column and a keyword.
//! MySQL Reference Manual, "Literal Values", "Schema Object Names", "User-Defined Variables".

use super::super::token::TokenKind;
use super::{Lexer, is_name_byte};

impl Lexer<'_> {
    /// Passes a string or name in quotes, from its opening quote on. False: it has no end.
    pub(super) fn quoted(&mut self, quote: u8) -> bool {
        let escapes = quote != b'`' && !self.context.mode.no_backslash_escapes;
        self.quoted_text(quote, escapes)
    }

    /// A name in quotes; a backslash is a plain character there.
    pub(super) fn quoted_name(&mut self, quote: u8) -> Option<TokenKind> {
        self.quoted_text(quote, false).then_some(TokenKind::Quoted)
    }

    fn quoted_text(&mut self, quote: u8, escapes: bool) -> bool {
        let mut at = self.position + 1;
        loop {
            let rest = self.text.get(at..).unwrap_or_default();
            let Some(found) = rest.iter().position(|byte| *byte == quote || (escapes && *byte == b'\\'))
            else {
                return false;
            };
            // In some character sets such a byte is the second half of a letter.
            let before = self.text.get((at + found).saturating_sub(1)).is_some_and(|byte| *byte >= 0x80);
            let is_ambiguous = rest.get(found).is_some_and(|byte| matches!(byte, b'\\' | b'`'));
            if before && is_ambiguous && !self.context.utf8 {
                return false;
            }
            let doubled = rest.get(found + 1) == Some(&quote);
            if rest.get(found) == Some(&quote) && !doubled {
                self.position = at + found + 1;
                return true;
            }
            at += found + 2;
        }
    }

    /// `x'…'` and `b'…'`: the server takes nothing but digits there.
    pub(super) fn digits_in_quotes(&mut self, allowed: fn(&u8) -> bool) -> Option<TokenKind> {
        let rest = self.text.get(self.position + 2..)?;
        let length = rest.iter().position(|byte| !allowed(byte))?;
        if rest.get(length) != Some(&b'\'') {
            return None;
        }
        self.position += length + 3;
        Some(TokenKind::Number)
    }

    fn count(&self, from: usize, allowed: fn(&u8) -> bool) -> usize {
        let rest = self.text.get(from..).unwrap_or_default();
        rest.iter().position(|byte| !allowed(byte)).unwrap_or(rest.len())
    }

    /// What begins with a digit: a number, or a name when letters follow.
    pub(super) fn number(&mut self) -> Option<TokenKind> {
        let marked = match (self.peek(0), self.peek(1)) {
            (Some(b'0'), Some(b'x')) => self.count(self.position + 2, u8::is_ascii_hexdigit),
            (Some(b'0'), Some(b'b')) => self.count(self.position + 2, |byte| matches!(byte, b'0' | b'1')),
            _ => 0,
        };
        if marked > 0 && !self.peek(2 + marked).is_some_and(is_name_byte) {
            return Some(self.advance(2 + marked, TokenKind::Number));
        }
        let digits = self.count(self.position, u8::is_ascii_digit);
        match self.peek(digits) {
            Some(b'.') => {
                self.position += digits;
                Some(self.fraction())
            }
            Some(b'e' | b'E') => match self.exponent(digits) {
                0 => self.word(true),
                length => Some(self.advance(digits + length, TokenKind::Number)),
            },
            Some(byte) if is_name_byte(byte) => self.word(true),
            _ => Some(self.advance(digits, TokenKind::Number)),
        }
    }

    /// The length of `e10`, `e+10` or `e-10` at so many bytes from here; 0 when it is none.
    fn exponent(&self, ahead: usize) -> usize {
        let sign = usize::from(matches!(self.peek(ahead + 1), Some(b'+' | b'-')));
        match self.count(self.position + ahead + 1 + sign, u8::is_ascii_digit) {
            0 => 0,
            digits => 1 + sign + digits,
        }
    }

    /// A `.` with the digits and the exponent behind it.
    pub(super) fn fraction(&mut self) -> TokenKind {
        let digits = self.count(self.position + 1, u8::is_ascii_digit);
        if !matches!(self.peek(1 + digits), Some(b'e' | b'E')) {
            return self.advance(1 + digits, TokenKind::Number);
        }
        match self.exponent(1 + digits) {
            // The server gives this up as an error.
            0 => self.advance(self.text.len() - self.position, TokenKind::Malformed),
            length => self.advance(1 + digits + length, TokenKind::Number),
        }
    }

    /// `@name`, `@'name'` or `@@`.
    pub(super) fn variable(&mut self) -> Option<TokenKind> {
        match self.peek(1) {
            Some(b'@') => {
                self.position += 2;
                let named = self.peek(0).is_some_and(|byte| is_name_byte(byte) || byte == b'`');
                named.then_some(TokenKind::SystemVariable)
            }
            Some(quote @ (b'\'' | b'"' | b'`')) => {
                self.position += 1;
                let name = quote == b'`' || (quote == b'"' && self.context.mode.ansi_quotes);
                let ended = if name { self.quoted_text(quote, false) } else { self.quoted(quote) };
                ended.then_some(TokenKind::UserVariable)
            }
            _ => {
                let length = self.count(self.position + 1, |byte| is_name_byte(*byte) || *byte == b'.');
                let name = self.text.get(self.position..self.position + 1 + length)?;
                // Which bytes above ASCII belong to it depends on the character set.
                name.is_ascii().then(|| self.advance(1 + length, TokenKind::UserVariable))
            }
        }
    }
}
