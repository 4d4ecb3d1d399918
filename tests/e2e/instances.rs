//! One agent for a node: what a second one is told, what is left of one that went, and `detach`.

use crate::client::{PATIENCE, Said, ask_times, lbctl, lbctl_json, shares, try_lbctl, vip_a, web_lab};
use anyhow::{Context as _, Result, ensure};
use lb_user::api::Status;
use lbctl_tests::lab::{Lab, agents, poll};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs::File;
use std::path::Path;
use std::process::{Child, Stdio};

#[test]
fn a_node_has_one_agent_and_detach_takes_it_off_the_machine_only_when_that_has_ended() -> Result<()> {
    let lab = web_lab()?;
    an_agent_that_does_not_run_is_told(&lab)?;
    let folder = tempfile::tempdir()?;
    a_second_agent_of_the_same_file_is_refused(&lab, folder.path())?;
    a_second_agent_with_the_same_pins_is_refused(&lab, folder.path())?;
    a_second_agent_on_the_same_interface_is_refused(&lab, folder.path())?;
    detach_is_refused_under_a_running_agent(&lab)?;
    detach_takes_everything_away(&lab)?;
    lab.start_agent("lb1")?;
    lab.wait_until_serving(PATIENCE)?;
    expect_vips(&lab, true)?;
    lab.down()
}

fn an_agent_that_does_not_run_is_told(lab: &Lab) -> Result<()> {
    let socket = lab.agent_socket("lb1");
    let told = |reason: &str| Said {
        code: Some(3),
        out: String::new(),
        err: format!("lbctl: no agent answers at {}: {reason}\n", socket.display()),
    };
    let gone = "there is no such socket; start the agent with `lbctl agent --config FILE`, or name its socket with --socket";
    lab.kill_agent("lb1", Signal::SIGTERM)?;
    ensure!(!socket.exists(), "an agent that ended in order left its socket");
    assert_eq!(try_lbctl(lab, &["status"])?, told(gone));
    lab.start_agent("lb1")?;
    lab.kill_agent("lb1", Signal::SIGKILL)?;
    ensure!(socket.exists(), "this test needs a stale socket");
    let stale = "the socket is stale: its agent is gone; start it again with `lbctl agent --config FILE`";
    assert_eq!(try_lbctl(lab, &["backend", "list"])?, told(stale));
    // Without an agent the kernel goes on.
    still_serves(lab)?;
    lab.start_agent("lb1")?;
    assert_eq!(lbctl_json::<Status>(lab, &["status"])?.pid, first_pid(lab)?);
    Ok(())
}

fn first_pid(lab: &Lab) -> Result<u32> {
    Ok(u32::try_from(lab.process_id("lb1", "agent")?)?)
}

fn still_serves(lab: &Lab) -> Result<()> {
    for vip in vip_a() {
        let answers = ask_times(lab, vip, 10)?;
        ensure!(shares(&answers).get("web1") == Some(&5), "VIP {vip}: {:?}", shares(&answers));
    }
    Ok(())
}

/// An agent that must not start: how it ended. One that does start is ended.
fn second_agent(lab: &Lab, config: &Path, folder: &Path) -> Result<Said> {
    let binary = lab.setup().lbctl.as_ref().context("no lbctl")?.display().to_string();
    let log = folder.join("log");
    let mut command = lab.host("lb1").command(&binary);
    command.arg("agent").arg("--config").arg(config).stderr(File::create(&log)?);
    let mut child = command.spawn()?;
    let ended = poll::until("the second agent ends", PATIENCE, || child.try_wait()?.context("it runs"));
    if ended.is_err() {
        child.kill()?;
        child.wait()?;
    }
    let err = std::fs::read_to_string(&log)?;
    Ok(Said { code: ended.with_context(|| err.clone())?.code(), out: String::new(), err })
}

/// The first agent notices nothing of a second one.
fn first_is_untouched(lab: &Lab) -> Result<()> {
    let status: Status = lbctl_json(lab, &["status"])?;
    assert_eq!((status.node.as_str(), status.pid), ("lb1", first_pid(lab)?));
    expect_vips(lab, true)?;
    still_serves(lab)
}

fn expect_refused(said: &Said, words: &str) -> Result<()> {
    let last = said.err.lines().last().unwrap_or_default();
    ensure!(said.code == Some(1) && last == format!("lbctl: {words}"), "{words:?} expected: {said:?}");
    Ok(())
}

fn a_second_agent_of_the_same_file_is_refused(lab: &Lab, folder: &Path) -> Result<()> {
    let said = second_agent(lab, &lab.agent_config_path("lb1"), folder)?;
    let words = format!(
        "another agent of node lb1 is running (pid {}); stop it first, or give this one another node.name",
        first_pid(lab)?
    );
    expect_refused(&said, &words)?;
    first_is_untouched(lab)
}

/// The first agent's file for a node of another name, with another socket.
fn other_name_and_socket(lab: &Lab, folder: &Path) -> Result<String> {
    let first = lab.agent_socket("lb1").display().to_string();
    let second = folder.join("second.sock").display().to_string();
    let text = lab.agent_config("lb1")?.replace(&first, &second);
    let text = text.replace("\"lb1\"", "\"second\"");
    ensure!(text.contains(&second) && text.contains("active_on = \"second\""), "another file:\n{text}");
    Ok(text)
}

fn a_second_agent_with_the_same_pins_is_refused(lab: &Lab, folder: &Path) -> Result<()> {
    let config = folder.join("second.toml");
    std::fs::write(&config, other_name_and_socket(lab, folder)?)?;
    let words = format!(
        "another agent (pid {}) has the pins in {}; stop it first, or give this one another dataplane.pin_dir",
        first_pid(lab)?,
        agents::pin_dir("lb1").display()
    );
    expect_refused(&second_agent(lab, &config, folder)?, &words)?;
    ensure!(!folder.join("second.sock").exists(), "the second agent left its socket");
    first_is_untouched(lab)
}

fn a_second_agent_on_the_same_interface_is_refused(lab: &Lab, folder: &Path) -> Result<()> {
    let config = folder.join("second.toml");
    let (first, second) = (agents::pin_dir("lb1"), agents::pin_dir("lb1-second"));
    let text = other_name_and_socket(lab, folder)?;
    std::fs::write(&config, text.replace(&first.display().to_string(), &second.display().to_string()))?;
    let said = second_agent(lab, &config, folder);
    let left =
        std::fs::read_dir(&second).map(|pins| pins.flatten().map(|pin| pin.file_name()).collect::<Vec<_>>());
    if left.is_ok() {
        // The lab does not know this folder.
        std::fs::remove_dir_all(&second)?;
    }
    let words = "interface eth0: another XDP program is attached; `ip link show` names it. Another lbctl agent \
                 with another pin_dir, or another product? End it, or `ip link set dev eth0 xdp off`";
    expect_refused(&said?, words)?;
    first_is_untouched(lab)?;
    ensure!(!folder.join("second.sock").exists(), "the second agent left its socket");
    ensure!(left.is_err(), "the second agent left {}: {left:?}", second.display());
    Ok(())
}

fn detach(lab: &Lab) -> Result<Said> {
    let binary = lab.setup().lbctl.as_ref().context("no lbctl")?.display().to_string();
    Said::by(lab.host("lb1").command(&binary).arg("detach").arg("--config").arg(lab.agent_config_path("lb1")))
}

fn ip(lab: &Lab, arguments: &[&str]) -> Result<String> {
    let said = Said::by(lab.host("lb1").command("ip").args(arguments))?;
    ensure!(said.code == Some(0), "{said:?}");
    Ok(said.out)
}

fn expect_vips(lab: &Lab, wanted: bool) -> Result<()> {
    let addresses = ip(lab, &["-o", "address", "show", "dev", "eth0"])?;
    for vip in ["10.80.0.100/32", "fd80::100/128"] {
        ensure!(
            addresses.contains(&format!(" {vip} ")) == wanted,
            "VIP {vip}, wanted {wanted}:\n{addresses}"
        );
    }
    Ok(())
}

fn has_program(lab: &Lab) -> Result<bool> {
    Ok(ip(lab, &["-d", "link", "show", "dev", "eth0"])?.contains("xdp"))
}

fn detach_is_refused_under_a_running_agent(lab: &Lab) -> Result<()> {
    let pid = first_pid(lab)?;
    let err =
        format!("lbctl: nothing was detached: an agent of node lb1 is running (pid {pid}); stop it first\n");
    assert_eq!(detach(lab)?, Said { code: Some(1), out: String::new(), err });
    ensure!(has_program(lab)?, "the program is gone");
    first_is_untouched(lab)
}

fn detach_takes_everything_away(lab: &Lab) -> Result<()> {
    lab.kill_agent("lb1", Signal::SIGTERM)?;
    ensure!(has_program(lab)? && agents::pin_dir("lb1").exists(), "there is nothing to take away");
    expect_vips(lab, true)?;
    let done = |what: &str| Said {
        code: Some(0),
        out: format!("node lb1: {what}; its VIPs are off this machine\n"),
        err: String::new(),
    };
    // Somebody else's, in the same folder.
    let others = agents::pin_dir("lb1").join("others");
    std::fs::create_dir(&others)?;
    assert_eq!(detach(lab)?, done("detached"));
    expect_vips(lab, false)?;
    let left: Vec<_> = std::fs::read_dir(agents::pin_dir("lb1"))?.flatten().map(|pin| pin.path()).collect();
    assert_eq!(left, std::slice::from_ref(&others), "what is others' stays, and nothing else");
    std::fs::remove_dir(&others)?;
    poll::until("the program is gone", PATIENCE, || {
        ensure!(!has_program(lab)?, "it is there");
        Ok(())
    })?;
    assert_eq!(detach(lab)?, done("nothing was attached"));
    ensure!(!agents::pin_dir("lb1").exists(), "the folder is left");
    lbctl(lab, &["status"]).err().context("an agent answers").map(drop)
}

#[test]
fn an_agent_hears_the_signals_that_its_starter_had_blocked() -> Result<()> {
    let lab = web_lab()?;
    lab.kill_agent("lb1", Signal::SIGKILL)?;
    let binary = lab.setup().lbctl.as_ref().context("no lbctl")?;
    let mut command = lab.host("lb1").command("env");
    command.args(["--block-signal=TERM", "--block-signal=HUP"]).arg(binary).arg("agent");
    command.arg("--config").arg(lab.agent_config_path("lb1")).stderr(Stdio::null());
    let mut agent = command.spawn()?;
    let outcome = hears_signals(&lab, &mut agent);
    if outcome.is_err() {
        agent.kill()?;
        agent.wait()?;
    }
    outcome?;
    lab.down()
}

fn hears_signals(lab: &Lab, agent: &mut Child) -> Result<()> {
    let pid = Pid::from_raw(i32::try_from(agent.id())?);
    let events = |words: &str| {
        poll::until(&format!("an event says {words:?}"), PATIENCE, || {
            let events = lbctl(lab, &["events"])?;
            ensure!(events.contains(words), "{events}");
            Ok(())
        })
    };
    events("agent started")?;
    kill(pid, Signal::SIGHUP)?;
    events("reload: the file changes nothing")?;
    kill(pid, Signal::SIGTERM)?;
    let status = poll::until("the agent ends", PATIENCE, || agent.try_wait()?.context("it runs"))?;
    ensure!(status.success(), "{status}");
    Ok(())
}
