//! The program that explains: loaded once more, over the same maps, with every write switched off.

use super::load::{PROGRAM_OBJECT, chain};
use super::maps::{Plain, failed, read_view, view};
use super::run::run;
use super::{DataplaneError, RunResult};
use aya::maps::{Array, MapData};
use aya::programs::Xdp;
use aya::{Ebpf, EbpfLoader};
use lb_ebpf::abi::Explanation;
use std::path::Path;

/// The explaining load.
pub struct Explainer {
    ebpf: Ebpf,
}

impl Explainer {
    /// Loads it over the maps that are pinned below this folder.
    ///
    /// # Errors
    /// Where the maps are not there, or the kernel does not take the program.
    pub fn load(pin_dir: &Path) -> Result<Self, DataplaneError> {
        Self::load_object(pin_dir, PROGRAM_OBJECT)
    }

    /// The same with another program object (freshly built, in tests).
    pub fn load_object(pin_dir: &Path, object: &[u8]) -> Result<Self, DataplaneError> {
        let refused = |error: &dyn std::error::Error| DataplaneError::Load(chain(error));
        let mut ebpf = EbpfLoader::new()
            .default_map_pin_directory(pin_dir.join("maps"))
            .override_global("EXPLAINS", &1u8, true)
            .load(object)
            .map_err(|error| refused(&error))?;
        let program = ebpf.program_mut("lb_xdp").ok_or_else(|| DataplaneError::Load("no program".into()))?;
        let program: &mut Xdp = program.try_into().map_err(|error| refused(&error))?;
        program.load().map_err(|error| refused(&error))?;
        Ok(Self { ebpf })
    }

    /// What the program would do with a packet that comes in by the interface with this index, and why. Changes no map
    /// but its own.
    pub fn explain(
        &mut self,
        packet: &[u8],
        ingress_ifindex: u32,
    ) -> Result<(RunResult, Explanation), DataplaneError> {
        const NAME: &str = "EXPLANATION";
        let mut map: Array<&mut MapData, Plain<Explanation>> = view(&mut self.ebpf, NAME)?;
        map.set(0, Plain(Explanation::START), 0).map_err(failed(NAME))?;
        let result = run(&self.ebpf, "lb_xdp", packet, ingress_ifindex, 1)?;
        let map: Array<&MapData, Plain<Explanation>> = read_view(&self.ebpf, NAME)?;
        let Plain(explanation) = map.get(&0, 0).map_err(failed(NAME))?;
        Ok((result, explanation))
    }
}
