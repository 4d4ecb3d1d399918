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
    /// It sets something, of which servers tell.
    pub(super) sets: bool,
    /// It has to do with user variables.
    pub(super) mentions_variables: bool,
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

impl Plan {
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
            effects: Vec::new(),
            is_opaque: false,
            only_sets: true,
            are_several: false,
            is_statement: false,
            finds_rows: false,
            may_fire_triggers: false,
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
        let borrows = self.borrows(&found, context);
        let (target, why) = self.judge(&found, borrows);
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
            borrows: if target == Target::Replica { Borrows::Nothing } else { borrows },
            effects: found.iter().flat_map(|one| self.effects(one, context)).collect(),
            is_opaque: found.iter().any(|one| self.is_opaque(one, context)),
            only_sets: found.iter().all(|one| matches!(one.kind, Kind::Set(_) | Kind::SetTransaction { .. })),
            are_several: found.len() > 1,
            is_statement: true,
            finds_rows: found.iter().any(|one| one.finds_rows || self.is_opaque(one, context)),
            may_fire_triggers: found.iter().any(|one| matches!(one.kind, Kind::Write | Kind::LoadDataLocal)),
            sets: found.iter().any(|one| matches!(one.kind, Kind::Set(_) | Kind::SetTransaction { .. })),
            mentions_variables: found
                .iter()
                .any(|one| !(one.user_variables.is_empty() && one.assigned_variables.is_empty())),
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

    /// What is asked about statements before it that the primary did not run last.
    fn borrows(&self, found: &[Statement<'_>], context: &Context) -> Borrows {
        let Some(first) = found.first() else { return Borrows::Nothing };
        let foreign = self.foreign(first.asks_about_last);
        let inner = self.text(first).map(|text| statements(text, context));
        if inner.iter().flatten().any(|one| self.foreign(one.asks_about_last).any()) {
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
