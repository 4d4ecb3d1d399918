//! Walks over the tokens of one statement.
//!
//! Owns the place in the list and the small questions of a hand-written parser; it never goes back by itself.

use super::keyword::Keyword;
use super::token::{Token, TokenKind};
use super::value;

const NOTHING: Token<'static> =
    Token { kind: TokenKind::End, keyword: Keyword::None, gap: super::token::Gap::None, start: 0, text: b"" };

/// A place in the tokens of a statement.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cursor<'t, 'a> {
    tokens: &'t [Token<'a>],
    position: usize,
}

impl<'t, 'a> Cursor<'t, 'a> {
    pub(crate) fn new(tokens: &'t [Token<'a>]) -> Self {
        Self { tokens, position: 0 }
    }

    /// The token so many places ahead; `End` behind the last one.
    pub(crate) fn ahead(&self, places: usize) -> Token<'a> {
        self.tokens.get(self.position + places).copied().unwrap_or(NOTHING)
    }

    pub(crate) fn peek(&self) -> Token<'a> {
        self.ahead(0)
    }

    pub(crate) fn keyword(&self) -> Keyword {
        self.peek().keyword
    }

    pub(crate) fn next(&mut self) -> Token<'a> {
        let token = self.peek();
        self.position = (self.position + 1).min(self.tokens.len());
        token
    }

    pub(crate) fn at_end(&self) -> bool {
        self.position >= self.tokens.len()
    }

    /// The tokens that are still to come.
    pub(crate) fn rest(&self) -> &'t [Token<'a>] {
        self.tokens.get(self.position..).unwrap_or_default()
    }

    pub(crate) fn eat(&mut self, keyword: Keyword) -> bool {
        let found = keyword != Keyword::None && self.keyword() == keyword;
        if found {
            self.next();
        }
        found
    }

    /// All of the keywords one after another, or none of them.
    pub(crate) fn eat_all(&mut self, keywords: &[Keyword]) -> bool {
        let found = keywords.iter().enumerate().all(|(at, keyword)| self.ahead(at).keyword == *keyword);
        if found {
            self.position += keywords.len();
        }
        found
    }

    pub(crate) fn eat_mark(&mut self, byte: u8) -> bool {
        let found = self.peek().is(byte);
        if found {
            self.next();
        }
        found
    }

    pub(crate) fn eat_word(&mut self, word: &str) -> bool {
        let found = self.peek().is_word(word);
        if found {
            self.next();
        }
        found
    }

    /// One name, quoted or not.
    pub(crate) fn name(&mut self) -> Option<String> {
        self.peek().is_name().then(|| value::name(&self.next()))
    }

    /// The last part of a name with dots.
    pub(crate) fn dotted_name(&mut self) -> Option<String> {
        let mut name = self.name()?;
        while self.eat_mark(b'.') {
            name = self.name()?;
        }
        Some(name)
    }

    /// The tokens up to the next comma outside of parentheses; the comma is passed over.
    pub(crate) fn item(&mut self) -> &'t [Token<'a>] {
        let rest = self.rest();
        let mut depth = 0usize;
        let length = rest.iter().position(|token| {
            match token.kind {
                TokenKind::Punctuation(b'(') => depth += 1,
                TokenKind::Punctuation(b')') => depth = depth.saturating_sub(1),
                _ => {}
            }
            depth == 0 && token.is(b',')
        });
        let length = length.unwrap_or(rest.len());
        self.position = (self.position + length + 1).min(self.tokens.len());
        rest.get(..length).unwrap_or_default()
    }
}
