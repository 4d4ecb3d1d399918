//! Chains of established flows: what one flow's entry makes of a packet is the packet of the next flow, so that a packet that
//! is run again and again meets another flow each time, as in life.

use super::report::median;
use super::xdp::{Environment, ROUNDS, TCP, packet, v4, wishes};
use crate::lab::interrupt;
use anyhow::{Result, ensure};
use lb_ebpf::abi::{Address, Direction, FlowKey, FlowRecord, Forwarding, NextHop, TraceFilter};
use lb_ebpf::flow_state::FlowState;
use lb_user::core::plan::firewall::Ruleset;
use lb_user::core::plan::steps;
use lb_user::io::dataplane::{Dataplane, Tracer, monotonic_now};
use lb_user::model::SchedulerKind;

/// Hops a packet can be rewritten before its TTL is used up.
const HOPS: u32 = 250;

/// Flows whose packets are measured.
#[derive(Clone, Copy)]
pub(super) struct Chain {
    /// How many: a power of two. With `keep_source` at most 256; with `dsr`, which changes no packet, 1.
    pub(super) flows: u32,
    pub(super) direction: Direction,
    pub(super) forwarding: Forwarding,
    pub(super) protocol: u8,
    /// By the program that tells about packets, and about which.
    pub(super) trace: Option<TraceFilter>,
}

impl Chain {
    /// TCP flows with NAT.
    pub(super) const fn of(flows: u32, direction: Direction) -> Self {
        Self { flows, direction, forwarding: Forwarding::Nat, protocol: TCP, trace: None }
    }

    /// The key of the `n`-th flow. A packet leaves from the address it came to, so that source and destination of all are one
    /// VIP, and ports tell them apart; the first 256 have one source port.
    fn key(&self, n: u32) -> FlowKey {
        let vip: Address = v4(10, 0, 0, 100).into();
        let [_, x, y, z] = self.scattered(n).to_be_bytes();
        FlowKey::new(vip, [8 + x, y], vip, [8, z], self.protocol)
    }

    /// Scatters flow numbers, so that neighbours in the chain are not neighbours in memory.
    const fn scattered(&self, n: u32) -> u32 {
        // An odd factor permutes a power of two.
        n.wrapping_mul(0x9e37_79b1) & (self.flows - 1)
    }

    /// The entry that turns packets of one key into packets of the next, of a flow of its own.
    fn record(&self, key: &FlowKey, next: &FlowKey) -> FlowRecord {
        let mut forward: FlowRecord = bytemuck::Zeroable::zeroed();
        if self.direction == Direction::Forward {
            forward.write(self.forwarding, 0, key, (&next.destination, next.destination_port()));
            if matches!(self.forwarding, Forwarding::Nat) {
                forward.set_new_source_port(next.source_port());
            }
            return forward;
        }
        let (to, from) = (next.destination_port(), next.source_port());
        let client = FlowKey::new(next.destination, to, next.source, from, self.protocol);
        forward.write(Forwarding::Nat, 0, &client, (&key.source, key.source_port()));
        forward.set_new_source_port(key.destination_port());
        let mut reverse: FlowRecord = bytemuck::Zeroable::zeroed();
        reverse.write_answers(&client, &forward);
        reverse
    }

    fn entries(&self) -> Result<Vec<(FlowKey, FlowRecord)>> {
        let now = u64::try_from(monotonic_now().as_nanos())?;
        let (destination, source) = ([2, 0, 0, 0, 0, 2], [2, 0, 0, 0, 0, 1]);
        let next_hop = NextHop { destination, source, ifindex: Environment::ifindex()?, mtu_bytes: 0 };
        let datagrams = if self.protocol == TCP { 0 } else { FlowState::DATAGRAMS.bits() };
        let entry = |n: u32| {
            let (key, next) = (self.key(n), self.key((n + 1) % self.flows));
            let mut record = self.record(&key, &next);
            record.state |= FlowState::ANSWERED.bits() | datagrams;
            record.next_hop = next_hop;
            record.next_hop_at_ticks = lb_ebpf::abi::ticks(now);
            (key, record)
        };
        Ok((0..self.flows).map(entry).collect())
    }

    /// Time of a packet in ns.
    pub(super) fn time(&self, environment: &Environment, rules: &Ruleset, empty_ns: f64) -> Result<f64> {
        let mut dataplane = environment.dataplane(self.flows.max(4096), 16384)?;
        dataplane.put_rules(rules)?;
        let vips = wishes(&[], &[v4(10, 0, 0, 100)], SchedulerKind::RoundRobin)?;
        dataplane.take(&steps(dataplane.image(), &vips)?)?;
        dataplane.write_flows(&self.entries()?)?;
        let ifindex = Environment::ifindex()?;
        // Where the events go wants one.
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
        let _entered = runtime.enter();
        let tracer = self.trace.map(|filter| Tracer::load(&environment.pin_dir, filter)).transpose()?;
        let run = |packet: &[u8]| match &tracer {
            Some((tracer, _)) => tracer.run(packet, ifindex, HOPS),
            None => dataplane.run(packet, ifindex, HOPS),
        };
        let lap = |first: u32, packets: u32| -> Result<f64> {
            let mut total = 0.0;
            let mut at = first;
            for _ in 0..packets / HOPS {
                interrupt::check()?;
                let run = run(&packet(&self.key(at % self.flows), 0x10, 255))?;
                expect_transmitted(&dataplane, run.action)?;
                total += run.duration.as_nanos() as f64;
                at = at.wrapping_add(HOPS);
            }
            Ok(total / f64::from(packets / HOPS))
        };
        // All flows once, so that every cached next hop is young and every page is mapped.
        let packets = self.flows.max(100 * HOPS);
        lap(0, packets)?;
        let mut results = Vec::new();
        for round in 0..ROUNDS {
            lap(0, self.flows.min(4096))?;
            results.push(lap(17 * round as u32, packets)? - empty_ns);
        }
        let outcomes = dataplane.counters()?.outcomes;
        // A few are the namespace's own, which come in by the veth.
        let stray =
            outcomes.iter().find(|one| one.count > 10 && !matches!(one.name, "to_backend" | "to_client"));
        ensure!(stray.is_none(), "not all packets were of established flows: {stray:?}");
        Ok(median(results))
    }
}

/// Says what became of packets where one was not transmitted.
pub(super) fn expect_transmitted(dataplane: &Dataplane, action: u32) -> Result<()> {
    let outcomes = || {
        let counters = dataplane.counters().map(|counters| counters.outcomes).unwrap_or_default();
        counters
            .iter()
            .filter(|one| one.count > 0)
            .map(|one| format!("{} {}", one.name, one.count))
            .collect::<Vec<_>>()
    };
    ensure!(action == 3, "the packet was not transmitted: action {action}; all so far: {:?}", outcomes());
    Ok(())
}
