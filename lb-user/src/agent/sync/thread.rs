//! The thread that tells other nodes of flows and writes theirs into this node's table.
//!
//! Owns the socket, one session for each peer, and its own handles on the table: neither the agent's loop nor a packet ever waits for it.
//! What is asked of it comes as orders; what it finds out goes to the agent as events, and as a snapshot.

use super::round::Peer;
use super::{Order, PeerNews, PeerSnapshot, Scene, SyncEvent, SyncSnapshot};
use crate::io::dataplane::{DataplaneError, FlowCopies, FlowNews, WalkedKeys};
use crate::io::sync::{Received, SyncSocket};
use crate::io::urgency;
use lb_ebpf::abi::{Address, FlowKey};
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::mpsc as blocking;
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, watch};
use tracing::warn;

/// What changed is told at most so much later.
const LOOK_EVERY: Duration = Duration::from_millis(5);
/// In one round: so many keys are read, and so many datagrams.
const NEWS_MAX: usize = 65_536;
const DATAGRAMS_MAX: usize = 1024;
/// Peers that were not heard for so long after the start are not there.
const SETTLE: Duration = Duration::from_secs(3);
/// Flows of VIPs that were served here are told for so long after: who took over without having heard this node lacks them.
const TELL_AFTER_RELEASE: Duration = Duration::from_secs(60);
/// For so long after its last round the program lets flows begin that this thread is to tell of.
const LISTENS_FOR: Duration = Duration::from_millis(100);
/// The snapshot is made so often.
const PUBLISH_EVERY: Duration = Duration::from_millis(100);

pub(super) struct Parts {
    pub(super) socket: SyncSocket,
    pub(super) news: FlowNews,
    pub(super) copies: FlowCopies,
    pub(super) peers: Vec<SocketAddr>,
    pub(super) join_timeout: Duration,
    pub(super) scene: Scene,
}

pub(super) struct Runner {
    socket: SyncSocket,
    news: FlowNews,
    copies: FlowCopies,
    peers: BTreeMap<SocketAddr, Peer>,
    scene: Scene,
    /// VIPs that were served here until then.
    released: BTreeMap<Address, Instant>,
    refresh: Option<WalkedKeys>,
    refresh_at: Instant,
    /// Until when this node waits for the others' flows; `None`: it does not any more.
    join_until: Option<Instant>,
    started: Instant,
    join_timeout: Duration,
    strangers: u64,
    unsealed: u64,
    events: mpsc::UnboundedSender<SyncEvent>,
    snapshots: watch::Sender<SyncSnapshot>,
    publish_at: Instant,
}

impl Runner {
    pub(super) fn new(
        parts: Parts,
        events: mpsc::UnboundedSender<SyncEvent>,
        snapshots: watch::Sender<SyncSnapshot>,
    ) -> Result<Self, getrandom::Error> {
        let Parts { socket, news, mut copies, peers, join_timeout, scene } = parts;
        let now = Instant::now();
        copies.set_scene(scene.backends.clone(), scene.link);
        let introduce = |at: SocketAddr| Ok((at, Peer::new(scene.introduction.clone())?));
        let peers = peers.into_iter().map(introduce).collect::<Result<_, getrandom::Error>>()?;
        Ok(Self {
            socket,
            news,
            copies,
            peers,
            refresh_at: now + scene.refresh_every,
            scene,
            released: BTreeMap::new(),
            refresh: None,
            join_until: Some(now + join_timeout),
            started: now,
            join_timeout,
            strangers: 0,
            unsealed: 0,
            events,
            snapshots,
            publish_at: now,
        })
    }

    /// Runs until the agent is gone.
    pub(super) fn run(mut self, orders: &blocking::Receiver<Order>) {
        urgency::raise();
        loop {
            self.socket.wait(LOOK_EVERY);
            loop {
                match orders.try_recv() {
                    Ok(order) => self.take_order(order),
                    Err(blocking::TryRecvError::Empty) => break,
                    Err(blocking::TryRecvError::Disconnected) => return,
                }
            }
            self.hear();
            self.take_news();
            if let Err(error) = self.walk() {
                warn!(%error, "the table of flows was not walked for other nodes");
            }
            self.tell();
            self.join();
            self.publish();
        }
    }

    fn take_order(&mut self, order: Order) {
        match order {
            Order::Follow(scene) => self.follow(*scene),
            Order::BeginAgain => self.peers.values_mut().for_each(|peer| peer.session.begin_again()),
        }
    }

    fn follow(&mut self, scene: Scene) {
        let now = Instant::now();
        self.released.retain(|_, at| now.duration_since(*at) < TELL_AFTER_RELEASE);
        self.released.extend(self.scene.active.difference(&scene.active).map(|vip| (*vip, now)));
        self.copies.set_scene(scene.backends.clone(), scene.link);
        self.refresh_at = self.refresh_at.min(now + scene.refresh_every);
        for (at, peer) in &mut self.peers {
            peer.session.introduce(scene.introduction_to(*at));
            peer.tell_of_taken(&scene.active);
            let news = peer.judge(&scene.introduction);
            tell(&self.events, *at, news);
        }
        self.scene = scene;
    }

    fn hear(&mut self) {
        let now = Instant::now();
        for _ in 0..DATAGRAMS_MAX {
            match self.socket.receive() {
                Received::Nothing => return,
                Received::Stranger(_) => self.strangers += 1,
                Received::Unsealed(_) => self.unsealed += 1,
                Received::Content(from, content) => {
                    let Some(peer) = self.peers.get_mut(&from) else { continue };
                    let news = peer.hear(content, &mut self.copies, &self.scene, now);
                    tell(&self.events, from, news);
                }
            }
        }
    }

    fn take_news(&mut self) {
        let Self { news, peers, .. } = self;
        let somebody = peers.values().any(|peer| peer.session.is_here() && !peer.is_refused());
        if let Err(error) = news.promise(somebody.then_some(LISTENS_FOR)) {
            warn!(%error, "flows may begin while nobody listens");
        }
        news.take(NEWS_MAX, |key| {
            for peer in peers.values_mut().filter(|peer| !peer.is_refused()) {
                peer.session.change(key);
            }
        });
    }

    /// The VIPs whose flows this node knows better than others.
    fn told_vips(&self) -> BTreeSet<Address> {
        let now = Instant::now();
        let recent = self.released.iter().filter(|(_, at)| now.duration_since(**at) < TELL_AFTER_RELEASE);
        self.scene.active.iter().chain(recent.map(|(vip, _)| vip)).copied().collect()
    }

    fn walk(&mut self) -> Result<(), DataplaneError> {
        let told = self.told_vips();
        for peer in self.peers.values_mut() {
            peer.walk(&self.copies, &told)?;
            peer.clean(&mut self.copies, &self.scene)?;
        }
        self.refresh()
    }

    /// What others have copies of must not look silent there while it is not here.
    fn refresh(&mut self) -> Result<(), DataplaneError> {
        let now = Instant::now();
        if self.refresh.is_none() && now >= self.refresh_at {
            self.refresh_at = now + self.scene.refresh_every;
            self.refresh = Some(self.copies.begin_walk());
        }
        let Some(walk) = &mut self.refresh else { return Ok(()) };
        if self.peers.values().any(|peer| peer.session.is_here() && !peer.session.has_room()) {
            return Ok(());
        }
        let Some(flows) = self.copies.walk(walk)? else {
            self.refresh = None;
            return Ok(());
        };
        let not_silent = |(key, idle): &(FlowKey, Duration)| {
            *idle < self.scene.refresh_every && self.scene.active.contains(&key.destination)
        };
        for (key, _) in flows.into_iter().filter(not_silent) {
            let peers = self.peers.values_mut().filter(|peer| !peer.is_refused());
            peers.for_each(|peer| peer.session.change(key));
        }
        Ok(())
    }

    fn tell(&mut self) {
        let now = Instant::now();
        let mut left = false;
        for (at, peer) in &mut self.peers {
            let news = peer.tell(*at, &self.socket, &self.copies, &self.scene, now);
            left |= news.iter().any(|news| matches!(news, PeerNews::Left));
            tell(&self.events, *at, news);
        }
        if left {
            // What the other node does from now on is not known here.
            self.join_until = Some(now + self.join_timeout);
            self.started = now;
            let _ = self.events.send(SyncEvent::Parted);
        }
    }

    /// Whether this node has what the others know, or will not have it.
    fn join(&mut self) {
        let Some(until) = self.join_until else { return };
        let now = Instant::now();
        let here = || self.peers.values().filter(|peer| peer.session.is_here() && !peer.is_refused());
        let settled = here().count() == self.peers.len() || now.duration_since(self.started) >= SETTLE;
        // Where nobody is heard there may be somebody all the same.
        let complete = settled && here().count() > 0 && here().all(|peer| peer.session.has_snapshot());
        let is_in_vain = self.peers.values().all(Peer::is_refused);
        if complete || is_in_vain || now >= until {
            self.join_until = None;
            let flows = self.peers.values().map(|peer| peer.counts.put).sum();
            // An agent that is gone needs to know nothing.
            let _ = self.events.send(SyncEvent::Joined { complete, flows });
        }
    }

    fn publish(&mut self) {
        let now = Instant::now();
        if now < self.publish_at {
            return;
        }
        self.publish_at = now + PUBLISH_EVERY;
        let peers: BTreeMap<SocketAddr, PeerSnapshot> =
            self.peers.iter().map(|(at, peer)| (*at, peer.snapshot())).collect();
        let joined = self.join_until.is_none();
        let (strangers, unsealed) = (self.strangers, self.unsealed);
        self.snapshots.send_replace(SyncSnapshot { joined, peers, strangers, unsealed });
    }
}

fn tell(events: &mpsc::UnboundedSender<SyncEvent>, at: SocketAddr, news: Vec<super::PeerNews>) {
    for one in news {
        // An agent that is gone needs to know nothing.
        let _ = events.send(SyncEvent::Peer(at, one));
    }
}
