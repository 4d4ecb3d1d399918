//! What is known of one node.
//!
//! Owns what its agent said last, and what it said before that matters. Never asks.

use super::super::feed::{Digests, News, Open, Seen};
use super::super::history::History;
use crate::api::{DroppedList, Event, Snapshot};
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// As many as an agent keeps.
const EVENTS_MAX: usize = 1000;

/// An agent that does not answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::tui) struct Lost {
    pub(in crate::tui) why: String,
    since: Instant,
    /// For how long, at the last attempt.
    pub(in crate::tui) lasts: Duration,
}

/// A node.
#[derive(Clone, Debug)]
pub(in crate::tui) struct Node {
    label: String,
    /// The last that its agent said; kept while it is lost.
    pub(in crate::tui) seen: Option<Box<Seen>>,
    pub(in crate::tui) lost: Option<Lost>,
    pub(in crate::tui) history: History,
    /// The latest last.
    pub(in crate::tui) events: VecDeque<Event>,
    pub(in crate::tui) open: Option<Box<Open>>,
    pub(in crate::tui) digests: Digests,
    pub(in crate::tui) dropped: DroppedList,
}

impl Node {
    pub(super) fn new(label: String) -> Self {
        Self {
            label,
            seen: None,
            lost: None,
            history: History::default(),
            events: VecDeque::new(),
            open: None,
            digests: Digests::new(),
            dropped: DroppedList::default(),
        }
    }

    /// Its own name, or its socket's before it has said that.
    pub(in crate::tui) fn name(&self) -> &str {
        self.seen.as_ref().map_or(&self.label, |seen| seen.snapshot.status.node.as_str())
    }

    pub(in crate::tui) fn snapshot(&self) -> Option<&Snapshot> {
        self.seen.as_ref().map(|seen| &seen.snapshot)
    }

    /// Takes news of it in; whether anything is new.
    pub(super) fn hear(&mut self, news: News) -> bool {
        match news {
            News::Seen(_, seen) => {
                self.history.add(&seen);
                self.seen = Some(seen);
                self.lost = None;
            }
            News::Lost(_, why, at) => {
                let since = self.lost.as_ref().map_or(at, |lost| lost.since);
                let lost = Lost { why, since, lasts: at.saturating_duration_since(since) };
                // Flows of an agent that is gone are nobody's knowledge.
                self.open = None;
                self.digests.clear();
                self.dropped = DroppedList::default();
                self.lost = Some(lost);
            }
            News::Happened(_, event) => return self.remember(event),
            News::Open(_, open) => {
                if self.open.as_ref() == Some(&open) {
                    return false;
                }
                self.open = Some(open);
            }
            News::Digests(_, digests) => {
                if self.digests == digests {
                    return false;
                }
                self.digests = digests;
            }
            News::Dropped(_, dropped) => {
                if self.dropped == dropped {
                    return false;
                }
                self.dropped = dropped;
            }
            News::Done(..) => return false,
        }
        true
    }

    /// Events come again after a new connection, and their numbers begin anew with an agent.
    fn remember(&mut self, event: Event) -> bool {
        let is_known =
            |known: &Event| (known.sequence, known.at_unix_ms) == (event.sequence, event.at_unix_ms);
        if self.events.iter().rev().any(is_known) {
            return false;
        }
        if self.events.len() == EVENTS_MAX {
            self.events.pop_front();
        }
        self.events.push_back(event);
        true
    }
}
