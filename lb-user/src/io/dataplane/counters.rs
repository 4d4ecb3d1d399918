//! Reading what the program counted.

use super::maps::{PerCpu, Plain, failed, read_view, view};
use super::{Dataplane, DataplaneError};
use aya::Ebpf;
use aya::maps::{Array, MapData, PerCpuArray, PerCpuValues};
use lb_ebpf::abi::BackendStats;
use lb_ebpf::outcome::{Occurrence, Outcome, Verdict};

/// One counter, by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counter {
    /// Its name.
    pub name: &'static str,
    /// What it counts.
    pub description: &'static str,
    /// Packets, or times.
    pub count: u64,
    /// Whether it counts packets that were dropped.
    pub dropped: bool,
}

/// All counters, summed over CPUs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// One for each outcome of a packet.
    pub outcomes: Vec<Counter>,
    /// Things that happened on the way.
    pub occurrences: Vec<Counter>,
}

/// What was counted for one backend address, summed over CPUs.
pub type BackendTotals = BackendStats;

impl Dataplane {
    /// All counters.
    pub fn counters(&self) -> Result<Counters, DataplaneError> {
        let outcomes: PerCpu<'_, u64> = read_view(&self.ebpf, "OUTCOMES")?;
        let occurrences: PerCpu<'_, u64> = read_view(&self.ebpf, "OCCURRENCES")?;
        let sum = |map: &PerCpu<'_, u64>, index: usize, name| -> Result<u64, DataplaneError> {
            let values = map.get(&(index as u32), 0).map_err(failed(name))?;
            Ok(values.iter().sum())
        };
        let mut counters = Counters::default();
        for (index, outcome) in Outcome::ALL.iter().enumerate() {
            let count = sum(&outcomes, index, "OUTCOMES")?;
            let description = outcome.description().trim();
            let dropped = outcome.verdict() == Verdict::Drop;
            counters.outcomes.push(Counter { name: outcome.name(), description, count, dropped });
        }
        for (index, occurrence) in Occurrence::ALL.iter().enumerate() {
            let count = sum(&occurrences, index, "OCCURRENCES")?;
            let description = occurrence.description().trim();
            counters.occurrences.push(Counter {
                name: occurrence.name(),
                description,
                count,
                dropped: false,
            });
        }
        Ok(counters)
    }

    /// Packets of handshakes that ended so, of which there is no record: SYNs that were answered with cookies (`CookieSent`), and what was
    /// let by to backends that answer directly (`Unrecorded`).
    pub fn packets_not_recorded(&self, outcomes_wanted: &[Outcome]) -> Result<u64, DataplaneError> {
        let outcomes: PerCpu<'_, u64> = read_view(&self.ebpf, "OUTCOMES")?;
        let mut count = 0;
        for outcome in outcomes_wanted {
            let values = outcomes.get(&(*outcome as u32), 0).map_err(failed("OUTCOMES"))?;
            count += values.iter().sum::<u64>();
        }
        Ok(count)
    }

    /// How many flows the program could not tell of, because nobody read what it told.
    pub fn sync_missed(&self) -> Result<u64, DataplaneError> {
        let occurrences: PerCpu<'_, u64> = read_view(&self.ebpf, "OCCURRENCES")?;
        let missed = occurrences.get(&(Occurrence::SyncMissed as u32), 0).map_err(failed("OCCURRENCES"))?;
        Ok(missed.iter().sum())
    }

    /// The next tickets of all services that drew any, and of all backends' NAT ports.
    pub fn cursors(&self) -> Result<Vec<u64>, DataplaneError> {
        let ports: Array<&MapData, u64> = read_view(&self.ebpf, "PORT_CURSORS")?;
        let slots: Array<&MapData, Plain<[u64; 8]>> = read_view(&self.ebpf, "CURSORS")?;
        let mut tickets = Vec::new();
        for id in self.image().backends.keys() {
            tickets.push(ports.get(id, 0).map_err(failed("PORT_CURSORS"))?);
        }
        for service in self.image().services.values() {
            let Plain([next, ..]) = slots.get(&service.id, 0).map_err(failed("CURSORS"))?;
            tickets.push(next);
        }
        Ok(tickets)
    }

    /// What was counted for a backend address.
    pub fn backend_totals(&self, id: u32) -> Result<BackendTotals, DataplaneError> {
        let map: PerCpu<'_, Plain<BackendStats>> = read_view(&self.ebpf, "BACKEND_STATS")?;
        let values = map.get(&id, 0).map_err(failed("BACKEND_STATS"))?;
        Ok(values.iter().fold(BackendTotals::default(), |sum, Plain(cpu)| BackendTotals {
            flows_new: sum.flows_new + cpu.flows_new,
            flows_established: sum.flows_established + cpu.flows_established,
            flows_refused: sum.flows_refused + cpu.flows_refused,
            flows_over_limit: sum.flows_over_limit + cpu.flows_over_limit,
            forward_packets: sum.forward_packets + cpu.forward_packets,
            forward_bytes: sum.forward_bytes + cpu.forward_bytes,
            reverse_packets: sum.reverse_packets + cpu.reverse_packets,
            reverse_bytes: sum.reverse_bytes + cpu.reverse_bytes,
        }))
    }
}

/// An id that a new backend gets begins its accounts at zero.
pub(super) fn clear_backend(ebpf: &mut Ebpf, id: u32) -> Result<(), DataplaneError> {
    let cpus = aya::util::nr_cpus().map_err(|(file, error)| DataplaneError::Map {
        map: "BACKEND_STATS",
        reason: format!("{file}: {error}"),
    })?;
    let mut map: PerCpuArray<&mut MapData, Plain<BackendStats>> = view(ebpf, "BACKEND_STATS")?;
    let zero = PerCpuValues::try_from(vec![Plain(BackendStats::default()); cpus])
        .map_err(|error| DataplaneError::Map { map: "BACKEND_STATS", reason: error.to_string() })?;
    map.set(id, zero, 0).map_err(failed("BACKEND_STATS"))
}
