//! The thread's loop: packets first, then orders, then time.

use super::channel::{Channel, Received};
use super::group::channel_key;
use super::{Decision, Order, RenewLease, RouterKey, RouterPlan, RouterSnapshot, Snapshot, Wanted};
use crate::core::vrrp::advert::{Advert, AdvertError};
use crate::core::vrrp::machine::{Action, Input, Machine, News, State};
use crate::model::{ChecksumForm, Family};
use futures_util::future::{pending, select_all};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::IpAddr;
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, oneshot, watch};

/// How often interfaces are looked at: whether they are there, up, and have their address.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// A lease lasts for so many intervals from the last advertisement: a Backup waits for as many from when it heard that, and for its skew.
const LEASE_INTERVALS: u32 = 3;
/// Packets that are taken in a row before time has its turn, and the snapshot is made anew.
const PACKETS_IN_A_ROW: u32 = 64;
/// An agent that ends waits no longer for others to take over: whoever told it to has patience only for so long.
const STOP_WITHIN: Duration = Duration::from_secs(5);
pub(super) type ChannelKey = (String, Family);

pub(super) struct Running {
    pub(super) plan: RouterPlan,
    /// It begins as Active.
    pub(super) resumes: bool,
    pub(super) machine: Machine,
    since: Instant,
    times: BTreeMap<State, u64>,
    adverts_sent: u64,
    adverts_received: u64,
    /// When it advertised last.
    advertised_at: Option<Instant>,
    pub(super) trouble: Option<String>,
}

pub(super) struct Runner {
    pub(super) routers: BTreeMap<RouterKey, Running>,
    pub(super) channels: BTreeMap<ChannelKey, Channel>,
    penalties: BTreeMap<RouterKey, u8>,
    pub(super) preemption_held: bool,
    pub(super) decisions: mpsc::UnboundedSender<Decision>,
    snapshots: watch::Sender<Snapshot>,
    malformed: BTreeMap<AdvertError, u64>,
    foreign: u64,
    message_checksums: u64,
    pub(super) stopping: Option<oneshot::Sender<()>>,
    /// When those that nobody succeeds are given up.
    stop_at: Option<Instant>,
    pub(super) virtual_addresses: BTreeSet<IpAddr>,
    renew: RenewLease,
    packets_in_a_row: u32,
    /// A virtual router has another state than before.
    is_changed: bool,
    /// An advertisement could not be sent: it is time to look why.
    looks_soon: bool,
}

impl Runner {
    pub(super) fn new(
        decisions: mpsc::UnboundedSender<Decision>,
        snapshots: watch::Sender<Snapshot>,
        renew: RenewLease,
    ) -> Self {
        Self {
            routers: BTreeMap::new(),
            channels: BTreeMap::new(),
            penalties: BTreeMap::new(),
            preemption_held: false,
            decisions,
            snapshots,
            malformed: BTreeMap::new(),
            foreign: 0,
            message_checksums: 0,
            stopping: None,
            stop_at: None,
            virtual_addresses: BTreeSet::new(),
            renew,
            packets_in_a_row: 0,
            is_changed: false,
            looks_soon: false,
        }
    }

    /// Runs until it is told to stop, or the agent is gone.
    pub(super) async fn run(mut self, mut orders: mpsc::UnboundedReceiver<Order>) {
        let mut look = tokio::time::interval(LOOK_EVERY);
        look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
        loop {
            let deadline = self.routers.values().filter_map(|running| running.machine.deadline()).min();
            tokio::select! {
                // What came while this node did not run is heard before it speaks.
                biased;
                (key, received) = next_packet(&self.channels), if self.packets_in_a_row < PACKETS_IN_A_ROW => {
                    self.packets_in_a_row += 1;
                    self.take_packet(&key, received);
                    if !std::mem::take(&mut self.is_changed) {
                        continue;
                    }
                }
                order = orders.recv() => match order {
                    Some(order) => self.take_order(order),
                    None => break,
                },
                () = sleep_until(self.stop_at) => {}
                () = sleep_until(deadline) => self.pass_time(),
                _ = look.tick(), if !self.routers.is_empty() => self.look_around(),
                // Enough packets: what is due had its turn, and there are more of them.
                () = std::future::ready(()), if self.packets_in_a_row >= PACKETS_IN_A_ROW => {}
            }
            self.packets_in_a_row = 0;
            if std::mem::take(&mut self.looks_soon) {
                self.look_around();
            }
            self.publish();
            if self.has_stopped() {
                self.end();
                break;
            }
        }
    }

    /// Whether it was told to stop, and nothing is Active here any more, or will have to be given up.
    fn has_stopped(&self) -> bool {
        let late = self.stop_at.is_some_and(|at| Instant::now() >= at);
        let is_active = |one: &Running| one.machine.state() == State::Active;
        self.stopping.is_some() && (late || !self.routers.values().any(is_active))
    }

    fn take_order(&mut self, order: Order) {
        match order {
            Order::Follow(wanted) => self.follow(wanted),
            Order::Lower(penalties) => {
                self.penalties = penalties;
                self.keys().iter().for_each(|key| self.set_priority(key));
            }
            Order::HoldPreemption(held) => {
                self.preemption_held = held;
                self.input_all(&self.keys(), &Input::PreemptionHeld(held));
            }
            Order::HandOver(keys) => self.input_all(&keys, &Input::HandedOver),
            Order::Offer(keys) => self.input_all(&keys, &Input::Offered),
            Order::Take(keys) => self.input_all(&keys, &Input::Asked),
            Order::Stop(done) => {
                self.stopping = Some(done);
                self.stop_at = Instant::now().checked_add(STOP_WITHIN);
                self.input_all(&self.keys(), &Input::HandedOver);
            }
        }
    }

    fn keys(&self) -> BTreeSet<RouterKey> {
        self.routers.keys().cloned().collect()
    }

    fn input_all(&mut self, keys: &BTreeSet<RouterKey>, input: &Input) {
        keys.iter().for_each(|key| self.input(key, input.clone()));
    }

    /// All are Backup by now, or were never more; those that nobody succeeded have been stopped.
    fn end(&mut self) {
        self.input_all(&self.keys(), &Input::Stopped);
        self.publish();
        if let Some(done) = self.stopping.take() {
            // Nobody waits any more.
            let _ = done.send(());
        }
    }

    fn follow(&mut self, Wanted { plans, resumed, virtual_addresses }: Wanted) {
        self.virtual_addresses = virtual_addresses;
        let gone = self.routers.iter().filter(|(key, running)| plans.get(*key) != Some(&running.plan));
        let gone: Vec<RouterKey> = gone.map(|(key, _)| key.clone()).collect();
        for key in gone {
            self.input(&key, Input::Stopped);
            self.routers.remove(&key);
        }
        for (key, plan) in plans {
            let resumes = resumed.contains(&key);
            self.routers.entry(key).or_insert_with(|| Running {
                resumes,
                machine: Machine::new(plan.settings.clone()),
                plan,
                since: Instant::now(),
                times: BTreeMap::new(),
                adverts_sent: 0,
                adverts_received: 0,
                advertised_at: None,
                trouble: None,
            });
        }
        self.look_around();
        let is_active = |one: &Running| one.machine.state() == State::Active;
        if self.routers.is_empty() {
            (self.renew)(None);
        } else if !self.routers.values().any(is_active) {
            // Whatever the word says: none of them is served here.
            (self.renew)(Some(Duration::ZERO));
        }
    }

    /// Renews the lease, which is for all VIPs: it ends with what the first of the Active ones has left of the time that Backups wait.
    fn renew(&mut self) {
        let now = Instant::now();
        let ends = |one: &Running| {
            let lasts = LEASE_INTERVALS * one.plan.settings.interval.duration();
            (one.machine.state() == State::Active).then_some(one.advertised_at? + lasts)
        };
        if let Some(until) = self.routers.values().filter_map(ends).min() {
            (self.renew)(Some(until.saturating_duration_since(now)));
        }
    }

    pub(super) fn set_priority(&mut self, key: &RouterKey) {
        let Some(running) = self.routers.get(key) else { return };
        let penalty = self.penalties.get(key).copied().unwrap_or(0);
        let priority = running.plan.settings.priority.lowered_by(penalty);
        if priority != running.machine.priority() {
            self.input(key, Input::PriorityChanged(priority));
        }
    }

    fn pass_time(&mut self) {
        let now = Instant::now();
        let due = self.routers.iter().filter(|(_, one)| one.machine.deadline().is_some_and(|at| at <= now));
        let due: Vec<RouterKey> = due.map(|(key, _)| key.clone()).collect();
        due.iter().for_each(|key| self.input(key, Input::TimePassed));
    }

    pub(super) fn input(&mut self, key: &RouterKey, input: Input) {
        let Some(running) = self.routers.get_mut(key) else { return };
        let before = running.machine.state();
        let actions = running.machine.handle(input, Instant::now());
        let changed = running.machine.state() != before;
        self.is_changed |= changed;
        if changed {
            running.since = Instant::now();
            *running.times.entry(running.machine.state()).or_default() += 1;
        }
        for action in actions {
            self.act(key, action);
        }
        if changed {
            self.tell_group(key, before);
        }
    }

    fn act(&mut self, key: &RouterKey, action: Action) {
        let decision = match action {
            Action::SendAdvert { priority } => return self.send(key, priority),
            Action::AcquireVips => Decision::Acquire(key.clone()),
            Action::ReleaseVips => Decision::Release(key.clone()),
            // Nobody will succeed: it is given up all the same.
            Action::Tell(News::HandOverFailed) if self.stopping.is_some() => {
                return self.input(key, Input::Stopped);
            }
            Action::Tell(news) => Decision::News(key.clone(), news),
        };
        // An agent that is gone hears nothing.
        let _ = self.decisions.send(decision);
    }

    fn send(&mut self, key: &RouterKey, priority: u8) {
        let Some(running) = self.routers.get_mut(key) else { return };
        let Some(channel) = self.channels.get(&channel_key(key, &running.plan)) else { return };
        let advert = running.machine.advert(priority);
        // Backups cannot have heard it before.
        let before = Instant::now();
        let mut is_sent = false;
        let group = [channel.group()];
        let receivers = if running.plan.peers.is_empty() { &group[..] } else { &running.plan.peers[..] };
        for to in receivers.iter().filter(|to| to.is_ipv4() == channel.local().is_ipv4()) {
            let message = advert.encode(channel.local(), *to, running.plan.checksum);
            match channel.send(&message, *to) {
                Ok(()) => {
                    running.adverts_sent += 1;
                    is_sent = true;
                }
                // Who hears nothing takes over.
                Err(error) => tracing::debug!(%error, %to, "an advertisement was not sent"),
            }
        }
        if is_sent {
            running.advertised_at = Some(before);
            self.renew();
        } else {
            self.looks_soon = true;
        }
    }

    fn take_packet(&mut self, (interface, family): &ChannelKey, received: io::Result<Received>) {
        let received = match received {
            Ok(received) => received,
            Err(error) => {
                tracing::debug!(%error, interface, "hearing advertisements");
                self.channels.remove(&(interface.clone(), *family));
                return;
            }
        };
        let Received { source, destination, ttl, message } = received;
        let (advert, form) = match Advert::decode(&message, source, destination, ttl) {
            Ok(read) => read,
            Err(reason) => {
                *self.malformed.entry(reason).or_default() += 1;
                return;
            }
        };
        if form == ChecksumForm::Message {
            self.message_checksums += 1;
        }
        let is_for = |(key, one): &(&RouterKey, &mut Running)| {
            key.1 == *family
                && one.plan.interface == *interface
                && one.plan.settings.id == advert.id
                && (one.plan.peers.is_empty() || one.plan.peers.contains(&source))
        };
        let found = self.routers.iter_mut().find(is_for);
        let Some((key, running)) = found else {
            self.foreign += 1;
            return;
        };
        running.adverts_received += 1;
        let key = key.clone();
        self.input(&key, Input::AdvertReceived { from: source, advert });
    }

    fn publish(&self) {
        let router = |(key, one): (&RouterKey, &Running)| RouterSnapshot {
            key: key.clone(),
            plan: one.plan.clone(),
            state: one.machine.state(),
            since: one.since,
            priority: one.machine.priority(),
            local: self.channels.get(&channel_key(key, &one.plan)).map(Channel::local),
            heard: one
                .machine
                .heard()
                .map(|heard| (heard.from, heard.priority, heard.interval.duration(), heard.at)),
            active_down_interval: one.machine.active_down_interval(),
            times: one.times.clone(),
            adverts_sent: one.adverts_sent,
            adverts_received: one.adverts_received,
            trouble: one.trouble.clone(),
        };
        self.snapshots.send_replace(Snapshot {
            routers: self.routers.iter().map(router).collect(),
            malformed: self.malformed.clone(),
            foreign: self.foreign,
            message_checksums: self.message_checksums,
        });
    }
}

/// The next packet of any channel.
async fn next_packet(channels: &BTreeMap<ChannelKey, Channel>) -> (ChannelKey, io::Result<Received>) {
    if channels.is_empty() {
        return pending().await;
    }
    let receivers =
        channels.iter().map(|(key, channel)| Box::pin(async move { (key, channel.receive().await) }));
    let ((key, received), _, _) = select_all(receivers).await;
    (key.clone(), received)
}

async fn sleep_until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline.into()).await,
        None => pending().await,
    }
}
