//! Whose packets the program dropped, as it remembers them.

use super::flows::monotonic_now;
use super::load::{chain, program};
use super::map_calls::BatchWalk;
use super::maps::{Plain, again, failed, view};
use super::{Dataplane, DataplaneError};
use aya::Ebpf;
use aya::maps::{Array, HashMap, Map, MapData, ProgramArray};
use lb_ebpf::abi::{DroppedPackets, DroppedSource, MAX_DROPPED_SOURCES};
use lb_ebpf::outcome::Outcome;
use std::net::IpAddr;
use std::os::fd::AsFd as _;
use std::time::Duration;

/// The program that remembers, and where the other one looks for it.
const FOLLOWS: &str = "lb_dropped";
const PLACE: &str = "DROP_PROGRAM";
const NAME: &str = "DROPPED_SOURCES";
const ROUND: &str = "DROP_ROUND";

/// Packets of a source that were dropped for one reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dropped {
    /// An address, or of IPv6 the first of its 2^64.
    pub network: IpAddr,
    /// Why.
    pub outcome: &'static str,
    /// How many: counted where there are few drops, estimated where there are many.
    pub packets: u64,
    /// Since the first that is remembered.
    pub first: Duration,
    /// Since the last.
    pub last: Duration,
}

/// Its own handles on the table, so that it can work on another thread.
pub struct DroppedSources {
    entries: HashMap<MapData, Plain<DroppedSource>, Plain<DroppedPackets>>,
    handle: MapData,
}

/// Puts the program that remembers sources of packets that are dropped behind the one that drops them. Who lets go of the load ends that: the
/// kernel empties the place.
pub(super) fn remember_sources(ebpf: &mut Ebpf) -> Result<(), DataplaneError> {
    let program = program(ebpf, FOLLOWS)?;
    program.load().map_err(|error| DataplaneError::Load(chain(&error)))?;
    let follows = program.fd().map_err(|error| DataplaneError::Load(chain(&error)))?;
    let follows = follows.try_clone().map_err(|error| DataplaneError::Load(chain(&error)))?;
    let mut place: ProgramArray<&mut MapData> = view(ebpf, PLACE)?;
    place.set(0, &follows, 0).map_err(failed(PLACE))
}

impl Dataplane {
    /// Handles on what is remembered of sources.
    pub fn dropped_sources(&self) -> Result<DroppedSources, DataplaneError> {
        let Some(Map::LruHashMap(data)) = self.ebpf.map(NAME) else {
            return Err(DataplaneError::Map { map: NAME, reason: "not a hash table".into() });
        };
        let map = Map::from_map_data(again(data, NAME)?).map_err(failed(NAME))?;
        Ok(DroppedSources {
            entries: HashMap::try_from(map).map_err(failed(NAME))?,
            handle: again(data, NAME)?,
        })
    }

    /// Lets each CPU remember some more drops one by one. Once a second; without, it estimates.
    pub fn begin_drop_round(&mut self) -> Result<(), DataplaneError> {
        let mut map: Array<&mut MapData, u32> = view(&mut self.ebpf, ROUND)?;
        let round = map.get(&0, 0).map_err(failed(ROUND))?;
        map.set(0, round.wrapping_add(1), 0).map_err(failed(ROUND))
    }
}

impl DroppedSources {
    /// All that were dropped within that time; the others are forgotten.
    pub fn look(&mut self, within: Duration) -> Result<Vec<Dropped>, DataplaneError> {
        let now = monotonic_now();
        let since = |ns: u64| now.saturating_sub(Duration::from_nanos(ns));
        let (mut found, mut old) = (Vec::new(), Vec::new());
        let walk = BatchWalk::new(MAX_DROPPED_SOURCES as usize);
        let visit = |key: &DroppedSource, value: &DroppedPackets| {
            let (first, last) = (since(value.first_ns), since(value.last_ns));
            if last > within {
                old.push(*key);
                return true;
            }
            let outcome = Outcome::ALL.get(key.outcome as usize).map_or("unknown", |found| found.name());
            found.push(Dropped { network: key.network.into(), outcome, packets: value.packets, first, last });
            true
        };
        walk.while_wanted(self.handle.fd().as_fd(), visit).map_err(failed(NAME))?;
        for key in old {
            // Evicted already is as good.
            let _ = self.entries.remove(&Plain(key));
        }
        Ok(found)
    }
}
