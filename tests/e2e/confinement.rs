//! What the agent gives up, seen from outside: in the kernel's account of its threads, and by what a command of the operator's cannot do, which has
//! no more rights than the agent.

use crate::client::{
    Download, PATIENCE, ask_all, client_shell, keep_open, lbctl, lbctl_json, stop_and_detach, vip_a,
    wait_for_health, web_lab,
};
use anyhow::{Context as _, Result, ensure};
use lb_user::api::Status;
use lb_user::model::BackendHealth;
use lbctl_tests::lab::{Lab, paths, poll};
use nix::sys::signal::Signal;
use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

/// BPF, NET_ADMIN, NET_BIND_SERVICE, NET_RAW, PERFMON: linux/capability.h.
const KEPT: u64 = 1 << 39 | 1 << 12 | 1 << 10 | 1 << 13 | 1 << 38;
const SYS_NICE: u64 = 1 << 23;
const SYS_RESOURCE: u64 = 1 << 24;
/// A user that every Debian has, and that owns nothing.
const USER: &str = "nobody";

/// What the kernel says of each thread of a process, by its words.
fn threads(pid: i32) -> Result<Vec<BTreeMap<String, String>>> {
    let mut threads = Vec::new();
    for task in std::fs::read_dir(format!("/proc/{pid}/task"))? {
        let text = std::fs::read_to_string(task?.path().join("status"))?;
        let words = text.lines().filter_map(|line| line.split_once(':'));
        threads.push(words.map(|(name, value)| (name.to_owned(), value.trim().to_owned())).collect());
    }
    Ok(threads)
}

/// The capabilities an agent may have here: where root may not raise limits, the right to be urgent is left.
fn allowed() -> Result<u64> {
    let own = threads(std::process::id() as i32)?;
    let own = own.first().and_then(|words| words.get("CapPrm")).context("no capabilities")?;
    let may_raise = u64::from_str_radix(own, 16)? & SYS_RESOURCE != 0;
    Ok(if may_raise { KEPT } else { KEPT | SYS_NICE })
}

/// Every thread has those rights and no others, as that user.
fn expect_confined(lab: &Lab, node: &str, uid: u32) -> Result<()> {
    let allowed = allowed()?;
    let threads = threads(lab.process_id(node, "agent")?)?;
    ensure!(threads.len() > 4, "an agent has more threads: {threads:?}");
    for thread in threads {
        let of = |name: &str| thread.get(name).cloned().unwrap_or_default();
        for set in ["CapEff", "CapPrm", "CapBnd", "CapInh", "CapAmb"] {
            ensure!(u64::from_str_radix(&of(set), 16)? == allowed, "{set} of {}: {}", of("Name"), of(set));
        }
        ensure!(of("NoNewPrivs") == "1" && of("Seccomp") == "2", "{thread:?}");
        let uids: BTreeSet<u32> = of("Uid").split_whitespace().flat_map(str::parse).collect();
        ensure!(uids == [uid].into(), "{thread:?}");
        let groups: BTreeSet<u32> = of("Groups").split_whitespace().flat_map(str::parse).collect();
        ensure!(uid == 0 || !groups.contains(&0), "a group that opens the system's files: {thread:?}");
    }
    Ok(())
}

/// Adds tables to a node's file, and starts its agent with it.
fn restart_with(lab: &Lab, node: &str, more: &str) -> Result<()> {
    let text = lab.agent_config(node)?;
    lab.write_agent_config(node, &format!("{text}\n{more}"))?;
    lab.kill_agent(node, Signal::SIGTERM)?;
    lab.start_agent(node)
}

/// Tries what nobody needs here; each that goes well nevertheless is written down, at last that it was tried.
const ATTEMPTS: &str = r#"#!/bin/sh
folder=$1; outside=$2
tried() { "$@" >> "$folder/errors" 2>&1 && echo "$*" >> "$folder/did"; }
tried sh -c "echo x > $outside/new"
tried sh -c "echo x >> $outside/old"
tried rm -f "$outside/old"
tried mkdir "$outside/folder"
tried mv "$folder/mine" "$outside/moved"
tried sh -c 'echo core > /proc/sys/kernel/core_pattern'
tried mount -t tmpfs none "$folder"
tried unshare --net true
tried unshare --user true
tried /usr/bin/python3 -c 'import ctypes; c = ctypes.CDLL(None); import os; p = c.syscall(56, 0x10000000 | 17, 0, 0, 0, 0); p == 0 and os._exit(0); p < 0 and exit(1)'
tried chroot / true
tried chown nobody "$folder/mine"
tried date -s 2020-01-01
tried hostname other
echo tried >> "$folder/tried"
"#;

fn make_attempts(folder: &Path, outside: &Path) -> Result<()> {
    for dir in [folder, outside] {
        std::fs::create_dir_all(dir)?;
        std::fs::set_permissions(dir, std::fs::Permissions::from_mode(0o777))?;
    }
    std::fs::write(outside.join("old"), "as it was\n")?;
    std::fs::set_permissions(outside.join("old"), std::fs::Permissions::from_mode(0o666))?;
    std::fs::write(folder.join("mine"), "")?;
    let script = folder.join("attempts");
    std::fs::write(&script, ATTEMPTS)?;
    std::fs::set_permissions(script, std::fs::Permissions::from_mode(0o755))?;
    Ok(())
}

fn nothing_was_done(folder: &Path, outside: &Path) -> Result<()> {
    poll::until("all was tried", PATIENCE, || Ok(std::fs::read_to_string(folder.join("tried"))?))?;
    let did = std::fs::read_to_string(folder.join("did")).unwrap_or_default();
    let errors = std::fs::read_to_string(folder.join("errors"))?;
    ensure!(did.is_empty(), "what nobody needs was done:\n{did}\n{errors}");
    ensure!(std::fs::read_to_string(outside.join("old"))? == "as it was\n", "a file was changed");
    ensure!(std::fs::read_dir(outside)?.count() == 1, "a file was made");
    ensure!(errors.contains("Permission denied") && errors.contains("Operation not permitted"), "{errors}");
    Ok(())
}

/// A check that runs the attempts, once a minute.
fn attempting(folder: &Path, outside: &Path) -> String {
    let words = [&folder.join("attempts"), &folder.to_path_buf(), &outside.to_path_buf()];
    let words: Vec<String> = words.map(|path| format!("{:?}", path.display().to_string())).into();
    format!("[track.attempts]\ncommand = [{}]\ninterval = \"1m\"\ntimeout = \"30s\"\n", words.join(", "))
}

#[test]
fn an_agent_keeps_the_rights_it_works_with_and_its_commands_have_no_more() -> Result<()> {
    let lab = web_lab()?;
    expect_confined(&lab, "lb1", 0)?;
    let status: Status = lbctl_json(&lab, &["status"])?;
    ensure!(status.confinement.confined && status.confinement.files == "all", "{:?}", status.confinement);
    ensure!(status.confinement.user == "root" && !status.confinement.inherited, "{:?}", status.confinement);
    let said = lbctl(&lab, &["status"])?;
    ensure!(
        said.contains("runs as root with bpf, net_admin") && said.contains("writes only where"),
        "{said}"
    );

    let folder = paths::host_dir("lb1").join("attempts");
    let outside = paths::host_dir("web1").join("outside");
    make_attempts(&folder, &outside)?;
    restart_with(&lab, "lb1", &attempting(&folder, &outside))?;
    nothing_was_done(&folder, &outside)?;

    // Where it may write is for the operator to say, and none of it hinders who wants it not.
    let more = format!("[agent]\nwritable = {:?}\n", outside.display().to_string());
    std::fs::remove_file(folder.join("tried"))?;
    restart_with(&lab, "lb1", &more)?;
    poll::until("it was tried again", PATIENCE, || Ok(std::fs::read_to_string(folder.join("tried"))?))?;
    let did = std::fs::read_to_string(folder.join("did"))?;
    ensure!(did.contains("/new") && did.contains("mkdir") && did.contains("mv "), "{did}");
    ensure!(!did.contains("core_pattern") && !did.contains("unshare"), "{did}");
    // Without the attempts: they would go well on this very machine.
    let attempts = attempting(&folder, &outside);
    let text = lab.agent_config("lb1")?;
    ensure!(text.contains(&attempts), "the attempts are not in the file");
    let text = text.replace(&attempts, "").replace("[agent]\n", "[agent]\nconfine = false\n");
    lab.write_agent_config("lb1", &text)?;
    let said = lbctl(&lab, &["apply"])?;
    ensure!(said.contains("agent: ") && said.contains("restart"), "{said}");
    restart_with(&lab, "lb1", "")?;
    let said = lbctl(&lab, &["status"])?;
    ensure!(said.contains("runs as root, with all rights it was started with"), "{said}");
    lab.down()
}

#[test]
fn an_agent_of_another_user_does_all_that_one_of_root_does() -> Result<()> {
    let lab = web_lab()?;
    let folder = paths::host_dir("lb1");
    let pins = folder.join("pins");
    let user = nix::unistd::User::from_name(USER)?.context("no such user")?;
    // An agent of root's would have the folder of the sockets for itself.
    for node in ["lb1", "lb2"] {
        stop_and_detach(&lab, node)?;
    }
    let text = lab.agent_config("lb1")?;
    let own_pins = text.lines().find(|line| line.starts_with("pin_dir = ")).context("pins")?;
    let text = text.replace(own_pins, &format!("pin_dir = {:?}", pins.display().to_string()));
    lab.write_agent_config("lb1", &format!("{text}\n[agent]\nuser = \"{USER}\"\n"))?;
    // The file has to be the user's for it to be changed, and the key for it to be read; all else the agent sees to.
    let key = text.lines().find_map(|line| line.strip_prefix("key = ")).context("a key of TLS")?;
    let key = Path::new(key.trim_matches('"'));
    for path in [&folder, &lab.agent_config_path("lb1"), key] {
        nix::unistd::chown(path, Some(user.uid), Some(user.gid))?;
    }
    lab.start_agent("lb1")?;
    expect_confined(&lab, "lb1", user.uid.as_raw())?;
    let status: Status = lbctl_json(&lab, &["status"])?;
    ensure!(status.confinement.user == USER, "{:?}", status.confinement);

    for web in ["web1", "web2"] {
        wait_for_health(&lab, "lb1", web, BackendHealth::Up)?;
    }
    let mut kept = keep_open(&lab)?;
    lbctl(&lab, &["backend", "drain", "web", "web1"])?;
    ensure!(lab.agent_config("lb1")?.contains("drain"), "the file was not changed");
    lbctl(&lab, &["backend", "ready", "web", "web1"])?;
    // A restart goes on with the pins that the user made, and an upgrade has the rights of the agent before.
    lab.kill_agent("lb1", Signal::SIGTERM)?;
    ask_all(&lab, &mut kept)?;
    lab.start_agent("lb1")?;
    ask_all(&lab, &mut kept)?;
    let before = lab.process_id("lb1", "agent")?;
    let download = Download::begin(&lab, vip_a()[0], "/files/zeros", "20M")?;
    let said = lbctl(&lab, &["-o", "json", "upgrade"])?;
    let pid = serde_json::from_str::<serde_json::Value>(&said)?["pid"].as_i64().context("its number")?;
    let _gone = lab.follow_upgrade("lb1", i32::try_from(pid)?)?;
    poll::until("the new agent answers", PATIENCE, || {
        let status: Status = lbctl_json(&lab, &["status"])?;
        ensure!(i64::from(status.pid) == pid && status.confinement.inherited, "{:?}", status.confinement);
        Ok(())
    })?;
    ensure!(lab.process_id("lb1", "agent")? != before, "the lab follows the new one");
    expect_confined(&lab, "lb1", user.uid.as_raw())?;
    drop(download);
    ask_all(&lab, &mut kept)?;
    client_shell(&lab, &format!("curl -sSf --max-time 5 http://{}/healthz", vip_a()[0]))?;
    client_shell(&lab, &format!("curl -sSkf --max-time 5 -o /dev/null https://{}/", vip_a()[0]))?;
    lbctl(&lab, &["explain", "--from", "10.90.0.10:4711", "--to", "10.80.0.100:80"])?;

    stop_and_detach(&lab, "lb1")?;
    ensure!(!pins.exists(), "pins are left: {:?}", std::fs::read_dir(&pins)?.collect::<Vec<_>>());
    lab.down()
}
