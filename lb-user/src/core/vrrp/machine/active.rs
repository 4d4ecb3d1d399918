//! The Active router: what it hears from others, and how it leaves its place.

use super::{Action, Advert, HAND_OVER_INTERVALS, Leaving, Machine, News, OFFER_LASTS, State, Why, is_due};
use std::net::IpAddr;
use std::time::{Duration, Instant};

impl Machine {
    /// RFC 9568 §6.4.3.
    pub(super) fn receive_as_active(&mut self, from: IpAddr, advert: &Advert, now: Instant) -> Vec<Action> {
        if advert.priority == 0 {
            if !self.leaving.is_some_and(|leaving| leaving.is_said) {
                return self.send_advert(now);
            }
            // Both leave at one time, and one of the two is enough to serve until somebody succeeds.
            if self.local.is_some_and(|local| local > from) {
                return Vec::new();
            }
            self.yields_to = Some(0);
            return self.become_backup(Why::HandedOver, now);
        }
        // What comes from the one that offered its place crossed this node's answer.
        let was_asked = self.asked_until.is_some_and(|until| now < until);
        let wins = advert.priority > self.priority.get()
            || advert.priority == self.priority.get() && self.local.is_some_and(|local| from > local);
        if wins && was_asked {
            // An answer at once would be answered at once, where that one offers nothing any more.
            return Vec::new();
        }
        if wins || self.leaving.is_some() {
            let why = if self.leaving.is_some() { Why::HandedOver } else { Why::Yielded };
            self.yields_to = (why == Why::HandedOver).then_some(advert.priority);
            self.active_adver_interval = advert.interval;
            return self.become_backup(why, now);
        }
        // So that the other one, and the bridges between, learn at once who is Active.
        let mut actions = self.send_advert(now);
        if is_due(&mut self.rival_told, now) {
            actions.push(Action::Tell(News::RivalHeard { from, priority: advert.priority }));
        }
        actions
    }

    pub(super) fn offer_lasts(&self) -> Duration {
        (HAND_OVER_INTERVALS * self.settings.interval.duration()).max(OFFER_LASTS)
    }

    /// Begins to leave, if it has something to leave. One that only offered may go on to say so to all.
    pub(super) fn leave(&mut self, lasts: Duration, is_said: bool, now: Instant) -> bool {
        let is_new = self.leaving.is_none_or(|leaving| is_said && !leaving.is_said);
        if self.state != State::Active || !is_new {
            return false;
        }
        self.leaving = now.checked_add(lasts).map(|until| Leaving { until, is_said });
        true
    }

    /// Again and again: one alone may be lost.
    pub(super) fn send_leave(&mut self, now: Instant) -> Vec<Action> {
        self.timer = now.checked_add(self.settings.interval.duration());
        vec![Action::SendAdvert { priority: 0 }]
    }
}
