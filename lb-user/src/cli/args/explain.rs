//! The packet that `lbctl explain` is asked about.

use crate::api::SegmentWord;
use crate::model::Protocol;
use clap::{Args, ValueEnum};
use std::net::SocketAddr;

/// A packet to explain.
#[derive(Debug, Args)]
pub struct ExplainArgs {
    /// Its source: a client, or a backend that answers.
    #[arg(long, value_name = "IP:PORT")]
    pub from: SocketAddr,
    /// Its destination: a VIP, with a service's port or a NAT port.
    #[arg(long, value_name = "IP:PORT")]
    pub to: SocketAddr,
    /// What kind of segment of TCP it is; auto is an ACK if there is a flow for it, otherwise a SYN.
    #[arg(long, value_enum, default_value_t = SegmentArg::Auto)]
    pub segment: SegmentArg,
    /// Its transport protocol: tcp or udp.
    #[arg(long, default_value_t = Protocol::Tcp)]
    pub protocol: Protocol,
    /// The interface it comes in by [default: that of the VIP].
    #[arg(long, value_name = "NAME")]
    pub interface: Option<String>,
}

/// Kinds of segments.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum SegmentArg {
    /// ACK if there is a flow, otherwise SYN.
    Auto,
    /// SYN.
    Syn,
    /// ACK.
    Ack,
    /// FIN.
    Fin,
    /// RST.
    Rst,
}

impl ExplainArgs {
    /// What the API calls the packet.
    pub fn segment(&self) -> SegmentWord {
        match (self.protocol, self.segment) {
            (Protocol::Udp, _) => SegmentWord::Datagram,
            (_, SegmentArg::Auto) => SegmentWord::Auto,
            (_, SegmentArg::Syn) => SegmentWord::Syn,
            (_, SegmentArg::Ack) => SegmentWord::Ack,
            (_, SegmentArg::Fin) => SegmentWord::Fin,
            (_, SegmentArg::Rst) => SegmentWord::Rst,
        }
    }
}
