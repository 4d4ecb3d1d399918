//! The program as its own witness: a second load of the same code, over the same maps, that changes nothing and says
//! what it found.
//!
//! Owns the switch and the place of the answer. The switch is read-only data, which the verifier knows when it
//! checks the program: what is switched off is not there, in either load.

use super::trace;
use crate::abi::{Explanation, FlowKey, FlowRecord, Service};
use aya_ebpf::{macros::map, maps::Array};

/// 1 in the load that explains. Its name is how the agent finds it.
#[unsafe(no_mangle)]
static EXPLAINS: u8 = 0;

// Each load has its own: it is not pinned.
#[map]
static EXPLANATION: Array<Explanation> = Array::with_max_entries(1, 0);

/// Whether this load explains, and must leave every map as it is.
#[inline(always)]
pub(super) fn explains() -> bool {
    // SAFETY: a live static; volatile, because the agent gives it another value before the program is loaded.
    unsafe { core::ptr::read_volatile(&raw const EXPLAINS) != 0 }
}

/// Lets `write` add to the explanation, where one is made: here, or for who traces.
#[inline(always)]
pub fn note(write: impl FnOnce(&mut Explanation)) {
    if !explains() {
        trace::note(write);
    } else if let Some(explanation) = EXPLANATION.get_ptr_mut(0) {
        // SAFETY: only the one run that explains writes it, and the agent waits for that; the reference ends with the call.
        write(unsafe { &mut *explanation });
    }
}

/// Notes the service that a packet is for.
#[inline(always)]
pub(super) fn note_service(service: &Service) {
    note(|explanation| {
        explanation.service = service.name_hash;
        explanation.service_id = service.id;
    });
}

/// Notes a packet's flow, which is in that table under that key.
#[inline(always)]
pub(super) fn note_flow(key: &FlowKey, record: &FlowRecord, flow: u32) {
    note(|explanation| {
        explanation.flow = flow;
        explanation.backend_id = record.backend_id;
        explanation.service_id = record.service_id();
        explanation.client = *record.client(key);
        explanation.state = record.state;
        explanation.direction = record.direction() as u32;
    });
}
