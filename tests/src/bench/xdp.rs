//! What the XDP program costs for a packet, by BPF_PROG_TEST_RUN, next to an empty program.
//!
//! TEST_RUN does not restore the packet between repeats, and the program rewrites it. So flows are chained (`chain`).
//! Times are the kernel's own, less the empty program's.

use super::chain::Chain;
use super::modes;
use super::report::{Row, median};
use crate::lab::interrupt;
use anyhow::{Context, Result, bail, ensure};
use lb_ebpf::abi::{Address, Direction, FlowKey, Forwarding};
use lb_user::core::plan::firewall::Ruleset;
use lb_user::core::plan::{Desired, SteeredBackend, Steering, SteeringKey, steps};
use lb_user::io::dataplane::{Dataplane, Options, TrivialProgram, detach};
use lb_user::model::{
    AtLimit, AttachMode, BackendName, DefaultPolicy, Family, PortRange, Protocol, SchedulerKind, ServiceName,
    SynCookieMode, WhenDown,
};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::Command;

const NAMESPACE: &str = "lab-bench";
pub(super) const ROUNDS: usize = 7;
pub(super) const TCP: u8 = 6;

/// The namespace the program's route look-ups are answered in; gone when dropped.
pub(super) struct Environment {
    pub(super) pin_dir: PathBuf,
}

impl Environment {
    pub(super) fn enter() -> Result<Self> {
        let run = |line: &str| -> Result<()> {
            let mut words = line.split_whitespace();
            let status = Command::new(words.next().unwrap_or_default()).args(words).status();
            ensure!(status.with_context(|| line.to_owned())?.success(), "failed: {line}");
            Ok(())
        };
        // A benchmark that was killed leaves its namespace; nobody else has one of this name.
        let _ =
            Command::new("ip").args(["netns", "del", NAMESPACE]).stderr(std::process::Stdio::null()).status();
        run(&format!("ip netns add {NAMESPACE}"))?;
        let environment = Self { pin_dir: PathBuf::from("/sys/fs/bpf/lbctl-bench") };
        let file = std::fs::File::open(format!("/run/netns/{NAMESPACE}")).context("the namespace")?;
        nix::sched::setns(&file, nix::sched::CloneFlags::CLONE_NEWNET).context("entering the namespace")?;
        for line in [
            "ip link set lo up",
            "ip link add veth0 type veth peer name veth1",
            // Where packets of the benchmarks go to.
            "ip link set veth0 address 02:00:00:00:00:01",
            "ip link set veth0 up",
            "ip link set veth1 up",
            "ip addr add 10.0.0.1/8 dev veth0",
        ] {
            run(line)?;
        }
        for host in ["10.0.0.100", "10.0.0.200"] {
            run(&format!("ip neigh add {host} lladdr 02:00:00:00:00:02 dev veth0 nud permanent"))?;
        }
        std::fs::write("/proc/sys/net/ipv4/conf/veth0/forwarding", "1").context("forwarding")?;
        Ok(environment)
    }

    pub(super) fn ifindex() -> Result<u32> {
        nix::net::if_::if_nametoindex("veth0").context("veth0")
    }

    pub(super) fn dataplane(&self, established_flows: u32, embryonic_flows: u32) -> Result<Dataplane> {
        self.dataplane_with(established_flows, embryonic_flows, SynCookieMode::Never)
    }

    pub(super) fn dataplane_with(
        &self,
        established_flows: u32,
        embryonic_flows: u32,
        syn_cookies: SynCookieMode,
    ) -> Result<Dataplane> {
        detach(&self.pin_dir, false)?;
        let options = Options {
            pin_dir: self.pin_dir.clone(),
            // Attached, because the kernel keeps a program that runs on some device ready for repeated test runs;
            // for others each call waits for an RCU grace period.
            interfaces: vec!["veth0".into()],
            attach: AttachMode::Auto,
            established_flows,
            embryonic_flows,
            limited_sources: 1024,
            syn_cookies,
            prefixes: 1 << 17,
            nat_ports: PortRange::new(2048, 32767)?,
        };
        Ok(Dataplane::open(&options)?.0)
    }
}

impl Drop for Environment {
    fn drop(&mut self) {
        // Best effort: what is left is taken away by the next run.
        let _ = detach(&self.pin_dir, false);
        let _ = Command::new("ip").args(["netns", "del", NAMESPACE]).status();
    }
}

pub(super) fn v4(a: u8, b: u8, c: u8, d: u8) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(a, b, c, d))
}

/// A TCP packet with 20-byte headers, or a datagram of as many bytes; checksums are zero: the program updates them without
/// looking, and a datagram has none.
pub(super) fn packet(key: &FlowKey, flags: u8, ttl: u8) -> Vec<u8> {
    let mut bytes = vec![0u8; 60];
    bytes[0..6].copy_from_slice(&[2, 0, 0, 0, 0, 1]);
    bytes[6..12].copy_from_slice(&[2, 0, 0, 0, 0, 2]);
    bytes[12..14].copy_from_slice(&[8, 0]);
    bytes[14] = 0x45;
    bytes[16..18].copy_from_slice(&40u16.to_be_bytes());
    bytes[22] = ttl;
    bytes[23] = key.protocol();
    bytes[26..30].copy_from_slice(&key.source.v4());
    bytes[30..34].copy_from_slice(&key.destination.v4());
    bytes[34..36].copy_from_slice(&key.source_port());
    bytes[36..38].copy_from_slice(&key.destination_port());
    if key.protocol() == TCP {
        bytes[46] = 0x50;
        bytes[47] = flags;
    } else {
        bytes[38..40].copy_from_slice(&20u16.to_be_bytes());
    }
    bytes
}

/// Wishes for the dataplane: services at `vips`, each with the one backend given.
pub(super) fn wishes(
    services: &[(&str, SocketAddr, SocketAddr)],
    vips: &[IpAddr],
    scheduler: SchedulerKind,
) -> Result<Desired> {
    // As long as the tables of each scheduler are for two backends, all slots those of the one there is.
    let slots = match scheduler {
        SchedulerKind::RoundRobin | SchedulerKind::LeastConnections => 2,
        SchedulerKind::SourceHash | SchedulerKind::Maglev => 4093,
    };
    let mut desired = Desired { vips: vips.iter().copied().collect(), ..Desired::default() };
    for (name, listen, backend) in services {
        let backend_name = BackendName::new("b")?;
        let steering = Steering {
            protocol: Protocol::Tcp,
            forwarding: Some(Forwarding::Nat),
            max_flows: 0,
            at_limit: AtLimit::OtherBackend,
            scheduler,
            when_down: WhenDown::Reset,
            default_policy: DefaultPolicy::Allow,
            listen: [*listen].into(),
            backends: [(backend_name.clone(), SteeredBackend { address: *backend, weight: 1, max_flows: 0 })]
                .into(),
            slots: vec![backend_name; slots],
        };
        desired
            .steering
            .insert(SteeringKey { service: ServiceName::new(*name)?, family: Family::V4 }, steering);
    }
    Ok(desired)
}

/// What the embryonic table is like when a SYN makes a flow.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Embryonic {
    /// Earlier flows gave their entries back, as flows do whose handshake completes.
    Used,
    /// Its memory was never used.
    Untouched,
    /// Every insert evicts.
    Full,
}

/// Time of a SYN that makes a flow, in ns.
pub(super) fn new_flow(
    environment: &Environment,
    scheduler: SchedulerKind,
    table: Embryonic,
    rules: &Ruleset,
    empty_ns: f64,
) -> Result<f64> {
    let (a, b) = (v4(10, 0, 0, 100), v4(10, 0, 0, 200));
    let at = |ip| SocketAddr::new(ip, 80);
    let (capacity, repeat) = if table == Embryonic::Full { (4096, 100) } else { (65536, 50) };
    let mut results = Vec::new();
    for _ in 0..ROUNDS {
        let mut dataplane = environment.dataplane(4096, capacity)?;
        // Each service's backend is the other service: what one makes of a SYN is a SYN to the other.
        let desired = wishes(&[("a", at(a), at(b)), ("b", at(b), at(a))], &[a, b], scheduler)?;
        dataplane.take(&steps(dataplane.image(), &desired)?)?;
        dataplane.put_rules(rules)?;
        let mut sweeper = dataplane.sweeper()?;
        let backends: Vec<u32> = dataplane.image().backends.keys().copied().collect();
        let ifindex = Environment::ifindex()?;
        let mut times = Vec::new();
        for call in 0..200u32 {
            interrupt::check()?;
            let client = v4(10, 9, (call >> 8) as u8, call as u8);
            let client = FlowKey::new(client.into(), [18, 103], a.into(), [0, 80], TCP);
            let run = dataplane.run(&packet(&client, 0x02, 255), ifindex, repeat)?;
            ensure!(run.action == 3, "the SYN was not transmitted: action {}", run.action);
            times.push(run.duration.as_nanos() as f64);
            if table == Embryonic::Used {
                for backend in &backends {
                    sweeper.cut(*backend)?;
                }
            }
        }
        let outcomes = dataplane.counters()?.outcomes;
        let made = outcomes.iter().find(|counter| counter.name == "new_flow").map(|found| found.count);
        ensure!(made == Some(200 * u64::from(repeat)), "not every SYN made a flow: {made:?}");
        // The first half fills the table, or has begun to use it.
        let measured = if table == Embryonic::Untouched { &times[..] } else { &times[100..] };
        results.push(measured.iter().sum::<f64>() / measured.len() as f64 - empty_ns);
    }
    Ok(median(results))
}

/// Measures all cases. Takes a thread of its own, because it enters a network namespace.
pub fn run() -> Result<Vec<Row>> {
    match std::thread::spawn(measure).join() {
        Ok(rows) => rows,
        Err(_) => bail!("the measuring thread panicked"),
    }
}

fn measure() -> Result<Vec<Row>> {
    let environment = Environment::enter()?;
    let mut rows = Vec::new();
    let vip: Address = v4(10, 0, 0, 100).into();
    let client: Address = v4(10, 9, 0, 1).into();
    let any = FlowKey::new(client, [1, 1], vip, 80u16.to_be_bytes(), TCP);

    let pass = TrivialProgram::pass()?;
    let repeat = 1_000_000;
    let times = |run: &dyn Fn() -> Result<f64>| -> Result<f64> {
        Ok(median((0..ROUNDS).map(|_| run()).collect::<Result<Vec<_>>>()?))
    };
    let empty_ns = times(&|| Ok(pass.run(&packet(&any, 0x10, 64), repeat)?.duration.as_nanos() as f64))?;
    rows.push(Row::new("empty program", "time per packet", "ns", empty_ns));

    let mut dataplane = environment.dataplane(4096, 16384)?;
    dataplane
        .take(&steps(dataplane.image(), &wishes(&[], &[v4(10, 0, 0, 100)], SchedulerKind::RoundRobin)?)?)?;
    let ifindex = Environment::ifindex()?;
    let miss = |destination: IpAddr| {
        let key = FlowKey::new(client, [1, 1], destination.into(), 80u16.to_be_bytes(), TCP);
        times(&|| {
            Ok(dataplane.run(&packet(&key, 0x10, 64), ifindex, repeat)?.duration.as_nanos() as f64 - empty_ns)
        })
    };
    rows.push(Row::new("VIP miss", "time over empty", "ns", miss(v4(10, 0, 0, 99))?).at_most(25.0));
    rows.push(Row::new("VIP miss, same last 16 bits", "time over empty", "ns", miss(v4(10, 7, 0, 100))?));
    for (flows, limit) in [(1, None), (1024, Some(60.0)), (65536, Some(75.0)), (524_288, None)] {
        for (direction, name) in [(Direction::Forward, "to backend"), (Direction::Reverse, "to client")] {
            let ns = Chain::of(flows, direction).time(&environment, &Ruleset::default(), empty_ns)?;
            let row = Row::new(format!("established, {flows} flows, {name}"), "time over empty", "ns", ns);
            rows.push(match limit {
                Some(limit) => row.at_most(limit),
                None => row,
            });
        }
    }
    let cases = [
        (SchedulerKind::RoundRobin, Embryonic::Used, "new flow"),
        (SchedulerKind::LeastConnections, Embryonic::Used, "new flow, least-connections"),
        (SchedulerKind::SourceHash, Embryonic::Used, "new flow, source-hash"),
        (SchedulerKind::Maglev, Embryonic::Used, "new flow, maglev"),
        (SchedulerKind::RoundRobin, Embryonic::Untouched, "new flow, memory never used"),
        (SchedulerKind::RoundRobin, Embryonic::Full, "new flow, table full"),
    ];
    for (scheduler, table, case) in cases {
        let ns = new_flow(&environment, scheduler, table, &Ruleset::default(), empty_ns)?;
        let row = Row::new(case, "time over empty", "ns", ns);
        rows.push(if table == Embryonic::Used { row.at_most(250.0) } else { row });
    }
    rows.extend(modes::rows(&environment, empty_ns)?);
    Ok(rows)
}
