//! What happened: the last events, and those who listen for the next.

use crate::api::{Event, EventKind};
use crate::model::unix_ms;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::SystemTime;
use tokio::sync::broadcast;

/// Events kept for those who come later.
const KEPT: usize = 1000;

pub(super) struct Journal {
    past: Arc<VecDeque<Event>>,
    listeners: broadcast::Sender<Event>,
    sequence: u64,
}

impl Journal {
    pub(super) fn new(listeners: broadcast::Sender<Event>) -> Self {
        Self { past: Arc::default(), listeners, sequence: 0 }
    }

    pub(super) fn record(&mut self, kind: EventKind, message: impl Into<String>) {
        self.sequence += 1;
        let at_unix_ms = unix_ms(SystemTime::now());
        let event = Event { sequence: self.sequence, at_unix_ms, kind, message: message.into() };
        super::log(&event);
        let past = Arc::make_mut(&mut self.past);
        if past.len() == KEPT {
            past.pop_front();
        }
        past.push_back(event.clone());
        // Nobody listening is fine.
        let _ = self.listeners.send(event);
    }

    pub(super) fn past(&self) -> Arc<VecDeque<Event>> {
        self.past.clone()
    }
}
