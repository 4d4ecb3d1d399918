//! Tables of statements with what is expected of them, and properties that hold for any text.

mod digests;
mod functions;
mod kinds;
mod properties;
mod reads;
mod schemas;
mod settings;
mod splitting;
mod text;

use super::{Context, Dialect, Flavor, Kind, SqlMode, Statement, statements};

pub(super) fn mysql() -> Context {
    let dialect = Dialect { flavor: Flavor::MySql, version: 80_403 };
    Context { dialect, mode: SqlMode::default(), utf8: true }
}

pub(super) fn mariadb() -> Context {
    let dialect = Dialect { flavor: Flavor::MariaDb, version: 101_106 };
    Context { dialect, mode: SqlMode::default(), utf8: true }
}

pub(super) fn with_mode(mut context: Context, mode: &str) -> Context {
    context.mode = SqlMode::parse(mode);
    context
}

/// The only statement of a text.
pub(super) fn one<'a>(text: &'a str, context: &Context) -> Statement<'a> {
    let mut found = statements(text.as_bytes(), context);
    assert_eq!(found.len(), 1, "{text}");
    found.remove(0)
}

/// `read`, `write` or `other`, and the reason for the primary: `read`, `read locks_rows`, `write writes`.
pub(super) fn summary(statement: &Statement) -> String {
    let kind = match statement.kind {
        Kind::Read => "read",
        Kind::Write => "write",
        Kind::Empty => "empty",
        _ => "other",
    };
    match &statement.primary {
        Some(reason) => format!("{kind} {}", reason.name()),
        None => kind.to_owned(),
    }
}

/// Checks every line of a table in both dialects.
pub(super) fn check(expected: &str, texts: &[&str]) {
    check_in(&mysql(), expected, texts);
    check_in(&mariadb(), expected, texts);
}

pub(super) fn check_in(context: &Context, expected: &str, texts: &[&str]) {
    for text in texts {
        let found = statements(text.as_bytes(), context);
        let found: Vec<_> = found.iter().map(summary).collect();
        assert_eq!(found.join("; "), expected, "{text} in {:?}", context.dialect);
    }
}
