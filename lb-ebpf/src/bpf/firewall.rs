//! The firewall: what the rules decide about a packet, and the limits they set.
//!
//! Owns the tables of prefixes, decisions, rules and limited sources. A source is looked up once for a new flow, once
//! for a flow that the policy's last change may concern, and for packets that belong to nothing.

use super::{established, explain, frame::Frame, maps};
use crate::abi::{
    Address, Decision, DecisionKey, FlowKey, FlowRecord, Judgement, LimitedSource, MAX_DECISIONS,
    MAX_LIMITED_SOURCES, MAX_PREFIXES, MAX_RULE_IDS, NO_RULE, Policy, Rule, RuleHits, Service, ServiceKey,
    SourceAccount, SourceClass, Target,
};
use crate::flow_state::FlowState;
use crate::outcome::{Occurrence, Outcome};
use crate::wire::{ETHERNET_BYTES, IpFrame, IpHeader, Ipv4, Ipv6, Tcp, TcpFlags, Transport};
use aya_ebpf::{
    bindings::{BPF_F_NO_PREALLOC, BPF_NOEXIST},
    macros::map,
    maps::{Array, HashMap, LpmTrie, LruHashMap, PerCpuArray, lpm_trie::Key},
    programs::XdpContext,
};
use core::intrinsics::{AtomicOrdering, atomic_cxchg, atomic_xadd};

#[map]
static POLICY: Array<Policy> = Array::pinned(1, 0);
#[map]
static PREFIXES_V4_0: LpmTrie<[u8; 4], SourceClass> = LpmTrie::pinned(MAX_PREFIXES, 0);
#[map]
static PREFIXES_V4_1: LpmTrie<[u8; 4], SourceClass> = LpmTrie::pinned(MAX_PREFIXES, 0);
#[map]
static PREFIXES_V6_0: LpmTrie<[u8; 16], SourceClass> = LpmTrie::pinned(MAX_PREFIXES, 0);
#[map]
static PREFIXES_V6_1: LpmTrie<[u8; 16], SourceClass> = LpmTrie::pinned(MAX_PREFIXES, 0);
// Single addresses, which most lists are of: a hash finds them in a fraction of a trie's time.
#[map]
static ADDRESSES_V4_0: HashMap<[u8; 4], SourceClass> = HashMap::pinned(MAX_PREFIXES, BPF_F_NO_PREALLOC);
#[map]
static ADDRESSES_V4_1: HashMap<[u8; 4], SourceClass> = HashMap::pinned(MAX_PREFIXES, BPF_F_NO_PREALLOC);
#[map]
static ADDRESSES_V6_0: HashMap<[u8; 16], SourceClass> = HashMap::pinned(MAX_PREFIXES, BPF_F_NO_PREALLOC);
#[map]
static ADDRESSES_V6_1: HashMap<[u8; 16], SourceClass> = HashMap::pinned(MAX_PREFIXES, BPF_F_NO_PREALLOC);
#[map]
static DECISIONS: HashMap<DecisionKey, Decision> = HashMap::pinned(MAX_DECISIONS, BPF_F_NO_PREALLOC);
#[map]
static RULES: Array<Rule> = Array::pinned(MAX_RULE_IDS, 0);
#[map]
static RULE_HITS: PerCpuArray<RuleHits> = PerCpuArray::pinned(MAX_RULE_IDS, 0);
#[map]
static LIMITED_SOURCES: LruHashMap<LimitedSource, SourceAccount> = LruHashMap::pinned(MAX_LIMITED_SOURCES, 0);

/// How often a source's account is tried to be written against other CPUs before the connection counts as over its rate.
const RATE_ATTEMPTS: u32 = 4;

/// Families whose sources can be looked up.
pub(super) trait Judged: IpHeader {
    fn class_of(table: u8, source: &Address) -> Option<&'static SourceClass>;
}

impl Judged for Ipv4 {
    #[inline(always)]
    fn class_of(table: u8, source: &Address) -> Option<&'static SourceClass> {
        let address = source.v4();
        let key = Key::new(32, address);
        if table == 0 {
            class_in(&ADDRESSES_V4_0, &address).or_else(|| PREFIXES_V4_0.get(&key))
        } else {
            class_in(&ADDRESSES_V4_1, &address).or_else(|| PREFIXES_V4_1.get(&key))
        }
    }
}

impl Judged for Ipv6 {
    #[inline(always)]
    fn class_of(table: u8, source: &Address) -> Option<&'static SourceClass> {
        let address = source.v6();
        let key = Key::new(128, address);
        if table == 0 {
            class_in(&ADDRESSES_V6_0, &address).or_else(|| PREFIXES_V6_0.get(&key))
        } else {
            class_in(&ADDRESSES_V6_1, &address).or_else(|| PREFIXES_V6_1.get(&key))
        }
    }
}

/// The class of a single address: the longest prefix there can be.
#[inline(always)]
fn class_in<K>(addresses: &'static HashMap<K, SourceClass>, address: &K) -> Option<&'static SourceClass> {
    // SAFETY: values are replaced whole and freed after an RCU grace period, which the program's run is within.
    unsafe { addresses.get(address) }
}

/// The policy in force. Read once for a packet: the agent changes it while we look.
#[inline(always)]
pub(super) fn policy() -> Policy {
    match POLICY.get(0) {
        Some(policy) => *policy,
        None => bytemuck::Zeroable::zeroed(),
    }
}

/// What the rules say about a source and a target.
#[inline(never)]
fn decide<I: Judged>(policy: &Policy, source: &Address, target: &Target) -> Decision {
    let Some(class) = I::class_of(policy.table, source) else { return Decision::new(Judgement::None) };
    if class.class != 0
        // SAFETY: values are replaced whole and freed after an RCU grace period, which the program's run is within.
        && let Some(decision) = unsafe { DECISIONS.get(&DecisionKey::new(class.class, *target)) }
    {
        return *decision;
    }
    if target.is_host() { class.host } else { class.services }
}

/// Lets `count` add to this CPU's accounts of a rule.
#[inline(always)]
fn hit(rule: u32, count: impl FnOnce(&mut RuleHits)) {
    if explain::explains() {
        return;
    }
    if let Some(hits) = RULE_HITS.get_ptr_mut(rule) {
        // SAFETY: as in `maps::count_outcome`; the reference ends with the call.
        count(unsafe { &mut *hits });
    }
}

/// Denies a packet, or says what else was decided. `default_denies` is what holds where no rule decides.
#[inline(always)]
fn enforce(decision: Decision, default_denies: bool) -> Result<Decision, Outcome> {
    explain::note(|explanation| {
        explanation.decision = decision;
        explanation.judged = 1;
    });
    match decision.judgement() {
        Judgement::Deny(rule) => {
            hit(rule, |hits| hits.denied += 1);
            Err(Outcome::Denied)
        }
        Judgement::None if default_denies => Err(Outcome::NotAllowed),
        _ => Ok(decision),
    }
}

/// Judges a packet to a service.
#[inline(always)]
pub(super) fn judge<I: Judged>(
    policy: &Policy,
    source: &Address,
    service: &Service,
) -> Result<Decision, Outcome> {
    let decision = if policy.judges_services == 0 {
        Decision::new(Judgement::None)
    } else {
        decide::<I>(policy, source, &Target::service(service.name_hash))
    };
    enforce(decision, service.denies != 0)
}

/// Judges a packet to a VIP that is not for a service.
#[inline(always)]
pub(super) fn judge_stray<I: Judged>(policy: &Policy, source: &Address) -> Result<(), Outcome> {
    if policy.judges_services == 0 {
        return Ok(());
    }
    enforce(decide::<I>(policy, source, &Target::VIP), false).map(drop)
}

/// Lets a new connection in that was judged: counts it, or holds it against its rule's limits. Returns the rule whose
/// limit on open connections it is under.
#[inline(never)]
pub(super) fn admit(decision: Decision, source: &Address, now: u64) -> Result<u16, Outcome> {
    let rule_id = match decision.judgement() {
        Judgement::Limit(rule_id) => rule_id,
        Judgement::Allow(rule_id) => {
            hit(rule_id, |hits| hits.allowed += 1);
            return Ok(NO_RULE);
        }
        _ => return Ok(NO_RULE),
    };
    let rule = RULES.get(rule_id).ok_or(Outcome::Internal)?;
    let source = LimitedSource::of(source, rule_id, rule);
    let Some(account) = account_of(&source) else {
        // A source that was never seen is within every limit.
        return if explain::explains() { Ok(NO_RULE) } else { Err(Outcome::Internal) };
    };
    if is_full(rule, account) {
        hit(rule_id, |hits| hits.over_active += 1);
        return Err(Outcome::OverActive);
    }
    if rule.interval_ns != 0 && !take_turn(rule, account, now) {
        hit(rule_id, |hits| hits.over_rate += 1);
        return Err(Outcome::OverRate);
    }
    hit(rule_id, |hits| hits.allowed += 1);
    Ok(if rule.active_flows == 0 { NO_RULE } else { rule_id as u16 })
}

/// A source's account, made where there is none.
#[inline(always)]
fn account_of(source: &LimitedSource) -> Option<*mut SourceAccount> {
    if let Some(account) = LIMITED_SOURCES.get_ptr_mut(source) {
        return Some(account);
    }
    if explain::explains() {
        return None;
    }
    // Another CPU may be first, which is as good.
    let _ =
        LIMITED_SOURCES.insert(source, SourceAccount { next_ns: 0, active_flows: 0 }, u64::from(BPF_NOEXIST));
    LIMITED_SOURCES.get_ptr_mut(source)
}

#[inline(always)]
fn is_full(rule: &Rule, account: *mut SourceAccount) -> bool {
    // SAFETY: a pointer into a live map value, aligned to 8; LRU values are never freed, at worst reused.
    rule.active_flows != 0
        && unsafe { (&raw const (*account).active_flows).read_volatile() } >= u64::from(rule.active_flows)
}

/// Takes a source's next turn, if it is not too early: the generic cell rate algorithm, whose whole state is one time.
#[inline(always)]
fn take_turn(rule: &Rule, account: *mut SourceAccount, now: u64) -> bool {
    // SAFETY: as in `is_full`.
    let next = unsafe { &raw mut (*account).next_ns };
    for _ in 0..RATE_ATTEMPTS {
        // SAFETY: as above; other CPUs change it by compare and exchange only.
        let due = unsafe { next.read_volatile() };
        let turn = if due > now { due } else { now };
        if turn - now > rule.burst_ns {
            return false;
        }
        if explain::explains() {
            return true;
        }
        let later = turn + rule.interval_ns;
        // SAFETY: an aligned u64 of a live map value.
        let (_, taken) = unsafe {
            atomic_cxchg::<u64, { AtomicOrdering::SeqCst }, { AtomicOrdering::SeqCst }>(next, due, later)
        };
        if taken {
            return true;
        }
    }
    false
}

/// Whether a flow in its handshake must not become established, because its source has too many that are.
#[inline(never)]
pub(super) fn is_over_active(key: &FlowKey, rule_id: u32) -> bool {
    let Some(rule) = RULES.get(rule_id) else { return false };
    let source = LimitedSource::of(&key.source, rule_id, rule);
    let over = LIMITED_SOURCES.get_ptr_mut(&source).is_some_and(|account| is_full(rule, account));
    if over {
        hit(rule_id, |hits| hits.over_active += 1);
    }
    over
}

/// Counts a flow of a limited client that was promoted.
#[inline(never)]
pub(super) fn account_opened(client: &Address, rule_id: u32) {
    if explain::explains() {
        return;
    }
    let Some(rule) = RULES.get(rule_id) else { return };
    if let Some(account) = account_of(&LimitedSource::of(client, rule_id, rule)) {
        // SAFETY: an aligned u64 of a live map value.
        unsafe {
            atomic_xadd::<u64, u64, { AtomicOrdering::SeqCst }>(&raw mut (*account).active_flows, 1);
        }
    }
}

/// Counts a flow of a limited client that closed, or that the agent forgot.
#[inline(never)]
pub fn account_closed(client: &Address, rule_id: u32) {
    let Some(rule) = RULES.get(rule_id) else { return };
    // An account that gave way in the meantime has forgotten its flows.
    let Some(account) = LIMITED_SOURCES.get_ptr_mut(&LimitedSource::of(client, rule_id, rule)) else {
        return;
    };
    // SAFETY: an aligned u64 of a live map value.
    let active = unsafe { &raw mut (*account).active_flows };
    // SAFETY: as above.
    let before = unsafe { atomic_xadd::<u64, u64, { AtomicOrdering::SeqCst }>(active, u64::MAX) };
    if before == 0 {
        // Of an account that was made anew since: there is nothing to take off.
        // SAFETY: as above.
        unsafe { atomic_xadd::<u64, u64, { AtomicOrdering::SeqCst }>(active, 1) };
    }
}

/// What a packet for `lb_settle` says.
#[inline(always)]
pub fn settled(ctx: &XdpContext) -> Option<(Address, u32)> {
    let words = Frame::new(ctx).view::<[[u8; 2]; 10]>()?;
    let source: LimitedSource = bytemuck::cast(*words);
    Some((source.network, source.rule))
}

/// Judges a flow by a policy that came after its last judgement. One that is denied now is forgotten: the
/// backend gets a RST with its next packet.
#[inline(never)]
pub(super) fn judge_again<I: Judged>(
    policy: &Policy,
    key: &FlowKey,
    record: &mut FlowRecord,
    is_established: bool,
) -> Result<(), Outcome> {
    let client = *record.client(key);
    let (vip, port) = record.entrance(key);
    let judged = match maps::service(&ServiceKey::new(*vip, port, key.protocol())) {
        Some(service) => judge::<I>(policy, &client, service).map(drop),
        None => judge_stray::<I>(policy, &client),
    };
    if explain::explains() {
        explain::note_flow(key, record, 1 + u32::from(is_established));
    } else if judged.is_err() {
        cut(key, record, is_established);
    } else {
        record.policy_generation = policy.generation;
    }
    judged
}

#[inline(always)]
fn cut(key: &FlowKey, record: &mut FlowRecord, is_established: bool) {
    let twin_key = record.twin_key(key);
    maps::count(Occurrence::FlowCut);
    if !is_established {
        maps::remove_embryonic(&twin_key);
        maps::remove_embryonic(key);
        return;
    }
    established::close(key, record, FlowState::RESET, 0);
    // Either may be gone already: the agent's sweep removes closed flows too.
    maps::remove_established(&twin_key);
    maps::remove_established(key);
}

/// Judges a packet that is about to be passed to the host.
#[inline(never)]
pub(super) fn judge_passing<I: Judged>(policy: &Policy, frame: Frame, outcome: Outcome, now: u64) -> Outcome {
    let Some(headers) = frame.view::<IpFrame<I>>() else { return outcome };
    let source = headers.ip.source();
    if outcome.is_at_vip()
        && let Err(denied) = judge_stray::<I>(policy, &source)
    {
        return denied;
    }
    if policy.judges_host == 0 {
        return outcome;
    }
    let Some(target) = opened::<I>(frame, headers.ip.transport(), headers.ip.packet_bytes()) else {
        return outcome;
    };
    let decision = decide::<I>(policy, &source, &target);
    let admitted = match enforce(decision, policy.host_denies != 0) {
        Ok(decision) => admit(decision, &source, now).map(drop),
        Err(denied) => Err(denied),
    };
    match admitted {
        Ok(()) => outcome,
        Err(denied) => denied,
    }
}

/// What a packet to the host opens, if it opens anything.
#[inline(always)]
fn opened<I: Judged>(frame: Frame, transport: Transport, ip_bytes: u32) -> Option<Target> {
    match transport {
        Transport::Other => None,
        Transport::Cut => Some(Target::HOST),
        Transport::Hidden => {
            // Every extension header begins with the protocol that follows; UDP and ICMPv6 open nothing.
            let next = frame.view_at::<[u8; 2]>(ETHERNET_BYTES + I::BYTES)?;
            if matches!(next[0], 17 | 58) { None } else { Some(Target::HOST) }
        }
        Transport::Tcp(offset) => {
            // A segment cut so short that nobody can see what it opens must not get by; what stands behind it in the
            // frame is padding.
            if offset + size_of::<Tcp>() as u32 > ip_bytes {
                return Some(Target::HOST);
            }
            let Some(tcp) = frame.view_at::<Tcp>(ETHERNET_BYTES + (offset as usize & 0x3c)) else {
                return Some(Target::HOST);
            };
            if TcpFlags::new(tcp.flags).is_open() {
                Some(Target::host_port(u16::from_be_bytes(tcp.destination_port)))
            } else {
                None
            }
        }
    }
}
