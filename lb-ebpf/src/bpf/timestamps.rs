//! TCP timestamps (RFC 7323), shifted so that a NAT port can be used again at once.
//!
//! A backend that closed a connection keeps its 4-tuple in TIME-WAIT for a minute and takes a new SYN on it only
//! if that brings a later timestamp (RFC 6191). One NAT port serves many clients, and their clocks have nothing to
//! do with each other. So every flow's client timestamps are shifted to begin at this node's clock, which only
//! goes up; in answers the echo is shifted back. Without it, half of the SYNs on a port used within the last minute
//! would wait for the client's retransmission, a second later.

use super::{frame::Frame, options};
use crate::abi::{Direction, FlowRecord};
use crate::csum::Delta;
use crate::wire::{ETHERNET_BYTES, IpHeader, Tcp, TcpFrame};
use aya_ebpf::programs::XdpContext;

/// Kind and length of the option.
const KIND: u8 = 8;
const LENGTH: u8 = 10;
/// Two NOPs, then kind 8 and length 10: how nearly every stack lays out segments after the handshake.
const USUAL: [u8; 4] = [1, 1, 8, 10];
/// Header length with just that, in bytes.
const USUAL_HEADER_BYTES: u32 = 32;

#[repr(C, align(2))]
#[derive(Clone, Copy)]
struct UsualOptions {
    lead: [u8; 4],
    value: [u8; 4],
    echo: [u8; 4],
}

/// The option's body, at any offset.
#[repr(C)]
#[derive(Clone, Copy)]
struct Timestamps {
    kind_length: [u8; 2],
    value: [u8; 4],
    echo: [u8; 4],
}

/// The shift for a flow that begins with this SYN: from the client's clock to ours, in ms; 0 without the option.
#[inline(always)]
pub(super) fn shift_of<I: IpHeader>(ctx: &XdpContext, syn: &TcpFrame<I>, now_ns: u64) -> u32 {
    let frame = Frame::new(ctx);
    let at = options::find::<KIND, LENGTH>(frame, ETHERNET_BYTES + I::BYTES, syn.tcp.header_bytes());
    match frame.view_at::<Timestamps>(at) {
        Some(option) if at != 0 => {
            ((now_ns / 1_000_000) as u32).wrapping_sub(u32::from_be_bytes(option.value))
        }
        _ => 0,
    }
}

/// Shifts a segment's timestamps as its flow wants it.
#[inline(always)]
pub(super) fn shift<I: IpHeader>(ctx: &XdpContext, tcp: &mut Tcp, record: &FlowRecord) {
    let header_bytes = tcp.header_bytes();
    if record.shift == 0 || header_bytes < USUAL_HEADER_BYTES {
        return;
    }
    let frame = Frame::new(ctx);
    let tcp_at = ETHERNET_BYTES + I::BYTES;
    if let Some(options) = frame.view_at::<UsualOptions>(tcp_at + core::mem::size_of::<Tcp>())
        && options.lead == USUAL
    {
        let delta = shift_one(&mut options.value, &mut options.echo, record);
        tcp.checksum = delta.apply(tcp.checksum);
        return;
    }
    shift_unusual(frame, tcp_at, tcp, record);
}

/// The same wherever the option stands: handshakes, and stacks with a layout of their own.
#[inline(never)]
fn shift_unusual(frame: Frame, tcp_at: usize, tcp: &mut Tcp, record: &FlowRecord) {
    let at = options::find::<KIND, LENGTH>(frame, tcp_at, tcp.header_bytes());
    if at == 0 {
        return;
    }
    let Some(option) = frame.view_at::<Timestamps>(at) else { return };
    let delta = shift_one(&mut option.value, &mut option.echo, record);
    // The sum takes words from even offsets; a field at an odd one counts with its bytes exchanged.
    let delta = if at & 1 == 0 { delta } else { delta.exchanged() };
    tcp.checksum = delta.apply(tcp.checksum);
}

/// Shifts the client's value on the way to the backend, its echo on the way back.
#[inline(always)]
fn shift_one(value: &mut [u8; 4], echo: &mut [u8; 4], record: &FlowRecord) -> Delta {
    let (field, shift) = match record.direction() {
        Direction::Forward => (value, record.shift),
        Direction::Reverse => (echo, record.shift.wrapping_neg()),
    };
    let old = *field;
    *field = u32::from_be_bytes(old).wrapping_add(shift).to_be_bytes();
    Delta::ZERO.replace(&old, field)
}
