//! Cuts a text into tokens exactly where the server's own lexer would.
//!
//! Owns words, punctuation and the order of the rules; comments and literals are in the modules below. It never
//! allocates and never fails: what cannot be read with certainty becomes one `Malformed` token that reaches to the
//! end of the text.

mod comment;
mod literal;

use super::keyword::Keyword;
use super::token::{Gap, Token, TokenKind};
use super::{Context, Flavor};

/// A place in a text and what the server's lexer would remember there.
#[derive(Debug, Clone)]
pub(crate) struct Lexer<'a> {
    text: &'a [u8],
    position: usize,
    context: Context,
    /// Inside of a version comment that is executed; its `*/` is then no token.
    conditional: bool,
    /// The token before was a word, so that a touching `.` makes the next word a name.
    after_word: bool,
    /// The token before was a touching `.`: no keyword and no number can follow, only a name.
    after_dot: bool,
    hint: bool,
}

const OTHER: u8 = 0;
const SPACE: u8 = 1;
const LETTER: u8 = 2;
const DIGIT: u8 = 3;

const fn classes() -> [u8; 256] {
    let mut table = [OTHER; 256];
    let mut byte = 0;
    #[allow(clippy::indexing_slicing, clippy::cast_possible_truncation)]
    while byte < 256 {
        table[byte] = match byte as u8 {
            b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c => SPACE,
            b'a'..=b'z' | b'A'..=b'Z' | b'_' | b'$' | 0x80..=0xff => LETTER,
            b'0'..=b'9' => DIGIT,
            _ => OTHER,
        };
        byte += 1;
    }
    table
}

static CLASSES: [u8; 256] = classes();

fn class(byte: u8) -> u8 {
    CLASSES.get(usize::from(byte)).copied().unwrap_or(OTHER)
}

/// What an unquoted name may consist of.
fn is_name_byte(byte: u8) -> bool {
    class(byte) >= LETTER
}

impl<'a> Lexer<'a> {
    pub(crate) fn new(text: &'a [u8], context: &Context) -> Self {
        Self {
            text,
            position: 0,
            context: *context,
            conditional: false,
            after_word: false,
            after_dot: false,
            hint: false,
        }
    }

    /// True when an optimizer hint that changes variables has been passed since the last time this was asked.
    pub(crate) fn take_hint(&mut self) -> bool {
        std::mem::take(&mut self.hint)
    }

    /// True inside of a version comment that is executed.
    pub(crate) fn in_version_comment(&self) -> bool {
        self.conditional
    }

    fn peek(&self, ahead: usize) -> Option<u8> {
        self.text.get(self.position + ahead).copied()
    }

    /// The next token; at the end `End`, for ever.
    pub(crate) fn next(&mut self) -> Token<'a> {
        let Some(gap) = self.skip_gap() else { return self.malformed() };
        let start = self.position;
        let Some(byte) = self.peek(0) else {
            // The server refuses a text that ends inside of a version comment.
            return if self.conditional { self.malformed() } else { self.token(TokenKind::End, gap, start) };
        };
        let touching = gap == Gap::None;
        let after_word = std::mem::replace(&mut self.after_word, false) && touching;
        let after_dot = std::mem::replace(&mut self.after_dot, false) && touching;
        let kind = match class(byte) {
            LETTER => self.word(after_dot),
            DIGIT if after_dot => self.word(true),
            DIGIT => self.number(),
            _ => self.mark(byte, after_word),
        };
        let Some(kind) = kind else {
            self.position = start;
            return self.malformed();
        };
        let mut token = self.token(kind, gap, start);
        if kind == TokenKind::Word {
            self.after_word = true;
            if !after_dot {
                token.keyword = Keyword::of(token.text);
            }
        }
        token
    }

    fn token(&self, kind: TokenKind, gap: Gap, start: usize) -> Token<'a> {
        let text = self.text.get(start..self.position).unwrap_or_default();
        Token { kind, keyword: Keyword::None, gap, start, text }
    }

    /// Everything from here on as one token.
    fn malformed(&mut self) -> Token<'a> {
        let start = self.position.min(self.text.len());
        self.position = self.text.len();
        self.conditional = false;
        self.token(TokenKind::Malformed, Gap::Space, start)
    }

    /// A word, or a literal that begins with a letter. `None`: it cannot be read with certainty.
    fn word(&mut self, after_dot: bool) -> Option<TokenKind> {
        let rest = self.text.get(self.position..)?;
        let length = rest.iter().position(|byte| !is_name_byte(*byte)).unwrap_or(rest.len());
        let word = rest.get(..length)?;
        if !after_dot && length == 1 && rest.get(1) == Some(&b'\'') {
            match word {
                b"x" | b"X" => return self.digits_in_quotes(u8::is_ascii_hexdigit),
                b"b" | b"B" => return self.digits_in_quotes(|byte| matches!(byte, b'0' | b'1')),
                b"n" | b"N" => {
                    self.position += 1;
                    return self.quoted(b'\'').then_some(TokenKind::String);
                }
                _ => {}
            }
        }
        if !word.is_ascii() && (!self.context.utf8 || std::str::from_utf8(word).is_err()) {
            return None;
        }
        // MySQL 8.1 and later: `$$ … $$` and `$tag$ … $tag$` quote text. Older ones take it for a name.
        let dollars = self.context.dialect.flavor == Flavor::MySql && word.first() == Some(&b'$');
        if dollars && word.iter().skip(1).any(|byte| *byte == b'$') {
            return None;
        }
        self.position += length;
        Some(TokenKind::Word)
    }

    /// A token that begins with neither a letter nor a digit.
    fn mark(&mut self, byte: u8, after_word: bool) -> Option<TokenKind> {
        match byte {
            b'\'' => self.quoted(b'\'').then_some(TokenKind::String),
            b'"' if self.context.mode.ansi_quotes => self.quoted_name(b'"'),
            b'"' => self.quoted(b'"').then_some(TokenKind::String),
            b'`' => self.quoted_name(b'`'),
            b'@' => self.variable(),
            b'?' => Some(self.advance(1, TokenKind::Parameter)),
            b'.' => Some(self.dot(after_word)),
            // Read as the end of the statement by some parsers and as an error by others.
            0 => None,
            _ => Some(self.operator(byte)),
        }
    }

    fn advance(&mut self, length: usize, kind: TokenKind) -> TokenKind {
        self.position += length;
        kind
    }

    fn dot(&mut self, after_word: bool) -> TokenKind {
        let next = self.peek(1).unwrap_or(0);
        if !after_word && next.is_ascii_digit() {
            return self.fraction();
        }
        // After white space the server looks keywords up again.
        self.after_dot = is_name_byte(next);
        self.advance(1, TokenKind::Punctuation(b'.'))
    }

    fn operator(&mut self, byte: u8) -> TokenKind {
        let next = self.peek(1).unwrap_or(0);
        let length = match (byte, next) {
            (b':', b'=') => return self.advance(2, TokenKind::Assign),
            (b'<', b'=') if self.peek(2) == Some(b'>') => 3,
            (b'-', b'>') if self.peek(2) == Some(b'>') => 3,
            (b'<', b'=' | b'>' | b'<') | (b'>', b'=' | b'>') | (b'!', b'=') => 2,
            (b'|', b'|') | (b'&', b'&') | (b'-', b'>') => 2,
            _ => return self.advance(1, TokenKind::Punctuation(byte)),
        };
        self.advance(length, TokenKind::Operator)
    }
}
