//! VIPs that move: two agents that agree by VRRP on who serves what, and an agent with keepalived as the other node.

use crate::client::{KeptConnection, PATIENCE, ask, lbctl, shell, try_lbctl, vip_a, web_lab};
use crate::keepalived::Keepalived;
use anyhow::{Context as _, Result, bail, ensure};
use lb_user::api::{VirtualRouterView, VrrpView};
use lb_user::model::Family;
use lbctl_tests::lab::addresses::{VIP_B, vip};
use lbctl_tests::lab::{Lab, poll};
use nix::sys::signal::Signal;
use std::net::IpAddr;
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

const FAMILIES: [Family; 2] = [Family::V4, Family::V6];
/// Ten adverts a second: a node that is gone is missed after 0.3 s and its skew.
const INTERVAL: &str = "100ms";

/// Gives VIPs A and B virtual routers on a node, with these further lines for A.
fn give_vrrp(lab: &Lab, node: &str, more: &str) -> Result<()> {
    let text = lab.agent_config(node)?;
    let table = |vip: &str, id: u8, more: &str| {
        format!("[vip.{vip}.vrrp]\nid = {id}\ninterval = \"{INTERVAL}\"\n{more}\n[vip.{vip}]\n")
    };
    let text = text.replacen("[vip.A]\n", &table("A", 51, more), 1);
    let text = text.replacen("[vip.B]\n", &table("B", 52, ""), 1);
    lab.write_agent_config(node, &text)?;
    let output = lab.lbctl(node)?.arg("apply").output()?;
    ensure!(output.status.success(), "{output:?}");
    Ok(())
}

fn vrrp_lab() -> Result<Lab> {
    let lab = web_lab()?;
    for node in ["lb1", "lb2"] {
        give_vrrp(&lab, node, "")?;
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

fn router(lab: &Lab, node: &str, vip: &str, family: Family) -> Result<VirtualRouterView> {
    let mut all = routers(lab, node)?.into_iter();
    all.find(|one| one.vip.as_str() == vip && one.family == family).context("no such virtual router")
}

/// Waits until both families of a VIP are in that state on a node, and its interface has the addresses or not.
fn expect_state(lab: &Lab, node: &str, vip: &str, state: &str) -> Result<()> {
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

fn has_address(lab: &Lab, host: &str, address: IpAddr) -> Result<bool> {
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
                    if let Err(error) = ask(vip) {
                        failures.push(format!("{error:#}"));
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

/// Flows are not shared between nodes yet, so the one connection that is open when a VIP moves may end with that.
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
    let set_link = |word: &str| shell(&lab, "router", &format!("ip link set p-lb1 {word}"));
    let cut = Instant::now();
    set_link("down")?;
    expect_state(&lab, "lb2", "A", "active")?;
    ensure!(cut.elapsed() < Duration::from_secs(2), "it took {:?}", cut.elapsed());
    expect_state(&lab, "lb1", "A", "initialize")?;
    let said = lbctl(&lab, &["vrrp", "status"])?;
    ensure!(said.contains("takes no part: VRRP on eth0: the interface is down"), "{said}");
    set_link("up")?;
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
        let back = lab.lbctl("lb2")?.args(["vrrp", "failover", "A"]).output()?;
        ensure!(back.status.success(), "{back:?}");
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

/// The other node is keepalived's, with the lower priority: it follows, takes over, and gives back.
#[test]
fn keepalived_yields_to_an_agent_takes_over_from_it_and_gives_back() -> Result<()> {
    let lab = web_lab()?;
    lab.kill_agent("lb2", Signal::SIGTERM)?;
    give_vrrp(&lab, "lb1", "")?;
    expect_state(&lab, "lb1", "A", "active")?;
    let capture = Capture::begin(&lab)?;
    let keepalived = Keepalived::start(&lab, "lb2", 100, "0.1", "BACKUP")?;
    keepalived.expect("BACKUP STATE", 2)?;
    no_address(&lab, "lb2")?;

    lab.kill_agent("lb1", Signal::SIGTERM)?;
    keepalived.expect("MASTER STATE", 2)?;
    has_addresses(&lab, "lb2")?;

    lab.start_agent("lb1")?;
    expect_state(&lab, "lb1", "A", "active")?;
    keepalived.expect("BACKUP STATE", 4)?;
    no_address(&lab, "lb2")?;
    for family in FAMILIES {
        let router = router(&lab, "lb1", "A", family)?;
        ensure!(router.heard.as_ref().is_some_and(|heard| heard.priority == 100), "{router:?}");
    }
    capture.expect_no_fault(&lab)?;
    keepalived.stop()?;
    lab.down()
}

/// And with the higher one: the agent follows it, at keepalived's interval, and takes over when it leaves or dies.
#[test]
fn an_agent_follows_keepalived_at_its_interval_and_takes_over_from_it() -> Result<()> {
    let lab = web_lab()?;
    lab.kill_agent("lb2", Signal::SIGTERM)?;
    let keepalived = Keepalived::start(&lab, "lb2", 250, "0.3", "MASTER")?;
    keepalived.expect("MASTER STATE", 2)?;
    let capture = Capture::begin(&lab)?;
    give_vrrp(&lab, "lb1", "")?;
    let learnt = |state: &str| {
        poll::until("the agent has learnt keepalived's interval", PATIENCE, || {
            for family in FAMILIES {
                let router = router(&lab, "lb1", "A", family)?;
                let heard = router.heard.as_ref().context("nobody is heard")?;
                ensure!(router.state == state && heard.interval_ms == 300, "{router:?}");
                // 3 × 300 ms and a skew of (256 − 200) / 256 × 300 ms.
                ensure!(router.active_down_ms == 965, "{router:?}");
            }
            Ok(())
        })
    };
    learnt("backup")?;
    expect_state(&lab, "lb1", "A", "backup")?;
    has_addresses(&lab, "lb2")?;

    let left = Instant::now();
    keepalived.stop()?;
    expect_state(&lab, "lb1", "A", "active")?;
    ensure!(left.elapsed() < Duration::from_secs(5), "it took {:?}", left.elapsed());
    let events = lab.agent_get("lb1", "/v1/events")?.body;
    ensure!(events.contains("vip A ipv6: backup → active, the Active router left"), "{events}");

    // One that is killed says nothing.
    let keepalived = Keepalived::start(&lab, "lb2", 250, "0.3", "MASTER")?;
    keepalived.expect("MASTER STATE", 2)?;
    expect_state(&lab, "lb1", "A", "backup")?;
    keepalived.kill(&lab)?;
    expect_state(&lab, "lb1", "A", "active")?;
    let events = lab.agent_get("lb1", "/v1/events")?.body;
    ensure!(events.contains("vip A ipv4: backup → active, no Active router was heard"), "{events}");
    capture.expect_no_fault(&lab)?;
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

fn has_addresses(lab: &Lab, host: &str) -> Result<()> {
    addresses(lab, host, true)
}

fn no_address(lab: &Lab, host: &str) -> Result<()> {
    addresses(lab, host, false)
}

fn addresses(lab: &Lab, host: &str, wanted: bool) -> Result<()> {
    poll::until("VIP A's addresses are where they belong", PATIENCE, || {
        for vip in vip_a() {
            let has = has_address(lab, host, vip)?;
            ensure!(has == wanted, "{host} has {vip}: {has}");
        }
        Ok(())
    })
}

/// All of VRRP on lb2's link, as tshark understands it.
struct Capture {
    child: std::process::Child,
    folder: tempfile::TempDir,
}

impl Capture {
    fn begin(lab: &Lab) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let file = folder.path().join("vrrp.pcap");
        let mut command = lab.host("lb2").command("tcpdump");
        command.args(["-U", "-i", "eth0", "-w"]).arg(&file).arg("ip proto 112 or ip6 proto 112");
        let child = command.stderr(Stdio::null()).spawn()?;
        let capture = Self { child, folder };
        poll::until("tcpdump captures", PATIENCE, || {
            ensure!(std::fs::metadata(&file).is_ok_and(|file| file.len() >= 24), "no file yet");
            Ok(())
        })?;
        Ok(capture)
    }

    /// Ends it. Both nodes' packets must be there in both families, and none of them wrong.
    fn expect_no_fault(mut self, lab: &Lab) -> Result<()> {
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(i32::try_from(self.child.id())?), Signal::SIGTERM)?;
        self.child.wait()?;
        let file = self.folder.path().join("vrrp.pcap");
        let mut command = lab.host("lb2").command("tshark");
        command.args(["-r"]).arg(file).args(["-T", "fields", "-e", "ip.src", "-e", "ipv6.src"]);
        command.args(["-e", "vrrp.checksum.status", "-e", "_ws.malformed", "-e", "_ws.expert.message"]);
        let output = command.output()?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        ensure!(output.status.success(), "{output:?}");
        for line in text.lines() {
            let fields: Vec<_> = line.split('\t').collect();
            // 1 is good.
            if fields.get(2) != Some(&"1") || fields[3..].iter().any(|field| !field.is_empty()) {
                bail!("tshark finds fault with a packet: {line}");
            }
        }
        for sender in ["10.80.0.2", "10.80.0.3", "fe80::ff:fe80:2", "fe80::ff:fe80:3"] {
            ensure!(text.contains(sender), "no packet of {sender}:\n{text}");
        }
        Ok(())
    }
}
