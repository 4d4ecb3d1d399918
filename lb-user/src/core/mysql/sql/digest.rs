//! The shape of a statement: its text without literals, and a number for it.
//!
//! Owns the normal form. It holds no literal, whatever the text is; it keeps the names of schemas, tables, columns
//! and variables. Words are in lower case, so tables whose names differ in case only are one.

use super::keyword::Keyword as K;
use super::lexer::Lexer;
use super::token::{Token, TokenKind};
use super::{Context, value};

/// The longest text of a digest, in bytes.
pub const DIGEST_TEXT_LIMIT: usize = 4096;

/// The normal form of a text and its hash.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Digest {
    /// FNV-1a, 64 bits, of the whole normal form.
    pub hash: u64,
    /// The normal form, at most `DIGEST_TEXT_LIMIT` bytes of it.
    pub text: String,
}

/// The digest of a text: literals become `?`, lists of literals `(...)`, equal rows of VALUES one row, comments
/// and spare white space go.
#[must_use]
pub fn digest(text: &[u8], context: &Context) -> Digest {
    let mut lexer = Lexer::new(text, context);
    let mut form = Form::default();
    loop {
        let token = lexer.next();
        match token.kind {
            TokenKind::End => break,
            TokenKind::Malformed => {
                // Whatever it is, it may be a literal.
                form.literal();
                break;
            }
            _ => form.token(&token, context),
        }
    }
    let mut text = form.text;
    let hash = text.bytes().fold(FNV_OFFSET, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(FNV_PRIME));
    text.truncate(text.floor_char_boundary(DIGEST_TEXT_LIMIT));
    Digest { hash, text }
}

const FNV_OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
const FNV_PRIME: u64 = 0x0000_0100_0000_01b3;

/// What the last piece of the text was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Last {
    /// Nothing yet, an operator, or a word after which an expression begins.
    #[default]
    Start,
    /// A name, or anything else an operator can follow.
    Word,
    Literal,
    /// `(`.
    Open,
    /// `,`.
    Comma,
    /// `.`, `@@`: what follows touches it.
    Glue,
}

/// A pair of parentheses; the whole text counts as one.
#[derive(Debug, Default)]
struct Group {
    /// Where its `(` is in the text.
    start: usize,
    /// Something else than literals and commas has followed.
    mixed: bool,
    literals: usize,
    /// Dots right after the `(`: three of them are a list of literals.
    dots: usize,
    /// It follows IN.
    list: bool,
    /// It is a row of VALUES, or of a list of rows.
    is_row: bool,
    /// The last row of VALUES in it: where it begins and ends.
    row: Option<(usize, usize)>,
}

#[derive(Debug, Default)]
struct Form {
    text: String,
    last: Last,
    /// The last token, if it was a word.
    word: Option<K>,
    /// Signs that belong to a literal if one follows.
    signs: String,
    outermost: Group,
    groups: Vec<Group>,
}

impl Form {
    fn group(&mut self) -> &mut Group {
        self.groups.last_mut().unwrap_or(&mut self.outermost)
    }

    fn token(&mut self, token: &Token, context: &Context) {
        if token.is_literal() {
            self.signs.clear();
            return self.literal();
        }
        let sign = token.is(b'-') || token.is(b'+');
        if sign && matches!(self.last, Last::Start | Last::Open | Last::Comma) {
            return self.signs.push_str(if token.is(b'-') { "-" } else { "+" });
        }
        for sign in std::mem::take(&mut self.signs).chars() {
            self.piece(sign.encode_utf8(&mut [0; 4]), Last::Start);
        }
        let word = self.word.take();
        match token.kind {
            TokenKind::Punctuation(b'(') => self.open(word),
            TokenKind::Punctuation(b')') => self.close(),
            TokenKind::Punctuation(b',') => self.mark(',', Last::Comma),
            TokenKind::Punctuation(b'.') => self.dot(),
            TokenKind::Word | TokenKind::UserVariable | TokenKind::Quoted => {
                self.name(token, context);
                self.word = Some(token.keyword);
            }
            TokenKind::SystemVariable => self.piece("@@", Last::Glue),
            _ => self.piece(&String::from_utf8_lossy(token.text), Last::Start),
        }
    }

    /// Adds a piece, with a space before it where one belongs.
    fn piece(&mut self, piece: &str, last: Last) {
        self.group().mixed = true;
        self.space();
        self.text.push_str(piece);
        self.last = last;
    }

    fn space(&mut self) {
        if !self.text.is_empty() && !matches!(self.last, Last::Open | Last::Glue) {
            self.text.push(' ');
        }
    }

    fn mark(&mut self, mark: char, last: Last) {
        self.text.push(mark);
        self.last = last;
    }

    fn name(&mut self, token: &Token, context: &Context) {
        let text = String::from_utf8_lossy(token.text);
        let last = if token.keyword.is_structural(context) { Last::Start } else { Last::Word };
        match token.kind {
            // A name that begins with a digit looks like a number where nothing stands before it.
            TokenKind::Word if text.starts_with(|first: char| first.is_ascii_digit()) => {
                self.piece(&format!("`{}`", text.to_ascii_lowercase()), last);
            }
            TokenKind::Word => self.piece(&text.to_ascii_lowercase(), last),
            TokenKind::Quoted => self.piece(&format!("`{}`", value::name(token).replace('`', "``")), last),
            _ => {
                let name = value::user_variable(token, context.mode);
                let plain = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._$".contains(&byte));
                match plain {
                    true => self.piece(&format!("@{name}"), last),
                    false => self.piece(&format!("@`{}`", name.replace('`', "``")), last),
                }
            }
        }
    }

    fn literal(&mut self) {
        if self.last == Last::Literal {
            // 'a' 'b' is one string.
            return;
        }
        self.space();
        self.mark('?', Last::Literal);
        self.group().literals += 1;
    }

    fn dot(&mut self) {
        let group = self.group();
        group.dots += 1;
        group.mixed |= group.literals > 0;
        self.mark('.', Last::Glue);
    }

    fn open(&mut self, word: Option<K>) {
        let after_row = self.group().row.is_some_and(|(_, end)| self.text.get(end..) == Some(","));
        let is_row = after_row || word == Some(K::Values) || self.group().list;
        let list = word == Some(K::In);
        self.group().mixed = true;
        if self.last != Last::Word {
            self.space();
        }
        self.groups.push(Group { start: self.text.len(), list, is_row, ..Group::default() });
        self.mark('(', Last::Open);
    }

    fn close(&mut self) {
        self.mark(')', Last::Word);
        let Some(closed) = self.groups.pop() else { return };
        let literals = match (closed.dots, closed.literals) {
            (3, 0) => 2,
            (0, literals) => literals + usize::from(closed.list),
            _ => 0,
        };
        if !closed.mixed && literals > 1 {
            self.text.truncate(closed.start);
            self.text.push_str("(...)");
        }
        if closed.is_row {
            self.fold(closed.start);
        }
    }

    /// `(a), (a)` becomes `(a)`: rows of VALUES.
    fn fold(&mut self, start: usize) {
        if let Some((first, end)) = self.group().row
            && self.text.get(end..start) == Some(", ")
            && self.text.get(first..end) == self.text.get(start..)
        {
            self.text.truncate(end);
            return;
        }
        let row = (start, self.text.len());
        self.group().row = Some(row);
    }
}
