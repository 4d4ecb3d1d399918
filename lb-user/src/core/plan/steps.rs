//! The steps from one image to what is desired.

use super::{
    BackendEntry, Desired, Image, LimitEntry, ServiceAddress, ServiceEntry, SteeredBackend, Steering,
    SteeringKey, name_hash,
};
use crate::model::{AtLimit, BackendName, DefaultPolicy, WhenDown};
use lb_ebpf::abi::{MAX_BACKENDS, MAX_SERVICES, MAX_SLOTS, MAX_VIPS};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::ops::Range;

/// One change to the maps. Taking steps in their order keeps every packet in between consistent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Write a backend's entry.
    PutBackend(u32, BackendEntry),
    /// Fill a range of the slot array that nothing points to yet.
    PutSlots(u32, Vec<u32>),
    /// Make an address a VIP.
    AddVip(IpAddr),
    /// Set, or lift, a service's limits.
    PutLimit(u32, Option<LimitEntry>),
    /// Point an address at a slot range: from here on new flows follow it.
    PutService(ServiceAddress, ServiceEntry),
    /// Stop serving an address.
    RemoveService(ServiceAddress),
    /// An address is no VIP any more.
    RemoveVip(IpAddr),
    /// Free a backend's entry. Its flows go on: their records hold all they need.
    RemoveBackend(u32),
}

/// Why there is no way to what is desired.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// A table is too small.
    #[error("{wanted} {what} do not fit: this release holds {limit}; remove some")]
    Full {
        /// What there are too many of.
        what: &'static str,
        /// How many are wanted.
        wanted: usize,
        /// How many fit.
        limit: u32,
    },
}

/// Gives ids in turn, around the whole range: so one that was freed is used again as late as possible.
struct Ids {
    used: BTreeSet<u32>,
    next: u32,
    limit: u32,
    what: &'static str,
}

impl Ids {
    fn new(used: BTreeSet<u32>, next: u32, limit: u32, what: &'static str) -> Self {
        Self { used, next, limit, what }
    }

    fn take(&mut self) -> Result<u32, PlanError> {
        let full = PlanError::Full { what: self.what, wanted: self.used.len() + 1, limit: self.limit };
        let next = self.next.min(self.limit);
        let id = (next..self.limit).chain(0..next).find(|id| !self.used.contains(id)).ok_or(full)?;
        self.used.insert(id);
        self.next = id + 1;
        Ok(id)
    }
}

/// The steps that make `image` what `desired` says, in the order to take them.
pub fn steps(image: &Image, desired: &Desired) -> Result<Vec<Step>, PlanError> {
    if desired.vips.len() > MAX_VIPS as usize {
        return Err(PlanError::Full { what: "VIPs", wanted: desired.vips.len(), limit: MAX_VIPS });
    }
    let addresses: usize = desired.steering.values().map(|steering| steering.listen.len()).sum();
    if addresses > MAX_SERVICES as usize {
        return Err(PlanError::Full { what: "service addresses", wanted: addresses, limit: MAX_SERVICES });
    }
    let mut planner = Planner::new(image);
    planner.assign(desired)?;
    let mut puts = Vec::new();
    for (key, steering) in &desired.steering {
        puts.extend(planner.put(key, steering)?);
    }
    let mut all = planner.steps;
    all.extend(desired.vips.difference(&image.vips).copied().map(Step::AddVip));
    all.extend(puts);
    let served: BTreeSet<ServiceAddress> = desired.steering.values().flat_map(Steering::entrances).collect();
    let unserved = image.services.keys().filter(|address| !served.contains(address));
    all.extend(unserved.copied().map(Step::RemoveService));
    all.extend(image.vips.difference(&desired.vips).copied().map(Step::RemoveVip));
    let unused = image.backends.keys().filter(|id| !planner.kept_backends.contains(id));
    all.extend(unused.copied().map(Step::RemoveBackend));
    Ok(all)
}

/// Where the turn goes on, as far as the ids in use tell: what an earlier agent used last is not known.
fn next_after(last: Option<&u32>) -> u32 {
    last.map_or(0, |last| last + 1)
}

struct Planner<'a> {
    image: &'a Image,
    service_ids: Ids,
    backend_ids: Ids,
    by_hash: BTreeMap<u64, u32>,
    kept_backends: BTreeSet<u32>,
    /// Ids by name hash, those of this plan.
    services: BTreeMap<u64, u32>,
    backends: BTreeMap<u64, u32>,
    /// Ranges that packets may read, before or after the steps.
    busy: Vec<Range<u32>>,
    steps: Vec<Step>,
}

impl<'a> Planner<'a> {
    fn new(image: &'a Image) -> Self {
        let services: BTreeSet<u32> = image.services.values().map(|service| service.id).collect();
        Self {
            image,
            service_ids: Ids::new(services, image.next_service_id, MAX_SERVICES, "services"),
            backend_ids: Ids::new(
                image.backends.keys().copied().collect(),
                image.next_backend_id,
                MAX_BACKENDS,
                "backend addresses",
            ),
            by_hash: image.backends.iter().map(|(id, backend)| (backend.name_hash, *id)).collect(),
            kept_backends: BTreeSet::new(),
            services: BTreeMap::new(),
            backends: BTreeMap::new(),
            busy: image.services.values().map(|service| service.slots.clone()).collect(),
            steps: Vec::new(),
        }
    }

    /// Gives every service and backend its id: the one it has, if it is still the same.
    fn assign(&mut self, desired: &Desired) -> Result<(), PlanError> {
        let known: BTreeMap<u64, u32> =
            self.image.services.values().map(|service| (service.name_hash, service.id)).collect();
        for (key, steering) in &desired.steering {
            let hash = name_hash(&key.service, None, key.family);
            let id = match known.get(&hash) {
                Some(id) => *id,
                None => self.service_ids.take()?,
            };
            self.services.insert(hash, id);
            for (name, backend) in &steering.backends {
                let name_hash = name_hash(&key.service, Some(name), key.family);
                let (address, weight, max_flows) = (backend.address, backend.weight, backend.max_flows);
                let entry =
                    BackendEntry { name_hash, address, service_id: id, weight, max_flows, sibling_id: 0 };
                let id = self.backend_id(&entry)?;
                self.backends.insert(name_hash, id);
            }
        }
        Ok(())
    }

    /// A changed address is another backend to the flows of the old one, so it gets a new id.
    fn backend_id(&mut self, entry: &BackendEntry) -> Result<u32, PlanError> {
        let known = self.by_hash.get(&entry.name_hash).copied();
        let same = |id: &u32| self.image.backends.get(id).is_some_and(|known| known.is_same_backend(entry));
        match known.filter(same) {
            Some(id) => {
                self.kept_backends.insert(id);
                Ok(id)
            }
            None => self.backend_ids.take(),
        }
    }

    /// Plans one slot table; returns the steps that point addresses at it.
    fn put(&mut self, key: &SteeringKey, steering: &Steering) -> Result<Vec<Step>, PlanError> {
        let hash = name_hash(&key.service, None, key.family);
        // Every id was assigned before; one that is not there has no entry.
        let Some(id) = self.services.get(&hash).copied() else { return Ok(Vec::new()) };
        let mut ids = BTreeMap::new();
        for (name, backend) in &steering.backends {
            ids.extend(self.put_backend(key, name, backend, id).map(|id| (name, id)));
        }
        let slots: Vec<u32> = steering.slots.iter().filter_map(|name| ids.get(name).copied()).collect();
        let old = self.image.services.values().find(|service| service.name_hash == hash);
        let kept = old.filter(|service| self.image.slots.get(&service.slots.start) == Some(&slots));
        let range = match kept {
            Some(service) => service.slots.clone(),
            None => self.put_slots(slots)?,
        };
        self.put_limit(key, steering, id);
        let entry = ServiceEntry {
            name_hash: hash,
            id,
            scheduler: steering.scheduler,
            drops_when_down: steering.when_down == WhenDown::Drop,
            denies: steering.default_policy == DefaultPolicy::Deny,
            forwarding: steering.forwarding,
            slots: range,
        };
        let changed = steering.entrances().filter(|address| self.image.services.get(address) != Some(&entry));
        Ok(changed.map(|address| Step::PutService(address, entry.clone())).collect())
    }

    fn put_backend(
        &mut self,
        key: &SteeringKey,
        name: &BackendName,
        backend: &SteeredBackend,
        service_id: u32,
    ) -> Option<u32> {
        let hash = |family| name_hash(&key.service, Some(name), family);
        let id = *self.backends.get(&hash(key.family))?;
        let entry = BackendEntry {
            name_hash: hash(key.family),
            address: backend.address,
            service_id,
            weight: backend.weight,
            max_flows: backend.max_flows,
            sibling_id: self.backends.get(&hash(key.family.other())).copied().unwrap_or(id),
        };
        if self.image.backends.get(&id) != Some(&entry) {
            self.steps.push(Step::PutBackend(id, entry));
        }
        Some(id)
    }

    /// Limits that an id had as another service's are lifted, too.
    fn put_limit(&mut self, key: &SteeringKey, steering: &Steering, id: u32) {
        let sibling = name_hash(&key.service, None, key.family.other());
        let entry = LimitEntry {
            max_flows: steering.max_flows,
            sibling_id: self.services.get(&sibling).copied().unwrap_or(id),
            at_limit: steering.at_limit,
        };
        let entry =
            Some(entry).filter(|entry| entry.max_flows != 0 || entry.at_limit != AtLimit::OtherBackend);
        if self.image.limits.get(&id) != entry.as_ref() {
            self.steps.push(Step::PutLimit(id, entry));
        }
    }

    fn put_slots(&mut self, slots: Vec<u32>) -> Result<Range<u32>, PlanError> {
        let len = slots.len() as u32;
        if len == 0 {
            return Ok(0..0);
        }
        self.busy.sort_by_key(|range| range.start);
        let mut start = 0;
        for range in &self.busy {
            if range.start >= start + len {
                break;
            }
            start = start.max(range.end);
        }
        if start + len > MAX_SLOTS {
            return Err(PlanError::Full { what: "slots", wanted: (start + len) as usize, limit: MAX_SLOTS });
        }
        self.busy.push(start..start + len);
        self.steps.push(Step::PutSlots(start, slots));
        Ok(start..start + len)
    }
}

impl Image {
    /// Goes on with the turn of ids behind those that are there, in an image that was read back, and behind those that still
    /// have flows: their next owner would inherit them.
    pub fn continue_ids(&mut self, busy_backend: Option<u32>, busy_service: Option<u32>) {
        let backend = self.backends.keys().next_back().copied();
        let service = self.services.values().map(|service| service.id).max();
        self.next_backend_id = next_after(backend.max(busy_backend).as_ref());
        self.next_service_id = next_after(service.max(busy_service).as_ref());
    }

    /// The image after a step was taken.
    pub fn take(&mut self, step: &Step) {
        match step {
            Step::PutBackend(id, entry) => {
                if self.backends.insert(*id, entry.clone()).is_none() {
                    self.next_backend_id = id + 1;
                }
            }
            Step::RemoveBackend(id) => {
                self.backends.remove(id);
            }
            Step::PutSlots(start, slots) => {
                self.slots.insert(*start, slots.clone());
            }
            Step::AddVip(vip) => {
                self.vips.insert(*vip);
            }
            Step::RemoveVip(vip) => {
                self.vips.remove(vip);
            }
            Step::PutLimit(id, entry) => {
                match entry {
                    Some(entry) => self.limits.insert(*id, *entry),
                    None => self.limits.remove(id),
                };
            }
            Step::PutService(address, entry) => {
                if !self.services.values().any(|service| service.id == entry.id) {
                    self.next_service_id = entry.id + 1;
                }
                let old = self.services.insert(*address, entry.clone());
                self.forget_slots(old);
            }
            Step::RemoveService(address) => {
                let old = self.services.remove(address);
                self.forget_slots(old);
            }
        }
    }

    /// Drops a slot range that lost its last pointer.
    fn forget_slots(&mut self, old: Option<ServiceEntry>) {
        // An empty table has no range; its 0..0 must not take the range that begins at 0 away.
        let Some(old) = old.filter(|service| !service.slots.is_empty()) else { return };
        if !self.services.values().any(|service| service.slots == old.slots) {
            self.slots.remove(&old.slots.start);
        }
    }
}
