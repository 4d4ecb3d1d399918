//! `lbctl explain` on the live dataplane: every kind of answer, and nothing changed by asking.

use crate::client::{KeptConnection, counters, flows, lbctl, lbctl_json, try_lbctl, vip_a, web_lab};
use anyhow::{Context as _, Result, ensure};
use lb_user::api::{Explanation, FlowView};
use lbctl_tests::lab::Lab;
use std::collections::BTreeMap;
use std::net::SocketAddr;

fn explain(lab: &Lab, from: &str, to: &str, more: &[&str]) -> Result<Explanation> {
    lbctl_json(lab, &[&["explain", "--from", from, "--to", to], more].concat())
}

/// Counters that nothing but flows moves; health checks and the like go on meanwhile.
fn about_flows(lab: &Lab) -> Result<BTreeMap<String, u64>> {
    let mut all = counters(lab, "lb1")?;
    all.retain(|name, _| {
        ["new_flow", "handshake", "promoted", "to_backend", "to_client"].contains(&name.as_str())
    });
    ensure!(all.len() == 5, "{all:?}");
    Ok(all)
}

/// Verdict, outcome, flow.
fn said(explanation: &Explanation) -> [&str; 3] {
    [&explanation.verdict, &explanation.outcome, &explanation.flow]
}

#[test]
fn explanations_foresee_new_flows_exactly_and_asking_changes_nothing() -> Result<()> {
    let lab = web_lab()?;
    for vip in vip_a() {
        let to = SocketAddr::new(vip, 80).to_string();
        let from = if vip.is_ipv4() { "10.90.0.10:4711" } else { "[fd90::10]:4711" };
        let before = about_flows(&lab)?;
        let first = explain(&lab, from, &to, &[])?;
        for _ in 0..5 {
            ensure!(explain(&lab, from, &to, &[])? == first, "the answer changes with the asking");
        }
        ensure!(about_flows(&lab)? == before, "asking is counted");
        ensure!(said(&first) == ["transmit", "new_flow", "new"], "{first:?}");
        ensure!(first.service.as_ref().is_some_and(|name| name.as_str() == "web"), "{first:?}");
        let leaves = first.leaves.as_ref().context("it does not leave")?;
        let foreseen = first.backend.clone().context("no backend")?;
        // The next connection is the one that was foreseen, to the port.
        let mut connection = lab.host("client").inside(|| KeptConnection::open(vip))??;
        ensure!(connection.backend == foreseen.as_str(), "{} answered", connection.backend);
        let client = connection.local_address()?;
        let list = flows(&lab, "lb1", 1000)?.flows;
        let flow: &FlowView = list.iter().find(|flow| flow.client == client).context("no flow")?;
        ensure!(flow.nat == leaves.from && flow.backend == leaves.to, "{flow:?} {leaves:?}");

        let forward = explain(&lab, &client.to_string(), &to, &[])?;
        ensure!(said(&forward) == ["transmit", "to_backend", "established"], "{forward:?}");
        ensure!(forward.direction.as_deref() == Some("to-backend"), "{forward:?}");
        ensure!(forward.state.as_deref() == Some("established"), "{forward:?}");
        let back = explain(&lab, &flow.backend.to_string(), &flow.nat.to_string(), &[])?;
        ensure!(said(&back) == ["transmit", "to_client", "established"], "{back:?}");
        let leaves = back.leaves.as_ref().context("it does not leave")?;
        ensure!(leaves.to == client && leaves.from.to_string() == to, "{leaves:?}");
        let fin = explain(&lab, &client.to_string(), &to, &["--segment", "fin"])?;
        ensure!(
            fin.outcome == "to_backend" && connection.ask(false).is_ok(),
            "asking about a FIN closed the flow"
        );
    }
    lab.down()
}

#[test]
fn explanations_name_the_rule_the_limit_and_the_missing_backend() -> Result<()> {
    let lab = web_lab()?;
    let (from, to) = ("10.90.0.10:4711", "10.80.0.100:80");
    lbctl(&lab, &["firewall", "rule", "add", "bad", "--deny", "203.0.113.0/24"])?;
    lbctl(
        &lab,
        &["firewall", "rule", "add", "once", "--limit", "10.90.0.10", "--rate", "1", "--burst", "1"],
    )?;
    let denied = explain(&lab, "203.0.113.7:1", to, &[])?;
    ensure!(said(&denied) == ["drop", "denied", "none"], "{denied:?}");
    let rule = |explanation: &Explanation| explanation.rule.as_ref().map(|rule| rule.as_str().to_owned());
    ensure!(
        rule(&denied).as_deref() == Some("bad") && denied.firewall.as_deref() == Some("deny"),
        "{denied:?}"
    );

    let within = explain(&lab, from, to, &[])?;
    ensure!(within.outcome == "new_flow" && rule(&within).as_deref() == Some("once"), "{within:?}");
    // Two at once: the second one is above the burst, and so is what is asked right after.
    let above = lab.host("client").inside(|| -> Result<()> {
        KeptConnection::open(vip_a()[0])?;
        Ok(())
    })?;
    above?;
    let above = explain(&lab, from, to, &[])?;
    ensure!(said(&above) == ["drop", "over_rate", "none"], "{above:?}");
    let hits: lb_user::api::FirewallView = lbctl_json(&lab, &["firewall", "rule", "list"])?;
    ensure!(
        hits.rules.iter().all(|rule| rule.denied == 0 && rule.over_rate == 0),
        "asking is counted: {hits:?}"
    );
    lbctl(&lab, &["firewall", "rule", "del", "once"])?;

    for backend in ["web1", "web2"] {
        lbctl(&lab, &["backend", "maint", "web", backend])?;
    }
    let nobody = explain(&lab, from, to, &["--segment", "syn"])?;
    ensure!(said(&nobody) == ["transmit", "no_backend", "none"] && nobody.backend.is_none(), "{nobody:?}");
    let stray = explain(&lab, from, "10.80.0.100:80", &["--segment", "ack"])?;
    ensure!(stray.outcome == "unknown_flow", "{stray:?}");
    let host = explain(&lab, from, "10.80.0.2:22", &[])?;
    ensure!(said(&host) == ["pass", "not_ours", "none"], "{host:?}");

    let text = lbctl(&lab, &["explain", "--from", "203.0.113.7:1", "--to", to])?;
    ensure!(
        text.contains("firewall   deny, by rule bad") && text.contains("outcome    drop: denied"),
        "{text}"
    );
    let wrong = try_lbctl(&lab, &["explain", "--from", "[fd90::10]:1", "--to", to])?;
    ensure!(wrong.code == Some(1) && wrong.err.contains("two families"), "{wrong:?}");
    lab.down()
}
