//! Flows that two nodes share: what is open goes on, whichever way a node goes.

use crate::client::{KeptConnection, PATIENCE, lbctl, shell, vip_a, wait_for_health};
use crate::vrrp::{expect_state, has_address};
use anyhow::{Context as _, Result, ensure};
use lb_user::api::{SyncPeerView, SyncView};
use lb_user::model::BackendHealth;
use lbctl_tests::lab::{Lab, Options, agents, poll};
use nix::sys::signal::Signal;
use std::net::IpAddr;

/// Connections that are open through each address of VIP A.
const OPEN: usize = 10;

/// A lab whose nodes share VIPs and flows, all of them in sync.
pub(crate) fn failover_lab() -> Result<Lab> {
    let lab = Lab::up(Options { database: false, failover: true, ..Options::default() })?;
    for node in ["lb1", "lb2"] {
        for web in ["web1", "web2"] {
            wait_for_health(&lab, node, web, BackendHealth::Up)?;
        }
        in_sync(&lab, node)?;
    }
    at_home(&lab)?;
    Ok(lab)
}

/// Waits until each VIP is active where it is preferred, and only there.
pub(crate) fn at_home(lab: &Lab) -> Result<()> {
    for (vip, node, other) in [("A", "lb1", "lb2"), ("B", "lb2", "lb1"), ("direct", "lb1", "lb2")] {
        expect_state(lab, node, vip, "active")?;
        expect_state(lab, other, vip, "backup")?;
    }
    Ok(())
}

pub(crate) fn sync_view(lab: &Lab, node: &str) -> Result<SyncView> {
    Ok(serde_json::from_str(&lab.agent_get(node, "/v1/sync")?.body)?)
}

fn peer(lab: &Lab, node: &str) -> Result<SyncPeerView> {
    sync_view(lab, node)?.peers.into_iter().next().context("no peer")
}

/// Waits until a node has all the other one knows, and has told it all.
pub(crate) fn in_sync(lab: &Lab, node: &str) -> Result<()> {
    poll::until(&format!("{node} is in sync"), PATIENCE, || {
        let view = sync_view(lab, node)?;
        ensure!(view.joined, "{view:?}");
        for peer in &view.peers {
            ensure!(peer.here && peer.has_snapshot && peer.has_been_told && peer.waiting == 0, "{peer:?}");
        }
        Ok(())
    })
}

fn set_link(lab: &Lab, word: &str) -> Result<()> {
    shell(lab, "router", &format!("ip link set p-lb1 {word}")).map(drop)
}

/// Connections that are open through VIP A, of both families.
fn open(lab: &Lab) -> Result<Vec<KeptConnection>> {
    lab.host("client").inside(|| {
        let of = |vip: IpAddr| (0..OPEN).map(move |_| KeptConnection::open(vip));
        vip_a().into_iter().flat_map(of).collect()
    })?
}

/// A request on each of them.
fn ask_all(lab: &Lab, open: &mut [KeptConnection]) -> Result<()> {
    lab.host("client").inside(|| {
        for (number, one) in open.iter_mut().enumerate() {
            let backend = one.ask(false).with_context(|| format!("connection {number} of {}", OPEN * 2))?;
            ensure!(
                backend == one.backend,
                "connection {number} was moved from {} to {backend}",
                one.backend
            );
        }
        Ok(())
    })?
}

/// How lb1 goes, and comes back.
struct Way {
    name: &'static str,
    go: fn(&Lab) -> Result<()>,
    come: fn(&Lab) -> Result<()>,
}

const WAYS: [Way; 5] = [
    Way {
        name: "a crash",
        go: |lab| {
            set_link(lab, "down")?;
            lab.kill_agent("lb1", Signal::SIGKILL)
        },
        come: |lab| {
            set_link(lab, "up")?;
            lab.start_agent("lb1")
        },
    },
    Way { name: "its link goes down", go: |lab| set_link(lab, "down"), come: |lab| set_link(lab, "up") },
    Way {
        name: "its agent is killed",
        go: |lab| lab.kill_agent("lb1", Signal::SIGKILL),
        come: |lab| lab.start_agent("lb1"),
    },
    Way {
        name: "its agent hangs",
        go: |lab| lab.kill_agent("lb1", Signal::SIGSTOP),
        come: |lab| lab.kill_agent("lb1", Signal::SIGCONT),
    },
    Way {
        name: "its agent is stopped",
        go: |lab| lab.kill_agent("lb1", Signal::SIGTERM),
        come: |lab| lab.start_agent("lb1"),
    },
];

#[test]
fn connections_outlive_the_node_they_were_made_through_and_its_return() -> Result<()> {
    let lab = failover_lab()?;
    let mut kept = open(&lab)?;
    ask_all(&lab, &mut kept)?;
    for Way { name, go, come } in WAYS {
        in_sync(&lab, "lb1")?;
        go(&lab).context(name)?;
        ask_all(&lab, &mut kept).with_context(|| format!("{name}: after lb1 went"))?;
        // What begins on the other node is lb1's when that is back.
        let mut newer = open(&lab)?;
        come(&lab).context(name)?;
        at_home(&lab).context(name)?;
        ask_all(&lab, &mut kept).with_context(|| format!("{name}: after lb1 came back"))?;
        ask_all(&lab, &mut newer).with_context(|| format!("{name}: newer ones, after lb1 came back"))?;
    }
    for node in ["lb2", "lb1"] {
        let moved =
            lab.lbctl(if node == "lb2" { "lb1" } else { "lb2" })?.args(["vrrp", "failover", "A"]).output()?;
        ensure!(moved.status.success(), "{moved:?}");
        expect_state(&lab, node, "A", "active")?;
        ask_all(&lab, &mut kept).with_context(|| format!("after a planned move to {node}"))?;
    }
    let events = lab.agent_get("lb1", "/v1/events")?.body;
    ensure!(events.contains("sync: this node has the others' flows"), "{events}");
    lab.down()
}

#[test]
fn what_differs_between_nodes_and_what_cannot_be_shared_is_said() -> Result<()> {
    let lab = failover_lab()?;
    ensure!(peer(&lab, "lb1")?.same_configuration == Some(true), "{:?}", peer(&lab, "lb1")?);
    let said = lbctl(&lab, &["sync"])?;
    ensure!(said.contains("lb2") && said.contains("in sync") && said.contains("same"), "{said}");

    lbctl(&lab, &["backend", "set", "web", "web1", "--weight", "7"])?;
    poll::until("drift is told", PATIENCE, || {
        ensure!(lbctl(&lab, &["sync"])?.contains("differs"), "it is not shown");
        let events = lab.agent_get("lb2", "/v1/events")?.body;
        ensure!(events.contains("its configuration differs from this node's"), "{events}");
        Ok(())
    })?;

    // Another key: nothing of it is believed.
    lab.kill_agent("lb2", Signal::SIGTERM)?;
    agents::write_sync_key("lb2", "another secret, which lb1 does not have\n")?;
    lab.start_agent("lb2")?;
    poll::until("datagrams with another key are counted", PATIENCE, || {
        let view = sync_view(&lab, "lb1")?;
        ensure!(view.unsealed > 0 && !view.peers[0].here, "{view:?}");
        Ok(())
    })?;
    let said = lbctl(&lab, &["sync"])?;
    ensure!(said.contains("away") && said.contains("without the right seal"), "{said}");

    // Ports of both: what one would hand out, the other one would, too.
    lab.kill_agent("lb2", Signal::SIGTERM)?;
    std::fs::copy(agents::sync_key_path("lb1"), agents::sync_key_path("lb2"))?;
    let text = lab.agent_config("lb2")?.replace("17408-32767", "10000-32767");
    lab.write_agent_config("lb2", &text)?;
    lab.start_agent("lb2")?;
    poll::until("overlapping ports are refused", PATIENCE, || {
        for node in ["lb1", "lb2"] {
            let peer = peer(&lab, node)?;
            let reason = peer.refused.context("not refused")?;
            ensure!(reason.contains("overlap") && reason.contains("2048-17407"), "{reason}");
            let events = lab.agent_get(node, "/v1/events")?.body;
            ensure!(events.contains("no flows are shared with it"), "{events}");
        }
        Ok(())
    })?;
    // They are two nodes all the same.
    expect_state(&lab, "lb2", "B", "active")?;
    for vip in vip_a() {
        ensure!(has_address(&lab, "lb1", vip)?, "lb1 lost {vip}");
    }

    // A key that others could read is none.
    lab.kill_agent("lb2", Signal::SIGTERM)?;
    shell(&lab, "lb2", &format!("chmod 644 {}", agents::sync_key_path("lb2").display()))?;
    let error = lab.start_agent("lb2").map_err(|error| format!("{error:#}"));
    let error = error.err().context("an agent with a key for all to read started")?;
    ensure!(error.contains("sync.key") && error.contains("chmod"), "{error}");
    lab.down()
}
