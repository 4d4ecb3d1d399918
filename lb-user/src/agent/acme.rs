//! Certificates that an authority is asked for: when, by which node, and what becomes of them.
//!
//! Of the nodes that serve a name the one asks that serves the first VIP of its service. What it gets the others are told, with the account
//! and the answers to challenges, because the authority may ask any of them. The certificate is a file like any other for all that
//! follows. Owns what is shared, the orders, and when they are tried again.

mod peers;

use super::certificates::now;
use super::state::Agent;
use crate::api::EventKind;
use crate::config::{Acme, Config, Service, TlsTerms};
use crate::core::acme::{Item, Shared, again_after, renewal};
use crate::core::certificate::CertificateFacts;
use crate::io::acme::{OrderEvent, kept, order};
use crate::io::proxy::Challenges;
use crate::io::share::{ShareKey, Told};
use crate::io::sync::read_key;
use crate::io::tls;
use crate::model::AcmeChallenge;
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

const EVENTS_WAITING: usize = 16;

type Names = Vec<String>;

/// The order of one certificate.
#[derive(Default)]
struct Ordering {
    is_under_way: bool,
    failures: u32,
    /// Not before.
    again: Option<Instant>,
    why: Option<String>,
}

/// What an exchange with a peer came to.
pub(super) struct Exchanged {
    peer: SocketAddr,
    heard: std::io::Result<Shared>,
}

/// What happened.
pub(super) enum AcmeEvent {
    Order(Names, OrderEvent),
    Told(Told),
    Exchanged(Exchanged),
}

/// Where that is told.
pub(super) struct AcmeEvents {
    orders: mpsc::Receiver<(Names, OrderEvent)>,
    told: mpsc::Receiver<Told>,
    exchanged: mpsc::Receiver<Exchanged>,
}

impl AcmeEvents {
    pub(super) async fn next(&mut self) -> Option<AcmeEvent> {
        tokio::select! {
            Some((names, event)) = self.orders.recv() => Some(AcmeEvent::Order(names, event)),
            Some(told) = self.told.recv() => Some(AcmeEvent::Told(told)),
            Some(exchanged) = self.exchanged.recv() => Some(AcmeEvent::Exchanged(exchanged)),
            else => None,
        }
    }
}

/// All of it.
pub(super) struct Issuing {
    shared: Shared,
    /// What is kept there is known.
    read_from: Option<PathBuf>,
    orders: BTreeMap<Names, Ordering>,
    challenges: Option<Arc<Challenges>>,
    /// With other nodes.
    key: Option<ShareKey>,
    listening: Option<JoinHandle<()>>,
    /// Who has been asked for what it knows, and answered or not: this node asks no authority before that.
    asked: BTreeSet<SocketAddr>,
    exchanged_next: Option<Instant>,
    to_orders: mpsc::Sender<(Names, OrderEvent)>,
    to_told: mpsc::Sender<Told>,
    to_exchanged: mpsc::Sender<Exchanged>,
}

impl Drop for Issuing {
    fn drop(&mut self) {
        // Another agent takes over: the port is its.
        if let Some(listening) = &self.listening {
            listening.abort();
        }
    }
}

impl Issuing {
    pub(super) fn new(config: &Config) -> (Self, AcmeEvents) {
        let (to_orders, orders) = mpsc::channel(EVENTS_WAITING);
        let (to_told, told) = mpsc::channel(EVENTS_WAITING);
        let (to_exchanged, exchanged) = mpsc::channel(EVENTS_WAITING);
        let shared_key = config.sync.as_ref().and_then(|sync| read_key(&sync.key_file).ok());
        let issuing = Self {
            shared: Shared::default(),
            read_from: None,
            orders: BTreeMap::new(),
            challenges: None,
            key: shared_key.and_then(|key| ShareKey::new(&key).ok()),
            listening: None,
            asked: BTreeSet::new(),
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
        let failed = self.orders.iter().filter_map(|(names, ordering)| Some((names, ordering.why.as_ref()?)));
        failed.map(|(names, why)| format!("acme: no certificate for {}: {why}", names.join(", ")))
    }

    /// Finds what was kept before.
    fn read_kept(&mut self, acme: &Acme, wanted: &BTreeMap<Names, PathBuf>) {
        if let Some((made, account)) = kept::account(acme) {
            self.shared.put(Item::Account(acme.directory.clone()), made, account);
        }
        for (names, file) in wanted {
            if let Some(text) = kept::certificate(file)
                && let Some(facts) = facts(&text)
            {
                self.shared.put(Item::Certificate(names.clone()), facts.not_before, text);
            }
        }
        self.read_from = Some(acme.folder.clone());
    }

    /// The certificates that should be asked for now.
    fn due(&self, wanted: &BTreeSet<Names>) -> Vec<Names> {
        let is_due = |names: &&Names| {
            let ordering = self.orders.get(*names);
            let rests = ordering
                .is_some_and(|one| one.is_under_way || one.again.is_some_and(|again| again > Instant::now()));
            let known = self.shared.get(&Item::Certificate((*names).clone())).and_then(facts);
            !rests && known.is_none_or(|facts| renewal(facts.not_before, facts.not_after) <= now())
        };
        wanted.iter().filter(is_due).cloned().collect()
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

/// What a file of a certificate and its key says.
fn facts(text: &str) -> Option<CertificateFacts> {
    tls::first_certificate(text.as_bytes())
}

/// The certificates that a configuration wants of an authority, and their files.
fn wanted(config: &Config) -> BTreeMap<Names, PathBuf> {
    let terms = config.services.values().filter_map(|service| service.tls.as_ref());
    terms.flat_map(TlsTerms::asked_for).map(|files| (files.acme.clone(), files.file.clone())).collect()
}

impl Agent {
    /// Those that this node asks for: it serves the first VIP of a service that wants them.
    fn wanted_here(&self) -> BTreeSet<Names> {
        let is_ours = |service: &&Service| service.vips.first().is_some_and(|name| self.serves(name));
        let terms = self.config.services.values().filter(is_ours).filter_map(|service| service.tls.as_ref());
        terms.flat_map(TlsTerms::asked_for).map(|files| files.acme.clone()).collect()
    }

    /// Once a tick: begins what there is to begin.
    pub(super) fn watch_acme(&mut self) {
        let Some(acme) = self.config.acme.clone() else { return };
        let wanted = wanted(&self.config);
        if self.issuing.read_from.as_ref() != Some(&acme.folder) {
            self.issuing.read_kept(&acme, &wanted);
        }
        self.issuing.orders.retain(|names, ordering| wanted.contains_key(names) || ordering.is_under_way);
        if self.issuing.shared.forget_old(now()) {
            self.follow_challenges();
        }
        self.exchange_with_peers();
        let peers = self.config.sync.as_ref().map_or(0, |sync| sync.peers.len());
        if self.issuing.key.is_some() && self.issuing.asked.len() < peers {
            return;
        }
        for names in self.issuing.due(&self.wanted_here()) {
            let message =
                format!("acme: {} is asked for a certificate for {}", acme.directory, names.join(", "));
            self.journal.record(EventKind::ConfigChanged, message);
            let account = self.issuing.shared.get(&Item::Account(acme.directory.clone())).map(str::to_owned);
            self.issuing.orders.entry(names.clone()).or_default().is_under_way = true;
            tokio::spawn(order(acme.clone(), account, names, self.issuing.to_orders.clone()));
        }
    }

    pub(super) fn handle_acme(&mut self, event: AcmeEvent) {
        match event {
            AcmeEvent::Order(names, event) => self.handle_order(names, event),
            AcmeEvent::Told(told) => {
                self.take_shared(told.shared);
                // Who has gone away asks again.
                let _ = told.answer.send(self.issuing.shared.clone());
            }
            AcmeEvent::Exchanged(exchanged) => self.handle_exchanged(exchanged),
        }
    }

    fn handle_order(&mut self, names: Names, event: OrderEvent) {
        let Some(acme) = self.config.acme.clone() else { return };
        match event {
            OrderEvent::AccountMade(account) => {
                if let Err(error) = kept::keep_account(&acme, &account) {
                    let message =
                        format!("acme: the account cannot be kept in {}: {error}", acme.folder.display());
                    self.journal.record(EventKind::Warning, message);
                }
                self.issuing.shared.put(Item::Account(acme.directory.clone()), now(), account);
                self.tell_peers(None);
            }
            OrderEvent::Challenged(challenges, can_answer) => {
                for challenge in &challenges {
                    self.issuing.shared.put_challenge(challenge, now());
                }
                self.follow_challenges();
                self.tell_peers(Some(can_answer));
            }
            OrderEvent::Issued(pem) => {
                self.issuing.orders.remove(&names);
                let made = facts(&pem).map_or_else(now, |facts| facts.not_before);
                self.issuing.shared.put(Item::Certificate(names.clone()), made, pem.clone());
                self.keep_certificate(&names, &pem, "has been issued");
                self.tell_peers(None);
            }
            OrderEvent::Failed(why) => {
                let ordering = self.issuing.orders.entry(names.clone()).or_default();
                ordering.is_under_way = false;
                ordering.failures = ordering.failures.saturating_add(1);
                let rest = again_after(ordering.failures);
                ordering.again = Some(Instant::now() + rest);
                ordering.why = Some(why.clone());
                let names = names.join(", ");
                let rest = humantime::format_duration(rest);
                let message = format!("acme: no certificate for {names}: {why}; asked for again in {rest}");
                self.journal.record(EventKind::Warning, message);
            }
        }
    }

    fn keep_certificate(&mut self, names: &Names, pem: &str, how: &str) {
        let Some(file) = wanted(&self.config).remove(names) else { return };
        let listed = names.join(", ");
        if let Err(error) = kept::keep(&file, pem) {
            let message =
                format!("acme: {}: the certificate for {listed} cannot be kept: {error}", file.display());
            self.journal.record(EventKind::Warning, message);
            return;
        }
        self.journal.record(EventKind::ConfigChanged, format!("acme: the certificate for {listed} {how}"));
        self.read_certificates_in(&file);
    }

    fn follow_challenges(&mut self) {
        if let Err(why) = self.issuing.follow_challenges() {
            self.journal.record(EventKind::Warning, format!("acme: a challenge cannot be answered: {why}"));
        }
        self.follow_proxied();
    }
}
