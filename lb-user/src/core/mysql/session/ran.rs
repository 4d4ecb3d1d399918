//! What a session is like after something has run.
//!
//! Owns the doubts: what may have come about although a statement failed, or because one ran what is not in its text.

use super::effect::Effect;
use super::settings::decides_reading;
use super::{FoundRows, Hold, Outcome, Plan, Session, Setting, Target};
use crate::core::mysql::protocol::capabilities::Flavor;
use crate::core::mysql::protocol::gtid::GtidPosition;
use crate::core::mysql::protocol::response::{SessionChange, SessionChanges};
use crate::core::mysql::protocol::status::StatusFlags;
use crate::core::mysql::sql::SqlMode;

/// Variables that servers tell with statements, whatever these do.
const OF_STATEMENTS: [&[u8]; 2] = [b"last_gtid", b"statement_id"];

impl Session {
    /// What the primary's connection has set when it begins, by name: other connections begin with the same.
    pub fn begins_with(&mut self, values: &[(String, Option<Vec<u8>>)]) {
        for (name, value) in values {
            let value = value.as_deref().unwrap_or_default();
            self.take_variable(name.as_bytes(), value);
            if name == "sql_auto_is_null" && value != b"0" {
                self.holds.insert(Hold::State);
            }
        }
        if let Some(setting) = Setting::defaults(values) {
            self.settings.set(setting);
        }
    }

    /// The last status that the primary's connection told, with nothing run on it.
    pub fn has_status(&mut self, status: StatusFlags) {
        self.follow_status(&Plan::command(), Some(status));
    }

    /// A replica has run something.
    pub fn replica_ran(&mut self, plan: &Plan) {
        self.last = Target::Replica;
        if plan.finds_rows {
            self.found = FoundRows::At(Target::Replica);
        }
    }

    /// The primary has run something.
    pub fn primary_ran(&mut self, plan: &Plan, outcome: &Outcome) {
        if plan.is_statement {
            self.last = Target::Primary;
        }
        if plan.finds_rows && outcome.is_ok {
            self.found = FoundRows::At(Target::Primary);
        }
        self.uses_variables |= plan.mentions_variables;
        self.are_variables_doubtful |= plan.may_fire_triggers;
        let mut has_state_changed = false;
        for change in outcome.changes.iter().flat_map(SessionChanges::iter) {
            match change {
                // Without a name: it was dropped.
                SessionChange::Schema(name) => {
                    self.schema = Some(name.to_vec()).filter(|name| !name.is_empty())
                }
                SessionChange::StateChange(changed) => has_state_changed |= changed,
                SessionChange::Gtids(text) => self.has_written(text),
                SessionChange::SystemVariable { name, value } => {
                    self.take_variable(name, value);
                    let is_of_statement = OF_STATEMENTS.iter().any(|known| name.eq_ignore_ascii_case(known));
                    if !is_of_statement && !plan.sets && !plan.effects.iter().any(Effect::sets) {
                        // A trigger, say.
                        self.holds.insert(Hold::State);
                    }
                }
                _ => {}
            }
        }
        self.follow_effects(plan, outcome);
        if plan.is_opaque {
            self.lose_all_variables();
            // What it did to the session was told, or may not have been.
            if has_state_changed || outcome.hides_changes || !outcome.is_ok {
                self.holds.insert(Hold::State);
            }
        } else if has_state_changed && plan.effects.is_empty() {
            self.lose_all_variables();
        }
        self.follow_status(plan, outcome.status);
    }

    fn follow_status(&mut self, plan: &Plan, status: Option<StatusFlags>) {
        let Some(status) = status else { return };
        let mut hold = |hold, is_held| match is_held {
            true => drop(self.holds.insert(hold)),
            false => drop(self.holds.remove(&hold)),
        };
        let in_transaction = status.contains(StatusFlags::IN_TRANSACTION);
        hold(Hold::Transaction, in_transaction);
        hold(Hold::Autocommit, !status.contains(StatusFlags::AUTOCOMMIT));
        if plan.is_statement && !plan.only_sets && !in_transaction {
            // What was set for the next transaction was used up, if there was one.
            hold(Hold::NextTransaction, false);
        }
    }

    /// The position that a server gave its last transaction of this session.
    pub fn has_written(&mut self, gtids: &[u8]) {
        if let Ok(position) = GtidPosition::parse(self.context.dialect.flavor, gtids)
            && self.written.merge(&position).is_ok()
        {
            return;
        }
        // How far it has written is not known any more: no replica can be waited for.
        self.holds.insert(Hold::Position);
    }

    fn take_variable(&mut self, name: &[u8], value: &[u8]) {
        let name = String::from_utf8_lossy(name).to_ascii_lowercase();
        let text = String::from_utf8_lossy(value);
        match name.as_str() {
            "last_gtid" if self.context.dialect.flavor == Flavor::MariaDb => self.has_written(value),
            "sql_mode" => self.context.mode = SqlMode::parse(&text),
            "character_set_client" => self.context.utf8 = text.to_ascii_lowercase().starts_with("utf8"),
            _ => {}
        }
    }

    fn follow_effects(&mut self, plan: &Plan, outcome: &Outcome) {
        for effect in &plan.effects {
            // Of several statements some may have run.
            if outcome.is_ok || plan.are_several && effect.counts_in_doubt() {
                self.follow_effect(effect, outcome);
            } else {
                self.doubt(effect);
            }
        }
        let is_in_doubt = !outcome.is_ok && plan.are_several && !plan.effects.is_empty();
        if is_in_doubt || is_read_both_ways(&plan.effects) {
            self.holds.insert(Hold::State);
        }
    }

    fn follow_effect(&mut self, effect: &Effect, outcome: &Outcome) {
        match effect {
            Effect::Set(setting) => {
                self.forget_strings(setting.key());
                if let Some(name) = setting.key().strip_prefix('@') {
                    self.unknown_variables.remove(name);
                }
                self.settings.set(setting.clone());
            }
            Effect::Tracked(name) => {
                self.forget_strings(name);
                // The last one that was told is what it is now, whatever it was in between.
                let told = outcome.changes.iter().rev().find_map(|changes| changes.system_variable(name));
                match told.and_then(|value| Setting::tracked(name, value)) {
                    Some(setting) => self.settings.set(setting),
                    None => drop(self.holds.insert(Hold::State)),
                }
            }
            Effect::UnknownVariable(name) => self.lose_variable(name),
            Effect::Schema(name) => {
                let is_told = |change: SessionChange<'_>| matches!(change, SessionChange::Schema(_));
                if !outcome.changes.iter().flat_map(SessionChanges::iter).any(is_told) {
                    self.schema = Some(name.clone().into_bytes());
                }
            }
            Effect::Hold(hold) => drop(self.holds.insert(*hold)),
            Effect::Release(hold) => drop(self.holds.remove(hold)),
            Effect::Bind => self.is_bound = true,
            Effect::Tracks => {}
            Effect::Prepare { name, text: Some(text) } => {
                self.texts.insert(name.clone(), text.clone());
            }
            Effect::Prepare { name, text: None } => drop(self.texts.remove(name)),
            Effect::AddTemporaryTable(name) => {
                let count = self.temporary_tables.entry(name.clone()).or_default();
                *count = count.saturating_add(1);
            }
            Effect::RemoveTemporaryTable(name) => {
                if let Some(count) = self.temporary_tables.get_mut(name) {
                    *count = count.saturating_sub(1);
                }
                self.temporary_tables.retain(|_, count| *count > 0);
            }
            Effect::RenameTable { from, to } => {
                if self.temporary_tables.contains_key(from) {
                    let count = self.temporary_tables.entry(to.clone()).or_default();
                    *count = count.saturating_add(1);
                }
            }
        }
    }

    /// It may have come about although the statement failed.
    fn doubt(&mut self, effect: &Effect) {
        match effect {
            Effect::Set(setting) => {
                if let Some(name) = setting.key().strip_prefix('@') {
                    self.lose_variable(name);
                }
            }
            Effect::UnknownVariable(name) => self.lose_variable(name),
            Effect::Hold(Hold::UserLock) => drop(self.holds.insert(Hold::UserLock)),
            // One that fails leaves none of that name.
            Effect::Prepare { name, .. } => drop(self.texts.remove(name)),
            _ => {}
        }
    }

    /// Strings were read under what is set otherwise from now on: said again after it they could be others.
    fn forget_strings(&mut self, key: &str) {
        if !decides_reading(key) {
            return;
        }
        for name in self.settings.variables_with_strings() {
            self.lose_variable(&name);
        }
    }

    fn lose_all_variables(&mut self) {
        self.settings.remove_all(|key| key.starts_with('@'));
        self.are_all_variables_unknown = true;
    }

    fn lose_variable(&mut self, name: &str) {
        self.settings.remove(&format!("@{name}"));
        self.unknown_variables.insert(name.to_owned());
    }
}

/// It sets how texts are read, and something else that was read before that: said again it would be read after it.
fn is_read_both_ways(effects: &[Effect]) -> bool {
    let decides = effects.iter().any(|effect| effect.key().is_some_and(decides_reading));
    let depends = |effect: &Effect| matches!(effect, Effect::Set(setting) if setting.depends_on_reading());
    decides && effects.iter().any(depends)
}
