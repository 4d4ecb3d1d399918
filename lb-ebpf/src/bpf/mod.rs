//! The part that touches packets, maps and kernel helpers: the only unsafe code of this crate.
//!
//! `pipeline` decides, `maps` remembers, `rewrite` changes bytes, `next_hop` asks the kernel's routing
//! tables, `frame` is the one way to a packet's bytes.

mod cookies;
pub mod dropped;
mod established;
pub mod explain;
pub mod firewall;
mod frame;
mod handshake;
mod host;
mod icmp;
mod lease;
mod limits;
pub mod maps;
mod new_flow;
mod next_hop;
mod options;
pub mod pipeline;
mod reset;
mod rewrite;
mod splice;
mod sync;
mod timestamps;
pub mod trace;

use aya_ebpf::{bindings::xdp_action::XDP_TX, programs::XdpContext};

/// Sends the frame out: back where it came from, or by another interface.
#[inline(always)]
pub fn transmit(ctx: &XdpContext, ifindex: u32) -> u32 {
    if ifindex == 0 || ifindex == ctx.ingress_ifindex() as u32 {
        XDP_TX
    } else {
        // SAFETY: the helper takes two numbers and keeps no reference.
        unsafe { aya_ebpf::helpers::bpf_redirect(ifindex, 0) as u32 }
    }
}

/// A random number: good enough to spread load, not to keep a secret.
#[inline(always)]
fn random() -> u32 {
    // SAFETY: the helper takes nothing and returns a number.
    unsafe { aya_ebpf::helpers::generated::bpf_get_prandom_u32() }
}

/// The coarse monotonic clock, in ns: a tick's resolution, at a ninth of the fine one's cost.
#[inline(always)]
fn now_ns() -> u64 {
    // SAFETY: the helper takes nothing and returns a number.
    unsafe { aya_ebpf::helpers::generated::bpf_ktime_get_coarse_ns() }
}
