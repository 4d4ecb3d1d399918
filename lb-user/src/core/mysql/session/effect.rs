//! What a statement does to a session, as far as its text says.
//!
//! Owns the translation from kinds of statements. Whether it came about, the session finds out.

use super::super::sql::{
    Assignment, Isolation, Kind, PrepareSource, Reason, Scope, Statement, Target, Value,
};
use super::{Hold, Setting};
use std::borrow::Cow;

/// One effect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Effect {
    Set(Setting),
    /// A system variable got a value that the server tells.
    Tracked(String),
    UnknownVariable(String),
    Schema(String),
    Hold(Hold),
    Release(Hold),
    /// The primary's connection holds something.
    Bind,
    /// What servers tell of changes.
    Tracks,
    /// `PREPARE`; the text, where it is in the statement.
    Prepare {
        name: String,
        text: Option<Vec<u8>>,
    },
    AddTemporaryTable(String),
    RemoveTemporaryTable(String),
    RenameTable {
        from: String,
        to: String,
    },
}

impl Effect {
    /// Whether servers may tell of a variable because of it.
    pub(super) fn sets(&self) -> bool {
        matches!(self, Self::Set(_) | Self::Tracked(_) | Self::Schema(_) | Self::Hold(_) | Self::Bind)
    }

    /// What it sets.
    pub(super) fn key(&self) -> Option<&str> {
        match self {
            Self::Set(setting) => Some(setting.key()),
            Self::Tracked(name) => Some(name),
            _ => None,
        }
    }

    /// Whether it is safer to believe in it where that is not known.
    pub(super) fn counts_in_doubt(&self) -> bool {
        matches!(self, Self::UnknownVariable(_) | Self::Hold(_) | Self::Bind | Self::AddTemporaryTable(_))
    }
}

/// Variables whose values have to do with the binary log or the order of writes: what is written under them may never come to a replica, or
/// not under the name it has here.
const OF_WRITES: [&str; 8] = [
    "sql_log_bin",
    "gtid_next",
    "gtid_domain_id",
    "gtid_seq_no",
    "server_id",
    "skip_replication",
    "pseudo_slave_mode",
    "pseudo_replica_mode",
];

/// Variables that are used up by what comes next, or that change what a read means by what was written before.
const OF_THE_MOMENT: [&str; 5] =
    ["rand_seed1", "rand_seed2", "sql_auto_is_null", "pseudo_thread_id", "wsrep_sync_wait"];

/// Variables by which the connection's server notes how it runs what is said on it, for a later question.
const OF_NOTES: [&str; 3] = ["optimizer_trace", "profiling", "optimizer_record_context"];

/// Variables of writes alone: they need not be said to a replica.
const OF_THE_PRIMARY: [&str; 7] = [
    "autocommit",
    "tx_read_only",
    "transaction_read_only",
    "insert_id",
    "last_insert_id",
    "identity",
    "completion_type",
];

/// Whether a statement runs what is not in its text.
pub(super) fn is_opaque(one: &Statement<'_>) -> bool {
    let by_kind = matches!(
        one.kind,
        Kind::Call | Kind::Do | Kind::Execute { .. } | Kind::ExecuteImmediate { .. } | Kind::Xa
    );
    let by_reason =
        matches!(one.primary, Some(Reason::CallsUnknownFunction(_) | Reason::Malformed | Reason::Hint));
    by_kind || by_reason || one.compound && !defines(one)
}

fn mentions_trackers(text: &[u8]) -> bool {
    let word = b"session_track_";
    text.windows(word.len()).any(|part| part.eq_ignore_ascii_case(word))
}

/// `CREATE PROCEDURE` and the like run nothing of what is in them.
fn defines(one: &Statement<'_>) -> bool {
    starts_with(one, b"create") || starts_with(one, b"alter")
}

fn starts_with(one: &Statement<'_>, word: &[u8]) -> bool {
    let first = one.text.trim_ascii_start();
    first.get(..word.len()).is_some_and(|start| start.eq_ignore_ascii_case(word))
}

/// `SET`, in whatever form: servers tell of what it sets.
pub(super) fn begins_with_set(one: &Statement<'_>) -> bool {
    let is_set = matches!(one.kind, Kind::Set(_) | Kind::SetTransaction { .. });
    is_set || starts_with(one, b"set")
}

pub(super) fn effects(one: &Statement<'_>) -> Vec<Effect> {
    let mut all = Vec::new();
    if one.uses_user_lock {
        all.push(Effect::Hold(Hold::UserLock));
    }
    if one.asks_for_counters() {
        all.push(Effect::Hold(Hold::Counters));
    }
    all.extend(one.assigned_variables.iter().cloned().map(Effect::UnknownVariable));
    if starts_with(one, b"set") && mentions_trackers(one.text) {
        // Also for one statement alone: `SET STATEMENT … FOR`.
        all.push(Effect::Tracks);
    }
    match &one.kind {
        Kind::Set(items) => all.extend(items.iter().flat_map(assignment)),
        Kind::SetTransaction { scope: Scope::Next, .. } => all.push(Effect::Hold(Hold::NextTransaction)),
        Kind::SetTransaction { scope: Scope::Session, isolation, access } => {
            all.extend(isolation.map(|level| Effect::Set(isolated(level))));
            all.extend(access.map(|_| Effect::Bind));
        }
        Kind::Use { schema } => all.push(Effect::Schema(schema.clone())),
        Kind::CreateTemporaryTable { name } => all.push(Effect::AddTemporaryTable(name.to_lowercase())),
        // With a schema it may be another table of that name.
        Kind::DropTable { names, .. } if !one.text.contains(&b'.') => {
            all.extend(names.iter().map(|name| Effect::RemoveTemporaryTable(name.to_lowercase())));
        }
        Kind::RenameTables(renames) => all.extend(renames.iter().map(|rename| Effect::RenameTable {
            from: rename.from.to_lowercase(),
            to: rename.to.to_lowercase(),
        })),
        Kind::LockTables | Kind::FlushTablesWithLock => all.push(Effect::Hold(Hold::TableLocks)),
        Kind::UnlockTables => all.push(Effect::Release(Hold::TableLocks)),
        Kind::LockInstance | Kind::Backup | Kind::Xa => all.push(Effect::Hold(Hold::State)),
        Kind::Prepare { name, source } => {
            let text = match source {
                PrepareSource::Literal(text) => Some(text.clone()),
                _ => None,
            };
            all.extend([Effect::Bind, Effect::Prepare { name: name.clone(), text }]);
        }
        Kind::HandlerOpen { .. } => all.push(Effect::Bind),
        _ => {}
    }
    all
}

fn isolated(level: Isolation) -> Setting {
    let level = match level {
        Isolation::ReadUncommitted => "READ UNCOMMITTED",
        Isolation::ReadCommitted => "READ COMMITTED",
        Isolation::RepeatableRead => "REPEATABLE READ",
        Isolation::Serializable => "SERIALIZABLE",
    };
    Setting::new("transaction_isolation", format!("SET SESSION TRANSACTION ISOLATION LEVEL {level}"))
}

fn assignment(item: &Assignment) -> Option<Effect> {
    let sql = match &item.value {
        Value::Literal { sql, text } => Some(in_single_quotes(sql, text)),
        Value::Expression => None,
    };
    let sql = sql.as_deref().filter(|sql| !is_default(item, sql));
    let set = |key: &str, before: &str, sql: &[u8], after: &str| {
        Effect::Set(Setting::new(key, [before.as_bytes(), sql, after.as_bytes()].concat()))
    };
    match (&item.target, sql) {
        (Target::UserVariable(name), Some(sql)) => {
            let quoted = name.replace('`', "``");
            Some(set(&format!("@{name}"), &format!("SET @`{quoted}` = "), sql, ""))
        }
        (Target::UserVariable(name), None) => Some(Effect::UnknownVariable(name.clone())),
        (Target::Session(name), sql) => variable(name, sql, &item.value),
        (Target::Names { collation }, Some(sql)) => {
            let after =
                collation.as_ref().map_or_else(String::new, |collation| format!(" COLLATE {collation}"));
            Some(set("names", "SET NAMES ", sql, &after))
        }
        (Target::Names { .. } | Target::CharacterSet | Target::Role | Target::Other, _) => {
            Some(Effect::Hold(Hold::State))
        }
        (Target::Global(_) | Target::Persist(_), _) => None,
        (Target::Password | Target::DefaultRole | Target::ResourceGroup, _) => None,
    }
}

fn variable(name: &str, sql: Option<&[u8]>, value: &Value) -> Option<Effect> {
    if name.starts_with("session_track_") {
        return name.ends_with("transaction_info").then_some(Effect::Bind);
    }
    if OF_THE_PRIMARY.contains(&name) {
        return (name != "autocommit").then_some(Effect::Bind);
    }
    let is_off =
        matches!(value, Value::Literal { text, .. } if matches!(text.as_str(), "0" | "off" | "false"));
    let is_of_the_moment = OF_THE_MOMENT.contains(&name) && !(name == "sql_auto_is_null" && is_off);
    // A name with a dot is that of a component or a structured variable.
    let is_noted = OF_NOTES.contains(&name);
    if OF_WRITES.contains(&name) || is_of_the_moment || is_noted || name.contains('.') {
        return Some(Effect::Hold(Hold::State));
    }
    let Some(sql) = sql else { return Some(Effect::Tracked(name.to_owned())) };
    let before = format!("SET SESSION {name} = ");
    Some(Effect::Set(Setting::new(name, [before.as_bytes(), sql].concat())))
}

/// Each server's own, but for the time, which is everywhere the same.
fn is_default(item: &Assignment, sql: &[u8]) -> bool {
    let is_time = item.target == Target::Session("timestamp".to_owned());
    sql.eq_ignore_ascii_case(b"default") && !is_time
}

/// A string that is the same however texts are read, where it can be written so.
fn in_single_quotes<'a>(sql: &'a [u8], text: &str) -> Cow<'a, [u8]> {
    let is_string = sql.first().is_some_and(|first| b"'\"".contains(first));
    let is_plain = text.bytes().all(|byte| matches!(byte, b' '..=b'~') && !b"'\"\\".contains(&byte));
    match is_string && is_plain {
        true => Cow::Owned(format!("'{text}'").into_bytes()),
        false => Cow::Borrowed(sql),
    }
}
