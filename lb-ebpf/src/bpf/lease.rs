//! The lease: without an agent that renews it, this node does not serve VIPs that others may take over.
//!
//! Owns the word that says until when. What such a VIP's address would be answered with, ARP and Neighbor Advertisements of the host among
//! it, is dropped here once that time is over: so a node whose agent died or hangs ends by itself, before the next one begins.

use super::{frame::Frame, maps, now_ns, rewrite::Rewritable};
use crate::abi::{Address, age_ns};
use crate::wire::{ArpFrame, IpFrame, NeighbourSolicitationFrame};
use aya_ebpf::{macros::map, maps::Array};

// Until when VIPs are served that need a lease, in ns of the coarse clock; 0 where none does.
#[map]
static LEASE: Array<u64> = Array::pinned(1, 0);

/// Whether there was a lease, and it is over.
#[inline(always)]
pub(super) fn is_over() -> bool {
    match LEASE.get(0) {
        Some(until) => *until != 0 && age_ns(*until, now_ns()) >= 0,
        None => false,
    }
}

/// Whether an IP packet asks for what needs a lease.
#[inline(never)]
pub(super) fn covers<I: Rewritable>(frame: Frame) -> bool {
    let Some(packet) = frame.view::<IpFrame<I>>() else { return false };
    if maps::needs_lease(&packet.ip.destination()) {
        return true;
    }
    if I::BYTES != 40 {
        return false;
    }
    match frame.view::<NeighbourSolicitationFrame>() {
        Some(asks) => asks.is_one() && maps::needs_lease(&Address::from_v6(asks.target)),
        None => false,
    }
}

/// Whether an ARP packet does.
#[inline(never)]
pub(super) fn covers_arp(frame: Frame) -> bool {
    match frame.view::<ArpFrame>() {
        Some(asks) => maps::needs_lease(&Address::from_v4(asks.target)),
        None => false,
    }
}
