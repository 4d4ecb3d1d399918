//! Loading the program over pinned maps.

use super::firewall::FirewallImage;
use super::pin_dir::{expect_pin_dir, pin_failed, remove_dir};
use super::{Dataplane, DataplaneError, attach, maps};
use crate::model::{AttachMode, PortRange, SynCookieMode};
use aya::maps::{Array, Map, MapData};
use aya::programs::Xdp;
use aya::{Ebpf, EbpfLoader};
use lb_ebpf::abi::{ABI_VERSION, NodeConfig};
use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};

/// The program as built by `cargo xtask build-ebpf`.
pub static PROGRAM_OBJECT: &[u8] =
    aya::include_bytes_aligned!(concat!(env!("CARGO_MANIFEST_DIR"), "/../lb-ebpf/object/lb-xdp.o"));
pub(super) const PROGRAM: &str = "lb_xdp";
/// The program that takes flows off their sources' accounts; it is run, never attached.
pub(super) const SETTLE_PROGRAM: &str = "lb_settle";

/// What to load and where.
#[derive(Clone, Debug)]
pub struct Options {
    /// Folder of the pins.
    pub pin_dir: PathBuf,
    /// Interfaces to attach to; may be empty in tests that only run the program.
    pub interfaces: Vec<String>,
    /// How to attach.
    pub attach: AttachMode,
    /// Flows the established table holds.
    pub established_flows: u32,
    /// Flows the embryonic table holds.
    pub embryonic_flows: u32,
    /// Sources that the table of limited ones holds.
    pub limited_sources: u32,
    /// Prefixes of each family that the firewall's tables hold.
    pub prefixes: u32,
    /// NAT ports of this node.
    pub nat_ports: PortRange,
    /// When SYNs are answered with cookies.
    pub syn_cookies: SynCookieMode,
}

/// What loading found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LoadReport {
    /// Maps of an earlier agent were taken over, with their flows.
    pub maps_taken_over: bool,
    /// Maps of this other ABI version were replaced, and their flows are gone. 0 is "unreadable".
    pub abi_replaced: Option<u32>,
    /// Interfaces that an earlier agent had and this one has not: the program was taken from them.
    pub interfaces_left: Vec<String>,
    /// Things the operator should know, each a sentence.
    pub warnings: Vec<String>,
}

/// An error with its causes, on one line.
pub(super) fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        cause = error.source();
    }
    text
}

/// Where the pins of the maps are, and where they are while another ABI's maps give way to new ones.
struct MapDirs {
    maps: PathBuf,
    new: PathBuf,
    old: PathBuf,
}

impl MapDirs {
    fn of(pin_dir: &Path) -> Self {
        let dir = |name| pin_dir.join(name);
        Self { maps: dir("maps"), new: dir("maps_new"), old: dir("maps_old") }
    }

    /// Puts the new maps in the place of the old ones.
    fn swap(&self) -> Result<(), DataplaneError> {
        remove_dir(&self.old)?;
        fs::rename(&self.maps, &self.old).map_err(pin_failed(&self.maps))?;
        fs::rename(&self.new, &self.maps).map_err(pin_failed(&self.new))?;
        remove_dir(&self.old)
    }

    /// Ends a swap that an agent died in: without maps in their place, the new ones are those that the program
    /// works with. Otherwise they are of a start that came to nothing.
    fn recover(&self) -> Result<(), DataplaneError> {
        if !has_maps(&self.maps) && has_maps(&self.new) {
            remove_dir(&self.maps)?;
            fs::rename(&self.new, &self.maps).map_err(pin_failed(&self.new))?;
        }
        remove_dir(&self.new)?;
        remove_dir(&self.old)
    }
}

/// `NODE` is a pin that all maps have beside them; a folder without it was being removed.
fn has_maps(dir: &Path) -> bool {
    dir.join("NODE").exists()
}

/// Whether what has that name in a folder of pins is a folder of an agent's maps.
pub(super) fn are_maps(pin_dir: &Path, name: &str) -> bool {
    let MapDirs { maps, new, old } = MapDirs::of(pin_dir);
    let folder = pin_dir.join(name);
    [&maps, &new, &old].contains(&&folder) && (has_maps(&folder) || has_maps(&maps) || is_empty(&folder))
}

fn is_empty(dir: &Path) -> bool {
    fs::read_dir(dir).is_ok_and(|mut inside| inside.next().is_none())
}

impl Dataplane {
    /// Loads the program that came with this binary over the pinned maps and attaches it.
    ///
    /// # Errors
    /// Says which pin, map or interface is in the way.
    pub fn open(options: &Options) -> Result<(Self, LoadReport), DataplaneError> {
        Self::open_object(options, PROGRAM_OBJECT)
    }

    /// The same with another program object (freshly built, in tests).
    pub fn open_object(options: &Options, object: &[u8]) -> Result<(Self, LoadReport), DataplaneError> {
        let (mut dataplane, mut report) = Self::load_object(options, object)?;
        dataplane.attach(options, &mut report)?;
        Ok((dataplane, report))
    }

    /// Loads the program that came with this binary over the pinned maps and attaches it nowhere: new maps are
    /// to be filled before packets meet them. Until [`attach`](Self::attach), an earlier program runs on.
    ///
    /// # Errors
    /// Says which pin or map is in the way.
    pub fn load(options: &Options) -> Result<(Self, LoadReport), DataplaneError> {
        Self::load_object(options, PROGRAM_OBJECT)
    }

    fn load_object(options: &Options, object: &[u8]) -> Result<(Self, LoadReport), DataplaneError> {
        fs::create_dir_all(&options.pin_dir).map_err(pin_failed(&options.pin_dir))?;
        expect_pin_dir(&options.pin_dir)?;
        let dirs = MapDirs::of(&options.pin_dir);
        dirs.recover()?;
        let mut report = LoadReport::default();
        let found = found_abi(&dirs.maps);
        report.maps_taken_over = found == Some(ABI_VERSION);
        report.abi_replaced = found.filter(|version| *version != ABI_VERSION);
        // Maps of another ABI stay under the old program until the new one has replaced it.
        let maps_wait = report.abi_replaced.is_some();
        let maps_dir = if maps_wait { &dirs.new } else { &dirs.maps };
        fs::create_dir_all(maps_dir).map_err(pin_failed(maps_dir))?;
        let mut ebpf = load(options, object, maps_dir)?;
        note_kept_sizes(&ebpf, options, &mut report);
        maps::write_node(&mut ebpf, node(options.nat_ports))?;
        super::cookies::set_up(&mut ebpf, options)?;
        let mut image = maps::read_image(&ebpf)?;
        let taken_over = report.maps_taken_over;
        let [busy_backend, busy_service] =
            if taken_over { super::accounts::last_busy(&ebpf)? } else { [None; 2] };
        image.continue_ids(busy_backend, busy_service);
        let firewall = FirewallImage::read(&ebpf)?;
        for name in [PROGRAM, SETTLE_PROGRAM] {
            program(&mut ebpf, name)?.load().map_err(|error| DataplaneError::Load(chain(&error)))?;
        }
        super::dropped::remember_sources(&mut ebpf)?;
        Ok((Self { ebpf, image, firewall, attachments: Vec::new(), maps_wait }, report))
    }

    /// Attaches the program to the interfaces. An earlier program is replaced atomically: no packet goes by
    /// without one.
    ///
    /// # Errors
    /// Says which pin or interface is in the way.
    pub fn attach(&mut self, options: &Options, report: &mut LoadReport) -> Result<(), DataplaneError> {
        self.attachments = attach::attach_all(program(&mut self.ebpf, PROGRAM)?, options, report)?;
        if self.maps_wait {
            MapDirs::of(&options.pin_dir).swap()?;
            self.maps_wait = false;
        }
        Ok(())
    }
}

pub(super) fn program<'a>(ebpf: &'a mut Ebpf, name: &str) -> Result<&'a mut Xdp, DataplaneError> {
    let program = ebpf
        .program_mut(name)
        .ok_or_else(|| DataplaneError::Load(format!("no program {name} in the object")))?;
    program.try_into().map_err(|error| DataplaneError::Load(chain(&error)))
}

fn node(nat_ports: PortRange) -> NodeConfig {
    NodeConfig {
        abi_version: ABI_VERSION,
        nat_port_first: nat_ports.first(),
        nat_port_count: u16::try_from(nat_ports.len()).unwrap_or(u16::MAX),
    }
}

impl Dataplane {
    /// Gives new flows NAT ports of this range; flows that are there keep theirs.
    pub fn set_nat_ports(&mut self, nat_ports: PortRange) -> Result<(), DataplaneError> {
        maps::write_node(&mut self.ebpf, node(nat_ports))
    }
}

fn load(options: &Options, object: &[u8], maps_dir: &Path) -> Result<Ebpf, DataplaneError> {
    let mut loader = EbpfLoader::new();
    for map in super::firewall::PREFIX_MAPS.iter().flatten() {
        loader.map_max_entries(map, options.prefixes);
    }
    loader
        .default_map_pin_directory(maps_dir)
        .map_max_entries("ESTABLISHED", options.established_flows.saturating_mul(2))
        .map_max_entries("EMBRYONIC", options.embryonic_flows.saturating_mul(2))
        .map_max_entries("LIMITED_SOURCES", options.limited_sources)
        .load(object)
        .map_err(|error| DataplaneError::Load(chain(&error)))
}

/// Whether maps that are pinned there can be gone on with, or there are none.
pub fn pins_are_ours(pin_dir: &Path) -> bool {
    found_abi(&MapDirs::of(pin_dir).maps).is_none_or(|version| version == ABI_VERSION)
}

/// The ABI version of pinned maps; 0 where maps are there but their version cannot be read.
fn found_abi(maps_dir: &Path) -> Option<u32> {
    let pin = maps_dir.join("NODE");
    if !pin.exists() {
        return None;
    }
    let read = || -> Option<u32> {
        let map = Map::from_map_data(MapData::from_pin(&pin).ok()?).ok()?;
        let node: Array<MapData, maps::Plain<NodeConfig>> = map.try_into().ok()?;
        Some(node.get(&0, 0).ok()?.0.abi_version)
    };
    Some(read().unwrap_or(0))
}

/// Maps that were taken over keep the size they were made with.
fn note_kept_sizes(ebpf: &Ebpf, options: &Options, report: &mut LoadReport) {
    let wanted = [
        ("ESTABLISHED", "flows", options.established_flows, 2),
        ("EMBRYONIC", "flows", options.embryonic_flows, 2),
        ("LIMITED_SOURCES", "sources", options.limited_sources, 1),
        ("ADDRESSES_V4_0", "prefixes", options.prefixes, 1),
    ];
    for (name, what, wanted, entries_each) in wanted {
        let has = super::flows::capacity(ebpf, name) / entries_each;
        if has != wanted {
            report.warnings.push(format!(
                "table {name} keeps its size of {has} {what} (the configuration says {wanted}); \
                 `lbctl detach` before the next start makes it anew, at the price of its {what}"
            ));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn maps_that_were_being_removed_give_way_to_the_new_ones() {
        let (root, dirs) = dirs(&["maps", "maps_new"]);
        fs::rename(dirs.maps.join("NODE"), dirs.maps.join("SLOTS")).expect("a file");
        dirs.recover().expect("a recovery");
        assert_eq!(found(root.path()), only("maps_new"));
    }

    /// A folder with these folders of maps in it, each with one file that says where it came from.
    fn dirs(names: &[&str]) -> (tempfile::TempDir, MapDirs) {
        let root = tempfile::tempdir().expect("a folder");
        for name in names {
            fs::create_dir(root.path().join(name)).expect("a folder");
            fs::write(root.path().join(name).join("NODE"), name).expect("a file");
        }
        let dirs = MapDirs::of(root.path());
        (root, dirs)
    }

    /// What is there, and where the maps in their place came from.
    fn found(root: &Path) -> (Vec<String>, Option<String>) {
        let entries = fs::read_dir(root).expect("a folder").flatten();
        let mut names: Vec<String> =
            entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        (names, fs::read_to_string(root.join("maps").join("NODE")).ok())
    }

    fn only(origin: &str) -> (Vec<String>, Option<String>) {
        (vec!["maps".to_owned()], Some(origin.to_owned()))
    }

    #[test]
    fn new_maps_take_the_place_of_the_old_ones() {
        let (root, dirs) = dirs(&["maps", "maps_new"]);
        dirs.swap().expect("a swap");
        assert_eq!(found(root.path()), only("maps_new"));
    }

    #[test]
    fn a_swap_that_was_cut_off_is_ended_by_the_next_start() {
        for left in [&["maps_old", "maps_new"][..], &["maps_new"]] {
            let (root, dirs) = dirs(left);
            dirs.recover().expect("a recovery");
            assert_eq!(found(root.path()), only("maps_new"), "from {left:?}");
        }
        for left in [&["maps", "maps_old"][..], &["maps", "maps_new"], &["maps"]] {
            let (root, dirs) = dirs(left);
            dirs.recover().expect("a recovery");
            assert_eq!(found(root.path()), only("maps"), "from {left:?}");
        }
    }
}
