//! Statements that begin, end and mark transactions.
//!
//! Owns BEGIN, START TRANSACTION, COMMIT, ROLLBACK, SAVEPOINT, RELEASE and XA. It never knows whether a transaction
//! is open. MySQL Reference Manual, "START TRANSACTION, COMMIT, and ROLLBACK Statements"; MariaDB, "Transactions".

use super::super::cursor::Cursor;
use super::super::keyword::Keyword as K;
use super::super::{Access, Isolation, Kind, Reason, Scope};
use super::{Place, Verdict};

pub(super) fn classify(first: K, mut cursor: Cursor) -> Verdict {
    let verdict = match first {
        K::Begin => begin(&mut cursor),
        K::Start => start(&mut cursor),
        K::Commit => commit(&mut cursor).map(|(chain, release)| Kind::Commit { chain, release }),
        K::Rollback => rollback(&mut cursor),
        K::Savepoint => name(&mut cursor).map(|name| Kind::Savepoint { name }),
        K::Release if cursor.eat(K::Savepoint) => {
            name(&mut cursor).map(|name| Kind::ReleaseSavepoint { name })
        }
        K::Xa => return Verdict::primary(Kind::Xa, Reason::Transaction),
        _ => None,
    };
    match verdict {
        Some(kind) if cursor.at_end() => place(kind),
        // START REPLICA, START GROUP_REPLICATION: they end a transaction, too.
        _ if first == K::Start => Verdict::write().committing(),
        _ => Verdict::unknown(),
    }
}

fn place(kind: Kind) -> Verdict {
    match kind {
        Kind::Begin { access: Some(Access::ReadOnly), .. } => {
            Verdict::new(kind, Place::Anywhere).committing()
        }
        Kind::Begin { .. } => Verdict::primary(kind, Reason::Transaction).committing(),
        _ => Verdict::primary(kind, Reason::Transaction),
    }
}

fn begin(cursor: &mut Cursor) -> Option<Kind> {
    cursor.eat(K::Work);
    Some(Kind::Begin { access: None, consistent_snapshot: false })
}

fn start(cursor: &mut Cursor) -> Option<Kind> {
    if !cursor.eat(K::Transaction) {
        return None;
    }
    let mut access = None;
    let mut consistent_snapshot = false;
    while !cursor.at_end() {
        if cursor.eat_all(&[K::With, K::Consistent, K::Snapshot]) {
            consistent_snapshot = true;
        } else {
            access = Some(read_access(cursor)?);
        }
        if !cursor.at_end() && !cursor.eat_mark(b',') {
            return None;
        }
    }
    Some(Kind::Begin { access, consistent_snapshot })
}

fn read_access(cursor: &mut Cursor) -> Option<Access> {
    if cursor.eat_all(&[K::Read, K::Only]) {
        Some(Access::ReadOnly)
    } else if cursor.eat_all(&[K::Read, K::Write]) {
        Some(Access::ReadWrite)
    } else {
        None
    }
}

/// `[WORK] [AND [NO] CHAIN] [[NO] RELEASE]`. `None`: not that.
fn commit(cursor: &mut Cursor) -> Option<(Option<bool>, Option<bool>)> {
    cursor.eat(K::Work);
    let mut chain = None;
    let mut release = None;
    if cursor.eat(K::And) {
        chain = Some(!cursor.eat(K::No));
        if !cursor.eat(K::Chain) {
            return None;
        }
    }
    if !cursor.at_end() {
        release = Some(!cursor.eat(K::No));
        if !cursor.eat(K::Release) {
            return None;
        }
    }
    Some((chain, release))
}

fn rollback(cursor: &mut Cursor) -> Option<Kind> {
    let mut ahead = *cursor;
    ahead.eat(K::Work);
    if ahead.eat(K::To) {
        ahead.eat(K::Savepoint);
        let name = name(&mut ahead)?;
        *cursor = ahead;
        return Some(Kind::RollbackTo { name });
    }
    commit(cursor).map(|(chain, release)| Kind::Rollback { chain, release })
}

fn name(cursor: &mut Cursor) -> Option<String> {
    cursor.name().map(|name| name.to_lowercase())
}

/// After `SET [scope] TRANSACTION`: its characteristics to the end. `None`: not that.
pub(super) fn characteristics(scope: Scope, mut cursor: Cursor) -> Option<Kind> {
    let mut access = None;
    let mut isolation = None;
    loop {
        if cursor.eat_all(&[K::Isolation, K::Level]) {
            isolation = Some(level(&mut cursor)?);
        } else {
            access = Some(read_access(&mut cursor)?);
        }
        if cursor.at_end() {
            return Some(Kind::SetTransaction { scope, access, isolation });
        }
        if !cursor.eat_mark(b',') {
            return None;
        }
    }
}

fn level(cursor: &mut Cursor) -> Option<Isolation> {
    if cursor.eat_word("serializable") {
        return Some(Isolation::Serializable);
    }
    if cursor.eat_word("repeatable") {
        return cursor.eat(K::Read).then_some(Isolation::RepeatableRead);
    }
    if !cursor.eat(K::Read) {
        return None;
    }
    if cursor.eat_word("committed") {
        return Some(Isolation::ReadCommitted);
    }
    cursor.eat_word("uncommitted").then_some(Isolation::ReadUncommitted)
}
