//! Statements that work with what a connection holds: its schema, prepared statements, handlers and locks.
//!
//! Owns their grammar; it never keeps track of what is held.

use super::super::cursor::Cursor;
use super::super::keyword::Keyword as K;
use super::super::token::{Token, TokenKind};
use super::super::{Context, Kill, Kind, PrepareSource, Reason, value};
use super::{Place, Verdict};

/// A kind whose grammar must have come to its end.
fn ended(cursor: &Cursor, verdict: Verdict) -> Verdict {
    if cursor.at_end() { verdict } else { Verdict::unknown() }
}

/// `USE schema`.
pub(super) fn use_schema(mut cursor: Cursor) -> Verdict {
    match cursor.name() {
        Some(schema) => ended(&cursor, Verdict::new(Kind::Use { schema }, Place::Anywhere)),
        None => Verdict::unknown(),
    }
}

fn source(tokens: &[Token], context: &Context) -> PrepareSource {
    match tokens {
        [token] if token.kind == TokenKind::String => {
            PrepareSource::Literal(value::string(token, context.mode))
        }
        [token] if token.kind == TokenKind::UserVariable => {
            PrepareSource::UserVariable(value::user_variable(token, context.mode))
        }
        _ => PrepareSource::Expression,
    }
}

/// `PREPARE name FROM source`.
pub(super) fn prepare(mut cursor: Cursor, context: &Context) -> Verdict {
    match cursor.name() {
        Some(name) if cursor.eat(K::From) && !cursor.at_end() => {
            let source = source(cursor.rest(), context);
            let kind = Kind::Prepare { name: name.to_lowercase(), source };
            Verdict::primary(kind, Reason::PreparedStatement)
        }
        _ => Verdict::unknown(),
    }
}

/// `EXECUTE name [USING @a, …]`, `EXECUTE IMMEDIATE source [USING …]`.
pub(super) fn execute(mut cursor: Cursor, context: &Context) -> Verdict {
    let after = cursor.ahead(1);
    if cursor.keyword() == K::Immediate && !(after.kind == TokenKind::End || after.keyword == K::Using) {
        cursor.next();
        let rest = cursor.rest();
        let length = rest.iter().position(|token| token.keyword == K::Using).unwrap_or(rest.len());
        let source = source(rest.get(..length).unwrap_or_default(), context);
        return Verdict::primary(Kind::ExecuteImmediate { source }, Reason::NotKnownToBeARead);
    }
    let Some(name) = cursor.name() else { return Verdict::unknown() };
    let mut using = Vec::new();
    if cursor.eat(K::Using) {
        let variables = cursor.rest().iter().filter(|token| token.kind == TokenKind::UserVariable);
        using.extend(variables.map(|token| value::user_variable(token, context.mode)));
    } else if !cursor.at_end() {
        return Verdict::unknown();
    }
    let kind = Kind::Execute { name: name.to_lowercase(), using };
    Verdict::primary(kind, Reason::PreparedStatement)
}

/// `DEALLOCATE PREPARE name`; `DROP PREPARE name` after its first word.
pub(super) fn deallocate(mut cursor: Cursor) -> Verdict {
    if !cursor.eat(K::Prepare) {
        return Verdict::unknown();
    }
    match cursor.name() {
        Some(name) => {
            let kind = Kind::Deallocate { name: name.to_lowercase() };
            ended(&cursor, Verdict::primary(kind, Reason::PreparedStatement))
        }
        None => Verdict::unknown(),
    }
}

/// `HANDLER name OPEN [[AS] alias]`, `… READ …`, `… CLOSE`.
pub(super) fn handler(mut cursor: Cursor) -> Verdict {
    let Some(mut name) = cursor.dotted_name() else { return Verdict::unknown() };
    let kind = match cursor.next().keyword {
        K::Open => {
            cursor.eat(K::As);
            if let Some(alias) = cursor.name() {
                name = alias;
            }
            if !cursor.at_end() {
                return Verdict::unknown();
            }
            Kind::HandlerOpen { name }
        }
        K::Read => Kind::HandlerRead { name },
        K::Close => Kind::HandlerClose { name },
        _ => return Verdict::unknown(),
    };
    Verdict::primary(kind, Reason::Handler)
}

/// LOCK, UNLOCK, FLUSH, BACKUP.
pub(super) fn lock(first: K, mut cursor: Cursor, context: &Context) -> Verdict {
    let tables = matches!(cursor.keyword(), K::Table | K::Tables);
    match (first, cursor.keyword()) {
        (K::Lock, _) if tables => Verdict::primary(Kind::LockTables, Reason::Locks).committing(),
        (K::Unlock, _) if tables => Verdict::primary(Kind::UnlockTables, Reason::Locks).committing(),
        (K::Lock, K::Instance) => Verdict::primary(Kind::LockInstance, Reason::Locks),
        (K::Unlock, K::Instance) => Verdict::primary(Kind::UnlockInstance, Reason::Locks),
        (K::Backup, _) if context.is_mariadb() => Verdict::primary(Kind::Backup, Reason::Locks).committing(),
        (K::Flush, _) => {
            if !tables {
                // LOCAL or NO_WRITE_TO_BINLOG.
                cursor.next();
            }
            let tables = matches!(cursor.keyword(), K::Table | K::Tables);
            let locks = cursor.rest().iter().any(|token| matches!(token.keyword, K::Lock | K::Export));
            let verdict = match tables && locks {
                true => Verdict::primary(Kind::FlushTablesWithLock, Reason::Locks),
                false => Verdict::write(),
            };
            verdict.committing()
        }
        _ => Verdict::unknown(),
    }
}

/// `KILL [HARD | SOFT] [CONNECTION | QUERY [ID]] {number | USER name | expression}`.
pub(super) fn kill(mut cursor: Cursor, context: &Context) -> Verdict {
    if context.is_mariadb() && !cursor.eat(K::Hard) {
        cursor.eat(K::Soft);
    }
    let mut what = Kill::Connection;
    if cursor.eat(K::Query) {
        what = Kill::Query;
    } else {
        cursor.eat(K::Connection);
    }
    let target = cursor.next();
    let number = (target.kind == TokenKind::Number && cursor.at_end())
        .then(|| std::str::from_utf8(target.text).ok()?.parse().ok())
        .flatten();
    if context.is_mariadb() && (target.keyword == K::User || target.is_word("id")) {
        what = Kill::Other;
    }
    Verdict::primary(Kind::Kill { what, id: number }, Reason::ServerState)
}

/// `LOAD {DATA | XML} [LOW_PRIORITY | CONCURRENT] [LOCAL] INFILE …`, `LOAD INDEX INTO CACHE`.
pub(super) fn load(mut cursor: Cursor) -> Verdict {
    match cursor.next().keyword {
        K::Data | K::Xml => {
            if cursor.peek().is_word("low_priority") || cursor.peek().is_word("concurrent") {
                cursor.next();
            }
            match cursor.keyword() {
                K::Local => Verdict::primary(Kind::LoadDataLocal, Reason::Writes),
                _ => Verdict::write(),
            }
        }
        K::Index => Verdict::write().committing(),
        _ => Verdict::unknown(),
    }
}
