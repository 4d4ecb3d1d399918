//! The firewall as operators use it: rules by command and by file, flows that a new rule cuts, limits, and a guard for
//! those who may lock themselves out.

use crate::client::{
    KeptConnection, PATIENCE, Said, ask, counters, lbctl, lbctl_json, stay_on_one_cpu, try_lbctl, vip_a,
    web_lab,
};
use anyhow::{Context as _, Result, ensure};
use lb_ebpf::abi::MAX_DROPPED_SOURCES;
use lb_user::api::{DroppedList, FirewallAnswer, FirewallView, RuleView, Status};
use lbctl_tests::lab::{Lab, poll};
use nix::sys::signal::Signal;
use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

/// Longer than any connection in the lab takes, shorter than the client's second SYN after the first.
const SOON: Duration = Duration::from_millis(700);
const CLIENT: &str = "10.90.0.10,fd90::10";

/// Whether the client gets a connection to an address.
fn connects(lab: &Lab, to: SocketAddr) -> Result<bool> {
    lab.host("client").inside(|| TcpStream::connect_timeout(&to, SOON).is_ok())
}

/// The client is let in at both addresses of the VIP, or at neither.
fn expect_open(lab: &Lab, wanted: bool) -> Result<()> {
    for vip in vip_a() {
        let open = connects(lab, SocketAddr::new(vip, 80))?;
        ensure!(open == wanted, "{vip} is {}", if open { "open" } else { "closed" });
    }
    Ok(())
}

fn rule(lab: &Lab, name: &str) -> Result<RuleView> {
    let firewall: FirewallView = lbctl_json(lab, &["firewall", "rule", "list"])?;
    let found = firewall.rules.into_iter().find(|rule| rule.name.as_str() == name);
    found.with_context(|| format!("there is no rule {name}"))
}

/// Puts something at the end of lb1's file and has it applied.
fn apply_with(lab: &Lab, text: &str, arguments: &[&str]) -> Result<Said> {
    lab.write_agent_config("lb1", text)?;
    try_lbctl(lab, &[&["apply"], arguments].concat())
}

fn open_connections(lab: &Lab, count: usize) -> Result<Vec<KeptConnection>> {
    lab.host("client").inside(|| {
        stay_on_one_cpu(0)?;
        (0..count).map(|_| KeptConnection::open(vip_a()[0])).collect()
    })?
}

#[test]
fn a_deny_by_command_cuts_open_connections_and_its_end_lets_new_ones_in() -> Result<()> {
    let lab = web_lab()?;
    let before = lab.agent_config("lb1")?;
    let mut open: Vec<KeptConnection> = lab
        .host("client")
        .inside(|| vip_a().into_iter().map(KeptConnection::open).collect::<Result<_>>())??;
    let said = lbctl(&lab, &["firewall", "rule", "add", "client", "--deny", CLIENT])?;
    ensure!(said.contains("rule client added (deny 10.90.0.10/32, fd90::10/128 to all services)"), "{said}");
    for connection in &mut open {
        ensure!(connection.ask(false).is_err(), "an open connection goes on");
    }
    expect_open(&lab, false)?;
    poll::until("both connections are counted as cut", PATIENCE, || {
        let cut = counters(&lab, "lb1")?.get("flow_cut").copied().unwrap_or(0);
        ensure!(cut == 2, "{cut}");
        Ok(())
    })?;
    let denied = rule(&lab, "client")?.denied;
    ensure!(denied >= 4, "the rule denied {denied} packets: two connections' and two SYNs at least");
    whose_packets_were_dropped_is_told(&lab)?;
    let answer: FirewallAnswer =
        lbctl_json(&lab, &["firewall", "test", "--from", "10.90.0.10", "--to", "10.80.0.100:80"])?;
    ensure!(answer.verdict == "deny" && answer.target == "service web", "{answer:?}");
    let other = lbctl(&lab, &["firewall", "test", "--from", "fd90::11", "--to", "[fd80::100]:80"])?;
    ensure!(other == "service web: allow, by default: no rule matches\n", "{other}");

    // An exception before it, then the end of both: nothing of them stays in the file.
    lbctl(
        &lab,
        &[
            "firewall",
            "rule",
            "add",
            "friend",
            "--allow",
            "10.90.0.0/24",
            "--service",
            "web",
            "--before",
            "client",
        ],
    )?;
    ensure!(connects(&lab, SocketAddr::new(vip_a()[0], 80))?, "the exception does not come first");
    ensure!(!connects(&lab, SocketAddr::new(vip_a()[1], 80))?, "the exception is IPv4 only");
    let list = lbctl(&lab, &["firewall", "rule", "list"])?;
    let position = |name: &str| list.lines().position(|line| line.starts_with(name));
    ensure!(position("friend") < position("client"), "{list}");
    lbctl(&lab, &["firewall", "rule", "del", "friend"])?;
    lbctl(&lab, &["firewall", "rule", "del", "client"])?;
    expect_open(&lab, true)?;
    let after = lab.agent_config("lb1")?;
    // But for a blank line at its end, which went with the rule that stood there.
    ensure!(after.trim_end() == before.trim_end(), "the file is not what it was: {after:?}, not {before:?}");

    let missing = try_lbctl(&lab, &["firewall", "rule", "del", "client"])?;
    ensure!(missing.code == Some(4) && missing.err.contains("no rule \"client\""), "{missing:?}");
    let wrong = try_lbctl(&lab, &["firewall", "rule", "add", "x", "--deny", "10.90.0.10/24"])?;
    ensure!(wrong.code == Some(2) && wrong.err.contains("did you mean 10.90.0.0/24?"), "{wrong:?}");
    let nowhere = try_lbctl(&lab, &["firewall", "rule", "add", "x", "--deny", "any", "--service", "shop"])?;
    ensure!(nowhere.code == Some(1) && nowhere.err.contains("there is no service"), "{nowhere:?}");
    lab.down()
}

/// Few are, so each is counted: as many as the counter of the reason says.
fn whose_packets_were_dropped_is_told(lab: &Lab) -> Result<()> {
    poll::until("all that was denied is the client's", PATIENCE, || {
        let list: DroppedList = lbctl_json(lab, &["firewall", "dropped"])?;
        let mut sum = 0;
        for source in &list.sources {
            let text = source.source_text();
            ensure!(["10.90.0.10", "fd90::/64"].contains(&text.as_str()), "{list:?}");
            ensure!(
                source.reasons.iter().map(|reason| reason.packets).sum::<u64>() == source.packets,
                "{list:?}"
            );
            sum += source
                .reasons
                .iter()
                .filter(|one| one.outcome == "denied")
                .map(|one| one.packets)
                .sum::<u64>();
        }
        ensure!(list.sources.len() == 2 && list.known == 2, "{list:?}");
        let denied = counters(lab, "lb1")?.get("denied").copied().unwrap_or(0);
        ensure!(sum == denied, "{sum} of {denied}: {list:?}");
        Ok(())
    })?;
    let status: Status = lbctl_json(lab, &["status"])?;
    let table =
        status.tables.iter().find(|table| table.name == "dropped sources").context("no such table")?;
    ensure!(table.capacity == u64::from(MAX_DROPPED_SOURCES), "{table:?}");
    let said = lbctl(lab, &["firewall", "dropped", "--limit", "1"])?;
    ensure!(said.contains("denied") && said.contains("… and 1 more"), "{said}");
    Ok(())
}

#[test]
fn a_file_of_a_hundred_thousand_prefixes_is_swapped_in_whole_and_outlives_the_agent() -> Result<()> {
    let lab = web_lab()?;
    let list = lab.agent_config_path("lb1").with_file_name("lb1-deny.txt");
    let mut text = String::from("# bad people\n");
    for number in 0u32..100_000 {
        let [_, a, b, c] = number.to_be_bytes();
        // Nothing of the lab's is in 30.0.0.0/8 or in 2001:db8::/32.
        let line = if number % 10 == 0 {
            format!("2001:db8:{a:x}:{b:x}{c:02x}::/64")
        } else {
            format!("30.{a}.{b}.{c}")
        };
        writeln!(text, "{line}")?;
    }
    std::fs::write(&list, &text)?;
    let config = lab.agent_config("lb1")?;
    let rules = format!("\n[[firewall.rule]]\nname = \"bad\"\ndeny = {{ file = \"{}\" }}\n", list.display());
    let said = apply_with(&lab, &format!("{config}{rules}"), &[])?;
    ensure!(said.code == Some(0) && said.out.contains("rule bad added (deny file "), "{said:?}");
    let firewall: FirewallView = lbctl_json(&lab, &["firewall", "rule", "list"])?;
    ensure!(firewall.prefixes == 100_000, "{} prefixes are in force", firewall.prefixes);
    expect_open(&lab, true)?;

    // One rule more among them is in force at once.
    let begun = Instant::now();
    lbctl(&lab, &["firewall", "rule", "add", "client", "--deny", CLIENT])?;
    expect_open(&lab, false)?;
    let took = begun.elapsed();
    ensure!(took < Duration::from_secs(5), "a rule among 100,000 prefixes took {took:?}");
    lbctl(&lab, &["firewall", "rule", "del", "client"])?;
    expect_open(&lab, true)?;

    // The file grows; only the file.
    std::fs::write(&list, format!("{text}10.90.0.0/24\nfd90::/64\n"))?;
    let said = lbctl(&lab, &["apply"])?;
    ensure!(said.contains("2 prefixes added, 0 removed"), "{said}");
    expect_open(&lab, false)?;

    // A change of something else neither reads the file again nor fails for its sake.
    std::fs::remove_file(&list)?;
    lbctl(&lab, &["backend", "drain", "web", "web1"])?;
    lbctl(&lab, &["backend", "ready", "web", "web1"])?;
    expect_open(&lab, false)?;
    let gone = try_lbctl(&lab, &["apply"])?;
    ensure!(gone.code == Some(1) && gone.err.contains("lb1-deny.txt: No such file"), "{gone:?}");

    // A file with a fault changes nothing.
    std::fs::write(&list, format!("{text}10.90.0\n"))?;
    let refused = try_lbctl(&lab, &["apply"])?;
    ensure!(
        refused.code == Some(1) && refused.err.contains("lb1-deny.txt:100002: \"10.90.0\""),
        "{refused:?}"
    );
    expect_open(&lab, false)?;
    let path = lab.agent_config_path("lb1").display().to_string();
    let checked = try_lbctl(&lab, &["check", &path])?;
    ensure!(checked.code == Some(1) && checked.err.contains("lb1-deny.txt:100002"), "{checked:?}");

    // Rules stay in force without an agent, and the next one finds them.
    std::fs::write(&list, format!("{text}10.90.0.0/24\nfd90::/64\n"))?;
    let denied = rule(&lab, "bad")?.denied;
    lab.kill_agent("lb1", Signal::SIGKILL)?;
    expect_open(&lab, false)?;
    lab.start_agent("lb1")?;
    expect_open(&lab, false)?;
    ensure!(rule(&lab, "bad")?.denied > denied, "the hits begin anew");
    std::fs::remove_file(&list)?;
    lab.down()
}

#[test]
fn limits_hold_for_each_source_and_forgotten_flows_make_room() -> Result<()> {
    let lab = web_lab()?;
    let config = lab.agent_config("lb1")?;
    let quick = config.replace("[dataplane]\n", "[dataplane]\ntimeouts = { established = \"2s\" }\n");
    ensure!(quick != config, "another file:\n{config}");
    ensure!(apply_with(&lab, &quick, &[])?.code == Some(0));
    lbctl(&lab, &["firewall", "rule", "add", "few", "--limit", "any", "--active", "3", "--service", "web"])?;
    let open = open_connections(&lab, 3)?;
    ensure!(!connects(&lab, SocketAddr::new(vip_a()[0], 80))?, "a fourth connection");
    ensure!(connects(&lab, SocketAddr::new(vip_a()[1], 80))?, "the other family is another source");
    ensure!(rule(&lab, "few")?.over_active > 0, "not counted");
    // They say nothing for so long that the sweep forgets them.
    poll::until("forgotten flows are taken off their source's account", PATIENCE, || {
        ensure!(connects(&lab, SocketAddr::new(vip_a()[0], 80))?, "still full");
        Ok(())
    })?;
    drop(open);
    lbctl(&lab, &["firewall", "rule", "del", "few"])?;

    // More than the burst within a second, less than it in the long run.
    lbctl(&lab, &["firewall", "rule", "add", "slow", "--limit", "any", "--rate", "2", "--burst", "5"])?;
    let answered = lab.host("client").inside(|| (0..20).filter(|_| quick_ask(vip_a()[0])).count())?;
    ensure!((5..12).contains(&answered), "{answered} of 20 were let in");
    let slow = rule(&lab, "slow")?;
    ensure!(slow.allowed >= answered as u64 && slow.over_rate > 0, "{slow:?}");
    lab.down()
}

/// Whether a connection comes about before its client would send a second SYN.
fn quick_ask(vip: IpAddr) -> bool {
    TcpStream::connect_timeout(&SocketAddr::new(vip, 80), Duration::from_millis(100)).is_ok()
}

#[test]
fn a_host_that_closes_itself_opens_again_unless_somebody_confirms() -> Result<()> {
    let lab = web_lab()?;
    // What an operator's SSH would be.
    let listeners: Vec<TcpListener> = lab.host("lb1").inside(|| {
        ["10.80.0.2:0", "[fd80::2]:0"].into_iter().map(TcpListener::bind).collect::<std::io::Result<_>>()
    })??;
    let reachable = |wanted: bool| -> Result<()> {
        for listener in &listeners {
            let address = listener.local_addr()?;
            ensure!(connects(&lab, address)? == wanted, "{address}: not {wanted}");
        }
        Ok(())
    };
    reachable(true)?;
    let config = lab.agent_config("lb1")?;
    let closed = lab.agent_config_path("lb1").with_file_name("closed.toml");
    std::fs::write(&closed, format!("{config}\n[firewall]\nhost_default = \"deny\"\n"))?;
    let path = closed.display().to_string();
    let said = lbctl(&lab, &["apply", &path, "--confirm-within", "3s"])?;
    ensure!(said.contains("taken back in 3 s unless `lbctl confirm` comes"), "{said}");
    reachable(false)?;
    let second = try_lbctl(&lab, &["firewall", "rule", "add", "x", "--deny", "any"])?;
    ensure!(second.code == Some(1) && second.err.contains("lbctl confirm"), "{second:?}");
    ask_on_client(&lab)?;
    poll::until("the unconfirmed change is taken back", PATIENCE, || reachable(true))?;
    ensure!(lab.agent_config("lb1")? == config, "the file has the change");
    let events = lbctl(&lab, &["events"])?;
    ensure!(events.contains("was not confirmed in time and is taken back"), "{events}");
    let late = try_lbctl(&lab, &["confirm"])?;
    ensure!(late.code == Some(1) && late.err.contains("no change waits"), "{late:?}");

    // The agent's own file would bring it back with the next start.
    let own = try_lbctl(&lab, &["apply", "--confirm-within", "3s"])?;
    ensure!(own.code == Some(1) && own.err.contains("apply that one"), "{own:?}");

    // Who edits the file meanwhile is not overwritten.
    lbctl(&lab, &["firewall", "rule", "add", "nobody", "--deny", "192.0.2.1", "--confirm-within", "30s"])?;
    lab.write_agent_config("lb1", &format!("{config}# a note\n"))?;
    let conflict = try_lbctl(&lab, &["confirm"])?;
    ensure!(conflict.code == Some(1) && conflict.err.contains("was changed meanwhile"), "{conflict:?}");
    ensure!(lab.agent_config("lb1")?.ends_with("# a note\n"), "the note is gone");
    lbctl(&lab, &["apply"])?;

    lbctl(&lab, &["apply", &path, "--confirm-within", "30s"])?;
    reachable(false)?;
    lbctl(&lab, &["confirm"])?;
    ensure!(lab.agent_config("lb1")?.ends_with("host_default = \"deny\"\n"), "confirmed, and not saved");
    let port = listeners[0].local_addr()?.port().to_string();
    lbctl(&lab, &["firewall", "rule", "add", "ssh", "--allow", CLIENT, "--host-port", &port])?;
    ensure!(connects(&lab, listeners[0].local_addr()?)?, "the rule lets nobody in");
    ensure!(!connects(&lab, listeners[1].local_addr()?)?, "the rule is about another port");
    // Health checks, the control socket and services do not notice a closed host.
    ask_on_client(&lab)?;
    std::fs::remove_file(&closed)?;
    lab.down()
}

#[test]
fn what_an_unconfirmed_change_brought_from_a_file_goes_with_it_also_when_the_agent_ends() -> Result<()> {
    let lab = web_lab()?;
    let list = lab.agent_config_path("lb1").with_file_name("lb1-short.txt");
    std::fs::write(&list, "192.0.2.0/24\n")?;
    let config = lab.agent_config("lb1")?;
    let rule = format!("\n[[firewall.rule]]\nname = \"list\"\ndeny = {{ file = \"{}\" }}\n", list.display());
    let said = apply_with(&lab, &format!("{config}{rule}"), &[])?;
    ensure!(said.code == Some(0), "{said:?}");
    // The file is worse than it looked; so is the one rule that the other configuration adds.
    std::fs::write(&list, "10.90.0.0/24\nfd90::/64\n")?;
    let other = lab.agent_config_path("lb1").with_file_name("other.toml");
    std::fs::write(&other, format!("{config}{rule}# more\n"))?;
    let path = other.display().to_string();
    lbctl(&lab, &["apply", &path, "--confirm-within", "2s"])?;
    expect_open(&lab, false)?;
    poll::until("the old prefixes are in force again", PATIENCE, || expect_open(&lab, true))?;

    lbctl(&lab, &["apply", &path, "--confirm-within", "10m"])?;
    expect_open(&lab, false)?;
    std::fs::write(&list, "192.0.2.0/24\n")?;
    lab.kill_agent("lb1", Signal::SIGTERM)?;
    expect_open(&lab, true)?;
    lab.start_agent("lb1")?;
    expect_open(&lab, true)?;
    ensure!(!lab.agent_config("lb1")?.contains("# more"), "the file has the unconfirmed change");
    for file in [&list, &other] {
        std::fs::remove_file(file)?;
    }
    lab.down()
}

fn ask_on_client(lab: &Lab) -> Result<()> {
    lab.host("client").inside(|| vip_a().into_iter().try_for_each(|vip| ask(vip).map(drop)))?
}
