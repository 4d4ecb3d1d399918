//! One peer, and a round of work for it: what it says, what it is told, and what of that is counted.

use super::stale::{Cleaning, Served, Told};
use super::{PeerNews, PeerSnapshot, Scene};
use crate::core::flow_sync::{Change, Heard, Introduction, Session, Walk};
use crate::io::dataplane::{DataplaneError, FlowCopies, Put, WalkedKeys};
use crate::io::sync::SyncSocket;
use lb_ebpf::abi::{Address, FlowKey};
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Instant;

/// What was told and heard.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::agent) struct Counts {
    pub(in crate::agent) sent_datagrams: u64,
    pub(in crate::agent) sent_bytes: u64,
    pub(in crate::agent) received_datagrams: u64,
    /// Sealed rightly, but old, malformed or of another version.
    pub(in crate::agent) refused_datagrams: u64,
    /// Flows written to the table.
    pub(in crate::agent) put: u64,
    /// Flows that were there already, and that this node knows better.
    pub(in crate::agent) kept: u64,
    /// Flows of backends that this node does not have like that.
    pub(in crate::agent) unknown_backend: u64,
    /// Flows of VIPs that are not shared here.
    pub(in crate::agent) foreign: u64,
    /// Flows that the table did not take.
    pub(in crate::agent) failed: u64,
}

/// A peer.
pub(super) struct Peer {
    pub(super) session: Session,
    pub(super) counts: Counts,
    /// Why it is told nothing, and not listened to.
    refused: Option<String>,
    walk: Option<WalkedKeys>,
    was_here: bool,
    /// VIPs that were served here since it came: it is told of their flows.
    served: Served,
    /// What it has told since it came, until that is all.
    told: Option<(Told, Instant)>,
    cleaning: Option<Cleaning>,
}

fn epoch() -> Result<u64, getrandom::Error> {
    Ok(getrandom::u64()?.max(1))
}

impl Peer {
    pub(super) fn new(introduction: Introduction) -> Result<Self, getrandom::Error> {
        let session = Session::new(epoch()?, introduction);
        Ok(Self {
            session,
            counts: Counts::default(),
            refused: None,
            walk: None,
            was_here: false,
            served: Served::default(),
            told: None,
            cleaning: None,
        })
    }

    pub(super) fn is_refused(&self) -> bool {
        self.refused.is_some()
    }

    /// Whether flows of both can be in one table, now that one of them is not what it was.
    pub(super) fn judge(&mut self, own: &Introduction) -> Vec<PeerNews> {
        let refused = self.session.introduced().and_then(|other| conflict(own, other));
        if refused == self.refused {
            return Vec::new();
        }
        self.refused.clone_from(&refused);
        self.walk = None;
        match refused {
            Some(reason) => {
                self.session.begin_again();
                vec![PeerNews::Refused(reason)]
            }
            None => {
                // What it told meanwhile was not listened to: all begins anew. Without a new epoch it stays refused for a while.
                if let Ok(epoch) = epoch() {
                    self.session = Session::new(epoch, own.clone());
                    self.was_here = false;
                }
                vec![PeerNews::Accepted]
            }
        }
    }

    /// A datagram came.
    pub(super) fn hear(
        &mut self,
        content: &[u8],
        copies: &mut FlowCopies,
        scene: &Scene,
        now: Instant,
    ) -> Vec<PeerNews> {
        self.counts.received_datagrams += 1;
        let Ok(heard) = self.session.receive(content, now) else {
            self.counts.refused_datagrams += 1;
            return Vec::new();
        };
        let mut news = Vec::new();
        for one in heard {
            match one {
                Heard::PeerCame => {
                    self.was_here = true;
                    self.served = Served::default();
                    self.served.note(&scene.active);
                    (self.told, self.cleaning) = (Some((Told::default(), now)), None);
                    news.push(PeerNews::Came);
                }
                Heard::Introduced(introduction) => {
                    if let Some((told, _)) = &mut self.told {
                        told.note_served(&introduction.active);
                    }
                    let offers = introduction.offers.clone();
                    news.push(PeerNews::Introduced(introduction));
                    news.extend(self.judge(&scene.introduction));
                    if !self.is_refused() && !offers.is_empty() {
                        news.push(PeerNews::Offers(offers));
                    }
                }
                Heard::Changed(change) if !self.is_refused() => self.apply(&change, copies, scene),
                Heard::Changed(_) => {}
                Heard::SnapshotEnded => {
                    self.begin_cleaning(copies);
                    news.push(PeerNews::SnapshotEnded);
                }
            }
        }
        news
    }

    /// These VIPs are served here. If there is one that was not since the peer came, as after a restart, it was told without its flows, and there may
    /// be some from before.
    pub(super) fn tell_of_taken(&mut self, active: &BTreeSet<Address>) {
        if self.served.note(active) && self.was_here {
            self.session.begin_again();
        }
    }

    /// What it has not told by now has ended, if it has served the VIP since it came.
    fn begin_cleaning(&mut self, copies: &FlowCopies) {
        let Some((told, came)) = self.told.take().filter(|_| !self.is_refused()) else { return };
        self.cleaning = Some(Cleaning::new(copies, told, came));
    }

    /// Takes out some more of what it has not told.
    pub(super) fn clean(&mut self, copies: &mut FlowCopies, scene: &Scene) -> Result<(), DataplaneError> {
        if let Some(cleaning) = &mut self.cleaning
            && !cleaning.go_on(copies, &scene.active)?
        {
            self.cleaning = None;
        }
        Ok(())
    }

    /// The Active router of a VIP knows its flows better than anybody else.
    fn apply(&mut self, change: &Change, copies: &mut FlowCopies, scene: &Scene) {
        if let (Some((told, _)), Change::Put(copy)) = (&mut self.told, change) {
            told.note(&copy.key);
        }
        let counts = &mut self.counts;
        let vip = match change {
            Change::Put(copy) => copy.key.destination,
            Change::Remove(key) => key.destination,
        };
        let is_active = scene.active.contains(&vip);
        let outcome = match change {
            _ if !scene.shared.contains(&vip) => return counts.foreign += 1,
            Change::Put(copy) => copies.put(copy, is_active),
            Change::Remove(_) if is_active => Ok(Put::Kept),
            Change::Remove(key) => copies.remove(key).map(|_| Put::Done),
        };
        let count = match outcome {
            Ok(Put::Done) => &mut counts.put,
            Ok(Put::Kept) => &mut counts.kept,
            Ok(Put::UnknownBackend) => &mut counts.unknown_backend,
            Err(_) => &mut counts.failed,
        };
        *count += 1;
    }

    /// Goes on with what its session wants of the table.
    pub(super) fn walk(
        &mut self,
        copies: &FlowCopies,
        told: &BTreeSet<Address>,
    ) -> Result<(), DataplaneError> {
        if self.is_refused() {
            return Ok(());
        }
        match self.session.walk() {
            Walk::Rest => return Ok(()),
            Walk::Begin => self.walk = Some(copies.begin_walk()),
            Walk::GoOn => {}
        }
        let Some(walk) = &mut self.walk else {
            self.session.begin_again();
            return Ok(());
        };
        match copies.walk(walk) {
            Ok(Some(flows)) => {
                let keys = flows.into_iter().map(|(key, _)| key);
                self.session.walk_by(keys.filter(|key| told.contains(&key.destination)));
            }
            Ok(None) => {
                self.walk = None;
                self.session.end_walk();
            }
            Err(error) => {
                self.walk = None;
                self.session.begin_again();
                return Err(error);
            }
        }
        Ok(())
    }

    /// Sends what is to be said now.
    pub(super) fn tell(
        &mut self,
        at: SocketAddr,
        socket: &SyncSocket,
        copies: &FlowCopies,
        scene: &Scene,
        now: Instant,
    ) -> Vec<PeerNews> {
        let read = |key: &FlowKey| match copies.read(key) {
            Some(copy) => scene.shared.contains(&copy.key.destination).then_some(Change::Put(copy)),
            None => scene.shared.contains(&key.destination).then_some(Change::Remove(*key)),
        };
        while let Some(datagram) = self.session.poll(now, read) {
            self.counts.sent_datagrams += 1;
            self.counts.sent_bytes += socket.send(at, datagram) as u64;
        }
        if self.was_here && !self.session.is_here() {
            self.was_here = false;
            return vec![PeerNews::Left];
        }
        Vec::new()
    }

    pub(super) fn snapshot(&self) -> PeerSnapshot {
        PeerSnapshot {
            is_here: self.session.is_here(),
            introduced: self.session.introduced().cloned(),
            refused: self.refused.clone(),
            has_snapshot: self.session.has_snapshot(),
            has_been_told: self.session.is_quiet(),
            is_settled: self.session.is_settled(),
            waiting: self.session.waiting(),
            counts: self.counts,
        }
    }
}

/// Why flows of two nodes cannot be in one table.
fn conflict(own: &Introduction, other: &Introduction) -> Option<String> {
    if own.node == other.node {
        return Some(format!("it is named {} as this node is; give each its own node.name", own.node));
    }
    own.nat_ports.overlaps(other.nat_ports).then(|| {
        format!(
            "its node.nat_ports {} overlap this node's {}; give each node ports of its own, such as 2048-17407 and 17408-32767",
            other.nat_ports, own.nat_ports
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::PortRange;

    fn introduction(name: &str, first: u16, last: u16) -> Introduction {
        Introduction {
            node: name.parse().expect("a name"),
            nat_ports: PortRange::new(first, last).expect("a range"),
            fingerprint: 0,
            active: Vec::new(),
            down: Vec::new(),
            offers: Vec::new(),
            wants_snapshot: false,
        }
    }

    #[test]
    fn nodes_of_one_name_or_with_common_ports_are_no_peers() {
        let own = introduction("lb1", 2048, 4095);
        assert_eq!(conflict(&own, &introduction("lb2", 4096, 8191)), None);
        let words = conflict(&own, &introduction("lb2", 4095, 8191)).expect("they overlap");
        assert!(words.contains("4095-8191") && words.contains("2048-4095"), "{words}");
        let words = conflict(&own, &introduction("lb1", 4096, 8191)).expect("one name");
        assert!(words.contains("node.name"), "{words}");
    }
}
