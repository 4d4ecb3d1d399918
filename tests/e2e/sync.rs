//! Two nodes that share flows: what they say of it, and what they do not share.

use crate::client::{PATIENCE, lbctl, shell, vip_a, wait_for_health};
use crate::vrrp::{expect_state, has_address};
use anyhow::{Context as _, Result, ensure};
use lb_user::api::{SyncPeerView, SyncView};
use lb_user::model::BackendHealth;
use lbctl_tests::lab::{Lab, Options, agents, poll};
use nix::sys::signal::Signal;

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
