//! ICMP through the lab: path MTU discovery behind the router, and pings of VIPs.

use crate::client::{client_shell, counters, vip_a, vips, web_lab};
use anyhow::{Context as _, Result, ensure};
use lbctl_tests::lab::Lab;
use std::net::{IpAddr, SocketAddr};

/// IPv6 needs 1280; less than the 1500 of all other links.
const SMALL_MTU_BYTES: u32 = 1300;

fn on_host(lab: &Lab, host: &str, script: &str) -> Result<String> {
    let output = lab.host(host).command("sh").args(["-c", script]).output()?;
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{host}: {script}: {errors}");
    Ok(String::from_utf8(output.stdout)?)
}

/// The path MTU that a web server has learnt for the way to an address, if any.
fn learnt_mtu(lab: &Lab, web: &str, to: IpAddr) -> Result<Option<u32>> {
    let route = on_host(lab, web, &format!("ip route get {to}"))?;
    let mut words = route.split_ascii_whitespace();
    Ok(match words.find(|word| *word == "mtu") {
        Some(_) => Some(words.next().context("no number after mtu")?.parse()?),
        None => None,
    })
}

#[test]
fn backends_learn_the_mtu_of_a_small_link_behind_the_router() -> Result<()> {
    let lab = web_lab()?;
    let file = lab.files_dir("web1").join("pages");
    std::fs::write(&file, "0123456789abcde\n".repeat(1 << 16))?;
    std::fs::hard_link(&file, lab.files_dir("web2").join("pages"))?;
    // The client announces the MSS of its own link, 1500 bytes: nothing but ICMP tells the way's MTU.
    on_host(&lab, "router", &format!("ip link set eth-client mtu {SMALL_MTU_BYTES}"))?;
    for vip in vip_a() {
        let before = counters(&lab, "lb1")?["icmp_error"];
        let url = format!("http://{}/files/pages", SocketAddr::new(vip, 80));
        // Twice: round robin sends one to each backend.
        for _ in 0..2 {
            let got = client_shell(&lab, &format!("curl -sS --max-time 10 {url} | sha256sum"))?;
            let wanted = client_shell(&lab, &format!("sha256sum < {}", file.display()))?;
            ensure!(got == wanted, "{url}: {got:?}, not {wanted:?}");
        }
        for web in ["web1", "web2"] {
            let learnt = learnt_mtu(&lab, web, vip)?;
            ensure!(learnt == Some(SMALL_MTU_BYTES), "{web}: the path MTU to {vip} is {learnt:?}");
        }
        let errors = counters(&lab, "lb1")?["icmp_error"] - before;
        ensure!(errors >= 2, "VIP {vip}: {errors} ICMP errors were translated");
    }
    lab.down()
}

#[test]
fn vips_answer_pings_and_the_nodes_own_addresses_are_left_alone() -> Result<()> {
    let lab = web_lab()?;
    for vip in vips() {
        let said = client_shell(&lab, &format!("ping -n -c 3 -i 0.02 -W 2 {vip}"))?;
        ensure!(said.contains("3 received"), "{said}");
    }
    let before = counters(&lab, "lb1")?["not_ours"];
    for own in ["10.80.0.2", "fd80::2"] {
        let said = client_shell(&lab, &format!("ping -n -c 3 -i 0.02 -W 2 {own}"))?;
        ensure!(said.contains("3 received"), "{said}");
        // Nothing listens there: the host's own TCP says so, not the load balancer.
        let refused =
            client_shell(&lab, &format!("curl -s http://{}/; echo $?", SocketAddr::new(own.parse()?, 80)))?;
        ensure!(refused.trim() == "7", "curl {refused}");
    }
    ensure!(counters(&lab, "lb1")?["not_ours"] > before, "the node's own packets are counted as such");
    lab.down()
}
