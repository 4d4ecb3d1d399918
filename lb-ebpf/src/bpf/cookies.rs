//! SYN cookies: when SYNs are answered here, the answers, and the segments that bring them back.
//!
//! Owns the secrets' map and the accounts of handshakes that say whether there is a flood. What follows an accepted cookie,
//! `new_flow` begins and `splice` goes on with.

use super::{
    explain::explains,
    frame::Frame,
    maps,
    options::{self, KIND_SACK_PERMITTED, KIND_SEGMENT_BYTES, KIND_WINDOW_SCALE},
    pipeline::{Result, Sent},
    rewrite::{self, Rewritable},
};
use crate::abi::{
    COOKIE_LIFETIME_NS, FlowKey, FlowRecord, Forwarding, MAX_SERVICES, PRESSURE_SHARE, PRESSURE_WINDOW_NS,
    Pressure, PressureShare, SynCookies, age_ns,
};
use crate::cookie::{Offer, announced_segment_bytes};
use crate::csum::Sum;
use crate::flow_state::FlowState;
use crate::outcome::{Occurrence, Outcome};
use crate::wire::{Ethernet, PROTOCOL_TCP, Tcp, TcpFlags, TcpFrame};
use aya_ebpf::{
    macros::map,
    maps::{Array, PerCpuArray},
    programs::XdpContext,
};
use core::intrinsics::{AtomicOrdering, atomic_cxchg, atomic_xadd};

#[map]
static SYN_COOKIES: Array<SynCookies> = Array::pinned(1, 0);
// By `Account`.
#[map]
static PRESSURE: Array<Pressure> = Array::pinned(3, 0);
// What each CPU counted of them and has not added yet.
#[map]
static PRESSURE_SHARES: PerCpuArray<PressureShare> = PerCpuArray::pinned(3, 0);
// When the last cookie was sent, and behind it when the last segment went by without a record: in ns, but not by the ns.
#[map]
static COOKIE_SENT_AT: Array<u64> = Array::pinned(2, 0);
// When a handshake of that service last took its port from another that had rested, in ns.
#[map]
static SHORT_AT: Array<u64> = Array::pinned(MAX_SERVICES, 0);

/// Bytes of the options in the SYNs and the answers that are made here.
const OPTIONS_BYTES: usize = 12;
/// Bytes of their TCP headers.
pub(super) const OPEN_HEADER_BYTES: u16 = 20 + OPTIONS_BYTES as u16;
/// The same as a data offset.
const OPEN_DATA_OFFSET: u8 = (OPEN_HEADER_BYTES as u8 / 4) << 4;
/// The front of a frame that carries a SYN, or its answer, made here.
#[repr(C, align(2))]
#[derive(Clone, Copy)]
pub(super) struct OpenFrame<I> {
    pub(super) ethernet: Ethernet,
    pub(super) ip: I,
    pub(super) tcp: Tcp,
    options: [u8; OPTIONS_BYTES],
}

impl<I: Rewritable> OpenFrame<I> {
    /// Writes header length, options and checksum; all else of the header is there, and both addresses, in either order.
    #[inline(always)]
    pub(super) fn complete(&mut self, segment_bytes: u16, offer: Offer, scale: u8) {
        let [high, low] = segment_bytes.to_be_bytes();
        let [sack, sack_bytes] = if offer.has_sack() { [KIND_SACK_PERMITTED, 2] } else { [1, 1] };
        let [kind, bytes, value] = match offer.window_scale() {
            Some(_) => [KIND_WINDOW_SCALE, 3, scale],
            None => [1, 1, 1],
        };
        self.options = [KIND_SEGMENT_BYTES, 4, high, low, sack, sack_bytes, 1, 1, kind, bytes, value, 1];
        let tcp = &mut self.tcp;
        tcp.data_offset = OPEN_DATA_OFFSET;
        tcp.urgent = [0; 2];
        tcp.checksum = checksum(&self.ip, tcp, OPEN_HEADER_BYTES, &self.options);
    }
}

/// TCP's checksum over the header and what stands behind it, so many bytes in all. Urgent data there is none.
#[inline(always)]
pub(super) fn checksum<I: Rewritable, const N: usize>(
    ip: &I,
    tcp: &Tcp,
    segment_bytes: u16,
    behind: &[u8; N],
) -> [u8; 2] {
    let sum: Sum = ip.address_sum();
    sum.plus(&[0, PROTOCOL_TCP])
        .plus(&segment_bytes.to_be_bytes())
        .plus(&tcp.source_port)
        .plus(&tcp.destination_port)
        .plus(&tcp.sequence)
        .plus(&tcp.acknowledgement)
        .plus(&[tcp.data_offset, tcp.flags])
        .plus(&tcp.window)
        .plus(behind)
        .finish()
}

/// Handshakes that are counted together, so that a flood of some says nothing about the others.
///
/// Whose answers are seen here count whether they were recorded or answered with a cookie: in the end their clients prove themselves. Of
/// the others only what is recorded counts, and nothing is recorded while they are too many: so what goes by without a record, which
/// nobody can tell from a flood, does not make one last.
#[derive(Clone, Copy)]
#[repr(u32)]
pub(super) enum Account {
    /// Those whose answers are seen here.
    Seen,
    /// Those that backends answer directly.
    Direct,
    /// Of those, what goes on after a SYN that was not recorded.
    Late,
}

impl Account {
    /// That of a service's flow, by what its state says of how it began.
    #[inline(always)]
    pub(super) const fn of(forwarding: Forwarding, state: u64) -> Self {
        match forwarding {
            Forwarding::Direct if FlowState::from_bits(state).has(FlowState::LATE) => Self::Late,
            Forwarding::Direct => Self::Direct,
            _ => Self::Seen,
        }
    }
}

/// Where the times are kept of what a service may be sent back.
#[inline(always)]
const fn time_of(forwarding: Forwarding) -> u32 {
    matches!(forwarding, Forwarding::Direct) as u32
}

/// Whether more handshakes are unfinished than are to be remembered, or hold ports that others of the service need.
// A function of its own, so that the verifier does not follow its branches into all that comes after.
#[inline(never)]
pub(super) fn is_flood(account: Account, service_id: u32, now: u64) -> bool {
    let Some(cookies) = SYN_COOKIES.get(0) else { return false };
    let Some(pressure) = PRESSURE.get_ptr_mut(account as u32) else { return false };
    // SAFETY: array values live as long as the map and are aligned to 8. Other CPUs write the three words one by one: what is
    // read may be of two windows, and is then wrong about one packet.
    let seen = unsafe { pressure.read_volatile() };
    if !explains() {
        turn(pressure, &seen, now);
    }
    if !matches!(account, Account::Seen) {
        return seen.is_over(now, cookies.direct_threshold);
    }
    seen.is_over(now, cookies.threshold) || cookies.threshold != u32::MAX && is_short(service_id, now)
}

/// Whether handshakes of the service lately had to take ports from others.
#[inline(always)]
fn is_short(service_id: u32, now: u64) -> bool {
    match SHORT_AT.get(service_id) {
        Some(short_at) => *short_at != 0 && age_ns(*short_at, now) < 2 * PRESSURE_WINDOW_NS,
        None => false,
    }
}

/// Begins another window, if it is time and no other CPU did.
#[inline(always)]
fn turn(pressure: *mut Pressure, seen: &Pressure, now: u64) {
    if !seen.is_window_over(now) {
        return;
    }
    let next = seen.next(now);
    // SAFETY: as in `is_flood`; this word is changed by compare and exchange only.
    let (_, first) = unsafe {
        atomic_cxchg::<u64, { AtomicOrdering::SeqCst }, { AtomicOrdering::SeqCst }>(
            &raw mut (*pressure).began_ns,
            seen.began_ns,
            next.began_ns,
        )
    };
    if first {
        // SAFETY: as above; what others add meanwhile stays.
        unsafe {
            (&raw mut (*pressure).unfinished_before).write_volatile(next.unfinished_before);
            add(pressure, seen.unfinished.wrapping_neg());
        }
    }
}

/// Adds to the handshakes that are unfinished.
///
/// # Safety
/// The pointer is to a live map value.
#[inline(always)]
unsafe fn add(pressure: *mut Pressure, more: i64) {
    // SAFETY: an aligned word of a live map value, as the caller says.
    unsafe {
        atomic_xadd::<i64, i64, { AtomicOrdering::SeqCst }>(&raw mut (*pressure).unfinished, more);
    }
}

/// Counts a handshake that began, or with -1 one that was completed: for this CPU first, because all would write one word.
#[inline(always)]
fn count(account: Account, more: i32) {
    if explains() {
        return;
    }
    let Some(share) = PRESSURE_SHARES.get_ptr_mut(account as u32) else { return };
    // SAFETY: a per-CPU value: nobody else writes it while the program runs on this CPU.
    let share = unsafe { &mut *share };
    share.unfinished = share.unfinished.wrapping_add(more);
    share.counted += 1;
    if share.counted < PRESSURE_SHARE {
        return;
    }
    let Some(pressure) = PRESSURE.get_ptr_mut(account as u32) else { return };
    // SAFETY: an array's value lives as long as the map.
    unsafe { add(pressure, i64::from(share.unfinished)) };
    *share = PressureShare { unfinished: 0, counted: 0 };
}

/// Notes that a handshake of a service took a port from another.
#[inline(always)]
pub(super) fn note_shortage(service_id: u32, now: u64) {
    note_time(SHORT_AT.get_ptr_mut(service_id), now);
}

/// Counts a handshake that was recorded. One that brought a cookie back was counted when that was sent.
#[inline(never)]
pub(super) fn note_begun(record: &FlowRecord) {
    if !record.state().is_of_datagrams() && !record.state().has(FlowState::COOKIE) {
        count(Account::of(record.forwarding(), record.state), 1);
    }
}

/// Counts a handshake that its client completed.
#[inline(never)]
pub(super) fn note_completed(record: &FlowRecord) {
    if !record.state().is_of_datagrams() {
        count(Account::of(record.forwarding(), record.state), -1);
    }
}

/// Notes that something went by without a record, so that more of it may come.
#[inline(always)]
pub(super) fn note_sent(forwarding: Forwarding, now: u64) {
    note_time(COOKIE_SENT_AT.get_ptr_mut(time_of(forwarding)), now);
}

/// Writes a time. All CPUs write it, so each does when it is worth it only.
#[inline(always)]
fn note_time(time: Option<*mut u64>, now: u64) {
    if explains() {
        return;
    }
    if let Some(time) = time {
        // SAFETY: an aligned u64 of a live map value; any of several CPUs' values is right.
        unsafe {
            if age_ns(time.read_volatile(), now) >= PRESSURE_WINDOW_NS {
                time.write_volatile(now);
            }
        }
    }
}

/// Whether a segment of no flow, to a service of that kind, may bring a cookie back, or belong to a flow that was not recorded.
#[inline(always)]
pub(super) fn may_come(forwarding: Forwarding, now: u64) -> bool {
    match COOKIE_SENT_AT.get(time_of(forwarding)) {
        Some(sent_at) => *sent_at != 0 && age_ns(*sent_at, now) < COOKIE_LIFETIME_NS,
        None => false,
    }
}

/// Answers a SYN with a cookie. The window is closed: what its client would send could not be kept for a backend that has
/// yet to hear of it.
#[inline(never)]
pub(super) fn answer<I: Rewritable>(ctx: &XdpContext, frame: Frame, key: &FlowKey, now: u64) -> Result {
    let Some(cookies) = SYN_COOKIES.get(0) else { return Err(Outcome::Internal) };
    let Some(segment) = frame.view::<TcpFrame<I>>() else { return Err(Outcome::Runt) };
    note_sent(Forwarding::Nat, now);
    count(Account::Seen, 1);
    let offer = options::read::<I>(ctx, segment.tcp.header_bytes()).offer;
    let client_isn = u32::from_be_bytes(segment.tcp.sequence);
    let cookie = cookies.make(key, client_isn, offer);
    frame.resize::<TcpFrame<I>>(ctx, core::mem::size_of::<OpenFrame<I>>())?;

    let Some(answer) = Frame::new(ctx).view::<OpenFrame<I>>() else { return Err(Outcome::Internal) };
    let tcp = &mut answer.tcp;
    (tcp.source_port, tcp.destination_port) = (tcp.destination_port, tcp.source_port);
    tcp.sequence = cookie.to_be_bytes();
    tcp.acknowledgement = client_isn.wrapping_add(1).to_be_bytes();
    tcp.flags = TcpFlags::SYN | TcpFlags::ACK;
    tcp.window = [0; 2];
    answer.complete(announced_segment_bytes(rewrite::is_v6::<I>()), offer, crate::cookie::ANNOUNCED_SCALE);
    answer.ip.make_answer(OPEN_HEADER_BYTES);
    let ethernet = &mut answer.ethernet;
    (ethernet.source, ethernet.destination) = (ethernet.destination, ethernet.source);
    Ok(Sent { outcome: Outcome::CookieSent, ifindex: 0 })
}

/// The sequence number of the SYN that a segment proves, and true, where it brings back its cookie. As a rule it is the
/// one after; where that one was lost, a probe of the closed window, which repeats the SYN's own.
#[inline(never)]
pub(super) fn check(key: &FlowKey, tcp: &Tcp) -> (u32, bool) {
    let Some(cookies) = SYN_COOKIES.get(0) else { return (0, false) };
    let cookie = u32::from_be_bytes(tcp.acknowledgement).wrapping_sub(1);
    let sequence = u32::from_be_bytes(tcp.sequence);
    let client_isn = sequence.wrapping_sub(1);
    if cookies.check(key, client_isn, cookie) {
        return (client_isn, true);
    }
    if cookies.check(key, sequence, cookie) {
        return (sequence, true);
    }
    maps::count(Occurrence::CookieMismatch);
    (0, false)
}
