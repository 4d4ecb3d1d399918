//! The kernel dataplane as the agent sees it: load, attach, pin, write, read, sweep.
//!
//! The only module that names aya. Owns the pins below one folder of the BPF file system:
//! `maps/NAME` for every map and `link_INTERFACE_MODE` for every attachment. They outlive the agent: the
//! kernel keeps forwarding while it is down, and the next one takes the same maps over.

mod accounts;
mod attach;
mod cookies;
mod counters;
mod dropped;
mod explain;
mod firewall;
mod flows;
mod lease;
mod load;
mod map_calls;
mod maps;
mod pin_dir;
mod refusals;
mod run;
mod sync;
mod tables;
mod trace;

pub use crate::core::expiry::Timeouts;
pub use crate::core::flow_sync::FlowCopy;
pub use attach::{Attachment, XdpModeUsed};
pub use counters::{BackendTotals, Counter, Counters};
pub use dropped::{Dropped, DroppedSources};
pub use explain::Explainer;
pub use firewall::FirewallError;
pub use flows::{FlowEntry, FlowSweeper, SweepReport, monotonic_now};
pub use lease::{Lease, VipTerms};
pub use load::{LoadReport, Options, PROGRAM_OBJECT, pins_are_ours};
pub use pin_dir::{detach, has_no_pins, mount_pin_dir};
pub use refusals::Refusals;
pub use run::{RunResult, TrivialProgram};
pub use sync::{FlowCopies, FlowNews, KnownBackend, Link, Put, WalkedKeys};
pub use tables::Table;
pub use trace::{TraceEvents, Tracer};

use crate::core::plan::{Image, Step};
use aya::Ebpf;
use std::path::PathBuf;

/// Why the dataplane could not do something.
#[derive(Debug, thiserror::Error)]
pub enum DataplaneError {
    /// The BPF file system is not where it belongs.
    #[error("{path} is not on a BPF file system; mount it: mount -t bpf bpf /sys/fs/bpf")]
    NoBpffs {
        /// The pin folder asked for.
        path: PathBuf,
    },
    /// A pin could not be made, read or removed.
    #[error("pin {path}: {reason}")]
    Pin {
        /// The pin.
        path: PathBuf,
        /// What went wrong.
        reason: String,
    },
    /// The kernel refused the program.
    #[error("the kernel did not load the XDP program: {0}")]
    Load(String),
    /// The program could not be attached.
    #[error("interface {interface}: {reason}")]
    Attach {
        /// The interface.
        interface: String,
        /// What went wrong, and the way out.
        reason: String,
    },
    /// Somebody else's program is there.
    #[error(
        "interface {interface}: another XDP program is attached; `ip link show` names it. Another lbctl agent with \
         another pin_dir, or another product? End it, or `ip link set dev {interface} xdp off`"
    )]
    Busy {
        /// The interface.
        interface: String,
    },
    /// A map operation failed.
    #[error("map {map}: {reason}")]
    Map {
        /// The map.
        map: &'static str,
        /// What went wrong.
        reason: String,
    },
}

/// A loaded dataplane.
pub struct Dataplane {
    ebpf: Ebpf,
    image: Image,
    firewall: firewall::FirewallImage,
    attachments: Vec<Attachment>,
    /// Its maps are not yet where the next agent looks for them: those of another ABI are, as long as a
    /// program works with them.
    maps_wait: bool,
}

impl Dataplane {
    /// What the maps hold.
    pub fn image(&self) -> &Image {
        &self.image
    }

    /// Where the program is attached.
    pub fn attachments(&self) -> &[Attachment] {
        &self.attachments
    }

    /// Takes steps in order. Where one fails, those before it stay taken and the image says so.
    pub fn take(&mut self, steps: &[Step]) -> Result<(), DataplaneError> {
        for step in steps {
            maps::take(&mut self.ebpf, &self.image, step)?;
            self.image.take(step);
        }
        Ok(())
    }
}
