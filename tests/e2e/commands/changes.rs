//! Changes of services and backends: in the running agent, in the file with its comments, in the traffic.

use crate::client::{
    PATIENCE, Said, ask_times, client_shell, lbctl, lbctl_json, shares, try_lbctl, vip_a, wait_for_health,
    web_lab,
};
use anyhow::{Context as _, Result, ensure};
use lb_user::api::{ApplyReport, BackendView, Status};
use lb_user::model::BackendHealth;
use lbctl_tests::lab::{Lab, poll};
use nix::sys::signal::Signal;
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::time::Duration;

const WEB1: &str = "[[service.web.backend]]\nname = \"web1\"\n\
                    address = [\"10.80.0.21:80\", \"[fd80::21]:80\"]\n\n";
const WEB1_WITH_COMMENTS: &str = "# The older of both machines.\n[[service.web.backend]]\n\
                    name = \"web1\"   # rack 7\n\
                    address = [\"10.80.0.21:80\", \"[fd80::21]:80\"]\nweight = 1       # as measured\n\n";
const WEB2: &str = "[[service.web.backend]]\nname = \"web2\"\n\
                    address = [\"10.80.0.22:80\", \"[fd80::22]:80\"]\n\n";
const SPARE: &str = "[[service.web.backend]]\nname = \"spare\"\n\
                     address = [\"10.80.0.22:80\", \"[fd80::22]:80\"]\nweight = 2\n";

#[test]
fn changes_reach_the_agent_the_file_and_the_traffic_and_a_restart_keeps_them() -> Result<()> {
    let lab = web_lab()?;
    let plain = lab.agent_config("lb1")?;
    ensure!(plain.matches(WEB1).count() == 1 && plain.matches(WEB2).count() == 1, "another file:\n{plain}");
    let file = plain.replace(WEB1, WEB1_WITH_COMMENTS) + "# The end.\n";
    lab.write_agent_config("lb1", &file)?;
    assert_eq!(lbctl(&lab, &["apply"])?, "nothing to change\n");

    let file = a_weight_is_set_in_its_place(&lab, &file)?;
    let file = a_backend_goes_and_another_comes(&lab, &file)?;
    a_service_comes_and_goes(&lab, &file)?;
    a_restart_keeps_the_changes(&lab, &file)?;
    a_runtime_change_is_not_in_the_file_and_ends_with_the_agent(&lab, &file)?;
    lab.down()
}

fn backends(lab: &Lab) -> Result<Vec<(String, u64)>> {
    let backends: Vec<BackendView> = lbctl_json(lab, &["backend", "list", "web"])?;
    let weight = |backend: &BackendView| serde_json::to_value(backend.weight).ok()?.as_u64();
    let one = |backend: &BackendView| Some((backend.name.to_string(), weight(backend)?));
    backends.iter().map(one).collect::<Option<_>>().context("a weight that is no number")
}

fn named(list: &[(&str, u64)]) -> Vec<(String, u64)> {
    list.iter().map(|(name, weight)| ((*name).to_owned(), *weight)).collect()
}

/// Asks over both families; so many answers by web1 and web2 each time.
fn expect_shares(lab: &Lab, web1: usize, web2: usize) -> Result<()> {
    for vip in vip_a() {
        let answers = ask_times(lab, vip, web1 + web2)?;
        let shares = shares(&answers);
        let got = ["web1", "web2"].map(|who| shares.get(who).copied().unwrap_or(0));
        ensure!(got == [web1, web2], "VIP {vip}: {shares:?}, not {web1} and {web2}");
    }
    Ok(())
}

fn expect_file(lab: &Lab, wanted: &str) -> Result<()> {
    assert_eq!(lab.agent_config("lb1")?, wanted);
    let path = lab.agent_config_path("lb1").display().to_string();
    let checked = try_lbctl(lab, &["check", &path])?;
    ensure!(
        checked.code == Some(0) && checked.out.starts_with(&format!("{path}: fine: node lb1, ")),
        "{checked:?}"
    );
    Ok(())
}

fn a_weight_is_set_in_its_place(lab: &Lab, file: &str) -> Result<String> {
    let report: ApplyReport = lbctl_json(lab, &["backend", "set", "web", "web1", "--weight", "3"])?;
    let changes = vec!["service web: backend web1: weight 1 → 3".to_owned()];
    assert_eq!(
        report,
        ApplyReport {
            changes,
            need_restart: vec![],
            applied: true,
            saved: true,
            confirm_within_seconds: None
        }
    );
    assert_eq!(backends(lab)?, named(&[("web1", 3), ("web2", 1)]));
    expect_shares(lab, 6, 2)?;
    let wanted = file.replace("weight = 1       # as measured", "weight = 3       # as measured");
    ensure!(wanted != file, "the comment is not there");
    expect_file(lab, &wanted)?;
    Ok(wanted)
}

fn a_backend_goes_and_another_comes(lab: &Lab, file: &str) -> Result<String> {
    let removed = "service web: backend web2 removed\napplied and saved\n";
    assert_eq!(lbctl(lab, &["backend", "del", "web", "web2"])?, removed);
    assert_eq!(backends(lab)?, named(&[("web1", 3)]));
    expect_shares(lab, 8, 0)?;
    expect_file(lab, &file.replace(WEB2, ""))?;
    // The same machine under another name: its address is new to the service, and it must answer a check first.
    let add = ["backend", "add", "web", "spare", "--weight", "2"];
    let addresses = ["--address", "10.80.0.22:80", "--address", "[fd80::22]:80"];
    lbctl(lab, &[&add[..], &addresses].concat())?;
    wait_for_health(lab, "lb1", "spare", BackendHealth::Up)?;
    assert_eq!(backends(lab)?, named(&[("web1", 3), ("spare", 2)]));
    expect_shares(lab, 6, 4)?;
    let wanted = file.replace(WEB2, &format!("{SPARE}\n"));
    expect_file(lab, &wanted)?;
    Ok(wanted)
}

fn refuses(lab: &Lab, address: SocketAddr) -> Result<bool> {
    let connected =
        lab.host("client").inside(|| TcpStream::connect_timeout(&address, Duration::from_secs(5)))?;
    Ok(connected.is_err_and(|error| error.kind() == std::io::ErrorKind::ConnectionRefused))
}

fn a_service_comes_and_goes(lab: &Lab, file: &str) -> Result<()> {
    let at = |vip: IpAddr| SocketAddr::new(vip, 8081);
    for vip in vip_a() {
        ensure!(refuses(lab, at(vip))?, "{} is served before there is a service", at(vip));
    }
    let add = ["service", "add", "extra", "--vip", "A", "--port", "8081", "--check-path", "/healthz"];
    lbctl(lab, &[&add[..], &["--backend", "one=10.80.0.21:80,[fd80::21]:80"]].concat())?;
    for vip in vip_a() {
        let ask = format!(
            "curl -sS -o /dev/null -w '%{{http_code}} %header{{x-backend}}' http://{}/small",
            at(vip)
        );
        poll::until("the new service answers", PATIENCE, || {
            let answer = client_shell(lab, &ask)?;
            ensure!(answer == "200 web1", "{answer}");
            Ok(())
        })?;
    }
    let with_it = lab.agent_config("lb1")?;
    let added =
        with_it.strip_prefix(file).with_context(|| format!("more than the end changed:\n{with_it}"))?;
    ensure!(added.contains("[service.extra]\nvips = \"A\"\nport = 8081\n"), "{added}");
    expect_file(lab, &with_it)?;
    assert_eq!(lbctl(lab, &["service", "del", "extra"])?, "service extra removed\napplied and saved\n");
    for vip in vip_a() {
        ensure!(refuses(lab, at(vip))?, "{} is served after its service went", at(vip));
    }
    expect_file(lab, file)
}

fn a_restart_keeps_the_changes(lab: &Lab, file: &str) -> Result<()> {
    restart(lab)?;
    assert_eq!(backends(lab)?, named(&[("web1", 3), ("spare", 2)]));
    expect_shares(lab, 6, 4)?;
    assert_eq!(try_lbctl(lab, &["diff"])?, nothing_to_change());
    expect_file(lab, file)
}

fn restart(lab: &Lab) -> Result<()> {
    lab.kill_agent("lb1", Signal::SIGTERM)?;
    lab.start_agent("lb1")
}

fn nothing_to_change() -> Said {
    Said { code: Some(0), out: "nothing to change\n".into(), err: String::new() }
}

fn a_runtime_change_is_not_in_the_file_and_ends_with_the_agent(lab: &Lab, file: &str) -> Result<()> {
    const NOTE: &str = "(the running agent has changes the file has not)";
    ensure!(!lbctl(lab, &["status"])?.contains(NOTE), "the note is there before the change");
    let set = ["backend", "set", "web", "web1", "--weight", "0", "--runtime-only"];
    let report: ApplyReport = lbctl_json(lab, &set)?;
    let changes = vec!["service web: backend web1: weight 3 → 0".to_owned()];
    assert_eq!(
        report,
        ApplyReport {
            changes,
            need_restart: vec![],
            applied: true,
            saved: false,
            confirm_within_seconds: None
        }
    );
    expect_shares(lab, 0, 8)?;
    expect_file(lab, file)?;
    ensure!(lbctl(lab, &["status"])?.contains(NOTE), "the status does not tell");
    ensure!(lbctl_json::<Status>(lab, &["status"])?.runtime_changes, "the status does not tell in JSON");
    let diff = try_lbctl(lab, &["diff"])?;
    assert_eq!((diff.code, diff.out.as_str()), (Some(10), "service web: backend web1: weight 0 → 3\n"));
    // A change that is saved may be the last thing the file had not.
    lbctl(lab, &["backend", "set", "web", "web1", "--weight", "3"])?;
    ensure!(
        !lbctl_json::<Status>(lab, &["status"])?.runtime_changes,
        "file and agent agree, the status does not"
    );
    lbctl(lab, &set)?;
    restart(lab)?;
    // It took no flows before, so it must answer a check first.
    wait_for_health(lab, "lb1", "web1", BackendHealth::Up)?;
    expect_shares(lab, 6, 4)?;
    ensure!(!lbctl_json::<Status>(lab, &["status"])?.runtime_changes, "a new agent has runtime changes");
    Ok(())
}
