//! Schedulers as clients see them: changed under open connections, by load, by hash; and the count of active flows.

use crate::client::{
    KeptConnection, PATIENCE, ask_times, backend_view, lbctl, shares, stay_on_one_cpu, try_lbctl, vip_a,
    web_lab,
};
use anyhow::{Context as _, Result, ensure};
use lbctl_tests::lab::{Lab, poll};
use nix::sys::signal::Signal;
use std::collections::BTreeMap;
use std::net::IpAddr;

const SERVERS: [&str; 2] = ["web1", "web2"];

/// Connections to both addresses of the VIP, so many each, one after the other.
fn open(lab: &Lab, each: usize) -> Result<Vec<KeptConnection>> {
    lab.host("client").inside(|| {
        stay_on_one_cpu(0)?;
        let vips = vip_a();
        (0..2 * each).map(|number| KeptConnection::open(vips[number % 2])).collect()
    })?
}

/// Every connection still is with the server that it was opened with.
fn expect_all_stay(connections: &mut [KeptConnection]) -> Result<()> {
    for connection in connections {
        let answered = connection.ask(false).context("an open connection broke")?;
        ensure!(answered == connection.backend, "{answered} answered for {}", connection.backend);
    }
    Ok(())
}

fn by_server(connections: &[KeptConnection]) -> [usize; 2] {
    SERVERS.map(|server| connections.iter().filter(|connection| connection.backend == server).count())
}

/// The agent's count of active flows is that of the connections, not about that.
fn expect_active(lab: &Lab, wanted: [usize; 2]) -> Result<()> {
    poll::until("the active flows are those of the open connections", PATIENCE, || {
        for (server, wanted) in SERVERS.into_iter().zip(wanted) {
            let active = backend_view(lab, "lb1", server)?.active_flows;
            ensure!(active == wanted as u64, "{server}: {active} active flows, {wanted} connections");
        }
        Ok(())
    })
}

fn schedule(lab: &Lab, scheduler: &str) -> Result<()> {
    let said = lbctl(lab, &["service", "set", "web", "--scheduler", scheduler])?;
    ensure!(said.contains(&format!("→ {scheduler}")) && said.ends_with("applied and saved\n"), "{said}");
    ensure!(lab.agent_config("lb1")?.contains(&format!("scheduler = \"{scheduler}\"")), "not in the file");
    Ok(())
}

fn shares_of(lab: &Lab, vip: IpAddr, times: usize) -> Result<BTreeMap<String, usize>> {
    let answers = ask_times(lab, vip, times)?;
    Ok(shares(&answers).into_iter().map(|(who, times)| (who.to_owned(), times)).collect())
}

#[test]
fn schedulers_change_under_open_connections_and_new_ones_follow_them() -> Result<()> {
    let lab = web_lab()?;
    let mut connections = open(&lab, 8)?;
    ensure!(by_server(&connections) == [8, 8], "round robin: {:?}", by_server(&connections));
    expect_active(&lab, [8, 8])?;

    schedule(&lab, "source-hash")?;
    for vip in vip_a() {
        let shares = shares_of(&lab, vip, 40)?;
        ensure!(shares.len() == 1, "one source, but {shares:?}");
    }
    expect_all_stay(&mut connections)?;

    schedule(&lab, "maglev")?;
    for vip in vip_a() {
        let shares = shares_of(&lab, vip, 400)?;
        // Ports in a row are no random numbers, but the hash makes them such: 200 ± 5 standard deviations.
        ensure!(shares.len() == 2 && shares.values().all(|times| (150..=250).contains(times)), "{shares:?}");
    }
    expect_all_stay(&mut connections)?;
    expect_active(&lab, [8, 8])?;

    let wrong = try_lbctl(&lab, &["service", "set", "web", "--scheduler", "fastest"])?;
    ensure!(wrong.code == Some(2) && wrong.err.contains("least-connections"), "{wrong:?}");
    let missing = try_lbctl(&lab, &["service", "set", "shop", "--scheduler", "maglev"])?;
    ensure!(missing.code != Some(0) && missing.err.contains("shop"), "{missing:?}");
    lab.down()
}

#[test]
fn least_connections_evens_out_and_the_count_outlives_a_killed_agent() -> Result<()> {
    let lab = web_lab()?;
    schedule(&lab, "least-connections")?;
    let mut connections = open(&lab, 6)?;
    ensure!(by_server(&connections) == [6, 6], "all alike: {:?}", by_server(&connections));

    // web1 loses all of its own, by FIN and by RST: now it is far behind.
    let (mut gone, mut kept): (Vec<_>, Vec<_>) =
        connections.drain(..).partition(|connection| connection.backend == "web1");
    for (number, mut connection) in gone.drain(..).enumerate() {
        if number % 2 == 0 {
            connection.ask(true)?;
            connection.expect_end()?;
        } else {
            connection.reset()?;
        }
    }
    expect_active(&lab, [0, 6])?;
    let more = open(&lab, 3)?;
    ensure!(by_server(&more) == [6, 0], "the idle server is not made up for: {:?}", by_server(&more));
    kept.extend(more);
    expect_active(&lab, [6, 6])?;

    lab.kill_agent("lb1", Signal::SIGKILL)?;
    let meanwhile = open(&lab, 2)?;
    ensure!(by_server(&meanwhile) == [2, 2], "without an agent: {:?}", by_server(&meanwhile));
    kept.extend(meanwhile);
    lab.start_agent("lb1")?;
    expect_active(&lab, [8, 8])?;
    expect_all_stay(&mut kept)?;
    let after = open(&lab, 2)?;
    ensure!(by_server(&after) == [2, 2], "after the restart: {:?}", by_server(&after));
    lab.down()
}
