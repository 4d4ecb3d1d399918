//! When a flow is forgotten.

use lb_ebpf::flow_state::FlowState;
use std::time::Duration;

/// After which silence a flow is forgotten, by its state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// Both directions open.
    pub established: Duration,
    /// One direction closed.
    pub half_closed: Duration,
    /// Both directions closed, or reset.
    pub closed: Duration,
    /// Handshake not finished.
    pub embryonic: Duration,
    /// Datagrams.
    pub udp: Duration,
}

/// Above this share of the established table in use, closed flows leave after [`PRESSED_CLOSED`].
pub const PRESSURE_PERCENT: u64 = 70;
/// How long a closed flow stays while the table is nearly full: long enough for its last ACK.
pub const PRESSED_CLOSED: Duration = Duration::from_secs(1);

impl Timeouts {
    /// The timeout of a flow in this state.
    pub fn of(&self, state: FlowState) -> Duration {
        if state.is_of_datagrams() {
            if state.is_answered() { self.udp } else { self.udp.min(self.embryonic) }
        } else if state.may_go_on() {
            self.half_closed
        } else if state.is_closed() {
            self.closed
        } else if state.is_half_closed() {
            self.half_closed
        } else if state.is_answered() {
            self.established
        } else {
            self.embryonic
        }
    }

    /// The timeouts in the embryonic table: whatever was seen of a flow there, its client has not completed the
    /// handshake, and a flood must not hold NAT ports for as long as an established flow may.
    pub fn while_embryonic(self) -> Self {
        let limit = |timeout: Duration| timeout.min(self.embryonic);
        Self {
            established: limit(self.established),
            half_closed: limit(self.half_closed),
            closed: limit(self.closed),
            embryonic: self.embryonic,
            udp: limit(self.udp),
        }
    }

    /// The same, with closed flows leaving as soon as under pressure.
    pub fn hurried(self) -> Self {
        Self { closed: self.closed.min(PRESSED_CLOSED), ..self }
    }

    /// These timeouts when so many of so many entries are in use.
    pub fn under_pressure(self, entries: u64, capacity: u64) -> Self {
        if entries * 100 > capacity * PRESSURE_PERCENT { self.hurried() } else { self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMEOUTS: Timeouts = Timeouts {
        established: Duration::from_secs(7500),
        half_closed: Duration::from_secs(240),
        closed: Duration::from_secs(10),
        embryonic: Duration::from_secs(60),
        udp: Duration::from_secs(120),
    };

    fn state(parts: &[FlowState]) -> FlowState {
        FlowState::from_bits(parts.iter().fold(0, |bits, part| bits | part.bits()))
    }

    #[test]
    fn each_state_has_its_own_timeout() {
        let answered = FlowState::ANSWERED;
        assert_eq!(TIMEOUTS.of(FlowState::NEW), TIMEOUTS.embryonic);
        assert_eq!(TIMEOUTS.of(answered), TIMEOUTS.established);
        assert_eq!(TIMEOUTS.of(state(&[answered, FlowState::FIN_FROM_CLIENT])), TIMEOUTS.half_closed);
        let both = [answered, FlowState::FIN_FROM_CLIENT, FlowState::FIN_FROM_BACKEND];
        assert_eq!(TIMEOUTS.of(state(&both)), TIMEOUTS.closed);
        assert_eq!(TIMEOUTS.of(state(&[answered, FlowState::RESET])), TIMEOUTS.closed);
    }

    #[test]
    fn datagrams_have_a_timeout_of_their_own() {
        let begun = FlowState::begun(false, true);
        assert_eq!(TIMEOUTS.of(begun), TIMEOUTS.embryonic);
        assert_eq!(TIMEOUTS.of(begun.with(FlowState::ANSWERED)), TIMEOUTS.udp);
        assert_eq!(TIMEOUTS.while_embryonic().udp, TIMEOUTS.embryonic);
    }

    #[test]
    fn a_flow_whose_other_side_is_not_seen_may_go_on_after_its_clients_fin() {
        let closed = FlowState::begun(true, false).with(FlowState::FIN_FROM_CLIENT);
        assert_eq!(TIMEOUTS.of(closed), TIMEOUTS.half_closed);
        assert_eq!(TIMEOUTS.of(closed.with(FlowState::RESET)), TIMEOUTS.closed);
    }

    #[test]
    fn an_answered_flow_that_its_client_never_confirmed_is_not_kept_for_hours() {
        let timeouts = TIMEOUTS.while_embryonic();
        assert_eq!(timeouts.of(FlowState::ANSWERED), TIMEOUTS.embryonic);
        assert_eq!(timeouts.closed, TIMEOUTS.closed);
    }

    #[test]
    fn a_nearly_full_table_hurries_closed_flows_only() {
        let pressed = TIMEOUTS.under_pressure(71, 100);
        assert_eq!(pressed, Timeouts { closed: PRESSED_CLOSED, ..TIMEOUTS });
        assert_eq!(TIMEOUTS.under_pressure(70, 100), TIMEOUTS);
    }
}
