//! Answers a segment with RST, as RFC 9293 §3.5.2 says a host without that connection does.

use super::{
    frame::Frame,
    pipeline::{Result, Sent},
    rewrite::Rewritable,
};
use crate::outcome::Outcome;
use crate::wire::{PROTOCOL_TCP, TcpFlags, TcpFrame};
use aya_ebpf::programs::XdpContext;

/// Turns the frame into the RST that answers it, to go back where it came from.
#[inline(never)]
pub(super) fn answer<I: Rewritable>(ctx: &XdpContext, frame: Frame, outcome: Outcome) -> Result {
    let Some(segment) = frame.view::<TcpFrame<I>>() else { return Err(Outcome::Runt) };
    let flags = TcpFlags::new(segment.tcp.flags);
    let segment_bytes = segment.ip.packet_bytes() - I::BYTES as u32;
    let data_bytes = segment_bytes.saturating_sub(segment.tcp.header_bytes());

    let tcp = &mut segment.tcp;
    (tcp.source_port, tcp.destination_port) = (tcp.destination_port, tcp.source_port);
    if flags.has(TcpFlags::ACK) {
        tcp.sequence = tcp.acknowledgement;
        tcp.acknowledgement = [0; 4];
        tcp.flags = TcpFlags::RST;
    } else {
        // SYN and FIN take a sequence number each.
        let taken = data_bytes + u32::from(flags.has(TcpFlags::SYN)) + u32::from(flags.has(TcpFlags::FIN));
        tcp.acknowledgement = u32::from_be_bytes(tcp.sequence).wrapping_add(taken).to_be_bytes();
        tcp.sequence = [0; 4];
        tcp.flags = TcpFlags::RST | TcpFlags::ACK;
    }
    tcp.data_offset = 0x50;
    tcp.window = [0; 2];
    tcp.urgent = [0; 2];
    tcp.checksum = segment
        .ip
        .address_sum()
        .plus(&[0, PROTOCOL_TCP])
        .plus(&20u16.to_be_bytes())
        .plus(&tcp.source_port)
        .plus(&tcp.destination_port)
        .plus(&tcp.sequence)
        .plus(&tcp.acknowledgement)
        .plus(&[tcp.data_offset, tcp.flags])
        .finish();
    segment.ip.make_answer(20);
    let ethernet = &mut segment.ethernet;
    (ethernet.source, ethernet.destination) = (ethernet.destination, ethernet.source);

    frame.cut(ctx, core::mem::size_of::<TcpFrame<I>>())?;
    Ok(Sent { outcome, ifindex: 0 })
}
