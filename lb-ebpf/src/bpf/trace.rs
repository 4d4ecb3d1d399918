//! Tells about packets while somebody traces.
//!
//! Owns the switch, the filter, and the ring that events go into. The switch is read-only data, as that of `explain`: the
//! agent puts a load with it on into the links for as long as somebody looks, so that it costs nothing at other times.

use super::random;
use crate::abi::{Address, Explanation, NO_SERVICE, TRACE_FRAME_BYTES, TraceEvent, TraceFilter};
use crate::outcome::{Outcome, Verdict};
use crate::wire::{ETHER_TYPE_IPV4, ETHER_TYPE_IPV6};
use aya_ebpf::{
    helpers::generated::{bpf_ktime_get_ns, bpf_xdp_get_buff_len, bpf_xdp_load_bytes},
    macros::map,
    maps::{Array, PerCpuArray, RingBuf},
    programs::XdpContext,
};

/// 1 in the load that tells. Its name is how the agent finds it.
#[unsafe(no_mangle)]
static TRACES: u8 = 0;

// Each load has its own: they are not pinned.
#[map]
static TRACE_FILTER: Array<TraceFilter> = Array::with_max_entries(1, 0);
// The agent gives the load that tells more room.
#[map]
static TRACE_EVENTS: RingBuf = RingBuf::with_byte_size(4096, 0);
#[map]
static TRACE_SCRATCH: PerCpuArray<TraceEvent> = PerCpuArray::with_max_entries(1, 0);

#[inline(always)]
fn traces() -> bool {
    // SAFETY: a live static; volatile, because the agent gives it another value before the program is loaded.
    unsafe { core::ptr::read_volatile(&raw const TRACES) != 0 }
}

#[inline(always)]
fn event() -> Option<&'static mut TraceEvent> {
    // SAFETY: a per-CPU value, of which nobody keeps a reference: `begin`, `note` and `end` are not within each other.
    TRACE_SCRATCH.get_ptr_mut(0).map(|event| unsafe { &mut *event })
}

/// Lets `write` add to what is told about this packet, where it may be told about.
#[inline(always)]
pub(super) fn note(write: impl FnOnce(&mut Explanation)) {
    if traces()
        && let Some(event) = event()
    {
        write(&mut event.explanation);
    }
}

/// Keeps the packet as it came in.
#[inline(always)]
pub fn begin(ctx: &XdpContext) {
    if traces() {
        capture(ctx);
    }
}

#[inline(never)]
fn capture(ctx: &XdpContext) {
    let Some(event) = event() else { return };
    event.explanation = Explanation::START;
    event.ingress_ifindex = ctx.ingress_ifindex() as u32;
    // SAFETY: the helpers take the context of this run, and the buffer is as long as it is said to be.
    unsafe {
        event.at_ns = bpf_ktime_get_ns();
        event.frame_bytes = bpf_xdp_get_buff_len(ctx.ctx) as u32;
        let mut bytes = event.frame_bytes;
        if bytes > TRACE_FRAME_BYTES as u32 {
            bytes = TRACE_FRAME_BYTES as u32;
        }
        event.captured_bytes = bytes;
        if bytes == 0 || bpf_xdp_load_bytes(ctx.ctx, 0, event.frame.as_mut_ptr().cast(), bytes) != 0 {
            event.captured_bytes = 0;
        }
    }
}

/// Tells about the packet, if the filter wants it. Where nobody reads, and the ring is full, it is not told.
#[inline(always)]
pub fn end(outcome: Outcome) {
    if traces() {
        tell(outcome);
    }
}

#[inline(never)]
fn tell(outcome: Outcome) {
    let (Some(event), Some(filter)) = (event(), TRACE_FILTER.get(0)) else { return };
    let concerns_vip = !matches!(outcome.verdict(), Verdict::Pass) || outcome.is_at_vip();
    if filter.all == 0 && !concerns_vip {
        return;
    }
    let service = event.explanation.service_id;
    if filter.by_service != 0
        && (service == NO_SERVICE || service != filter.services[0] && service != filter.services[1])
    {
        return;
    }
    if !concerns(event, filter) || filter.every > 1 && random() % filter.every != 0 {
        return;
    }
    let _ = TRACE_EVENTS.output::<TraceEvent>(&*event, 0);
}

/// Whether the packet comes from or goes to the filter's addresses, or is of a flow of theirs.
#[inline(always)]
fn concerns(event: &TraceEvent, filter: &TraceFilter) -> bool {
    if filter.mask.words().iter().all(|word| *word == 0) {
        return true;
    }
    let frame = &event.frame;
    let (source, destination) = match [frame[12], frame[13]] {
        ETHER_TYPE_IPV4 => (
            Address::from_v4([frame[26], frame[27], frame[28], frame[29]]),
            Address::from_v4([frame[30], frame[31], frame[32], frame[33]]),
        ),
        ETHER_TYPE_IPV6 => (address_at(frame, 22), address_at(frame, 38)),
        _ => return false,
    };
    is_under(&source, filter) || is_under(&destination, filter) || is_under(&event.explanation.client, filter)
}

#[inline(always)]
fn address_at(frame: &[u8; TRACE_FRAME_BYTES], at: usize) -> Address {
    let mut bytes = [0; 16];
    let mut index = 0;
    while index < 16 {
        bytes[index] = frame[at + index];
        index += 1;
    }
    Address::from_v6(bytes)
}

#[inline(always)]
fn is_under(address: &Address, filter: &TraceFilter) -> bool {
    let (address, wanted, mask) = (address.words(), filter.address.words(), filter.mask.words());
    (address[0] ^ wanted[0]) & mask[0] == 0
        && (address[1] ^ wanted[1]) & mask[1] == 0
        && (address[2] ^ wanted[2]) & mask[2] == 0
        && (address[3] ^ wanted[3]) & mask[3] == 0
}
