//! Services of databases: which of their backends takes writes, and which answer reads.
//!
//! Owns the tasks that ask backends, what they said last, and the passwords of users, which are read from where they are when the
//! configuration is taken over. What follows for sessions is the proxy's to carry out.

mod promote;
mod view;

use super::proxying::base_terms;
use super::state::Agent;
use crate::api::EventKind;
use crate::config::{MysqlTerms, Secret, Service};
use crate::core::mysql::protocol::auth::{Password, ProxyKey};
use crate::core::mysql::protocol::handshake::InitialHandshake;
use crate::core::mysql::sql::{Dialect, Flavor};
use crate::core::mysql::topology::{Role, Topology, Unfit};
use crate::core::plan::Steering;
use crate::io::proxy::mysql::{Asked, Found, Kept, look};
use crate::io::proxy::{LoginKey, MysqlPlan, Part, Terms};
use crate::model::{BackendName, ServiceName};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// A backend was looked at.
pub(super) struct Looked {
    service: ServiceName,
    backend: BackendName,
    address: SocketAddr,
    found: Result<Found, String>,
}

/// A task that looks. Dropped, it is over.
struct Watcher {
    /// What it asks by, and how often: with another one it is another task.
    asked: Asked,
    interval: Duration,
    task: JoinHandle<()>,
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// One service.
#[derive(Default)]
struct Database {
    users: BTreeMap<String, Password>,
    monitor: Password,
    /// Passwords that cannot be read.
    troubles: Vec<String>,
    topology: Topology<BackendName>,
    greetings: BTreeMap<BackendName, InitialHandshake>,
    watchers: BTreeMap<BackendName, Watcher>,
    /// What was told last of each.
    told: BTreeMap<BackendName, String>,
}

/// All services of databases.
pub(super) struct Databases {
    services: BTreeMap<ServiceName, Database>,
    /// By which clients send passwords that only servers know; made when it is wanted first.
    key: Option<LoginKey>,
    looked: mpsc::Sender<Looked>,
}

impl Databases {
    pub(super) fn new() -> (Self, mpsc::Receiver<Looked>) {
        let (looked, looks) = mpsc::channel(64);
        (Self { services: BTreeMap::new(), key: None, looked }, looks)
    }

    fn make_key<'a>(&mut self, mut services: impl Iterator<Item = &'a Service>) {
        let is_wanted = services.any(|one| one.mysql.as_ref().is_some_and(|terms| terms.passthrough));
        if is_wanted && self.key.is_none() {
            // Once in an agent's life, and it takes a moment. Without it clients need TLS.
            let made = tokio::task::block_in_place(ProxyKey::generate);
            self.key = made.ok().map(|key| LoginKey(Arc::new(key)));
        }
    }

    /// What is wrong, in words.
    pub(super) fn warnings(&self) -> impl Iterator<Item = String> + '_ {
        self.services.iter().flat_map(|(name, database)| {
            let troubles = database.troubles.iter().map(move |trouble| format!("service {name}: {trouble}"));
            let why = database.no_primary().filter(|_| !database.told.is_empty());
            troubles.chain(why.map(|why| format!("service {name}: no primary: {why}")))
        })
    }
}

impl Database {
    /// Why there is no primary, where there is none.
    fn no_primary(&self) -> Option<String> {
        if self.topology.primary().is_some() {
            return None;
        }
        if self.topology.is_undecided() {
            return Some("not all backends have been asked yet".to_owned());
        }
        let rivals: Vec<String> = self.topology.rivals().iter().map(ToString::to_string).collect();
        Some(match rivals.is_empty() {
            true => "no backend takes writes".to_owned(),
            false => format!(
                "{} take writes, and nobody but you knows which is right: none is chosen",
                rivals.join(" and ")
            ),
        })
    }

    /// What the primary says first, or any other where there is none.
    fn greeting(&self) -> Option<&InitialHandshake> {
        let of_primary = self.topology.primary().and_then(|primary| self.greetings.get(&primary));
        of_primary.or_else(|| self.greetings.values().next())
    }

    /// What statements are read as: of the servers of the primary's kind, the oldest one's.
    fn dialect(&self) -> Option<Dialect> {
        let flavor = Flavor::of(self.greeting()?);
        let all = self.greetings.values().map(Dialect::of).filter(|dialect| dialect.flavor == flavor);
        all.min_by_key(|dialect| dialect.version)
    }

    fn plan(
        &self,
        service: &Service,
        terms: &MysqlTerms,
        steering: &Steering,
        key: Option<&LoginKey>,
    ) -> MysqlPlan {
        let now = Instant::now();
        let part = |backend: &BackendName| match self.topology.role(backend, terms.max_lag, now) {
            Role::Primary => Part::Primary,
            Role::Replica(_) => Part::Replica,
            Role::Unfit(Unfit::Silent(_)) => Part::Silent,
            Role::Unfit(_) => Part::None,
        };
        MysqlPlan {
            service: service.name.to_string(),
            users: self.users.clone(),
            passthrough: key.filter(|_| terms.passthrough).cloned(),
            consistency: terms.consistency,
            max_wait: terms.max_wait,
            multiplex_after: terms.multiplex_after,
            slow_log: terms.slow_log,
            parts: steering.backends.keys().map(part).collect(),
            greeting: self.greeting().map(|greeting| InitialHandshake {
                // These are of one connection.
                connection_id: 0,
                scramble: Vec::new(),
                ..greeting.clone()
            }),
            // Nobody is served before one has been heard.
            dialect: self.dialect().unwrap_or(Dialect { flavor: Flavor::MySql, version: 0 }),
            no_primary: self.no_primary().unwrap_or_default(),
        }
    }

    fn read_passwords(&mut self, terms: &MysqlTerms) {
        self.troubles.clear();
        self.users.clear();
        for user in &terms.users {
            match password(&user.password) {
                Ok(password) => drop(self.users.insert(user.name.clone(), password)),
                Err(why) => self.troubles.push(format!("user {} cannot log in: {why}", user.name)),
            }
        }
        match password(&terms.monitor.password) {
            Ok(password) => self.monitor = password,
            Err(why) => self.troubles.push(format!("backends cannot be asked: {why}")),
        }
    }
}

/// A password from where it is.
fn password(secret: &Secret) -> Result<Password, String> {
    match secret {
        Secret::Inline(text) => Ok(Password(text.clone().into_bytes())),
        Secret::File(path) => {
            let text =
                std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
            Ok(Password(text.trim_end_matches(['\n', '\r']).as_bytes().to_vec()))
        }
        Secret::Environment(name) => match std::env::var(name) {
            Ok(text) => Ok(Password(text.into_bytes())),
            Err(_) => Err(format!("the agent's environment has no variable {name}")),
        },
    }
}

/// Looks again and again. What fails is tried once more on another connection before it is told.
async fn watch(
    asked: Asked,
    names: (ServiceName, BackendName),
    interval: Duration,
    looked: mpsc::Sender<Looked>,
) {
    let mut tick = tokio::time::interval(interval);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut kept = Kept::default();
    loop {
        tick.tick().await;
        let found = match look(&asked, &mut kept).await {
            Ok(found) => Ok(found),
            Err(_) => look(&asked, &mut kept).await.map_err(|error| error.to_string()),
        };
        let (service, backend) = names.clone();
        let address = asked.address;
        if looked.send(Looked { service, backend, address, found }).await.is_err() {
            return;
        }
    }
}

/// What a role is, without how far exactly it is behind.
fn role_words(role: &Role) -> String {
    match role {
        Role::Primary => "is the primary".to_owned(),
        Role::Replica(_) => "is a replica".to_owned(),
        Role::Unfit(Unfit::Behind(_)) => "answers nothing: it is too far behind".to_owned(),
        Role::Unfit(why) => format!("answers nothing: {why}"),
    }
}

impl Agent {
    /// Asks the backends of the services that there are by now.
    pub(super) fn follow_databases(&mut self) {
        let is_one =
            |name: &ServiceName| self.config.services.get(name).is_some_and(|one| one.mysql.is_some());
        self.databases.services.retain(|name, _| is_one(name));
        self.databases.make_key(self.config.services.values());
        for service in self.config.services.values() {
            let Some(terms) = &service.mysql else { continue };
            let database = self.databases.services.entry(service.name.clone()).or_default();
            database.read_passwords(terms);
            let tls = self.certificates.client(service).unwrap_or_default();
            let watched = Terms { backend_tls: tls, ..base_terms(service) };
            database.follow(service, terms, &watched, &self.databases.looked);
        }
    }

    /// How sessions of a service are served now.
    pub(super) fn mysql_plan(&self, service: &Service, steering: &Steering) -> Option<Arc<MysqlPlan>> {
        let database = self.databases.services.get(&service.name)?;
        let key = self.databases.key.as_ref();
        Some(Arc::new(database.plan(service, service.mysql.as_ref()?, steering, key)))
    }

    pub(super) fn handle_looked(&mut self, looked: Looked) {
        let Some(terms) = self.config.services.get(&looked.service).and_then(|one| one.mysql.as_ref()) else {
            return;
        };
        let Some(database) = self.databases.services.get_mut(&looked.service) else { return };
        if database
            .watchers
            .get(&looked.backend)
            .is_none_or(|watcher| watcher.asked.address != looked.address)
        {
            return;
        }
        let mut is_new = false;
        let observed = looked.found.map(|found| {
            let before = database.greetings.insert(looked.backend.clone(), found.greeting.clone());
            let version = |greeting: &InitialHandshake| greeting.server_version.clone();
            is_new = before.as_ref().map(version) != Some(version(&found.greeting));
            found.observation
        });
        let now = Instant::now();
        database.topology.observe(looked.backend, observed, now);
        let mut news = Vec::new();
        for backend in database.watchers.keys() {
            let words = role_words(&database.topology.role(backend, terms.max_lag, now));
            if database.told.get(backend) != Some(&words) {
                news.push(format!("service {}: backend {backend} {words}", looked.service));
                database.told.insert(backend.clone(), words);
            }
        }
        is_new |= !news.is_empty();
        for message in news {
            self.journal.record(EventKind::HealthChanged, message);
        }
        if is_new {
            self.follow_proxied();
        }
    }
}

impl Database {
    fn follow(
        &mut self,
        service: &Service,
        terms: &MysqlTerms,
        watched: &Terms,
        looked: &mpsc::Sender<Looked>,
    ) {
        let asked = |address| Asked {
            address,
            user: terms.monitor.user.clone(),
            password: self.monitor.clone(),
            terms: watched.clone(),
        };
        let backends = service.backends.iter();
        let wanted: BTreeMap<&BackendName, Asked> = backends
            .filter_map(|backend| Some((&backend.name, asked(*backend.addresses.first()?))))
            .collect();
        let is_wanted = |name: &BackendName| wanted.contains_key(name);
        self.topology.consist_of(wanted.keys().map(|name| (*name).clone()));
        self.greetings.retain(|name, _| is_wanted(name));
        self.told.retain(|name, _| is_wanted(name));
        let interval = terms.monitor.interval;
        for (name, watcher) in &self.watchers {
            // At another address it is another server.
            if wanted.get(name).is_some_and(|asked| asked.address != watcher.asked.address) {
                self.topology.forget(name);
                self.greetings.remove(name);
                self.told.remove(name);
            }
        }
        self.watchers
            .retain(|name, watcher| wanted.get(name) == Some(&watcher.asked) && watcher.interval == interval);
        for (name, asked) in wanted {
            self.watchers.entry(name.clone()).or_insert_with(|| {
                let names = (service.name.clone(), name.clone());
                let task = tokio::spawn(watch(asked.clone(), names, interval, looked.clone()));
                Watcher { asked, interval, task }
            });
        }
    }
}
