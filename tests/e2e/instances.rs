//! One agent for a node, an interface, a dataplane: second ones, dead ones, and taking everything away.

use crate::client::{ask_times, web_lab};
use anyhow::{Context as _, Result, ensure};
use lbctl_tests::lab::{Lab, agents};
use nix::sys::signal::Signal;
use std::path::Path;
use std::process::Stdio;

/// Runs `lbctl` on lb1 with these words, to its end; for an agent that must not start, and what needs no agent.
fn on_lb1(lab: &Lab, words: &[&str]) -> Result<(Option<i32>, String)> {
    let lbctl = lab.lbctl("lb1")?;
    let mut command = lab.host("lb1").command(&lbctl.get_program().to_string_lossy());
    let output = command.args(words).stdin(Stdio::null()).output()?;
    let said = [output.stdout, output.stderr].concat();
    Ok((output.status.code(), String::from_utf8_lossy(&said).into_owned()))
}

/// An agent with this configuration does not start, and says why in these words.
fn does_not_start(lab: &Lab, text: &str, words: &[&str]) -> Result<()> {
    let file = lab.agent_config_path("lb1").with_file_name("second.toml");
    std::fs::write(&file, text)?;
    // A second agent that does start would not end: `timeout` makes that a failure.
    let lbctl = lab.lbctl("lb1")?;
    let mut command = lab.host("lb1").command("timeout");
    command.arg("10").arg(lbctl.get_program()).args(["agent", "--config"]).arg(&file);
    let output = command.stdin(Stdio::null()).output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.code() == Some(1), "code {:?}: {said}", output.status.code());
    for word in words {
        ensure!(said.contains(word), "no {word:?} in {said:?}");
    }
    Ok(())
}

fn serves(lab: &Lab) -> Result<()> {
    for vip in crate::client::vip_a() {
        ensure!(ask_times(lab, vip, 2)?.len() == 2, "VIP {vip}");
    }
    Ok(())
}

#[test]
fn a_second_agent_is_refused_and_the_first_goes_on() -> Result<()> {
    let lab = web_lab()?;
    let first = lab.agent_config("lb1")?;
    let pid = lab.process_id("lb1", "agent")?.to_string();
    let pin_dir = agents::pin_dir("lb1").display().to_string();
    does_not_start(&lab, &first, &["lbctl: ", "lb1", &pid])?;
    let renamed = first.replace("name = \"lb1\"", "name = \"other\"").replace("lb1.sock", "lb1.other.sock");
    does_not_start(&lab, &renamed, &["lbctl: ", &pin_dir, &pid])?;
    let apart = renamed.replace(&pin_dir, &format!("{pin_dir}/other"));
    does_not_start(&lab, &apart, &["lbctl: ", "interface eth0", "another XDP program"])?;
    let left = Path::new(&format!("{pin_dir}/other")).exists();
    ensure!(!left, "the agent that did not start left its pins");
    ensure!(!lab.agent_socket("lb1").with_file_name("lb1.other.sock").exists(), "it left its socket");
    let missing = apart.replace("\"eth0\"", "\"eth9\"");
    does_not_start(&lab, &missing, &["lbctl: ", "no interface eth9", "ip link"])?;
    serves(&lab)?;
    lab.down()
}

#[test]
fn an_agent_that_died_leaves_a_socket_that_the_next_one_replaces() -> Result<()> {
    let lab = web_lab()?;
    lab.kill_agent("lb1", Signal::SIGKILL)?;
    ensure!(lab.agent_socket("lb1").exists(), "SIGKILL leaves the socket's file");
    let no_agent = |words: &[&str]| -> Result<()> {
        let output = lab.lbctl("lb1")?.arg("status").output()?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.code() == Some(3), "{:?}: {said}", output.status);
        let socket = lab.agent_socket("lb1").display().to_string();
        for word in [&[socket.as_str()], words].concat() {
            ensure!(said.contains(word), "no {word:?} in {said:?}");
        }
        Ok(())
    };
    no_agent(&["stale", "lbctl agent"])?;
    serves(&lab)?; // The kernel forwards without it.
    lab.start_agent("lb1")?;
    lab.kill_agent("lb1", Signal::SIGTERM)?;
    ensure!(!lab.agent_socket("lb1").exists(), "an agent that ends removes its socket");
    no_agent(&["lbctl agent"])?;
    serves(&lab)?;
    lab.start_agent("lb1")?;
    serves(&lab)?;
    lab.down()
}

#[test]
fn detach_takes_program_pins_and_addresses_away_but_not_under_an_agent() -> Result<()> {
    let lab = web_lab()?;
    let config = lab.agent_config_path("lb1").display().to_string();
    let pin_dir = agents::pin_dir("lb1");
    let shown = |words: &[&str]| -> Result<String> {
        let output = lab.host("lb1").command("ip").args(words).output()?;
        Ok(String::from_utf8(output.stdout)?)
    };
    let (code, said) = on_lb1(&lab, &["detach", "--config", &config])?;
    let pid = lab.process_id("lb1", "agent")?.to_string();
    ensure!(code == Some(1) && said.contains(&pid) && said.contains("stop"), "{code:?}: {said}");
    serves(&lab)?;
    ensure!(shown(&["link", "show", "eth0"])?.contains("xdp"), "the program is attached");
    lab.kill_agent("lb1", Signal::SIGTERM)?;
    let (code, said) = on_lb1(&lab, &["detach", "--config", &config])?;
    ensure!(code == Some(0) && said.contains("detached"), "{code:?}: {said}");
    ensure!(!shown(&["link", "show", "eth0"])?.contains("xdp"), "the program is still attached");
    ensure!(!pin_dir.exists(), "{} is still there", pin_dir.display());
    let addresses = shown(&["address", "show", "eth0"])?;
    ensure!(!addresses.contains("10.80.0.100") && !addresses.contains("fd80::100"), "{addresses}");
    ensure!(addresses.contains("10.80.0.2/24"), "the node's own address has gone: {addresses}");
    let (code, said) = on_lb1(&lab, &["detach", "--config", &config])?;
    ensure!(code == Some(0) && said.contains("nothing was attached"), "{code:?}: {said}");
    lab.start_agent("lb1")?;
    lab.wait_until_serving(crate::client::PATIENCE).context("after a detach and a new start")?;
    serves(&lab)?;
    lab.down()
}
