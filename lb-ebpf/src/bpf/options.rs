//! TCP's options: what SYNs offer, and where in a header an option is.

use super::{frame::Frame, maps};
use crate::cookie::Offer;
use crate::wire::{ETHERNET_BYTES, IpHeader, Tcp};
use aya_ebpf::{
    helpers::generated::{bpf_loop, bpf_xdp_load_bytes},
    programs::XdpContext,
};
use core::ffi::c_void;

// RFC 9293 §3.2, RFC 7323 §2.2, RFC 2018 §2 and §3.
pub(super) const KIND_SEGMENT_BYTES: u8 = 2;
pub(super) const KIND_WINDOW_SCALE: u8 = 3;
pub(super) const KIND_SACK_PERMITTED: u8 = 4;
const KIND_SACK: u8 = 5;

/// All options that a header can have, and room to look behind the last of them.
pub(super) const OPTIONS_BYTES_MAX: usize = 40;
const OPTIONS_ROOM: usize = 64;

/// A header's options, copied.
pub(super) type OptionBytes = [u8; OPTIONS_ROOM];

/// A TCP header has at most 40 bytes of options: before the ten bytes that any wanted one has, at most 30 of one byte each.
const OPTIONS_LOOKED_AT: usize = 31;

/// Offset in the frame of the first option of that kind which has at least so many bytes; 0 if there is none.
#[inline(never)]
pub(super) fn find<const KIND: u8, const BYTES: u8>(frame: Frame, tcp_at: usize, header_bytes: u32) -> usize {
    // The masks say nothing new; they let the verifier see the bounds.
    let end = (tcp_at & 0x7f) + (header_bytes & 0x3f) as usize;
    let mut at = (tcp_at & 0x7f) + core::mem::size_of::<Tcp>();
    for _ in 0..OPTIONS_LOOKED_AT {
        if at + BYTES as usize > end {
            return 0;
        }
        let Some(option) = frame.view_at::<[u8; 2]>(at) else { return 0 };
        match *option {
            [kind, length] if kind == KIND && length >= BYTES => return at,
            [0, _] => return 0,
            [1, _] => at += 1,
            [_, length] if length >= 2 => at += (length & 0x3f) as usize,
            _ => return 0,
        }
    }
    0
}

/// What was found in a header.
#[repr(C)]
#[derive(Clone, Copy)]
pub(super) struct Found {
    /// What a SYN, or its answer, offers.
    pub(super) offer: Offer,
    /// 1 is IPv6. No `bool`: the verifier does not know that memory holds no other than its two.
    v6: u8,
    /// Offset in the frame of the option of selective acknowledgements; 0 is none.
    pub(super) blocks_at: u16,
    /// Where the options begin in the frame.
    from: u16,
    /// How many bytes they have, and how many were looked at.
    bytes: u16,
    at: u16,
}

/// Reads a header's options. By a copy and the kernel's own loop, because the verifier looks at its body once; in a loop of our
/// own it would follow every length that an option can have.
#[inline(never)]
pub(super) fn read<I: IpHeader>(ctx: &XdpContext, header_bytes: u32) -> Found {
    let from = ETHERNET_BYTES + I::BYTES + core::mem::size_of::<Tcp>();
    let bytes = (header_bytes & 0x3f).saturating_sub(core::mem::size_of::<Tcp>() as u32);
    let mut found = Found {
        offer: Offer::NONE,
        v6: (I::BYTES == 40) as u8,
        blocks_at: 0,
        from: from as u16,
        bytes: bytes as u16,
        at: 0,
    };
    let Some(copy) = maps::option_bytes() else { return found };
    // SAFETY: a live local; volatile, so that the check is made of the number which the helper gets: the verifier does not see
    // that a check of the header's length is one of this, too.
    let bytes = unsafe { core::ptr::read_volatile(&raw const bytes) };
    if bytes == 0 || bytes > OPTIONS_BYTES_MAX as u32 {
        return found;
    }
    // SAFETY: the context is this run's, and the scratch space is larger than what is copied into it.
    let copied =
        unsafe { bpf_xdp_load_bytes(ctx.ctx, from as u32, copy.as_mut_ptr().cast::<c_void>(), bytes) };
    if copied == 0 {
        // SAFETY: the callback has the signature that the helper asks for, and its context outlives the call.
        unsafe {
            bpf_loop(bytes, look_at_one as *mut c_void, (&raw mut found).cast::<c_void>(), 0);
        }
    }
    found
}

/// Looks at one option more; 1 ends the search.
extern "C" fn look_at_one(_step: u32, found: *mut Found) -> i64 {
    // SAFETY: the helper hands on the pointer it was given, to a `Found` that nobody else uses meanwhile.
    let found = unsafe { &mut *found };
    let Some(options) = maps::option_bytes() else { return 1 };
    let at = found.at;
    let byte = |offset: u16| options[(at.wrapping_add(offset)) as usize & (OPTIONS_ROOM - 1)];
    if at >= found.bytes {
        return 1;
    }
    let (kind, length) = (byte(0), byte(1));
    match kind {
        0 => return 1,
        1 => {
            found.at = at + 1;
            return 0;
        }
        _ if length < 2 => return 1,
        _ => {}
    }
    found.at = at.wrapping_add(u16::from(length));
    if found.at > found.bytes {
        return 1;
    }
    match (kind, length) {
        (KIND_SEGMENT_BYTES, 4) => {
            let bytes = u16::from_be_bytes([byte(2), byte(3)]);
            found.offer = found.offer.with_segment_bytes(bytes, found.v6 != 0);
        }
        (KIND_WINDOW_SCALE, 3) => found.offer = found.offer.with_window_scale(byte(2)),
        (KIND_SACK_PERMITTED, 2) => found.offer = found.offer.with_sack(),
        (KIND_SACK, _) => found.blocks_at = found.from.wrapping_add(at),
        _ => {}
    }
    0
}
