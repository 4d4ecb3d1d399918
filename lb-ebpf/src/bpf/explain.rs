//! The program as its own witness: a second load of the same code, over the same maps, that changes nothing and says
//! what it found.
//!
//! Owns the switch and the place of the answer. The switch is read-only data, which the verifier knows when it
//! checks the program: what is switched off is not there, in either load.

use crate::abi::{Explanation, FlowRecord};
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

/// Lets `write` add to the explanation, where one is made.
#[inline(always)]
pub fn note(write: impl FnOnce(&mut Explanation)) {
    if explains()
        && let Some(explanation) = EXPLANATION.get_ptr_mut(0)
    {
        // SAFETY: only the one run that explains writes it, and the agent waits for that; the reference ends with the call.
        write(unsafe { &mut *explanation });
    }
}

/// Notes a packet's flow, which is in that table.
#[inline(always)]
pub(super) fn note_flow(record: &FlowRecord, flow: u32) {
    note(|explanation| {
        explanation.flow = flow;
        explanation.backend_id = record.backend_id;
        explanation.state = record.state;
        explanation.direction = record.direction() as u32;
    });
}
