//! Virtual routers at work: sends and hears advertisements, and keeps their time.
//!
//! Owns a thread of its own, so that nothing the agent does delays an advertisement, with the sockets and the machines of
//! `core::vrrp`. What they decide about addresses it tells the agent; what they know, everybody may read in a snapshot.

mod channel;
mod group;
mod presence;
mod thread;

pub use channel::interfaces_up;

use crate::core::vrrp::advert::AdvertError;
use crate::core::vrrp::machine::{News, Settings, State};
use crate::model::{ChecksumForm, Family, GroupName, Priority, VipName};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::IpAddr;
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, oneshot, watch};

/// Why advertisements are not sent or heard.
#[derive(Debug, thiserror::Error)]
pub enum VrrpError {
    /// The kernel refused.
    #[error("VRRP on {interface}: {what}: {cause}")]
    Socket {
        /// The interface.
        interface: String,
        /// What was tried.
        what: &'static str,
        /// Why not.
        cause: io::Error,
    },
    /// There is no address to send from.
    #[error("VRRP on {interface}: it has no {family} address of its own to send from")]
    NoAddress {
        /// The interface.
        interface: String,
        /// The family.
        family: Family,
    },
    /// The interface is down, or its cable is out.
    #[error("VRRP on {interface}: the interface is down")]
    Down {
        /// The interface.
        interface: String,
    },
}

/// A virtual router's name on this node.
pub type RouterKey = (VipName, Family);

/// What the configuration wants of a virtual router.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouterPlan {
    /// Where it is.
    pub interface: String,
    /// Its numbers.
    pub settings: Settings,
    /// To whom it sends; nobody is the group.
    pub peers: Vec<IpAddr>,
    /// What its IPv4 checksums cover.
    pub checksum: ChecksumForm,
    /// Those that it moves together with.
    pub group: Option<GroupName>,
}

/// What there is to be.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// The virtual routers.
    pub plans: BTreeMap<RouterKey, RouterPlan>,
    /// Those that begin as Active: an earlier agent has been that until now.
    pub resumed: BTreeSet<RouterKey>,
    /// Addresses that are not the node's own, although interfaces may have them.
    pub virtual_addresses: BTreeSet<IpAddr>,
}

/// What a machine decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Serve the addresses.
    Acquire(RouterKey),
    /// Serve them no more.
    Release(RouterKey),
    /// For the operator.
    News(RouterKey, News),
    /// A virtual router cannot take part, or can again (`None`).
    Trouble(RouterKey, Option<String>),
}

/// What a virtual router looks like now.
#[derive(Clone, Debug, PartialEq)]
pub struct RouterSnapshot {
    /// Its name.
    pub key: RouterKey,
    /// What it was told.
    pub plan: RouterPlan,
    /// Its state.
    pub state: State,
    /// Since when.
    pub since: Instant,
    /// Its priority now.
    pub priority: Priority,
    /// The node's address towards the others.
    pub local: Option<IpAddr>,
    /// The last advertisement of another node: from whom, its priority, its interval, when.
    pub heard: Option<(IpAddr, u8, Duration, Instant)>,
    /// How long the Active router may be silent.
    pub active_down_interval: Duration,
    /// How often it came to each state.
    pub times: BTreeMap<State, u64>,
    /// Advertisements sent, and received for it.
    pub adverts_sent: u64,
    /// See there.
    pub adverts_received: u64,
    /// Why it takes no part.
    pub trouble: Option<String>,
}

/// What all virtual routers look like.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Snapshot {
    /// Each.
    pub routers: Vec<RouterSnapshot>,
    /// Packets that were no advertisements, by reason.
    pub malformed: BTreeMap<AdvertError, u64>,
    /// Advertisements of virtual routers that this node does not have, or of nodes that are no peers.
    pub foreign: u64,
    /// IPv4 advertisements whose checksum covers the message alone.
    pub message_checksums: u64,
}

enum Order {
    Follow(Wanted),
    Lower(BTreeMap<RouterKey, u8>),
    HandOver(BTreeSet<RouterKey>),
    Offer(BTreeSet<RouterKey>),
    Take(BTreeSet<RouterKey>),
    HoldPreemption(bool),
    Stop(oneshot::Sender<()>),
}

/// Lets the program serve VIPs for so long from now; `None`: as long as it likes. Called from the thread, several times in an interval.
pub type RenewLease = Box<dyn FnMut(Option<Duration>) + Send>;

/// The thread, as the agent sees it.
pub struct VirtualRouters {
    orders: mpsc::UnboundedSender<Order>,
    snapshot: watch::Receiver<Snapshot>,
}

impl VirtualRouters {
    /// Starts the thread, which prepares itself so; its decisions come by the channel that is given back.
    ///
    /// # Errors
    /// There is no thread to be had, or no timer for it.
    pub fn spawn(prepare: fn(), renew: RenewLease) -> io::Result<(Self, mpsc::UnboundedReceiver<Decision>)> {
        let (orders, orders_in) = mpsc::unbounded_channel();
        let (decisions, decisions_in) = mpsc::unbounded_channel();
        let (snapshots, snapshot) = watch::channel(Snapshot::default());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let runner = thread::Runner::new(decisions, snapshots, renew);
        std::thread::Builder::new().name("vrrp".to_owned()).spawn(move || {
            prepare();
            runtime.block_on(runner.run(orders_in));
        })?;
        Ok((Self { orders, snapshot }, decisions_in))
    }

    /// Makes these the virtual routers there are. What stays as it is, goes on.
    pub fn follow(&self, wanted: Wanted) {
        self.order(Order::Follow(wanted));
    }

    /// Takes so much off the priorities; nothing off the others.
    pub fn lower(&self, penalties: BTreeMap<RouterKey, u8>) {
        self.order(Order::Lower(penalties));
    }

    /// Says whether this node must not take addresses from an Active router, as it has no copies of that one's flows yet.
    pub fn hold_preemption(&self, held: bool) {
        self.order(Order::HoldPreemption(held));
    }

    /// Lets other nodes have these, if there are any.
    pub fn hand_over(&self, keys: BTreeSet<RouterKey>) {
        self.order(Order::HandOver(keys));
    }

    /// Lets one node have these, which is asked to take them by another way.
    pub fn offer(&self, keys: BTreeSet<RouterKey>) {
        self.order(Order::Offer(keys));
    }

    /// Takes these from the node that offers them.
    pub fn take(&self, keys: BTreeSet<RouterKey>) {
        self.order(Order::Take(keys));
    }

    /// Ends all of them: what is Active is handed over, and then given up. Takes three intervals at most, and five seconds.
    pub async fn stop(&self) {
        let (done, stopped) = oneshot::channel();
        self.order(Order::Stop(done));
        // A thread that is gone has stopped.
        let _ = stopped.await;
    }

    /// What they look like now.
    pub fn snapshot(&self) -> Snapshot {
        self.snapshot.borrow().clone()
    }

    fn order(&self, order: Order) {
        // A thread that is gone takes none.
        let _ = self.orders.send(order);
    }
}
