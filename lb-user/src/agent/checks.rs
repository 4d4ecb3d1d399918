//! The health checks that run, and what they found.
//!
//! A backend address with checks takes flows once its first check succeeded; one without checks always does.
//! Maintenance stops a backend's checks.

use crate::config::{Config, HealthCheck};
use crate::core::health::{CheckResult, HealthMachine};
use crate::core::plan::{Availability, AvailabilityMap, Image, name_hash};
use crate::io::health::{self, CheckFailure};
use crate::model::{AdminState, BackendName, Family, HealthState, ServiceName};
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tracing::warn;

/// Which check: one for each address of a backend.
pub(super) type CheckKey = (ServiceName, BackendName, Family);
/// A check that was made.
pub(super) type CheckDone = (CheckKey, Result<Duration, CheckFailure>);

/// One address's checks.
pub(super) struct Check {
    address: SocketAddr,
    settings: HealthCheck,
    machine: HealthMachine,
    last: Option<Result<Duration, CheckFailure>>,
    passed: u64,
    failed: u64,
    /// Since when it has been up after having been down.
    up_since: Option<Instant>,
    task: JoinHandle<()>,
}

impl Drop for Check {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Check {
    pub(super) fn state(&self) -> HealthState {
        self.machine.state()
    }

    pub(super) fn last_result(&self) -> Option<String> {
        self.last.as_ref().map(|last| match last {
            Ok(_) => "passed".to_owned(),
            Err(failure) => failure.to_string(),
        })
    }

    pub(super) fn last_duration_us(&self) -> Option<u64> {
        let last = self.last.as_ref()?.as_ref().ok()?;
        u64::try_from(last.as_micros()).ok()
    }

    /// How many passed.
    pub(super) fn passed(&self) -> u64 {
        self.passed
    }

    /// How many failed.
    pub(super) fn failed(&self) -> u64 {
        self.failed
    }

    fn ramping_for(&self, now: Instant) -> Option<Duration> {
        let elapsed = now.saturating_duration_since(self.up_since?);
        (elapsed < self.settings.slow_start).then_some(elapsed)
    }
}

fn spawn(
    key: CheckKey,
    address: SocketAddr,
    settings: &HealthCheck,
    results: &mpsc::Sender<CheckDone>,
) -> JoinHandle<()> {
    tokio::spawn(health::run(key, address, settings.clone(), results.clone()))
}

/// All checks.
pub(super) struct Checks {
    running: BTreeMap<CheckKey, Check>,
    results: mpsc::Sender<CheckDone>,
    was_ramping: bool,
}

impl Checks {
    pub(super) fn new(results: mpsc::Sender<CheckDone>) -> Self {
        Self { running: BTreeMap::new(), results, was_ramping: false }
    }

    /// Starts, keeps and stops checks as the configuration wants them. A backend that has slots in the dataplane
    /// (an earlier agent's, or from before it was checked) begins as up: it is in use, and stays so until it fails.
    pub(super) fn follow(&mut self, config: &Config, image: &Image) {
        let in_slots: BTreeSet<u32> = image.slots.values().flatten().copied().collect();
        let used = image.backends.iter().filter(|(id, _)| in_slots.contains(id));
        let hashes: BTreeSet<u64> = used.map(|(_, entry)| entry.name_hash).collect();
        self.follow_with(config, |(service, backend, family)| {
            if hashes.contains(&name_hash(service, Some(backend), *family)) {
                HealthState::Up
            } else {
                HealthState::Unknown
            }
        });
    }

    fn follow_with(&mut self, config: &Config, initial: impl Fn(&CheckKey) -> HealthState) {
        let mut wanted = BTreeMap::new();
        for service in config.services.values() {
            let Some(settings) = &service.health else { continue };
            for backend in service.backends.iter().filter(|backend| backend.state != AdminState::Maint) {
                for address in &backend.addresses {
                    let family = Family::of(address.ip());
                    wanted.insert((service.name.clone(), backend.name.clone(), family), (*address, settings));
                }
            }
        }
        self.running
            .retain(|key, check| wanted.get(key).is_some_and(|(address, _)| check.address == *address));
        for (key, (address, settings)) in wanted {
            match self.running.get_mut(&key) {
                Some(check) if check.settings == *settings => {}
                Some(check) => {
                    check.task.abort();
                    check.task = spawn(key, address, settings, &self.results);
                    check.machine.reconfigure(settings);
                    check.settings = settings.clone();
                }
                None => {
                    let task = spawn(key.clone(), address, settings, &self.results);
                    let machine = HealthMachine::new(settings, initial(&key));
                    let settings = settings.clone();
                    let check = Check {
                        address,
                        settings,
                        machine,
                        last: None,
                        passed: 0,
                        failed: 0,
                        up_since: None,
                        task,
                    };
                    self.running.insert(key, check);
                }
            }
        }
    }

    /// Takes a result; where it changed the address's health, says so in words.
    pub(super) fn handle(&mut self, (key, result): CheckDone, now: Instant) -> Option<String> {
        // A result of a check that was stopped meanwhile is of no interest.
        let check = self.running.get_mut(&key)?;
        if let Err(failure) = &result
            && failure.is_local()
        {
            warn!(backend = %check.address, %failure, "check not made; the backend is not blamed");
            return None;
        }
        let (verdict, count) = match &result {
            Ok(_) => (CheckResult::Passed, &mut check.passed),
            Err(_) => (CheckResult::Failed, &mut check.failed),
        };
        *count += 1;
        let why = result.as_ref().err().map(ToString::to_string);
        check.last = Some(result);
        let change = check.machine.handle(verdict, now)?;
        check.up_since = (change.to == HealthState::Up && change.from == HealthState::Down).then_some(now);
        let (service, backend, _) = &key;
        let label = super::view::label(service, backend);
        let why = why.map(|why| format!(": {why}")).unwrap_or_default();
        Some(format!("{label} ({}) is {}{why}", check.address, change.to))
    }

    /// Takes note of a refused connection of a client; where it took the address down, says so in words.
    pub(super) fn handle_refusal(&mut self, name_hash_of_backend: u64, now: Instant) -> Option<String> {
        let is = |key: &CheckKey| name_hash(&key.0, Some(&key.1), key.2) == name_hash_of_backend;
        let (key, check) = self.running.iter_mut().find(|(key, _)| is(key))?;
        check.machine.handle_refusal(now)?;
        check.up_since = None;
        let label = super::view::label(&key.0, &key.1);
        Some(format!("{label} ({}) is down: it refuses clients' connections", check.address))
    }

    /// Who can take flows, of those that are checked.
    pub(super) fn availability(&self, now: Instant) -> AvailabilityMap {
        let availability = |check: &Check| Availability {
            healthy: check.state() == HealthState::Up,
            ramping_for: check.ramping_for(now),
        };
        self.running.iter().map(|(key, check)| (key.clone(), availability(check))).collect()
    }

    /// Whether the first results for a service's backends are still to come, and none of them is known to be up.
    pub(super) fn are_awaited(&self, service: &ServiceName, family: Family) -> bool {
        let of_it = self.running.iter().filter(|((name, _, of), _)| name == service && *of == family);
        let states: Vec<HealthState> = of_it.map(|(_, check)| check.state()).collect();
        states.contains(&HealthState::Unknown) && !states.contains(&HealthState::Up)
    }

    /// Whether a slow start is under way, or has ended since the last call.
    pub(super) fn any_ramping(&mut self, now: Instant) -> bool {
        let ramping = self.running.values().any(|check| check.ramping_for(now).is_some());
        let changed = ramping || self.was_ramping;
        self.was_ramping = ramping;
        changed
    }

    pub(super) fn find(
        &self,
        service: &ServiceName,
        backend: &BackendName,
        family: Family,
    ) -> Option<&Check> {
        self.running.get(&(service.clone(), backend.clone(), family))
    }
}
