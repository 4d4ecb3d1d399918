//! Changes of the firewall, and their words.

use std::fmt::{self, Display, Formatter};

use super::{Replaced, compare::replaced};
use crate::config::{Firewall, FirewallRule};
use crate::model::{DefaultPolicy, RuleName};

/// One step about the firewall.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FirewallChange {
    /// What becomes of connections to the host that no rule decides about.
    HostDefault(Replaced<DefaultPolicy>),
    /// A rule that was not there.
    RuleAdded(FirewallRule),
    /// A rule that is there no longer.
    RuleRemoved(RuleName),
    /// A rule that does something else.
    RuleChanged(RuleName, Box<Replaced<FirewallRule>>),
    /// The rules' order, where it is not the old one with the new rules behind.
    RuleOrder(Vec<RuleName>),
}

/// The steps from one firewall to another.
pub(super) fn changes(old: &Firewall, new: &Firewall) -> Vec<FirewallChange> {
    let find = |rules: &[FirewallRule], name: &RuleName| rules.iter().position(|rule| rule.name == *name);
    let mut steps = Vec::new();
    steps.extend(replaced(&old.host_default, &new.host_default).map(FirewallChange::HostDefault));
    for gone in old.rules.iter().filter(|rule| find(&new.rules, &rule.name).is_none()) {
        steps.push(FirewallChange::RuleRemoved(gone.name.clone()));
    }
    let stays = |rule: &&FirewallRule| find(&new.rules, &rule.name).is_some();
    let mut order: Vec<&RuleName> = old.rules.iter().filter(stays).map(|rule| &rule.name).collect();
    for rule in &new.rules {
        match find(&old.rules, &rule.name).and_then(|at| old.rules.get(at)) {
            Some(before) => {
                let change = replaced(before, rule).map(Box::new);
                steps.extend(change.map(|rules| FirewallChange::RuleChanged(rule.name.clone(), rules)));
            }
            None => {
                order.push(&rule.name);
                steps.push(FirewallChange::RuleAdded(rule.clone()));
            }
        }
    }
    if !order.into_iter().eq(new.rules.iter().map(|rule| &rule.name)) {
        let order = new.rules.iter().map(|rule| rule.name.clone()).collect();
        steps.push(FirewallChange::RuleOrder(order));
    }
    steps
}

/// Carries one step out.
pub(super) fn take(firewall: &mut Firewall, change: FirewallChange) {
    let rules = &mut firewall.rules;
    match change {
        FirewallChange::HostDefault(policy) => firewall.host_default = policy.new,
        FirewallChange::RuleAdded(rule) => rules.push(rule),
        FirewallChange::RuleRemoved(name) => rules.retain(|rule| rule.name != name),
        FirewallChange::RuleChanged(name, rule) => {
            if let Some(place) = rules.iter_mut().find(|rule| rule.name == name) {
                *place = rule.new;
            }
        }
        FirewallChange::RuleOrder(order) => {
            rules.sort_by_key(|rule| order.iter().position(|name| *name == rule.name));
        }
    }
}

impl Display for FirewallChange {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::HostDefault(policy) => write!(f, "host_default {policy}"),
            Self::RuleAdded(rule) => write!(f, "rule {} added ({rule})", rule.name),
            Self::RuleRemoved(name) => write!(f, "rule {name} removed"),
            Self::RuleChanged(name, rule) if rule.old.to_string() == rule.new.to_string() => {
                write!(f, "rule {name}: other prefixes")
            }
            Self::RuleChanged(name, rule) => write!(f, "rule {name}: {} → {}", rule.old, rule.new),
            Self::RuleOrder(order) => {
                let names: Vec<&str> = order.iter().map(RuleName::as_str).collect();
                write!(f, "order of the rules: {}", names.join(", "))
            }
        }
    }
}
