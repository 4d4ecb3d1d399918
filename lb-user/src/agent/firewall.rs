//! The firewall: rules into the dataplane, and changes that must be confirmed.

use super::state::Agent;
use crate::api::{
    ActionWord, ApiError, ErrorKind, EventKind, FirewallAnswer, FirewallQuestion, FirewallView, RuleSpec,
    RuleView,
};
use crate::config::{Config, FirewallRule, Limits, RuleAction, RuleTarget, Sources};
use crate::core::plan::firewall::{ReadyRule, Ruleset, tightens};
use crate::core::plan::name_hash;
use crate::io::dataplane::{DataplaneError, FirewallError};
use crate::io::prefix_file::{self, PrefixFileError};
use crate::model::{DefaultPolicy, Family};
use lb_ebpf::abi::{Judgement, Target};
use std::time::{Duration, Instant};

/// How soon a change that could not be taken back is tried again.
const TRY_AGAIN: Duration = Duration::from_secs(5);

/// A change that is taken back unless it is confirmed.
pub(super) struct Unconfirmed {
    pub(super) deadline: Instant,
    /// The running configuration before it, and the rules in force.
    pub(super) text: String,
    pub(super) ruleset: Ruleset,
    /// What the file will say once it is confirmed; nothing where the file is left alone.
    pub(super) file_text: Option<String>,
    /// What the file said when the change was made.
    pub(super) file_before: String,
}

/// When files of prefixes are read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Files {
    /// All of them, as they are now.
    Read,
    /// Only those of new rules: a change of something else must not fail because a list is not there, nor change it.
    Keep,
    /// None: these are the rules, with their prefixes.
    Known(Ruleset),
}

/// The firewall of a configuration, with the prefixes of its files.
pub(super) fn read_rules(
    config: &Config,
    files: Files,
    in_force: &Ruleset,
) -> Result<Ruleset, PrefixFileError> {
    if let Files::Known(ruleset) = files {
        return Ok(ruleset);
    }
    let ready = |rule: &FirewallRule| {
        let known = || in_force.rules.iter().find(|ready| ready.rule.sources == rule.sources);
        let prefixes = match (&rule.sources, &files) {
            (Sources::Prefixes(prefixes), _) => prefixes.iter().copied().collect(),
            (Sources::File(path), Files::Read) => prefix_file::read(path)?,
            (Sources::File(path), _) => match known() {
                Some(ready) => ready.prefixes.clone(),
                None => prefix_file::read(path)?,
            },
        };
        Ok(ReadyRule { rule: rule.clone(), prefixes })
    };
    let denying = config.services.values().filter(|service| service.default_policy == DefaultPolicy::Deny);
    Ok(Ruleset {
        rules: config.firewall.rules.iter().map(ready).collect::<Result<_, _>>()?,
        host_default: config.firewall.host_default,
        denying_services: denying.map(|service| service.name.clone()).collect(),
    })
}

/// What changed in files whose rules did not, in words.
pub(super) fn file_changes(old: &Ruleset, new: &Ruleset) -> Vec<String> {
    let same = |ready: &&ReadyRule| old.rules.iter().find(|other| other.rule == ready.rule);
    let changed = new.rules.iter().filter_map(|ready| Some((same(&ready)?, ready)));
    let changed = changed.filter(|(before, after)| before.prefixes != after.prefixes);
    changed
        .map(|(before, after)| {
            let added = after.prefixes.difference(&before.prefixes).count();
            let removed = before.prefixes.difference(&after.prefixes).count();
            let (name, sources) = (&after.rule.name, &after.rule.sources);
            format!("firewall: rule {name}: {sources}: {added} prefixes added, {removed} removed")
        })
        .collect()
}

impl Agent {
    /// Puts rules in force for new flows; those that are there come later, by
    /// [`judge_flows_again`](Self::judge_flows_again), when everything else of a change is in force too.
    pub(super) fn put_rules(&mut self, ruleset: &Ruleset) -> Result<(), FirewallError> {
        if *ruleset == self.ruleset {
            return Ok(());
        }
        self.dataplane.put_rules(ruleset)
    }

    /// Has the flows judged that the change may concern.
    pub(super) fn judge_flows_again(&mut self, ruleset: Ruleset, moved: bool) -> Result<(), DataplaneError> {
        let tightened = moved || tightens(&self.ruleset, &ruleset);
        self.ruleset = ruleset;
        if tightened { self.dataplane.judge_flows_again() } else { Ok(()) }
    }

    /// Takes an unconfirmed change back when its time is over.
    pub(super) async fn take_back_unconfirmed(&mut self) {
        if self.unconfirmed.as_ref().is_none_or(|change| Instant::now() < change.deadline) {
            return;
        }
        self.take_back().await;
    }

    /// Takes an unconfirmed change back, if there is one; where that fails, it is tried again.
    pub(super) async fn take_back(&mut self) {
        let Some(change) = self.unconfirmed.take() else { return };
        let outcome = match Config::parse(&change.text, "the configuration before the change") {
            Ok(config) => {
                let rules = Files::Known(change.ruleset.clone());
                self.adopt_text(change.text.clone(), config, rules).await.map_err(|error| error.to_string())
            }
            Err(errors) => Err(errors.to_string()),
        };
        self.runtime_changes = self.differs_from_file();
        let message = match outcome {
            Ok(_) => "the change was not confirmed in time and is taken back".to_owned(),
            Err(error) => {
                self.unconfirmed = Some(Unconfirmed { deadline: Instant::now() + TRY_AGAIN, ..change });
                format!("the change was not confirmed in time, and cannot be taken back yet: {error}")
            }
        };
        self.journal.record(EventKind::Warning, message);
    }

    /// Makes an unconfirmed change stay.
    pub(super) fn confirm(&mut self) -> Result<(), ApiError> {
        let none =
            "no change waits to be confirmed; if there was one, its time is over and it was taken back";
        let change = self.unconfirmed.take().ok_or_else(|| ApiError::new(ErrorKind::Conflict, none))?;
        self.journal.record(EventKind::ConfigChanged, "the change is confirmed");
        let Some(text) = change.file_text else { return Ok(()) };
        if self.file_now() == change.file_before {
            return self.save(&text);
        }
        self.runtime_changes = self.differs_from_file();
        let file = self.config_file.display();
        let message =
            format!("confirmed, but not saved: {file} was changed meanwhile; make the change there too");
        Err(ApiError::new(ErrorKind::Conflict, message))
    }

    pub(super) fn refuse_while_unconfirmed(&self) -> Result<(), ApiError> {
        match &self.unconfirmed {
            None => Ok(()),
            Some(change) => {
                let left = change.deadline.saturating_duration_since(Instant::now()).as_secs();
                let message = format!(
                    "another change waits to be confirmed (taken back in {left} s): `lbctl confirm`, or wait"
                );
                Err(ApiError::new(ErrorKind::Conflict, message))
            }
        }
    }

    pub(super) fn firewall_view(&self) -> Result<FirewallView, DataplaneError> {
        let rules: Result<Vec<RuleView>, DataplaneError> =
            self.ruleset.rules.iter().map(|ready| self.rule_view(ready)).collect();
        let left = |deadline: Instant| deadline.saturating_duration_since(Instant::now());
        Ok(FirewallView {
            host_default: self.ruleset.host_default,
            denying_services: self.ruleset.denying_services.iter().cloned().collect(),
            prefixes: self.dataplane.prefixes(),
            rules: rules?,
            confirm_within_seconds: self.unconfirmed.as_ref().map(|change| left(change.deadline).as_secs()),
        })
    }

    fn rule_view(&self, ready: &ReadyRule) -> Result<RuleView, DataplaneError> {
        let hits = self.dataplane.rule_hits(&ready.rule.name)?;
        Ok(RuleView {
            name: ready.rule.name.clone(),
            action: ready.rule.action.word().to_owned(),
            sources: ready.rule.sources.to_string(),
            prefixes: ready.prefixes.len() as u64,
            target: ready.rule.target.to_string(),
            limits: match &ready.rule.action {
                RuleAction::Limit(limits) => Some(limits.to_string()),
                _ => None,
            },
            allowed: hits.allowed,
            denied: hits.denied,
            over_rate: hits.over_rate,
            over_active: hits.over_active,
        })
    }

    /// Asks the tables in force, as the program would.
    pub(super) fn judge(&self, question: FirewallQuestion) -> Result<FirewallAnswer, ApiError> {
        let FirewallQuestion { from, to } = question;
        if Family::of(from) != Family::of(to.ip()) {
            let message = format!("{from} and {to} are of two families; ask about addresses of one");
            return Err(ApiError::new(ErrorKind::Invalid, message));
        }
        let family = Family::of(to.ip());
        let ask = |target| {
            let answer = self.dataplane.judgement(from, target);
            answer.map_err(|error| ApiError::new(ErrorKind::Internal, error.to_string()))
        };
        let served = self.desired.steering.iter().find(|(_, steering)| steering.listen.contains(&to));
        if let Some((key, steering)) = served {
            let answer = ask(Target::service(name_hash(&key.service, None, family)))?;
            return Ok(spoken(answer, steering.default_policy, format!("service {}", key.service)));
        }
        if self.desired.vips.contains(&to.ip()) {
            let answer = ask(Target::VIP)?;
            if matches!(answer.0, Judgement::Deny(_)) {
                return Ok(spoken(answer, DefaultPolicy::Allow, format!("VIP {}, no service", to.ip())));
            }
        }
        let answer = ask(Target::host_port(to.port()))?;
        Ok(spoken(answer, self.ruleset.host_default, format!("host port {}", to.port())))
    }
}

fn spoken(
    (judgement, rule): (Judgement, Option<&crate::model::RuleName>),
    default: DefaultPolicy,
    target: String,
) -> FirewallAnswer {
    let verdict = match judgement {
        Judgement::None => default.as_str(),
        Judgement::Allow(_) => "allow",
        Judgement::Deny(_) => "deny",
        Judgement::Limit(_) => "limit",
    };
    FirewallAnswer { verdict: verdict.to_owned(), rule: rule.cloned(), target }
}

/// When a change that is to be confirmed within so long is taken back.
pub(super) fn deadline(seconds: u64) -> Result<Instant, ApiError> {
    const MAX_SECONDS: u64 = 3600;
    if seconds == 0 || seconds > MAX_SECONDS {
        let message = format!("confirm_within is from 1 s to {MAX_SECONDS} s");
        return Err(ApiError::new(ErrorKind::Invalid, message));
    }
    Ok(Instant::now() + Duration::from_secs(seconds))
}

/// As the configuration has it. What makes no sense the configuration will refuse, except for these.
///
/// # Errors
/// A sentence about what contradicts itspec.
pub(super) fn rule(spec: &RuleSpec) -> Result<FirewallRule, String> {
    let limits = Limits {
        new_flows_per_second: spec.new_flows_per_second,
        burst: spec.burst.or(spec.new_flows_per_second).unwrap_or(1),
        active_flows: spec.active_flows,
        per_ipv4: spec.per_ipv4.unwrap_or(32),
        per_ipv6: spec.per_ipv6.unwrap_or(64),
    };
    if spec.burst.is_some() && spec.new_flows_per_second.is_none() {
        return Err("a burst needs a rate".into());
    }
    let limited = [spec.new_flows_per_second, spec.active_flows].iter().any(Option::is_some)
        || [spec.per_ipv4, spec.per_ipv6].iter().any(Option::is_some);
    let action = match spec.action {
        ActionWord::Limit => RuleAction::Limit(limits),
        _ if limited => return Err("only a rule that limits has limits".into()),
        ActionWord::Allow => RuleAction::Allow,
        ActionWord::Deny => RuleAction::Deny,
    };
    let sources = match (&spec.file, spec.prefixes.as_slice()) {
        (Some(file), []) => Sources::File(file.clone()),
        (None, prefixes) => Sources::Prefixes(prefixes.to_vec()),
        (Some(_), _) => return Err("a rule's sources are prefixes or a file, not both".into()),
    };
    let target = match (&spec.service, spec.host, spec.host_port) {
        (None, false, None) => RuleTarget::Services,
        (Some(service), false, None) => RuleTarget::Service(service.clone()),
        (None, _, Some(port)) => RuleTarget::HostPort(port),
        (None, true, None) => RuleTarget::Host,
        (Some(_), _, _) => return Err("a rule is about a service or about the host, not both".into()),
    };
    Ok(FirewallRule { name: spec.name.clone(), action, sources, target })
}
