//! Cuts a text into its statements.
//!
//! Owns where a statement ends; what it is comes from the classifier. It never removes anything but the `;`
//! between two statements and those at the end, as the server does.

use super::classify::{self, Facts};
use super::cursor::Cursor;
use super::keyword::Keyword as K;
use super::lexer::Lexer;
use super::token::{Gap, Token, TokenKind};
use super::{Context, Kind, Statement};

/// The statements of a text as a client sends it in one COM_QUERY; at least one, which may be empty.
///
/// A text is cut at `;` outside of strings, comments and compound bodies. A text whose first words announce a
/// stored program or a compound statement is one statement to its end, and so is the rest of a text that cannot
/// be read with certainty.
#[must_use]
pub fn statements<'a>(text: &'a [u8], context: &Context) -> Vec<Statement<'a>> {
    let mut lexer = Lexer::new(text, context);
    let mut tokens = Vec::with_capacity(32);
    let mut found = Vec::with_capacity(1);
    let mut start = 0;
    loop {
        tokens.clear();
        let piece = read(&mut lexer, &mut tokens, context);
        let end = piece.end.unwrap_or(text.len());
        let part = text.get(start..end).unwrap_or_default();
        let facts = Facts {
            text: part,
            malformed: piece.malformed,
            hint: lexer.take_hint(),
            compound: piece.compound,
            context: *context,
        };
        found.push(classify::statement(&tokens, &facts));
        match piece.end {
            Some(end) => start = end + 1,
            None => break,
        }
    }
    // The server cuts `;` and white space off the end of the text before it reads it.
    while found.len() > 1 && found.last().is_some_and(is_blank) {
        found.pop();
    }
    found
}

fn is_blank(statement: &Statement) -> bool {
    statement.kind == Kind::Empty
        && statement.text.iter().all(|byte| byte.is_ascii_whitespace() || *byte == 0x0b)
}

struct Piece {
    /// Where its `;` is; `None`: it reaches to the end of the text.
    end: Option<usize>,
    malformed: bool,
    compound: bool,
}

/// Reads the tokens of one statement.
fn read<'a>(lexer: &mut Lexer<'a>, tokens: &mut Vec<Token<'a>>, context: &Context) -> Piece {
    let mut compound = false;
    loop {
        let token = lexer.next();
        match token.kind {
            TokenKind::End => {
                let compound = compound || announces_program(tokens, context);
                return Piece { end: None, malformed: false, compound };
            }
            TokenKind::Malformed => {
                return Piece { end: None, malformed: true, compound };
            }
            TokenKind::Punctuation(b';') if !compound => {
                compound = announces_program(tokens, context);
                if !compound {
                    // By itself such a piece would be read in another way than in its place.
                    let malformed = lexer.in_version_comment() || ends_with_dashes(tokens, &token);
                    let end = (!malformed).then_some(token.start);
                    return Piece { end, malformed, compound };
                }
            }
            _ => {}
        }
        tokens.push(token);
    }
}

/// `--` right before the `;`: no comment there, but one at the end of a text.
fn ends_with_dashes(tokens: &[Token], end: &Token) -> bool {
    let [.., first, second] = tokens else { return false };
    first.is(b'-') && second.is(b'-') && second.gap == Gap::None && end.gap == Gap::None
}

/// The first words say that `;` may stand inside of the statement.
fn announces_program(mut tokens: &[Token], context: &Context) -> bool {
    // MariaDB: `SET STATEMENT … FOR` before another statement, maybe several times.
    while context.is_mariadb()
        && let [set, statement, rest @ ..] = tokens
        && (set.keyword, statement.keyword) == (K::Set, K::Statement)
    {
        let inner = rest.iter().position(|token| token.keyword == K::For).map_or(rest.len(), |at| at + 1);
        tokens = rest.get(inner..).unwrap_or_default();
    }
    let mut cursor = Cursor::new(tokens);
    match cursor.next().keyword {
        K::Create => defines_program(&mut cursor),
        K::Alter => cursor.eat(K::Event) || (cursor.keyword() == K::Definer && defines_program(&mut cursor)),
        // In the Oracle mode BEGIN is always a block.
        K::Begin => cursor.keyword() == K::Not || context.mode.oracle,
        K::If | K::Case | K::Loop | K::While | K::Repeat | K::For | K::Declare => context.is_mariadb(),
        // A label before a compound statement.
        _ => context.is_mariadb() && (cursor.peek().is(b':') || tokens.first().is_some_and(opens_label)),
    }
}

/// `<<label>>` of the Oracle mode.
fn opens_label(token: &Token) -> bool {
    token.kind == TokenKind::Operator && token.text == b"<<"
}

/// After CREATE: a stored program comes before anything else that can be created.
fn defines_program(cursor: &mut Cursor) -> bool {
    while !cursor.at_end() {
        match cursor.next().keyword {
            // The name of an account may look like one of the words below.
            K::Definer if cursor.eat_mark(b'=') => {
                cursor.next();
            }
            K::Procedure | K::Function | K::Trigger | K::Event | K::Package => return true,
            K::Table | K::View | K::Index | K::Database | K::Schema | K::User | K::Role | K::Sequence => {
                return false;
            }
            _ => {}
        }
    }
    false
}
