//! `[firewall]` and `[[firewall.rule]]`: who may reach what.

use std::collections::BTreeMap;

use super::Validator;
use ipnet::IpNet;

use crate::config::error::did_you_mean;
use crate::config::file::{FileFirewall, FileRule, FileService, FileSources};
use crate::config::locate::{Complaint, Path};
use crate::config::{Firewall, FirewallRule, Limits, RuleAction, RuleTarget, Sources};
use crate::model::{DefaultPolicy, RuleName, ServiceName, any_source, parse_prefix};

/// More new connections a second than one source can make.
const RATE_MAX: i64 = 1_000_000;
const ACTIVE_MAX: i64 = 16_000_000;

impl Validator<'_> {
    /// The firewall; `services` are those in the file, right or wrong.
    pub(super) fn firewall(
        &mut self,
        file: &FileFirewall,
        services: &BTreeMap<String, FileService>,
    ) -> Option<Firewall> {
        let path = Path::of(&["firewall"]);
        let host_default = match &file.host_default {
            Some(word) => self.parsed(&path.key("host_default"), word),
            None => Some(DefaultPolicy::Allow),
        };
        let mut rules: Vec<FirewallRule> = Vec::new();
        let mut whole = true;
        for (index, file) in file.rule.iter().enumerate() {
            let path = path.key("rule").index(index);
            let Some(rule) = self.rule(&path, file, services) else {
                whole = false;
                continue;
            };
            if rules.iter().any(|other| other.name == rule.name) {
                whole = false;
                let wrong = format!("there is a rule \"{}\" already", rule.name);
                self.complain::<()>(&path.key("name"), Complaint::new(wrong));
            }
            rules.push(rule);
        }
        whole.then_some(())?;
        Some(Firewall { host_default: host_default?, rules })
    }

    fn rule(
        &mut self,
        path: &Path,
        file: &FileRule,
        services: &BTreeMap<String, FileService>,
    ) -> Option<FirewallRule> {
        let name = match &file.name {
            Some(name) => self.parsed::<RuleName>(&path.key("name"), name),
            None => self.missing(&path.key("name"), "the rule's name such as \"office\""),
        };
        let limits = self.limits(path, file);
        let given = [("allow", &file.allow), ("deny", &file.deny), ("limit", &file.limit)];
        let mut given = given.into_iter().filter_map(|(key, sources)| Some((key, sources.as_ref()?)));
        let expected = "one of allow, deny and limit, with the sources it is about";
        let (key, sources) = match (given.next(), given.next()) {
            (Some(one), None) => one,
            (None, _) => return self.complain(path, Complaint::new("it says nothing").expected(expected)),
            (Some(_), Some((second, _))) => {
                let wrong = Complaint::new("a rule does one thing").expected(expected);
                return self.complain_of_key(&path.key(second), wrong);
            }
        };
        let sources = self.sources(&path.key(key), sources);
        let action = match key {
            "allow" => Some(RuleAction::Allow),
            "deny" => Some(RuleAction::Deny),
            _ => self.limit_action(path, file, limits),
        };
        if key != "limit" {
            self.refuse_limits(path, file, key);
        }
        let target = self.target(path, file, services);
        if file.active_flows.is_some() && target.as_ref().is_some_and(RuleTarget::is_host) {
            let complaint = Complaint::new("open connections of the host are not counted");
            let suggestion = "limit new ones with new_flows_per_second".to_owned();
            self.complain_of_key::<()>(&path.key("active_flows"), complaint.suggest(suggestion));
        }
        Some(FirewallRule { name: name?, action: action?, sources: sources?, target: target? })
    }

    fn sources(&mut self, path: &Path, file: &FileSources) -> Option<Sources> {
        let texts = match file {
            FileSources::File(file) => {
                return self.absolute(&path.key("file"), file, "/etc/lbctl/deny.txt").map(Sources::File);
            }
            FileSources::Texts(texts) => texts.entries(path),
        };
        if texts.is_empty() {
            let expected = "at least one prefix such as \"198.51.100.0/24\", or \"any\"";
            return self.complain(path, Complaint::new("the list is empty").expected(expected));
        }
        let mut prefixes = Vec::new();
        let mut whole = true;
        for (path, text) in texts {
            if text == "any" {
                prefixes.extend(any_source());
                continue;
            }
            match self.source_prefix(&path, text) {
                Some(prefix) => prefixes.push(prefix),
                None => whole = false,
            }
        }
        whole.then_some(Sources::Prefixes(prefixes))
    }

    /// An address or a network.
    pub(super) fn source_prefix(&mut self, path: &Path, text: &str) -> Option<IpNet> {
        match parse_prefix(text) {
            Ok(prefix) => Some(prefix),
            Err(error) => self.complain(path, Complaint::new(error.to_string())),
        }
    }

    fn target(
        &mut self,
        path: &Path,
        file: &FileRule,
        services: &BTreeMap<String, FileService>,
    ) -> Option<RuleTarget> {
        let host = file.host.unwrap_or(false);
        match (&file.service, host, file.host_port) {
            (None, false, None) => Some(RuleTarget::Services),
            (None, true, None) => Some(RuleTarget::Host),
            (None, _, Some(port)) => self.port(&path.key("host_port"), port).map(RuleTarget::HostPort),
            (Some(_), _, _) if host || file.host_port.is_some() => {
                let complaint = Complaint::new("a rule is about a service or about the host");
                let suggestion = "write two rules".to_owned();
                self.complain_of_key(&path.key("service"), complaint.suggest(suggestion))
            }
            (Some(name), _, _) => {
                let path = path.key("service");
                let name: ServiceName = self.parsed(&path, name)?;
                if services.contains_key(name.as_str()) {
                    return Some(RuleTarget::Service(name));
                }
                let known: Vec<&str> = services.keys().map(String::as_str).collect();
                let complaint = Complaint::new(format!("there is no service \"{name}\""));
                let suggestion = did_you_mean(name.as_str(), known.iter().copied());
                let expected = format!("one of {}, or no key service for all", known.join(", "));
                self.complain(&path, complaint.expected(expected).suggest(suggestion))
            }
        }
    }

    fn limits(&mut self, path: &Path, file: &FileRule) -> Option<Limits> {
        let rate = file.new_flows_per_second.map(|rate| {
            let expected = "a whole number from 1 to 1000000";
            self.whole::<u32>(&path.key("new_flows_per_second"), rate, 1..=RATE_MAX, expected)
        });
        let active = file.active_flows.map(|active| {
            let expected = "a whole number from 1 to 16000000";
            self.whole::<u32>(&path.key("active_flows"), active, 1..=ACTIVE_MAX, expected)
        });
        // Without a burst of its own, what a second may bring may also come at once.
        let burst = file.burst.or(file.new_flows_per_second).unwrap_or(1);
        let burst = self.whole(&path.key("burst"), burst, 1..=RATE_MAX, "a whole number from 1 to 1000000");
        let bits = "a number of leading bits";
        let per_ipv4 = self.whole(&path.key("per_ipv4"), file.per_ipv4.unwrap_or(32), 0..=32, bits);
        // What one customer usually gets.
        let per_ipv6 = self.whole(&path.key("per_ipv6"), file.per_ipv6.unwrap_or(64), 0..=128, bits);
        let (new_flows_per_second, active_flows) = (flat(rate)?, flat(active)?);
        let (burst, per_ipv4, per_ipv6) = (burst?, per_ipv4?, per_ipv6?);
        Some(Limits { new_flows_per_second, burst, active_flows, per_ipv4, per_ipv6 })
    }

    fn limit_action(&mut self, path: &Path, file: &FileRule, limits: Option<Limits>) -> Option<RuleAction> {
        let limits = limits?;
        if limits.new_flows_per_second.is_none() && limits.active_flows.is_none() {
            let complaint = Complaint::new("a limit of nothing");
            let expected = "new_flows_per_second, active_flows or both";
            return self.complain_of_key(&path.key("limit"), complaint.expected(expected));
        }
        if file.burst.is_some() && limits.new_flows_per_second.is_none() {
            let complaint =
                Complaint::new("a burst without a rate").expected("new_flows_per_second beside it");
            return self.complain_of_key(&path.key("burst"), complaint);
        }
        Some(RuleAction::Limit(limits))
    }

    fn refuse_limits(&mut self, path: &Path, file: &FileRule, action: &str) {
        let given = [
            ("new_flows_per_second", file.new_flows_per_second),
            ("burst", file.burst),
            ("active_flows", file.active_flows),
            ("per_ipv4", file.per_ipv4),
            ("per_ipv6", file.per_ipv6),
        ];
        for (key, _) in given.into_iter().filter(|(_, value)| value.is_some()) {
            let complaint = Complaint::new(format!("a rule that says {action} has no {key}"));
            let suggestion = format!("write limit in the place of {action}, or leave the key out");
            self.complain_of_key::<()>(&path.key(key), complaint.suggest(suggestion));
        }
    }
}

/// Nothing given is right; given and wrong is not.
fn flat<T>(value: Option<Option<T>>) -> Option<Option<T>> {
    match value {
        None => Some(None),
        Some(value) => value.map(Some),
    }
}
