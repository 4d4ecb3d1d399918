//! What commands answer: exit codes and words on failure, the API's types as JSON.

use crate::client::{
    KeptConnection, PATIENCE, Said, flows, lbctl, lbctl_json, try_lbctl, vip_a, web_lab, whole,
};
use anyhow::{Context as _, Result, ensure};
use lb_user::api::{BackendView, CheckView, CountersView, Event, EventKind, FlowList, ServiceView, Status};
use lbctl_tests::lab::{Lab, poll};

#[test]
fn commands_end_with_the_documented_codes_and_print_the_types_of_the_api() -> Result<()> {
    let lab = web_lab()?;
    refusals_have_their_codes_and_words(&lab)?;
    let mut connections =
        lab.host("client").inside(|| [(); 2].map(|()| KeptConnection::open(vip_a()[0])))?.into_iter();
    let first = connections.next().context("a connection")??;
    let second = connections.next().context("a connection")??;
    let to_web1 = if first.backend == "web1" { first } else { second };
    looks_print_the_types_of_the_api(&lab)?;
    a_flow_is_listed(&lab, &to_web1)?;
    a_drain_that_waits_too_long_says_so(&lab)?;
    lab.down()
}

fn expect_refusal(said: &Said, code: i32, words: &str) -> Result<()> {
    ensure!(said.code == Some(code), "code {code} expected: {said:?}");
    ensure!(said.err.starts_with("lbctl: ") || code == 2, "{said:?}");
    ensure!(said.err.contains(words), "{words:?} expected: {said:?}");
    ensure!(said.out.is_empty(), "a refusal on standard output: {said:?}");
    Ok(())
}

fn refusals_have_their_codes_and_words(lab: &Lab) -> Result<()> {
    let file = lab.agent_config("lb1")?;
    let new_address = ["--address", "10.80.0.29:80", "--address", "[fd80::29]:80"];
    let cases: [(i32, &[&str], &str); 13] = [
        (2, &["nonsense"], "unrecognized subcommand 'nonsense'"),
        (2, &["backend", "set", "web", "web1"], "--weight"),
        (2, &["backend", "set", "web", "web1", "--weight", "257"], "257"),
        (2, &["service", "add", "new", "--port", "81"], "--vip"),
        (
            4,
            &["service", "show", "wbe"],
            "there is no service wbe; there are: dns, web, web-direct, web-passthrough, web-tls",
        ),
        (4, &["service", "del", "wbe"], "there is no service \"wbe\"; did you mean \"web\"?"),
        (4, &["backend", "show", "web", "web9"], "service web has no backend web9"),
        (4, &["backend", "set", "web", "web9", "--weight", "2"], "service \"web\" has no backend \"web9\""),
        (4, &["backend", "del", "web", "web9"], "service \"web\" has no backend \"web9\""),
        (4, &["backend", "list", "wbe"], "there is no service wbe"),
        (1, &["service", "add", "web", "--vip", "A", "--port", "81"], "there is a service \"web\" already"),
        (1, &["service", "add", "new", "--vip", "C", "--port", "81"], "there is no VIP \"C\""),
        (1, &["service", "add", "new", "--vip", "A", "--port", "80"], "service web has port 80 of VIP A"),
    ];
    for (code, arguments, words) in cases {
        expect_refusal(&try_lbctl(lab, arguments)?, code, words).with_context(|| format!("{arguments:?}"))?;
    }
    let again = try_lbctl(lab, &[&["backend", "add", "web", "web1"], &new_address[..]].concat())?;
    expect_refusal(&again, 1, "service \"web\" has a backend \"web1\" already")?;
    let same = try_lbctl(lab, &["backend", "add", "web", "web9", "--address", "10.80.0.21:80"])?;
    expect_refusal(&same, 1, "10.80.0.21:80")?;
    assert_eq!(lab.agent_config("lb1")?, file);
    let services: Vec<ServiceView> = lbctl_json(lab, &["service", "list"])?;
    ensure!(
        services.len() == 5 && services[1].backends.len() == 2,
        "a refusal changed something: {services:?}"
    );
    Ok(())
}

fn names(backends: &[BackendView]) -> Vec<(&str, &str)> {
    backends.iter().map(|backend| (backend.service.as_str(), backend.name.as_str())).collect()
}

fn looks_print_the_types_of_the_api(lab: &Lab) -> Result<()> {
    let status: Status = lbctl_json(lab, &["status"])?;
    assert_eq!(status.node.as_str(), "lb1");
    assert_eq!(i32::try_from(status.pid)?, lab.process_id("lb1", "agent")?);
    assert_eq!(status.config_file, lab.agent_config_path("lb1").display().to_string());
    let here: Vec<_> = status.vips.iter().map(|vip| (vip.name.as_str(), vip.active_here)).collect();
    assert_eq!(here, [("A", true), ("B", false), ("direct", true)]);
    assert_eq!((status.services, status.services_without_backend), (5, 0));

    let services: Vec<ServiceView> = lbctl_json(lab, &["service", "list"])?;
    let listed: Vec<_> = services.iter().map(|service| (service.name.as_str(), service.port)).collect();
    assert_eq!(
        listed,
        [("dns", 53), ("web", 80), ("web-direct", 80), ("web-passthrough", 8443), ("web-tls", 443)]
    );
    let web: ServiceView = lbctl_json(lab, &["service", "show", "web"])?;
    let listens: Vec<_> = web.listen.iter().map(ToString::to_string).collect();
    assert_eq!(listens, ["10.80.0.100:80", "[fd80::100]:80"]);

    let all: Vec<BackendView> = lbctl_json(lab, &["backend", "list"])?;
    let wanted = ["dns", "web", "web-direct", "web-passthrough", "web-tls"]
        .map(|service| [(service, "web1"), (service, "web2")]);
    assert_eq!(names(&all), wanted.concat());
    let of_web: Vec<BackendView> = lbctl_json(lab, &["backend", "list", "web"])?;
    assert_eq!(names(&of_web), wanted[1]);
    let web2: BackendView = lbctl_json(lab, &["backend", "show", "web", "web2"])?;
    assert_eq!((web2.service.as_str(), web2.name.as_str()), ("web", "web2"));
    ensure!(web2.addresses.iter().all(|address| address.slots > 0), "{web2:?}");

    let checks: Vec<CheckView> = lbctl_json(lab, &["health", "list"])?;
    assert_eq!(checks.len(), 20);
    ensure!(checks.iter().any(|check| check.address.to_string() == "[fd80::22]:443"), "{checks:?}");
    let counters: CountersView = lbctl_json(lab, &["counters"])?;
    ensure!(counters.outcomes.iter().any(|counter| counter.count > 0), "nothing was counted: {counters:?}");
    let events = lbctl(lab, &["-o", "json", "events"])?;
    let events = events.lines().map(whole).collect::<Result<Vec<Event>>>()?;
    ensure!(events.iter().zip(1..).all(|(event, count)| event.sequence == count), "{events:?}");
    ensure!(events.iter().any(|event| event.kind == EventKind::AgentStarted), "{events:?}");
    Ok(())
}

fn a_flow_is_listed(lab: &Lab, connection: &KeptConnection) -> Result<()> {
    let client = connection.local_address()?;
    poll::until("the flow is listed", PATIENCE, || {
        let list = flows(lab, "lb1", 100)?;
        ensure!(list.flows.iter().any(|flow| flow.client == client), "{list:?}");
        Ok(())
    })?;
    let list: FlowList =
        lbctl_json(lab, &["flow", "list", "--service", "web", "--client", &client.ip().to_string()])?;
    let flow = list.flows.iter().find(|flow| flow.client == client).context("not of this client")?;
    assert_eq!(flow.vip.to_string(), "10.80.0.100:80");
    assert_eq!(flow.backend.to_string(), "10.80.0.21:80");
    assert_eq!(flow.backend_name.as_ref().map(|name| name.as_str()), Some("web1"));
    assert_eq!(flow.state, "established");
    let others: FlowList = lbctl_json(lab, &["flow", "list", "--service", "web-passthrough"])?;
    ensure!(others.flows.iter().all(|flow| flow.client != client), "{others:?}");
    let of = |filters: &[&str]| -> Result<bool> {
        let list: FlowList = lbctl_json(lab, &[&["flow", "list"], filters].concat())?;
        Ok(list.flows.iter().any(|flow| flow.client == client))
    };
    let all_of_it =
        ["--backend", "web1", "--client", "10.90.0.0/24", "--protocol", "tcp", "--state", "established"];
    ensure!(of(&all_of_it)?, "not found by all that is true of it");
    for wrong in [
        ["--backend", "web2"],
        ["--client", "10.91.0.0/16"],
        ["--client", "fd90::/64"],
        ["--protocol", "udp"],
        ["--state", "half-closed"],
        ["--idle", "1h"],
    ] {
        ensure!(!of(&wrong)?, "found by {wrong:?}");
    }
    let no_prefix = try_lbctl(lab, &["flow", "list", "--client", "10.90.0.1/24"])?;
    expect_refusal(&no_prefix, 2, "did you mean 10.90.0.0/24?")?;
    let one: FlowList = lbctl_json(lab, &["flow", "list", "--limit", "1"])?;
    ensure!(one.flows.len() == 1 && one.truncated, "{one:?}");
    Ok(())
}

fn a_drain_that_waits_too_long_says_so(lab: &Lab) -> Result<()> {
    let drained = try_lbctl(lab, &["backend", "drain", "web", "web1", "--wait", "--timeout", "2s"])?;
    ensure!(drained.code == Some(6) && drained.err.starts_with("lbctl: "), "{drained:?}");
    assert!(drained.out.contains("service web: backend web1: state ready → drain"), "{drained:?}");
    let ready = lbctl(lab, &["backend", "ready", "web", "web1"])?;
    assert_eq!(ready, "service web: backend web1: state drain → ready\napplied and saved\n");
    Ok(())
}
