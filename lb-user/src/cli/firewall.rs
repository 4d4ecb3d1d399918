//! Commands about the firewall, and confirming changes.

use super::args::{AddRuleArgs, ChangeArgs, ConfirmArgs, FirewallCommand, RuleCommand, SourceArgs};
use super::config::report_text;
use super::output::{Output, table};
use super::{CliError, Exit};
use crate::api::client::Client;
use crate::api::{ActionWord, ApplyReport, Confirmed, DroppedList, FirewallAnswer, FirewallView, RuleSpec};
use crate::model::DefaultPolicy;
use humantime::format_duration;
use hyper::Method;
use std::fmt::Write;
use std::time::Duration;

pub(super) async fn run(client: &Client, output: Output, command: FirewallCommand) -> Result<Exit, CliError> {
    match command {
        FirewallCommand::Rule(RuleCommand::List) => {
            let firewall: FirewallView = client.get("/firewall").await?;
            output.print(&firewall, list)?;
        }
        FirewallCommand::Rule(RuleCommand::Add(args)) => {
            let path = format!("/firewall/rules?{}", options(args.change, args.confirm));
            let report: ApplyReport = client.send(Method::POST, &path, &spec(*args)).await?;
            output.print(&report, report_text)?;
        }
        FirewallCommand::Rule(RuleCommand::Del { rule, change, confirm }) => {
            let path = format!("/firewall/rules/{rule}?{}", options(change, confirm));
            let report: ApplyReport = client.delete(&path).await?;
            output.print(&report, report_text)?;
        }
        FirewallCommand::Dropped { limit } => {
            let list: DroppedList = client.get(&format!("/firewall/dropped?limit={limit}")).await?;
            output.print(&list, dropped)?;
        }
        FirewallCommand::Test { from, to } => {
            let answer: FirewallAnswer = client.get(&format!("/firewall/test?from={from}&to={to}")).await?;
            output.print(&answer, |answer| match &answer.rule {
                Some(rule) => format!("{}: {}, by rule {rule}", answer.target, answer.verdict),
                None => format!("{}: {}, by default: no rule matches", answer.target, answer.verdict),
            })?;
        }
    }
    Ok(Exit::Success)
}

/// `lbctl confirm`.
pub(super) async fn confirm(client: &Client, output: Output) -> Result<Exit, CliError> {
    let confirmed: Confirmed = client.send(Method::POST, "/confirm", &()).await?;
    output.print(&confirmed, |_| "confirmed: the change stays".into())?;
    Ok(Exit::Success)
}

fn options(change: ChangeArgs, confirm: ConfirmArgs) -> String {
    let mut text = format!("runtime_only={}", change.runtime_only);
    if let Some(within) = confirm.confirm_within {
        // Writing to a String cannot fail.
        let _ = write!(text, "&confirm_within_seconds={}", within.as_secs());
    }
    text
}

fn spec(args: AddRuleArgs) -> RuleSpec {
    let AddRuleArgs { allow, deny, limit, .. } = args;
    let (action, sources) = match (allow, deny, limit) {
        (Some(sources), _, _) => (ActionWord::Allow, Some(sources)),
        (_, Some(sources), _) => (ActionWord::Deny, Some(sources)),
        (_, _, sources) => (ActionWord::Limit, sources),
    };
    let (prefixes, file) = match sources {
        Some(SourceArgs::Prefixes(prefixes)) => (prefixes, None),
        Some(SourceArgs::File(path)) => (Vec::new(), Some(path)),
        None => (Vec::new(), None),
    };
    RuleSpec {
        name: args.rule,
        action,
        prefixes,
        file,
        service: args.service,
        host: args.host,
        host_port: args.host_port,
        new_flows_per_second: args.rate,
        burst: args.burst,
        active_flows: args.active,
        per_ipv4: args.per_ipv4,
        per_ipv6: args.per_ipv6,
        before: args.before,
    }
}

fn dropped(list: &DroppedList) -> String {
    if list.sources.is_empty() {
        return "nobody's packets were dropped in the last ten minutes".to_owned();
    }
    let rows = list.sources.iter().map(|source| {
        let reasons: Vec<String> =
            source.reasons.iter().map(|reason| format!("{} {}", reason.packets, reason.outcome)).collect();
        let time = |ms: u64| format_duration(Duration::from_secs(ms / 1000)).to_string();
        vec![
            source.source_text(),
            source.packets.to_string(),
            time(source.first_ms),
            time(source.last_ms),
            reasons.join(", "),
        ]
    });
    let mut text = table(&["source", ">packets", ">for", ">last ago", "reasons"], rows.collect());
    if list.known > list.sources.len() {
        // Writing to a String cannot fail.
        let _ = write!(text, "\n… and {} more: raise --limit", list.known - list.sources.len());
    }
    text
}

fn list(firewall: &FirewallView) -> String {
    let rows = firewall.rules.iter().map(|rule| {
        let target = match &rule.limits {
            Some(limits) => format!("{} ({limits})", rule.target),
            None => rule.target.clone(),
        };
        vec![
            rule.name.to_string(),
            rule.action.clone(),
            rule.sources.clone(),
            rule.prefixes.to_string(),
            target,
            rule.allowed.to_string(),
            rule.denied.to_string(),
            rule.over_rate.to_string(),
            rule.over_active.to_string(),
        ]
    });
    let headers =
        ["rule", "action", "sources", ">prefixes", "to", ">allowed", ">denied", ">over rate", ">over active"];
    let mut text = table(&headers, rows.collect());
    let denying: Vec<&str> = firewall.denying_services.iter().map(|name| name.as_str()).collect();
    let services = match denying.as_slice() {
        [] => "all services allow".to_owned(),
        names => format!("denied to {}, allowed to the other services", names.join(", ")),
    };
    let host = match firewall.host_default {
        DefaultPolicy::Allow => "allowed",
        DefaultPolicy::Deny => "denied",
    };
    // Writing to a String cannot fail.
    let _ = write!(text, "\n\nwithout a rule: {services}; connections to the host are {host}");
    if let Some(seconds) = firewall.confirm_within_seconds {
        let _ = write!(text, "\na change is taken back in {seconds} s unless `lbctl confirm` comes");
    }
    text
}
