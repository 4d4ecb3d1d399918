//! Limits of flows, on real connections.

use crate::client::{
    KeptConnection, PATIENCE, backend_view, counters, lbctl, service_view, stay_on_one_cpu, try_lbctl, vip_a,
    web_lab,
};
use anyhow::{Result, ensure};
use lbctl_tests::lab::{Lab, poll};
use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::time::Duration;

/// Connections to both addresses of the VIP in turn.
fn open(lab: &Lab, count: usize) -> Result<Vec<KeptConnection>> {
    lab.host("client").inside(|| {
        stay_on_one_cpu(0)?;
        (0..count).map(|number| KeptConnection::open(vip_a()[number % 2])).collect()
    })?
}

/// How a connection that should not come about ends.
fn try_one(lab: &Lab, vip: IpAddr) -> Result<Option<ErrorKind>> {
    let connect = || TcpStream::connect_timeout(&SocketAddr::new(vip, 80), Duration::from_millis(500));
    Ok(lab.host("client").inside(connect)?.err().map(|error| error.kind()))
}

fn expect_active(lab: &Lab, wanted: u64) -> Result<()> {
    poll::until("the open connections are counted", PATIENCE, || {
        let active = service_view(lab, "lb1", "web")?.active_flows;
        ensure!(active == wanted, "{active} active flows, {wanted} connections");
        Ok(())
    })
}

fn by_server(connections: &[KeptConnection]) -> [usize; 2] {
    ["web1", "web2"].map(|name| connections.iter().filter(|one| one.backend == name).count())
}

#[test]
fn limits_hold_over_both_families_and_are_changed_under_open_connections() -> Result<()> {
    let lab = web_lab()?;
    let said = lbctl(&lab, &["backend", "set", "web", "web1", "--max-flows", "2"])?;
    ensure!(said.contains("backend web1: max_flows none → 2"), "{said}");
    ensure!(lab.agent_config("lb1")?.contains("max_flows = 2"), "not in the file");
    let mut connections = open(&lab, 12)?;
    ensure!(by_server(&connections) == [2, 10], "others than the limit says: {:?}", by_server(&connections));
    let web1 = backend_view(&lab, "lb1", "web1")?;
    ensure!(web1.active_flows == 2 && web1.flows_over_limit == 4, "{web1:?}");

    let said = lbctl(&lab, &["service", "set", "web", "--max-flows", "14", "--at-limit", "reset"])?;
    ensure!(
        said.contains("max_flows none → 14") && said.contains("at_limit other-backend → reset"),
        "{said}"
    );
    // A full backend's turn is refused now, the other's is not.
    let before = counters(&lab, "lb1")?["at_limit"];
    let turns = [try_one(&lab, vip_a()[0])?, try_one(&lab, vip_a()[0])?];
    ensure!(turns.contains(&None) && turns.contains(&Some(ErrorKind::ConnectionRefused)), "{turns:?}");
    ensure!(counters(&lab, "lb1")?["at_limit"] == before + 1, "the refusal was counted otherwise");
    expect_active(&lab, 12)?;

    lbctl(&lab, &["backend", "set", "web", "web1", "--max-flows", "0"])?;
    connections.extend(open(&lab, 2)?);
    expect_active(&lab, 14)?;
    for vip in vip_a() {
        let refused = try_one(&lab, vip)?;
        ensure!(refused == Some(ErrorKind::ConnectionRefused), "the service is full, but: {refused:?}");
    }
    lbctl(&lab, &["service", "set", "web", "--at-limit", "drop"])?;
    let silent = try_one(&lab, vip_a()[1])?;
    ensure!(silent == Some(ErrorKind::TimedOut), "the service is to say nothing, but: {silent:?}");

    // All that are open go on, and one that ends makes room for one.
    for connection in &mut connections {
        let answered = connection.ask(false)?;
        ensure!(answered == connection.backend, "{answered} answered for {}", connection.backend);
    }
    let mut last = connections.pop().expect("there are fourteen");
    last.ask(true)?;
    last.expect_end()?;
    drop(last);
    expect_active(&lab, 13)?;
    connections.extend(open(&lab, 1)?);
    expect_active(&lab, 14)?;

    let shown = lbctl(&lab, &["service", "show", "web"])?;
    ensure!(shown.contains("flows: 14 active, at most 14, at a limit: drop"), "{shown}");
    let wrong = try_lbctl(&lab, &["service", "set", "web", "--at-limit", "queue"])?;
    ensure!(wrong.code == Some(2) && wrong.err.contains("other-backend"), "{wrong:?}");
    let nothing = try_lbctl(&lab, &["service", "set", "web"])?;
    ensure!(nothing.code == Some(2), "{nothing:?}");
    lab.down()
}

/// The counts outlive the agent, so the limits do too.
#[test]
fn a_limit_holds_while_no_agent_runs_and_after_its_restart() -> Result<()> {
    let lab = web_lab()?;
    lbctl(&lab, &["service", "set", "web", "--max-flows", "3"])?;
    let connections = open(&lab, 3)?;
    lab.kill_agent("lb1", nix::sys::signal::Signal::SIGKILL)?;
    ensure!(try_one(&lab, vip_a()[0])? == Some(ErrorKind::ConnectionRefused), "not without an agent");
    lab.start_agent("lb1")?;
    expect_active(&lab, 3)?;
    ensure!(try_one(&lab, vip_a()[1])? == Some(ErrorKind::ConnectionRefused), "not after a restart");
    drop(connections);
    expect_active(&lab, 0)?;
    ensure!(try_one(&lab, vip_a()[1])?.is_none(), "there is room again");
    lab.down()
}
