//! The maps, and the few ways they are used.
//!
//! Sizes given here are defaults; the agent sets those of the flow tables from its configuration.

use super::explain::explains;
use super::frame::Front;
use super::options::OptionBytes;
use super::pipeline::Opening;
use crate::abi::{
    Address, Backend, BackendStats, FILTER_WORDS, FlowKey, FlowRecord, MAX_ACCOUNTS, MAX_BACKENDS,
    MAX_SERVICES, MAX_SLOTS, MAX_VIPS, NodeConfig, Service, ServiceKey, ServiceLimit, VIP_IS_FOR_SERVICES,
    VIP_NEEDS_LEASE, active_flows_of, filter_position, service_account,
};
use crate::flow_state::FlowState;
use crate::outcome::{Occurrence, Outcome};
use crate::wire::Tcp;
use aya_ebpf::{
    bindings::BPF_NOEXIST,
    macros::map,
    maps::{Array, HashMap, LruHashMap, PerCpuArray, RingBuf},
};
use core::intrinsics::{AtomicOrdering, atomic_or, atomic_xadd};

#[map]
static NODE: Array<NodeConfig> = Array::pinned(1, 0);
#[map]
static VIP_FILTER: Array<u64> = Array::pinned(FILTER_WORDS, 0);
// Of backends whose answers are addressed to clients, not to a VIP. Its bits stay: flows may outlive their service.
#[map]
static ANSWER_FILTER: Array<u64> = Array::pinned(FILTER_WORDS, 0);
#[map]
static VIPS: HashMap<Address, u32> = HashMap::pinned(MAX_VIPS, 0);
#[map]
static SERVICES: HashMap<ServiceKey, Service> = HashMap::pinned(MAX_SERVICES, 0);
#[map]
static SLOTS: Array<u32> = Array::pinned(MAX_SLOTS, 0);
#[map]
static CURSORS: Array<Cursor> = Array::pinned(MAX_SERVICES, 0);
#[map]
static BACKENDS: Array<Backend> = Array::pinned(MAX_BACKENDS, 0);
#[map]
static PORT_CURSORS: Array<u64> = Array::pinned(MAX_BACKENDS, 0);
#[map]
static BACKEND_STATS: PerCpuArray<BackendStats> = PerCpuArray::pinned(MAX_BACKENDS, 0);
#[map]
static ACTIVE_FLOWS: Array<u64> = Array::pinned(MAX_ACCOUNTS, 0);
#[map]
static FORGOTTEN_FLOWS: Array<u64> = Array::pinned(MAX_ACCOUNTS, 0);
#[map]
static SERVICE_LIMITS: Array<ServiceLimit> = Array::pinned(MAX_SERVICES, 0);
#[map]
static ESTABLISHED: HashMap<FlowKey, FlowRecord> = HashMap::pinned(524_288, 0);
#[map]
static EMBRYONIC: LruHashMap<FlowKey, FlowRecord> = LruHashMap::pinned(131_072, 0);
#[map]
static REFUSALS: RingBuf = RingBuf::pinned(REFUSALS_BYTES, 0);
#[map]
static OUTCOMES: PerCpuArray<u64> = PerCpuArray::pinned(Outcome::COUNT, 0);
#[map]
static OCCURRENCES: PerCpuArray<u64> = PerCpuArray::pinned(Occurrence::COUNT, 0);
#[map]
static SCRATCH: PerCpuArray<Scratch> = PerCpuArray::with_max_entries(1, 0);

/// Room for the refusals that the agent has not read yet: 16 bytes each.
const REFUSALS_BYTES: u32 = 65536;

/// A service's ticket counter, alone on its cache line.
#[repr(C, align(64))]
pub struct Cursor {
    next: u64,
    zero: [u64; 7],
}

/// Room for what would not fit the stack. Each part of it is asked for by itself.
#[repr(C)]
pub struct Scratch {
    draft: Draft,
    opening: Opening,
    options: OptionBytes,
    front: Front,
    arrived: Arrived,
}

/// The entries of a flow in the making, and the key of the second.
#[repr(C)]
pub struct Draft {
    pub(super) forward: FlowRecord,
    pub(super) reverse: FlowRecord,
    pub(super) from_backend: FlowKey,
    /// The last NAT port that was met whose handshake rests; 0 is none.
    pub(super) last_resort: u32,
}

/// A segment of a handshake, before it was rewritten.
#[repr(C)]
pub struct Arrived {
    pub(super) tcp: Tcp,
    pub(super) segment_bytes: u32,
}

/// Counts a packet's outcome.
#[inline(always)]
pub fn count_outcome(outcome: Outcome) {
    if explains() {
        return;
    }
    if let Some(counter) = OUTCOMES.get_ptr_mut(outcome as u32) {
        // SAFETY: a per-CPU value: nobody else writes it while the program runs on this CPU.
        unsafe { *counter += 1 };
    }
}

/// Counts something that happened on the way.
#[inline(always)]
pub(super) fn count(occurrence: Occurrence) {
    if explains() {
        return;
    }
    if let Some(counter) = OCCURRENCES.get_ptr_mut(occurrence as u32) {
        // SAFETY: as in `count_outcome`.
        unsafe { *counter += 1 };
    }
}

/// Lets `account` add to this CPU's accounts of a backend.
#[inline(always)]
pub(super) fn account(backend_id: u32, account: impl FnOnce(&mut BackendStats)) {
    if explains() {
        return;
    }
    if let Some(stats) = BACKEND_STATS.get_ptr_mut(backend_id) {
        // SAFETY: as in `count_outcome`; the reference ends with the call.
        account(unsafe { &mut *stats });
    }
}

/// Tells the agent that a backend refused a connection. Where nobody reads, and the ring is full, it is not told.
#[inline(always)]
pub(super) fn tell_of_refusal(backend_id: u32) {
    if !explains() {
        let _ = REFUSALS.output::<u32>(&backend_id, 0);
    }
}

/// Whether an address may be a VIP: false is certain and costs no hash look-up.
#[inline(always)]
pub(super) fn may_be_vip(last_bytes: [u8; 2]) -> bool {
    is_in(&VIP_FILTER, last_bytes)
}

/// Whether an address may be a backend's that answers clients by way of this node: false is certain.
#[inline(always)]
pub(super) fn may_answer(last_bytes: [u8; 2]) -> bool {
    is_in(&ANSWER_FILTER, last_bytes)
}

#[inline(always)]
fn is_in(filter: &Array<u64>, last_bytes: [u8; 2]) -> bool {
    let (word, bit) = filter_position(last_bytes);
    match filter.get(word) {
        Some(bits) => bits >> bit & 1 != 0,
        None => false,
    }
}

/// Whether an address is a VIP of this node.
#[inline(always)]
pub(super) fn is_vip(address: &Address) -> bool {
    VIPS.get_ptr(address).is_some()
}

/// Whether an address is a VIP that is only served under a lease.
#[inline(always)]
pub(super) fn needs_lease(address: &Address) -> bool {
    vip_word(address) & VIP_NEEDS_LEASE != 0
}

/// Whether an address is a VIP of which the host takes nothing but its services' packets.
#[inline(always)]
pub(super) fn is_for_services(address: &Address) -> bool {
    vip_word(address) & VIP_IS_FOR_SERVICES != 0
}

/// What there is to know of a VIP; 0 of other addresses.
#[inline(always)]
fn vip_word(address: &Address) -> u32 {
    // SAFETY: values are words that are read at once; entries stay readable until an RCU grace period is over.
    match unsafe { VIPS.get(address) } {
        Some(word) => *word,
        None => 0,
    }
}

#[inline(always)]
pub(super) fn service(key: &ServiceKey) -> Option<&'static Service> {
    // SAFETY: values are replaced whole and freed after an RCU grace period, which the program's run is within.
    unsafe { SERVICES.get(key) }
}

#[inline(always)]
pub(super) fn node() -> Option<&'static NodeConfig> {
    NODE.get(0)
}

#[inline(always)]
pub(super) fn slot(index: u32) -> Option<u32> {
    SLOTS.get(index).copied()
}

#[inline(always)]
pub(super) fn backend(id: u32) -> Option<&'static Backend> {
    BACKENDS.get(id)
}

/// The next ticket of a service: each is drawn once, whatever CPU draws it.
#[inline(always)]
pub(super) fn draw_slot_ticket(service_id: u32) -> Option<u64> {
    let cursor = CURSORS.get_ptr_mut(service_id)?;
    if explains() {
        // The one that would be drawn next.
        // SAFETY: array values live as long as the map and are aligned to 8.
        return Some(unsafe { (&raw const (*cursor).next).read_volatile() });
    }
    // Not relaxed: LLVM 22 turns a relaxed one into BPF's plain add, which does not return the old value.
    // SAFETY: array values live as long as the map and are aligned to 8; all writers use atomics.
    Some(unsafe { atomic_xadd::<u64, u64, { AtomicOrdering::SeqCst }>(&raw mut (*cursor).next, 1) })
}

/// The next port ticket of a backend; `attempt` says how many were drawn for this flow before.
#[inline(always)]
pub(super) fn draw_port_ticket(backend_id: u32, attempt: u32) -> Option<u64> {
    let cursor = PORT_CURSORS.get_ptr_mut(backend_id)?;
    if explains() {
        // SAFETY: as in `draw_slot_ticket`.
        return Some(unsafe { cursor.read_volatile() }.wrapping_add(u64::from(attempt)));
    }
    // SAFETY: as in `draw_slot_ticket`.
    Some(unsafe { atomic_xadd::<u64, u64, { AtomicOrdering::SeqCst }>(cursor, 1) })
}

/// An established flow's entry for packets of this key.
#[inline(always)]
pub(super) fn established(key: &FlowKey) -> Option<&'static mut FlowRecord> {
    // Two CPUs may hold one entry: accounts may then lose a count, `state` is only changed atomically, and all else is
    // written once, or (the next hop) with the same words by both. An entry that is deleted while we hold it may be
    // another flow's at once, which then gets what we write: a stamp, a count, at worst a state bit.
    // SAFETY: entries are allocated with the map and stay readable and writable as long as it lives.
    ESTABLISHED.get_ptr_mut(key).map(|record| unsafe { &mut *record })
}

/// A flow entry whose handshake is not complete.
#[inline(always)]
pub(super) fn embryonic(key: &FlowKey) -> Option<&'static mut FlowRecord> {
    // SAFETY: as in `established`; an entry that LRU eviction reuses meanwhile can at worst misdirect this
    // one packet of an incomplete handshake, or spoil the handshake of the flow that has it now, which its client repeats.
    EMBRYONIC.get_ptr_mut(key).map(|record| unsafe { &mut *record })
}

/// The other direction's entry of a flow whose handshake is not complete. One that belongs to another flow by now is none: only one of
/// two may have been evicted.
#[inline(never)]
pub(super) fn embryonic_twin(key: &FlowKey, record: &FlowRecord) -> Option<&'static mut FlowRecord> {
    let twin_key = record.twin_key(key);
    embryonic(&twin_key).filter(|twin| twin.twin_key(&twin_key) == *key)
}

/// Inserts an established flow's entry where there is none; the kernel's error otherwise.
#[inline(always)]
pub(super) fn insert_established(key: &FlowKey, record: &FlowRecord) -> Result<(), i32> {
    if explains() { Ok(()) } else { ESTABLISHED.insert(key, record, u64::from(BPF_NOEXIST)) }
}

/// Inserts an embryonic flow's entry, in the place of one that may be there.
#[inline(always)]
pub(super) fn put_embryonic(key: &FlowKey, record: &FlowRecord) -> Result<(), i32> {
    if explains() { Ok(()) } else { EMBRYONIC.insert(key, record, 0) }
}

/// Inserts an embryonic flow's entry where there is none. Whether it was the first.
#[inline(always)]
pub(super) fn insert_embryonic(key: &FlowKey, record: &FlowRecord) -> bool {
    if explains() {
        return embryonic(key).is_none();
    }
    EMBRYONIC.insert(key, record, u64::from(BPF_NOEXIST)).is_ok()
}

/// Removes an entry. Gone already is as good: the other direction's packets, LRU eviction and the agent's sweep
/// remove entries too.
#[inline(always)]
pub(super) fn remove_established(key: &FlowKey) {
    if !explains() {
        let _ = ESTABLISHED.remove(key);
    }
}

/// The same for an embryonic flow.
#[inline(always)]
pub(super) fn remove_embryonic(key: &FlowKey) {
    if !explains() {
        let _ = EMBRYONIC.remove(key);
    }
}

/// Adds state bits to an entry, atomically: both directions' packets may do so at one time. Returns the state before:
/// of all that add the same bit, one alone finds it missing.
#[inline(always)]
pub(super) fn add_state(record: &mut FlowRecord, bits: u64) -> FlowState {
    if explains() {
        return record.state();
    }
    // Not relaxed, as in `draw_slot_ticket`.
    // SAFETY: `state` is an aligned u64 of a live map value, and only ever changed this way once shared.
    let old = unsafe { atomic_or::<u64, u64, { AtomicOrdering::SeqCst }>(&raw mut record.state, bits) };
    FlowState::from_bits(old)
}

/// Counts a flow that was promoted (1) or has closed (-1), for its backend and its service.
#[inline(always)]
pub(super) fn add_active_flows(record: &FlowRecord, difference: i64) {
    if explains() {
        return;
    }
    for account in [record.backend_id, service_account(record.service_id())] {
        if let Some(active) = ACTIVE_FLOWS.get_ptr_mut(account) {
            // SAFETY: as in `draw_slot_ticket`; below zero it wraps, and what the agent forgot is taken off with a wrap too.
            unsafe { atomic_xadd::<u64, u64, { AtomicOrdering::SeqCst }>(active, difference as u64) };
        }
    }
}

/// Established flows of an account that are not closed: what the program counted, less what the agent, the only
/// writer of the second table, forgot for their silence.
#[inline(always)]
pub(super) fn active_flows(account: u32) -> u64 {
    match (ACTIVE_FLOWS.get(account), FORGOTTEN_FLOWS.get(account)) {
        // Both move while we look: a flow forgotten between the two is no reason for less than none.
        (Some(active), Some(forgotten)) => active_flows_of(*active, *forgotten),
        _ => 0,
    }
}

#[inline(always)]
pub(super) fn service_limit(service_id: u32) -> Option<&'static ServiceLimit> {
    SERVICE_LIMITS.get(service_id)
}

/// The flow in the making.
#[inline(always)]
pub(super) fn draft() -> Option<&'static mut Draft> {
    // SAFETY: a part of a per-CPU value. Who makes a flow hands its reference on to whom it calls, and each who asks anew is the
    // last to use the one before.
    SCRATCH.get_ptr_mut(0).map(|scratch| unsafe { &mut (*scratch).draft })
}

/// How the flow in the making begins.
#[inline(always)]
pub(super) fn opening() -> Option<&'static mut Opening> {
    // SAFETY: as in `draft`; nobody holds this one while another asks.
    SCRATCH.get_ptr_mut(0).map(|scratch| unsafe { &mut (*scratch).opening })
}

/// A header's options.
#[inline(always)]
pub(super) fn option_bytes() -> Option<&'static mut OptionBytes> {
    // SAFETY: as in `opening`: `options` alone asks, once while they are copied and then for each of them.
    SCRATCH.get_ptr_mut(0).map(|scratch| unsafe { &mut (*scratch).options })
}

/// A frame's front, while the frame is made longer.
#[inline(always)]
pub(super) fn front() -> Option<&'static mut Front> {
    // SAFETY: as in `opening`: `frame` alone asks, in one place.
    SCRATCH.get_ptr_mut(0).map(|scratch| unsafe { &mut (*scratch).front })
}

/// The segment of a handshake that arrived.
#[inline(always)]
pub(super) fn arrived() -> Option<&'static mut Arrived> {
    // SAFETY: as in `opening`: `handshake` alone asks, once where it is filled and then where it is read.
    SCRATCH.get_ptr_mut(0).map(|scratch| unsafe { &mut (*scratch).arrived })
}
