//! What packets cost in each mode, in a flood, and while somebody looks.

use super::chain::{Chain, expect_transmitted};
use super::report::{Row, median};
use super::xdp::{Environment, TCP, packet, v4, wishes};
use crate::lab::interrupt;
use anyhow::{Context, Result, ensure};
use lb_ebpf::abi::{Direction, FlowKey, Forwarding, TraceFilter};
use lb_user::core::plan::firewall::Ruleset;
use lb_user::core::plan::steps;
use lb_user::io::dataplane::TrivialProgram;
use lb_user::model::{Protocol, SchedulerKind, SynCookieMode};
use std::net::SocketAddr;

const UDP: u8 = 17;
/// First packets that are measured one by one.
const FIRST_PACKETS: u32 = 3000;

/// All cases.
pub(super) fn rows(environment: &Environment, empty_ns: f64) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    let chain = |chain: Chain| chain.time(environment, &Ruleset::default(), empty_ns);
    let nat = |flows| Chain::of(flows, Direction::Forward);
    let beside =
        |case: &str, ours: f64, nat: f64| Row::new(case, "time over empty", "ns", ours).peer("nat, TCP", nat);
    let one = chain(nat(1))?;
    let dsr = Chain { forwarding: Forwarding::Direct, ..nat(1) };
    rows.push(beside("established, 1 flow, dsr", chain(dsr)?, one));
    rows.push(beside("established, 1 flow, dsr, UDP", chain(Chain { protocol: UDP, ..dsr })?, one));
    let some = chain(nat(256))?;
    let keep_source = Chain { forwarding: Forwarding::KeepSource, ..nat(256) };
    rows.push(beside("established, 256 flows, keep_source", chain(keep_source)?, some));
    rows.push(beside("established, 256 flows, UDP", chain(Chain { protocol: UDP, ..nat(256) })?, some));

    // Another service than all there are.
    let nobody = TraceFilter { services: [u32::MAX; 2], by_service: 1, ..bytemuck::Zeroable::zeroed() };
    let few = TraceFilter { every: 1000, ..bytemuck::Zeroable::zeroed() };
    let many = chain(nat(1024))?;
    for (case, filter) in [("no packet wanted", nobody), ("one packet of 1000", few)] {
        let ns = chain(Chain { trace: Some(filter), ..nat(1024) })?;
        let row = Row::new(format!("established, 1024 flows, traced, {case}"), "time over empty", "ns", ns);
        rows.push(row.peer("not traced", many));
    }
    rows.extend(first_packets(environment)?);
    let (mut alone, mut told) = (Vec::new(), Vec::new());
    for _ in 0..3 {
        alone.push(promoted(environment, false)?);
        told.push(promoted(environment, true)?);
    }
    let case = "promoted, one by one, dsr, told to other nodes";
    rows.push(beside_row(case, median(told), "not told", median(alone)));
    Ok(rows)
}

fn beside_row(case: &str, ours: f64, peer: &'static str, theirs: f64) -> Row {
    Row::new(case, "time over empty", "ns", ours).peer(peer, theirs)
}

/// A client's segment that promotes its flow, which is when other nodes are told of it: with `dsr`, the second one.
fn promoted(environment: &Environment, told: bool) -> Result<f64> {
    let (vip, backend) = (v4(10, 0, 0, 100), v4(10, 0, 0, 200));
    let mut dataplane = environment.dataplane_with(65536, 65536, SynCookieMode::Never)?;
    let service = ("a", SocketAddr::new(vip, 80), SocketAddr::new(backend, 80));
    let mut desired = wishes(&[service], &[vip], SchedulerKind::RoundRobin)?;
    desired.steering.values_mut().for_each(|steering| steering.forwarding = Some(Forwarding::Direct));
    dataplane.take(&steps(dataplane.image(), &desired)?)?;
    dataplane.tell_of_flows(told)?;
    let mut news = dataplane.flow_news()?;
    let ifindex = Environment::ifindex()?;
    let pass = TrivialProgram::pass()?;
    let (mut times, mut keys) = (Vec::new(), 0);
    for number in 0..2 * FIRST_PACKETS {
        interrupt::check()?;
        let [_, _, x, y] = number.to_be_bytes();
        let key = FlowKey::new(v4(10, 9, x, y).into(), [18, 103], vip.into(), [0, 80], TCP);
        dataplane.run(&packet(&key, 0x02, 64), ifindex, 1)?;
        let segment = packet(&key, 0x10, 64);
        let empty = pass.run(&segment, 1)?.duration.as_nanos() as f64;
        let run = dataplane.run(&segment, ifindex, 1)?;
        expect_transmitted(&dataplane, run.action)
            .with_context(|| format!("promoting {number}, told: {told}"))?;
        // The first half uses the tables' memory for the first time.
        if number >= FIRST_PACKETS {
            times.push(run.duration.as_nanos() as f64 - empty);
        }
        news.take(usize::MAX, |_| keys += 1);
    }
    ensure!((keys >= 2 * FIRST_PACKETS) == told, "{keys} keys were told");
    Ok(median(times))
}

/// First packets of flows, one by one: a packet that `dsr` leaves as it is cannot be run again and begin another flow. So caches are
/// colder than where packets follow each other.
fn first_packets(environment: &Environment) -> Result<Vec<Row>> {
    let modes = [
        ("nat", Forwarding::Nat, Protocol::Tcp, SynCookieMode::Never),
        ("keep_source", Forwarding::KeepSource, Protocol::Tcp, SynCookieMode::Never),
        ("dsr", Forwarding::Direct, Protocol::Tcp, SynCookieMode::Never),
        ("nat, UDP", Forwarding::Nat, Protocol::Udp, SynCookieMode::Never),
        ("dsr, UDP", Forwarding::Direct, Protocol::Udp, SynCookieMode::Never),
        ("answered with a SYN cookie", Forwarding::Nat, Protocol::Tcp, SynCookieMode::Always),
        ("dsr, not recorded", Forwarding::Direct, Protocol::Tcp, SynCookieMode::Always),
    ];
    let mut rows = Vec::new();
    let mut nat = None;
    for (case, forwarding, protocol, cookies) in modes {
        let ns = first_packet(environment, forwarding, protocol, cookies).with_context(|| case.to_owned())?;
        let nat = *nat.get_or_insert(ns);
        let row = Row::new(format!("first packets, one by one, {case}"), "time over empty", "ns", ns);
        rows.push(row.peer("nat, TCP", nat));
    }
    Ok(rows)
}

fn first_packet(
    environment: &Environment,
    forwarding: Forwarding,
    protocol: Protocol,
    cookies: SynCookieMode,
) -> Result<f64> {
    let (vip, backend) = (v4(10, 0, 0, 100), v4(10, 0, 0, 200));
    let port = if matches!(forwarding, Forwarding::Direct) { 80 } else { 8080 };
    // The few that a small table allows are recorded, and then no more, for the better part of the time.
    let is_flood = cookies == SynCookieMode::Always && matches!(forwarding, Forwarding::Direct);
    let mut dataplane = environment.dataplane_with(4096, if is_flood { 512 } else { 65536 }, cookies)?;
    let service = ("a", SocketAddr::new(vip, 80), SocketAddr::new(backend, port));
    let mut desired = wishes(&[service], &[vip], SchedulerKind::RoundRobin)?;
    for steering in desired.steering.values_mut() {
        (steering.forwarding, steering.protocol) = (Some(forwarding), protocol);
    }
    dataplane.take(&steps(dataplane.image(), &desired)?)?;
    let backend = dataplane.image().backends.keys().copied().next().context("no backend")?;
    let mut sweeper = dataplane.sweeper()?;
    let ifindex = Environment::ifindex()?;
    let pass = TrivialProgram::pass()?;
    let protocol = if protocol == Protocol::Tcp { TCP } else { UDP };
    let mut times = Vec::new();
    // The first lap uses the tables' memory for the first time.
    for lap in 0..2 {
        times.clear();
        for number in 0..FIRST_PACKETS {
            interrupt::check()?;
            let [_, _, x, y] = number.to_be_bytes();
            let key = FlowKey::new(v4(10, 9, x, y).into(), [18, 103 + lap], vip.into(), [0, 80], protocol);
            let packet = packet(&key, 0x02, 64);
            let empty = pass.run(&packet, 1)?.duration.as_nanos() as f64;
            let run = dataplane.run(&packet, ifindex, 1)?;
            expect_transmitted(&dataplane, run.action)?;
            times.push(run.duration.as_nanos() as f64 - empty);
        }
        sweeper.cut(backend)?;
    }
    Ok(median(times))
}
