//! Running the loaded program on a packet of our own (BPF_PROG_TEST_RUN), against the live maps.

use super::load::chain;
use super::{Dataplane, DataplaneError};
use aya::Ebpf;
use aya::programs::{Program, TestRun, TestRunAttrs, TestRunOptions, Xdp};
use std::time::{Duration, Instant};

static PASS_OBJECT: &[u8] =
    aya::include_bytes_aligned!(concat!(env!("CARGO_MANIFEST_DIR"), "/../lb-ebpf/object/lb-pass.o"));

/// What the program did with a packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunResult {
    /// The XDP action: 1 drop, 2 pass, 3 transmit, 4 redirect.
    pub action: u32,
    /// The packet afterwards.
    pub packet: Vec<u8>,
    /// Mean time of a run.
    pub duration: Duration,
}

/// `struct xdp_md` of the kernel's UAPI.
#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct XdpMd {
    data: u32,
    data_end: u32,
    data_meta: u32,
    ingress_ifindex: u32,
    rx_queue_index: u32,
    egress_ifindex: u32,
}

impl Dataplane {
    /// How many instructions the kernel's verifier looked at to accept the program; it gives up at a million. `None` where
    /// the kernel does not tell.
    pub fn verified_instructions(&self) -> Option<u32> {
        let Some(Program::Xdp(program)) = self.ebpf.program("lb_xdp") else { return None };
        program.info().ok()?.verified_instruction_count()
    }

    /// Runs the program on `packet` as if it had arrived at the interface with this index, `repeat` times.
    /// The packet is not restored between repeats: repeat only what leaves it alone, or what leads on.
    ///
    /// # Errors
    /// The kernel refuses packets shorter than an Ethernet header.
    pub fn run(&self, packet: &[u8], ingress_ifindex: u32, repeat: u32) -> Result<RunResult, DataplaneError> {
        run(&self.ebpf, "lb_xdp", packet, ingress_ifindex, repeat)
    }

    /// Runs the program on copies of `packet` that are real frames, as if they had come in by that interface: what it
    /// passes goes on into the host's stack, what it sends leaves. Returns the mean time of a packet with all of that.
    ///
    /// # Errors
    /// The kernel refuses interfaces that are not there, and packets shorter than an Ethernet header.
    pub fn run_live(&self, packet: &[u8], ingress: u32, repeat: u32) -> Result<Duration, DataplaneError> {
        run_live(&self.ebpf, "lb_xdp", packet, ingress, repeat)
    }
}

/// A program that does one thing with every packet: for the peers of veths, and as a measure of what running any
/// program costs.
pub struct TrivialProgram {
    ebpf: Ebpf,
    name: &'static str,
}

impl TrivialProgram {
    /// Loads the one that passes everything; it is not attached.
    pub fn pass() -> Result<Self, DataplaneError> {
        Self::load("lb_pass")
    }

    /// Loads the one that drops everything.
    pub fn drop_all() -> Result<Self, DataplaneError> {
        Self::load("lb_drop")
    }

    fn load(name: &'static str) -> Result<Self, DataplaneError> {
        let failed = |error: &dyn std::error::Error| DataplaneError::Load(chain(error));
        let mut ebpf = Ebpf::load(PASS_OBJECT).map_err(|error| failed(&error))?;
        let program =
            ebpf.program_mut(name).ok_or_else(|| DataplaneError::Load(format!("no program {name}")))?;
        let program: &mut Xdp = program.try_into().map_err(|error| failed(&error))?;
        program.load().map_err(|error| failed(&error))?;
        Ok(Self { ebpf, name })
    }

    /// As [`Dataplane::run`].
    pub fn run(&self, packet: &[u8], repeat: u32) -> Result<RunResult, DataplaneError> {
        run(&self.ebpf, self.name, packet, 1, repeat)
    }

    /// As [`Dataplane::run_live`].
    pub fn run_live(&self, packet: &[u8], ingress: u32, repeat: u32) -> Result<Duration, DataplaneError> {
        run_live(&self.ebpf, self.name, packet, ingress, repeat)
    }
}

/// Packets that live runs make at one time.
const LIVE_BATCH: u32 = 64;

fn run_live(
    ebpf: &Ebpf,
    name: &str,
    packet: &[u8],
    ingress_ifindex: u32,
    repeat: u32,
) -> Result<Duration, DataplaneError> {
    let program: &Xdp = match ebpf.program(name) {
        Some(Program::Xdp(program)) => program,
        _ => return Err(DataplaneError::Load("the program is not loaded".into())),
    };
    let context = context(packet, ingress_ifindex);
    let begun = Instant::now();
    program
        .test_run(TestRunOptions {
            data_in: Some(packet),
            ctx_in: Some(bytemuck::bytes_of(&context)),
            repeat,
            attrs: TestRunAttrs::new().xdp_live_frames(LIVE_BATCH),
            ..TestRunOptions::new()
        })
        .map_err(|error| DataplaneError::Load(chain(&error)))?;
    Ok(begun.elapsed() / repeat.max(1))
}

fn context(packet: &[u8], ingress_ifindex: u32) -> XdpMd {
    XdpMd {
        data: 0,
        data_end: packet.len() as u32,
        data_meta: 0,
        ingress_ifindex,
        rx_queue_index: 0,
        egress_ifindex: 0,
    }
}

pub(super) fn run(
    ebpf: &Ebpf,
    name: &str,
    packet: &[u8],
    ingress_ifindex: u32,
    repeat: u32,
) -> Result<RunResult, DataplaneError> {
    let program: &Xdp = match ebpf.program(name) {
        Some(Program::Xdp(program)) => program,
        _ => return Err(DataplaneError::Load("the program is not loaded".into())),
    };
    let context = context(packet, ingress_ifindex);
    let mut out = vec![0; packet.len() + 256];
    let result = program
        .test_run(TestRunOptions {
            data_in: Some(packet),
            data_out: Some(&mut out),
            ctx_in: Some(bytemuck::bytes_of(&context)),
            repeat,
            ..TestRunOptions::new()
        })
        .map_err(|error| DataplaneError::Load(chain(&error)))?;
    let (action, bytes, duration) = (result.return_value, result.data_size_out as usize, result.duration);
    out.truncate(bytes);
    Ok(RunResult { action, packet: out, duration })
}
