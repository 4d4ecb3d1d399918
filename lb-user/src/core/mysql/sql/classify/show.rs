//! SHOW, EXPLAIN, DESCRIBE and MariaDB's ANALYZE.
//!
//! Owns the list of what SHOW tells of replicated data; everything else it tells is the server's own and is asked
//! of the primary. It never looks at what an explained statement does, that is found in its tokens.

use super::super::cursor::Cursor;
use super::super::expression::{Findings, server_schema};
use super::super::keyword::Keyword as K;
use super::super::token::TokenKind;
use super::super::{Context, Kind, Reason};
use super::{Place, Verdict};

/// After SHOW.
pub(super) fn show(mut cursor: Cursor) -> Verdict {
    if asks_about_last(cursor) {
        return Verdict::primary(Kind::Read, Reason::LastStatement);
    }
    cursor.eat(K::Extended);
    cursor.eat(K::Full);
    let first = cursor.next();
    let replicated = match first.keyword {
        // Indexes have statistics, and those are each server's own.
        K::Tables | K::Columns | K::Fields => true,
        K::Databases | K::Schemas | K::Triggers => true,
        K::Procedure | K::Function | K::Package => {
            cursor.eat(K::Body);
            cursor.keyword() == K::Status
        }
        K::Create => match cursor.next().keyword {
            // An event has another state on a replica; a user may be another one. A table's next id is not what is replicated, nor need its engine be.
            K::View | K::Database | K::Schema | K::Trigger | K::Sequence => true,
            K::Procedure | K::Function | K::Package => true,
            _ => false,
        },
        _ => false,
    };
    if !replicated {
        return Verdict::primary(Kind::Read, Reason::ServerState);
    }
    of_schema(cursor).unwrap_or_else(|| match cursor.rest().iter().any(|token| token.keyword == K::Where) {
        true => Verdict::read(),
        // The words of SHOW itself would look like reasons.
        false => Verdict::new(Kind::Read, Place::Anywhere),
    })
}

/// A verdict against a table or schema in which the server describes itself, wherever it is named.
fn of_schema(cursor: Cursor) -> Option<Verdict> {
    let schema = cursor.rest().iter().filter(|token| token.is_name()).find_map(server_schema)?;
    Some(Verdict::primary(Kind::Read, Reason::ServerSchema(schema.to_owned())))
}

/// SHOW WARNINGS, SHOW ERRORS, SHOW COUNT(*) WARNINGS, SHOW COUNT(*) ERRORS.
fn asks_about_last(mut cursor: Cursor) -> bool {
    if cursor.eat(K::Count) && !(cursor.eat_mark(b'(') && cursor.eat_mark(b'*') && cursor.eat_mark(b')')) {
        return false;
    }
    matches!(cursor.keyword(), K::Warnings | K::Errors)
}

/// After EXPLAIN, DESCRIBE, DESC; or after ANALYZE in MariaDB, which runs the statement.
pub(super) fn explain(mut cursor: Cursor, mut runs: bool, findings: &Findings) -> Verdict {
    let described = cursor;
    loop {
        let next = cursor.ahead(1);
        match cursor.keyword() {
            K::Analyze => {
                runs = true;
                cursor.next();
            }
            K::Format if next.is(b'=') => {
                cursor.next();
                cursor.next();
                cursor.next();
            }
            K::Extended | K::Partitions if next.keyword != K::None => {
                cursor.next();
            }
            K::For if matches!(next.keyword, K::Schema | K::Database) => {
                cursor.next();
                cursor.next();
                cursor.next();
            }
            K::For => return Verdict::primary(Kind::Read, Reason::ServerState),
            _ => break,
        }
    }
    let first = cursor.peek();
    match first.keyword {
        K::Select | K::With | K::Values | K::Table => explained(runs, findings),
        // A replica that is read-only refuses even to explain a write.
        K::Insert | K::Update | K::Delete | K::Replace => explained(runs, findings),
        K::None if first.is(b'(') => explained(runs, findings),
        _ => describe(described),
    }
}

fn explained(runs: bool, findings: &Findings) -> Verdict {
    if !findings.changes_rows {
        // Each server has its own statistics, and chooses by them.
        return Verdict::new(Kind::Read, Place::AsFoundOr(Reason::ServerState));
    }
    let kind = if runs { Kind::Write } else { Kind::Read };
    Verdict::primary(kind, Reason::Writes)
}

/// `DESCRIBE table [column | pattern]`.
fn describe(mut cursor: Cursor) -> Verdict {
    let table = cursor;
    if cursor.dotted_name().is_none() {
        return Verdict::unknown();
    }
    if !cursor.at_end() {
        let column = cursor.next();
        if !column.is_name() && column.kind != TokenKind::String {
            return Verdict::unknown();
        }
    }
    if !cursor.at_end() {
        return Verdict::unknown();
    }
    of_schema(table).unwrap_or_else(Verdict::read)
}

/// After ANALYZE: `ANALYZE TABLE` writes statistics; in MariaDB `ANALYZE statement` runs the statement.
pub(super) fn analyze(cursor: Cursor, context: &Context, findings: &Findings) -> Verdict {
    let explains = match cursor.keyword() {
        K::Select | K::With | K::Values | K::Insert | K::Update | K::Delete | K::Replace => true,
        K::Format => cursor.ahead(1).is(b'='),
        _ => cursor.peek().is(b'('),
    };
    if context.is_mariadb() && explains {
        return explain(cursor, true, findings);
    }
    Verdict::write().committing()
}
