//! What the firewall costs, and how fast it drops, next to nftables and an empty program.
//!
//! Drops are measured on live frames: the kernel makes real frames of a packet and has them come in by a veth, where
//! our program, an empty one, or behind a program that passes everything, nftables in the host's stack drops them. All
//! pay the same for making the frames.

use super::chain::Chain;
use super::report::{Row, median};
use super::xdp::{Embryonic, Environment, ROUNDS, TCP, new_flow, packet, v4, wishes};
use crate::lab::interrupt;
use anyhow::{Context, Result, bail, ensure};
use ipnet::IpNet;
use lb_ebpf::abi::{Direction, FlowKey};
use lb_user::core::plan::firewall::{FirewallRule, ReadyRule, RuleAction, RuleTarget, Ruleset, Sources};
use lb_user::core::plan::steps;
use lb_user::io::dataplane::{Dataplane, TrivialProgram};
use lb_user::model::{RuleName, SchedulerKind};
use std::fmt::Write as _;
use std::io::Write as _;
use std::net::{IpAddr, SocketAddr};
use std::process::{Command, Stdio};
use std::time::Instant;

/// Packets of a live run.
const LIVE: u32 = 500_000;

/// Measures all cases. Takes a thread of its own, because it enters a network namespace.
pub fn run() -> Result<Vec<Row>> {
    match std::thread::spawn(measure).join() {
        Ok(rows) => rows,
        Err(_) => bail!("the measuring thread panicked"),
    }
}

/// What a list denies.
#[derive(Clone, Copy, PartialEq)]
enum List {
    /// Single addresses: the odd ones from 10.0.0.1 on.
    Addresses(u32),
    /// Networks of two addresses: every second one from 10.0.0.2/31 on.
    Networks(u32),
}

/// All lists that are measured. The addresses of the packets that are let in lie among the denied ones.
const LISTS: [List; 4] =
    [List::Addresses(1), List::Addresses(1000), List::Addresses(100_000), List::Networks(100_000)];

impl List {
    fn name(self) -> String {
        match self {
            Self::Addresses(1) => "1 address".into(),
            Self::Addresses(count) => format!("{count} addresses"),
            Self::Networks(count) => format!("{count} networks"),
        }
    }

    fn prefixes(self) -> impl Iterator<Item = IpNet> {
        let (count, step, first, bits) = match self {
            Self::Addresses(count) => (count, 2, 1, 32),
            Self::Networks(count) => (count, 4, 2, 31),
        };
        (0..count).filter_map(move |number| {
            let [_, a, b, c] = (step * number + first).to_be_bytes();
            IpNet::new(v4(10, a, b, c), bits).ok()
        })
    }

    fn rules(self) -> Result<Ruleset> {
        let rule = FirewallRule {
            name: RuleName::new("bad")?,
            action: RuleAction::Deny,
            sources: Sources::Prefixes(Vec::new()),
            target: RuleTarget::Services,
        };
        let ready = ReadyRule { rule, prefixes: self.prefixes().collect() };
        Ok(Ruleset { rules: vec![ready], ..Ruleset::default() })
    }
}

/// One address more than that.
fn one_more(list: List) -> Result<Ruleset> {
    let mut ruleset = list.rules()?;
    let rule = ReadyRule { prefixes: [v4(31, 0, 0, 1).into()].into(), ..ruleset.rules[0].clone() };
    let rule = ReadyRule { rule: FirewallRule { name: RuleName::new("one")?, ..rule.rule }, ..rule };
    ruleset.rules.push(rule);
    Ok(ruleset)
}

fn measure() -> Result<Vec<Row>> {
    let environment = Environment::enter()?;
    let pass = TrivialProgram::pass()?;
    let vip = v4(10, 0, 0, 100);
    let key = |source: IpAddr| FlowKey::new(source.into(), [18, 103], vip.into(), 80u16.to_be_bytes(), TCP);
    let syn = |list: List| {
        let source = list.prefixes().next().map_or(vip, |prefix| prefix.addr());
        for_the_host(packet(&key(source), 0x02, 64))
    };
    let any = syn(LISTS[0]);
    let empty = (0..ROUNDS).map(|_| Ok(pass.run(&any, 1_000_000)?.duration.as_nanos() as f64));
    let empty_ns = median(empty.collect::<Result<Vec<_>>>()?);
    let mut rows = vec![Row::new("empty program", "time per packet", "ns", empty_ns)];
    rows.extend(costs(&environment, empty_ns)?);
    for list in LISTS {
        rows.push(drops(&environment, list, &syn(list))?);
    }
    rows.extend(changes(&environment)?);
    Ok(rows)
}

/// The packet as the host's own stack takes it: with a right header checksum.
fn for_the_host(mut packet: Vec<u8>) -> Vec<u8> {
    let words = packet[14..34].chunks(2).map(|word| u32::from(u16::from_be_bytes([word[0], word[1]])));
    let sum: u32 = words.sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    packet[24..26].copy_from_slice(&(!(folded as u16)).to_be_bytes());
    packet
}

/// What rules add to packets that they let in.
fn costs(environment: &Environment, empty_ns: f64) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    let off = Ruleset::default();
    let flow = |rules: &Ruleset| Chain::of(1024, Direction::Forward).time(environment, rules, empty_ns);
    let syn =
        |rules: &Ruleset| new_flow(environment, SchedulerKind::RoundRobin, Embryonic::Used, rules, empty_ns);
    for list in LISTS {
        let (rules, name) = (list.rules()?, list.name());
        let (case, off_ns) = (format!("established, {name}"), flow(&off)?);
        let row = Row::new(case, "time over empty", "ns", flow(&rules)?).peer("firewall off", off_ns);
        rows.push(row.at_most(off_ns + 3.0));
        let (case, off_ns) = (format!("new flow, {name}"), syn(&off)?);
        let row = Row::new(case, "time over empty", "ns", syn(&rules)?).peer("firewall off", off_ns);
        rows.push(row.at_most(off_ns + 130.0));
    }
    Ok(rows)
}

fn served(environment: &Environment) -> Result<Dataplane> {
    let mut dataplane = environment.dataplane(4096, 16384)?;
    let (vip, backend) = (v4(10, 0, 0, 100), v4(10, 0, 0, 200));
    let at = |ip| SocketAddr::new(ip, 80);
    let desired = wishes(&[("web", at(vip), at(backend))], &[vip], SchedulerKind::RoundRobin)?;
    dataplane.take(&steps(dataplane.image(), &desired)?)?;
    Ok(dataplane)
}

/// Drops a second of a denied source's SYNs on one CPU. The ways take turns.
fn drops(environment: &Environment, list: List, syn: &[u8]) -> Result<Row> {
    let mut dataplane = served(environment)?;
    dataplane.put_rules(&list.rules()?)?;
    let (pass, drop_all) = (TrivialProgram::pass()?, TrivialProgram::drop_all()?);
    let ifindex = Environment::ifindex()?;
    let mut rates: [Vec<f64>; 4] = Default::default();
    let rate = |duration: std::time::Duration| 1e3 / duration.as_nanos().max(1) as f64;
    for _ in 0..ROUNDS {
        interrupt::check()?;
        rates[0].push(rate(dataplane.run_live(syn, ifindex, LIVE)?));
        rates[1].push(rate(drop_all.run_live(syn, ifindex, LIVE)?));
        for (place, hook) in [(2, "netdev"), (3, "raw")] {
            let table = Nftables::load(hook, list)?;
            rates[place].push(rate(pass.run_live(syn, ifindex, LIVE)?));
            table.expect_dropped(u64::from(LIVE))?;
        }
    }
    let dropped = dataplane.counters()?.outcomes.iter().find(|one| one.name == "denied").map(|one| one.count);
    ensure!(dropped == Some(u64::from(LIVE) * ROUNDS as u64), "not every packet was denied: {dropped:?}");
    let [ours, empty, netdev, raw] = rates.map(median);
    let row = Row::new(format!("drop, {}", list.name()), "drops on one CPU", "million/s", ours);
    let row = row.peer("XDP_DROP", empty).peer("nftables raw", raw).peer("nftables netdev", netdev);
    Ok(row.at_least_of("nftables netdev", 5.0))
}

/// How long a change takes to be in force.
fn changes(environment: &Environment) -> Result<Vec<Row>> {
    const LIST: List = List::Addresses(100_000);
    let (base, more) = (LIST.rules()?, one_more(LIST)?);
    let (mut whole, mut single, mut theirs_whole, mut theirs_single) = (vec![], vec![], vec![], vec![]);
    let ms = |begun: Instant| begun.elapsed().as_secs_f64() * 1e3;
    for _ in 0..ROUNDS {
        interrupt::check()?;
        let mut dataplane = served(environment)?;
        let begun = Instant::now();
        dataplane.put_rules(&base)?;
        whole.push(ms(begun));
        // Once, so that both tables are filled as in the long run.
        dataplane.put_rules(&more)?;
        dataplane.put_rules(&base)?;
        let begun = Instant::now();
        dataplane.put_rules(&more)?;
        dataplane.judge_flows_again()?;
        single.push(ms(begun));
        let begun = Instant::now();
        let table = Nftables::load("netdev", LIST)?;
        theirs_whole.push(ms(begun));
        let begun = Instant::now();
        table.add_one()?;
        theirs_single.push(ms(begun));
    }
    let row = |case: &str, ours, theirs| {
        Row::new(case, "time until in force", "ms", median(ours)).peer("nft", median(theirs))
    };
    Ok(vec![
        row("load 100000 addresses", whole, theirs_whole),
        row("one rule more among 100000 addresses", single, theirs_single),
    ])
}

/// A table of nftables that drops the denied addresses; gone when dropped.
struct Nftables {
    family: &'static str,
}

impl Nftables {
    fn load(hook: &str, list: List) -> Result<Self> {
        let (family, chain) = match hook {
            "netdev" => ("netdev", "type filter hook ingress device veth0 priority -500;"),
            _ => ("ip", "type filter hook prerouting priority raw;"),
        };
        let mut text = format!(
            "table {family} bench {{\n set bad {{\n type ipv4_addr; flags interval;\n elements = {{\n"
        );
        for prefix in list.prefixes() {
            writeln!(text, "{prefix},")?;
        }
        writeln!(text, "}}\n }}\n chain c {{\n {chain}\n ip saddr @bad counter drop\n }}\n}}")?;
        nft(&["-f", "-"], &text)?;
        Ok(Self { family })
    }

    fn add_one(&self) -> Result<()> {
        nft(&["-f", "-"], &format!("add element {} bench bad {{ 31.0.0.1 }}\n", self.family)).map(drop)
    }

    fn expect_dropped(&self, wanted: u64) -> Result<()> {
        let listed = nft(&["list", "chain", self.family, "bench", "c"], "")?;
        ensure!(listed.contains(&format!("packets {wanted} ")), "nftables did not drop {wanted}: {listed}");
        Ok(())
    }
}

impl Drop for Nftables {
    fn drop(&mut self) {
        // The namespace goes anyway.
        let _ = nft(&["delete", "table", self.family, "bench"], "");
    }
}

fn nft(arguments: &[&str], input: &str) -> Result<String> {
    let mut command = Command::new("nft");
    let mut child = command
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .context("nft (package nftables)")?;
    // Taken, so that it is closed when written.
    let mut stdin = child.stdin.take().context("no pipe to nft")?;
    stdin.write_all(input.as_bytes()).context("writing to nft")?;
    drop(stdin);
    let output = child.wait_with_output()?;
    ensure!(output.status.success(), "nft {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
