//! A virtual router on one node, of one family: RFC 9568's states and timers.
//!
//! Owns when to advertise, when to take the addresses and when to give them up. Some things go beyond the RFC, each only where
//! it makes a node wait or leave more gently: preemption can be held back ([`Input::PreemptionHeld`], `preempt_delay`, `flap_limit`); an
//! Active node can hand over and serve until the next one advertises ([`Input::HandedOver`]), or one that is asked to
//! ([`Input::Offered`], [`Input::Asked`]); one that slept for so long that others
//! must have taken its place listens before it speaks; a priority may change at run time; and virtual routers of one group follow each
//! other ([`Input::GroupActive`], [`Input::GroupBackup`]), of which whoever owns them tells them.
//!
//! Never sends, never touches an address, and never reads a clock.

use super::advert::Advert;
use super::damping::Damping;
pub use super::event::{Action, Input, News, Settings, State, Why};
use crate::model::{AdvertInterval, Priority};
use std::net::IpAddr;
use std::time::{Duration, Instant};

/// A rival, or one with other addresses, is told so often, however often it is heard.
const TELL_EVERY: Duration = Duration::from_secs(10);
/// For so many intervals a node that hands over goes on serving, if nobody advertises. Then it takes its place again.
const HAND_OVER_INTERVALS: u32 = 3;
/// For so many a node that was asked does not yield: so one advertisement of the other's may cross its own, and one of its own be lost.
const CROSSING_INTERVALS: u32 = 2;
/// And for so long at least where another one was asked, which has to be told first.
const OFFER_LASTS: Duration = Duration::from_secs(1);

/// What was heard last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heard {
    /// From whom.
    pub from: IpAddr,
    /// Its priority.
    pub priority: u8,
    /// Its interval.
    pub interval: AdvertInterval,
    /// When.
    pub at: Instant,
}

/// An Active node that serves until another does.
#[derive(Clone, Copy, Debug)]
struct Leaving {
    until: Instant,
    /// Whether it says so, so that whoever comes next may have the addresses.
    is_said: bool,
}

/// A virtual router on this node.
#[derive(Clone, Debug)]
pub struct Machine {
    settings: Settings,
    priority: Priority,
    local: Option<IpAddr>,
    state: State,
    /// The Active router's interval, as it says; this node's own until one was heard.
    active_adver_interval: AdvertInterval,
    /// When the Active_Down_Timer, or as Active the Adver_Timer, ends.
    timer: Option<Instant>,
    preemption_held: bool,
    preempt_from: Option<Instant>,
    /// Handed over on purpose, so not to be taken back from who has it now, as long as that keeps this priority (0: not known yet).
    yields_to: Option<u8>,
    leaving: Option<Leaving>,
    heard: Option<Heard>,
    differing_told: Option<Instant>,
    /// Until when it does not yield to the one that offered it the addresses, and may not have heard that it has them.
    asked_until: Option<Instant>,
    rival_told: Option<Instant>,
    damping: Damping,
}

impl Machine {
    /// One that takes no part yet.
    pub fn new(settings: Settings) -> Self {
        Self {
            priority: settings.priority,
            active_adver_interval: settings.interval,
            damping: Damping::new(settings.flap_limit, settings.flap_window),
            settings,
            local: None,
            state: State::Initialize,
            timer: None,
            preemption_held: false,
            preempt_from: None,
            yields_to: None,
            leaving: None,
            heard: None,
            differing_told: None,
            asked_until: None,
            rival_told: None,
        }
    }

    /// Its state.
    pub fn state(&self) -> State {
        self.state
    }

    /// The node's address on the network.
    pub fn local(&self) -> Option<IpAddr> {
        self.local
    }

    /// What it was told.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Its priority now.
    pub fn priority(&self) -> Priority {
        self.priority
    }

    /// The last advertisement of another node.
    pub fn heard(&self) -> Option<&Heard> {
        self.heard.as_ref()
    }

    /// When it wants to be told [`Input::TimePassed`].
    pub fn deadline(&self) -> Option<Instant> {
        let leaving = self.leaving.map(|leaving| leaving.until);
        self.timer.into_iter().chain(leaving).min()
    }

    /// `((256 - priority) * Active_Adver_Interval) / 256`. RFC 9568 §6.1; not in hundredths of a second, in which it would be 0 at
    /// 10 ms.
    pub fn skew_time(&self) -> Duration {
        self.active_adver_interval.duration() * (256 - u32::from(self.priority.get())) / 256
    }

    /// `3 * Active_Adver_Interval + Skew_Time`. RFC 9568 §6.1.
    pub fn active_down_interval(&self) -> Duration {
        3 * self.active_adver_interval.duration() + self.skew_time()
    }

    /// An advertisement of this node, with that priority.
    pub fn advert(&self, priority: u8) -> Advert {
        let Settings { id, interval, addresses, .. } = &self.settings;
        Advert { id: *id, priority, interval: *interval, addresses: addresses.clone() }
    }

    /// Whether the addresses are taken from a node of lower priority.
    fn preempts(&self, now: Instant) -> bool {
        self.priority.is_owner()
            || self.settings.preempt
                && !self.preemption_held
                && self.yields_to.is_none()
                && !self.damping.holds(now)
                && self.preempt_from.is_none_or(|from| now >= from)
    }

    /// Takes in what happened.
    pub fn handle(&mut self, input: Input, now: Instant) -> Vec<Action> {
        match input {
            Input::Started { local } => self.start(local, false, now),
            Input::Resumed { local } => self.start(local, true, now),
            Input::Stopped => self.stop(),
            Input::AdvertReceived { from, advert } => self.receive(from, &advert, now),
            Input::AddressChanged { local } => {
                self.local = Some(local);
                Vec::new()
            }
            Input::PriorityChanged(priority) => {
                self.priority = priority;
                self.rearm_active_down();
                Vec::new()
            }
            Input::PreemptionHeld(held) => {
                self.preemption_held = held;
                Vec::new()
            }
            Input::HandedOver => {
                let lasts = HAND_OVER_INTERVALS * self.settings.interval.duration();
                if self.leave(lasts, true, now) { self.send_leave(now) } else { Vec::new() }
            }
            Input::Offered => {
                self.leave(self.offer_lasts(), false, now);
                Vec::new()
            }
            Input::Asked if self.state == State::Backup => {
                self.asked_until = now.checked_add(CROSSING_INTERVALS * self.settings.interval.duration());
                self.become_active(Why::Asked, now)
            }
            Input::GroupActive if self.state == State::Backup => self.become_active(Why::Group, now),
            // One that is leaving goes as soon as another node has taken its own place.
            Input::GroupBackup if self.state == State::Active && self.leaving.is_none() => {
                let mut actions = vec![Action::SendAdvert { priority: 0 }];
                actions.extend(self.become_backup(Why::Group, now));
                actions
            }
            Input::GroupActive | Input::GroupBackup | Input::Asked => Vec::new(),
            Input::TimePassed => self.pass_time(now),
        }
    }

    fn start(&mut self, local: IpAddr, resumes: bool, now: Instant) -> Vec<Action> {
        if self.state != State::Initialize {
            return Vec::new();
        }
        self.local = Some(local);
        self.yields_to = None;
        self.preempt_from = now.checked_add(self.settings.preempt_delay);
        self.active_adver_interval = self.settings.interval;
        if self.priority.is_owner() {
            return self.become_active(Why::Owner, now);
        }
        if resumes {
            return self.become_active(Why::Resumed, now);
        }
        self.become_backup(Why::Started, now)
    }

    fn stop(&mut self) -> Vec<Action> {
        let from = std::mem::replace(&mut self.state, State::Initialize);
        self.timer = None;
        let has_said_so = self.leaving.take().is_some_and(|leaving| leaving.is_said);
        let mut actions = Vec::new();
        if from == State::Active {
            if !has_said_so {
                actions.push(Action::SendAdvert { priority: 0 });
            }
            actions.push(Action::ReleaseVips);
        }
        if from != State::Initialize {
            actions.push(Action::Tell(News::StateChanged { from, to: self.state, why: Why::Stopped }));
        }
        actions
    }

    fn receive(&mut self, from: IpAddr, advert: &Advert, now: Instant) -> Vec<Action> {
        if self.state == State::Initialize || self.local == Some(from) {
            return Vec::new();
        }
        self.heard = Some(Heard { from, priority: advert.priority, interval: advert.interval, at: now });
        // What comes first after a pause is an advertisement of who took over meanwhile, as a rule.
        let mut actions = match self.timer {
            Some(timer) if self.state == State::Active && self.overslept(timer, now) => {
                self.become_backup(Why::Overslept, now)
            }
            _ => Vec::new(),
        };
        let differ = !same_addresses(&advert.addresses, &self.settings.addresses);
        if differ && is_due(&mut self.differing_told, now) {
            actions.push(Action::Tell(News::AddressesDiffer { from }));
        }
        match self.state {
            State::Initialize => {}
            State::Backup => actions.extend(self.receive_as_backup(advert, now)),
            State::Active => actions.extend(self.receive_as_active(from, advert, now)),
        }
        actions
    }

    /// RFC 9568 §6.4.2.
    fn receive_as_backup(&mut self, advert: &Advert, now: Instant) -> Option<Action> {
        match self.yields_to {
            // It lacks something by now that it had when it was given the addresses.
            Some(then) if advert.priority < then => self.yields_to = None,
            Some(0) => self.yields_to = Some(advert.priority),
            _ => {}
        }
        if advert.priority == 0 {
            // The next one starts from what this one leaves.
            self.yields_to = None;
            self.timer = now.checked_add(self.skew_time());
        } else if advert.priority >= self.priority.get() || !self.preempts(now) {
            self.active_adver_interval = advert.interval;
            self.timer = now.checked_add(self.active_down_interval());
        }
        // Others are not heeded: the timer goes on, and ends with this node as Active.
        let would_take = advert.priority != 0 && advert.priority < self.priority.get();
        (would_take && self.damping.is_news(now)).then_some(Action::Tell(News::Damped))
    }

    fn pass_time(&mut self, now: Instant) -> Vec<Action> {
        if self.leaving.is_some_and(|leaving| now >= leaving.until) {
            self.leaving = None;
            let mut actions = self.send_advert(now);
            actions.push(Action::Tell(News::HandOverFailed));
            return actions;
        }
        let Some(timer) = self.timer.filter(|timer| now >= *timer) else { return Vec::new() };
        match self.state {
            State::Initialize => Vec::new(),
            State::Backup => self.active_down(now),
            State::Active if self.overslept(timer, now) => self.become_backup(Why::Overslept, now),
            State::Active if self.leaving.is_some_and(|leaving| leaving.is_said) => self.send_leave(now),
            State::Active => self.send_advert(now),
        }
    }

    fn active_down(&mut self, now: Instant) -> Vec<Action> {
        let recent = self
            .heard
            .as_ref()
            .filter(|heard| now.saturating_duration_since(heard.at) < self.active_down_interval());
        let why = match recent {
            Some(heard) if heard.priority == 0 => Why::ActiveLeft,
            Some(_) => Why::Preempted,
            None => Why::ActiveDown,
        };
        if why == Why::Preempted {
            self.damping.count(now);
        }
        self.become_active(why, now)
    }

    /// Whether an advertisement is so late that Backups have given this node up. The owner is wanted all the same.
    fn overslept(&self, timer: Instant, now: Instant) -> bool {
        !self.priority.is_owner()
            && now.saturating_duration_since(timer) >= 3 * self.settings.interval.duration()
    }

    fn send_advert(&mut self, now: Instant) -> Vec<Action> {
        self.timer = now.checked_add(self.settings.interval.duration());
        vec![Action::SendAdvert { priority: self.priority.get() }]
    }

    fn become_active(&mut self, why: Why, now: Instant) -> Vec<Action> {
        let from = std::mem::replace(&mut self.state, State::Active);
        self.yields_to = None;
        let mut actions = self.send_advert(now);
        actions.push(Action::AcquireVips);
        actions.push(Action::Tell(News::StateChanged { from, to: self.state, why }));
        actions
    }

    fn become_backup(&mut self, why: Why, now: Instant) -> Vec<Action> {
        let from = std::mem::replace(&mut self.state, State::Backup);
        self.leaving = None;
        self.asked_until = None;
        self.timer = now.checked_add(self.active_down_interval());
        let mut actions = Vec::new();
        if from == State::Active {
            actions.push(Action::ReleaseVips);
        }
        actions.push(Action::Tell(News::StateChanged { from, to: self.state, why }));
        actions
    }

    /// Lets the Active_Down_Timer run from the last advertisement that it was set by, with the priority there is now.
    fn rearm_active_down(&mut self) {
        if self.state == State::Backup
            && let Some(heard) = &self.heard
            && heard.priority != 0
            && let Some(timer) = heard.at.checked_add(self.active_down_interval())
        {
            self.timer = Some(timer);
        }
    }
}

/// Whether something is to be told now, as it was not for a while; then it is noted as told.
fn is_due(told: &mut Option<Instant>, now: Instant) -> bool {
    let is_due = told.is_none_or(|told| now.saturating_duration_since(told) >= TELL_EVERY);
    if is_due {
        *told = Some(now);
    }
    is_due
}

/// Whether two lists have the same addresses, in any order.
fn same_addresses(one: &[IpAddr], other: &[IpAddr]) -> bool {
    one.len() == other.len() && one.iter().all(|address| other.contains(address))
}

mod active;

#[cfg(test)]
mod tests;
