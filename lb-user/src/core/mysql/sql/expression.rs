//! Looks through the tokens of a statement for all that ties it to a server or a connection.
//!
//! Owns the rules that hold anywhere in a statement: calls, variables, locks, schemas. It never builds a tree, and
//! it never says that something is harmless because it does not know it.

mod call;
mod variable;

use super::Reason;
use super::keyword::Keyword as K;
use super::token::{Gap, Token, TokenKind};
use super::{AboutLast, Context, value};

/// What was found.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    /// The first reason that was met.
    pub(crate) primary: Option<Reason>,
    pub(crate) user_variables: Vec<String>,
    pub(crate) assigned_variables: Vec<String>,
    pub(crate) asks_about_last: AboutLast,
    /// Another reason was met than a question about the last statement.
    pub(crate) asks_for_more: bool,
    pub(crate) names_tables: bool,
    pub(crate) asks_last_insert_id: bool,
    pub(crate) sets_last_insert_id: bool,
    pub(crate) uses_user_lock: bool,
    /// A keyword that changes rows was met: a read it can be no more.
    pub(crate) changes_rows: bool,
}

impl Findings {
    fn because(&mut self, reason: Reason) {
        self.asks_for_more |= reason != Reason::LastStatement;
        if self.primary.is_none() {
            self.primary = Some(reason);
        }
    }

    fn reads(&mut self, name: String) {
        add(&mut self.user_variables, name);
    }

    fn assigns(&mut self, name: String) {
        add(&mut self.assigned_variables, name);
    }
}

/// Adds a name once; among very many names twice is cheaper than to look.
fn add(names: &mut Vec<String>, name: String) {
    const FEW: usize = 64;
    if names.len() >= FEW || !names.contains(&name) {
        names.push(name);
    }
}

/// Looks through tokens as part of a statement that would only read.
pub(crate) fn look(tokens: &[Token], context: &Context, findings: &mut Findings) {
    Look { tokens, context, findings, depth: 0, into: false }.run();
}

struct Look<'l, 'a> {
    tokens: &'l [Token<'a>],
    context: &'l Context,
    findings: &'l mut Findings,
    depth: usize,
    /// Among the variables after INTO: they are assigned.
    into: bool,
}

impl<'a> Look<'_, 'a> {
    fn at(&self, index: usize) -> Option<&Token<'a>> {
        self.tokens.get(index)
    }

    fn before(&self, index: usize, places: usize) -> Option<&Token<'a>> {
        self.tokens.get(index.checked_sub(places)?)
    }

    fn keyword_at(&self, index: usize) -> K {
        self.at(index).map_or(K::None, |token| token.keyword)
    }

    fn mark_at(&self, index: usize, byte: u8) -> bool {
        self.at(index).is_some_and(|token| token.is(byte))
    }

    fn run(&mut self) {
        let mut index = 0;
        while let Some(&token) = self.at(index) {
            self.into = self.into && (token.kind == TokenKind::UserVariable || token.is(b','));
            index = match token.kind {
                TokenKind::Word => self.word(index, &token),
                TokenKind::Quoted => self.name(index, &token),
                TokenKind::UserVariable => self.user_variable(index, &token),
                TokenKind::SystemVariable => self.system_variable(index),
                TokenKind::Assign => {
                    self.findings.because(Reason::AssignsUserVariable);
                    index + 1
                }
                TokenKind::Punctuation(byte) => self.punctuation(index, byte),
                TokenKind::Malformed => {
                    self.findings.because(Reason::Malformed);
                    index + 1
                }
                _ => index + 1,
            }
        }
    }

    fn punctuation(&mut self, index: usize, byte: u8) -> usize {
        match byte {
            b'(' => self.depth += 1,
            b')' => self.depth = self.depth.saturating_sub(1),
            b',' | b'.' | b'+' | b'-' | b'*' | b'/' | b'%' | b'=' | b'<' | b'>' | b'!' | b'~' | b'^'
            | b'&' => {}
            b'|' | b'{' | b'}' => {}
            // Nothing the grammar of an expression knows, or a `;` in a compound statement.
            _ => self.findings.because(Reason::NotKnownToBeARead),
        }
        index + 1
    }

    /// An unquoted word.
    fn word(&mut self, index: usize, token: &Token<'a>) -> usize {
        if token.keyword == K::None {
            return self.name(index, token);
        }
        let opens = self.mark_at(index + 1, b'(');
        match token.keyword {
            K::From | K::Table | K::Join => self.findings.names_tables = true,
            K::Into => {
                self.into = true;
                self.findings.because(Reason::IntoFileOrVariable);
            }
            K::For => self.after_for(index),
            K::Lock => self.findings.because(Reason::LocksRows),
            K::Procedure => self.findings.because(Reason::Procedure),
            K::Update if self.before(index, 1).is_some_and(|before| before.keyword == K::For) => {}
            K::Update | K::Delete => self.changes_rows(),
            K::Insert | K::Replace if !opens => self.changes_rows(),
            K::CurrentUser => self.session_word(token),
            K::CurrentRole if self.context.is_mariadb() => self.session_word(token),
            K::Next | K::Previous if self.keyword_at(index + 1) == K::Value => {
                self.findings.because(Reason::Sequence);
            }
            _ => {}
        }
        self.name(index, token)
    }

    fn changes_rows(&mut self) {
        self.findings.changes_rows = true;
        self.findings.because(Reason::Writes);
    }

    fn session_word(&mut self, token: &Token) {
        self.findings.because(Reason::CallsSessionFunction(value::name(token).to_ascii_lowercase()));
    }

    fn after_for(&mut self, index: usize) {
        match self.keyword_at(index + 1) {
            K::Update | K::Share => self.findings.because(Reason::LocksRows),
            K::PeriodOfSystem | K::Join | K::Order | K::Group | K::Schema | K::Database => {}
            // `SUBSTRING(a FROM 1 FOR 2)`.
            _ if self.depth > 0 => {}
            _ => self.findings.because(Reason::NotKnownToBeARead),
        }
    }

    /// A name: a part of a dotted one, one before a parenthesis, or just a name.
    fn name(&mut self, index: usize, token: &Token<'a>) -> usize {
        let after_dot = self.before(index, 1).is_some_and(|before| before.is(b'.'));
        match self.at(index + 1).map(|next| next.kind) {
            Some(TokenKind::Punctuation(b'(')) => self.call(index, token),
            Some(TokenKind::Punctuation(b'.')) if !after_dot => {
                if let Some(schema) = server_schema(token) {
                    self.findings.because(Reason::ServerSchema(schema.to_owned()));
                }
            }
            _ if after_dot && self.context.is_mariadb() && moves_sequence(token) => {
                self.findings.because(Reason::Sequence);
            }
            _ => {}
        }
        index + 1
    }

    fn user_variable(&mut self, index: usize, token: &Token<'a>) -> usize {
        // The host of an account: 'name'@'host'.
        let host = token.gap == Gap::None
            && self.before(index, 1).is_some_and(|before| match before.kind {
                TokenKind::String | TokenKind::Quoted => true,
                TokenKind::Word => before.keyword == K::None,
                _ => false,
            });
        if host {
            return index + 1;
        }
        let name = value::user_variable(token, self.context.mode);
        if self.at(index + 1).is_some_and(|next| next.kind == TokenKind::Assign) {
            self.findings.because(Reason::AssignsUserVariable);
            self.findings.assigns(name);
            return index + 2;
        }
        if self.into {
            self.findings.assigns(name)
        } else {
            self.findings.reads(name)
        }
        index + 1
    }
}

/// `s.NEXTVAL` and `s.CURRVAL` of the Oracle mode.
fn moves_sequence(token: &Token) -> bool {
    [b"nextval", b"currval"].into_iter().any(|word| token.text.eq_ignore_ascii_case(word))
}

/// The schema in which a server describes itself that this name is, if it is one.
pub(crate) fn server_schema(token: &Token) -> Option<&'static str> {
    const SCHEMAS: [&str; 4] = ["information_schema", "performance_schema", "mysql", "sys"];
    if token.text.is_ascii() {
        let name = match token.kind {
            TokenKind::Quoted => token.text.get(1..token.text.len() - 1)?,
            _ => token.text,
        };
        return SCHEMAS.into_iter().find(|schema| schema.as_bytes().eq_ignore_ascii_case(name));
    }
    // Letters that a server's case folding may make ASCII.
    let folded: String = value::name(token)
        .chars()
        .map(|letter| match letter {
            '\u{130}' | '\u{131}' => 'i',
            '\u{17f}' => 's',
            '\u{212a}' => 'k',
            _ => letter.to_ascii_lowercase(),
        })
        .collect();
    SCHEMAS.into_iter().find(|schema| *schema == folded)
}
