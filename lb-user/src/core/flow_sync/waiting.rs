//! Keys of flows that another node is still to be told, each once, first come first served.
//!
//! Never knows what became of a flow: that is read when it is told.

use lb_ebpf::abi::FlowKey;
use std::collections::{HashSet, VecDeque};

/// Keys that may wait.
pub(super) const MAX: usize = 65_536;

/// There is no more room: all that waited must be told in another way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Full;

#[derive(Default)]
pub(super) struct Waiting {
    order: VecDeque<FlowKey>,
    all: HashSet<FlowKey>,
}

impl Waiting {
    pub(super) fn len(&self) -> usize {
        self.order.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.order.is_empty()
    }

    pub(super) fn push(&mut self, key: FlowKey) -> Result<(), Full> {
        if self.len() >= MAX {
            return Err(Full);
        }
        if self.all.insert(key) {
            self.order.push_back(key);
        }
        Ok(())
    }

    pub(super) fn pop(&mut self) -> Option<FlowKey> {
        let key = self.order.pop_front()?;
        self.all.remove(&key);
        Some(key)
    }

    pub(super) fn clear(&mut self) {
        self.order.clear();
        self.all.clear();
    }
}
