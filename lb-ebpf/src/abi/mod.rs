//! Map keys and values, shared bit for bit by the program and the agent.
//!
//! Every type is `repr(C)` without padding (the `Pod` derive refuses to compile otherwise), and
//! everything that is in network byte order on the wire stays in `[u8; N]` behind getters. Any change
//! of a layout, of a map's meaning or of a map's key needs a new [`ABI_VERSION`].

mod address;
mod cookie;
mod dropped;
mod explanation;
mod firewall;
mod flow;
mod service;
mod sync;
mod trace;

pub use address::Address;
pub use cookie::{
    COOKIE_LIFETIME_NS, PRESSURE_SHARE, PRESSURE_WINDOW_NS, Pressure, PressureShare, SynCookies,
};
pub use dropped::{
    DropSampling, DroppedPackets, DroppedSource, EXACT_DROPS, MAX_DROPPED_SOURCES, STRIDE_MAX,
};
pub use explanation::{Explanation, NO_BACKEND, NO_SERVICE};
pub use firewall::{
    Decision, DecisionKey, Judgement, LimitedSource, MAX_DECISIONS, MAX_LIMITED_SOURCES, MAX_PREFIXES,
    MAX_RULE_IDS, MAX_RULES, Policy, Rule, RuleHits, SourceAccount, SourceClass, Target,
};
pub use flow::{Direction, FlowKey, FlowRecord, NO_RULE, NextHop};
pub use service::{
    AtLimit, Backend, BackendStats, Forwarding, NodeConfig, SERVED_HERE, Scheduler, Service, ServiceKey,
    ServiceLimit,
};
pub use sync::{PeerPorts, SYNC_GRACE_UNTIL, SYNC_HEARD_UNTIL, SYNC_PEER_PORTS, SYNC_TELLS, SYNC_WORDS};
pub use trace::{TRACE_FRAME_BYTES, TraceEvent, TraceFilter};

/// Version of all layouts in this module. The agent compares it with the one in the pinned
/// [`NodeConfig`] and replaces program and maps when they differ.
pub const ABI_VERSION: u32 = 14;

/// Words of 64 bits in a filter of addresses: one bit for each value of an address's last 16 bits.
pub const FILTER_WORDS: u32 = 1024;
/// VIPs a node can hold.
pub const MAX_VIPS: u32 = 4096;
/// In the word of a VIP: it is only served under a lease.
pub const VIP_NEEDS_LEASE: u32 = 2;
/// In the word of a VIP: what is for none of its services does not reach the host.
pub const VIP_IS_FOR_SERVICES: u32 = 4;
/// (VIP, port, protocol) triples a node can serve.
pub const MAX_SERVICES: u32 = 8192;
/// Backend addresses a node can know at one time; also the range of backend ids.
pub const MAX_BACKENDS: u32 = 16384;
/// Slots behind the drawn one that are looked at for a backend with room: when all are full, every SYN pays for it.
pub const LIMIT_ATTEMPTS: u32 = 64;
/// Entries of the arrays of active flows: of backends by their ids, behind them of services by theirs.
pub const MAX_ACCOUNTS: u32 = MAX_BACKENDS + MAX_SERVICES;
/// Entries of the slot array that all slot tables share.
pub const MAX_SLOTS: u32 = 1 << 20;
/// NAT ports that are tried for a new flow before it is given up.
pub const PORT_ATTEMPTS: u32 = 8;
/// Those of them that are in a row; the others are anywhere.
pub const PORTS_IN_A_ROW: u32 = PORT_ATTEMPTS / 2;
/// Other ports that a handshake goes by, one after the other, where its backend answers for earlier connections. After a flood each
/// is as likely as not to be one of those.
pub const PORT_HOPS: u32 = 16;
/// A cached next hop older than this, in [`ticks`], is looked up again, so a changed neighbour costs a flow at most
/// a second.
pub const NEXT_HOP_LIFETIME_TICKS: u32 = 953;

/// A clock in ns as ticks of 2^20 ns (1.05 ms), which a shift makes: the BPF target divides slowly. Wraps after 52
/// days; never 0, which is "never".
#[inline(always)]
pub const fn ticks(clock_ns: u64) -> u32 {
    (clock_ns >> 20) as u32 | 1
}

/// How long ago that was, in ns of a clock. Below zero where another CPU wrote it, which saw the clock a tick ahead of this one.
#[inline(always)]
pub const fn age_ns(then_ns: u64, now_ns: u64) -> i64 {
    // Not saturating: that is a branch, and each doubles what the kernel's verifier has to follow.
    now_ns.wrapping_sub(then_ns) as i64
}

/// How long a NAT port belongs to a flow that is not established and silent, in ns: datagrams of which there may never be
/// another, handshakes that nobody goes on with. Queries of name servers are such flows, and forged SYNs; with a port each
/// for a minute, 28,000 ports would be 470 of them a second.
pub const PORT_REST_NS: i64 = 5_000_000_000;

/// Position of an address in a filter: word index and bit in it.
#[inline(always)]
pub const fn filter_position(last_bytes: [u8; 2]) -> (u32, u32) {
    let bits = u16::from_be_bytes(last_bytes) as u32;
    (bits >> 6, bits & 63)
}

/// Where the account of a service's active flows is.
#[inline(always)]
pub const fn service_account(service_id: u32) -> u32 {
    MAX_BACKENDS + service_id
}

/// The established flows of a backend, or a service, that are not closed, from what the program counted and what the agent forgot. Both
/// go on for ever and wrap.
#[inline(always)]
pub const fn active_flows_of(counted: u64, forgotten: u64) -> u64 {
    let active = counted.wrapping_sub(forgotten);
    if active > i64::MAX as u64 { 0 } else { active }
}

#[cfg(test)]
mod tests;
