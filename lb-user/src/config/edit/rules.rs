//! Adds rules to the firewall and takes them out.

use toml_edit::{ArrayOfTables, Item, Table};

use super::{EditError, Sheet, Splice, check_whole, render, splice, suggest};
use crate::config::FirewallRule;
use crate::model::RuleName;

impl Sheet<'_> {
    /// The rules, if they are written as tables with headers of their own.
    fn rules(&self) -> Result<Option<&ArrayOfTables>, EditError> {
        let unfamiliar = || EditError::UnfamiliarRules;
        let Some(firewall) = self.document.as_table().get("firewall") else { return Ok(None) };
        match firewall.as_table_like().ok_or_else(unfamiliar)?.get("rule") {
            None => Ok(None),
            Some(Item::ArrayOfTables(rules)) => Ok(Some(rules)),
            Some(_) => Err(unfamiliar()),
        }
    }

    fn rule(&self, name: &RuleName) -> Result<(usize, &Table), EditError> {
        let rules = || self.rules().ok().flatten().into_iter().flat_map(ArrayOfTables::iter);
        let named = || rules().map(|rule| rule.get("name").and_then(Item::as_str).unwrap_or_default());
        self.rules()?;
        let found = rules().zip(named()).enumerate().find(|(_, (_, other))| *other == name.as_str());
        found.map(|(at, (rule, _))| (at, rule)).ok_or_else(|| EditError::NoRule {
            rule: name.clone(),
            suggestion: suggest(name.as_str(), named().collect()),
        })
    }
}

/// Adds a rule: before another one, or behind all.
pub fn add_rule(text: &str, rule: &FirewallRule, before: Option<&RuleName>) -> Result<String, EditError> {
    let sheet = Sheet::read(text)?;
    if sheet.rule(&rule.name).is_ok() {
        return Err(EditError::RuleExists { rule: rule.name.clone() });
    }
    let rules = sheet.rules()?;
    let added = render::rule(rule);
    let (position, at) = match (before, rules.and_then(|rules| rules.iter().last())) {
        (Some(before), _) => {
            let (position, table) = sheet.rule(before)?;
            let header = sheet.header(table).ok_or(EditError::UnfamiliarRules)?.start;
            (position, sheet.with_comments_above(header))
        }
        (None, Some(last)) => {
            (rules.map_or(0, ArrayOfTables::len), sheet.block_end(last).ok_or(EditError::UnfamiliarRules)?)
        }
        (None, None) => (0, text.len()),
    };
    let in_front = text.get(..at).unwrap_or_default();
    let mut block = String::new();
    if !in_front.is_empty() && !in_front.ends_with('\n') {
        block.push('\n');
    }
    if before.is_some() {
        block.push_str(&format!("{added}\n"));
    } else {
        let blank_line = in_front.lines().next_back().is_none_or(|line| line.trim().is_empty());
        block.push_str(if blank_line { "" } else { "\n" });
        block.push_str(&added);
    }
    let text_of_block = block.replace('\n', sheet.newline());
    let edited = splice(text, vec![Splice { place: at..at, text: text_of_block }]);
    check_whole(text, edited, EditError::UnfamiliarRules, |root| {
        let table: toml::Table = added.parse().ok()?;
        let rule = table.get("firewall")?.get("rule")?.as_array()?.first()?.clone();
        rules_of(root)?.insert(position, rule);
        Some(())
    })
}

/// Takes a rule out.
pub fn remove_rule(text: &str, name: &RuleName) -> Result<String, EditError> {
    let sheet = Sheet::read(text)?;
    let (position, table) = sheet.rule(name)?;
    let place = sheet.cut_block(table).ok_or(EditError::UnfamiliarRules)?;
    let edited = splice(text, vec![Splice { place, text: String::new() }]);
    check_whole(text, edited, EditError::UnfamiliarRules, |root| {
        rules_of(root)?.remove(position);
        Some(())
    })
}

fn rules_of(root: &mut toml::Table) -> Option<&mut Vec<toml::Value>> {
    let firewall = root.entry("firewall").or_insert_with(|| toml::Table::new().into()).as_table_mut()?;
    firewall.entry("rule").or_insert_with(|| toml::Value::Array(Vec::new())).as_array_mut()
}

/// How a rule looks in a file.
pub(in crate::config) fn rule_table(rule: &FirewallRule) -> String {
    render::rule(rule)
}
