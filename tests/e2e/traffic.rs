//! Real clients through the lab: exact round robin and weights in both families, and an agent that comes and goes
//! under load.

use anyhow::{Context as _, Result, bail, ensure};
use lb_user::api::{ServiceView, Status};
use lb_user::model::HealthState;
use lbctl_tests::lab::{Lab, Options, Progress, addresses, poll};
use nix::sys::signal::Signal;
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::process::Stdio;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(15);

fn lab() -> Result<Lab> {
    let lab = Lab::up(Options { database: false, progress: Progress::Silent, ..Options::default() })?;
    for node in ["lb1", "lb2"] {
        poll::until("all backends are up", PATIENCE, || {
            let web: ServiceView = serde_json::from_str(&lab.agent_get(node, "/v1/services/web")?.body)?;
            let up = web.backends.iter().all(|backend| backend.health == HealthState::Up);
            ensure!(up, "{:?}", web.backends);
            Ok(())
        })?;
    }
    Ok(lab)
}

/// One request on a connection of its own; the backend that answered.
fn ask(vip: IpAddr) -> Result<String> {
    let mut stream = TcpStream::connect_timeout(&SocketAddr::new(vip, 80), Duration::from_secs(5))?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    stream.write_all(b"GET / HTTP/1.1\r\nHost: lab\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let header = answer.lines().find_map(|line| line.strip_prefix("X-Backend: "));
    Ok(header.with_context(|| format!("no X-Backend in {answer:?}"))?.trim().to_owned())
}

/// Asks so many times from the client, one after the other; who answered, in order.
fn ask_times(lab: &Lab, vip: IpAddr, times: usize) -> Result<Vec<String>> {
    lab.host("client").inside(|| (0..times).map(|_| ask(vip)).collect())?
}

fn shares(answers: &[String]) -> BTreeMap<&str, usize> {
    answers.iter().fold(BTreeMap::new(), |mut shares, who| {
        *shares.entry(who.as_str()).or_default() += 1;
        shares
    })
}

fn lbctl(lab: &Lab, arguments: &[&str]) -> Result<String> {
    let output = lab.lbctl("lb1")?.args(arguments).output()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    ensure!(
        output.status.success(),
        "lbctl {arguments:?}: {text}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(text)
}

fn vips() -> Vec<IpAddr> {
    [100, 101].into_iter().flat_map(addresses::vip).collect()
}

#[test]
fn requests_alternate_exactly_and_weights_hold_exactly_in_both_families() -> Result<()> {
    let lab = lab()?;
    for vip in vips() {
        let answers = ask_times(&lab, vip, 1000)?;
        for pair in answers.windows(2) {
            ensure!(pair[0] != pair[1], "VIP {vip}: {} twice in a row", pair[0]);
        }
        let shares = shares(&answers);
        ensure!(
            shares.get("web1") == Some(&500) && shares.get("web2") == Some(&500),
            "VIP {vip}: {shares:?}"
        );
    }
    lbctl(&lab, &["backend", "set", "web", "web1", "--weight", "3"])?;
    for vip in addresses::vip(100) {
        let answers = ask_times(&lab, vip, 400)?;
        let shares = shares(&answers);
        ensure!(
            shares.get("web1") == Some(&300) && shares.get("web2") == Some(&100),
            "VIP {vip}: {shares:?}"
        );
    }
    lbctl(&lab, &["backend", "drain", "web", "web1"])?;
    let answers = ask_times(&lab, addresses::vip(100)[0], 50)?;
    ensure!(
        answers.iter().all(|who| who == "web2"),
        "a drained backend got new flows: {:?}",
        shares(&answers)
    );
    lab.down()
}

#[test]
fn an_agent_that_is_killed_and_started_again_under_load_costs_no_request() -> Result<()> {
    let lab = lab()?;
    let mut wrk = lab.host("client").command("wrk");
    wrk.args(["-t1", "-c16", "-d6s", "http://10.80.0.100/small"]).stdout(Stdio::piped());
    let load = wrk.spawn().context("wrk")?;
    let flows = |wanted: bool| {
        poll::until("the status shows the load's flows", PATIENCE, || {
            let status: Status = serde_json::from_str(&lab.agent_get("lb1", "/v1/status")?.body)?;
            let entries = status.tables.iter().map(|table| table.entries).sum::<u64>();
            ensure!((entries > 0) == wanted, "{entries} entries");
            Ok(())
        })
    };
    flows(true)?;
    for _ in 0..2 {
        lab.kill_agent("lb1", Signal::SIGKILL)?;
        lab.start_agent("lb1")?;
    }
    flows(true)?;
    let events = lbctl(&lab, &["events"])?;
    ensure!(events.contains("with the flows of an earlier agent"), "{events}");
    let output = load.wait_with_output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    ensure!(output.status.success() && text.contains("requests in"), "{text}");
    for failure in ["Socket errors", "Non-2xx"] {
        if text.contains(failure) {
            bail!("requests failed:\n{text}");
        }
    }
    lab.down()
}

#[test]
fn a_port_without_service_and_a_service_without_backend_refuse_at_once() -> Result<()> {
    let lab = lab()?;
    lbctl(&lab, &["backend", "maint", "web", "web1"])?;
    lbctl(&lab, &["backend", "maint", "web", "web2"])?;
    for vip in addresses::vip(100) {
        for port in [80, 81] {
            let address = SocketAddr::new(vip, port);
            let refused =
                lab.host("client").inside(|| TcpStream::connect_timeout(&address, Duration::from_secs(5)))?;
            let error = refused.err().with_context(|| format!("{address} accepts"))?;
            ensure!(error.kind() == std::io::ErrorKind::ConnectionRefused, "{address}: {error}");
        }
    }
    lab.down()
}
