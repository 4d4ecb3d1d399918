//! VIPs that move: two agents that agree by VRRP on who serves what.

use crate::client::{KeptConnection, PATIENCE, ask, lbctl, shell, try_lbctl, vip_a, web_lab};
use anyhow::{Context as _, Result, ensure};
use lb_user::api::{VirtualRouterView, VrrpView};
use lb_user::model::Family;
use lbctl_tests::lab::addresses::{VIP_B, vip};
use lbctl_tests::lab::{Lab, poll};
use nix::sys::signal::Signal;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

pub(crate) const FAMILIES: [Family; 2] = [Family::V4, Family::V6];
/// Ten adverts a second: a node that is gone is missed after 0.3 s and its skew.
const INTERVAL: &str = "100ms";

/// Gives VIPs A and B virtual routers on a node, with these further lines for A.
pub(crate) fn give_vrrp(lab: &Lab, node: &str, more: &str) -> Result<()> {
    give_vrrp_every(lab, node, INTERVAL, more)
}

fn give_vrrp_every(lab: &Lab, node: &str, interval: &str, more: &str) -> Result<()> {
    let text = lab.agent_config(node)?;
    let table = |vip: &str, id: u8, more: &str| {
        format!("[vip.{vip}.vrrp]\nid = {id}\ninterval = \"{interval}\"\n{more}\n[vip.{vip}]\n")
    };
    let text = text.replacen("[vip.A]\n", &table("A", 51, more), 1);
    let text = text.replacen("[vip.B]\n", &table("B", 52, ""), 1);
    lab.write_agent_config(node, &text)?;
    let output = lab.lbctl(node)?.arg("apply").output()?;
    ensure!(output.status.success(), "{output:?}");
    Ok(())
}

fn vrrp_lab() -> Result<Lab> {
    vrrp_lab_every(INTERVAL)
}

fn vrrp_lab_every(interval: &str) -> Result<Lab> {
    let lab = web_lab()?;
    for node in ["lb1", "lb2"] {
        give_vrrp_every(&lab, node, interval, "")?;
    }
    for (vip, node, other) in [("A", "lb1", "lb2"), ("B", "lb2", "lb1")] {
        expect_state(&lab, node, vip, "active")?;
        expect_state(&lab, other, vip, "backup")?;
    }
    lab.wait_until_serving(PATIENCE)?;
    Ok(lab)
}

fn routers(lab: &Lab, node: &str) -> Result<Vec<VirtualRouterView>> {
    let view: VrrpView = serde_json::from_str(&lab.agent_get(node, "/v1/vrrp")?.body)?;
    Ok(view.routers)
}

pub(crate) fn router(lab: &Lab, node: &str, vip: &str, family: Family) -> Result<VirtualRouterView> {
    let mut all = routers(lab, node)?.into_iter();
    all.find(|one| one.vip.as_str() == vip && one.family == family).context("no such virtual router")
}

/// Waits until both families of a VIP are in that state on a node, and its interface has the addresses or not.
pub(crate) fn expect_state(lab: &Lab, node: &str, vip: &str, state: &str) -> Result<()> {
    poll::until(&format!("VIP {vip} is {state} on {node}"), PATIENCE, || {
        for family in FAMILIES {
            let router = router(lab, node, vip, family)?;
            ensure!(router.state == state, "{router:?}");
            for address in &router.addresses {
                let has = has_address(lab, node, *address)?;
                ensure!(has == (state == "active"), "{node} has {address}: {has}");
            }
        }
        Ok(())
    })
}

/// Waits until a node serves both families of a VIP; what the other one has is another matter.
pub(crate) fn expect_active(lab: &Lab, node: &str, vip: &str) -> Result<()> {
    poll::until(&format!("VIP {vip} is active on {node}"), PATIENCE, || {
        for family in FAMILIES {
            let router = router(lab, node, vip, family)?;
            ensure!(router.active, "{router:?}");
        }
        Ok(())
    })
}

/// Takes the link of lb1 down, or up again.
pub(crate) fn set_link(lab: &Lab, word: &str) -> Result<()> {
    shell(lab, "router", &format!("ip link set p-lb1 {word}")).map(drop)
}

/// Lets the other node have a VIP.
pub(crate) fn hand_over(lab: &Lab, from: &str, vip: &str) -> Result<()> {
    let output = lab.lbctl(from)?.args(["vrrp", "failover", vip]).output()?;
    ensure!(output.status.success(), "{output:?}");
    Ok(())
}

pub(crate) fn has_address(lab: &Lab, host: &str, address: IpAddr) -> Result<bool> {
    let text = shell(lab, host, "ip -o addr show dev eth0")?;
    Ok(text.split_whitespace().any(|word| word.split('/').next() == Some(&address.to_string())))
}

/// Who serves VIP A's addresses now, by a connection to each.
fn serves(lab: &Lab) -> Result<()> {
    for vip in vip_a() {
        lab.host("client").inside(|| ask(vip))?.with_context(|| format!("VIP {vip}"))?;
    }
    Ok(())
}

/// Asks, one new connection after the other, while something is done; why any of them failed.
fn failures_while(lab: &Lab, vip: IpAddr, work: impl FnOnce() -> Result<()>) -> Result<(usize, Vec<String>)> {
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let asker = scope.spawn(|| {
            lab.host("client").inside(|| {
                let (mut asked, mut failures) = (0, Vec::new());
                while !over.load(Ordering::Relaxed) {
                    asked += 1;
                    let begun = Instant::now();
                    if let Err(error) = ask(vip) {
                        failures.push(format!("{error:#}"));
                    }
                    // The client's ports must not come round while this lasts: what is left of an earlier flow is not what this is about.
                    while begun.elapsed() < Duration::from_micros(500) {
                        std::thread::yield_now();
                    }
                }
                (asked, failures)
            })
        });
        let worked = work();
        over.store(true, Ordering::Relaxed);
        let asked = asker.join().map_err(|_| anyhow::anyhow!("the asking thread panicked"))?;
        worked?;
        asked
    })
}

/// These nodes do not share their flows, so the one connection that is open when a VIP moves may end with that.
fn expect_few(asked: usize, failures: &[String]) -> Result<()> {
    ensure!(
        asked > 10 && failures.len() <= 1,
        "{} of {asked} connections failed: {failures:?}",
        failures.len()
    );
    Ok(())
}

#[test]
fn each_node_serves_its_vips_and_those_of_a_node_that_stops_or_loses_its_link() -> Result<()> {
    let lab = vrrp_lab()?;
    for vip in [vip_a(), vip(VIP_B)].concat() {
        lab.host("client").inside(|| ask(vip))??;
    }

    // It says that it leaves, and goes on until the other one has taken over: new connections find one of them.
    let (asked, failures) = failures_while(&lab, vip_a()[0], || {
        lab.kill_agent("lb1", Signal::SIGTERM)?;
        expect_state(&lab, "lb2", "A", "active")
    })?;
    expect_few(asked, &failures)?;
    for vip in vip_a() {
        ensure!(!has_address(&lab, "lb1", vip)?, "a node that stopped has {vip}");
    }
    serves(&lab)?;
    let events = lab.agent_get("lb2", "/v1/events")?.body;
    ensure!(events.contains("vip A ipv4: backup → active, the Active router left"), "{events}");

    // It comes back, and takes back what it is preferred for.
    lab.start_agent("lb1")?;
    expect_state(&lab, "lb1", "A", "active")?;
    expect_state(&lab, "lb2", "A", "backup")?;
    serves(&lab)?;

    // A node without its link serves nothing, and knows it.
    let cut = Instant::now();
    set_link(&lab, "down")?;
    expect_state(&lab, "lb2", "A", "active")?;
    ensure!(cut.elapsed() < Duration::from_secs(2), "it took {:?}", cut.elapsed());
    expect_state(&lab, "lb1", "A", "initialize")?;
    let said = lbctl(&lab, &["vrrp", "status"])?;
    ensure!(said.contains("takes no part: VRRP on eth0: the interface is down"), "{said}");
    set_link(&lab, "up")?;
    expect_state(&lab, "lb1", "A", "active")?;
    expect_state(&lab, "lb2", "A", "backup")?;
    poll::until("VIP A is served again", PATIENCE, || serves(&lab))?;
    lab.down()
}

#[test]
fn a_vip_is_handed_over_on_request_and_stays_where_it_is_if_nobody_takes_it() -> Result<()> {
    let lab = vrrp_lab()?;
    for vip in vip_a() {
        let (asked, failures) = failures_while(&lab, vip, || {
            let said = lbctl(&lab, &["vrrp", "failover", "A"])?;
            ensure!(said.contains("handed over: A"), "{said}");
            expect_state(&lab, "lb2", "A", "active")?;
            expect_state(&lab, "lb1", "A", "backup")
        })?;
        expect_few(asked, &failures)?;
        // Back again, by the same way: what was handed over is not taken back by itself.
        hand_over(&lab, "lb2", "A")?;
        expect_state(&lab, "lb1", "A", "active")?;
    }
    let wrong = try_lbctl(&lab, &["vrrp", "failover", "C"])?;
    ensure!(wrong.code == Some(4) && wrong.err.contains("there are: A, B"), "{wrong:?}");
    lab.kill_agent("lb2", Signal::SIGTERM)?;
    expect_state(&lab, "lb1", "B", "active")?;
    let alone = try_lbctl(&lab, &["vrrp", "failover", "A", "--wait", "2s"])?;
    ensure!(alone.code == Some(6) && alone.err.contains("nobody took A ipv4, A ipv6 over"), "{alone:?}");
    expect_state(&lab, "lb1", "A", "active")?;
    let mut kept = lab.host("client").inside(|| KeptConnection::open(vip_a()[0]))??;
    lab.host("client").inside(|| kept.ask(true))??;
    lab.down()
}

/// An agent that died, or hangs, leaves a kernel that would go on: it must not, because the other node does.
#[test]
fn a_node_whose_agent_is_gone_or_hangs_serves_no_more_and_the_other_one_does() -> Result<()> {
    let lab = vrrp_lab()?;
    for signal in [Signal::SIGKILL, Signal::SIGSTOP] {
        lab.kill_agent("lb1", signal)?;
        expect_active(&lab, "lb2", "A")?;
        for vip in vip_a() {
            ensure!(has_address(&lab, "lb1", vip)?, "this test is about what the kernel would do with {vip}");
        }
        // Whoever asks anew who has the address hears one node, and that one serves.
        for turn in 0..5 {
            shell(&lab, "router", "ip neigh flush dev br-servers")?;
            serves(&lab).with_context(|| format!("turn {turn} after {signal}"))?;
        }
        if signal == Signal::SIGKILL {
            lab.start_agent("lb1")?;
        } else {
            lab.kill_agent("lb1", Signal::SIGCONT)?;
        }
        expect_state(&lab, "lb1", "A", "active")?;
        expect_state(&lab, "lb2", "A", "backup")?;
        poll::until("VIP A is served again", PATIENCE, || serves(&lab))?;
    }
    let events = lab.agent_get("lb1", "/v1/events")?.body;
    ensure!(events.contains("active → backup, this node did not run for a while"), "{events}");
    lab.down()
}

/// With a second between advertisements there is time to start an agent anew before anybody misses it.
#[test]
fn an_agent_that_is_restarted_within_its_lease_goes_on_without_a_gap() -> Result<()> {
    let lab = vrrp_lab_every("1s")?;
    let times_active = |node: &str| -> Result<Vec<u64>> {
        Ok(routers(&lab, node)?
            .iter()
            .filter(|one| one.vip.as_str() == "A")
            .map(|one| one.times_active)
            .collect())
    };
    let before = times_active("lb2")?;
    let mut kept = lab.host("client").inside(|| KeptConnection::open(vip_a()[0]))??;
    let (asked, failures) = failures_while(&lab, vip_a()[0], || {
        lab.kill_agent("lb1", Signal::SIGKILL)?;
        lab.start_agent("lb1")?;
        expect_state(&lab, "lb1", "A", "active")
    })?;
    ensure!(asked > 10 && failures.is_empty(), "{} of {asked} failed: {failures:?}", failures.len());
    let events = lab.agent_get("lb1", "/v1/events")?.body;
    ensure!(
        events.contains("vip A ipv4: initialize → active, the agent was restarted within its lease"),
        "{events}"
    );
    lab.host("client").inside(|| kept.ask(true))??;
    // Longer than lb2 waits for an Active router.
    let begun = Instant::now();
    poll::wait(Duration::from_secs(6), || begun.elapsed() > Duration::from_secs(4));
    ensure!(times_active("lb2")? == before, "lb2 was Active meanwhile");
    lab.down()
}

/// Both forms of the IPv4 checksum are understood; what is none is counted, and heeded by nobody.
#[test]
fn both_checksums_are_understood_and_what_is_malformed_is_counted() -> Result<()> {
    let lab = web_lab()?;
    give_vrrp(&lab, "lb1", "checksum = \"message\"")?;
    give_vrrp(&lab, "lb2", "")?;
    expect_state(&lab, "lb1", "A", "active")?;
    expect_state(&lab, "lb2", "A", "backup")?;
    let view: VrrpView = serde_json::from_str(&lab.agent_get("lb2", "/v1/vrrp")?.body)?;
    ensure!(view.message_checksums > 0, "{view:?}");
    let from = |script: &str| shell(&lab, "web1", &format!("python3 -c '{script}'"));
    let send = |ttl: u8, message: &str| {
        from(&format!(
            "import socket as s\nk = s.socket(s.AF_INET, s.SOCK_RAW, 112)\n\
             k.setsockopt(s.IPPROTO_IP, s.IP_MULTICAST_TTL, {ttl})\n\
             k.sendto(bytes.fromhex(\"{message}\"), (\"224.0.0.18\", 0))"
        ))
    };
    send(255, "3133ff01000a00000a500064")?;
    send(64, "3133ff01000a00000a500064")?;
    send(255, "2133ff01000a00000a500064")?;
    send(255, "3133ff")?;
    poll::until("four reasons are counted", PATIENCE, || {
        let view: VrrpView = serde_json::from_str(&lab.agent_get("lb1", "/v1/vrrp")?.body)?;
        for reason in ["wrong_checksum", "ttl_not_255", "wrong_version", "wrong_length"] {
            ensure!(view.malformed[reason] == 1, "{reason}: {view:?}");
        }
        Ok(())
    })?;
    expect_state(&lab, "lb1", "A", "active")?;
    lab.down()
}
