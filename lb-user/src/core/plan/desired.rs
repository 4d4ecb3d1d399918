//! What the dataplane should do, in names: the configuration seen through the state of its backends.

use super::{ServiceAddress, name_hash};
use crate::config::{Backend, Config, Service};
use crate::core::schedule::{maglev_table, ramped_weight, slot_table};
use crate::model::{
    AdminState, AtLimit, BackendName, DefaultPolicy, Family, Mode, Protocol, SchedulerKind, ServiceName,
    WhenDown,
};
use lb_ebpf::abi::Forwarding;
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// Whether a backend's address can take new flows, and since when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Availability {
    /// Its health checks say it works (or there are none).
    pub healthy: bool,
    /// How long it has been up again after having been down; `None` when slow start is over or off.
    pub ramping_for: Option<Duration>,
}

/// Availability of each backend address.
pub type AvailabilityMap = BTreeMap<(ServiceName, BackendName, Family), Availability>;

/// One slot table: a service in one family.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SteeringKey {
    /// The service.
    pub service: ServiceName,
    /// The family of VIPs and backends.
    pub family: Family,
}

/// A backend's address and the weight it has now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SteeredBackend {
    /// Its address.
    pub address: SocketAddr,
    /// Its weight, by what its slow start allows; 0 without slots.
    pub weight: u16,
    /// How many flows the backend may have over all its addresses; 0 is as many as come.
    pub max_flows: u32,
}

/// What one slot table serves and holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Steering {
    /// Where clients reach it, on this node.
    pub listen: BTreeSet<SocketAddr>,
    /// The transport protocol.
    pub protocol: Protocol,
    /// How packets are changed; `None`: not at all, as the agent serves them.
    pub forwarding: Option<Forwarding>,
    /// How it picks a slot.
    pub scheduler: SchedulerKind,
    /// What it does without slots.
    pub when_down: WhenDown,
    /// What becomes of connections that no rule of the firewall decides about.
    pub default_policy: DefaultPolicy,
    /// How many flows the service may have over all its addresses; 0 is as many as come.
    pub max_flows: u32,
    /// What becomes of new flows where a limit is reached.
    pub at_limit: AtLimit,
    /// All its backends, those without slots too.
    pub backends: BTreeMap<BackendName, SteeredBackend>,
    /// The slot table.
    pub slots: Vec<BackendName>,
}

impl Steering {
    /// Where clients reach it, with the protocol.
    pub fn entrances(&self) -> impl Iterator<Item = ServiceAddress> {
        self.listen.iter().map(|socket| ServiceAddress { socket: *socket, protocol: self.protocol })
    }
}

/// What this node's dataplane should do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Desired {
    /// VIPs that this node serves, or may have to serve the next moment.
    pub vips: BTreeSet<IpAddr>,
    /// Slot tables; of services that the agent serves, without slots and backends.
    pub steering: BTreeMap<SteeringKey, Steering>,
    /// Those of the services that the agent serves.
    pub proxied: BTreeMap<SteeringKey, Steering>,
}

/// What `config` wants of the node it names, given its backends' availability. A backend address without
/// an entry counts as healthy: nobody has said otherwise.
pub fn desire(config: &Config, availability: &AvailabilityMap) -> Desired {
    let active = config.vips.iter().filter(|(_, vip)| vip.may_be_on(&config.node.name));
    let vips: BTreeMap<_, _> = active.map(|(name, vip)| (name.clone(), vip.addresses.clone())).collect();
    let mut desired = Desired { vips: vips.values().flatten().copied().collect(), ..Desired::default() };
    for service in config.services.values() {
        for family in [Family::V4, Family::V6] {
            let addresses = service.vips.iter().filter_map(|vip| vips.get(vip)).flatten();
            let listen: BTreeSet<_> = addresses
                .filter(|address| Family::of(**address) == family)
                .map(|address| SocketAddr::new(*address, service.port))
                .collect();
            if listen.is_empty() {
                continue;
            }
            let key = SteeringKey { service: service.name.clone(), family };
            let mut steering = steer(service, family, listen, availability);
            if steering.forwarding.is_none() {
                desired.proxied.insert(key.clone(), steering.clone());
                steering.backends.clear();
                steering.slots.clear();
                // These are the agent's to keep.
                steering.max_flows = 0;
            }
            desired.steering.insert(key, steering);
        }
    }
    desired
}

fn steer(
    service: &Service,
    family: Family,
    listen: BTreeSet<SocketAddr>,
    availability: &AvailabilityMap,
) -> Steering {
    let slow_start = service.health.as_ref().map_or(Duration::ZERO, |health| health.slow_start);
    let known = |backend: &Backend| {
        let key = (service.name.clone(), backend.name.clone(), family);
        let known = availability.get(&key).copied();
        known.unwrap_or(Availability { healthy: true, ramping_for: None })
    };
    let mine = || service.backends.iter().filter_map(|backend| Some((backend, backend.address(family)?)));
    let is_ready = |backend: &Backend| backend.state == AdminState::Ready;
    let all_down = !mine().any(|(backend, _)| is_ready(backend) && known(backend).healthy);
    let trust_all = all_down && service.when_down == WhenDown::LastKnown;
    let mut backends = BTreeMap::new();
    let mut shares = Vec::new();
    for (backend, address) in mine() {
        let state = known(backend);
        let weight = if is_ready(backend) && (state.healthy || trust_all) {
            let elapsed = state.ramping_for.unwrap_or(slow_start);
            ramped_weight(u32::from(backend.weight.get()), elapsed, slow_start)
        } else {
            0
        };
        let identity = name_hash(&service.name, Some(&backend.name), family);
        shares.push((backend.name.clone(), identity, weight));
        let weight = u16::try_from(weight).unwrap_or(u16::MAX);
        let max_flows = backend.max_flows;
        backends.insert(backend.name.clone(), SteeredBackend { address, weight, max_flows });
    }
    let slots = match service.scheduler {
        SchedulerKind::RoundRobin | SchedulerKind::LeastConnections => {
            let weights: Vec<_> = shares.into_iter().map(|(name, _, weight)| (name, weight)).collect();
            slot_table(&weights)
        }
        SchedulerKind::SourceHash | SchedulerKind::Maglev => maglev_table(&shares),
    };
    Steering {
        listen,
        protocol: service.protocol,
        forwarding: match service.mode {
            Mode::Dsr => Some(Forwarding::Direct),
            Mode::Nat if service.keep_source => Some(Forwarding::KeepSource),
            Mode::Nat => Some(Forwarding::Nat),
            Mode::Tcp | Mode::Tls | Mode::RedirectHttps | Mode::Mysql => None,
        },
        scheduler: service.scheduler,
        when_down: service.when_down,
        default_policy: service.default_policy,
        max_flows: service.max_flows,
        at_limit: service.at_limit,
        backends,
        slots,
    }
}
