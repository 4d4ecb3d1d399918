//! The one way to a packet's bytes.

use crate::outcome::Outcome;
use aya_ebpf::{
    helpers::{bpf_xdp_adjust_tail, bpf_xdp_get_buff_len},
    programs::XdpContext,
};

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

    /// Makes the frame so many bytes long. No view of it, and no `Frame`, is of use afterwards.
    #[inline(always)]
    pub(super) fn resize(self, ctx: &XdpContext, bytes: usize) -> Result<(), Outcome> {
        let difference = bytes as i32 - self.bytes(ctx, u32::MAX) as i32;
        if difference == 0 {
            return Ok(());
        }
        // SAFETY: the context is this run's; whoever asks takes a new view of the packet after the call.
        let resized = unsafe { bpf_xdp_adjust_tail(ctx.ctx, difference) };
        if resized == 0 { Ok(()) } else { Err(Outcome::Internal) }
    }
}
