//! Reading, expiring and cutting flows.

use super::accounts::Accounts;
use super::map_calls::{self, BatchWalk};
use super::maps::{Plain, again, failed};
use super::{Dataplane, DataplaneError};
use crate::core::expiry::Timeouts;
use crate::model::Protocol;
use aya::Ebpf;
use aya::maps::{HashMap, Map, MapData};
use lb_ebpf::abi::{Direction, FlowKey, FlowRecord, service_account};
use lb_ebpf::wire::PROTOCOL_UDP;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

/// Insert only where there is no entry.
const BPF_NOEXIST: u64 = 1;
/// Entries read with one system call.
const BATCH: usize = 4096;

/// One flow, as its forward entry tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FlowEntry {
    /// The transport protocol.
    pub protocol: Protocol,
    /// The client.
    pub client: SocketAddr,
    /// The VIP and port it addressed.
    pub vip: SocketAddr,
    /// The source that the backend sees.
    pub nat: SocketAddr,
    /// The backend.
    pub backend: SocketAddr,
    /// Its id.
    pub backend_id: u32,
    /// Its state in a word.
    pub state: &'static str,
    /// Since its last packet from the client.
    pub idle: Duration,
    /// Packets from the client.
    pub forward_packets: u64,
    /// Their IP bytes.
    pub forward_bytes: u64,
}

/// What a sweep found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SweepReport {
    /// Entries of the established table, after the sweep.
    pub established_entries: u64,
    /// Entries it can hold.
    pub established_capacity: u64,
    /// Entries of the embryonic table, after the sweep.
    pub embryonic_entries: u64,
    /// Entries it can hold.
    pub embryonic_capacity: u64,
    /// Flows that were forgotten.
    pub expired_flows: u64,
    /// How long it took.
    pub took: Duration,
}

/// The clock that flow records are stamped with.
pub fn monotonic_now() -> Duration {
    nix::time::clock_gettime(nix::time::ClockId::CLOCK_MONOTONIC).map_or(Duration::ZERO, Duration::from)
}

pub(super) fn capacity(ebpf: &Ebpf, name: &str) -> u32 {
    let data = match ebpf.map(name) {
        Some(Map::HashMap(data) | Map::LruHashMap(data)) => data,
        _ => return 0,
    };
    data.info().map_or(0, |info| info.max_entries())
}

type Flows = HashMap<MapData, Plain<FlowKey>, Plain<FlowRecord>>;

/// Its own handles on the flow tables, so that it can work on another thread.
pub struct FlowSweeper {
    established: Table,
    embryonic: Table,
    accounts: Accounts,
}

struct Table {
    name: &'static str,
    flows: Flows,
    handle: MapData,
    capacity: u64,
}

impl Table {
    fn open(ebpf: &Ebpf, name: &'static str) -> Result<Self, DataplaneError> {
        let data = match ebpf.map(name) {
            Some(Map::HashMap(data) | Map::LruHashMap(data)) => data,
            _ => return Err(DataplaneError::Map { map: name, reason: "not a hash table".into() }),
        };
        let info = data.info().map_err(failed(name))?;
        let open = || again(data, name);
        let map = Map::from_map_data(open()?).map_err(failed(name))?;
        let flows = Flows::try_from(map).map_err(failed(name))?;
        Ok(Self { name, flows, handle: open()?, capacity: u64::from(info.max_entries()) })
    }

    /// Calls `visit` with every entry.
    fn walk(&self, mut visit: impl FnMut(&FlowKey, &FlowRecord)) -> Result<(), DataplaneError> {
        self.walk_while(|key, record| {
            visit(key, record);
            true
        })
    }

    /// Calls `visit` with entries for as long as it says true.
    fn walk_while(&self, visit: impl FnMut(&FlowKey, &FlowRecord) -> bool) -> Result<(), DataplaneError> {
        let walked = BatchWalk::new(BATCH).while_wanted(self.handle.fd().as_fd(), visit);
        walked.map_err(failed(self.name))
    }

    /// Takes an entry out unless it has come to life since it was read.
    fn take_if(&mut self, key: &FlowKey, dead: impl Fn(&FlowRecord) -> bool) -> Option<FlowRecord> {
        if !self.flows.get(&Plain(*key), 0).is_ok_and(|Plain(record)| dead(&record)) {
            return None;
        }
        match map_calls::take_out::<FlowKey, FlowRecord>(self.handle.fd().as_fd(), key) {
            // A new flow took the tuple in between: it gets its entry back, unless it has another by now.
            Ok(Some(record)) if !dead(&record) => {
                let _ = self.flows.insert(Plain(*key), Plain(record), BPF_NOEXIST);
                None
            }
            taken => taken.ok().flatten(),
        }
    }
}

impl Dataplane {
    /// Handles on the flow tables for another thread.
    pub fn sweeper(&self) -> Result<FlowSweeper, DataplaneError> {
        Ok(FlowSweeper {
            established: Table::open(&self.ebpf, "ESTABLISHED")?,
            embryonic: Table::open(&self.ebpf, "EMBRYONIC")?,
            accounts: Accounts::open(&self.ebpf)?,
        })
    }
}

impl Dataplane {
    /// All entries of both flow tables, as they are.
    pub fn read_flows(&self) -> Result<Vec<(FlowKey, FlowRecord)>, DataplaneError> {
        let mut flows = Vec::new();
        for name in ["ESTABLISHED", "EMBRYONIC"] {
            Table::open(&self.ebpf, name)?.walk(|key, record| flows.push((*key, *record)))?;
        }
        Ok(flows)
    }

    /// Writes entries into the established table as they are.
    pub fn write_flows(&mut self, entries: &[(FlowKey, FlowRecord)]) -> Result<(), DataplaneError> {
        let mut map: HashMap<&mut MapData, Plain<FlowKey>, Plain<FlowRecord>> =
            super::maps::view(&mut self.ebpf, "ESTABLISHED")?;
        for (key, record) in entries {
            map.insert(Plain(*key), Plain(*record), 0).map_err(failed("ESTABLISHED"))?;
        }
        Ok(())
    }
}

fn idle(record: &FlowRecord, now: Duration) -> Duration {
    now.saturating_sub(Duration::from_nanos(record.last_seen_ns))
}

impl FlowSweeper {
    /// Forgets flows that have been silent for longer than their state's timeout. A flow lives as long as
    /// either direction does: both entries are judged by the later of them.
    pub fn sweep(&mut self, timeouts: Timeouts, now: Duration) -> Result<SweepReport, DataplaneError> {
        let begun = Instant::now();
        let mut report = SweepReport {
            established_capacity: self.established.capacity,
            embryonic_capacity: self.embryonic.capacity,
            ..SweepReport::default()
        };
        let mut counted: BTreeMap<u32, u64> = BTreeMap::new();
        let before = self.accounts.begin()?;
        for table in [&mut self.established, &mut self.embryonic] {
            let established = table.name == "ESTABLISHED";
            let timeouts = if established { timeouts } else { timeouts.while_embryonic() };
            // How full the table is shows only at the end: until then, closed flows may be in a hurry.
            let hurried = timeouts.hurried();
            let mut entries = 0;
            let (mut silent, mut silent_answers) = (Vec::new(), Vec::new());
            table.walk(|key, record| {
                entries += 1;
                let forward = record.direction() == Direction::Forward;
                if forward && established && !record.state().is_closed() {
                    *counted.entry(record.backend_id).or_default() += 1;
                    *counted.entry(service_account(record.service_id())).or_default() += 1;
                }
                if idle(record, now) > hurried.of(record.state()) {
                    if forward { &mut silent } else { &mut silent_answers }.push((*key, *record));
                }
            })?;
            if established {
                self.accounts.compare(&before, &counted)?;
            }
            let timeouts = timeouts.under_pressure(entries, table.capacity);
            let mut removed = 0;
            for (key, record) in silent {
                removed +=
                    forget_if_silent(table, &mut self.accounts, &key, &record, timeouts, now, &mut report);
            }
            for (key, record) in silent_answers {
                removed += u64::from(remove_orphan(table, &key, &record, timeouts, now));
            }
            let left = entries.saturating_sub(removed);
            match table.name {
                "ESTABLISHED" => report.established_entries = left,
                _ => report.embryonic_entries = left,
            }
        }
        report.took = begun.elapsed();
        Ok(report)
    }

    /// Forward entries of flows that `wanted` accepts, at most `limit`; says whether there were more.
    pub fn list(
        &self,
        now: Duration,
        limit: usize,
        wanted: impl Fn(&FlowEntry) -> bool,
    ) -> Result<(Vec<FlowEntry>, bool), DataplaneError> {
        let mut flows = Vec::new();
        let mut more = false;
        for table in [&self.established, &self.embryonic] {
            table.walk_while(|key, record| {
                if record.direction() != Direction::Forward {
                    return true;
                }
                let entry = flow_entry(key, record, now);
                if wanted(&entry) {
                    if flows.len() < limit { flows.push(entry) } else { more = true }
                }
                // One more than fits is all there is to know.
                !more
            })?;
            if more {
                break;
            }
        }
        Ok((flows, more))
    }

    /// Forgets all flows of a backend: their next packets are answered with RST. Returns how many.
    pub fn cut(&mut self, backend_id: u32) -> Result<u64, DataplaneError> {
        let mut cut = 0;
        // In this order, so that a flow that is promoted meanwhile is met in the second table.
        for table in [&mut self.embryonic, &mut self.established] {
            let mut keys = Vec::new();
            table.walk(|key, record| {
                if record.backend_id == backend_id {
                    keys.push((*key, record.direction()));
                }
            })?;
            for (key, direction) in keys {
                let taken = table.take_if(&key, |record| record.backend_id == backend_id);
                if let Some(record) = taken.filter(|_| direction == Direction::Forward) {
                    cut += 1;
                    if table.name == "ESTABLISHED" {
                        self.accounts.forget(&key, &record);
                    }
                }
            }
        }
        Ok(cut)
    }
}

/// Removes both entries of a flow when both are silent. Returns how many entries went.
fn forget_if_silent(
    table: &mut Table,
    accounts: &mut Accounts,
    key: &FlowKey,
    record: &FlowRecord,
    timeouts: Timeouts,
    now: Duration,
    report: &mut SweepReport,
) -> u64 {
    let twin_key = record.twin_key(key);
    let twin_idle = match table.flows.get(&Plain(twin_key), 0) {
        Ok(Plain(twin)) => idle(&twin, now),
        Err(_) => Duration::MAX,
    };
    let limit = timeouts.of(record.state());
    if idle(record, now).min(twin_idle) <= limit {
        return 0;
    }
    let last_seen_ns = record.last_seen_ns;
    // A packet since the walk, or a new flow on the same tuple, has another stamp.
    let Some(taken) = table.take_if(key, |found| found.last_seen_ns == last_seen_ns) else { return 0 };
    report.expired_flows += 1;
    if table.name == "ESTABLISHED" {
        accounts.forget(key, &taken);
    }
    let twin_gone = table.take_if(&twin_key, |twin| idle(twin, now) > limit).is_some();
    1 + u64::from(twin_gone)
}

/// Removes a reverse entry whose forward entry is gone (evicted, or lost to a race), or goes by another port, once silent.
fn remove_orphan(
    table: &mut Table,
    key: &FlowKey,
    record: &FlowRecord,
    timeouts: Timeouts,
    now: Duration,
) -> bool {
    idle(record, now) > timeouts.of(record.state())
        && !leads_back(table, key, &record.twin_key(key))
        && table.take_if(key, |found| found.last_seen_ns == record.last_seen_ns).is_some()
}

/// Whether there is an entry, and it belongs to that one.
fn leads_back(table: &Table, key: &FlowKey, twin_key: &FlowKey) -> bool {
    table.flows.get(&Plain(*twin_key), 0).is_ok_and(|Plain(twin)| twin.twin_key(twin_key) == *key)
}

fn flow_entry(key: &FlowKey, record: &FlowRecord, now: Duration) -> FlowEntry {
    let socket =
        |address: lb_ebpf::abi::Address, port| SocketAddr::new(address.into(), u16::from_be_bytes(port));
    FlowEntry {
        client: socket(key.source, key.source_port()),
        vip: socket(key.destination, key.destination_port()),
        protocol: if key.protocol() == PROTOCOL_UDP { Protocol::Udp } else { Protocol::Tcp },
        nat: socket(*record.rewritten(key).0, record.new_source_port()),
        backend: socket(record.new_address, record.new_destination_port()),
        backend_id: record.backend_id,
        state: record.state().name(),
        idle: idle(record, now),
        forward_packets: record.packets,
        forward_bytes: record.bytes,
    }
}
