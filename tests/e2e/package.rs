//! The package on two machines with systemd, set up as `docs/getting-started.md` says: two containers in the places of lb1 and lb2.

mod container;
mod rights;

use crate::client::{KeptConnection, PATIENCE, ask_all, client_shell, shell, stop_and_detach, vip_a};
use anyhow::{Context as _, Result, ensure};
use container::Container;
use lbctl_tests::lab::{Lab, Options, addresses, poll};
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

/// Names the package.
const VARIABLE: &str = "LBCTL_PACKAGE";
const GUIDE: &str = include_str!("../../docs/getting-started.md");
const FILE: &str = "/etc/lbctl/lbctl.toml";

/// The guide with the lab's addresses.
fn guide() -> String {
    GUIDE.replace("192.0.2.", "10.80.0.")
}

/// Its blocks of a language, in their order.
fn blocks(language: &str) -> Vec<String> {
    let guide = guide();
    let parts = guide.split("```").skip(1).step_by(2);
    let of = parts.filter_map(|part| part.split_once('\n')).filter(|(name, _)| *name == language);
    of.map(|(_, text)| text.to_owned()).collect()
}

/// The configuration of a node, as the guide has it.
fn configuration(node: &str) -> Result<String> {
    let [whole, other] = &blocks("toml")[..] else { anyhow::bail!("the guide has two blocks of TOML") };
    if node == "lb1" {
        return Ok(whole.clone());
    }
    // The four lines that differ stand in the place of the first with the same key.
    let mut text = whole.clone();
    for line in other.lines() {
        let (key, _) = line.split_once(" = ").context("a key")?;
        let old =
            text.lines().find(|old| old.starts_with(&format!("{key} = "))).context("no such key")?.to_owned();
        text = text.replacen(&old, line, 1);
    }
    Ok(text)
}

/// Commands of the guide's block with that word in it.
fn commands(word: &str) -> Result<Vec<String>> {
    let all = blocks("");
    let block =
        all.iter().find(|block| block.contains(word)).with_context(|| format!("no command with {word}"))?;
    Ok(block.lines().map(|line| line.split(" #").next().unwrap_or(line).trim().to_owned()).collect())
}

fn property(container: &Container, name: &str) -> Result<String> {
    let said = container.run(&format!("systemctl show --value --property={name} lbctl"))?;
    Ok(said.trim().to_owned())
}

/// Boots both and sets them up by the guide, to the letter but for where the package is.
fn set_up(lab: &Lab) -> Result<Vec<Container>> {
    let package = PathBuf::from(
        std::env::var_os(VARIABLE).with_context(|| format!("{VARIABLE} has to name a package"))?,
    );
    let mut containers = Vec::new();
    for node in ["lb1", "lb2"] {
        let container = Container::boot(lab, node, &package)?;
        // Without its recommended packages there is nothing to fetch.
        container.run("dpkg --install /lbctl.deb")?;
        ensure!(property(&container, "ActiveState")? == "inactive", "nothing runs without a configuration");
        ensure!(container.run("lbctl --version")?.contains(env!("CARGO_PKG_VERSION")), "the program");
        containers.push(container);
    }
    for command in commands("openssl")? {
        containers[0].run(&command)?;
    }
    let key = containers[0].read("/etc/lbctl/sync.key")?;
    containers[1].write("/etc/lbctl/sync.key", &key, "root:root", "0600")?;
    for (container, node) in containers.iter().zip(["lb1", "lb2"]) {
        container.write(FILE, &configuration(node)?, "root:root", "0644")?;
        for command in commands("enable --now")? {
            container.run(&format!("{command} || {{ journalctl --unit=lbctl --no-pager; false; }}"))?;
        }
        ensure!(property(container, "ActiveState")? == "active", "{}", container.run("journalctl -u lbctl")?);
    }
    Ok(containers)
}

/// What the guide says there is to see.
fn look(lab: &Lab, containers: &[Container]) -> Result<()> {
    for command in commands("lbctl vrrp status")? {
        for container in containers {
            container.run(&command)?;
        }
    }
    for (container, vip) in containers.iter().zip(["A", "B"]) {
        poll::until("it has its VIP, its peer and its backends", PATIENCE, || {
            let routers = container.run("lbctl vrrp status")?;
            let is_it = |line: &&str| line.starts_with(vip) && line.contains("active");
            ensure!(routers.lines().any(|line| is_it(&line)), "{routers}");
            let sync = container.run("lbctl sync")?;
            ensure!(sync.contains("in sync"), "{sync}");
            let backends = container.run("lbctl backend list")?;
            ensure!(backends.matches(" up ").count() == 2, "{backends}");
            Ok(())
        })?;
    }
    for command in commands("curl -i")? {
        let answer = client_shell(lab, &command.replace("curl", "curl -sS --max-time 5"))?;
        ensure!(answer.starts_with("HTTP/1.1 200"), "{command}: {answer}");
    }
    Ok(())
}

#[test]
fn the_guide_makes_two_machines_a_pair_and_the_package_comes_and_goes_without_a_trace() -> Result<()> {
    let lab = Lab::up(Options { database: false, ..Options::default() })?;
    // The lab's own agents make room.
    for node in ["lb1", "lb2"] {
        stop_and_detach(&lab, node)?;
    }
    let containers = set_up(&lab)?;
    look(&lab, &containers)?;
    let [lb1, lb2] = &containers[..] else { unreachable!("two were booted") };
    runs_as_its_user(lb1)?;

    let [vip, _] = vip_a();
    let mut kept = lab
        .host("client")
        .inside(|| (0..2).map(|_| KeptConnection::open(vip)).collect::<Result<Vec<_>>>())??;
    ask_all(&lab, &mut kept)?;
    a_newer_package_takes_over(&lab, lb1, vip)?;
    ask_all(&lab, &mut kept).context("after the upgrade")?;
    a_reload_changes_what_the_file_says(lb1)?;
    ask_all(&lab, &mut kept).context("after the reload")?;
    rights::a_file_cannot_have_the_agent_started_with_more(lb1)?;
    rights::what_its_user_puts_in_place_of_files_is_not_followed(lb1)?;
    rights::files_that_are_not_its_own_are_not_quoted(lb1)?;
    ask_all(&lab, &mut kept).context("after files that were refused")?;
    an_upgrade_to_what_does_not_work_changes_nothing(lb1)?;
    ask_all(&lab, &mut kept).with_context(|| {
        let journal = || lb1.run("journalctl --unit=lbctl --no-pager | tail -40; lbctl vrrp status; lbctl sync; lbctl flow list");
        format!("after the upgrade that failed: {}", journal().unwrap_or_default())
    })?;
    one_that_dies_is_started_again(&lab, lb1, vip)?;
    ask_all(&lab, &mut kept).with_context(|| {
        let journal =
            || lb1.run("journalctl --unit=lbctl --no-pager | tail -40; lbctl vrrp status; lbctl sync");
        format!("after the restart: {}", journal().unwrap_or_default())
    })?;
    pull_the_plug(&lab, lb2, &mut kept)?;
    goes_without_a_trace(&lab, lb2)?;
    drop(containers);
    lab.down()
}

fn runs_as_its_user(container: &Container) -> Result<()> {
    let status = container.run("lbctl status")?;
    ensure!(
        status.contains("runs as lbctl with bpf, net_admin, net_bind_service, net_raw, perfmon"),
        "{status}"
    );
    let journal = container.run("journalctl --unit=lbctl --output=json --no-pager")?;
    let entries: Vec<serde_json::Value> =
        journal.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    // By the journal's own protocol: an entry has a priority, and the name that we gave.
    let ready =
        entries.iter().find(|entry| entry["MESSAGE"] == "ready").context("it says that it is ready")?;
    ensure!(ready["_TRANSPORT"] == "journal" && ready["SYSLOG_IDENTIFIER"] == "lbctl", "{ready}");
    ensure!(ready["F_NODE"] == "lb1" || ready["NODE"] == "lb1", "fields of their own: {ready}");
    let man = container
        .run("ls /usr/share/man/man1 /usr/share/bash-completion/completions /usr/share/doc/lbctl")?;
    for file in ["lbctl.1", "lbctl-backend", "lbctl\n", "getting-started.md", "examples"] {
        ensure!(man.contains(file), "{file} is missing: {man}");
    }
    container.run("sed 's/eth0/eth0/' /usr/share/doc/lbctl/examples/lbctl.toml > /tmp/e.toml && lbctl check /tmp/e.toml")?;
    Ok(())
}

/// dpkg unpacks the same package once more, which is an upgrade to it; the agent is another process then, and nobody notices.
fn a_newer_package_takes_over(lab: &Lab, container: &Container, vip: IpAddr) -> Result<()> {
    let before = property(container, "MainPID")?;
    let file = lab.files_dir("web1").join("asked");
    let busy = format!(
        "n=0; while [ ! -e {0} ]; do curl -sf -o /dev/null --max-time 5 http://{vip}/healthz || echo failed; n=$((n+1)); done; echo $n",
        file.display()
    );
    let asking = std::thread::scope(|scope| {
        let asking = scope.spawn(|| client_shell(lab, &busy));
        let upgraded = container.run("dpkg --install /lbctl.deb").and_then(|_| {
            poll::until("another process is the main one", PATIENCE, || {
                let now = property(container, "MainPID")?;
                let journal = || container.run("journalctl --unit=lbctl --no-pager | tail -30");
                ensure!(now != before && now != "0", "still {now}: {}", journal()?);
                container.run("lbctl status")
            })
        });
        std::fs::write(&file, "")?;
        let asked = asking.join().map_err(|_| anyhow::anyhow!("the client is gone"))??;
        upgraded.map(|_| asked)
    })?;
    let asked = asking.trim();
    ensure!(!asked.contains("failed") && asked.parse::<u32>().is_ok_and(|times| times > 20), "{asked}");
    ensure!(
        property(container, "ActiveState")? == "active" && property(container, "NRestarts")? == "0",
        "it went on"
    );
    Ok(())
}

/// A reload fails, and the agent goes on.
fn expect_reload_refused(container: &Container, what: &str) -> Result<()> {
    let refused = container.run("systemctl reload lbctl && echo went well || systemctl is-active lbctl")?;
    ensure!(refused.trim() == "active", "{what} changes nothing: {refused}");
    Ok(())
}

fn a_reload_changes_what_the_file_says(container: &Container) -> Result<()> {
    let text = container.read(FILE)?;
    let more = text.replacen("name = \"web1\"\n", "name = \"web1\"\nweight = 3\n", 1);
    container.write(FILE, &more, "lbctl:lbctl", "0644")?;
    container.run("systemctl reload lbctl")?;
    let list = container.run("lbctl -o json backend list web")?;
    ensure!(list.contains("\"weight\": 3"), "{list}");
    container.write(
        FILE,
        &more.replace("weight = 3", "weight = 3000 # between us"),
        "lbctl:lbctl",
        "0644",
    )?;
    expect_reload_refused(container, "a file with an error")?;
    // Lines of the file are for people, and not for a journal that is kept.
    let journal = container.run("journalctl --unit=lbctl --no-pager")?;
    ensure!(journal.contains("weight: 3000 is"), "{journal}");
    ensure!(!journal.contains("between us"), "{journal}");
    container.write(FILE, &text, "lbctl:lbctl", "0644")?;
    container.run("systemctl reload lbctl")?;
    // What a command changes is in the file.
    container.run("lbctl backend set web web2 --weight 2")?;
    ensure!(container.read(FILE)?.contains("weight = 2"), "{}", container.read(FILE)?);
    Ok(())
}

/// The program on the disk says all that an agent says at first, and then hangs. Meanwhile somebody else has the lock: the agent has it again, and
/// its socket, when that one lets go.
fn an_upgrade_to_what_does_not_work_changes_nothing(container: &Container) -> Result<()> {
    const STUB: &str = r#"#!/bin/bash
[ "$1" = agent ] || exec /usr/bin/lbctl.right "$@"
n=${LBCTL_HAND_OVER#start }
(printf "started $BASHPID" >&$n; printf checked >&$n; sleep 2) &
"#;
    let before = property(container, "MainPID")?;
    let lock = "/run/lbctl/lb1.lock";
    container.run("cp -p /usr/bin/lbctl /usr/bin/lbctl.right")?;
    container.write("/usr/bin/lbctl.stub", STUB, "root:root", "0755")?;
    container.run("mv /usr/bin/lbctl.stub /usr/bin/lbctl")?;
    // It waits for the lock, which the agent lets go of, and keeps it for longer than the attempt takes.
    container.run(&format!("setsid flock {lock} sleep 6 > /dev/null 2>&1 < /dev/null &"))?;
    let said = container.run("lbctl.right upgrade 2>&1 && echo went well || true")?;
    container.run("mv /usr/bin/lbctl.right /usr/bin/lbctl")?;
    ensure!(said.contains(&format!("no upgrade: the agent is the old one still (pid {before})")), "{said}");
    let journal = container.run("journalctl --unit=lbctl --no-pager")?;
    ensure!(journal.contains("no upgrade: the new agent did not become ready"), "{said} {journal}");
    ensure!(journal.contains("no command can reach this agent: another agent of node lb1"), "{journal}");
    container.run("lbctl status")?;
    ensure!(property(container, "MainPID")? == before, "another process");
    ensure!(property(container, "ActiveState")? == "active", "it is not active");
    container.run("lbctl backend drain web web1 && lbctl backend ready web web1")?;
    Ok(())
}

/// systemd starts one that was killed, within the lease; also while the one before it still serves what is open.
fn one_that_dies_is_started_again(lab: &Lab, container: &Container, vip: IpAddr) -> Result<()> {
    let text = container.read(FILE)?;
    let proxied = "[service.proxied]\nvips = \"A\"\nport = 8080\nmode = \"tcp\"\n\
                   [[service.proxied.backend]]\nname = \"web1\"\naddress = \"10.80.0.21:80\"\n";
    container.write(FILE, &format!("{text}\n{proxied}"), "lbctl:lbctl", "0644")?;
    container.run("systemctl reload lbctl")?;
    let open = || KeptConnection::open_at(SocketAddr::new(vip, 8080));
    let mut kept = poll::until("it is proxied", PATIENCE, || lab.host("client").inside(open)?)?;
    let old = property(container, "MainPID")?;
    container.run("lbctl upgrade")?;
    poll::until("another process is the main one", PATIENCE, || {
        let now = property(container, "MainPID")?;
        ensure!(now != old && now != "0", "still {now}");
        container.run("lbctl status")
    })?;
    lab.host("client").inside(|| kept.ask(false))??;
    container.run(&format!("kill -0 {old}"))?;
    container.run("systemctl kill --kill-who=main --signal=KILL lbctl")?;
    poll::until("systemd has started it again", PATIENCE, || {
        ensure!(property(container, "NRestarts")? == "1", "not yet");
        ensure!(property(container, "ActiveState")? == "active", "not yet");
        container.run("lbctl status")
    })?;
    Ok(())
}

fn pull_the_plug(lab: &Lab, other: &Container, kept: &mut [KeptConnection]) -> Result<()> {
    shell(lab, "router", "ip link set p-lb1 down")?;
    poll::until("the other one has VIP A", PATIENCE, || {
        let routers = other.run("lbctl vrrp status")?;
        let is_it = |line: &&str| line.starts_with('A') && line.contains("active");
        ensure!(routers.lines().any(|line| is_it(&line)), "{routers}");
        Ok(())
    })?;
    ask_all(lab, kept).with_context(|| {
        let told = other.run("lbctl sync; lbctl flow list; lbctl events; lbctl vrrp status");
        format!("after the plug was pulled: {}", told.unwrap_or_default())
    })
}

fn goes_without_a_trace(lab: &Lab, container: &Container) -> Result<()> {
    ensure!(shell(lab, "lb2", "ip -d link show eth0")?.contains("prog/xdp"), "the program is there before");
    container.run("dpkg --remove lbctl")?;
    let link = shell(lab, "lb2", "ip -d link show eth0; ip addr show eth0")?;
    ensure!(!link.contains("xdp"), "the program is still there: {link}");
    for vip in [addresses::VIP_A, addresses::VIP_B] {
        let [ipv4, _] = addresses::vip(vip);
        ensure!(!link.contains(&format!("{ipv4}/")), "a VIP is still there: {link}");
    }
    ensure!(container.read(FILE)?.contains("web2"), "the configuration stays until it is purged");
    container.run("dpkg --purge lbctl")?;
    let left = container.run("find / /run -xdev -path /proc -prune -o -name '*lbctl*' -print | grep -v -e /lbctl.deb -e /var/log -e /sys || true")?;
    ensure!(left.trim().is_empty(), "left behind:\n{left}");
    Ok(())
}
