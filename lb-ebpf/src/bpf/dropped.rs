//! Remembers whose packets are dropped, and why, for whoever wants to see who it is that floods.
//!
//! Owns the table of those sources, and which drops it is worth the time to remember: all of a few, some of many. It is a program of its own, which
//! the other one goes on to with a packet that it drops: behind every way to a drop, the kernel's verifier would follow it anew. Where nobody
//! has put it in its place, nothing is remembered. Decides nothing about packets.

use super::{frame::Frame, now_ns, random};
use crate::abi::{DropSampling, DroppedPackets, DroppedSource, MAX_DROPPED_SOURCES};
use crate::outcome::Outcome;
use crate::wire::{ETHER_TYPE_IPV4, ETHER_TYPE_IPV6, Ethernet, IpFrame, IpHeader as _, Ipv4, Ipv6};
use aya_ebpf::{
    macros::map,
    maps::{Array, LruHashMap, PerCpuArray, ProgramArray},
    programs::XdpContext,
};
use core::intrinsics::{AtomicOrdering, atomic_xadd};

#[map]
static DROPPED_SOURCES: LruHashMap<DroppedSource, DroppedPackets> =
    LruHashMap::pinned(MAX_DROPPED_SOURCES, 0);
#[map]
static DROP_SAMPLING: PerCpuArray<DropSampling> = PerCpuArray::pinned(1, 0);
// The agent's to write: with another number each CPU counts some drops one by one again.
#[map]
static DROP_ROUND: Array<u32> = Array::pinned(1, 0);
// Each load has its own: a program that goes on to one of another load would be told of by that one.
#[map]
static DROP_PROGRAM: ProgramArray = ProgramArray::with_max_entries(1, 0);
#[map]
static DROP_OUTCOME: PerCpuArray<u32> = PerCpuArray::with_max_entries(1, 0);

/// Goes on to the program that remembers the source of a packet that is dropped, and drops it. Comes back only where there is none.
#[inline(always)]
pub fn go_on(ctx: &XdpContext, outcome: Outcome) {
    if let Some(place) = DROP_OUTCOME.get_ptr_mut(0) {
        // SAFETY: a per-CPU value, which the program that follows on this CPU reads before another packet comes.
        unsafe {
            *place = outcome as u32;
            DROP_PROGRAM.tail_call(ctx, 0);
        }
    }
}

/// Remembers the source of a packet, if this one is to be.
#[inline(always)]
pub fn remember(ctx: &XdpContext) {
    let (Some(sampling), Some(outcome)) = (DROP_SAMPLING.get_ptr_mut(0), DROP_OUTCOME.get(0)) else { return };
    let Some(round) = DROP_ROUND.get(0) else { return };
    // SAFETY: a per-CPU value, which nobody else writes, nor keeps a reference of while the program runs on this CPU.
    let weight = unsafe { (*sampling).weight(*round, random) };
    if weight == 0 {
        return;
    }
    let Some(key) = source(Frame::new(ctx), *outcome) else { return };
    let now = now_ns();
    if let Some(known) = DROPPED_SOURCES.get_ptr_mut(&key) {
        // SAFETY: entries stay readable and writable as long as the map lives; one that eviction gives to another source meanwhile has a
        // count too many.
        unsafe {
            atomic_xadd::<u64, u64, { AtomicOrdering::SeqCst }>(&raw mut (*known).packets, u64::from(weight));
            (*known).last_ns = now;
        }
        return;
    }
    let first = DroppedPackets { packets: u64::from(weight), first_ns: now, last_ns: now };
    // Where another CPU was first, or there is no room, a count is lost.
    let _ = DROPPED_SOURCES.insert(&key, &first, 0);
}

#[inline(always)]
fn source(frame: Frame, outcome: u32) -> Option<DroppedSource> {
    match frame.view::<Ethernet>()?.ether_type {
        ETHER_TYPE_IPV4 => Some(DroppedSource::of_v4(&frame.view::<IpFrame<Ipv4>>()?.ip.source(), outcome)),
        ETHER_TYPE_IPV6 => Some(DroppedSource::of_v6(&frame.view::<IpFrame<Ipv6>>()?.ip.source(), outcome)),
        _ => None,
    }
}
