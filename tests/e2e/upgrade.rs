//! A newer program takes a running agent's place: nothing is refused, nothing broken off, no VIP moves.

use crate::client::{KeptConnection, PATIENCE, lbctl_json, service_view, try_lbctl, vip_a};
use crate::proxy::{NGINX, PORT, serve};
use crate::sync::failover_lab;
use crate::vrrp::{expect_state, router};
use anyhow::{Context as _, Result, ensure};
use lb_user::api::{Status, UpgradeStarted};
use lb_user::model::Family;
use lbctl_tests::lab::{Lab, poll};
use std::net::SocketAddr;
use std::process::{Child, Stdio};

/// `wrk` on the client, with a connection for each request where that is wanted.
fn load(lab: &Lab, url: &str, closes: bool) -> Result<Child> {
    let mut command = lab.host("client").command("wrk");
    command.args(["-t1", "-c8", "-d10s", "--timeout", "8s"]);
    if closes {
        command.args(["-H", "Connection: close"]);
    }
    Ok(command.arg(url).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?)
}

/// Nothing went wrong, and a lot went well.
fn expect_served(url: &str, load: Child) -> Result<()> {
    let output = load.wait_with_output()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    ensure!(output.status.success(), "{url}: {text}{}", String::from_utf8_lossy(&output.stderr));
    ensure!(!text.contains("Socket errors") && !text.contains("Non-2xx"), "{url}: {text}");
    let requests =
        text.lines().find_map(|line| line.trim().split_once(" requests in ")).context("no count")?;
    ensure!(requests.0.trim().parse::<u64>()? > 500, "{url}: {text}");
    Ok(())
}

fn pid(lab: &Lab) -> Result<u32> {
    let status: Status = lbctl_json(lab, &["status"])?;
    Ok(status.pid)
}

#[test]
fn a_newer_program_takes_over_and_nobody_notices() -> Result<()> {
    let lab = failover_lab()?;
    serve(&lab, "lb1", "send_proxy = \"v2\"", &NGINX)?;
    let [vip, _] = vip_a();
    // Open connections of both dataplanes.
    let open = |port| lab.host("client").inside(|| KeptConnection::open_at(SocketAddr::new(vip, port)));
    let (mut proxied, mut forwarded) = (open(PORT)??, open(80)??);
    let ask = |one: &mut KeptConnection| lab.host("client").inside(|| one.ask(false))?;
    let times_active = || Ok::<_, anyhow::Error>(router(&lab, "lb2", "A", Family::V4)?.times_active);
    let (old, before) = (pid(&lab)?, times_active()?);

    let urls = [
        (format!("http://{vip}:{PORT}/small"), true),
        (format!("http://{vip}:{PORT}/small"), false),
        (format!("https://{vip}/small"), true),
        (format!("http://{vip}/small"), false),
    ];
    let loads: Vec<_> = urls.iter().map(|(url, closes)| load(&lab, url, *closes)).collect::<Result<_>>()?;
    let served =
        || Ok::<_, anyhow::Error>(service_view(&lab, "lb1", "web-tcp")?.backends[0].flows_established);
    poll::until("the load is on", PATIENCE, || {
        ensure!(served()? > 100, "not yet");
        Ok(())
    })?;
    let started: UpgradeStarted = lbctl_json(&lab, &["upgrade"])?;
    let has_ended = lab.follow_upgrade("lb1", started.pid.try_into()?)?;
    ensure!(started.pid != old && pid(&lab)? == started.pid, "{started:?}, before {old}");
    // Or a service manager would not hear of its end while the old one serves what is open.
    let stat = std::fs::read_to_string(format!("/proc/{}/status", started.pid))?;
    let parent = stat.lines().find_map(|line| line.strip_prefix("PPid:")).context("a parent")?;
    ensure!(parent.trim() != old.to_string(), "the new agent is the old one's child");
    for ((url, _), load) in urls.iter().zip(loads) {
        expect_served(url, load)?;
    }
    // What was open goes on, each where it was; new ones are the new agent's.
    ensure!(ask(&mut proxied)? == proxied.backend, "the open connection was moved");
    ensure!(ask(&mut forwarded)? == forwarded.backend, "the open flow was moved");
    ensure!(served()? > 100, "the new agent has served nobody");
    ensure!(!has_ended(), "the old agent did not wait for its connection");
    expect_state(&lab, "lb1", "A", "active")?;
    ensure!(times_active()? == before, "the VIP was away");
    drop(proxied);
    poll::until("the old agent ends with its last connection", PATIENCE, || {
        ensure!(has_ended(), "it runs");
        Ok(())
    })?;
    ensure!(ask(&mut forwarded)? == forwarded.backend, "the open flow ended with the old agent");
    attempts_that_fail_cost_nothing(&lab)?;
    lab.down()
}

fn attempts_that_fail_cost_nothing(lab: &Lab) -> Result<()> {
    let before = pid(lab)?;
    let right = lab.agent_config("lb1")?;
    lab.write_agent_config("lb1", &right.replace("[node]", "[nod]"))?;
    let refused = try_lbctl(lab, &["upgrade"])?;
    ensure!(refused.code == Some(1) && refused.err.contains("the new agent did not start"), "{refused:?}");
    lab.write_agent_config("lb1", &right)?;
    let said = try_lbctl(lab, &["backend", "set", "web-tcp", "web1", "--weight", "2", "--runtime-only"])?;
    ensure!(said.code == Some(0), "{said:?}");
    let refused = try_lbctl(lab, &["upgrade"])?;
    ensure!(refused.code == Some(1) && refused.err.contains("changes that the file has not"), "{refused:?}");
    ensure!(pid(lab)? == before, "another agent runs");
    let open = || KeptConnection::open_at(SocketAddr::new(vip_a()[0], PORT));
    lab.host("client").inside(open)??;
    // And one that goes well, with nothing open.
    lab.write_agent_config("lb1", &right)?;
    let applied = try_lbctl(lab, &["apply"])?;
    ensure!(applied.code == Some(0), "{applied:?}");
    let started: UpgradeStarted = lbctl_json(lab, &["upgrade", "--drain", "1s"])?;
    let has_ended = lab.follow_upgrade("lb1", started.pid.try_into()?)?;
    poll::until("the old agent ends", PATIENCE, || {
        ensure!(has_ended(), "it runs");
        Ok(())
    })?;
    lab.host("client").inside(open)??;
    Ok(())
}
