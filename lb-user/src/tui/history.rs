//! Figures of the last two minutes: rates, made of counters that only grow.
//!
//! Owns what was counted before. Asks nobody and draws nothing.

use super::feed::Seen;
use crate::api::{BackendView, ServiceView};
use crate::model::{BackendName, ServiceName};
use std::collections::{BTreeMap, VecDeque};
use std::time::Instant;

const SAMPLES_MAX: usize = 120;

type BackendKey = (ServiceName, BackendName);

/// Values of the last moments, the latest last.
pub(super) type Values = VecDeque<u64>;

/// What is counted of a service or a backend.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Counted {
    new_flows: u64,
    bytes: u64,
}

/// The same a second.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Rate {
    pub(super) new_flows: f64,
    pub(super) bits: f64,
}

/// One moment.
#[derive(Clone, Debug)]
struct Sample {
    at: Instant,
    cpu_ms: u64,
    /// Packets by outcome, and whether they were dropped.
    outcomes: BTreeMap<String, (u64, bool)>,
    backends: BTreeMap<BackendKey, Counted>,
}

/// Rates of a node.
#[derive(Clone, Debug, Default)]
pub(super) struct History {
    last: Option<Sample>,
    /// New flows, bits, packets and dropped packets a second.
    pub(super) new_flows: Values,
    pub(super) bits: Values,
    pub(super) packets: Values,
    pub(super) dropped: Values,
    /// Of one CPU.
    pub(super) cpu_percent: f64,
    rates: BTreeMap<BackendKey, Rate>,
    services: BTreeMap<ServiceName, Values>,
    outcomes: BTreeMap<String, f64>,
}

fn key(backend: &BackendView) -> BackendKey {
    (backend.service.clone(), backend.name.clone())
}

fn sample(seen: &Seen) -> Sample {
    let counted = |backend: &BackendView| Counted {
        new_flows: backend.flows_new,
        bytes: backend.forward_bytes + backend.reverse_bytes,
    };
    let backends = seen.snapshot.services.iter().flat_map(|service| &service.backends);
    let outcomes = seen.snapshot.counters.outcomes.iter();
    Sample {
        at: seen.at,
        cpu_ms: seen.snapshot.status.process.cpu_ms,
        outcomes: outcomes.map(|one| (one.name.clone(), (one.count, one.dropped))).collect(),
        backends: backends.map(|backend| (key(backend), counted(backend))).collect(),
    }
}

impl History {
    /// Another look.
    pub(super) fn add(&mut self, seen: &Seen) {
        let now = sample(seen);
        if let Some(before) = self.last.take() {
            self.compare(&before, &now);
            for service in &seen.snapshot.services {
                let bits = self.service(service).bits;
                push(self.services.entry(service.name.clone()).or_default(), bits);
            }
        }
        self.last = Some(now);
    }

    fn compare(&mut self, before: &Sample, now: &Sample) {
        let seconds = now.at.saturating_duration_since(before.at).as_secs_f64().max(0.001);
        // Counters that begin anew have not gone backwards.
        let rate = |now: u64, before: u64| now.saturating_sub(before) as f64 / seconds;
        let rates = |(name, now): (&BackendKey, &Counted)| {
            let before = before.backends.get(name)?;
            let new_flows = rate(now.new_flows, before.new_flows);
            Some((name.clone(), Rate { new_flows, bits: rate(now.bytes, before.bytes) * 8.0 }))
        };
        self.rates = now.backends.iter().filter_map(rates).collect();
        let outcome = |(name, (count, _)): (&String, &(u64, bool))| {
            Some((name.clone(), rate(*count, before.outcomes.get(name)?.0)))
        };
        self.outcomes = now.outcomes.iter().filter_map(outcome).collect();
        let dropped = now.outcomes.iter().filter(|(_, (_, dropped))| *dropped);
        let dropped = dropped.map(|(name, _)| self.outcome(name)).sum();
        push(&mut self.new_flows, self.rates.values().map(|rate| rate.new_flows).sum());
        push(&mut self.bits, self.rates.values().map(|rate| rate.bits).sum());
        push(&mut self.packets, self.outcomes.values().sum());
        push(&mut self.dropped, dropped);
        self.cpu_percent = rate(now.cpu_ms, before.cpu_ms) / 10.0;
    }

    /// Packets a second.
    pub(super) fn outcome(&self, name: &str) -> f64 {
        self.outcomes.get(name).copied().unwrap_or_default()
    }

    pub(super) fn backend(&self, backend: &BackendView) -> Rate {
        self.rates.get(&key(backend)).copied().unwrap_or_default()
    }

    pub(super) fn service(&self, service: &ServiceView) -> Rate {
        let add = |sum: Rate, rate: Rate| Rate {
            new_flows: sum.new_flows + rate.new_flows,
            bits: sum.bits + rate.bits,
        };
        service.backends.iter().map(|backend| self.backend(backend)).fold(Rate::default(), add)
    }

    /// Bits a second of a service.
    pub(super) fn service_bits(&self, service: &ServiceName) -> impl DoubleEndedIterator<Item = &u64> {
        self.services.get(service).into_iter().flatten()
    }
}

fn push(values: &mut Values, value: f64) {
    if values.len() == SAMPLES_MAX {
        values.pop_front();
    }
    values.push_back(value.round().clamp(0.0, 1e15) as u64);
}
