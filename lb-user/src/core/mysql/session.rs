//! A client's session over two connections, one to the primary and one to a replica: where each command runs, and what has to be so on
//! both that it gets the answer a single server would give.
//!
//! Owns what is known of the session: the settings that are said again on another connection, what only the primary has, and how far the session has
//! written. What it cannot know it holds against the replica: a statement is sent there only where nothing speaks against it. Never
//! sends anything, nor chooses among replicas.

mod effect;
mod ran;
mod settings;
mod why;

pub use settings::Setting;
pub use why::{Hold, Why};

use super::protocol::gtid::GtidPosition;
use super::protocol::response::SessionChanges;
use super::protocol::status::StatusFlags;
use super::sql::{Context, Kill, Kind, PrepareSource, Reason, SqlMode, Statement, statements};
use effect::{Effect, effects};
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

/// Where a command runs, why, and what becomes of the session when it has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Where.
    pub target: Target,
    /// Why there.
    pub why: Why,
    /// Whether it is known to change nothing, so that it can be sent again to another server.
    pub is_read: bool,
    /// What it ends, and its number, where it is a `KILL` by a number.
    pub kill: Option<(Kill, u64)>,
    effects: Vec<Effect>,
    /// It runs what is not in its text.
    is_opaque: bool,
    /// It is nothing but `SET`.
    only_sets: bool,
    are_several: bool,
}

impl Plan {
    /// `COM_INIT_DB`.
    pub fn init_db(schema: &[u8]) -> Self {
        let schema = String::from_utf8_lossy(schema).into_owned();
        Self { effects: vec![Effect::Schema(schema)], ..Self::command() }
    }

    /// `COM_PROCESS_KILL`.
    pub fn process_kill(number: u32) -> Self {
        Self { kill: Some((Kill::Connection, number.into())), ..Self::command() }
    }

    /// A command that is not SQL, for the primary.
    pub fn command() -> Self {
        Self {
            target: Target::Primary,
            why: Why::Command,
            is_read: false,
            kill: None,
            effects: Vec::new(),
            is_opaque: false,
            only_sets: false,
            are_several: false,
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
    /// Who ran the last statement.
    last: Target,
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
            last: Target::Primary,
            is_bound: false,
            schema,
            texts: BTreeMap::new(),
        }
    }

    /// It begins anew (`COM_RESET_CONNECTION`); what it wrote stays written, and the schema stays.
    pub fn reset(&mut self) {
        let (written, context) = (self.written.clone(), self.context);
        let mode = SqlMode::default();
        *self = Self { written, ..Self::new(Context { mode, ..context }, self.schema.take()) };
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

    /// Why nothing of it runs on a replica now.
    pub fn holds(&self) -> impl Iterator<Item = Hold> + '_ {
        self.holds.iter().copied()
    }

    /// Whether another connection to a primary could take the place of the one it has.
    pub fn is_portable(&self) -> bool {
        !self.is_bound
            && self.holds.is_empty()
            && self.temporary_tables.is_empty()
            && self.unknown_variables.is_empty()
            && !self.are_all_variables_unknown
    }

    /// Settings to be said on a connection that knows those up to `known`, in their order, and what it knows then.
    pub fn settings_after(&self, known: u64) -> (Vec<&Setting>, u64) {
        self.settings.after(known)
    }

    /// Where a text runs, as `COM_QUERY` sends it.
    pub fn plan(&self, text: &[u8]) -> Plan {
        self.plan_in(text, &self.context)
    }

    /// The same for a text that was prepared when the session was like this.
    pub fn plan_in(&self, text: &[u8], context: &Context) -> Plan {
        let found = statements(text, context);
        let (target, why) = self.judge(&found);
        let is_read = found.iter().all(|one| one.primary.is_none() && one.kind == Kind::Read);
        let kill = match &found[..] {
            [one] => match one.kind {
                Kind::Kill { what, id: Some(number) } => Some((what, number)),
                _ => None,
            },
            _ => None,
        };
        Plan {
            kill,
            target,
            why,
            is_read,
            effects: found.iter().flat_map(|one| self.effects(one, context)).collect(),
            is_opaque: found.iter().any(|one| self.is_opaque(one, context)),
            only_sets: found.iter().all(|one| matches!(one.kind, Kind::Set(_) | Kind::SetTransaction { .. })),
            are_several: found.len() > 1,
        }
    }

    /// The text that a statement runs which was prepared by name, or is a string.
    fn text<'a>(&'a self, one: &'a Statement<'_>) -> Option<&'a [u8]> {
        match &one.kind {
            Kind::Execute { name, .. } => self.texts.get(name).map(Vec::as_slice),
            Kind::ExecuteImmediate { source: PrepareSource::Literal(text) } => Some(text),
            _ => None,
        }
    }

    fn effects(&self, one: &Statement<'_>, context: &Context) -> Vec<Effect> {
        let inner = self.text(one).map(|text| statements(text, context));
        effects(one).into_iter().chain(inner.iter().flatten().flat_map(effects)).collect()
    }

    fn is_opaque(&self, one: &Statement<'_>, context: &Context) -> bool {
        match self.text(one) {
            Some(text) => statements(text, context).iter().any(effect::is_opaque),
            None => effect::is_opaque(one),
        }
    }

    fn judge(&self, found: &[Statement<'_>]) -> (Target, Why) {
        if let Some(hold) = self.holds.first() {
            return (Target::Primary, Why::Held(*hold));
        }
        if let [one] = found
            && one.asks_about_last
            && !one.asks_last_insert_id
            && self.last == Target::Replica
            && one.kind == Kind::Read
        {
            return (Target::Replica, Why::AsksAboutLast);
        }
        for one in found {
            if let Some(why) = self.objection(one) {
                return (Target::Primary, why);
            }
        }
        (Target::Replica, Why::Read)
    }

    /// What speaks against a replica.
    fn objection(&self, one: &Statement<'_>) -> Option<Why> {
        if let Some(reason) = &one.primary {
            return Some(Why::Statement(reason.clone()));
        }
        if matches!(one.kind, Kind::Begin { .. } | Kind::Commit { .. } | Kind::Rollback { .. }) {
            return Some(Why::Statement(Reason::Transaction));
        }
        if one.kind != Kind::Read {
            return Some(Why::Setting);
        }
        if let Some(name) = one.user_variables.iter().find(|name| !self.is_variable_known(name)) {
            return Some(Why::UserVariable(name.clone()));
        }
        let mut tables = self.temporary_tables.keys();
        tables.find(|name| one.mentions(name)).map(|name| Why::TemporaryTable(name.clone()))
    }

    fn is_variable_known(&self, name: &str) -> bool {
        let is_set = self.settings.contains(&format!("@{name}"));
        is_set || !self.are_all_variables_unknown && !self.unknown_variables.contains(name)
    }

    /// Something of it could not be said again on a replica: it stays with the primary.
    pub fn stay_with_primary(&mut self) {
        self.holds.insert(Hold::State);
    }
}

#[cfg(test)]
mod tests;
