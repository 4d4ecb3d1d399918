//! Compiles ordered rules into what the program looks up.
//!
//! The program asks one table by the source's longest prefix. So each prefix that a rule names gets all that the rules
//! decide about its addresses: its own rules and those of every wider prefix around it, in the rules' order, the first
//! that matches a destination deciding. Prefixes that decide nothing else than the wider one around them are left out.
//! Owns the meaning of the rules' order. Never reads a file.

use super::name_hash;
pub use crate::config::{FirewallRule, Limits, RuleAction, RuleTarget, Sources};
use crate::model::{DefaultPolicy, Family, RuleName, ServiceName};
use ipnet::IpNet;
use lb_ebpf::abi::{Decision, Judgement, MAX_RULE_IDS, MAX_RULES, Rule, Target};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

/// A rule with its prefixes at hand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadyRule {
    /// The rule.
    pub rule: FirewallRule,
    /// Its prefixes, wherever they came from.
    pub prefixes: BTreeSet<IpNet>,
}

/// All of the firewall with its prefixes at hand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ruleset {
    /// The rules, in their order.
    pub rules: Vec<ReadyRule>,
    /// What becomes of connections to the host that no rule decides about.
    pub host_default: DefaultPolicy,
    /// Services whose connections are denied where no rule allows them.
    pub denying_services: BTreeSet<ServiceName>,
}

impl Default for Ruleset {
    fn default() -> Self {
        Self { rules: Vec::new(), host_default: DefaultPolicy::Allow, denying_services: BTreeSet::new() }
    }
}

/// What is decided about the addresses of a prefix.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Decisions {
    /// For every service and VIP.
    pub services: Decision,
    /// For every port of the host.
    pub host: Decision,
    /// Where one destination differs; services by the hash of their name and family.
    pub exceptions: Vec<(Exception, Decision)>,
}

/// A destination of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Exception {
    /// A service, by [`name_hash`].
    Service(u64),
    /// A TCP port of the host.
    HostPort(u16),
    /// The host, where the port cannot be seen.
    HiddenPort,
}

impl Exception {
    /// The exception that a target is, if it can be one.
    pub fn of(target: Target) -> Option<Self> {
        let hidden = (target == Target::HOST).then_some(Self::HiddenPort);
        target.as_service().map(Self::Service).or(target.as_host_port().map(Self::HostPort)).or(hidden)
    }

    /// As the program names it.
    pub fn target(self) -> Target {
        match self {
            Self::Service(hash) => Target::service(hash),
            Self::HostPort(port) => Target::host_port(port),
            Self::HiddenPort => Target::HOST,
        }
    }
}

/// Rules as the program looks them up.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Compiled {
    /// What is decided about each prefix, as a place in `decisions`.
    pub prefixes: BTreeMap<IpNet, usize>,
    /// All different decisions there are.
    pub decisions: Vec<Decisions>,
    /// The rules' entries by id.
    pub rules: BTreeMap<u32, Rule>,
    /// Whether any rule is about services.
    pub judges_services: bool,
    /// Whether connections to the host are judged.
    pub judges_host: bool,
}

/// Why rules cannot be compiled.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CompileError {
    /// There are too many.
    #[error("{wanted} {what} do not fit: there is room for {limit}; remove some")]
    Full {
        /// What there are too many of.
        what: &'static str,
        /// How many are wanted.
        wanted: usize,
        /// How many fit.
        limit: u32,
    },
}

/// How a restarted agent knows a rule again: by its name, what it does and its limits. One that does something else is
/// another rule, with accounts of its own. Never 0, which marks a free id.
pub fn rule_hash(rule: &FirewallRule) -> u64 {
    let mut text = format!("{}/{}", rule.name, rule.action.word());
    if let RuleAction::Limit(limits) = &rule.action {
        text.push_str(&format!("/{limits}"));
    }
    let hash = text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    hash.max(1)
}

/// Gives every rule an id: the one it has in `known` (name hash by id), or a free one from `next` on. So an id is used
/// again late: flows may still be on the account of a rule that is gone.
pub fn rule_ids(
    ruleset: &Ruleset,
    known: &BTreeMap<u32, u64>,
    next: u32,
) -> Result<BTreeMap<RuleName, u32>, CompileError> {
    let by_hash: BTreeMap<u64, u32> = known.iter().map(|(id, hash)| (*hash, *id)).collect();
    let wanted = ruleset.rules.len();
    if wanted > MAX_RULES as usize {
        return Err(CompileError::Full { what: "firewall rules", wanted, limit: MAX_RULES });
    }
    let next = next.min(MAX_RULE_IDS);
    let mut free = (next..MAX_RULE_IDS).chain(0..next).filter(|id| !known.contains_key(id));
    let mut ids = BTreeMap::new();
    for ReadyRule { rule, .. } in &ruleset.rules {
        let id = by_hash.get(&rule_hash(rule)).copied().or_else(|| free.next());
        let full = CompileError::Full { what: "firewall rules", wanted, limit: MAX_RULES };
        ids.insert(rule.name.clone(), id.ok_or(full)?);
    }
    Ok(ids)
}

/// Compiles rules whose ids these are, for tables that hold so many prefixes of each family.
pub fn compile(
    ruleset: &Ruleset,
    ids: &BTreeMap<RuleName, u32>,
    prefixes_max: u32,
) -> Result<Compiled, CompileError> {
    let mut named: BTreeMap<IpNet, Vec<usize>> = BTreeMap::new();
    let mut compiled =
        Compiled { judges_host: ruleset.host_default == DefaultPolicy::Deny, ..Compiled::default() };
    for (index, ReadyRule { rule, prefixes }) in ruleset.rules.iter().enumerate() {
        let Some(id) = ids.get(&rule.name).copied() else { continue };
        compiled.rules.insert(id, entry(rule));
        compiled.judges_services |= !rule.target.is_host();
        compiled.judges_host |= rule.target.is_host();
        for prefix in prefixes {
            named.entry(*prefix).or_default().push(index);
        }
    }
    for family in [Family::V4, Family::V6] {
        let wanted = named.keys().filter(|prefix| Family::of(prefix.addr()) == family).count();
        if wanted > prefixes_max as usize {
            let what = "firewall prefixes (dataplane.prefixes)";
            return Err(CompileError::Full { what, wanted, limit: prefixes_max });
        }
    }
    classify(ruleset, ids, &named, &mut compiled);
    Ok(compiled)
}

/// Walks the prefixes, wider ones first, and gives each the decisions of all rules around it.
fn classify(
    ruleset: &Ruleset,
    ids: &BTreeMap<RuleName, u32>,
    named: &BTreeMap<IpNet, Vec<usize>>,
    compiled: &mut Compiled,
) {
    let mut known: HashMap<Vec<usize>, usize> = HashMap::new();
    let mut places: HashMap<Decisions, usize> = HashMap::new();
    // The prefixes around the current one, each with its rules and what they decide.
    let mut around: Vec<(IpNet, Vec<usize>, usize)> = Vec::new();
    // Their order puts a prefix right behind those around it.
    for (prefix, own) in named {
        while around.last().is_some_and(|(wider, _, _)| !wider.contains(prefix)) {
            around.pop();
        }
        let mut rules = own.clone();
        rules.extend(around.last().map(|(_, rules, _)| rules.as_slice()).unwrap_or_default());
        rules.sort_unstable();
        rules.dedup();
        let place = match known.get(&rules) {
            Some(place) => *place,
            None => {
                let next = compiled.decisions.len();
                let place = *places.entry(decide(ruleset, ids, &rules)).or_insert_with_key(|decisions| {
                    compiled.decisions.push(decisions.clone());
                    next
                });
                known.insert(rules.clone(), place);
                place
            }
        };
        if around.last().map(|(_, _, place)| *place) != Some(place) {
            compiled.prefixes.insert(*prefix, place);
        }
        around.push((*prefix, rules, place));
    }
}

/// What these rules, in their order, decide about each destination.
fn decide(ruleset: &Ruleset, ids: &BTreeMap<RuleName, u32>, rules: &[usize]) -> Decisions {
    let rules: Vec<&FirewallRule> =
        rules.iter().filter_map(|index| ruleset.rules.get(*index)).map(|ready| &ready.rule).collect();
    let first = |targets: &[&RuleTarget]| {
        let rule = rules.iter().find(|rule| targets.contains(&&rule.target));
        Decision::new(rule.map_or(Judgement::None, |rule| judgement(rule, ids)))
    };
    let (services, host) = (first(&[&RuleTarget::Services]), first(&[&RuleTarget::Host]));
    let mut exceptions = BTreeMap::new();
    for target in rules.iter().map(|rule| &rule.target) {
        match target {
            RuleTarget::Service(name) => {
                let decision = first(&[target, &RuleTarget::Services]);
                for family in [Family::V4, Family::V6].into_iter().filter(|_| decision != services) {
                    exceptions.insert(Exception::Service(name_hash(name, None, family)), decision);
                }
            }
            RuleTarget::HostPort(port) => {
                let decision = first(&[target, &RuleTarget::Host]);
                if decision != host {
                    exceptions.insert(Exception::HostPort(*port), decision);
                }
            }
            RuleTarget::Services | RuleTarget::Host => {}
        }
    }
    // Where the port cannot be seen, it may be one that is denied.
    let closes = |rule: &&&FirewallRule| {
        matches!(rule.target, RuleTarget::HostPort(_)) && rule.action != RuleAction::Allow
    };
    if let Some(rule) = rules.iter().find(closes)
        && !matches!(host.judgement(), Judgement::Deny(_))
        && let Some(id) = ids.get(&rule.name)
    {
        exceptions.insert(Exception::HiddenPort, Decision::new(Judgement::Deny(*id)));
    }
    Decisions { services, host, exceptions: exceptions.into_iter().collect() }
}

fn judgement(rule: &FirewallRule, ids: &BTreeMap<RuleName, u32>) -> Judgement {
    let Some(id) = ids.get(&rule.name).copied() else { return Judgement::None };
    match rule.action {
        RuleAction::Allow => Judgement::Allow(id),
        RuleAction::Deny => Judgement::Deny(id),
        RuleAction::Limit(_) => Judgement::Limit(id),
    }
}

/// A rule's entry, with its limits as the program counts them.
fn entry(rule: &FirewallRule) -> Rule {
    let mut entry = Rule::new(rule_hash(rule));
    if let RuleAction::Limit(limits) = rule.action {
        let Limits { new_flows_per_second, burst, active_flows, per_ipv4, per_ipv6 } = limits;
        if let Some(rate) = new_flows_per_second {
            let interval = Duration::from_secs(1) / rate.max(1);
            entry.interval_ns = u64::try_from(interval.as_nanos()).unwrap_or(u64::MAX).max(1);
            entry.burst_ns = entry.interval_ns.saturating_mul(u64::from(burst.saturating_sub(1)));
        }
        entry.active_flows = active_flows.unwrap_or(0);
        (entry.ipv4_bits, entry.ipv6_bits) = (per_ipv4, per_ipv6);
    }
    entry
}

/// Whether a connection that `old` allowed may be denied by `new`. Only then are established flows judged again: a
/// rule that lets more in costs them nothing. May say so where it is not, never the other way round.
pub fn tightens(old: &Ruleset, new: &Ruleset) -> bool {
    if !new.denying_services.is_subset(&old.denying_services) {
        return true;
    }
    let is_deny = |ready: &ReadyRule| ready.rule.action == RuleAction::Deny;
    let among = |rules: &[ReadyRule], name: &RuleName| rules.iter().any(|ready| ready.rule.name == *name);
    // A deny that goes and an allow that comes can only let more in; what is left must be the same, in its order.
    let mut left_old =
        old.rules.iter().filter(|ready| !is_deny(ready) || among(&new.rules, &ready.rule.name));
    let mut left_new = new.rules.iter().filter(|ready| is_deny(ready) || among(&old.rules, &ready.rule.name));
    loop {
        match (left_old.next(), left_new.next()) {
            (None, None) => return false,
            (Some(before), Some(after)) if loosens(before, after) => {}
            _ => return true,
        }
    }
}

/// Whether a rule, as it became, lets in all that it let in before.
fn loosens(before: &ReadyRule, after: &ReadyRule) -> bool {
    let (old, new) = (&before.rule, &after.rule);
    if old.name != new.name || old.target != new.target {
        return false;
    }
    match (&old.action, &new.action) {
        (RuleAction::Deny, RuleAction::Deny) => after.prefixes.is_subset(&before.prefixes),
        // Limits are for new connections, so to established ones they are an allow.
        (RuleAction::Allow | RuleAction::Limit(_), RuleAction::Allow | RuleAction::Limit(_)) => {
            after.prefixes.is_superset(&before.prefixes)
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests;
