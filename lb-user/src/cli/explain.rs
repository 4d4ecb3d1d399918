//! `lbctl explain`.

use super::args::ExplainArgs;
use super::output::Output;
use super::{CliError, Exit};
use crate::api::client::Client;
use crate::api::{Explanation, SegmentWord};
use std::fmt::Write;

pub(super) async fn run(client: &Client, output: Output, args: ExplainArgs) -> Result<Exit, CliError> {
    let mut path = format!("/explain?from={}&to={}&segment={}", args.from, args.to, word(args.segment()));
    if let Some(interface) = args.interface {
        // Writing to a String cannot fail.
        let _ = write!(path, "&interface={interface}");
    }
    let explanation: Explanation = client.get(&path).await?;
    output.print(&explanation, text)?;
    Ok(Exit::Success)
}

fn word(segment: SegmentWord) -> &'static str {
    match segment {
        SegmentWord::Auto => "auto",
        SegmentWord::Syn => "syn",
        SegmentWord::Ack => "ack",
        SegmentWord::Fin => "fin",
        SegmentWord::Rst => "rst",
        SegmentWord::Datagram => "datagram",
    }
}

fn text(explanation: &Explanation) -> String {
    let mut lines = Vec::new();
    lines.push(format!("segment    {}", word(explanation.segment).to_uppercase()));
    if let Some(service) = &explanation.service {
        lines.push(format!("service    {service}"));
    }
    lines.push(match (&explanation.firewall, &explanation.rule) {
        (None, _) => "firewall   not asked".to_owned(),
        (Some(verdict), Some(rule)) => format!("firewall   {verdict}, by rule {rule}"),
        (Some(verdict), None) => format!("firewall   {verdict}, by default: no rule matches"),
    });
    lines.push(match (&explanation.state, &explanation.direction) {
        (Some(_), _) if explanation.flow == "new" => "flow       none yet: it begins one".to_owned(),
        (Some(state), Some(direction)) => format!("flow       {} ({state}), {direction}", explanation.flow),
        _ => "flow       none".to_owned(),
    });
    if let Some(backend) = &explanation.backend {
        lines.push(format!("backend    {backend}"));
    }
    if let Some(leaves) = &explanation.leaves {
        let (from, to) = (leaves.from, leaves.to);
        lines.push(format!("leaves as  {from} -> {to}, by {} to {}", leaves.interface, leaves.next_hop));
    }
    let (verdict, outcome) = (&explanation.verdict, &explanation.outcome);
    lines.push(format!("outcome    {verdict}: {outcome}"));
    lines.push(format!("           {}", explanation.description));
    lines.join("\n")
}
