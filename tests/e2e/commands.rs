//! The command line as an operator uses it, against a running agent and its file: exit codes, changes that stay,
//! changes that do not, wrong files, and the control API with curl.

use crate::client::{ask_times, backend_view, client_shell, lbctl, shares, vip_a, web_lab};
use crate::peers::{can_read, can_write};
use anyhow::{Context as _, Result, ensure};
use lb_user::api::{BackendView, CheckView, CountersView, Event, FlowList, ServiceView, Status};
use lbctl_tests::lab::{Lab, poll};
use nix::sys::signal::Signal;
use std::net::SocketAddr;
use std::process::Output;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(10);

/// What `lbctl` on lb1 says and how it ends.
fn run(lab: &Lab, arguments: &[&str]) -> Result<(i32, String, String)> {
    let Output { status, stdout, stderr } = lab.lbctl("lb1")?.args(arguments).output()?;
    let text = |bytes: Vec<u8>| String::from_utf8(bytes);
    Ok((status.code().context("ended by a signal")?, text(stdout)?, text(stderr)?))
}

/// The command ends with this code, says nothing on standard output, and all these words on standard error.
fn refuses(lab: &Lab, arguments: &[&str], code: i32, words: &[&str]) -> Result<()> {
    let (ended, said, error) = run(lab, arguments)?;
    ensure!(ended == code && said.is_empty(), "lbctl {arguments:?}: code {ended}, not {code}: {said}{error}");
    for word in words {
        ensure!(error.contains(word), "lbctl {arguments:?}: no {word:?} in {error:?}");
    }
    Ok(())
}

fn restart(lab: &Lab) -> Result<()> {
    lab.kill_agent("lb1", Signal::SIGTERM)?;
    lab.start_agent("lb1")
}

#[test]
fn changes_reach_the_agent_and_the_file_and_leave_its_comments_alone() -> Result<()> {
    let lab = web_lab()?;
    let before = lab.agent_config("lb1")?.replace(
        "[[service.web.backend]]\nname = \"web2\"\n",
        "# The old machine: keep its weight low.\n[[service.web.backend]] # web2\nname = \"web2\" # by the door\n",
    );
    ensure!(before.contains("by the door"), "the lab writes its file in another way: {before}");
    lab.write_agent_config("lb1", &before)?;
    lbctl(&lab, &["apply"])?;
    a_weight_is_written_where_it_belongs(&lab, &before)?;
    a_backend_that_is_added_serves_and_one_that_is_removed_does_not(&lab)?;
    a_service_that_is_added_serves(&lab)?;
    what_is_for_run_time_only_is_gone_after_a_restart(&lab)?;
    lab.down()
}

fn a_weight_is_written_where_it_belongs(lab: &Lab, before: &str) -> Result<()> {
    let said = lbctl(lab, &["backend", "set", "web", "web2", "--weight", "3"])?;
    ensure!(said == "service web: backend web2: weight 1 → 3\napplied and saved\n", "{said}");
    let after = lab.agent_config("lb1")?;
    let added: Vec<&str> = after.lines().filter(|line| !before.lines().any(|old| old == *line)).collect();
    let removed = before.lines().filter(|line| !after.lines().any(|new| new == *line)).count();
    ensure!(added == ["weight = 3"] && removed == 0, "added {added:?}, removed {removed} lines:\n{after}");
    ensure!(after.lines().count() == before.lines().count() + 1, "{after}");
    restart(lab)?;
    ensure!(backend_view(lab, "lb1", "web2")?.weight.to_string() == "3", "the restart lost the weight");
    let answers = ask_times(lab, vip_a()[0], 40)?;
    ensure!(shares(&answers).get("web2") == Some(&30), "{:?}", shares(&answers));
    Ok(())
}

fn a_backend_that_is_added_serves_and_one_that_is_removed_does_not(lab: &Lab) -> Result<()> {
    lbctl(lab, &["backend", "del", "web", "web2"])?;
    ensure!(!lab.agent_config("lb1")?.contains("by the door"), "the comment of what is removed stays");
    for vip in vip_a() {
        let answers = ask_times(lab, vip, 10)?;
        ensure!(shares(&answers).get("web1") == Some(&10), "VIP {vip}: {:?}", shares(&answers));
    }
    lbctl(
        lab,
        &["backend", "add", "web", "new", "--address", "10.80.0.22:80", "--address", "[fd80::22]:80"],
    )?;
    crate::client::wait_for_health(lab, "lb1", "new", lb_user::model::BackendHealth::Up)?;
    for vip in vip_a() {
        let answers = ask_times(lab, vip, 10)?;
        ensure!(shares(&answers).get("web2") == Some(&5), "VIP {vip}: {:?}", shares(&answers));
    }
    let file = lab.agent_config_path("lb1");
    let (code, said, error) = run(lab, &["check", &file.display().to_string()])?;
    ensure!(code == 0 && said.contains("fine"), "the changed file: {said}{error}");
    Ok(())
}

fn a_service_that_is_added_serves(lab: &Lab) -> Result<()> {
    let web1 = "web1=10.80.0.21:80,[fd80::21]:80";
    let extra = [
        "service",
        "add",
        "extra",
        "--vip",
        "A",
        "--port",
        "8088",
        "--backend",
        web1,
        "--check-path",
        "/healthz",
    ];
    lbctl(lab, &extra)?;
    for vip in vip_a() {
        let url = format!("http://{}/healthz", SocketAddr::new(vip, 8088));
        poll::until("the new service serves", PATIENCE, || {
            let said = client_shell(lab, &format!("curl -s --max-time 2 {url}"))?;
            ensure!(said.starts_with("ok"), "{said}");
            Ok(())
        })?;
    }
    refuses(lab, &extra, 1, &["extra", "already"])?;
    lbctl(lab, &["service", "del", "extra"])?;
    let url = format!("http://{}/healthz", SocketAddr::new(vip_a()[0], 8088));
    let refused = client_shell(lab, &format!("curl -s --max-time 2 {url}; echo $?"))?;
    ensure!(refused == "7\n", "a removed service: curl {refused}");
    Ok(())
}

fn what_is_for_run_time_only_is_gone_after_a_restart(lab: &Lab) -> Result<()> {
    let before = lab.agent_config("lb1")?;
    let said = lbctl(lab, &["backend", "drain", "web", "web1", "--runtime-only"])?;
    ensure!(said.contains("state ready → drain"), "{said}");
    ensure!(lab.agent_config("lb1")? == before, "--runtime-only changed the file");
    ensure!(backend_view(lab, "lb1", "web1")?.state.to_string() == "drain", "it is not drained");
    let status: Status = serde_json::from_str(&lbctl(lab, &["-o", "json", "status"])?)?;
    ensure!(status.runtime_changes, "the status does not tell");
    restart(lab)?;
    ensure!(backend_view(lab, "lb1", "web1")?.state.to_string() == "ready", "it is still drained");
    Ok(())
}

#[test]
fn errors_have_their_codes_and_wrong_files_change_nothing() -> Result<()> {
    let lab = web_lab()?;
    refuses(&lab, &["backend", "set", "web", "web1"], 2, &["--weight"])?;
    refuses(
        &lab,
        &["backend", "set", "web", "nobody", "--weight", "2"],
        4,
        &["lbctl: ", "nobody", "web1, web2"],
    )?;
    refuses(&lab, &["service", "show", "nothing"], 4, &["nothing", "web"])?;
    refuses(&lab, &["backend", "set", "web", "web1", "--weight", "257"], 2, &["257", "256"])?;
    refuses(&lab, &["backend", "add", "web", "web1", "--address", "10.80.0.23:80"], 1, &["web1"])?;
    refuses(&lab, &["backend", "add", "web", "web3", "--address", "10.80.0.21:80"], 1, &["10.80.0.21:80"])?;
    wrong_files_are_refused_with_their_place(&lab)?;
    a_reload_takes_a_right_file_and_refuses_a_wrong_one(&lab)?;
    a_dry_run_shows_and_does_nothing(&lab)?;
    what_needs_a_restart_waits_and_the_rest_is_applied(&lab)?;
    json_is_the_types_of_the_api(&lab)?;
    lab.down()
}

fn wrong_files_are_refused_with_their_place(lab: &Lab) -> Result<()> {
    let right = lab.agent_config("lb1")?;
    let file = lab.agent_config_path("lb1").with_file_name("wrong.toml");
    let name = file.display().to_string();
    let wrong = [
        ("10.80.0.22:80", "10.80.0.22:99999", &["service.web.backend[1].address", "10.80.0.22:99999"][..]),
        ("scheduler = ", "sheduler = ", &["sheduler", "scheduler"]),
        ("\"round-robin\"", "\"roundrobin\"", &["service.web.scheduler", "round-robin"]),
        ("vips = [\"A\", \"B\"]", "vips = [\"A\", \"C\"]", &["service.web.vips", "C"]),
    ];
    for (from, to, words) in wrong {
        let text = right.replacen(from, to, 1);
        ensure!(text != right, "no {from:?} in the lab's file");
        let line =
            text.lines().zip(right.lines()).position(|(new, old)| new != old).context("no difference")? + 1;
        std::fs::write(&file, &text)?;
        let place = format!("{name}:{line}");
        refuses(lab, &["check", &name], 1, &[&[place.as_str()][..], words].concat())?;
    }
    Ok(())
}

fn a_reload_takes_a_right_file_and_refuses_a_wrong_one(lab: &Lab) -> Result<()> {
    let right = lab.agent_config("lb1")?;
    let heavier = right.replacen("name = \"web1\"\n", "name = \"web1\"\nweight = 4\n", 1);
    lab.write_agent_config("lb1", &heavier)?;
    lab.kill_agent("lb1", Signal::SIGHUP)?;
    poll::until("SIGHUP takes the file over", PATIENCE, || {
        let weight = backend_view(lab, "lb1", "web1")?.weight.to_string();
        ensure!(weight == "4", "weight {weight}");
        Ok(())
    })?;
    lab.write_agent_config("lb1", &heavier.replacen("weight = 4", "weight = \"much\"", 1))?;
    lab.kill_agent("lb1", Signal::SIGHUP)?;
    let line = heavier.lines().position(|line| line == "weight = 4").context("no such line")? + 1;
    let place = format!("{}:{line}", lab.agent_config_path("lb1").display());
    poll::until("the refusal is an event", PATIENCE, || {
        let events = lbctl(lab, &["events"])?;
        ensure!(events.contains("config_refused") && events.contains(&place), "no {place} in {events}");
        Ok(())
    })?;
    ensure!(backend_view(lab, "lb1", "web1")?.weight.to_string() == "4", "the wrong file took effect");
    ensure!(ask_times(lab, vip_a()[0], 5)?.len() == 5, "the agent lives on");
    lab.write_agent_config("lb1", &right)?;
    lbctl(lab, &["apply"])?;
    Ok(())
}

fn a_dry_run_shows_and_does_nothing(lab: &Lab) -> Result<()> {
    let right = lab.agent_config("lb1")?;
    let other = lab.agent_config_path("lb1").with_file_name("other.toml");
    std::fs::write(&other, right.replacen("name = \"web1\"\n", "name = \"web1\"\nweight = 9\n", 1))?;
    let other = other.display().to_string();
    for words in [&["diff", &other][..], &["apply", &other, "--dry-run"]] {
        let (code, said, error) = run(lab, words)?;
        ensure!(code == 10 && said.contains("backend web1: weight 1 → 9"), "{words:?}: {code} {said}{error}");
    }
    ensure!(backend_view(lab, "lb1", "web1")?.weight.to_string() == "1", "a dry run applied");
    ensure!(lab.agent_config("lb1")? == right, "a dry run wrote");
    let (code, _, error) = run(lab, &["diff"])?;
    ensure!(code == 0, "the agent's own file differs: {error}");
    lbctl(lab, &["apply", &other])?;
    ensure!(lab.agent_config("lb1")?.contains("weight = 9"), "apply FILE did not write the agent's own file");
    ensure!(backend_view(lab, "lb1", "web1")?.weight.to_string() == "9", "apply FILE did not apply");
    Ok(())
}

fn what_needs_a_restart_waits_and_the_rest_is_applied(lab: &Lab) -> Result<()> {
    let text = lab.agent_config("lb1")?.replacen("weight = 9", "weight = 2", 1);
    let text = text.replacen("[dataplane]\n", "[dataplane]\nestablished_flows = 100000\n", 1);
    lab.write_agent_config("lb1", &text)?;
    let said = lbctl(lab, &["apply"])?;
    ensure!(said.contains("weight 9 → 2") && said.contains("established_flows"), "{said}");
    ensure!(said.contains("restart"), "{said}");
    ensure!(backend_view(lab, "lb1", "web1")?.weight.to_string() == "2", "the live part was not applied");
    let (code, waiting, _) = run(lab, &["diff"])?;
    ensure!(code == 10 && waiting.contains("established_flows"), "{code}: {waiting}");
    Ok(())
}

fn json_is_the_types_of_the_api(lab: &Lab) -> Result<()> {
    let json = |words: &[&str]| lbctl(lab, &[&["-o", "json"][..], words].concat());
    let status: Status = serde_json::from_str(&json(&["status"])?)?;
    ensure!(status.node.as_str() == "lb1" && status.services == 2, "{status:?}");
    let services: Vec<ServiceView> = serde_json::from_str(&json(&["service", "list"])?)?;
    ensure!(services.len() == 2, "{services:?}");
    let service: ServiceView = serde_json::from_str(&json(&["service", "show", "web"])?)?;
    ensure!(service.backends.len() == 2 && service.listen.len() == 2, "{service:?}");
    let backends: Vec<BackendView> = serde_json::from_str(&json(&["backend", "list", "web"])?)?;
    let backend: BackendView = serde_json::from_str(&json(&["backend", "show", "web", "web1"])?)?;
    ensure!(backends.iter().any(|one| one.name == backend.name), "{backends:?}");
    let checks: Vec<CheckView> = serde_json::from_str(&json(&["health", "list"])?)?;
    ensure!(checks.len() == 8, "two services, two backends, two families: {checks:?}");
    let _: FlowList = serde_json::from_str(&json(&["flow", "list"])?)?;
    let counters: CountersView = serde_json::from_str(&json(&["counters"])?)?;
    ensure!(counters.outcomes.iter().any(|one| one.name == "new_flow" && one.count > 0), "{counters:?}");
    for line in json(&["events"])?.lines() {
        let _: Event = serde_json::from_str(line).with_context(|| line.to_owned())?;
    }
    Ok(())
}

#[test]
fn the_control_api_speaks_json_to_curl_and_only_to_those_who_may() -> Result<()> {
    let lab = web_lab()?;
    let socket = lab.agent_socket("lb1").display().to_string();
    let curl = |words: &str| {
        let output = lab
            .host("lb1")
            .command("sh")
            .args(["-c", &format!("curl -s --unix-socket {socket} {words}")])
            .output()?;
        Ok::<_, anyhow::Error>(String::from_utf8(output.stdout)?)
    };
    let status: Status = serde_json::from_str(&curl("http://lbctl/v1/status")?)?;
    ensure!(status.node.as_str() == "lb1", "{status:?}");
    let url = "http://lbctl/v1/services/web/backends/web1";
    let report = curl(&format!("-X PATCH --json '{{\"weight\": 5}}' {url}"))?;
    ensure!(report.contains("\"applied\":true") && report.contains("\"saved\":true"), "{report}");
    for (words, code, kind) in [
        ("http://lbctl/v1/nothing", "404", "not_found"),
        ("http://lbctl/elsewhere", "404", "not_found"),
        ("-X PUT http://lbctl/v1/status", "405", "bad_method"),
        (&format!("-X PATCH --json '{{\"wait\": 5}}' {url}"), "400", "invalid"),
    ] {
        let said = curl(&format!("-w '%{{http_code}}' {words}"))?;
        ensure!(said.ends_with(code) && said.contains(&format!("\"kind\":\"{kind}\"")), "{words}: {said}");
    }
    let nobody = "--reuid=65534 --regid=65534 --clear-groups";
    let member = "--reuid=65534 --regid=daemon --clear-groups";
    ensure!(!can_read(&lab, nobody)? && !can_read(&lab, member)?, "a socket for root alone");
    let right = lab.agent_config("lb1")?;
    lab.write_agent_config("lb1", &right.replacen("[control]\n", "[control]\nothers_may_read = true\n", 1))?;
    restart(&lab)?;
    ensure!(can_read(&lab, nobody)? && !can_write(&lab, nobody)?, "others_may_read");
    lab.write_agent_config("lb1", &right.replacen("[control]\n", "[control]\ngroup = \"daemon\"\n", 1))?;
    restart(&lab)?;
    ensure!(!can_read(&lab, nobody)?, "a socket for a group");
    ensure!(can_read(&lab, member)? && can_write(&lab, member)?, "a member of the group");
    lab.down()
}
