//! The userspace dataplane: connections to VIPs end here, and others go on to the backends.
//!
//! Owns the listening sockets, the threads that serve connections, and their accounts. Who may take connections, and when a backend is
//! healthy, the agent decides; it is told of backends that do not answer. Never reads what it moves, but for what has to come before it.

mod account;
mod connection;
mod handshake;
mod listen;
pub mod mysql;
mod open;
mod pipe;
mod preface;
mod pump;
mod reach;
mod record;
mod terms;
mod wire;
mod worker;

pub use account::{BackendCounts, Ended, ServiceCounts};
pub use open::{OpenConnection, OpenLists};
pub use pump::IdleTimeouts;
pub use terms::{ChallengeSet, Challenges, LoginKey, MysqlPlan, Part, Terms, TlsClient, TlsServer};

use crate::core::plan::SteeringKey;
use crate::core::proxy::{Table, Tables};
use crate::model::{BackendName, ServiceName};
use account::{BackendAccount, ServiceAccount};
use connection::Context;
use mysql::Sessions;
use open::OpenConnections;
use pipe::Pipes;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::{Notify, mpsc, oneshot, watch};
use worker::Order;

/// A backend's address, at the place it has in the table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlannedBackend {
    /// Where it is.
    pub address: SocketAddr,
    /// Its name.
    pub name: BackendName,
    /// A hash of its service's name, its own and its family.
    pub name_hash: u64,
    /// The names, asked for in TLS, whose connections it takes.
    pub names: Vec<String>,
}

/// A service of one family, as it shall be served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServicePlan {
    /// Where clients reach it.
    pub listen: BTreeSet<SocketAddr>,
    /// How connections are distributed.
    pub table: Arc<Table>,
    /// Its backends, in the order of the table's.
    pub backends: Vec<PlannedBackend>,
    /// What holds for all of them.
    pub terms: Terms,
}

/// What the proxy found out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProxyEvent {
    /// A backend did not accept a connection.
    ConnectFailed {
        /// Which.
        name_hash: u64,
        /// Where it did, but TLS with it failed: why.
        reason: Option<String>,
    },
}

/// A service as its connections see it.
pub(crate) struct Served {
    tables: Tables,
    backends: Vec<ServedBackend>,
    terms: Terms,
    account: Arc<ServiceAccount>,
    turns: Turns,
    /// Where it is a service of databases.
    sessions: Arc<Sessions>,
}

/// Turns, by the key of [`Tables`]: each name's backends take turns, and connections wait for them.
type Turns = BTreeMap<String, Arc<Turn>>;

/// Whose turn it is among some backends, and the bell for those who wait for one.
#[derive(Debug, Default)]
pub(crate) struct Turn {
    ticket: AtomicU64,
    freed: Arc<Notify>,
}

struct ServedBackend {
    address: SocketAddr,
    name: BackendName,
    name_hash: u64,
    account: Arc<BackendAccount>,
}

impl Served {
    /// The table for a name, and the turn of a connection there.
    fn draw(&self, name: Option<&str>) -> (Arc<Table>, Arc<Turn>, u64) {
        let (key, table) = self.tables.of(name);
        let turn = self.turns.get(key).cloned().unwrap_or_default();
        let ticket = turn.ticket.fetch_add(1, Ordering::Relaxed);
        (table.clone(), turn, ticket)
    }

    fn connections(&self, index: usize) -> u32 {
        self.backends.get(index).map_or(0, |backend| backend.account.active())
    }
}

struct Running {
    plan: ServicePlan,
    sender: watch::Sender<Arc<Served>>,
    turns: Turns,
    /// The sockets, by where; its threads have them too.
    listening: BTreeMap<SocketAddr, Vec<TcpListener>>,
}

/// The proxy, as the agent sees it.
pub struct Proxy {
    workers: Vec<mpsc::UnboundedSender<Order>>,
    /// What is open on each of the threads.
    open: Vec<Arc<OpenConnections>>,
    services: BTreeMap<SteeringKey, Running>,
    accounts: BTreeMap<ServiceName, Arc<ServiceAccount>>,
    sessions: BTreeMap<ServiceName, Arc<Sessions>>,
    backends: BTreeMap<(u64, SocketAddr), Arc<BackendAccount>>,
    events: mpsc::Sender<ProxyEvent>,
    /// Where nobody listens although somebody should, and why.
    troubles: BTreeMap<SocketAddr, String>,
    /// Sockets of an earlier agent, until the first services are known.
    inherited: BTreeMap<SocketAddr, Vec<TcpListener>>,
}

/// Events that wait until the agent has time for them.
const EVENTS_WAITING: usize = 1024;

impl Proxy {
    /// Starts so many threads, that listen at sockets of an earlier agent where there are some. What they find out comes by the channel.
    ///
    /// # Errors
    /// There is no thread to be had, or none of its means.
    pub fn spawn(
        threads: usize,
        inherited: BTreeMap<SocketAddr, Vec<TcpListener>>,
    ) -> io::Result<(Self, mpsc::Receiver<ProxyEvent>)> {
        let (events, events_in) = mpsc::channel(EVENTS_WAITING);
        let mut workers = Vec::new();
        for number in 0..threads.max(1) {
            let (orders, orders_in) = mpsc::unbounded_channel();
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            std::thread::Builder::new()
                .name(format!("proxy-{number}"))
                .spawn(move || runtime.block_on(worker::run(orders_in)))?;
            workers.push(orders);
        }
        let proxy = Self {
            open: workers.iter().map(|_| OpenConnections::new()).collect(),
            workers,
            services: BTreeMap::new(),
            accounts: BTreeMap::new(),
            sessions: BTreeMap::new(),
            backends: BTreeMap::new(),
            events,
            troubles: BTreeMap::new(),
            inherited,
        };
        Ok((proxy, events_in))
    }

    /// Serves these. What stays as it is goes on untouched; open connections go on in any case.
    pub fn follow(&mut self, plans: BTreeMap<SteeringKey, ServicePlan>) {
        let gone: Vec<_> = self.services.keys().filter(|key| !plans.contains_key(*key)).cloned().collect();
        for key in gone {
            if let Some(running) = self.services.remove(&key) {
                running.listening.keys().for_each(|at| self.close(*at));
            }
        }
        // An address that goes from one service to another is closed before it is opened.
        for (key, plan) in &plans {
            if let Some(running) = self.services.get_mut(key) {
                let left: Vec<_> =
                    running.listening.keys().filter(|at| !plan.listen.contains(at)).copied().collect();
                running.listening.retain(|at, _| plan.listen.contains(at));
                left.into_iter().for_each(|at| self.close(at));
            }
        }
        for (key, plan) in plans {
            self.follow_service(key, plan);
        }
        self.forget_accounts();
        self.listen_again();
        // What nobody wants any more.
        self.inherited.clear();
    }

    fn follow_service(&mut self, key: SteeringKey, plan: ServicePlan) {
        if self.services.get(&key).is_some_and(|running| running.plan == plan) {
            return;
        }
        let names: Vec<Vec<String>> = plan.backends.iter().map(|backend| backend.names.clone()).collect();
        let tables = Tables::new(plan.table.clone(), &names);
        let before = self.services.get(&key).map(|running| &running.turns);
        let turn = |key: &str| before.and_then(|turns| turns.get(key)).cloned().unwrap_or_default();
        let turns: Turns = tables.keys().map(|key| (key.to_owned(), turn(key))).collect();
        let account = self.accounts.entry(key.service.clone()).or_default().clone();
        turns.values().for_each(|turn| account.add_bell(turn.freed.clone()));
        let backends = plan.backends.iter().map(|backend| ServedBackend {
            address: backend.address,
            name: backend.name.clone(),
            name_hash: backend.name_hash,
            account: self.backends.entry((backend.name_hash, backend.address)).or_default().clone(),
        });
        let served = Arc::new(Served {
            tables,
            backends: backends.collect(),
            terms: plan.terms.clone(),
            account,
            turns: turns.clone(),
            sessions: self.sessions.entry(key.service.clone()).or_default().clone(),
        });
        match self.services.get_mut(&key) {
            Some(running) => {
                running.plan = plan;
                running.turns = turns;
                running.sender.send_replace(served);
            }
            None => {
                let (sender, _) = watch::channel(served);
                self.services.insert(key, Running { plan, sender, turns, listening: BTreeMap::new() });
            }
        }
    }

    /// Accounts that neither a service nor a connection needs.
    fn forget_accounts(&mut self) {
        let names: BTreeSet<&ServiceName> = self.services.keys().map(|key| &key.service).collect();
        self.accounts.retain(|name, account| names.contains(name) || Arc::strong_count(account) > 1);
        self.sessions.retain(|name, sessions| names.contains(name) || Arc::strong_count(sessions) > 1);
        let plans = self.services.values().flat_map(|running| &running.plan.backends);
        let planned: BTreeSet<_> = plans.map(|backend| (backend.name_hash, backend.address)).collect();
        self.backends.retain(|key, account| planned.contains(key) || Arc::strong_count(account) > 1);
    }

    fn close(&self, at: SocketAddr) {
        self.order(|| Order::Close(at));
    }

    fn order(&self, order: impl Fn() -> Order) {
        for worker in &self.workers {
            // A thread that is gone has closed all.
            let _ = worker.send(order());
        }
    }

    /// Tries to listen where nobody does yet: what failed before may go by now.
    pub fn listen_again(&mut self) {
        self.troubles.clear();
        for running in self.services.values_mut() {
            let is_missing = |at: &&SocketAddr| !running.listening.contains_key(*at);
            let missing: Vec<_> = running.plan.listen.iter().filter(is_missing).copied().collect();
            for at in missing {
                let inherited = self.inherited.remove(&at).unwrap_or_default();
                let opened = listen::open(at, inherited, self.workers.len());
                let kept = |sockets: Vec<TcpListener>| {
                    let kept = sockets.iter().map(TcpListener::try_clone).collect::<io::Result<Vec<_>>>();
                    kept.map(|kept| (sockets, kept))
                };
                match opened.and_then(kept) {
                    Ok((listeners, kept)) => {
                        running.listening.insert(at, kept);
                        let workers = self.workers.iter().zip(&self.open).cycle();
                        for ((worker, open), listener) in workers.zip(listeners) {
                            let (service, events) = (running.sender.subscribe(), self.events.clone());
                            let (pipes, open) = (Pipes { are_used: true }, open.clone());
                            let context = Context { service, events, pipes, open };
                            // A thread that is gone accepts nothing.
                            let _ = worker.send(Order::Listen { listener, at, context });
                        }
                    }
                    Err(error) => drop(self.troubles.insert(at, error.to_string())),
                }
            }
        }
    }

    /// Listens nowhere any more, for good: what was accepted until then is counted as open.
    pub async fn stop_listening(&mut self) {
        self.follow(BTreeMap::new());
        for worker in &self.workers {
            let (done, is_done) = oneshot::channel();
            // A thread that is gone accepts nothing.
            if worker.send(Order::Finish(done)).is_ok() {
                let _ = is_done.await;
            }
        }
    }

    /// The sockets that listen, for another agent.
    ///
    /// # Errors
    /// There are no descriptors for them.
    pub fn listeners(&self) -> io::Result<BTreeMap<SocketAddr, Vec<TcpListener>>> {
        let all = self.services.values().flat_map(|running| &running.listening);
        all.map(|(at, sockets)| {
            Ok((*at, sockets.iter().map(TcpListener::try_clone).collect::<io::Result<_>>()?))
        })
        .collect()
    }

    /// Connections that were accepted and have not ended.
    pub fn open_connections(&self) -> u32 {
        self.accounts.values().map(|account| account.open()).sum()
    }

    /// Those that are open with a backend. Sessions of databases are [elsewhere](Self::sessions).
    pub fn open(&self) -> OpenLists {
        OpenLists(self.open.clone())
    }

    /// Where nobody listens although somebody should, and why.
    pub fn troubles(&self) -> &BTreeMap<SocketAddr, String> {
        &self.troubles
    }

    /// Ends all connections of a backend.
    pub fn cut(&self, name_hash: u64) {
        let of = self.backends.iter().filter(|((hash, _), _)| *hash == name_hash);
        of.for_each(|(_, account)| account.cut());
    }

    /// What connections of a service did.
    pub fn service_counts(&self, service: &ServiceName) -> ServiceCounts {
        self.accounts.get(service).map(|account| account.counts()).unwrap_or_default()
    }

    /// The sessions of a service of databases.
    pub fn sessions(&self, service: &ServiceName) -> Option<Arc<Sessions>> {
        self.sessions.get(service).cloned()
    }

    /// What connections of a backend did, at that address.
    pub fn backend_counts(&self, name_hash: u64, address: SocketAddr) -> BackendCounts {
        self.backends.get(&(name_hash, address)).map(|account| account.counts()).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests;
