//! Packets that are left for the host's own network stack: whether it may have them.

use super::{firewall, frame::Frame, icmp, maps, now_ns};
use crate::abi::FlowKey;
use crate::outcome::Outcome;
use crate::wire::{ETHERNET_BYTES, Icmp, IpFrame};
use aya_ebpf::programs::XdpContext;

/// What becomes of a packet that would go on to the host with that outcome.
#[inline(always)]
pub(super) fn judge<I: icmp::IcmpFamily>(ctx: &XdpContext, outcome: Outcome) -> Outcome {
    // A frame of its own: the verifier cannot know that one which was resized does not come here.
    if outcome.is_at_vip() && is_unwanted::<I>(Frame::new(ctx), outcome) {
        return Outcome::NotAccepted;
    }
    let policy = firewall::policy();
    if policy.judges_host | policy.judges_services == 0 || policy.judges_host == 0 && !outcome.is_at_vip() {
        return outcome;
    }
    // As above.
    firewall::judge_passing::<I>(&policy, Frame::new(ctx), outcome, now_ns())
}

/// Whether a packet that is left for the host is for a VIP which the host shall not be reached at. Errors may be about the agent's own
/// connections, and who has the address must be told in any case.
#[inline(never)]
fn is_unwanted<I: icmp::IcmpFamily>(frame: Frame, outcome: Outcome) -> bool {
    let Some(headers) = frame.view::<IpFrame<I>>() else { return false };
    if matches!(outcome, Outcome::IcmpUnrelated) || !maps::is_for_services(&headers.ip.destination()) {
        return false;
    }
    if !matches!(outcome, Outcome::IcmpToHost) {
        return true;
    }
    match frame.view_at::<Icmp>(ETHERNET_BYTES + I::BYTES) {
        Some(icmp) => !I::is_discovery(icmp),
        None => true,
    }
}

/// What becomes of a datagram that no service takes.
#[inline(always)]
pub(super) fn of_no_service(key: &FlowKey) -> Outcome {
    if !maps::is_vip(&key.destination) {
        return Outcome::NotOurs;
    }
    match maps::node() {
        None => Outcome::Internal,
        Some(node) if node.owns_nat_port(key.destination_port()) => Outcome::UnknownDatagram,
        Some(_) => Outcome::NoService,
    }
}
