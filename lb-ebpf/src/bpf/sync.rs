//! What other nodes have to hear of flows, and what this one does not yet know of theirs.
//!
//! Owns the ring of keys of flows that began or changed: the agent reads what they are by now from the table, and sends that on. A ring that
//! is full loses a key, which is counted, and no packet waits for it. Owns also the words by which the agent says whether anybody wants to
//! know, and until when flows of others may still become known here.

use super::{explain::explains, maps};
use crate::abi::{
    FlowKey, PeerPorts, SYNC_GRACE_UNTIL, SYNC_HEARD_UNTIL, SYNC_PEER_PORTS, SYNC_TELLS, SYNC_WORDS, age_ns,
};
use crate::outcome::Occurrence;
use aya_ebpf::{
    bindings::BPF_RB_NO_WAKEUP,
    macros::map,
    maps::{Array, RingBuf},
};

#[map]
static SYNC: Array<u64> = Array::pinned(SYNC_WORDS, 0);
#[map]
static FLOW_NEWS: RingBuf = RingBuf::pinned(NEWS_BYTES, 0);

/// Room for 21,000 keys: 48 bytes each. The agent looks every few milliseconds.
const NEWS_BYTES: u32 = 1 << 20;

/// Tells the agent that a flow has begun, or is not what it was. Nobody is woken: the agent looks often enough.
#[inline(never)]
pub(super) fn tell(key: &FlowKey) {
    if explains() || word(SYNC_TELLS) == 0 {
        return;
    }
    if FLOW_NEWS.output::<FlowKey>(key, u64::from(BPF_RB_NO_WAKEUP)).is_err() {
        maps::count(Occurrence::SyncMissed);
    }
}

/// Whether a flow may be another node's that served the VIP until a moment ago.
#[inline(never)]
pub(super) fn is_grace(now: u64) -> bool {
    let until = word(SYNC_GRACE_UNTIL);
    until != 0 && age_ns(until, now) < 0
}

/// Whether nobody would tell other nodes of a flow that begins now, although they want to know: the agent is gone, or hangs.
#[inline(never)]
pub(super) fn is_unheard(now: u64) -> bool {
    let until = word(SYNC_HEARD_UNTIL);
    until != 0 && age_ns(until, now) >= 0
}

/// Whether a port, network byte order, is one that other nodes give to flows.
#[inline(always)]
pub(super) fn is_peers_port(port: [u8; 2]) -> bool {
    PeerPorts::from_word(word(SYNC_PEER_PORTS)).contains(port)
}

#[inline(always)]
fn word(index: u32) -> u64 {
    SYNC.get(index).copied().unwrap_or(0)
}
