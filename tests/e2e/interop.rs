//! An agent with keepalived as the other node, both ways round, and tshark's opinion of what they say.

use crate::client::{PATIENCE, vip_a, web_lab};
use crate::vrrp::{FAMILIES, expect_state, give_vrrp, has_address, router};
use anyhow::{Context as _, Result, bail, ensure};
use lbctl_tests::keepalived::{Keepalived, Settings};
use lbctl_tests::lab::{Lab, poll};
use nix::sys::signal::Signal;
use std::process::Stdio;
use std::time::{Duration, Instant};

/// Keepalived on lb2, with VIP A.
fn start_keepalived(
    lab: &Lab,
    priority: u8,
    interval: &'static str,
    state: &'static str,
) -> Result<Keepalived> {
    let settings = Settings { addresses: vip_a().to_vec(), id: 51, priority, interval, state };
    Keepalived::start(lab, "lb2", &settings)
}

/// The other node is keepalived's, with the lower priority: it follows, takes over, and gives back.
#[test]
fn keepalived_yields_to_an_agent_takes_over_from_it_and_gives_back() -> Result<()> {
    let lab = web_lab()?;
    lab.kill_agent("lb2", Signal::SIGTERM)?;
    give_vrrp(&lab, "lb1", "")?;
    expect_state(&lab, "lb1", "A", "active")?;
    let capture = Capture::begin(&lab)?;
    let keepalived = start_keepalived(&lab, 100, "0.1", "BACKUP")?;
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
    let keepalived = start_keepalived(&lab, 250, "0.3", "MASTER")?;
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
    let keepalived = start_keepalived(&lab, 250, "0.3", "MASTER")?;
    keepalived.expect("MASTER STATE", 2)?;
    expect_state(&lab, "lb1", "A", "backup")?;
    keepalived.kill(&lab)?;
    expect_state(&lab, "lb1", "A", "active")?;
    let events = lab.agent_get("lb1", "/v1/events")?.body;
    ensure!(events.contains("vip A ipv4: backup → active, no Active router was heard"), "{events}");
    capture.expect_no_fault(&lab)?;
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
