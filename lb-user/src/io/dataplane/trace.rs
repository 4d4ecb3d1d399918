//! The program that tells about packets: loaded once more over the same maps, and put into the links for as long as somebody
//! looks.

use super::load::{PROGRAM, PROGRAM_OBJECT, chain};
use super::maps::{Plain, failed, view};
use super::run::{RunResult, run};
use super::{Dataplane, DataplaneError, attach};
use aya::maps::{Array, Map, MapData, RingBuf};
use aya::programs::Xdp;
use aya::{Ebpf, EbpfLoader};
use lb_ebpf::abi::{TraceEvent, TraceFilter};
use std::path::Path;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

const EVENTS: &str = "TRACE_EVENTS";
const FILTER: &str = "TRACE_FILTER";
/// Room for about ten thousand packets that nobody has read yet.
const RING_BYTES: u32 = 4 << 20;

/// The telling load.
pub struct Tracer {
    ebpf: Ebpf,
}

/// Where it tells.
pub struct TraceEvents {
    ring: AsyncFd<RingBuf<MapData>>,
}

impl Tracer {
    /// Loads it over the maps that are pinned below this folder. It runs nowhere yet.
    ///
    /// # Errors
    /// Where the maps are not there, or the kernel does not take the program.
    pub fn load(pin_dir: &Path, filter: TraceFilter) -> Result<(Self, TraceEvents), DataplaneError> {
        let refused = |error: &dyn std::error::Error| DataplaneError::Load(chain(error));
        let mut ebpf = EbpfLoader::new()
            .default_map_pin_directory(pin_dir.join("maps"))
            .override_global("TRACES", &1u8, true)
            .map_max_entries(EVENTS, RING_BYTES)
            .load(PROGRAM_OBJECT)
            .map_err(|error| refused(&error))?;
        let mut map: Array<&mut MapData, Plain<TraceFilter>> = view(&mut ebpf, FILTER)?;
        map.set(0, Plain(filter), 0).map_err(failed(FILTER))?;
        let events = ebpf.take_map(EVENTS).ok_or_else(|| wrong("not in the program's object"))?;
        let mut tracer = Self { ebpf };
        tracer.program()?.load().map_err(|error| refused(&error))?;
        super::dropped::remember_sources(&mut tracer.ebpf)?;
        Ok((tracer, TraceEvents::of(events)?))
    }

    /// As [`Dataplane::run`], by this load.
    ///
    /// # Errors
    /// The same.
    pub fn run(&self, packet: &[u8], ingress_ifindex: u32, repeat: u32) -> Result<RunResult, DataplaneError> {
        run(&self.ebpf, PROGRAM, packet, ingress_ifindex, repeat)
    }

    fn program(&mut self) -> Result<&mut Xdp, DataplaneError> {
        let program =
            self.ebpf.program_mut("lb_xdp").ok_or_else(|| DataplaneError::Load("no program".into()))?;
        program.try_into().map_err(|error| DataplaneError::Load(chain(&error)))
    }
}

impl Dataplane {
    /// Puts the telling load into the links. No packet goes by without a program.
    ///
    /// # Errors
    /// Says which link is in the way.
    pub fn begin_trace(&self, tracer: &mut Tracer, pin_dir: &Path) -> Result<(), DataplaneError> {
        let program = tracer.program()?;
        self.attachments().iter().try_for_each(|one| attach::put_into(program, pin_dir, &one.interface))
    }

    /// Puts the silent one back.
    ///
    /// # Errors
    /// Says which link is in the way.
    pub fn end_trace(&mut self, pin_dir: &Path) -> Result<(), DataplaneError> {
        let attachments = self.attachments.clone();
        let program = super::load::program(&mut self.ebpf, super::load::PROGRAM)?;
        attachments.iter().try_for_each(|one| attach::put_into(program, pin_dir, &one.interface))
    }
}

fn wrong(reason: impl Into<String>) -> DataplaneError {
    DataplaneError::Map { map: EVENTS, reason: reason.into() }
}

impl TraceEvents {
    fn of(map: Map) -> Result<Self, DataplaneError> {
        let ring = RingBuf::try_from(map).map_err(failed(EVENTS))?;
        // SAFETY: the ring owns its map's descriptor, always gives that one, and closes it only when it is dropped.
        let ring = unsafe { AsyncFd::register_with_interest(ring, Interest::READABLE) };
        Ok(Self { ring: ring.map_err(|error| wrong(error.to_string()))? })
    }

    /// What was told since the last call, oldest first. Waits for the first. May be dropped and called again: nothing is
    /// lost.
    pub async fn next(&mut self) -> std::io::Result<Vec<TraceEvent>> {
        loop {
            let mut ready = self.ring.readable_mut().await?;
            let mut events = Vec::new();
            while let Some(item) = ready.get_inner_mut().next() {
                events.extend(bytemuck::try_pod_read_unaligned::<TraceEvent>(&item));
            }
            ready.clear_ready();
            if !events.is_empty() {
                return Ok(events);
            }
        }
    }
}
