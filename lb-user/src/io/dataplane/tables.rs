//! How full the tables are, and what memory they take.

use super::maps::failed;
use super::{Dataplane, DataplaneError};
use aya::maps::{Map, MapData};
use lb_ebpf::abi::{MAX_BACKENDS, MAX_RULES, MAX_SERVICES, MAX_SLOTS, MAX_VIPS};
use std::collections::BTreeMap;
use std::os::fd::{AsFd, AsRawFd};

/// A table, as people know it: it may be several maps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    /// Its name.
    pub name: &'static str,
    /// Entries in use; `None` where counting them costs too much and a full table does no harm.
    pub entries: Option<u64>,
    /// Entries there is room for; 0 where that says nothing.
    pub capacity: u64,
    /// Memory, as the kernel counts it.
    pub bytes: u64,
}

/// The map of each table; those that are of none are counted together.
const MAPS: [(&str, &[&str]); 10] = [
    ("established", &["ESTABLISHED"]),
    ("embryonic", &["EMBRYONIC"]),
    ("vips", &["VIPS", "VIP_FILTER"]),
    ("services", &["SERVICES", "CURSORS", "SERVICE_LIMITS"]),
    (
        "backends",
        &["BACKENDS", "BACKEND_STATS", "PORT_CURSORS", "ACTIVE_FLOWS", "FORGOTTEN_FLOWS", "ANSWER_FILTER"],
    ),
    ("slots", &["SLOTS"]),
    (
        "prefixes",
        &[
            "PREFIXES_V4_0",
            "PREFIXES_V4_1",
            "PREFIXES_V6_0",
            "PREFIXES_V6_1",
            "ADDRESSES_V4_0",
            "ADDRESSES_V4_1",
            "ADDRESSES_V6_0",
            "ADDRESSES_V6_1",
        ],
    ),
    ("rules", &["RULES", "RULE_HITS", "DECISIONS"]),
    ("limited sources", &["LIMITED_SOURCES"]),
    ("dropped sources", &["DROPPED_SOURCES", "DROP_SAMPLING"]),
];

impl Dataplane {
    /// All tables. Of the flow tables it tells the size only: the sweep counts them.
    pub fn tables(&self) -> Result<Vec<Table>, DataplaneError> {
        let mut memory: BTreeMap<&str, u64> = BTreeMap::new();
        let mut all_bytes = 0;
        for (name, map) in self.ebpf.maps() {
            let bytes = memory_of(map)?;
            all_bytes += bytes;
            memory.insert(name, bytes);
        }
        let mut tables: Vec<Table> = MAPS
            .iter()
            .map(|(name, maps)| {
                let bytes = maps.iter().filter_map(|map| memory.get(map)).sum();
                let (entries, capacity) = self.fill(name);
                Table { name, entries, capacity, bytes }
            })
            .collect();
        let bytes = all_bytes - tables.iter().map(|table| table.bytes).sum::<u64>();
        tables.push(Table { name: "others", entries: None, capacity: 0, bytes });
        Ok(tables)
    }

    fn fill(&self, table: &str) -> (Option<u64>, u64) {
        let capacity = |map| u64::from(super::flows::capacity(&self.ebpf, map));
        let count = |entries: usize| Some(entries as u64);
        let image = &self.image;
        match table {
            "established" => (None, capacity("ESTABLISHED")),
            "embryonic" => (None, capacity("EMBRYONIC")),
            "limited sources" => (None, capacity("LIMITED_SOURCES")),
            "vips" => (count(image.vips.len()), MAX_VIPS.into()),
            "services" => (count(image.services.len()), MAX_SERVICES.into()),
            "backends" => (count(image.backends.len()), MAX_BACKENDS.into()),
            // What is free lies between those in use; the last one in use says how far the table is filled.
            "slots" => (
                image.services.values().map(|service| u64::from(service.slots.end)).max().or(Some(0)),
                MAX_SLOTS.into(),
            ),
            "prefixes" => (count(self.firewall.most_prefixes()), capacity("ADDRESSES_V4_0")),
            "rules" => (count(self.firewall.rules()), MAX_RULES.into()),
            "dropped sources" => (None, capacity("DROPPED_SOURCES")),
            _ => (None, 0),
        }
    }
}

/// What the kernel says a map takes. Since Linux 6.4 that is right for all kinds.
fn memory_of(map: &Map) -> Result<u64, DataplaneError> {
    let data: &MapData = match map {
        Map::Array(data)
        | Map::PerCpuArray(data)
        | Map::HashMap(data)
        | Map::LruHashMap(data)
        | Map::LpmTrie(data)
        | Map::RingBuf(data) => data,
        _ => return Ok(0),
    };
    let path = format!("/proc/self/fdinfo/{}", data.fd().as_fd().as_raw_fd());
    let text = std::fs::read_to_string(&path).map_err(failed("fdinfo"))?;
    let line = text.lines().find_map(|line| line.strip_prefix("memlock:"));
    Ok(line.and_then(|bytes| bytes.trim().parse().ok()).unwrap_or(0))
}
