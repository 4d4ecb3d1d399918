//! What the lexer hands out.
//!
//! Owns the shape of a token and the plain questions one asks it; it never holds a copy of the text.

use super::keyword::Keyword;

/// What stands between a token and the one before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Gap {
    /// Nothing: the tokens touch.
    None,
    /// White space only.
    Space,
    /// A comment, or the edge of a version comment. To the server this is never "nothing", not even with
    /// `IGNORE_SPACE`.
    Comment,
}

/// The classes of tokens the classifier tells apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TokenKind {
    /// An unquoted word: keyword, name or function.
    Word,
    /// A name in backticks, or in double quotes with `ANSI_QUOTES`.
    Quoted,
    /// A string, also `N'…'`.
    String,
    /// A number, also `0x…`, `x'…'`, `0b…` and `b'…'`.
    Number,
    /// `@name` in any of its spellings.
    UserVariable,
    /// `@@`; the scope and the name follow as words.
    SystemVariable,
    /// `?`.
    Parameter,
    /// `:=`.
    Assign,
    /// An operator of several characters.
    Operator,
    /// One other character.
    Punctuation(u8),
    /// From here to the end of the text nothing can be said with certainty.
    Malformed,
    /// The end of the text.
    End,
}

/// A piece of the text.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Token<'a> {
    pub(crate) kind: TokenKind,
    /// The keyword of an unquoted word that is not the second part of a dotted name; else `Keyword::None`.
    pub(crate) keyword: Keyword,
    pub(crate) gap: Gap,
    /// Where it begins in the whole text.
    pub(crate) start: usize,
    pub(crate) text: &'a [u8],
}

impl Token<'_> {
    pub(crate) fn is(&self, byte: u8) -> bool {
        self.kind == TokenKind::Punctuation(byte)
    }

    pub(crate) fn is_name(&self) -> bool {
        matches!(self.kind, TokenKind::Word | TokenKind::Quoted)
    }

    pub(crate) fn is_literal(&self) -> bool {
        matches!(self.kind, TokenKind::String | TokenKind::Number | TokenKind::Parameter)
    }

    /// An unquoted word that reads like this, in any case.
    pub(crate) fn is_word(&self, word: &str) -> bool {
        self.kind == TokenKind::Word && self.text.eq_ignore_ascii_case(word.as_bytes())
    }
}
