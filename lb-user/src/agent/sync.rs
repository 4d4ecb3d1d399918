//! Sharing flows with other nodes, as the agent sees it: what its thread is told of this node, and what is made of what it hears.

mod offer;
mod round;
mod stale;
mod thread;
mod view;

use super::AgentError;
use super::state::Agent;
use crate::api::EventKind;
use crate::config::{Config, FlowSync};
use crate::core::flow_sync::Introduction;
use crate::core::plan::{AvailabilityMap, name_hash};
use crate::io::dataplane::{Dataplane, DataplaneError, KnownBackend, Link};
use crate::io::interface::link;
use crate::io::sync::{SyncSocket, read_key};
use crate::io::vrrp::RouterKey;
use crate::model::PortRange;
use lb_ebpf::abi::{Address, PeerPorts};
use offer::Offer;
use round::Counts;
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::mpsc as blocking;
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, watch};
use view::both_active;

/// So many ticks in a row something must differ before it is told: both nodes are changed one after the other.
const TICKS_TO_TELL: u32 = 5;
/// And two nodes serve one VIP: for a moment they do when it moves.
const TICKS_OF_SPLIT: u32 = 2;

/// What this node is, for those who share its flows.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Scene {
    backends: Vec<KnownBackend>,
    link: Link,
    /// Addresses of VIPs that move between nodes.
    shared: BTreeSet<Address>,
    /// Those of them that are served here.
    active: BTreeSet<Address>,
    introduction: Introduction,
    /// The peer that is asked to take VIPs, and which.
    offer: Option<(SocketAddr, Vec<Address>)>,
    /// How often others are told of flows that go on as they are.
    refresh_every: Duration,
}

impl Scene {
    /// What a peer is told of this node.
    fn introduction_to(&self, at: SocketAddr) -> Introduction {
        let offer = self.offer.iter().filter(|(to, _)| *to == at);
        let offers = offer.flat_map(|(_, addresses)| addresses).copied().collect();
        Introduction { offers, ..self.introduction.clone() }
    }
}

/// What the thread is asked to do.
pub(super) enum Order {
    /// This is what the node is now.
    Follow(Box<Scene>),
    /// Something was missed: tell all flows anew.
    BeginAgain,
}

/// What the thread found out.
#[derive(Debug)]
pub(super) enum SyncEvent {
    /// About a peer.
    Peer(SocketAddr, PeerNews),
    /// Another node is not heard any more: what it knows by then, this one lacks.
    Parted,
    /// This node has what the others know, or does not wait for that any longer.
    Joined {
        /// Whether it has all.
        complete: bool,
        /// How many flows it was told.
        flows: u64,
    },
}

/// What there is to tell of a peer.
#[derive(Debug)]
pub(super) enum PeerNews {
    Came,
    Left,
    Introduced(Introduction),
    /// It asks this node to take these VIPs.
    Offers(Vec<Address>),
    Refused(String),
    Accepted,
    SnapshotEnded,
}

/// How a peer is.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct PeerSnapshot {
    is_here: bool,
    introduced: Option<Introduction>,
    refused: Option<String>,
    has_snapshot: bool,
    has_been_told: bool,
    /// That, but for what came in the last moments.
    is_settled: bool,
    waiting: usize,
    counts: Counts,
}

/// How all are.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct SyncSnapshot {
    joined: bool,
    peers: BTreeMap<SocketAddr, PeerSnapshot>,
    strangers: u64,
    unsealed: u64,
}

/// The thread, as the agent sees it.
pub(super) struct Syncing {
    settings: FlowSync,
    orders: blocking::Sender<Order>,
    snapshot: watch::Receiver<SyncSnapshot>,
    scene: Scene,
    fingerprint: u64,
    /// Of the configuration that was changed then.
    fingerprint_of: Option<Instant>,
    /// Keys that the program could not tell, so far.
    missed: u64,
    offer: Option<Offer>,
    /// For how many ticks a peer's configuration differed, or both served one VIP.
    drift: BTreeMap<SocketAddr, u32>,
    both_active: BTreeMap<SocketAddr, u32>,
}

fn system(what: &'static str) -> impl Fn(std::io::Error) -> AgentError {
    move |cause| AgentError::System { what, cause }
}

/// Starts the thread, where the configuration wants it. What it finds out comes by the channel.
pub(super) fn spawn(
    config: &Config,
    dataplane: &Dataplane,
    events: mpsc::UnboundedSender<SyncEvent>,
) -> Result<Option<Syncing>, AgentError> {
    let Some(settings) = &config.sync else { return Ok(None) };
    let socket = SyncSocket::open(
        settings.address,
        read_key(&settings.key_file)?,
        settings.peers.iter().copied().collect(),
    )?;
    let scene = scene(config, dataplane, config.fingerprint(), &BTreeSet::new(), &AvailabilityMap::new());
    let parts = thread::Parts {
        socket,
        news: dataplane.flow_news()?,
        copies: dataplane.flow_copies()?,
        peers: settings.peers.clone(),
        join_timeout: settings.join_timeout,
        scene: scene.clone(),
    };
    let (snapshots, snapshot) = watch::channel(SyncSnapshot::default());
    let runner = thread::Runner::new(parts, events, snapshots)
        .map_err(std::io::Error::other)
        .map_err(system("drawing a random number"))?;
    let (orders, orders_in) = blocking::channel();
    let work = move || runner.run(&orders_in);
    let spawned = std::thread::Builder::new().name("flow-sync".into()).spawn(work);
    spawned.map_err(system("starting the thread that shares flows"))?;
    Ok(Some(Syncing {
        settings: settings.clone(),
        orders,
        snapshot,
        fingerprint: scene.introduction.fingerprint,
        scene,
        fingerprint_of: None,
        missed: 0,
        offer: None,
        drift: BTreeMap::new(),
        both_active: BTreeMap::new(),
    }))
}

/// What this node is, with these VIPs active and backends as they were found.
fn scene(
    config: &Config,
    dataplane: &Dataplane,
    fingerprint: u64,
    active: &BTreeSet<IpAddr>,
    availability: &AvailabilityMap,
) -> Scene {
    let with_vrrp = || config.vips.values().filter(|vip| vip.vrrp.is_some());
    let interface = with_vrrp().next().map(|vip| vip.interface.as_str());
    let (ifindex, mac) = interface.and_then(link).unwrap_or_default();
    let active: BTreeSet<Address> = active.iter().map(|address| Address::from(*address)).collect();
    let down = availability.iter().filter(|(_, found)| !found.healthy);
    let timeouts = config.dataplane.timeouts;
    let shortest = timeouts.established.min(timeouts.half_closed).min(timeouts.udp);
    Scene {
        backends: dataplane.known_backends(),
        link: Link { ifindex, mac },
        shared: with_vrrp().flat_map(|vip| vip.addresses.iter().map(|one| Address::from(*one))).collect(),
        introduction: Introduction {
            node: config.node.name.clone(),
            nat_ports: config.node.nat_ports,
            fingerprint,
            active: active.iter().copied().collect(),
            down: down
                .map(|((service, backend, family), _)| name_hash(service, Some(backend), *family))
                .collect(),
            offers: Vec::new(),
            wants_snapshot: false,
        },
        offer: None,
        active,
        refresh_every: (shortest / 3).max(Duration::from_secs(1)),
    }
}

impl Agent {
    /// Begins to share flows. Until this node has what the others know it takes no VIP from an Active router.
    pub(super) fn start_sync(&mut self) -> Result<(), DataplaneError> {
        let shares = self.syncing.is_some();
        self.virtual_routers.hold_preemption(shares);
        self.dataplane.tell_of_flows(shares)?;
        if !shares {
            self.dataplane.set_peer_ports(PeerPorts::default())?;
        }
        self.tell_sync();
        Ok(())
    }

    /// Addresses of virtual routers.
    fn addresses_of(&self, keys: &BTreeSet<RouterKey>) -> BTreeSet<IpAddr> {
        let vips = keys.iter().filter_map(|(name, family)| Some((self.config.vips.get(name)?, *family)));
        vips.flat_map(|(vip, family)| vip.addresses_of(family)).collect()
    }

    /// Tells the thread what this node is by now, if that is news.
    pub(super) fn tell_sync(&mut self) {
        let active = self.addresses_of(&self.active);
        let Some(syncing) = &mut self.syncing else { return };
        let availability = self.checks.availability(Instant::now());
        // It is long to make where there are thousands of backends.
        if syncing.fingerprint_of != Some(self.changed_at) {
            syncing.fingerprint_of = Some(self.changed_at);
            syncing.fingerprint = self.config.fingerprint();
        }
        let fingerprint = syncing.fingerprint;
        let mut scene = scene(&self.config, &self.dataplane, fingerprint, &active, &availability);
        scene.offer = syncing.offer_now(&scene.active);
        if scene != syncing.scene {
            syncing.scene = scene.clone();
            // The thread ends only with the agent.
            let _ = syncing.orders.send(Order::Follow(Box::new(scene)));
        }
    }

    /// A VIP came here: for a moment, flows that are not known may be ones that this node was not told yet.
    pub(super) fn begin_grace(&mut self) {
        let Some(grace) = self.syncing.as_ref().map(|syncing| syncing.settings.grace) else { return };
        if let Err(error) = self.dataplane.begin_grace(grace) {
            self.journal.record(EventKind::Warning, format!("unknown flows are reset at once: {error}"));
        }
    }

    pub(super) fn handle_sync_event(&mut self, event: SyncEvent) {
        let (kind, words) = match event {
            SyncEvent::Parted => {
                self.virtual_routers.hold_preemption(true);
                return;
            }
            SyncEvent::Joined { complete, flows } => {
                self.virtual_routers.hold_preemption(false);
                if complete {
                    let words =
                        format!("this node has the others' flows ({flows} told), and may take VIPs over");
                    (EventKind::SyncChanged, words)
                } else {
                    let words = "the others' flows were not told within sync.join_timeout, or are not shared; this node takes \
                                 VIPs over all the same, and connections may end when it does";
                    (EventKind::Warning, words.to_owned())
                }
            }
            SyncEvent::Peer(at, news) => match self.peer_words(news) {
                Some((kind, words)) => (kind, format!("{at}: {words}")),
                None => return,
            },
        };
        self.journal.record(kind, format!("sync: {words}"));
    }

    fn peer_words(&mut self, news: PeerNews) -> Option<(EventKind, String)> {
        let words = match news {
            PeerNews::Came => "the other node is there".to_owned(),
            PeerNews::Left => {
                let words =
                    "the other node is not heard any more; flows that begin now would end with this node";
                return Some((EventKind::Warning, words.to_owned()));
            }
            PeerNews::SnapshotEnded => "all its flows have been told".to_owned(),
            PeerNews::Offers(offers) => {
                self.take_offered(&offers);
                return None;
            }
            PeerNews::Introduced(introduction) => {
                let ports = self.peer_ports(introduction.nat_ports);
                let error = self.dataplane.set_peer_ports(ports).err()?;
                return Some((
                    EventKind::Warning,
                    format!("its ports were not said to the program: {error}"),
                ));
            }
            PeerNews::Refused(reason) => {
                return Some((EventKind::Warning, format!("no flows are shared with it: {reason}")));
            }
            PeerNews::Accepted => "flows are shared with it again".to_owned(),
        };
        Some((EventKind::SyncChanged, words))
    }

    /// The ports of all peers that are known, and these.
    fn peer_ports(&self, ports: PortRange) -> PeerPorts {
        let snapshot =
            self.syncing.as_ref().map(|syncing| syncing.snapshot.borrow().clone()).unwrap_or_default();
        let known =
            snapshot.peers.values().filter_map(|peer| peer.introduced.as_ref()).map(|one| one.nat_ports);
        let (first, last) = known.fold((ports.first(), ports.last()), |(first, last), other| {
            (first.min(other.first()), last.max(other.last()))
        });
        PeerPorts::new(first, last)
    }

    /// Once a tick: what the program could not tell, and what differs between nodes.
    pub(super) fn watch_sync(&mut self) {
        self.tell_sync();
        let Some(syncing) = &mut self.syncing else { return };
        if let Ok(missed) = self.dataplane.sync_missed()
            && missed != syncing.missed
        {
            syncing.missed = missed;
            let _ = syncing.orders.send(Order::BeginAgain);
        }
        let snapshot = syncing.snapshot.borrow().clone();
        let own = &syncing.scene.introduction;
        let mut warnings = Vec::new();
        for (at, peer) in &snapshot.peers {
            let other = peer.introduced.as_ref().filter(|_| peer.is_here);
            let differs = other.is_some_and(|other| other.fingerprint != own.fingerprint);
            if lasts(&mut syncing.drift, *at, differs, TICKS_TO_TELL) {
                warnings.push(format!(
                    "{at}: its configuration differs from this node's in VIPs, services or firewall; make both files \
                     agree, or what is served will depend on which node serves it"
                ));
            }
            let both = other.map(|other| both_active(own, other)).unwrap_or_default();
            if lasts(&mut syncing.both_active, *at, !both.is_empty(), TICKS_OF_SPLIT) {
                warnings.push(format!(
                    "{at}: split brain: both nodes serve {}. They hear each other here but not by VRRP: look at what \
                     filters IP protocol 112 between them, and at vip.NAME.vrrp.peers",
                    both.join(", ")
                ));
            }
        }
        for warning in warnings {
            self.journal.record(EventKind::Warning, format!("sync: {warning}"));
        }
    }
}

/// Whether this is the tick at which something has lasted long enough to be told.
fn lasts(ticks: &mut BTreeMap<SocketAddr, u32>, at: SocketAddr, is_so: bool, wanted: u32) -> bool {
    if !is_so {
        ticks.remove(&at);
        return false;
    }
    let count = ticks.entry(at).or_default();
    *count = count.saturating_add(1);
    *count == wanted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_differs_is_told_once_when_it_has_lasted() {
        let at = SocketAddr::from(([10, 80, 0, 3], 8788));
        let mut ticks = BTreeMap::new();
        let told: Vec<bool> = (0..8).map(|_| lasts(&mut ticks, at, true, TICKS_TO_TELL)).collect();
        assert_eq!(told, [false, false, false, false, true, false, false, false]);
        assert!(!lasts(&mut ticks, at, false, TICKS_TO_TELL));
        assert!(!lasts(&mut ticks, at, true, TICKS_TO_TELL), "it begins anew");
    }
}
