//! Names before a parenthesis: which of them call a function, and what the call means.
//!
//! Owns the contexts in which a name before a parenthesis is no call; whatever is not certainly one of these or a
//! built-in function of the server is taken for a stored function.

use super::super::function::{self, Meaning};
use super::super::keyword::Keyword as K;
use super::super::token::{Gap, Token, TokenKind};
use super::super::{Reason, value};
use super::Look;

/// How many tokens ahead a question may look.
const NEAR: usize = 200;

impl Look<'_, '_> {
    /// `name (`: the name is at the index.
    pub(super) fn call(&mut self, index: usize, token: &Token) {
        if self.before(index, 1).is_some_and(|before| before.is(b'.')) {
            let name = self.dotted(index);
            self.findings.because(Reason::CallsUnknownFunction(name));
            return;
        }
        if self.names_columns(index) {
            return;
        }
        if token.kind == TokenKind::Quoted {
            // Some built-in functions can be called by a quoted name and some cannot.
            self.findings.because(Reason::CallsUnknownFunction(value::name(token)));
            return;
        }
        if token.keyword.is_structural(self.context) || self.is_grammar(index, token.keyword) {
            return;
        }
        let Some(found) = function::find(token.text, self.context) else {
            self.findings.because(Reason::CallsUnknownFunction(value::name(token)));
            return;
        };
        if found.touching && !self.touches(index, token) {
            self.findings.because(Reason::CallsUnknownFunction(value::name(token)));
            return;
        }
        let is_empty = self.mark_at(index + 2, b')');
        self.mean(found.meaning, token, is_empty);
    }

    fn mean(&mut self, meaning: Meaning, token: &Token, is_empty: bool) {
        match meaning {
            Meaning::Pure => {}
            Meaning::Session => {
                let name = value::name(token).to_ascii_lowercase();
                self.findings.because(Reason::CallsSessionFunction(name));
            }
            Meaning::LastInsertId => {
                self.findings.asks_last_insert_id |= is_empty;
                self.findings.sets_last_insert_id |= !is_empty;
                self.findings.because(Reason::LastInsertId);
            }
            Meaning::FoundRows => {
                self.findings.asks_about_last.found_rows = true;
                self.findings.because(Reason::LastStatement);
            }
            Meaning::RowCount => {
                self.findings.asks_about_last.row_count = true;
                self.findings.because(Reason::LastStatement);
            }
            Meaning::UserLock => {
                self.findings.uses_user_lock = true;
                self.findings.because(Reason::UserLock);
            }
            Meaning::Sequence => self.findings.because(Reason::Sequence),
        }
    }

    /// The parenthesis is where a built-in function of this kind must have it. `COUNT (*)` is either that
    /// function or an error.
    fn touches(&self, index: usize, token: &Token) -> bool {
        match self.at(index + 1).map(|parenthesis| parenthesis.gap) {
            Some(Gap::None) => true,
            Some(Gap::Space) if self.context.mode.ignore_space => true,
            _ => token.keyword == K::Count && self.mark_at(index + 2, b'*') && self.mark_at(index + 3, b')'),
        }
    }

    fn dotted(&self, index: usize) -> String {
        let mut first = index;
        while first >= 2 && self.mark_at(first - 1, b'.') && self.at(first - 2).is_some_and(Token::is_name) {
            first -= 2;
        }
        let parts = self.tokens.get(first..=index).unwrap_or_default();
        parts.iter().filter(|part| part.is_name()).map(value::name).collect::<Vec<_>>().join(".")
    }

    /// A list of columns or the length of a type follows, not arguments.
    fn names_columns(&self, index: usize) -> bool {
        let Some(before) = self.before(index, 1) else { return false };
        match before.keyword {
            // `AS t (a, b)`, `CAST(x AS CHAR (10))`, `RETURNING DECIMAL(4, 2)`, `WITH t (a) AS (…)`.
            K::As | K::With | K::Recursive => return true,
            K::Returning => return before.kind == TokenKind::Word,
            _ => {}
        }
        // `(SELECT …) t (a, b)`, `MATCH (a) AGAINST (…)`: after a closed parenthesis no call can begin.
        let keyword = self.keyword_at(index);
        if before.is(b')') && (keyword == K::None || self.at(index).is_some_and(|t| t.is_word("against"))) {
            return true;
        }
        // `, t (a) AS (…)` after another common table expression.
        before.is(b',')
            && self.before(index, 2).is_some_and(|t| t.is(b')'))
            && self.is_table_expression(index + 1)
    }

    /// `(a, b) AS (` begins at the index.
    fn is_table_expression(&self, index: usize) -> bool {
        let mut at = index + 1;
        loop {
            if at > index + NEAR || !self.at(at).is_some_and(Token::is_name) {
                return false;
            }
            if !self.mark_at(at + 1, b',') {
                break;
            }
            at += 2;
        }
        self.mark_at(at + 1, b')') && self.keyword_at(at + 2) == K::As && self.mark_at(at + 3, b'(')
    }

    /// Words that are free names elsewhere but cannot be one here.
    fn is_grammar(&self, index: usize, keyword: K) -> bool {
        match keyword {
            // `= ANY (SELECT …)`: a call takes no bare query.
            K::Any | K::Some => {
                matches!(self.keyword_at(index + 2), K::Select | K::With | K::Values | K::Table)
            }
            // `'$[*]' COLUMNS (…)` of JSON_TABLE.
            K::Columns => self.before(index, 1).is_some_and(|before| before.kind == TokenKind::String),
            K::JsonTable if self.context.is_mariadb() => self.has_columns(index + 1),
            K::JsonTable => true,
            _ => false,
        }
    }

    /// Within the parenthesis that opens at the index there is `'path' COLUMNS (`, which no call can have. It is
    /// looked for near by only, so that a text of many such words takes no more than its share of time.
    fn has_columns(&self, index: usize) -> bool {
        let mut depth = 0usize;
        for (at, token) in self.tokens.iter().enumerate().skip(index).take(NEAR) {
            match token.kind {
                TokenKind::Punctuation(b'(') => depth += 1,
                TokenKind::Punctuation(b')') if depth <= 1 => return false,
                TokenKind::Punctuation(b')') => depth -= 1,
                TokenKind::String if self.keyword_at(at + 1) == K::Columns && self.mark_at(at + 2, b'(') => {
                    return true;
                }
                _ => {}
            }
        }
        false
    }
}
