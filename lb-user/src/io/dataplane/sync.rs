//! Flows on their way from and to other nodes: what the program tells of, what became of it, and copies of others' flows.
//!
//! Owns its own handles on the established table, so that it can work on a thread of its own. Decides nothing about who tells
//! whom, and when.

use super::map_calls::{self, BatchWalk};
use super::maps::{Plain, again, failed, view};
use super::{Dataplane, DataplaneError, monotonic_now};
use crate::core::flow_sync::FlowCopy;
use aya::maps::{Array, HashMap, Map, MapData, RingBuf};
use lb_ebpf::abi::{
    Address, Direction, FlowKey, FlowRecord, Forwarding, NextHop, PeerPorts, SYNC_GRACE_UNTIL,
    SYNC_HEARD_UNTIL, SYNC_PEER_PORTS, SYNC_TELLS,
};
use std::collections::BTreeMap;
use std::os::fd::AsFd as _;
use std::time::Duration;

const NEWS: &str = "FLOW_NEWS";
const WORDS: &str = "SYNC";
const TABLE: &str = "ESTABLISHED";
/// Insert only where there is no entry.
const BPF_NOEXIST: u64 = 1;
/// Entries read with one system call: more than a bucket of the kernel's table may hold.
const BATCH: usize = 4096;

/// A backend as flows know it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KnownBackend {
    /// Its id here.
    pub id: u32,
    /// Its service's id here.
    pub service_id: u32,
    /// The hash of its names.
    pub name_hash: u64,
    /// Its address and port, network byte order.
    pub address: (Address, [u8; 2]),
}

/// The interface of the VIPs' network.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Link {
    /// Its index.
    pub ifindex: u32,
    /// Its MAC address.
    pub mac: [u8; 6],
}

/// What became of a copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Put {
    /// It is in the table.
    Done,
    /// There is a flow already, and it was to be kept.
    Kept,
    /// There is no such backend here, or it has another address.
    UnknownBackend,
}

/// Keys that the program tells of.
pub struct FlowNews {
    ring: RingBuf<MapData>,
    words: Array<MapData, u64>,
}

impl FlowNews {
    /// Calls `hear` with what was told since the last time, oldest first, but at most with so many.
    pub fn take(&mut self, most: usize, mut hear: impl FnMut(FlowKey)) {
        for _ in 0..most {
            let Some(item) = self.ring.next() else { return };
            bytemuck::try_pod_read_unaligned::<FlowKey>(&item).into_iter().for_each(&mut hear);
        }
    }

    /// Promises to listen for so long; afterwards no flow begins at VIPs that other nodes may take over. `None`: nobody needs to listen.
    pub fn promise(&mut self, lasts: Option<Duration>) -> Result<(), DataplaneError> {
        let until = lasts.map_or(Duration::ZERO, |lasts| monotonic_now() + lasts);
        let until = u64::try_from(until.as_nanos()).unwrap_or(u64::MAX);
        self.words.set(SYNC_HEARD_UNTIL, until, 0).map_err(failed(WORDS))
    }
}

type Flows = HashMap<MapData, Plain<FlowKey>, Plain<FlowRecord>>;

/// Reads flows for others, and writes those of others.
pub struct FlowCopies {
    flows: Flows,
    handle: MapData,
    backends: BTreeMap<u32, KnownBackend>,
    by_hash: BTreeMap<u64, KnownBackend>,
    link: Link,
}

/// A walk through the table, batch by batch.
pub struct WalkedKeys(BatchWalk<FlowKey, FlowRecord>);

impl Dataplane {
    /// Where the program tells. There is one reader.
    pub fn flow_news(&self) -> Result<FlowNews, DataplaneError> {
        let Some(Map::RingBuf(data)) = self.ebpf.map(NEWS) else {
            return Err(DataplaneError::Map { map: NEWS, reason: "not a ring buffer".into() });
        };
        let map = Map::from_map_data(again(data, NEWS)?).map_err(failed(NEWS))?;
        let Some(Map::Array(data)) = self.ebpf.map(WORDS) else {
            return Err(DataplaneError::Map { map: WORDS, reason: "not an array".into() });
        };
        let words = Map::from_map_data(again(data, WORDS)?).map_err(failed(WORDS))?;
        Ok(FlowNews {
            ring: RingBuf::try_from(map).map_err(failed(NEWS))?,
            words: Array::try_from(words).map_err(failed(WORDS))?,
        })
    }

    /// Access to flows for another thread. It knows no backends yet.
    pub fn flow_copies(&self) -> Result<FlowCopies, DataplaneError> {
        let Some(Map::HashMap(data)) = self.ebpf.map(TABLE) else {
            return Err(DataplaneError::Map { map: TABLE, reason: "not a hash table".into() });
        };
        let map = Map::from_map_data(again(data, TABLE)?).map_err(failed(TABLE))?;
        let flows = Flows::try_from(map).map_err(failed(TABLE))?;
        let handle = again(data, TABLE)?;
        let (backends, by_hash) = Default::default();
        Ok(FlowCopies { flows, handle, backends, by_hash, link: Link::default() })
    }

    /// Says whether the program tells of flows.
    pub fn tell_of_flows(&mut self, tells: bool) -> Result<(), DataplaneError> {
        // Whoever listens will promise to.
        self.set_sync_word(SYNC_HEARD_UNTIL, 0)?;
        self.set_sync_word(SYNC_TELLS, tells.into())
    }

    /// For so long from now, packets of unknown flows are dropped, not answered with RST.
    pub fn begin_grace(&mut self, lasts: Duration) -> Result<(), DataplaneError> {
        let until = u64::try_from((monotonic_now() + lasts).as_nanos()).unwrap_or(u64::MAX);
        self.set_sync_word(SYNC_GRACE_UNTIL, until)
    }

    /// Says which ports other nodes give to flows.
    pub fn set_peer_ports(&mut self, ports: PeerPorts) -> Result<(), DataplaneError> {
        self.set_sync_word(SYNC_PEER_PORTS, ports.word())
    }

    fn set_sync_word(&mut self, index: u32, word: u64) -> Result<(), DataplaneError> {
        let mut words: Array<&mut MapData, u64> = view(&mut self.ebpf, WORDS)?;
        words.set(index, word, 0).map_err(failed(WORDS))
    }

    /// The backends there are, as flows know them.
    pub fn known_backends(&self) -> Vec<KnownBackend> {
        let known = self.image().backends.iter().map(|(id, entry)| KnownBackend {
            id: *id,
            service_id: entry.service_id,
            name_hash: entry.name_hash,
            address: (entry.address.ip().into(), entry.address.port().to_be_bytes()),
        });
        known.collect()
    }
}

impl FlowCopies {
    /// These are the backends now, and by that interface their clients are reached.
    pub fn set_scene(&mut self, backends: Vec<KnownBackend>, link: Link) {
        self.by_hash = backends.iter().map(|backend| (backend.name_hash, *backend)).collect();
        self.backends = backends.into_iter().map(|backend| (backend.id, backend)).collect();
        self.link = link;
    }

    /// A walk from the table's beginning.
    pub fn begin_walk(&self) -> WalkedKeys {
        WalkedKeys(BatchWalk::new(BATCH))
    }

    /// The next flows of a walk, by their forward keys, with their VIPs and how long they have been silent; `None` at the end.
    pub fn walk(&self, walk: &mut WalkedKeys) -> Result<Option<Vec<(FlowKey, Duration)>>, DataplaneError> {
        let now = monotonic_now();
        let batch = walk.0.next(self.handle.fd().as_fd());
        let batch = batch.map_err(|error| DataplaneError::Map { map: TABLE, reason: error.to_string() })?;
        let Some((keys, records)) = batch else { return Ok(None) };
        let forward = keys.iter().zip(records).filter(|(_, record)| record.direction() == Direction::Forward);
        Ok(Some(forward.map(|(key, record)| (*key, idle(record, now))).collect()))
    }

    /// The flow that has this key in either direction, as others need to know it. `None`: it is gone, or nobody else could do
    /// anything with it.
    pub fn read(&self, key: &FlowKey) -> Option<FlowCopy> {
        let Plain(found) = self.flows.get(&Plain(*key), 0).ok()?;
        let twin_key = found.twin_key(key);
        let twin = self.flows.get(&Plain(twin_key), 0).ok().map(|Plain(twin)| twin);
        let (key, forward, reverse) = match found.direction() {
            Direction::Forward => (*key, found, twin),
            Direction::Reverse => (twin_key, twin?, Some(found)),
        };
        if reverse.is_none() && forward.forwarding() != Forwarding::Direct {
            return None;
        }
        let backend = self.backends.get(&forward.backend_id)?;
        let reverse = reverse.as_ref();
        let now = monotonic_now();
        Some(FlowCopy {
            key,
            forwarding: forward.forwarding(),
            backend_hash: backend.name_hash,
            backend: backend.address,
            source_port: forward.new_source_port(),
            // All bits that entries of a table have are in these.
            state: forward.state as u32,
            backend_isn: forward.backend_isn,
            fin_ends: [forward.fin_end, reverse.map_or(0, |reverse| reverse.fin_end)],
            shift: forward.shift,
            idle: reverse.map_or(Duration::MAX, |reverse| idle(reverse, now)).min(idle(&forward, now)),
            next_hops: [self.hop_of(Some(&forward)), self.hop_of(reverse)],
        })
    }

    fn hop_of(&self, record: Option<&FlowRecord>) -> [u8; 6] {
        let hop = record.map(|record| record.next_hop).filter(|hop| hop.ifindex == self.link.ifindex);
        hop.map_or([0; 6], |hop| hop.destination)
    }

    /// Writes a flow of another node; one that is here already is only overwritten unless it `keeps`.
    pub fn put(&mut self, copy: &FlowCopy, keeps: bool) -> Result<Put, DataplaneError> {
        let backend = self.by_hash.get(&copy.backend_hash).filter(|backend| backend.address == copy.backend);
        let Some(backend) = backend.copied() else { return Ok(Put::UnknownBackend) };
        let (forward, answers) = self.entries(copy, &backend);
        if let Some((reverse_key, reverse)) = answers {
            if let Ok(Plain(other)) = self.flows.get(&Plain(reverse_key), 0) {
                let other_key = other.twin_key(&reverse_key);
                if other_key != copy.key {
                    // A flow that had the port before, and whose end was never told.
                    if keeps && !other.state().is_closed() {
                        return Ok(Put::Kept);
                    }
                    self.take_out_if(&other_key, &reverse_key)?;
                    self.take_out(&reverse_key)?;
                }
            }
            // The flow may have had another port when it was told last.
            if !keeps
                && let Ok(Plain(before)) = self.flows.get(&Plain(copy.key), 0)
                && before.twin_key(&copy.key) != reverse_key
            {
                self.take_out_if(&before.twin_key(&copy.key), &copy.key)?;
            }
            if !self.write(&reverse_key, &reverse, keeps)? {
                return Ok(Put::Kept);
            }
        }
        Ok(if self.write(&copy.key, &forward, keeps)? { Put::Done } else { Put::Kept })
    }

    fn write(&mut self, key: &FlowKey, record: &FlowRecord, keeps: bool) -> Result<bool, DataplaneError> {
        let flags = if keeps { BPF_NOEXIST } else { 0 };
        match self.flows.insert(Plain(*key), Plain(*record), flags) {
            Ok(()) => Ok(true),
            Err(_) if keeps && self.flows.get(&Plain(*key), 0).is_ok() => Ok(false),
            Err(error) => Err(failed(TABLE)(error)),
        }
    }

    /// Both entries of a copy, as the program would have made them.
    fn entries(
        &self,
        copy: &FlowCopy,
        backend: &KnownBackend,
    ) -> (FlowRecord, Option<(FlowKey, FlowRecord)>) {
        let seen = monotonic_now().saturating_sub(copy.idle);
        let finish = |record: &mut FlowRecord, fin_end: u32, hop: [u8; 6]| {
            record.state = copy.state.into();
            record.last_seen_ns = u64::try_from(seen.as_nanos()).unwrap_or(0);
            record.backend_isn = copy.backend_isn;
            record.fin_end = fin_end;
            record.shift = copy.shift;
            let known = hop != [0; 6];
            let Link { ifindex, mac } = self.link;
            // Until the first packet asks the kernel, and should that not know.
            record.next_hop = NextHop {
                destination: hop,
                source: if known { mac } else { [0; 6] },
                ifindex: if known { ifindex } else { 0 },
                mtu_bytes: 0,
            };
        };
        let mut forward: FlowRecord = bytemuck::Zeroable::zeroed();
        forward.write(
            copy.forwarding,
            backend.service_id,
            &copy.key,
            (&backend.address.0, backend.address.1),
        );
        forward.backend_id = backend.id;
        if copy.forwarding == Forwarding::Nat {
            forward.set_new_source_port(copy.source_port);
        }
        let mut reverse: FlowRecord = bytemuck::Zeroable::zeroed();
        let reverse_key = forward.twin_key(&copy.key);
        reverse.write_answers(&copy.key, &forward);
        finish(&mut forward, copy.fin_ends[0], copy.next_hops[0]);
        finish(&mut reverse, copy.fin_ends[1], copy.next_hops[1]);
        let answers = (copy.forwarding != Forwarding::Direct).then_some((reverse_key, reverse));
        (forward, answers)
    }

    /// Takes out the flow that has this key in either direction. Returns whether there was one.
    pub fn remove(&mut self, key: &FlowKey) -> Result<bool, DataplaneError> {
        let Some(record) = self.take_out(key)? else { return Ok(false) };
        self.take_out_if(&record.twin_key(key), key)?;
        Ok(true)
    }

    /// Takes out an entry, if that one is still its other direction's: it may be another flow's by now, or have another port.
    fn take_out_if(&self, key: &FlowKey, twin: &FlowKey) -> Result<(), DataplaneError> {
        match self.flows.get(&Plain(*key), 0) {
            Ok(Plain(found)) if found.twin_key(key) == *twin => self.take_out(key).map(drop),
            _ => Ok(()),
        }
    }

    fn take_out(&self, key: &FlowKey) -> Result<Option<FlowRecord>, DataplaneError> {
        let taken = map_calls::take_out::<FlowKey, FlowRecord>(self.handle.fd().as_fd(), key);
        taken.map_err(|error| DataplaneError::Map { map: TABLE, reason: error.to_string() })
    }
}

fn idle(record: &FlowRecord, now: Duration) -> Duration {
    now.saturating_sub(Duration::from_nanos(record.last_seen_ns))
}
