//! What becomes of a command: where it runs and why, and what it does to the session when it has run.
//!
//! Owns the judgement. It knows the session as it is; what came of the command, the session finds out afterwards.

use super::super::sql::{AboutLast, Context, Kill, Kind, PrepareSource, Reason, Statement, statements};
use super::effect::{self, Effect, effects};
use super::{FoundRows, Session, Target, Why};

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
    /// What it asks about statements that did not run where it has to run.
    pub borrows: Borrows,
    /// What it asks about statements that ran where it runs.
    pub asks: Asks,
    pub(super) effects: Vec<Effect>,
    /// It runs what is not in its text.
    pub(super) is_opaque: bool,
    /// It is nothing but `SET`.
    pub(super) only_sets: bool,
    pub(super) are_several: bool,
    /// It is a statement, which others may ask about.
    pub(super) is_statement: bool,
    /// `FOUND_ROWS()` is about it from here on.
    pub(super) finds_rows: bool,
    /// It changes rows, so that triggers may run.
    pub(super) may_fire_triggers: bool,
    /// It sets what `LAST_INSERT_ID()` is.
    pub(super) sets_insert_id: bool,
    /// It sets something, of which servers tell.
    pub(super) sets: bool,
    /// It has to do with user variables.
    pub(super) mentions_variables: bool,
}

/// What a connection has to know of statements that ran on it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Asks {
    /// Of the last one: its warnings, or the rows that it changed.
    pub last: bool,
    /// How many rows were found.
    pub found_rows: bool,
    /// The last id that was generated.
    pub insert_id: bool,
}

/// What a command needs to know of statements that ran elsewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Borrows {
    /// Nothing.
    Nothing,
    /// This, which can stand in its text in place of the question.
    Answers(AboutLast),
    /// Something that cannot stand in its text.
    Impossible,
}

impl Asks {
    /// All of it.
    pub const ALL: Self = Self { last: true, found_rows: true, insert_id: true };
}

impl Plan {
    /// Whether it changes what servers tell of changes: the proxy needs to hear all.
    pub fn changes_trackers(&self) -> bool {
        self.effects.contains(&Effect::Tracks)
    }

    /// Whether `FOUND_ROWS()` is about it, if it goes well.
    pub fn finds_rows(&self) -> bool {
        self.finds_rows
    }

    /// Whether it may have generated an id of which nothing is told: by what it runs, or because its answer has rows.
    pub fn may_insert_unseen(&self, rows: u64) -> bool {
        self.is_opaque || self.sets_insert_id || self.may_fire_triggers && rows > 0
    }

    /// Whether it is a statement, or clears what was said of the last one as a statement does.
    pub fn is_statement(&self) -> bool {
        self.is_statement
    }

    /// `COM_INIT_DB`.
    pub fn init_db(schema: &[u8]) -> Self {
        let schema = String::from_utf8_lossy(schema).into_owned();
        Self { effects: vec![Effect::Schema(schema)], is_statement: true, ..Self::command() }
    }

    /// `COM_PROCESS_KILL`.
    pub fn process_kill(number: u32) -> Self {
        Self { kill: Some((Kill::Connection, number.into())), is_statement: true, ..Self::command() }
    }

    /// `COM_STMT_PREPARE`: it clears warnings, as a statement does.
    pub fn prepare() -> Self {
        Self { is_statement: true, ..Self::command() }
    }

    /// A command that is not SQL, for the primary; it leaves no trace in the session.
    pub fn command() -> Self {
        Self {
            target: Target::Primary,
            why: Why::Command,
            is_read: false,
            kill: None,
            borrows: Borrows::Nothing,
            asks: Asks::default(),
            effects: Vec::new(),
            is_opaque: false,
            only_sets: true,
            are_several: false,
            is_statement: false,
            finds_rows: false,
            may_fire_triggers: false,
            sets_insert_id: false,
            sets: false,
            mentions_variables: false,
        }
    }
}

impl Session {
    /// Where a text runs, as `COM_QUERY` sends it.
    pub fn plan(&self, text: &[u8]) -> Plan {
        self.plan_in(text, &self.context)
    }

    /// The same for a text that was prepared when the session was like this.
    pub fn plan_in(&self, text: &[u8], context: &Context) -> Plan {
        let found = statements(text, context);
        let are_several = found.len() > 1;
        // What they run that was prepared by name, too.
        let inner = found.iter().filter_map(|one| self.text(one)).flat_map(|text| statements(text, context));
        let inner: Vec<Statement<'_>> = inner.collect();
        let all = || found.iter().chain(&inner);
        let borrows = self.borrows(&found, &inner);
        let (target, why) = self.judge(&found, borrows);
        let kill = match &found[..] {
            [one] => match one.kind {
                Kind::Kill { what, id: Some(number) } => Some((what, number)),
                _ => None,
            },
            _ => None,
        };
        // One of several may have another text by the time that it runs.
        let is_opaque = |one: &Statement<'_>| match self.text(one) {
            Some(_) => are_several,
            None => effect::is_opaque(one),
        };
        let is_opaque = all().any(is_opaque);
        Plan {
            kill,
            target,
            why,
            is_read: found.iter().all(|one| one.primary.is_none() && one.kind == Kind::Read),
            borrows: if target == Target::Replica { Borrows::Nothing } else { borrows },
            asks: self.asks(&found, &inner, target),
            effects: all().flat_map(effects).collect(),
            is_opaque,
            only_sets: found.iter().all(|one| matches!(one.kind, Kind::Set(_) | Kind::SetTransaction { .. })),
            are_several,
            is_statement: true,
            finds_rows: is_opaque || all().any(|one| one.finds_rows),
            may_fire_triggers: all().any(|one| matches!(one.kind, Kind::Write | Kind::LoadDataLocal)),
            sets_insert_id: all().any(|one| one.sets_last_insert_id),
            sets: all().any(effect::begins_with_set),
            mentions_variables: all()
                .any(|one| !(one.user_variables.is_empty() && one.assigned_variables.is_empty())),
        }
    }

    /// What the connection where it runs has to know of statements before.
    fn asks(&self, found: &[Statement<'_>], inner: &[Statement<'_>], target: Target) -> Asks {
        let here = FoundRows::At(target);
        let first = found.first().into_iter().chain(inner);
        let mut asks = Asks::default();
        for one in first {
            let about = one.asks_about_last;
            asks.last |= (about.row_count || about.warnings) && self.last == target;
            asks.found_rows |= about.found_rows && self.found == here;
        }
        asks.insert_id = found.iter().chain(inner).any(|one| one.asks_last_insert_id);
        asks
    }

    /// The text that a statement runs which was prepared by name, or is a string.
    fn text<'a>(&'a self, one: &'a Statement<'_>) -> Option<&'a [u8]> {
        match &one.kind {
            Kind::Execute { name, .. } => self.texts.get(name).map(Vec::as_slice),
            Kind::ExecuteImmediate { source: PrepareSource::Literal(text) } => Some(text),
            _ => None,
        }
    }

    /// What is asked about statements before it that the primary did not run last.
    fn borrows(&self, found: &[Statement<'_>], inner: &[Statement<'_>]) -> Borrows {
        let Some(first) = found.first() else { return Borrows::Nothing };
        let foreign = self.foreign(first.asks_about_last);
        // What a block asks, it may ask more than once, of itself.
        if foreign.any() && first.compound {
            return Borrows::Impossible;
        }
        if inner.iter().any(|one| self.foreign(one.asks_about_last).any()) {
            return Borrows::Impossible;
        }
        let Some(later) = found.get(1..).filter(|later| !later.is_empty()) else {
            return match foreign.any() {
                true => Borrows::Answers(foreign),
                false => Borrows::Nothing,
            };
        };
        // Those after the first ask about those before them in the same text, but for rows that none of them found.
        let mut is_found = first.finds_rows;
        let mut asks = foreign.any();
        for one in later {
            asks |=
                one.asks_about_last.found_rows && !is_found && self.found != FoundRows::At(Target::Primary);
            is_found |= one.finds_rows;
        }
        if asks { Borrows::Impossible } else { Borrows::Nothing }
    }

    /// What of it the primary cannot tell.
    fn foreign(&self, asks: AboutLast) -> AboutLast {
        let is_elsewhere = self.last == Target::Replica;
        AboutLast {
            found_rows: asks.found_rows && self.found != FoundRows::At(Target::Primary),
            row_count: asks.row_count && is_elsewhere,
            warnings: asks.warnings && is_elsewhere,
        }
    }

    fn judge(&self, found: &[Statement<'_>], borrows: Borrows) -> (Target, Why) {
        if let ([one], Borrows::Answers(foreign)) = (found, borrows)
            && one.only_asks_about_last
            && one.kind == Kind::Read
            && foreign == one.asks_about_last
            && (!foreign.found_rows || self.found == FoundRows::At(Target::Replica))
        {
            // It reads no data: whatever holds the session at the primary has nothing to do with it.
            return (Target::Replica, Why::AsksAboutLast);
        }
        if let Some(hold) = self.holds.first() {
            return (Target::Primary, Why::Held(*hold));
        }
        for one in found {
            if let Some(why) = self.objection(one) {
                return (Target::Primary, why);
            }
        }
        if found.len() > 1 {
            return (Target::Primary, Why::Several);
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
        if self.are_variables_doubtful {
            return false;
        }
        let is_set = self.settings.contains(&format!("@{name}"));
        is_set || !self.are_all_variables_unknown && !self.unknown_variables.contains(name)
    }
}
