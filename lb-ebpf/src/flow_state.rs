//! A flow's TCP state, as far as a device in the middle needs it.
//!
//! A few bits are enough to know when a flow can be forgotten; sequence numbers are the endpoints'
//! business, except for the checks that keep spoofed ACKs out of the established table
//! ([`completes_handshake`]) and that see the end of a flow ([`FlowState::acknowledged_by`]).

use crate::abi::Direction;
use crate::wire::TcpFlags;

/// What has been seen of a flow. Bits are only ever added.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FlowState(u64);

const BACKEND_SCALE_SHIFT: u32 = 16;
const CLIENT_SCALE_SHIFT: u32 = 20;
const PORT_HOPS_SHIFT: u32 = 24;

impl FlowState {
    /// The client's SYN alone.
    pub const NEW: Self = Self(0);
    /// The backend answered it with SYN-ACK.
    pub const ANSWERED: Self = Self(1);
    /// FIN from the client.
    pub const FIN_FROM_CLIENT: Self = Self(2);
    /// FIN from the backend.
    pub const FIN_FROM_BACKEND: Self = Self(4);
    /// RST from either.
    pub const RESET: Self = Self(8);
    /// The backend acknowledged the client's FIN.
    pub const CLIENT_FIN_ACKNOWLEDGED: Self = Self(16);
    /// The client acknowledged the backend's FIN.
    pub const BACKEND_FIN_ACKNOWLEDGED: Self = Self(32);

    /// The client proved that it saw the backend's answer.
    pub const CONFIRMED: Self = Self(64);
    /// The backend answers its client directly: nothing is seen of that side.
    pub const ONE_WAY: Self = Self(128);
    /// The flow is of datagrams, which have no beginning and no end.
    pub const DATAGRAMS: Self = Self(256);
    /// The client was answered with a SYN cookie: it counts the backend's bytes from another number than the backend.
    pub const COOKIE: Self = Self(512);

    /// The client's SYN can be made anew: its entry has what it offered and its number, until the backend answers.
    pub const SYN_KEPT: Self = Self(1024);
    /// The flow's SYN was not recorded: it was seen first by what followed.
    pub const LATE: Self = Self(2048);
    /// The backend answered the SYN twice, with two sequence numbers, and the client may have either.
    pub const ANSWERED_TWICE: Self = Self(4096);

    /// The state of a flow that begins.
    #[inline(always)]
    pub const fn begun(one_way: bool, datagrams: bool) -> Self {
        Self(if one_way { Self::ONE_WAY.0 } else { 0 } | if datagrams { Self::DATAGRAMS.0 } else { 0 })
    }

    /// From a record's field.
    #[inline(always)]
    pub const fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    /// For a record's field.
    #[inline(always)]
    pub const fn bits(self) -> u64 {
        self.0
    }

    /// Whether the backend answered the SYN.
    #[inline(always)]
    pub const fn is_answered(self) -> bool {
        self.0 & Self::ANSWERED.0 != 0
    }

    /// Nothing but stragglers can follow: both sides sent FIN, or one sent RST. Where one side is all that is seen, its FIN
    /// has to do.
    #[inline(always)]
    pub const fn is_closed(self) -> bool {
        let fins = Self::FIN_FROM_CLIENT.0 | Self::FIN_FROM_BACKEND.0;
        self.0 & Self::RESET.0 != 0 || self.0 & fins == fins || self.may_go_on()
    }

    /// One side sent FIN, the other may still send data.
    #[inline(always)]
    pub const fn is_half_closed(self) -> bool {
        !self.is_closed() && self.has_fin()
    }

    /// Closed as far as can be seen, but the side that is not seen may still send data.
    #[inline(always)]
    pub const fn may_go_on(self) -> bool {
        let one_way = Self::ONE_WAY.0 | Self::FIN_FROM_CLIENT.0;
        self.0 & (one_way | Self::RESET.0) == one_way
    }

    /// These bits, and how the windows of a flow that began with a cookie are scaled: by its backend, and by its client for a
    /// backend that does not know of it. Four bits each, added once.
    #[inline(always)]
    pub const fn with_scales(self, backend: u8, client: u8) -> Self {
        let scales =
            (backend as u64 & 0x0f) << BACKEND_SCALE_SHIFT | (client as u64 & 0x0f) << CLIENT_SCALE_SHIFT;
        Self(self.0 | scales)
    }

    /// What the client's windows have to be scaled by before its backend sees them; valid once the backend answered.
    #[inline(always)]
    pub const fn client_scale(self) -> u8 {
        (self.0 >> CLIENT_SCALE_SHIFT & 0x0f) as u8
    }

    /// The backend's scale; valid once the backend answered.
    #[inline(always)]
    pub const fn backend_scale(self) -> u8 {
        (self.0 >> BACKEND_SCALE_SHIFT & 0x0f) as u8
    }

    /// Other ports that the flow's handshake went by before this one, up to 255. Not for entries in a table: bits are only added there.
    #[inline(always)]
    pub const fn port_hops(self) -> u32 {
        (self.0 >> PORT_HOPS_SHIFT & 0xff) as u32
    }

    /// The state after another of them.
    #[inline(always)]
    pub const fn with_port_hop(self) -> Self {
        Self(self.0.wrapping_add(1 << PORT_HOPS_SHIFT))
    }

    /// Whether the flow is of datagrams.
    #[inline(always)]
    pub const fn is_of_datagrams(self) -> bool {
        self.0 & Self::DATAGRAMS.0 != 0
    }

    /// Each side has acknowledged all that the other one sent: there is nothing left to carry.
    #[inline(always)]
    pub const fn is_over(self) -> bool {
        let both = Self::CLIENT_FIN_ACKNOWLEDGED.0 | Self::BACKEND_FIN_ACKNOWLEDGED.0;
        self.0 & both == both
    }

    /// Whether all these bits are known already.
    #[inline(always)]
    pub const fn has(self, bits: Self) -> bool {
        self.0 & bits.0 == bits.0
    }

    /// Whether there is a FIN among them.
    #[inline(always)]
    pub const fn has_fin(self) -> bool {
        self.0 & (Self::FIN_FROM_CLIENT.0 | Self::FIN_FROM_BACKEND.0) != 0
    }

    /// These bits and those.
    #[inline(always)]
    pub const fn with(self, bits: Self) -> Self {
        Self(self.0 | bits.0)
    }

    /// The bit that an acknowledgement adds: it is worth one if it covers the other side's FIN, and only that number
    /// does, because a FIN is the last thing a side sends. A forged FIN is not acknowledged, so it does not end a flow.
    #[inline(always)]
    pub const fn acknowledged_by(self, direction: Direction, acknowledgement: u32, fin_end: u32) -> Self {
        let (fin, acknowledged) = match direction {
            Direction::Forward => (Self::FIN_FROM_BACKEND, Self::BACKEND_FIN_ACKNOWLEDGED),
            Direction::Reverse => (Self::FIN_FROM_CLIENT, Self::CLIENT_FIN_ACKNOWLEDGED),
        };
        if self.has(fin) && acknowledgement == fin_end { acknowledged } else { Self::NEW }
    }

    /// The bits that a segment with these flags adds.
    #[inline(always)]
    pub const fn added_by(direction: Direction, flags: TcpFlags) -> Self {
        let mut bits = 0;
        if flags.has(TcpFlags::RST) {
            bits |= Self::RESET.0;
        }
        if flags.has(TcpFlags::FIN) {
            bits |= match direction {
                Direction::Forward => Self::FIN_FROM_CLIENT.0,
                Direction::Reverse => Self::FIN_FROM_BACKEND.0,
            };
        }
        Self(bits)
    }

    /// A word for people.
    pub const fn name(self) -> &'static str {
        if self.is_closed() {
            "closed"
        } else if self.is_half_closed() {
            "half-closed"
        } else if self.is_answered() {
            "established"
        } else {
            "embryonic"
        }
    }
}

/// Whether a client's segment proves that it saw the backend's SYN-ACK: it acknowledges the backend's
/// initial sequence number, or data sent right after it (the first ACK may be lost). A sender of spoofed
/// addresses has to guess 16 of 32 bits right.
#[inline(always)]
pub const fn completes_handshake(acknowledgement: u32, backend_isn: u32) -> bool {
    acknowledgement.wrapping_sub(backend_isn.wrapping_add(1)) <= 0xffff
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(a: FlowState, b: FlowState) -> FlowState {
        a.with(b)
    }

    #[test]
    fn a_flow_seen_from_one_side_is_closed_by_that_sides_fin() {
        let state = FlowState::begun(true, false).with(FlowState::FIN_FROM_CLIENT);
        assert!(state.is_closed() && state.may_go_on() && !state.is_half_closed());
        let reset = state.with(FlowState::RESET);
        assert!(reset.is_closed() && !reset.may_go_on());
        assert!(!FlowState::begun(true, true).is_closed());
    }

    #[test]
    fn a_flow_is_over_when_both_fins_are_acknowledged_to_the_number() {
        let closed = FlowState::ANSWERED.with(FlowState::FIN_FROM_CLIENT).with(FlowState::FIN_FROM_BACKEND);
        let one = closed.with(closed.acknowledged_by(Direction::Forward, 7, 7));
        assert_eq!(one, closed.with(FlowState::BACKEND_FIN_ACKNOWLEDGED));
        assert!(!one.is_over());
        assert_eq!(one.acknowledged_by(Direction::Reverse, 8, 9), FlowState::NEW);
        assert!(one.with(one.acknowledged_by(Direction::Reverse, 9, 9)).is_over());
    }

    #[test]
    fn nothing_is_acknowledged_before_there_is_a_fin() {
        let half = FlowState::ANSWERED.with(FlowState::FIN_FROM_CLIENT);
        assert_eq!(half.acknowledged_by(Direction::Forward, 0, 0), FlowState::NEW);
    }

    #[test]
    fn one_fin_half_closes_and_the_second_closes() {
        let one = FlowState::added_by(Direction::Forward, TcpFlags::new(TcpFlags::FIN | TcpFlags::ACK));
        assert!(one.is_half_closed() && !one.is_closed());
        let both = with(one, FlowState::added_by(Direction::Reverse, TcpFlags::new(TcpFlags::FIN)));
        assert!(both.is_closed() && !both.is_half_closed());
    }

    #[test]
    fn two_fins_from_the_same_side_do_not_close() {
        let fin = FlowState::added_by(Direction::Reverse, TcpFlags::new(TcpFlags::FIN));
        assert!(!with(fin, fin).is_closed());
    }

    #[test]
    fn a_reset_from_either_side_closes() {
        for direction in [Direction::Forward, Direction::Reverse] {
            assert!(FlowState::added_by(direction, TcpFlags::new(TcpFlags::RST)).is_closed());
        }
    }

    #[test]
    fn data_segments_change_nothing() {
        let added = FlowState::added_by(Direction::Forward, TcpFlags::new(TcpFlags::ACK | TcpFlags::PSH));
        assert_eq!(added, FlowState::NEW);
    }

    #[test]
    fn handshake_needs_the_backends_sequence_number_even_across_the_wrap() {
        assert!(completes_handshake(1001, 1000));
        assert!(completes_handshake(0, u32::MAX));
        assert!(completes_handshake(1001 + 1400, 1000), "the first ACK was lost, data came");
        assert!(!completes_handshake(1000, 1000), "the SYN-ACK itself is not acknowledged");
        assert!(!completes_handshake(1001 + 0x1_0000, 1000));
        assert!(!completes_handshake(77, 1000));
    }
}
