//! Where a rewritten packet leaves: the kernel's routing and neighbour tables, asked at most once a
//! second for each flow and direction.

use super::{explain, maps};
use crate::abi::{Address, FlowKey, FlowRecord, Forwarding, NEXT_HOP_LIFETIME_TICKS, NextHop, ticks};
use crate::outcome::{Occurrence, Outcome};
use crate::wire::{IpHeader, Ipv4, Ipv6};
use aya_ebpf::{
    EbpfContext as _,
    bindings::{
        BPF_FIB_LKUP_RET_FWD_DISABLED, BPF_FIB_LKUP_RET_NO_NEIGH, BPF_FIB_LKUP_RET_SUCCESS, bpf_fib_lookup,
    },
    helpers::generated::bpf_fib_lookup as bpf_fib_lookup_helper,
    programs::XdpContext,
};

/// Families the kernel can be asked for.
pub(super) trait Routed: IpHeader {
    const ADDRESS_FAMILY: u8;
    fn write_addresses(params: &mut bpf_fib_lookup, source: &Address, destination: &Address);
    /// Whether the next hop is the destination itself.
    fn leads_to(params: &bpf_fib_lookup, destination: &Address) -> bool;
}

impl Routed for Ipv4 {
    const ADDRESS_FAMILY: u8 = 2;
    #[inline(always)]
    fn write_addresses(params: &mut bpf_fib_lookup, source: &Address, destination: &Address) {
        params.__bindgen_anon_3.ipv4_src = u32::from_ne_bytes(source.v4());
        params.__bindgen_anon_4.ipv4_dst = u32::from_ne_bytes(destination.v4());
    }
    #[inline(always)]
    fn leads_to(params: &bpf_fib_lookup, destination: &Address) -> bool {
        // SAFETY: a union of integers, written by the kernel.
        unsafe { params.__bindgen_anon_4.ipv4_dst == u32::from_ne_bytes(destination.v4()) }
    }
}

impl Routed for Ipv6 {
    const ADDRESS_FAMILY: u8 = 10;
    #[inline(always)]
    fn write_addresses(params: &mut bpf_fib_lookup, source: &Address, destination: &Address) {
        params.__bindgen_anon_3.ipv6_src = words(source);
        params.__bindgen_anon_4.ipv6_dst = words(destination);
    }
    #[inline(always)]
    fn leads_to(params: &bpf_fib_lookup, destination: &Address) -> bool {
        // SAFETY: a union of integers, written by the kernel.
        let next = unsafe { params.__bindgen_anon_4.ipv6_dst };
        let wanted = words(destination);
        next[0] == wanted[0] && next[1] == wanted[1] && next[2] == wanted[2] && next[3] == wanted[3]
    }
}

#[inline(always)]
fn words(address: &Address) -> [u32; 4] {
    let b = address.v6();
    [
        u32::from_ne_bytes([b[0], b[1], b[2], b[3]]),
        u32::from_ne_bytes([b[4], b[5], b[6], b[7]]),
        u32::from_ne_bytes([b[8], b[9], b[10], b[11]]),
        u32::from_ne_bytes([b[12], b[13], b[14], b[15]]),
    ]
}

/// Looks up the next hop of a record, whose key that is, and writes it there.
#[inline(never)]
pub(super) fn resolve<I: Routed>(
    ctx: &XdpContext,
    key: &FlowKey,
    record: &mut FlowRecord,
    now_ns: u64,
) -> Result<(), Outcome> {
    // SAFETY: a struct of integers and unions of integers, for which zero is valid.
    let mut params: bpf_fib_lookup = unsafe { core::mem::zeroed() };
    params.family = I::ADDRESS_FAMILY;
    params.l4_protocol = key.protocol();
    params.ifindex = ctx.ingress_ifindex() as u32;
    let (source, destination) = record.rewritten(key);
    I::write_addresses(&mut params, source, destination);
    // SAFETY: the context is this run's, and the struct outlives the call, which writes within its size.
    let answer = unsafe {
        bpf_fib_lookup_helper(ctx.as_ptr(), &raw mut params, core::mem::size_of::<bpf_fib_lookup>() as i32, 0)
    };
    if answer == BPF_FIB_LKUP_RET_SUCCESS as i64 {
        // The kernel puts a gateway's address where it was asked for one. A packet that is to arrive as it is must not go to a
        // router, which would send it to the VIP: here.
        if matches!(record.forwarding(), Forwarding::Direct) && !I::leads_to(&params, destination) {
            return Err(Outcome::NoRoute);
        }
        record.next_hop = NextHop {
            destination: params.dmac,
            source: params.smac,
            ifindex: params.ifindex,
            // SAFETY: on success the kernel wrote the route's MTU over the length in this union.
            mtu_bytes: unsafe { params.__bindgen_anon_1.mtu_result } as u32,
        };
        record.next_hop_at_ticks = ticks(now_ns);
        return Ok(());
    }
    match answer as u32 {
        BPF_FIB_LKUP_RET_NO_NEIGH => Err(Outcome::NoNeighbour),
        BPF_FIB_LKUP_RET_FWD_DISABLED => Err(Outcome::ForwardingDisabled),
        _ => Err(Outcome::NoRoute),
    }
}

/// Makes sure that a record has a next hop not older than its lifetime. Where the kernel cannot tell one
/// any more, the old one stays in use: it worked a moment ago, and for a client it is at worst the
/// router its SYN came from.
#[inline(always)]
pub(super) fn refresh<I: Routed>(ctx: &XdpContext, key: &FlowKey, record: &mut FlowRecord, now_ns: u64) {
    // The old one is what an explanation can see without changing it.
    if explain::explains() {
        return;
    }
    if ticks(now_ns).wrapping_sub(record.next_hop_at_ticks) < NEXT_HOP_LIFETIME_TICKS
        && record.next_hop_at_ticks != 0
    {
        return;
    }
    if resolve::<I>(ctx, key, record, now_ns).is_ok() {
        maps::count(Occurrence::NextHopRefreshed);
    } else {
        // One that came from another node, and was never known here, is asked for with the next packet again.
        record.next_hop_at_ticks = ticks(now_ns) * u32::from(is_known(record));
        maps::count(Occurrence::NextHopKept);
    }
}

/// Whether a record has a next hop: one that came from another node may have none yet.
#[inline(always)]
pub(super) fn is_known(record: &FlowRecord) -> bool {
    record.next_hop.ifindex != 0
}
