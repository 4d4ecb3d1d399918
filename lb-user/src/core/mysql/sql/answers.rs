//! A text with answers in place of the questions it asks about statements before it.
//!
//! Owns what such a question looks like. A statement that asks for `FOUND_ROWS()` and has to run elsewhere than where the rows were found can only be
//! right this way.

use super::lexer::Lexer;
use super::token::{Token, TokenKind};
use super::{AboutLast, Context};

/// What is known of statements before.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Answers {
    /// `FOUND_ROWS()`.
    pub found_rows: Option<u64>,
    /// `ROW_COUNT()`.
    pub row_count: Option<i64>,
    /// `@@warning_count`.
    pub warnings: Option<u64>,
    /// `@@error_count`.
    pub errors: Option<u64>,
}

/// The text with these answers; `None` where it asks otherwise than by these four, or cannot be read.
#[must_use]
pub fn with_answers(text: &[u8], context: &Context, wanted: AboutLast, answers: &Answers) -> Option<Vec<u8>> {
    let tokens = tokens(text, context)?;
    let (mut answered, mut from, mut at) = (Vec::with_capacity(text.len()), 0, 0);
    let mut left = wanted;
    while let Some(token) = tokens.get(at) {
        let Some((length, answer)) = answer(&tokens, at, wanted, answers, &mut left)? else {
            at += 1;
            continue;
        };
        let last = tokens.get(at + length - 1)?;
        // After a name the parenthesis of the answer would make a call of it.
        let before = at.checked_sub(1).and_then(|before| tokens.get(before));
        if before.is_some_and(|before| before.is_name() && !before.keyword.is_structural(context)) {
            return None;
        }
        answered.extend_from_slice(text.get(from..token.start)?);
        answered.extend_from_slice(answer.as_bytes());
        from = last.start + last.text.len();
        // A column is called by what it asks.
        if is_column(&tokens, at, at + length) {
            let name = String::from_utf8_lossy(text.get(token.start..from)?).into_owned();
            answered.extend_from_slice(format!(" AS `{}`", name.trim()).as_bytes());
        }
        at += length;
    }
    answered.extend_from_slice(text.get(from..)?);
    (!left.any()).then_some(answered)
}

fn tokens<'a>(text: &'a [u8], context: &Context) -> Option<Vec<Token<'a>>> {
    let mut lexer = Lexer::new(text, context);
    let mut all = Vec::new();
    loop {
        let token = lexer.next();
        match token.kind {
            TokenKind::End => return Some(all),
            TokenKind::Malformed => return None,
            _ => all.push(token),
        }
    }
}

/// The question that begins at the index: its length in tokens, and the answer. `None`: there is a question without an answer.
#[allow(clippy::option_option)]
fn answer(
    tokens: &[Token],
    at: usize,
    wanted: AboutLast,
    answers: &Answers,
    left: &mut AboutLast,
) -> Option<Option<(usize, String)>> {
    let word = |place: usize, word: &str| tokens.get(place).is_some_and(|token| token.is_word(word));
    let mark = |place: usize, byte: u8| tokens.get(place).is_some_and(|token| token.is(byte));
    let is_call = mark(at + 1, b'(') && mark(at + 2, b')');
    let is_wanted = wanted.found_rows && word(at, "found_rows") || wanted.row_count && word(at, "row_count");
    if is_wanted && mark(at + 1, b'(') && !is_call {
        // With arguments: whatever that is, it has no answer.
        return None;
    }
    if is_call && word(at, "found_rows") && wanted.found_rows {
        left.found_rows = false;
        return Some(Some((3, number(answers.found_rows?))));
    }
    if is_call && word(at, "row_count") && wanted.row_count {
        left.row_count = false;
        return Some(Some((3, number(answers.row_count?))));
    }
    if wanted.warnings && tokens.get(at).is_some_and(|token| token.kind == TokenKind::SystemVariable) {
        let scoped = (word(at + 1, "session") || word(at + 1, "local")) && mark(at + 2, b'.');
        let name = if scoped { at + 3 } else { at + 1 };
        let value = match (word(name, "warning_count"), word(name, "error_count")) {
            (true, _) => answers.warnings?,
            (_, true) => answers.errors?,
            _ => return Some(None),
        };
        left.warnings = false;
        return Some(Some((name + 1 - at, number(value))));
    }
    Some(None)
}

/// A number that is an expression: alone after `ORDER BY` it would be a column's place.
fn number(value: impl std::fmt::Display) -> String {
    format!("(0 + {value})")
}

/// Nothing but commas and the edges of the list of columns are around it.
fn is_column(tokens: &[Token], from: usize, to: usize) -> bool {
    let begins = from.checked_sub(1).and_then(|before| tokens.get(before)).is_some_and(|before| {
        before.is_word("select") || before.is_word("sql_calc_found_rows") || before.is(b',')
    });
    let depth = tokens
        .get(..from)
        .unwrap_or_default()
        .iter()
        .fold(0_i32, |depth, token| depth + i32::from(token.is(b'(')) - i32::from(token.is(b')')));
    let ends = tokens.get(to).is_none_or(|after| {
        after.is(b',') || after.is(b';') || after.is_word("from") || after.is_word("into")
    });
    let selects = tokens.first().is_some_and(|first| first.is_word("select"));
    begins && ends && depth == 0 && selects
}

#[cfg(test)]
mod tests {
    use super::super::{Dialect, Flavor, SqlMode, statements};
    use super::*;

    const ANSWERS: Answers =
        Answers { found_rows: Some(5), row_count: Some(-1), warnings: Some(2), errors: None };

    fn answered(text: &str) -> Option<String> {
        let dialect = Dialect { flavor: Flavor::MariaDb, version: 101_106 };
        let context = Context { dialect, mode: SqlMode::default(), utf8: true };
        let found = statements(text.as_bytes(), &context);
        let wanted = found.first().expect("a statement").asks_about_last;
        let answered = with_answers(text.as_bytes(), &context, wanted, &ANSWERS)?;
        Some(String::from_utf8(answered).expect("utf-8"))
    }

    #[test]
    fn questions_are_replaced_by_their_answers_and_columns_keep_their_names() {
        for (text, expected) in [
            ("SET @n = FOUND_ROWS()", "SET @n = (0 + 5)"),
            ("SELECT found_rows ( ) INTO @n", "SELECT (0 + 5) AS `found_rows ( )` INTO @n"),
            (
                "SELECT FOUND_ROWS(), ROW_COUNT() + 1, 'FOUND_ROWS()'",
                "SELECT (0 + 5) AS `FOUND_ROWS()`, (0 + -1) + 1, 'FOUND_ROWS()'",
            ),
            ("SET @n = FOUND_ROWS() + @@session.warning_count", "SET @n = (0 + 5) + (0 + 2)"),
            // A statement that uses a table has no warnings but its own.
            (
                "INSERT INTO l (n) VALUES (FOUND_ROWS(), @@warning_count)",
                "INSERT INTO l (n) VALUES ((0 + 5), @@warning_count)",
            ),
            ("SELECT IF(FOUND_ROWS() > 3, 'many', 'few')", "SELECT IF((0 + 5) > 3, 'many', 'few')"),
            ("INSERT INTO l SELECT FOUND_ROWS() FROM t", "INSERT INTO l SELECT (0 + 5) FROM t"),
        ] {
            assert_eq!(answered(text).as_deref(), Some(expected), "{text}");
        }
    }

    #[test]
    fn a_question_without_an_answer_is_none() {
        for text in [
            "SELECT @@error_count",
            "GET DIAGNOSTICS @n = NUMBER",
            "SET @n = FOUND_ROWS(1)",
            "SET @n = FOUND_ROWS(FOUND_ROWS())",
            "SELECT f FOUND_ROWS()",
        ] {
            assert_eq!(answered(text), None, "{text}");
        }
    }
}
