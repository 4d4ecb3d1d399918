//! The one way to a packet's bytes.

use super::maps;
use crate::outcome::Outcome;
use aya_ebpf::{
    helpers::{
        bpf_xdp_adjust_head, bpf_xdp_adjust_tail, bpf_xdp_get_buff_len, bpf_xdp_load_bytes,
        bpf_xdp_store_bytes,
    },
    programs::XdpContext,
};
use core::ffi::c_void;

/// The longest front that a frame may keep: Ethernet, IPv6 and TCP.
const FRONT_BYTES_MAX: usize = 80;

/// Room for a front.
pub(super) type Front = [u8; FRONT_BYTES_MAX];

/// A frame's bounds. Holds no reference: every view is checked anew, as the verifier wants it.
#[derive(Clone, Copy)]
pub(super) struct Frame {
    start: usize,
    end: usize,
}

impl Frame {
    #[inline(always)]
    pub(super) fn new(ctx: &XdpContext) -> Self {
        Self { start: ctx.data(), end: ctx.data_end() }
    }

    /// The frame's front as `T`, or `None` where it is shorter.
    #[inline(always)]
    pub(super) fn view<'frame, T: Copy>(self) -> Option<&'frame mut T> {
        self.view_at::<T>(0)
    }

    /// `T` at an offset.
    #[inline(always)]
    pub(super) fn view_at<'frame, T: Copy>(self, offset: usize) -> Option<&'frame mut T> {
        let at = self.start + offset;
        if at + core::mem::size_of::<T>() > self.end {
            return None;
        }
        // SAFETY: the range was just checked against the packet's end; wire types are made of bytes, for
        // which every bit pattern is valid, with an alignment of 2, and frames begin at even addresses.
        // The program runs alone on its packet, and the pipeline holds one view at a time.
        Some(unsafe { &mut *(at as *mut T) })
    }

    /// Length of the whole frame in bytes, fragments of a multi-buffer frame included. The helper is
    /// only asked where the linear part is too short to hold what the header claims.
    #[inline(always)]
    pub(super) fn bytes(self, ctx: &XdpContext, claimed: u32) -> u32 {
        let linear = (self.end - self.start) as u32;
        if linear >= claimed {
            return linear;
        }
        // SAFETY: `ctx` is the context this program was called with.
        unsafe { bpf_xdp_get_buff_len(ctx.ctx) as u32 }
    }

    /// Cuts the frame off after so many bytes, if it is longer. No view of it, and no `Frame`, is of use afterwards.
    #[inline(always)]
    pub(super) fn cut(self, ctx: &XdpContext, bytes: usize) -> Result<(), Outcome> {
        let difference = bytes as i32 - self.bytes(ctx, u32::MAX) as i32;
        if difference >= 0 {
            return Ok(());
        }
        // SAFETY: the context is this run's; whoever asks takes a new view of the packet after the call.
        let cut = unsafe { bpf_xdp_adjust_tail(ctx.ctx, difference) };
        if cut == 0 { Ok(()) } else { Err(Outcome::Internal) }
    }

    /// Makes the frame so many bytes long and keeps its front, which is a `T`. What was behind that is lost. As after `cut`, no view is of
    /// use.
    #[inline(always)]
    pub(super) fn resize<T: Copy>(self, ctx: &XdpContext, bytes: usize) -> Result<(), Outcome> {
        let difference = bytes as i32 - self.bytes(ctx, u32::MAX) as i32;
        if difference <= 0 {
            return self.cut(ctx, bytes);
        }
        // At the head there is room, which the kernel promises to XDP; at the tail there need be none.
        let Some(front) = maps::front() else { return Err(Outcome::Internal) };
        const { assert!(core::mem::size_of::<T>() <= FRONT_BYTES_MAX) };
        let (front, front_bytes) = (front.as_mut_ptr().cast::<c_void>(), core::mem::size_of::<T>() as u32);
        // SAFETY: the context is this run's, the scratch space holds a front, and whoever asks takes a new view of the packet after
        // the calls.
        let moved = unsafe {
            bpf_xdp_load_bytes(ctx.ctx, 0, front, front_bytes) == 0
                && bpf_xdp_adjust_head(ctx.ctx, -difference) == 0
                && bpf_xdp_store_bytes(ctx.ctx, 0, front, front_bytes) == 0
        };
        if moved { Ok(()) } else { Err(Outcome::Internal) }
    }
}
