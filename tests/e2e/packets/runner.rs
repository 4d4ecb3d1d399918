//! Carries cases out against the compiled program and collects every way in which it does otherwise.
//!
//! Uses the product's own dataplane: what is tested is what the agent loads and how it writes its maps.

use super::case::{Act, Case, Exchange, FlowSeen, Plant, Setup};
use super::environment::Environment;
use anyhow::{Context as _, Result, bail, ensure};
use lb_ebpf::abi::{FlowKey, FlowRecord, Forwarding, NextHop, RuleHits, ticks};
use lb_ebpf::flow_state::FlowState;
use lb_ebpf::outcome::{Occurrence, Outcome};
use lb_user::core::plan::firewall::{Ruleset, tightens};
use lb_user::core::plan::{Desired, SteeredBackend, Steering, SteeringKey, steps};
use lb_user::io::dataplane::{
    BackendTotals, Counter, Counters, Dataplane, Explainer, Options, RunResult, Timeouts, detach,
    monotonic_now,
};
use lb_user::model::{AttachMode, BackendName, DefaultPolicy, Family, PortRange, RuleName, ServiceName};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

const EMBRYONIC_FLOWS: u32 = 4096;
/// The cases know what cookies will be.
pub(crate) const COOKIE_KEYS: [[u64; 2]; 2] = [[1, 2], [3, 4]];
const LONG: Duration = Duration::from_secs(86_400);
pub(crate) const NEVER: Timeouts =
    Timeouts { established: LONG, half_closed: LONG, closed: LONG, embryonic: LONG, udp: LONG };

/// A loaded program, and the cases that are run with it.
pub(super) struct Run<'a> {
    environment: &'a Environment,
    dataplane: Dataplane,
    options: Options,
    explainer: Explainer,
    /// A clock stands in packets, or next hops are as old as the case made them.
    bytes_depend_on_time: bool,
    ruleset: Ruleset,
}

impl<'a> Run<'a> {
    pub(super) fn begin(environment: &'a Environment, case: &Case, object: &[u8]) -> Result<Self> {
        detach(&environment.pin_dir(), false)?;
        let options = Options {
            pin_dir: environment.pin_dir(),
            // Attached nowhere: only the packets of the case are counted.
            interfaces: Vec::new(),
            attach: AttachMode::Auto,
            established_flows: case.setup.established_flows,
            embryonic_flows: EMBRYONIC_FLOWS,
            limited_sources: 1024,
            syn_cookies: case.setup.syn_cookies,
            prefixes: 1024,
            nat_ports: PortRange::new(case.setup.nat_ports.0, case.setup.nat_ports.1)?,
        };
        let (mut dataplane, _) = Dataplane::open_object(&options, object)?;
        dataplane.set_cookie_keys(COOKIE_KEYS)?;
        let explainer = Explainer::load_object(&environment.pin_dir(), object)?;
        let ruleset = Ruleset::default();
        Ok(Self { environment, dataplane, options, explainer, bytes_depend_on_time: false, ruleset })
    }

    /// Leaves nothing of a case in the tables.
    pub(super) fn clear(&mut self) -> Result<()> {
        let nothing = steps(self.dataplane.image(), &Desired::default())?;
        self.dataplane.take(&nothing)?;
        let zero = Duration::ZERO;
        let at_once =
            Timeouts { established: zero, half_closed: zero, closed: zero, embryonic: zero, udp: zero };
        let mut sweeper = self.dataplane.sweeper()?;
        sweeper.sweep(at_once, monotonic_now() + Duration::from_secs(1))?;
        let left = self.dataplane.read_flows()?.len();
        ensure!(left == 0, "{left} entries are left of the case before");
        self.ruleset = Ruleset::default();
        self.dataplane.put_rules(&self.ruleset)?;
        Ok(())
    }

    fn desire(&mut self, setup: &Setup) -> Result<()> {
        let mut ruleset = setup.firewall.clone();
        let denying = setup.services.iter().filter(|service| service.default_policy == DefaultPolicy::Deny);
        ruleset.denying_services =
            denying.map(|service| ServiceName::new(service.name)).collect::<Result<_, _>>()?;
        self.options.syn_cookies = setup.syn_cookies;
        self.dataplane.set_syn_cookies(&self.options)?;
        // As the agent does it.
        self.dataplane.put_rules(&ruleset)?;
        let steps = steps(self.dataplane.image(), &desired(setup)?)?;
        self.dataplane.take(&steps)?;
        self.dataplane.set_vip_terms(&setup.vips.iter().map(|vip| (*vip, setup.terms)).collect())?;
        if tightens(&self.ruleset, &ruleset) {
            self.dataplane.judge_flows_again()?;
        }
        self.ruleset = ruleset;
        Ok(())
    }

    pub(super) fn case(&mut self, case: &Case) -> Result<()> {
        let timed = |act: &Act| !matches!(act, Act::Send(_) | Act::Desire(_));
        self.bytes_depend_on_time = case.acts.iter().any(timed);
        self.desire(&case.setup)?;
        let mut clock_ms = 0;
        for (number, act) in case.acts.iter().enumerate() {
            let done = match act {
                Act::Send(exchange) => self.send(exchange, |_| Ok(None)),
                Act::Clock(at, make) => self.send(&make(0), |packet| {
                    clock_ms = read_clock(packet, *at)?;
                    Ok(Some(make(clock_ms).output))
                }),
                Act::Timed(make) => self.send(&make(clock_ms), |_| Ok(None)),
                Act::Desire(setup) => self.desire(setup),
                Act::Plant(plant) => self.plant(plant),
            };
            done.with_context(|| format!("act {} of {}", number + 1, case.acts.len()))?;
        }
        self.check_tables(case)
    }

    /// Runs the program on a packet and judges what it did. `output` may say what the packet must have become
    /// once it is there to look at.
    fn send(
        &mut self,
        exchange: &Exchange,
        output: impl FnOnce(&[u8]) -> Result<Option<Vec<u8>>>,
    ) -> Result<()> {
        let ifindex = self.environment.ifindex(exchange.port)?;
        let explained = self.explain(exchange, ifindex)?;
        let before = self.dataplane.counters()?;
        let result = self.dataplane.run(&exchange.input, ifindex, 1)?;
        let after = self.dataplane.counters()?;
        let outcomes = added(&before.outcomes, &after.outcomes);
        let wanted = BTreeMap::from([(exchange.outcome.name(), 1)]);
        ensure!(outcomes == wanted, "counted as {outcomes:?}, not {wanted:?} (action {})", result.action);
        ensure!(
            result.action == exchange.action as u32,
            "action {}, not {} ({:?})",
            result.action,
            exchange.action as u32,
            exchange.action
        );
        explained.compare(exchange, &result, self.bytes_depend_on_time)?;
        let wanted = output(&result.packet)?;
        if let Some(text) = difference(wanted.as_ref().unwrap_or(&exchange.output), &result.packet) {
            bail!("{}: {text}", exchange.outcome.name());
        }
        let mut occurrences = added(&before.occurrences, &after.occurrences);
        let wanted: BTreeMap<_, _> =
            exchange.occurrences.iter().map(|(occurrence, times)| (occurrence.name(), *times)).collect();
        // On a slow machine a second may pass between two packets of a case.
        for name in [Occurrence::NextHopRefreshed.name(), Occurrence::NextHopKept.name()] {
            if !wanted.contains_key(name) {
                occurrences.remove(name);
            }
        }
        ensure!(occurrences == wanted, "on the way: {occurrences:?}, not {wanted:?}");
        Ok(())
    }

    /// Asks the explaining load about a packet, and makes sure that asking changed nothing.
    fn explain(&mut self, exchange: &Exchange, ifindex: u32) -> Result<Explained> {
        let before = self.everything()?;
        let (result, explanation) = self.explainer.explain(&exchange.input, ifindex)?;
        ensure!(before == self.everything()?, "explaining changed a map");
        let outcome = Outcome::ALL.get(explanation.outcome as usize).copied();
        Ok(Explained { result, outcome: outcome.context("an outcome that does not exist")? })
    }

    /// All that packets change in the maps.
    fn everything(&self) -> Result<Everything> {
        let mut flows = self.dataplane.read_flows()?;
        flows.sort_by_key(|(key, _)| *bytemuck::cast_ref::<FlowKey, [u32; 10]>(key));
        let hits: Vec<RuleHits> = self
            .ruleset
            .rules
            .iter()
            .map(|ready| self.dataplane.rule_hits(&ready.rule.name))
            .collect::<Result<_, _>>()?;
        let ids = self.dataplane.image().backends.keys();
        let backends =
            ids.map(|id| Ok((self.dataplane.backend_totals(*id)?, self.dataplane.active_flows(*id)?)));
        let backends: Vec<_> = backends.collect::<Result<_>>()?;
        Ok(Everything {
            counters: self.dataplane.counters()?,
            flows,
            hits,
            backends,
            cursors: self.dataplane.cursors()?,
        })
    }

    /// Writes both entries of an open flow.
    fn plant(&mut self, plant: &Plant) -> Result<()> {
        let flow = &plant.flow;
        let now = u64::try_from(monotonic_now().as_nanos())?;
        let looked_up = ticks(now.saturating_sub(u64::try_from(plant.next_hop_age.as_nanos())?));
        let ifindex = self.environment.ifindex(flow.backend.port)?;
        let key = |from: SocketAddr, to: SocketAddr| {
            let (source, destination) = (from.port().to_be_bytes(), to.port().to_be_bytes());
            FlowKey::new(from.ip().into(), source, to.ip().into(), destination, 6)
        };
        let client = key(flow.client, flow.service);
        let backend = (&flow.backend.address.into(), flow.backend_port.to_be_bytes());
        let mut forward: FlowRecord = bytemuck::Zeroable::zeroed();
        forward.write(Forwarding::Nat, 0, &client, backend);
        forward.set_new_source_port(flow.nat_port.to_be_bytes());
        let mut reverse: FlowRecord = bytemuck::Zeroable::zeroed();
        reverse.write_answers(&client, &forward);
        let ways = [(client, forward), (forward.twin_key(&client), reverse)];
        let entries = ways.map(|(key, mut record)| {
            record.state = FlowState::ANSWERED.bits();
            record.last_seen_ns = now;
            record.next_hop_at_ticks = looked_up;
            record.shift = plant.timestamp_shift;
            let source = flow.backend.port.mac();
            record.next_hop = NextHop { destination: plant.next_hop, source, ifindex, mtu_bytes: 0 };
            (key, record)
        });
        Ok(self.dataplane.write_flows(&entries)?)
    }

    fn check_tables(&self, case: &Case) -> Result<()> {
        let mut sweeper = self.dataplane.sweeper()?;
        let (flows, _) = sweeper.list(monotonic_now(), 1000, |_| true)?;
        if let Some(wanted) = &case.flows {
            let mut seen: Vec<FlowSeen> = flows
                .iter()
                .map(|flow| FlowSeen {
                    client: flow.client,
                    vip: flow.vip,
                    nat: flow.nat,
                    backend: flow.backend,
                    state: flow.state,
                })
                .collect();
            seen.sort_by_key(|flow| flow.client);
            ensure!(seen == *wanted, "at the end the flows are {seen:#?}, not {wanted:#?}");
        }
        if let Some(wanted) = case.forward_account {
            let accounts: Vec<_> =
                flows.iter().map(|flow| (flow.forward_packets, flow.forward_bytes)).collect();
            ensure!(accounts == [wanted], "packets and bytes are {accounts:?}, not {wanted:?}");
        }
        for (rule, wanted) in &case.hits {
            let hits = self.dataplane.rule_hits(&RuleName::new(*rule)?)?;
            ensure!(hits == *wanted, "hits of rule {rule} are {hits:?}, not {wanted:?}");
        }
        if let Some(wanted) = case.entries {
            let report = sweeper.sweep(NEVER, monotonic_now())?;
            let entries = (report.established_entries, report.embryonic_entries);
            ensure!(entries == wanted, "entries (established, embryonic) are {entries:?}, not {wanted:?}");
        }
        for (address, wanted) in &case.totals {
            let backends = &self.dataplane.image().backends;
            let id = backends.iter().find(|(_, entry)| entry.address == *address).map(|(id, _)| *id);
            let totals = self.dataplane.backend_totals(id.context("the backend has no id")?)?;
            ensure!(totals == *wanted, "accounts of {address} are {totals:?}, not {wanted:?}");
        }
        for (address, wanted) in &case.active {
            let mut backends = self.dataplane.image().backends.iter();
            let id = backends.find(|(_, entry)| entry.address == *address).map(|(id, _)| *id);
            let active = self.dataplane.active_flows(id.context("the backend has no id")?)?;
            ensure!(active == *wanted, "{address} has {active} active flows, not {wanted}");
        }
        Ok(())
    }
}

/// All that packets change in the maps.
#[derive(PartialEq)]
struct Everything {
    counters: Counters,
    flows: Vec<(FlowKey, FlowRecord)>,
    hits: Vec<RuleHits>,
    backends: Vec<(BackendTotals, u64)>,
    cursors: Vec<u64>,
}

/// What the explaining load said about a packet.
struct Explained {
    result: RunResult,
    outcome: Outcome,
}

impl Explained {
    /// The packet must have been explained as what it became.
    fn compare(&self, exchange: &Exchange, real: &RunResult, bytes_depend_on_time: bool) -> Result<()> {
        // What only the insertion itself shows.
        let unforeseen = |occurrence| exchange.occurrences.iter().any(|(other, _)| *other == occurrence);
        if unforeseen(Occurrence::EstablishedFull) || unforeseen(Occurrence::FlowEnded) {
            return Ok(());
        }
        ensure!(
            self.outcome == exchange.outcome,
            "explained as {}, not {}",
            self.outcome.name(),
            exchange.outcome.name()
        );
        ensure!(self.result.action == real.action, "explained as action {}", self.result.action);
        // An explanation does not look for a newer next hop.
        let otherwise = bytes_depend_on_time || unforeseen(Occurrence::NextHopRefreshed);
        if let Some(text) = difference(&real.packet, &self.result.packet).filter(|_| !otherwise) {
            bail!("explained otherwise: {text}");
        }
        Ok(())
    }
}

/// The clock as the program wrote it into a packet, which must be about now.
fn read_clock(packet: &[u8], at: usize) -> Result<u32> {
    let bytes = packet.get(at..at + 4).context("the packet is too short to hold the clock")?;
    let written_ms = u32::from_be_bytes(bytes.try_into()?);
    let ago_ms = (monotonic_now().as_millis() as u32).wrapping_sub(written_ms);
    // The program's clock is coarse, and it may have been a while since it ran.
    ensure!(ago_ms < 5000, "the packet has a clock that is {ago_ms} ms behind");
    Ok(written_ms)
}

/// The counters that grew, and by how much.
fn added(before: &[Counter], after: &[Counter]) -> BTreeMap<&'static str, u64> {
    let pairs = before.iter().zip(after);
    pairs.filter(|(a, b)| a.count != b.count).map(|(a, b)| (b.name, b.count - a.count)).collect()
}

/// Where two frames differ first, with what is there in each.
fn difference(wanted: &[u8], got: &[u8]) -> Option<String> {
    if wanted == got {
        return None;
    }
    let pairs = wanted.iter().zip(got);
    let places: Vec<usize> = pairs.enumerate().filter(|(_, (a, b))| a != b).map(|(at, _)| at).collect();
    let row = |bytes: &[u8]| {
        let shown: Vec<String> = bytes.iter().take(140).map(|byte| format!("{byte:02x}")).collect();
        shown.join(" ")
    };
    Some(format!(
        "the frame has {} bytes, not {}, and differs at {places:?}\n  wanted {}\n  got    {}",
        got.len(),
        wanted.len(),
        row(wanted),
        row(got)
    ))
}

/// A set-up in the words of the product's planner.
pub(crate) fn desired(setup: &Setup) -> Result<Desired> {
    let mut desired = Desired { vips: setup.vips.iter().copied().collect(), ..Desired::default() };
    for service in &setup.services {
        let first = service.listen.first().context("a service listens somewhere")?;
        let key = SteeringKey { service: ServiceName::new(service.name)?, family: Family::of(first.ip()) };
        let named = |(name, address): &(&str, _)| {
            Ok((
                BackendName::new(*name)?,
                SteeredBackend { address: *address, weight: 1, max_flows: service.backend_max_flows },
            ))
        };
        let backends = service.backends.iter().map(named).collect::<Result<_>>()?;
        let slots = service.slots.iter().map(|name| Ok(BackendName::new(*name)?)).collect::<Result<_>>()?;
        let listen = service.listen.iter().copied().collect();
        desired.steering.insert(
            key,
            Steering {
                listen,
                protocol: service.protocol,
                forwarding: service.forwarding,
                scheduler: service.scheduler,
                when_down: service.when_down,
                default_policy: service.default_policy,
                max_flows: service.max_flows,
                at_limit: service.at_limit,
                backends,
                slots,
            },
        );
    }
    Ok(desired)
}
