//! What priorities of virtual routers hang on: watches it, and lowers them while it is down.

use super::checks::Checks;
use super::state::Agent;
use crate::api::{EventKind, TrackerView};
use crate::config::{Backend, Config, Service, Tracker, Vrrp};
use crate::core::track::Streak;
use crate::io::command;
use crate::io::vrrp::{RouterKey, interfaces_up};
use crate::model::{AdminState, Family, HealthState, TrackerName};
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// How often a tracked interface is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Something went down, or came up.
#[derive(Debug)]
pub(super) struct Tracked {
    name: TrackerName,
    /// What was watched, so that nothing is believed about what is not watched any more.
    tracker: Tracker,
    /// Why it is down; `None`: it is up.
    trouble: Option<String>,
}

/// All that is tracked.
pub(super) struct Tracking {
    found: mpsc::Sender<Tracked>,
    watchers: BTreeMap<TrackerName, Watcher>,
    /// Those that are down, and why. What was never looked at is none of them.
    down: BTreeMap<TrackerName, String>,
}

/// A task that looks. Dropped, it is over.
struct Watcher {
    tracker: Tracker,
    task: JoinHandle<()>,
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Tracking {
    pub(super) fn new(found: mpsc::Sender<Tracked>) -> Self {
        Self { found, watchers: BTreeMap::new(), down: BTreeMap::new() }
    }

    /// Watches what there is to watch; what stays as it is goes on.
    pub(super) fn follow(&mut self, config: &Config) {
        let is_same = |name: &TrackerName, tracker: &Tracker| config.trackers.get(name) == Some(tracker);
        self.watchers.retain(|name, watcher| is_same(name, &watcher.tracker));
        self.down.retain(|name, _| config.trackers.contains_key(name));
        for (name, tracker) in &config.trackers {
            if self.watchers.contains_key(name) {
                continue;
            }
            let (watched, found) = ((name.clone(), tracker.clone()), self.found.clone());
            let task = match tracker {
                Tracker::Interface(_) | Tracker::Command(_) => tokio::spawn(watch(watched, found)),
                // The agent knows itself about these.
                Tracker::Service { .. } | Tracker::Dataplane => continue,
            };
            self.watchers.insert(name.clone(), Watcher { tracker: tracker.clone(), task });
        }
    }

    /// Notes what was found; whether that is news.
    fn note(&mut self, name: &TrackerName, trouble: Option<String>) -> bool {
        let was_down = self.down.contains_key(name);
        match trouble {
            Some(trouble) => drop(self.down.insert(name.clone(), trouble)),
            None => drop(self.down.remove(name)),
        }
        was_down != self.down.contains_key(name)
    }
}

/// Looks again and again, and tells what is new, until nobody listens.
async fn watch((name, tracker): (TrackerName, Tracker), found: mpsc::Sender<Tracked>) {
    let (every, mut streak) = match &tracker {
        Tracker::Command(command) => (command.interval, Streak::new(command.rise, command.fall)),
        _ => (LOOK_EVERY, Streak::new(1, 1)),
    };
    let mut clock = tokio::time::interval(every);
    clock.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
    loop {
        clock.tick().await;
        let trouble = look(&tracker).await;
        if streak.note(trouble.is_none()).is_some() {
            let tracked = Tracked { name: name.clone(), tracker: tracker.clone(), trouble };
            if found.send(tracked).await.is_err() {
                return;
            }
        }
    }
}

/// Why it is down.
async fn look(tracker: &Tracker) -> Option<String> {
    match tracker {
        Tracker::Interface(name) => (!interfaces_up().contains(name)).then(|| format!("{name} is down")),
        Tracker::Command(command) => {
            let ran = command::run(&command.words, b"", command.timeout).await;
            ran.err().map(|error| error.to_string())
        }
        Tracker::Service { .. } | Tracker::Dataplane => None,
    }
}

impl Agent {
    /// Watches what the configuration tracks.
    pub(super) fn follow_trackers(&mut self) {
        self.tracking.follow(&self.config);
        self.track_services();
        self.lower_priorities();
    }

    pub(super) fn handle_tracked(&mut self, tracked: Tracked) {
        let Tracked { name, tracker, trouble } = tracked;
        if self.config.trackers.get(&name) == Some(&tracker) {
            self.note_tracked(&name, trouble);
        }
    }

    fn note_tracked(&mut self, name: &TrackerName, trouble: Option<String>) {
        let words = trouble.clone();
        if !self.tracking.note(name, trouble) {
            return;
        }
        let lowered = self.config.vips.iter().filter_map(|(vip, one)| {
            let lowers_by = one.vrrp.as_ref()?.track.get(name)?;
            Some(format!("vip {vip} −{lowers_by}"))
        });
        let lowered: Vec<String> = lowered.collect();
        let lowered = if lowered.is_empty() { "nothing hangs on it".to_owned() } else { lowered.join(", ") };
        let (kind, message) = match words {
            Some(words) => (EventKind::Warning, format!("track {name}: down: {words} ({lowered})")),
            None => (EventKind::VrrpChanged, format!("track {name}: up again ({lowered}, no more)")),
        };
        self.journal.record(kind, message);
        self.lower_priorities();
    }

    /// Tells the virtual routers what is taken off their priorities.
    fn lower_priorities(&self) {
        let mut penalties = BTreeMap::new();
        let with = || self.config.vips.iter().filter_map(|(name, vip)| Some((name, vip.vrrp.as_ref()?)));
        let own = |vrrp: &Vrrp| {
            let down = vrrp.track.iter().filter(|(tracker, _)| self.tracking.down.contains_key(*tracker));
            down.fold(0_u8, |sum, (_, lowers_by)| sum.saturating_add(*lowers_by))
        };
        for (name, vrrp) in with() {
            // Those of a group win and lose together.
            let group = with().filter(|(_, other)| other.group.is_some() && other.group == vrrp.group);
            let penalty = group.map(|(_, other)| own(other)).fold(own(vrrp), u8::max);
            if penalty > 0 {
                for family in [Family::V4, Family::V6] {
                    let key: RouterKey = (name.clone(), family);
                    penalties.insert(key, penalty);
                }
            }
        }
        self.virtual_routers.lower(penalties);
    }

    /// Services that priorities hang on: called when the state of a backend may be another.
    pub(super) fn track_services(&mut self) {
        let tracked = self.config.trackers.iter().filter_map(|(name, tracker)| match tracker {
            Tracker::Service { name: service, at_least } => Some((name, service, *at_least)),
            _ => None,
        });
        let mut found = Vec::new();
        for (name, service, at_least) in tracked {
            let Some(service) = self.config.services.get(service) else { continue };
            let alive = alive_backends(service, &self.checks);
            let trouble = (alive < at_least as usize)
                .then(|| format!("service {} has {alive} of {at_least} backends", service.name));
            found.push((name.clone(), trouble));
        }
        for (name, trouble) in found {
            self.note_tracked(&name, trouble);
        }
    }

    /// Once a tick: whether the program is where it belongs, if anything hangs on that.
    pub(super) async fn track_dataplane(&mut self) {
        let is_meant = |tracker: &Tracker| matches!(tracker, Tracker::Dataplane);
        let names: Vec<TrackerName> = self
            .config
            .trackers
            .iter()
            .filter(|(_, one)| is_meant(one))
            .map(|(name, _)| name.clone())
            .collect();
        if names.is_empty() {
            return;
        }
        let mut trouble = None;
        for interface in &self.config.node.interfaces {
            match self.interfaces.has_program(interface).await {
                Ok(true) => {}
                Ok(false) => trouble = Some(format!("no program is attached to {interface}")),
                Err(error) => trouble = Some(error.to_string()),
            }
        }
        for name in names {
            self.note_tracked(&name, trouble.clone());
        }
    }

    /// All trackers, as they are now.
    pub(super) fn tracker_views(&self) -> Vec<TrackerView> {
        let view = |(name, tracker): (&TrackerName, &Tracker)| {
            let trouble = self.tracking.down.get(name).cloned();
            TrackerView { name: name.clone(), tracks: tracker.to_string(), up: trouble.is_none(), trouble }
        };
        self.config.trackers.iter().map(view).collect()
    }
}

/// Backends that can take flows on each of their addresses.
fn alive_backends(service: &Service, checks: &Checks) -> usize {
    let is_alive = |backend: &&Backend| {
        let mut families = backend.addresses.iter().map(|address| Family::of(address.ip()));
        backend.state == AdminState::Ready
            && families.all(|family| {
                let check = checks.find(&service.name, &backend.name, family);
                check.is_none_or(|check| check.state() == HealthState::Up)
            })
    };
    service.backends.iter().filter(is_alive).count()
}
