//! All the numbers at once: a million established flows, a thousand services with ten backends each, a hundred
//! thousand prefixes; and a backend more while packets go on.
//!
//! Not a case of the table: it is about time and room. What an agent adds to it, reading and writing its file, is not here.

use super::case::Action;
use super::environment::Environment;
use super::lifecycle::in_environment;
use super::scene::{Port, V4};
use anyhow::{Context as _, Result, ensure};
use ipnet::{IpNet, Ipv4Net};
use lb_ebpf::abi::{Address, FlowKey, FlowRecord, Forwarding, NextHop, ticks};
use lb_ebpf::flow_state::FlowState;
use lb_user::core::plan::firewall::{FirewallRule, ReadyRule, RuleAction, RuleTarget, Ruleset, Sources};
use lb_user::core::plan::{Desired, SteeredBackend, Steering, SteeringKey, steps};
use lb_user::io::dataplane::{Dataplane, Options, monotonic_now};
use lb_user::model::{
    AtLimit, AttachMode, BackendName, DefaultPolicy, Family, PortRange, Protocol, RuleName, SchedulerKind,
    ServiceName, SynCookieMode, WhenDown,
};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

const FLOWS: u32 = 1_000_000;
const SERVICES: u16 = 1000;
const BACKENDS_EACH: u8 = 10;
const PREFIXES: u32 = 100_000;
const FIRST_PORT: u16 = 1000;

fn backend_address(service: u16, number: u8) -> SocketAddr {
    let [high, low] = service.to_be_bytes();
    SocketAddr::new(Ipv4Addr::new(10, 100 + high, low, number).into(), 80)
}

fn desired(more: Option<u16>) -> Result<Desired> {
    let vip: IpAddr = V4.vip();
    let mut desired = Desired { vips: [vip].into(), ..Desired::default() };
    for service in 0..SERVICES {
        let last = BACKENDS_EACH + u8::from(more == Some(service));
        let named = |number| Ok((BackendName::new(format!("b{number}"))?, backend_address(service, number)));
        let backends = (1..=last).map(named).collect::<Result<Vec<_>>>()?;
        let steered = |address| SteeredBackend { address, weight: 1, max_flows: 0 };
        let steering = Steering {
            listen: [SocketAddr::new(vip, FIRST_PORT + service)].into(),
            protocol: Protocol::Tcp,
            forwarding: Some(Forwarding::Nat),
            scheduler: SchedulerKind::RoundRobin,
            when_down: WhenDown::Reset,
            default_policy: DefaultPolicy::Allow,
            max_flows: 0,
            at_limit: AtLimit::OtherBackend,
            slots: backends.iter().map(|(name, _)| name.clone()).collect(),
            backends: backends.into_iter().map(|(name, address)| (name, steered(address))).collect(),
        };
        let key = SteeringKey { service: ServiceName::new(format!("s{service}"))?, family: Family::V4 };
        desired.steering.insert(key, steering);
    }
    Ok(desired)
}

/// A rule that denies so many single addresses and networks.
fn rules() -> Result<Ruleset> {
    let prefixes: Vec<IpNet> = (0..PREFIXES)
        .map(|number| {
            let [_, a, b, c] = (number << 4).to_be_bytes();
            Ok(Ipv4Net::new(Ipv4Addr::new(172, a, b, c), if number % 4 == 0 { 28 } else { 32 })?.into())
        })
        .collect::<Result<_>>()?;
    let rule = FirewallRule {
        name: RuleName::new("list")?,
        action: RuleAction::Deny,
        sources: Sources::Prefixes(Vec::new()),
        target: RuleTarget::Services,
    };
    Ok(Ruleset {
        rules: vec![ReadyRule { rule, prefixes: prefixes.into_iter().collect() }],
        ..Ruleset::default()
    })
}

fn client_key(number: u32) -> FlowKey {
    let [_, a, b, c] = (number >> 8).to_be_bytes();
    let client: Address = IpAddr::from([20 + a, b, c, 1]).into();
    let service = FIRST_PORT + (number % u32::from(SERVICES)) as u16;
    let port = 1024 + (number & 0xff) as u16;
    FlowKey::new(client, port.to_be_bytes(), V4.vip().into(), service.to_be_bytes(), 6)
}

fn fill_flows(dataplane: &mut Dataplane, ifindex: u32) -> Result<()> {
    let now = u64::try_from(monotonic_now().as_nanos())?;
    let backend: Address = backend_address(0, 1).ip().into();
    for chunk in 0..FLOWS / 10_000 {
        let mut entries = Vec::with_capacity(20_000);
        for number in chunk * 10_000..(chunk + 1) * 10_000 {
            let key = client_key(number);
            let mut forward: FlowRecord = bytemuck::Zeroable::zeroed();
            forward.write(
                Forwarding::Nat,
                number % u32::from(SERVICES),
                &key,
                (&backend, (number as u16).to_be_bytes()),
            );
            forward.set_new_source_port(((number >> 16) as u16 + 2048).to_be_bytes());
            let mut reverse: FlowRecord = bytemuck::Zeroable::zeroed();
            reverse.write_answers(&key, &forward);
            for record in [&mut forward, &mut reverse] {
                record.state = FlowState::ANSWERED.bits();
                record.last_seen_ns = now;
                record.next_hop_at_ticks = ticks(now);
                record.next_hop =
                    NextHop { destination: [2; 6], source: Port::Lan.mac(), ifindex, mtu_bytes: 0 };
            }
            entries.extend([(key, forward), (forward.twin_key(&key), reverse)]);
        }
        dataplane.write_flows(&entries)?;
    }
    Ok(())
}

/// An established client's packet.
fn packet(number: u32) -> Vec<u8> {
    let key = client_key(number);
    let client: IpAddr = key.source.into();
    let mut flow = V4.flow();
    flow.client = SocketAddr::new(client, u16::from_be_bytes(key.source_port()));
    flow.service = SocketAddr::new(V4.vip(), u16::from_be_bytes(key.destination_port()));
    flow.client_sends(super::builder::ACK, b"").frame()
}

#[test]
fn a_backend_more_is_a_matter_of_milliseconds_among_a_million_flows() {
    in_environment(|environment| {
        let (mut dataplane, _) = Dataplane::open(&options(environment)?)?;
        let ifindex = environment.ifindex(Port::Lan)?;
        dataplane.put_rules(&rules()?)?;
        dataplane.take(&steps(dataplane.image(), &desired(None)?)?)?;
        fill_flows(&mut dataplane, ifindex)?;
        let filled = |name| {
            let tables = dataplane.tables()?;
            let table = tables.into_iter().find(|table| table.name == name);
            table.and_then(|table| table.entries).with_context(|| format!("no count of {name}"))
        };
        ensure!(
            filled("backends")? == u64::from(SERVICES) * u64::from(BACKENDS_EACH),
            "backends are missing"
        );
        ensure!(filled("prefixes")? == u64::from(PREFIXES), "prefixes are missing");
        let report = dataplane.sweeper()?.sweep(super::runner::NEVER, monotonic_now())?;
        ensure!(report.established_entries == 2 * u64::from(FLOWS), "flows are missing: {report:?}");

        let desired = desired(Some(500))?;
        // Another load of the program over the same maps.
        let runner = Dataplane::open(&options(environment)?)?.0;
        let stop = AtomicBool::new(false);
        let took = std::thread::scope(|scope| -> Result<Duration> {
            let packets = scope.spawn(|| send_until(&runner, ifindex, &stop));
            let begun = Instant::now();
            let steps = steps(dataplane.image(), &desired)?;
            dataplane.take(&steps)?;
            let took = begun.elapsed();
            stop.store(true, Ordering::Relaxed);
            let sent = packets.join().map_err(|_| anyhow::anyhow!("the sender panicked"))??;
            ensure!(sent > 0, "no packet was sent meanwhile");
            Ok(took)
        })?;
        // Without optimisation the planner alone takes longer.
        let limit = Duration::from_millis(if cfg!(debug_assertions) { 1000 } else { 100 });
        ensure!(took < limit, "one backend more took {took:?}");
        Ok(())
    });
}

fn options(environment: &Environment) -> Result<Options> {
    Ok(Options {
        pin_dir: environment.pin_dir(),
        interfaces: Vec::new(),
        attach: AttachMode::Auto,
        established_flows: FLOWS + FLOWS / 8,
        embryonic_flows: 16384,
        limited_sources: 1024,
        syn_cookies: SynCookieMode::Never,
        prefixes: 1 << 17,
        nat_ports: PortRange::new(2048, 32767)?,
    })
}

/// Packets of established flows, each of which must reach its backend.
fn send_until(dataplane: &Dataplane, ifindex: u32, stop: &AtomicBool) -> Result<u32> {
    let mut sent = 0u32;
    while !stop.load(Ordering::Relaxed) || sent < 1000 {
        let run = dataplane.run(&packet(sent.wrapping_mul(7919) % FLOWS), ifindex, 1)?;
        ensure!(run.action == Action::Transmit as u32, "packet {sent} got action {}", run.action);
        sent += 1;
    }
    Ok(sent)
}
