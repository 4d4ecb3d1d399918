//! A client's session over two connections, one to the primary and one to a replica: where each command runs, and what has to be so on
//! both that it gets the answer a single server would give.
//!
//! Owns what is known of the session: the settings that are said again on another connection, what only the primary has, and how far the session has
//! written. What it cannot know it holds against the replica: a statement is sent there only where nothing speaks against it. Never
//! sends anything, nor chooses among replicas.

mod effect;
mod plan;
mod ran;
mod settings;
mod why;

pub use plan::{Asks, Borrows, Plan};
pub use settings::{Reading, Setting};
pub use why::{Hold, Why};

use super::protocol::gtid::GtidPosition;
use super::protocol::response::SessionChanges;
use super::protocol::status::StatusFlags;
use super::sql::{Context, SqlMode};
use settings::Settings;
use std::collections::{BTreeMap, BTreeSet};

/// The kind of server that a command runs on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Target {
    /// The one that takes writes.
    Primary,
    /// One that repeats them.
    Replica,
}

impl Target {
    /// A word for metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Primary => "primary",
            Self::Replica => "replica",
        }
    }
}

/// What the primary said of a command.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// It did not end with an error.
    pub is_ok: bool,
    /// What changed in the session, packet by packet.
    pub changes: Vec<SessionChanges>,
    /// The last status flags.
    pub status: Option<StatusFlags>,
    /// There was no room to say what changed.
    pub hides_changes: bool,
    /// It generated an id.
    pub has_inserted: bool,
    /// The error that it ended with.
    pub error: Option<u16>,
    /// Rows of its answer.
    pub rows: u64,
}

/// What `FOUND_ROWS()` is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum FoundRows {
    /// What this one's connection says.
    At(Target),
    /// That: it was asked of a replica, for a statement at the primary.
    Known(u64),
}

/// What is known of a session.
#[derive(Clone, Debug)]
pub struct Session {
    context: Context,
    holds: BTreeSet<Hold>,
    /// By their names in lower case: how many there may be.
    temporary_tables: BTreeMap<String, u32>,
    settings: Settings,
    unknown_variables: BTreeSet<String>,
    are_all_variables_unknown: bool,
    /// A trigger may have assigned some.
    are_variables_doubtful: bool,
    /// It has to do with user variables.
    uses_variables: bool,
    /// Who ran the last statement.
    last: Target,
    found: FoundRows,
    /// The primary's connection holds something that cannot be said again on another one.
    is_bound: bool,
    schema: Option<Vec<u8>>,
    written: GtidPosition,
    /// What `PREPARE` made of literals.
    texts: BTreeMap<String, Vec<u8>>,
}

impl Session {
    /// One that has just begun, in that schema.
    pub fn new(context: Context, schema: Option<Vec<u8>>) -> Self {
        Self {
            written: GtidPosition::empty(context.dialect.flavor),
            context,
            holds: BTreeSet::new(),
            temporary_tables: BTreeMap::new(),
            settings: Settings::default(),
            unknown_variables: BTreeSet::new(),
            are_all_variables_unknown: false,
            are_variables_doubtful: false,
            uses_variables: false,
            last: Target::Primary,
            found: FoundRows::At(Target::Primary),
            is_bound: false,
            schema,
            texts: BTreeMap::new(),
        }
    }

    /// It begins anew (`COM_RESET_CONNECTION`); what it wrote stays written, and the schema stays.
    pub fn reset(&mut self) {
        let (context, status) = (Context { mode: SqlMode::default(), ..self.context }, self.status());
        *self = Self::new(context, self.schema.take()).after(self);
        // What the server said last, it said after it had begun anew.
        self.has_status(status);
    }

    /// It follows another one of the same client, and reads what that one wrote.
    #[must_use]
    pub fn after(mut self, before: &Self) -> Self {
        self.written = before.written.clone();
        self
    }

    /// How texts of it are read.
    pub fn context(&self) -> Context {
        self.context
    }

    /// Its current schema.
    pub fn schema(&self) -> Option<&[u8]> {
        self.schema.as_deref()
    }

    /// How far it has written.
    pub fn written(&self) -> &GtidPosition {
        &self.written
    }

    /// What servers say of it at the end of an answer.
    pub fn status(&self) -> StatusFlags {
        let flag = |hold, flag, is_when_held: bool| match self.holds.contains(&hold) == is_when_held {
            true => flag,
            false => StatusFlags::default(),
        };
        flag(Hold::Transaction, StatusFlags::IN_TRANSACTION, true)
            | flag(Hold::Autocommit, StatusFlags::AUTOCOMMIT, false)
    }

    /// Why nothing of it runs on a replica now.
    pub fn holds(&self) -> impl Iterator<Item = Hold> + Clone + '_ {
        self.holds.iter().copied()
    }

    /// Whether another connection to a primary could take the place of the one it has.
    pub fn is_portable(&self) -> bool {
        !self.is_bound
            && self.holds.is_empty()
            && self.temporary_tables.is_empty()
            && self.unknown_variables.is_empty()
            && !self.are_all_variables_unknown
            && !(self.are_variables_doubtful && self.uses_variables)
    }

    /// Under what a text is read that is prepared now: with the same again it is the same statement.
    pub fn reading(&self) -> Reading {
        Reading { schema: self.schema.clone(), ..self.settings.reading() }
    }

    /// `FOUND_ROWS()`, where it is known without asking.
    pub fn found_rows(&self) -> Option<u64> {
        match self.found {
            FoundRows::Known(rows) => Some(rows),
            FoundRows::At(_) => None,
        }
    }

    /// Whether a replica's connection knows `FOUND_ROWS()`.
    pub fn finds_at_replica(&self) -> bool {
        self.found == FoundRows::At(Target::Replica)
    }

    /// Whether the primary's connection does.
    pub fn finds_at_primary(&self) -> bool {
        self.found == FoundRows::At(Target::Primary)
    }

    /// A server was asked for `FOUND_ROWS()` on behalf of the primary.
    pub fn rows_are_known(&mut self, rows: u64) {
        self.found = FoundRows::Known(rows);
    }

    /// Settings to be said on a connection that knows those up to `known`, in their order, and what it knows then.
    pub fn settings_after(&self, known: u64) -> (Vec<&Setting>, u64) {
        self.settings.after(known)
    }

    /// Something of it could not be said again on a replica: it stays with the primary.
    pub fn stay_with_primary(&mut self) {
        self.holds.insert(Hold::State);
    }
}

#[cfg(test)]
mod tests;
