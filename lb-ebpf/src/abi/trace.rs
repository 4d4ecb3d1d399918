//! What the program tells about a packet while somebody traces.

use super::{Address, Explanation};
use bytemuck::{Pod, Zeroable};

/// Bytes of a frame that an event holds.
pub const TRACE_FRAME_BYTES: usize = 256;

/// Which packets are told about.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Pod, Zeroable)]
pub struct TraceFilter {
    /// Ids of the service in both families, where `by_service` says that they count.
    pub services: [u32; 2],
    /// Source or destination, under `mask`; all zero: any.
    pub address: Address,
    /// The bits of an address that count.
    pub mask: Address,
    /// One packet of so many is told about, drawn by chance; 0 and 1 are all.
    pub every: u32,
    /// 1: packets that have nothing to do with a VIP, too.
    pub all: u32,
    /// 1: only packets of the services.
    pub by_service: u32,
    /// Fills the struct.
    pub zero: u32,
}

/// One packet, as it came in, and what became of it.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Pod, Zeroable)]
pub struct TraceEvent {
    /// Monotonic clock, in ns.
    pub at_ns: u64,
    /// Index of the interface it came in by.
    pub ingress_ifindex: u32,
    /// Length of the frame.
    pub frame_bytes: u32,
    /// How it came to its outcome.
    pub explanation: Explanation,
    /// How much of the frame is here.
    pub captured_bytes: u32,
    zero: u32,
    /// The front of the frame.
    pub frame: [u8; TRACE_FRAME_BYTES],
}
