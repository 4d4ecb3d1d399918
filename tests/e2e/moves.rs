//! VIPs that are given to a node by its name, VIPs that are there for services alone, and the application while nodes go.

use crate::client::{
    KeptConnection, PATIENCE, client_shell, counters, lbctl, shell, try_lbctl, vip_a, web_lab,
};
use crate::sync::{at_home, failover_lab, in_sync};
use crate::tracking::configure;
use crate::vrrp::{expect_active, expect_state, give_vrrp, set_link};
use anyhow::{Context as _, Result, ensure};
use lbctl_tests::lab::{Lab, Options, poll};
use nix::sys::signal::Signal;
use serde_json::Value;
use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};

/// Of the host itself: no service's, no NAT port of either node, none that the kernel hands out.
const PORT: u16 = 61123;

#[test]
fn a_vip_goes_to_the_node_that_is_named() -> Result<()> {
    let lab = failover_lab()?;
    let mut kept = lab.host("client").inside(|| vip_a().map(KeptConnection::open))?;
    let mut ask = || -> Result<()> {
        lab.host("client").inside(|| {
            kept.iter_mut().try_for_each(|one| match one {
                Ok(one) => one.ask(false).map(drop),
                Err(error) => Err(anyhow::anyhow!("{error:#}")),
            })
        })?
    };
    let said = lbctl(&lab, &["vrrp", "failover", "A", "--to", "lb2"])?;
    ensure!(said.contains("handed over: A"), "{said}");
    expect_state(&lab, "lb2", "A", "active")?;
    expect_state(&lab, "lb1", "A", "backup")?;
    expect_state(&lab, "lb1", "direct", "active")?;
    ask()?;
    for (node, words) in [
        ("lb1", "vip A ipv4: active → backup, it was handed over"),
        ("lb2", "vip A ipv4: backup → active, the Active router asked this node to take its place"),
    ] {
        let events = lab.agent_get(node, "/v1/events")?.body;
        ensure!(events.contains(words), "{events}");
    }
    let there = try_lbctl(&lab, &["vrrp", "failover", "--to", "lb1"])?;
    ensure!(there.code != Some(0) && there.err.contains("this is lb1"), "{there:?}");
    let nobody = try_lbctl(&lab, &["vrrp", "failover", "--to", "lb9"])?;
    ensure!(
        nobody.code == Some(4) && nobody.err.contains("no node lb9") && nobody.err.contains("lb2"),
        "{nobody:?}"
    );
    // All that is left there, in one go.
    lbctl(&lab, &["vrrp", "failover", "--to", "lb2"])?;
    expect_state(&lab, "lb2", "direct", "active")?;
    let output = lab.lbctl("lb2")?.args(["vrrp", "failover", "A", "--to", "lb1"]).output()?;
    ensure!(output.status.success(), "{output:?}");
    expect_state(&lab, "lb1", "A", "active")?;
    ask()?;
    lab.down()
}

#[test]
fn a_node_is_known_by_name_only_where_flows_are_shared() -> Result<()> {
    let lab = web_lab()?;
    for node in ["lb1", "lb2"] {
        give_vrrp(&lab, node, "")?;
    }
    expect_state(&lab, "lb1", "A", "active")?;
    let said = try_lbctl(&lab, &["vrrp", "failover", "A", "--to", "lb2"])?;
    ensure!(said.code == Some(1) && said.err.contains("needs a table [sync]"), "{said:?}");
    expect_state(&lab, "lb1", "A", "active")?;
    lab.down()
}

/// Whether the client's curl reaches a port of an address; with patience for one answer.
fn reaches(lab: &Lab, address: IpAddr, port: u16) -> Result<bool> {
    let url = format!("http://{}/", SocketAddr::new(address, port));
    let mut curl = lab.host("client").command("curl");
    Ok(curl
        .args(["-sS", "-o", "/dev/null", "--max-time", "1", &url])
        .stderr(Stdio::null())
        .status()?
        .success())
}

fn pings(lab: &Lab, address: IpAddr) -> Result<bool> {
    let mut ping = lab.host("client").command("ping");
    let status = ping.args(["-c", "1", "-W", "1", &address.to_string()]).stdout(Stdio::null()).status()?;
    Ok(status.success())
}

#[test]
fn a_vip_that_is_for_services_alone_leaves_the_host_out() -> Result<()> {
    let lab = failover_lab()?;
    let mut server = lab.host("lb1").command("python3");
    server.args(["-m", "http.server", &PORT.to_string(), "--bind", "::"]);
    let mut server = server.stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
    let tried = (|| {
        for vip in vip_a() {
            poll::until("the host's own server answers at the VIP", PATIENCE, || {
                ensure!(reaches(&lab, vip, PORT)?, "{vip}: no");
                Ok(())
            })?;
            ensure!(pings(&lab, vip)?, "{vip} answers no ping");
        }
        configure(&lab, "lb1", &[(51, "accept = false")], "")?;
        at_home(&lab)?;
        for vip in vip_a() {
            ensure!(!reaches(&lab, vip, PORT)?, "{vip}: the host is reached at it");
            ensure!(!pings(&lab, vip)?, "{vip} answers a ping");
            // Whoever has forgotten who has it is told.
            shell(&lab, "router", "ip neigh flush dev br-servers")?;
            ensure!(reaches(&lab, vip, 80)?, "{vip}: its service is not reached");
        }
        let node: [IpAddr; 2] = ["10.80.0.2".parse()?, "fd80::2".parse()?];
        for own in node {
            ensure!(reaches(&lab, own, PORT)? && pings(&lab, own)?, "{own}: the node's own address");
        }
        ensure!(counters(&lab, "lb1")?["not_accepted"] >= 4, "{:?}", counters(&lab, "lb1")?);
        let said =
            lbctl(&lab, &["explain", "--from", "10.90.0.10:4711", "--to", &format!("10.80.0.100:{PORT}")])?;
        ensure!(said.contains("not_accepted"), "{said}");
        // It goes with the VIP's terms, without a restart.
        let text = lab.agent_config("lb1")?.replace("accept = false", "accept = true");
        lab.write_agent_config("lb1", &text)?;
        lbctl(&lab, &["apply"])?;
        for vip in vip_a() {
            ensure!(pings(&lab, vip)? && reaches(&lab, vip, PORT)?, "{vip}: the host is not reached");
        }
        Ok(())
    })();
    server.kill()?;
    server.wait()?;
    tried?;
    lab.down()
}

/// Writes a note and reads it, again and again; what was written, and what failed.
fn keep_noting(lab: &Lab, vip: IpAddr, over: &AtomicBool) -> Result<(BTreeSet<u64>, Vec<String>)> {
    let url = format!("http://{}/api/notes", SocketAddr::new(vip, 80));
    let (mut written, mut errors) = (BTreeSet::new(), Vec::new());
    while !over.load(Ordering::Relaxed) {
        let posted =
            client_shell(lab, &format!("curl -sS --fail --max-time 10 --json '{{\"text\": \"x\"}}' {url}"));
        let listed = client_shell(lab, &format!("curl -sS --fail --max-time 10 -o /dev/null {url}"));
        match posted {
            Ok(note) => {
                let note: Value = serde_json::from_str(&note)?;
                written.insert(note["id"].as_u64().context("a note without a number")?);
            }
            Err(error) => errors.push(format!("{error:#}")),
        }
        errors.extend(listed.err().map(|error| format!("{error:#}")));
    }
    Ok((written, errors))
}

#[test]
fn the_application_notices_nothing_of_a_node_that_goes_and_comes_back() -> Result<()> {
    let lab = Lab::up(Options { failover: true, ..Options::default() })?;
    for node in ["lb1", "lb2"] {
        in_sync(&lab, node)?;
    }
    at_home(&lab)?;
    let over = AtomicBool::new(false);
    let noted = std::thread::scope(|scope| {
        let noting = vip_a().map(|vip| {
            let (lab, over) = (&lab, &over);
            scope.spawn(move || keep_noting(lab, vip, over))
        });
        let worked = (|| {
            set_link(&lab, "down")?;
            lab.kill_agent("lb1", Signal::SIGKILL)?;
            expect_active(&lab, "lb2", "A")?;
            set_link(&lab, "up")?;
            lab.start_agent("lb1")?;
            at_home(&lab)?;
            in_sync(&lab, "lb1")?;
            lab.kill_agent("lb2", Signal::SIGTERM)?;
            expect_active(&lab, "lb1", "B")?;
            lab.start_agent("lb2")?;
            at_home(&lab)
        })();
        over.store(true, Ordering::Relaxed);
        let noted =
            noting.into_iter().map(|one| one.join().map_err(|_| anyhow::anyhow!("a thread panicked"))?);
        let noted = noted.collect::<Result<Vec<_>>>();
        worked.and(noted)
    })?;
    let query = "mariadb --no-defaults --host=10.80.0.100 --user=app --password=app-password --skip-ssl --batch \
                 --skip-column-names notes --execute='SELECT id FROM notes'";
    let ids = shell(&lab, "web1", query)?;
    let there: BTreeSet<u64> = ids.lines().map(str::parse).collect::<Result<_, _>>()?;
    for (written, errors) in noted {
        ensure!(errors.is_empty(), "{errors:?}");
        ensure!(written.len() >= 5, "only {} notes were written", written.len());
        ensure!(written.is_subset(&there), "of {written:?} only {there:?} are there");
    }
    lab.down()
}
