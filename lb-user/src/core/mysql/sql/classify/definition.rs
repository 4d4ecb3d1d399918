//! Statements that change definitions, accounts and the server.
//!
//! Owns the list of implicit commits; it never looks at what a definition says beyond the names of its tables.
//! MySQL Reference Manual, "Statements That Cause an Implicit Commit"; MariaDB, "SQL statements That Cause an
//! Implicit Commit".

use super::super::cursor::Cursor;
use super::super::keyword::Keyword as K;
use super::super::{Kind, Reason, Rename};
use super::{Verdict, session};

/// CREATE, ALTER, DROP, RENAME.
pub(super) fn classify(first: K, cursor: Cursor) -> Verdict {
    match first {
        K::Create => create(cursor),
        K::Drop => drop(cursor),
        K::Rename => rename_tables(cursor).unwrap_or_else(Verdict::write).committing(),
        _ => alter(cursor).unwrap_or_else(Verdict::write).committing(),
    }
}

fn create(mut cursor: Cursor) -> Verdict {
    cursor.eat_all(&[K::Or, K::Replace]);
    if !cursor.eat(K::Temporary) {
        return Verdict::write().committing();
    }
    if !cursor.eat(K::Table) {
        return Verdict::write();
    }
    cursor.eat_all(&[K::If, K::Not, K::Exists]);
    match cursor.dotted_name() {
        Some(name) => Verdict::primary(Kind::CreateTemporaryTable { name }, Reason::TemporaryTable),
        None => Verdict::unknown(),
    }
}

fn drop(mut cursor: Cursor) -> Verdict {
    if cursor.keyword() == K::Prepare {
        return session::deallocate(cursor);
    }
    let temporary = cursor.eat(K::Temporary);
    if !cursor.eat(K::Table) && !cursor.eat(K::Tables) {
        return if temporary { Verdict::write() } else { Verdict::write().committing() };
    }
    cursor.eat_all(&[K::If, K::Exists]);
    let mut names = Vec::new();
    while let Some(name) = cursor.dotted_name() {
        names.push(name);
        if !cursor.eat_mark(b',') {
            break;
        }
    }
    let kind = Kind::DropTable { names, temporary };
    match temporary {
        true => Verdict::primary(kind, Reason::TemporaryTable),
        false => Verdict::primary(kind, Reason::Writes).committing(),
    }
}

/// `RENAME TABLE a TO b, …`.
fn rename_tables(mut cursor: Cursor) -> Option<Verdict> {
    if !cursor.eat(K::Table) && !cursor.eat(K::Tables) {
        return None;
    }
    cursor.eat_all(&[K::If, K::Exists]);
    let mut renames = Vec::new();
    loop {
        let from = cursor.dotted_name()?;
        // MariaDB: `WAIT 5`, `NOWAIT`.
        while !cursor.at_end() && cursor.keyword() != K::To {
            cursor.next();
        }
        cursor.next();
        renames.push(Rename { from, to: cursor.dotted_name()? });
        if !cursor.eat_mark(b',') {
            break;
        }
    }
    Some(Verdict::primary(Kind::RenameTables(renames), Reason::Writes))
}

/// `ALTER TABLE a …, RENAME [TO | AS | =] b`. `None`: nothing changes its name.
fn alter(mut cursor: Cursor) -> Option<Verdict> {
    while matches!(cursor.peek().text.to_ascii_lowercase().as_slice(), b"online" | b"ignore") {
        cursor.next();
    }
    if !cursor.eat(K::Table) {
        return None;
    }
    cursor.eat_all(&[K::If, K::Exists]);
    let from = cursor.dotted_name()?;
    let mut to = None;
    while !cursor.at_end() {
        let mut item = Cursor::new(cursor.item());
        // MariaDB: `WAIT 5` or `NOWAIT` may come before the first change.
        if item.eat_word("wait") {
            item.next();
        }
        item.eat_word("nowait");
        if !item.eat(K::Rename) {
            continue;
        }
        if matches!(item.keyword(), K::Index | K::Key) || item.peek().is_word("column") {
            continue;
        }
        if item.keyword() == K::To || item.keyword() == K::As || item.peek().is(b'=') {
            item.next();
        }
        to = item.dotted_name().or(to);
    }
    Some(Verdict::primary(Kind::RenameTables(vec![Rename { from, to: to? }]), Reason::Writes))
}

/// Statements known by their first word alone, and those that are not known.
pub(super) fn other(first: K, cursor: Cursor) -> Verdict {
    match first {
        K::Truncate | K::Grant | K::Revoke | K::Install | K::Uninstall | K::Optimize | K::Repair => {}
        K::Check | K::Cache | K::Import | K::Change | K::Stop => {}
        K::Reset if cursor.keyword() == K::Persist => return Verdict::write(),
        K::Reset => {}
        K::Checksum => return Verdict::primary(Kind::Read, Reason::ServerState),
        _ => return Verdict::unknown(),
    }
    Verdict::write().committing()
}
