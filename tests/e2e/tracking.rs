//! What a VIP's place hangs on, VIPs that move together, and who is told.

use crate::client::{PATIENCE, ask_all, keep_open, lbctl, shell};
use crate::sync::{at_home, failover_lab};
use crate::vrrp::{FAMILIES, expect_state, hand_over, router, set_link};
use anyhow::{Context as _, Result, ensure};
use lbctl_tests::lab::{Lab, agents, paths, poll};
use nix::sys::signal::Signal;

/// Gives a VIP of a node further lines about VRRP, and its file further tables.
pub(crate) fn configure(lab: &Lab, node: &str, vips: &[(u8, &str)], tables: &str) -> Result<()> {
    let mut text = format!("{}\n{tables}\n", lab.agent_config(node)?);
    for (id, lines) in vips {
        let (old, new) = (format!("\nid = {id}\n"), format!("\nid = {id}\n{lines}\n"));
        ensure!(text.contains(&old), "{text}");
        text = text.replacen(&old, &new, 1);
    }
    lab.write_agent_config(node, &text)?;
    let output = lab.lbctl(node)?.arg("apply").output()?;
    ensure!(output.status.success(), "{output:?}");
    Ok(())
}

#[test]
fn a_vip_leaves_a_node_that_lacks_what_it_hangs_on_and_comes_back_with_it() -> Result<()> {
    let lab = failover_lab()?;
    let flag = paths::host_dir("lb1").join("flag");
    std::fs::write(&flag, "")?;
    let set_uplink = |word: &str| shell(&lab, "lb1", &format!("ip link set uplink {word}")).map(drop);
    shell(&lab, "lb1", "ip link add uplink type veth peer name uplink2; ip link set uplink2 up")?;
    set_uplink("up")?;
    let tables = format!(
        "[track.uplink]\ninterface = \"uplink\"\n[track.enough]\nservice = \"web\"\nat_least = 2\n\
         [track.program]\ndataplane = true\n[track.flag]\ncommand = [\"/usr/bin/test\", \"-e\", \"{}\"]\ninterval = \"100ms\"\n",
        flag.display()
    );
    configure(
        &lab,
        "lb1",
        &[(51, "track = { uplink = 101, enough = 101, program = 101, flag = 101 }")],
        &tables,
    )?;
    at_home(&lab)?;
    let mut kept = keep_open(&lab)?;
    let mut ask = || ask_all(&lab, &mut kept);
    let mut lacks =
        |name: &str, words: &str, lose: &dyn Fn() -> Result<()>, regain: &dyn Fn() -> Result<()>| {
            lose()?;
            expect_state(&lab, "lb2", "A", "active")?;
            expect_state(&lab, "lb1", "A", "backup")?;
            for family in FAMILIES {
                let found = router(&lab, "lb1", "A", family)?;
                ensure!((found.priority, found.configured_priority) == (99, 200), "{found:?}");
            }
            // VIPs that do not hang on it stay.
            expect_state(&lab, "lb1", "direct", "active")?;
            let said = lbctl(&lab, &["vrrp", "status"])?;
            ensure!(said.contains(&format!("track {name} (")) && said.contains(words), "{said}");
            ask()?;
            regain()?;
            at_home(&lab)?;
            let said = lbctl(&lab, &["vrrp", "status"])?;
            ensure!(!said.contains("down:"), "{said}");
            ask()
        };
    lacks("uplink", "down: uplink is down", &|| set_uplink("down"), &|| set_uplink("up"))
        .context("an interface")?;
    let set_state = |word: &str| lbctl(&lab, &["backend", word, "web", "web1"]).map(drop);
    lacks("enough", "down: service web has 1 of 2 backends", &|| set_state("drain"), &|| set_state("ready"))
        .context("a service")?;
    lacks(
        "flag",
        "down: its command ended with exit status: 1",
        &|| Ok(std::fs::remove_file(&flag)?),
        &|| Ok(std::fs::write(&flag, "")?),
    )
    .context("a command")?;
    // Somebody took the program away. What was open goes on by the other node.
    lacks(
        "program",
        "down: no program is attached to eth0",
        &|| remove_links(&agents::pin_dir("lb1")),
        &|| {
            lab.kill_agent("lb1", Signal::SIGTERM)?;
            lab.start_agent("lb1")
        },
    )
    .context("the program")?;
    lab.down()
}

/// Takes the pins of links away, and with them the program off its interfaces.
fn remove_links(pins: &std::path::Path) -> Result<()> {
    for entry in std::fs::read_dir(pins)? {
        let path = entry?.path();
        if path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("link")) {
            std::fs::remove_file(path)?;
        }
    }
    Ok(())
}

#[test]
fn vips_of_one_group_move_together() -> Result<()> {
    let lab = failover_lab()?;
    let flag = paths::host_dir("lb1").join("flag");
    std::fs::write(&flag, "")?;
    let tables = format!(
        "[track.flag]\ncommand = [\"/usr/bin/test\", \"-e\", \"{}\"]\ninterval = \"100ms\"\n",
        flag.display()
    );
    let group = "group = \"front\"";
    configure(&lab, "lb1", &[(51, &format!("{group}\ntrack = {{ flag = 150 }}")), (53, group)], &tables)?;
    configure(&lab, "lb2", &[(51, group), (53, group)], "")?;
    at_home(&lab)?;
    let both_on = |node: &str, other: &str| {
        ["A", "direct"].into_iter().try_for_each(|vip| {
            expect_state(&lab, node, vip, "active")?;
            expect_state(&lab, other, vip, "backup")
        })
    };
    let said = lbctl(&lab, &["vrrp", "failover", "A"])?;
    ensure!(said.contains("handed over: A, direct"), "{said}");
    both_on("lb2", "lb1")?;
    hand_over(&lab, "lb2", "direct")?;
    both_on("lb1", "lb2")?;
    // What one hangs on moves both.
    std::fs::remove_file(&flag)?;
    both_on("lb2", "lb1")?;
    std::fs::write(&flag, "")?;
    at_home(&lab)?;
    let events = lab.agent_get("lb2", "/v1/events")?.body;
    ensure!(!events.contains("advertises as Active too"), "{events}");
    lab.down()
}

#[test]
fn a_command_is_told_of_every_change_in_order_and_one_that_fails_is_told_of() -> Result<()> {
    let lab = failover_lab()?;
    let log = paths::host_dir("lb1").join("notified");
    let notify = format!("[notify]\ncommand = [\"/bin/sh\", \"-c\", \"cat >> {}\"]\n", log.display());
    configure(&lab, "lb1", &[], &notify)?;
    configure(&lab, "lb2", &[], "[notify]\ncommand = \"/bin/false\"\n")?;
    lbctl(&lab, &["vrrp", "failover", "A"])?;
    expect_state(&lab, "lb2", "A", "active")?;
    poll::until("a failing command is told of", PATIENCE, || {
        let events = lab.agent_get("lb2", "/v1/events")?.body;
        ensure!(
            events.contains("notify: vip A ipv4 backup → active: its command ended with exit status: 1"),
            "{events}"
        );
        Ok(())
    })?;
    // Also what happens while the agent ends is told.
    lab.kill_agent("lb1", Signal::SIGTERM)?;
    let told: Vec<serde_json::Value> =
        std::fs::read_to_string(&log)?.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
    let of = |vip: &str, family: &str| -> Vec<String> {
        let is_meant = |one: &&serde_json::Value| one["vip"] == vip && one["family"] == family;
        let words = |one: &serde_json::Value| format!("{} → {}", one["from"], one["to"]).replace('"', "");
        told.iter().filter(is_meant).map(words).collect()
    };
    ensure!(of("A", "ipv4") == ["active → backup", "backup → initialize"], "{told:?}");
    ensure!(of("direct", "ipv6")[0] == "active → backup", "{told:?}");
    let first = &told[0];
    ensure!(first["node"] == "lb1" && first["reason"] == "it was handed over", "{first}");
    ensure!(
        first["priority"] == 200 && first["addresses"].as_array().is_some_and(|all| all.len() == 1),
        "{first}"
    );
    lab.down()
}

#[test]
fn a_node_that_comes_and_goes_takes_its_vips_back_only_so_often() -> Result<()> {
    let lab = failover_lab()?;
    configure(&lab, "lb1", &[(51, "flap_limit = 1")], "")?;
    at_home(&lab)?;
    let flap = || -> Result<()> {
        set_link(&lab, "down")?;
        expect_state(&lab, "lb2", "A", "active")?;
        set_link(&lab, "up")?;
        expect_state(&lab, "lb1", "direct", "active")
    };
    // The change of the configuration has cost it one already.
    flap()?;
    poll::until("the node holds back, and says so", PATIENCE, || {
        let events = lab.agent_get("lb1", "/v1/events")?.body;
        ensure!(events.contains("as often as flap_limit allows"), "{events}");
        Ok(())
    })?;
    expect_state(&lab, "lb2", "A", "active")?;
    expect_state(&lab, "lb1", "A", "backup")?;
    // It is there when it is needed.
    lab.kill_agent("lb2", Signal::SIGTERM)?;
    expect_state(&lab, "lb1", "A", "active")?;
    lab.down()
}
