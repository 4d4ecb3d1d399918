//! What nodes that serve the same names tell each other: when, and what a node takes of it.

use super::{Exchanged, wanted};
use crate::agent::certificates::now;
use crate::agent::state::Agent;
use crate::core::acme::{Item, Shared};
use crate::io::share::{exchange, serve};
use crate::io::tls::issued;
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tracing::debug;

/// Nodes tell each other what they have that often, besides whenever there is news.
const EXCHANGED_EVERY: Duration = Duration::from_secs(30);
/// As long as it fails.
const TRIED_EVERY: Duration = Duration::from_secs(2);

/// A peer that cannot be told for so long is warned of: an agent may be starting.
const WARNED_AFTER: Duration = Duration::from_secs(20);

/// Whether a peer hears of certificates.
#[derive(Debug, Default)]
pub(super) struct Hearing {
    /// Since when it does not, and why.
    deaf: Option<(Instant, String)>,
}

impl Hearing {
    fn note(&mut self, failure: Option<String>) {
        let since = self.deaf.take().map_or_else(Instant::now, |(since, _)| since);
        self.deaf = failure.map(|why| (since, why));
    }

    pub(super) fn warning(&self, peer: SocketAddr) -> Option<String> {
        let (_, why) = self.deaf.as_ref().filter(|(since, _)| since.elapsed() > WARNED_AFTER)?;
        Some(format!(
            "acme: peer {peer} does not hear of certificates: {why} (TCP; where host_default is \"deny\" there, a rule has to allow that port)"
        ))
    }
}

impl Agent {
    /// Opens the socket for other nodes where that failed before, and asks them for what they know when it is time.
    pub(super) fn exchange_with_peers(&mut self) {
        let (Some(sync), Some(key)) = (&self.config.sync, &self.issuing.key) else { return };
        if self.issuing.exchanged_next.is_some_and(|next| next > Instant::now()) {
            return;
        }
        if self.issuing.listening.is_none() {
            let peers = sync.peers.iter().map(SocketAddr::ip).collect();
            let (address, key, told) = (sync.address, key.clone(), self.issuing.to_told.clone());
            self.issuing.listening = Some(tokio::spawn(async move {
                // An agent that goes may have it for another moment.
                let listener = loop {
                    match TcpListener::bind(address).await {
                        Ok(listener) => break listener,
                        Err(error) => {
                            debug!(%address, %error, "nobody can tell this node of certificates yet")
                        }
                    }
                    tokio::time::sleep(TRIED_EVERY).await;
                };
                serve(listener, peers, key, told).await;
            }));
        }
        self.tell_peers(None);
        self.issuing.exchanged_next = Some(Instant::now() + EXCHANGED_EVERY);
    }

    /// Tells all peers what this node knows, and somebody when each of them has heard it, or cannot.
    pub(super) fn tell_peers(&self, done: Option<oneshot::Sender<()>>) {
        let peers = self.config.sync.iter();
        let peers = peers.flat_map(|sync| sync.peers.iter().map(|peer| (sync.address.ip(), *peer)));
        let peers: Vec<_> = peers.collect();
        let (key, shared) = (self.issuing.key.clone(), self.issuing.shared.clone());
        let to_exchanged = self.issuing.to_exchanged.clone();
        let exchanges: Vec<_> = key
            .into_iter()
            .flat_map(|key| peers.iter().map(move |peer| (*peer, key.clone())))
            .map(|((from, peer), key)| {
                let (shared, told) = (shared.clone(), to_exchanged.clone());
                async move {
                    let heard = exchange(from, peer, key, shared).await;
                    // An agent that is gone needs none.
                    let _ = told.send(Exchanged { peer, heard }).await;
                }
            })
            .collect();
        tokio::spawn(async move {
            futures_util::future::join_all(exchanges).await;
            // An order that was given up waits for nothing.
            done.map(|done| done.send(()))
        });
    }

    /// An exchange came to its end.
    pub(super) fn handle_exchanged(&mut self, Exchanged { peer, heard }: Exchanged) {
        // One that began before [acme] was taken away.
        if self.issuing.terms.is_none() {
            return;
        }
        let failure = heard.as_ref().err().map(ToString::to_string);
        self.issuing.hearing.entry(peer).or_default().note(failure);
        match heard {
            Ok(shared) => self.take_shared(shared),
            Err(error) => {
                debug!(%peer, %error, "not told of certificates");
                self.issuing.exchanged_next = Some(Instant::now() + TRIED_EVERY);
            }
        }
    }

    /// Takes what another node knows, as far as it is of this node's concern.
    pub(super) fn take_shared(&mut self, other: Shared) {
        let Some(acme) = self.config.acme.clone() else { return };
        let wanted = wanted(&self.config);
        let dead = self.issuing.dead_account.clone();
        let accept = |item: &Item, text: &str| match item {
            Item::Account(directory) => *directory == acme.directory && dead.as_deref() != Some(text),
            Item::Certificate(asked) => {
                wanted.contains_key(asked) && issued(text.as_bytes(), &asked.names).is_some()
            }
            Item::Challenge(_) => true,
        };
        let mut are_challenges_new = false;
        for item in self.issuing.shared.merge(other, now(), accept) {
            match item {
                Item::Account(_) => drop(self.keep_account(&acme)),
                Item::Certificate(asked) => {
                    // Whoever has it need not ask.
                    self.issuing.orders.remove(&asked);
                    self.write_certificate(&asked, "came from another node");
                }
                Item::Challenge(_) => are_challenges_new = true,
            }
        }
        if are_challenges_new {
            self.follow_challenges();
        }
    }
}
