//! How many flows backends and services may have.
//!
//! What counts is what is established: a flood of SYNs fills no limit. So a flow may find its limit reached at its SYN, and
//! go elsewhere, or when its handshake is complete, and then it is too late for that.

use super::maps;
use crate::abi::{
    AtLimit, Backend, FlowRecord, LIMIT_ATTEMPTS, NO_BACKEND, Service, ServiceLimit, service_account,
};
use crate::outcome::Outcome;
use aya_ebpf::helpers::generated::bpf_loop;
use core::ffi::c_void;

/// Whether a backend has as many flows as it may have.
#[inline(always)]
pub(super) fn is_full(id: u32, backend: &Backend) -> bool {
    backend.max_flows != 0 && both(id, backend.sibling_id) >= u64::from(backend.max_flows)
}

/// Whether a service has as many flows as it may have.
#[inline(always)]
fn is_service_full(id: u32, limit: &ServiceLimit) -> bool {
    let sibling = service_account(u32::from(limit.sibling_id));
    limit.max_flows != 0 && both(service_account(id), sibling) >= u64::from(limit.max_flows)
}

/// Active flows of one thing over both families.
#[inline(always)]
fn both(account: u32, sibling: u32) -> u64 {
    let active = maps::active_flows(account);
    if sibling == account { active } else { active + maps::active_flows(sibling) }
}

/// Whether there is no room for one more flow of a record's backend or service.
#[inline(never)]
pub(super) fn is_reached(record: &FlowRecord) -> bool {
    if let Some(backend) = maps::backend(record.backend_id)
        && is_full(record.backend_id, backend)
    {
        maps::account(record.backend_id, |stats| stats.flows_over_limit += 1);
        return true;
    }
    let id = record.service_id();
    maps::service_limit(id).is_some_and(|limit| is_service_full(id, limit))
}

/// What becomes of a new flow of a service that has all it may have.
#[inline(always)]
pub(super) fn check_service(service: &Service) -> Result<(), Outcome> {
    match maps::service_limit(service.id) {
        Some(limit) if is_service_full(service.id, limit) => Err(refusal(limit)),
        _ => Ok(()),
    }
}

#[inline(always)]
fn refusal(limit: &ServiceLimit) -> Outcome {
    if matches!(limit.at_limit(), AtLimit::Drop) { Outcome::AtLimitDropped } else { Outcome::AtLimit }
}

/// The slot's backend, or where that has all it may have, what the service wants instead.
#[inline(never)]
pub(super) fn backend_with_room(service: &Service, index: u32) -> Result<u32, Outcome> {
    let first = maps::slot(service.slots_base.wrapping_add(index)).ok_or(Outcome::Internal)?;
    if !is_full(first, maps::backend(first).ok_or(Outcome::Internal)?) {
        return Ok(first);
    }
    maps::account(first, |stats| stats.flows_over_limit += 1);
    let limit = maps::service_limit(service.id).ok_or(Outcome::Internal)?;
    if !matches!(limit.at_limit(), AtLimit::OtherBackend) {
        return Err(refusal(limit));
    }
    next_with_room(service, index).ok_or(refusal(limit))
}

/// A walk over a service's slots, behind the first.
#[repr(C)]
struct Search {
    slots_base: u32,
    slots_len: u32,
    /// The slot looked at last, counted from the base.
    index: u32,
    /// The backend that was found.
    found: u32,
}

/// The first backend behind a slot that has room. The kernel's own loop, because the verifier looks at its body once.
#[inline(always)]
fn next_with_room(service: &Service, index: u32) -> Option<u32> {
    let mut search =
        Search { slots_base: service.slots_base, slots_len: service.slots_len, index, found: NO_BACKEND };
    // SAFETY: the callback has the signature that the helper asks for, and its context outlives the call.
    unsafe {
        bpf_loop(
            service.slots_len.saturating_sub(1).min(LIMIT_ATTEMPTS),
            look_at_next as *mut c_void,
            (&raw mut search).cast::<c_void>(),
            0,
        );
    }
    if search.found == NO_BACKEND { None } else { Some(search.found) }
}

/// Looks at one slot more; 1 ends the search.
extern "C" fn look_at_next(_step: u32, search: *mut Search) -> i64 {
    // SAFETY: the helper hands on the pointer it was given, to a `Search` that nobody else uses meanwhile.
    let search = unsafe { &mut *search };
    search.index += 1;
    if search.index >= search.slots_len {
        search.index = 0;
    }
    let Some(id) = maps::slot(search.slots_base.wrapping_add(search.index)) else { return 1 };
    let Some(backend) = maps::backend(id) else { return 1 };
    if is_full(id, backend) {
        return 0;
    }
    search.found = id;
    1
}
