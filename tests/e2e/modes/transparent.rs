//! Services whose connections end at the node and whose backends see the clients' own addresses.

use super::{
    ask_at, client_of, expect_download, expect_turns, follow_guide, lab, probe, put_file, wait_for_slots,
};
use crate::client::{Download, PATIENCE, lbctl, shell, vip_a};
use anyhow::{Result, ensure};
use lbctl_tests::lab::poll;
use std::net::SocketAddr;

#[test]
fn backends_of_a_proxy_see_their_clients_and_answer_by_way_of_the_node() -> Result<()> {
    let lab = lab()?;
    let text = lab.agent_config("lb1")?;
    let backend = |name: &str, last: u8| {
        let address = format!("[\"10.80.0.{last}:80\", \"[fd80::{last}]:80\"]");
        format!("[[service.seen.backend]]\nname = \"{name}\"\naddress = {address}\n")
    };
    let service = "[service.seen]\nvips = [\"A\"]\nport = 83\nmode = \"tcp\"\n[service.seen.proxy]\ntransparent = true\n";
    let backends = backend("web1", 21) + &backend("web2", 22);
    lab.write_agent_config("lb1", &format!("{text}\n{service}{backends}"))?;
    lbctl(&lab, &["apply"])?;
    wait_for_slots(&lab, "seen")?;
    let guide = follow_guide(&lab, "seen")?;
    ensure!(guide.notes.iter().any(|note| note.contains("taken for the nodes'")), "{guide:?}");
    for command in &guide.on_nodes {
        shell(&lab, "lb1", command)?;
    }
    probe(&lab, "seen", 0)?;
    let checksum = put_file(&lab, 32)?;
    for vip in vip_a() {
        let address = SocketAddr::new(vip, 83);
        expect_turns(&ask_at(&lab, address, 20)?, &client_of(vip))?;
        expect_download(&lab, address, &checksum)?;
    }
    // The node's own connections to that port go on, and what servers send for themselves.
    shell(
        &lab,
        "lb1",
        "curl -sf --max-time 3 http://10.80.0.21/healthz && curl -sf --max-time 3 'http://[fd80::21]/healthz'",
    )?;
    shell(&lab, "web1", "ping -c 1 -W 2 10.90.0.10 && ping -c 1 -W 2 fd90::10")?;

    // A node whose agent was killed finds its rules when it is back, and one that is told to end leaves none.
    let rules = || shell(&lab, "lb1", "ip rule; ip -6 rule");
    ensure!(rules()?.matches("lookup 8788").count() == 4, "{}", rules()?);
    lab.kill_agent("lb1", nix::sys::signal::Signal::SIGKILL)?;
    lab.start_agent("lb1")?;
    wait_for_slots(&lab, "seen")?;
    let [vip, _] = vip_a();
    expect_turns(&ask_at(&lab, SocketAddr::new(vip, 83), 4)?, &client_of(vip))?;
    let all_there = || {
        ensure!(rules()?.matches("lookup 8788").count() == 4, "{}", rules()?);
        Ok(())
    };
    all_there()?;
    // What somebody takes away comes back.
    shell(&lab, "lb1", "ip rule del pref 8788; ip route flush table 8788; ip -6 rule del pref 8788")?;
    poll::until("the rules are back", PATIENCE, all_there)?;
    expect_turns(&ask_at(&lab, SocketAddr::new(vip, 83), 4)?, &client_of(vip))?;

    // Connections that are open go on when their backend is removed, or its service; with the last of them the rule goes.
    let mut kept = Download::begin_at(&lab, SocketAddr::new(vip, 83), "/files/big", "6M")?;
    lbctl(&lab, &["backend", "del", "seen", &kept.backend])?;
    ensure!(kept.still_runs()?, "it has ended already");
    let mut other = Download::begin_at(&lab, SocketAddr::new(vip, 83), "/files/big", "6M")?;
    lab.write_agent_config("lb1", &text)?;
    lbctl(&lab, &["apply"])?;
    ensure!(kept.still_runs()? && other.still_runs()?, "they have ended already");
    for download in [kept, other] {
        let (code, verdict) = download.finish()?;
        ensure!(code == Some(0) && verdict == format!("200 {}", 32 << 20), "{code:?} {verdict}");
    }
    let none_left = || {
        ensure!(!rules()?.contains("8788"), "{}", rules()?);
        Ok(())
    };
    poll::until("no rule is left", PATIENCE, none_left)?;

    // Nor by an agent that was killed, where the next one wants none.
    lab.write_agent_config("lb1", &format!("{text}\n{service}{backends}"))?;
    lbctl(&lab, &["apply"])?;
    poll::until("the rules are back", PATIENCE, all_there)?;
    lab.kill_agent("lb1", nix::sys::signal::Signal::SIGKILL)?;
    lab.write_agent_config("lb1", &text)?;
    lab.start_agent("lb1")?;
    poll::until("no rule is left", PATIENCE, none_left)?;
    lab.down()
}
