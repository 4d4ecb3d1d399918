//! Certificates that an authority is asked for: when, by which node, and what becomes of them.
//!
//! Of the nodes that serve a name the one asks that serves the first VIP of its service. What it gets the others are told, with the account
//! and the answers to challenges, because the authority may ask any of them. The certificate is a file like any other for all that
//! follows. Owns what is shared, the orders, and when they are tried again.

mod files;
mod orders;
mod peers;

use super::certificates::now;
use super::state::Agent;
use crate::api::EventKind;
use crate::config::{Acme, Config, Service, TlsTerms};
use crate::core::acme::{Asked, Item, Shared};
use crate::io::acme::OrderEvent;
use crate::io::proxy::Challenges;
use crate::io::share::{ShareKey, Told};
use crate::io::sync::read_key;
use crate::io::tls::{self, Stamps};
use crate::model::AcmeChallenge;
use orders::Ordering;
use peers::Hearing;
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

const EVENTS_WAITING: usize = 16;

/// What an exchange with a peer came to.
pub(super) struct Exchanged {
    peer: SocketAddr,
    heard: std::io::Result<Shared>,
}

/// What happened.
pub(super) enum AcmeEvent {
    Order(Asked, OrderEvent),
    Told(Told),
    Exchanged(Exchanged),
}

/// Where that is told.
pub(super) struct AcmeEvents {
    orders: mpsc::Receiver<(Asked, OrderEvent)>,
    told: mpsc::Receiver<Told>,
    exchanged: mpsc::Receiver<Exchanged>,
}

impl AcmeEvents {
    pub(super) async fn next(&mut self) -> Option<AcmeEvent> {
        tokio::select! {
            Some((asked, event)) = self.orders.recv() => Some(AcmeEvent::Order(asked, event)),
            Some(told) = self.told.recv() => Some(AcmeEvent::Told(told)),
            Some(exchanged) = self.exchanged.recv() => Some(AcmeEvent::Exchanged(exchanged)),
            else => None,
        }
    }
}

/// All of it.
pub(super) struct Issuing {
    /// The terms that all else goes by; `None`: nobody gives out certificates.
    terms: Option<Acme>,
    shared: Shared,
    orders: BTreeMap<Asked, Ordering>,
    /// The authority does not know it any more.
    dead_account: Option<String>,
    /// What files were like when they held what is shared.
    kept: BTreeMap<PathBuf, Stamps>,
    /// When it is looked for files that nobody needs any more; `None`: now.
    forget_at: Option<Instant>,
    /// Files that could not be written, and why.
    unwritten: BTreeMap<PathBuf, String>,
    challenges: Option<Arc<Challenges>>,
    /// With other nodes.
    key: Option<ShareKey>,
    listening: Option<JoinHandle<()>>,
    /// Who has been asked for what it knows, and answered or not: this node asks no authority before that.
    hearing: BTreeMap<SocketAddr, Hearing>,
    exchanged_next: Option<Instant>,
    to_orders: mpsc::Sender<(Asked, OrderEvent)>,
    to_told: mpsc::Sender<Told>,
    to_exchanged: mpsc::Sender<Exchanged>,
}

impl Drop for Issuing {
    fn drop(&mut self) {
        // Another agent takes over: the port is its.
        self.stop_listening();
    }
}

impl Issuing {
    pub(super) fn new(config: &Config) -> (Self, AcmeEvents) {
        let (to_orders, orders) = mpsc::channel(EVENTS_WAITING);
        let (to_told, told) = mpsc::channel(EVENTS_WAITING);
        let (to_exchanged, exchanged) = mpsc::channel(EVENTS_WAITING);
        let shared_key = config.sync.as_ref().and_then(|sync| read_key(&sync.key_file).ok());
        let issuing = Self {
            terms: None,
            shared: Shared::default(),
            orders: BTreeMap::new(),
            dead_account: None,
            kept: BTreeMap::new(),
            forget_at: None,
            unwritten: BTreeMap::new(),
            challenges: None,
            key: shared_key.and_then(|key| ShareKey::new(&key).ok()),
            listening: None,
            hearing: BTreeMap::new(),
            exchanged_next: None,
            to_orders,
            to_told,
            to_exchanged,
        };
        (issuing, AcmeEvents { orders, told, exchanged })
    }

    /// What the proxy answers authorities.
    pub(super) fn challenges(&self) -> Option<Arc<Challenges>> {
        self.challenges.clone()
    }

    /// What is wrong, in words.
    pub(super) fn warnings(&self) -> impl Iterator<Item = String> + '_ {
        let failed = self.orders.iter().filter_map(|(asked, ordering)| Some((asked, ordering.why()?)));
        let failed = failed.map(|(asked, why)| format!("acme: no certificate for {asked}: {why}"));
        let unwritten = self
            .unwritten
            .iter()
            .map(|(file, why)| format!("acme: {}: cannot be kept: {why}", file.display()));
        let unheard = self.hearing.iter().filter_map(|(peer, hearing)| hearing.warning(*peer));
        failed.chain(unwritten).chain(unheard)
    }

    /// Whoever wants it to be tried at once has mended something.
    pub(super) fn try_at_once(&mut self) {
        self.orders.values_mut().for_each(Ordering::try_at_once);
    }

    /// Nobody gives out certificates any more: orders end, and what was shared is forgotten.
    fn end(&mut self) {
        (self.terms, self.shared, self.exchanged_next) = (None, Shared::default(), None);
        self.orders.clear();
        self.kept.clear();
        self.unwritten.clear();
        self.hearing.clear();
        self.stop_listening();
    }

    fn stop_listening(&mut self) {
        if let Some(listening) = self.listening.take() {
            listening.abort();
        }
    }

    /// Makes what the proxy answers of what is known.
    fn follow_challenges(&mut self) -> Result<(), String> {
        let (mut answers, mut sessions) = (BTreeMap::new(), BTreeMap::new());
        let mut wrong = Ok(());
        for challenge in self.shared.challenges() {
            match challenge.kind {
                AcmeChallenge::Http01 => {
                    answers.insert(challenge.token, challenge.key_authorization);
                }
                AcmeChallenge::TlsAlpn01 => match tls::challenge(&challenge) {
                    Ok(config) => drop(sessions.insert(challenge.name.to_ascii_lowercase(), config)),
                    Err(error) => wrong = Err(error.to_string()),
                },
            }
        }
        let is_empty = answers.is_empty() && sessions.is_empty();
        self.challenges = (!is_empty).then(|| Arc::new(Challenges { answers, sessions }));
        wrong
    }
}

/// The certificates that a configuration wants of its authority, and their files.
fn wanted(config: &Config) -> BTreeMap<Asked, PathBuf> {
    let Some(acme) = &config.acme else { return BTreeMap::new() };
    let terms = config.services.values().filter_map(|service| service.tls.as_ref());
    let asked = |names: &[String]| Asked { directory: acme.directory.clone(), names: names.to_vec() };
    terms.flat_map(TlsTerms::asked_for).map(|files| (asked(&files.acme), files.file.clone())).collect()
}

impl Agent {
    /// Those that this node asks for: it serves the first VIP of the first service that wants them; of any such service, where nobody else could
    /// tell it of them.
    fn wanted_here(&self) -> BTreeSet<Asked> {
        let mut all: BTreeMap<&[String], Vec<&Service>> = BTreeMap::new();
        for service in self.config.services.values() {
            for files in service.tls.iter().flat_map(TlsTerms::asked_for) {
                all.entry(&files.acme).or_default().push(service);
            }
        }
        let is_ours = |service: &Service| service.vips.first().is_some_and(|name| self.serves(name));
        let is_alone = self.issuing.key.is_none();
        let ours = all.into_iter().filter(|(_, services)| {
            let mut deciding = services.iter().take(if is_alone { usize::MAX } else { 1 });
            deciding.any(|service| is_ours(service))
        });
        let ours: BTreeSet<&[String]> = ours.map(|(names, _)| names).collect();
        let wanted = wanted(&self.config).into_keys();
        wanted.filter(|asked| ours.contains(asked.names.as_slice())).collect()
    }

    /// Once a tick: begins what there is to begin.
    pub(super) fn watch_acme(&mut self) {
        let Some(acme) = self.config.acme.clone() else {
            if self.issuing.terms.is_some() {
                self.issuing.end();
                self.follow_challenges();
            }
            return;
        };
        let wanted = wanted(&self.config);
        self.follow_acme_terms(&acme, &wanted);
        self.keep_files(&acme, &wanted);
        self.forget_files(&acme, &wanted);
        if self.issuing.shared.forget_old(now()) {
            self.follow_challenges();
        }
        self.exchange_with_peers();
        let peers = self.config.sync.as_ref().map_or(0, |sync| sync.peers.len());
        if self.issuing.key.is_none() || self.issuing.hearing.len() >= peers {
            self.order_what_is_due(&acme);
        }
    }

    /// What is wanted no more ends; where the terms are others, they are tried at once.
    fn follow_acme_terms(&mut self, acme: &Acme, wanted: &BTreeMap<Asked, PathBuf>) {
        let issuing = &mut self.issuing;
        issuing.orders.retain(|asked, _| wanted.contains_key(asked));
        issuing.shared.retain(|item| match item {
            Item::Account(directory) => *directory == acme.directory,
            Item::Certificate(asked) => wanted.contains_key(asked),
            Item::Challenge(_) => true,
        });
        if issuing.terms.as_ref() != Some(acme) {
            issuing.terms = Some(acme.clone());
            // Those under way ask by the old terms.
            issuing.orders.clear();
            issuing.kept.clear();
            issuing.forget_at = None;
        }
    }

    pub(super) fn handle_acme(&mut self, event: AcmeEvent) {
        match event {
            AcmeEvent::Order(asked, event) => self.handle_order(asked, event),
            AcmeEvent::Told(told) => {
                self.take_shared(told.shared);
                // Who has gone away asks again.
                let _ = told.answer.send(self.issuing.shared.clone());
            }
            AcmeEvent::Exchanged(exchanged) => self.handle_exchanged(exchanged),
        }
    }

    fn follow_challenges(&mut self) {
        if let Err(why) = self.issuing.follow_challenges() {
            self.journal.record(EventKind::Warning, format!("acme: a challenge cannot be answered: {why}"));
        }
        self.follow_proxied();
    }
}
