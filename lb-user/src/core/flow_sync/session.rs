//! What one node has told another of its flows, and what it still has to tell.
//!
//! Holds keys, never bytes: a datagram is made from what flows are when it is sent, and the keys of a lost one are told again. So what is
//! waiting is bounded, however slow the other node is, and what changed twice is told once. Where too much waits, or the other node was away,
//! the whole table is told anew: a snapshot, which the shell walks and this paces.
//!
//! Both nodes have an epoch, a random number of each start. One is learnt only from a datagram that names one's own, which no recorded one
//! of an earlier time does, and one that has ended never comes back.

use super::copy::Change;
use super::datagram::{DatagramError, Fate, HEADER_BYTES, Header, Kind, Received};
use super::heard::{Heard, SNAPSHOT_ENDED, read};
use super::introduction::Introduction;
use super::snapshot::{Snapshot, Walk};
use super::waiting::Waiting;
use lb_ebpf::abi::FlowKey;
use std::collections::{BTreeSet, HashSet, VecDeque};
use std::time::{Duration, Instant};

/// Bytes of a datagram, without what seals it: fits the smallest usual MTU.
const DATAGRAM_BYTES: usize = 1350;
/// Numbers that may be open at one time: as many as an acknowledgement has bits for.
const WINDOW: u64 = 64;
/// What is not acknowledged after this is told again.
const TELL_AGAIN_AFTER: Duration = Duration::from_millis(100);
/// Nodes introduce themselves so often, whatever else they have to tell.
const HELLO_EVERY: Duration = Duration::from_millis(200);
/// Who is not heard for so long is away.
const AWAY_AFTER: Duration = Duration::from_secs(3);
/// With fewer waiting, a walk goes on.
const WALK_BELOW: usize = 1024;
struct Sent {
    sequence: u64,
    at: Instant,
    keys: Vec<FlowKey>,
    ends_snapshot: bool,
}

/// One node's side.
pub struct Session {
    epoch: u64,
    /// The other's epoch, once it is known.
    peer: Option<u64>,
    ended_epochs: BTreeSet<u64>,
    is_here: bool,
    heard_at: Option<Instant>,
    introduction: Introduction,
    /// What the other said of itself last, and with which number.
    introduced: Option<(u64, Introduction)>,
    received: Received,
    sequence: u64,
    hello_sequence: u64,
    sent: VecDeque<Sent>,
    waiting: Waiting,
    snapshot: Snapshot,
    /// Walked by, and not acknowledged.
    walked: HashSet<FlowKey>,
    /// Whom to answer, and to whom we are not known.
    greet: Option<u64>,
    acknowledge: bool,
    greeted_at: Option<Instant>,
    /// When somebody who does not know us was answered.
    answered_at: Option<Instant>,
    snapshot_received: bool,
}

/// Whether something was, and less than that ago.
fn is_recent(at: Option<Instant>, within: Duration, now: Instant) -> bool {
    at.is_some_and(|at| now.saturating_duration_since(at) < within)
}

impl Session {
    /// With the epoch of this start, random and not 0.
    pub fn new(epoch: u64, introduction: Introduction) -> Self {
        Self {
            epoch,
            peer: None,
            ended_epochs: BTreeSet::new(),
            is_here: false,
            heard_at: None,
            introduction,
            introduced: None,
            received: Received::default(),
            sequence: 0,
            hello_sequence: 0,
            sent: VecDeque::new(),
            waiting: Waiting::default(),
            snapshot: Snapshot::Wanted,
            walked: HashSet::new(),
            greet: None,
            acknowledge: false,
            greeted_at: None,
            answered_at: None,
            snapshot_received: false,
        }
    }

    /// Whether the other node is heard.
    pub fn is_here(&self) -> bool {
        self.is_here
    }

    /// What the other node says of itself, once it was heard.
    pub fn introduced(&self) -> Option<&Introduction> {
        self.introduced.as_ref().map(|(_, introduction)| introduction)
    }

    /// From now on this node introduces itself so.
    pub fn introduce(&mut self, introduction: Introduction) {
        let introduction = Introduction { wants_snapshot: self.introduction.wants_snapshot, ..introduction };
        if self.introduction != introduction {
            self.introduction = introduction;
            self.greeted_at = None;
        }
    }

    /// Whether it has told all of its flows, in the epoch it is in.
    pub fn has_snapshot(&self) -> bool {
        self.snapshot_received
    }

    /// How many flows it is still to be told.
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Whether so few of them are left that more may come at once.
    pub fn has_room(&self) -> bool {
        self.waiting.len() < WALK_BELOW
    }

    /// Whether it has been told all flows there were, and what came since is on its way.
    pub fn is_settled(&self) -> bool {
        self.is_here && self.snapshot == Snapshot::Done && self.has_room()
    }

    /// Whether all that it has to know has been acknowledged.
    pub fn is_quiet(&self) -> bool {
        self.snapshot == Snapshot::Done && self.waiting.is_empty() && self.sent.is_empty()
    }

    /// A flow has begun here, changed, or ended.
    pub fn change(&mut self, key: FlowKey) {
        // Who is not here will be told all.
        if self.is_here && self.waiting.push(key).is_err() {
            self.begin_again();
        }
    }

    /// Tells all flows anew: something was missed.
    pub fn begin_again(&mut self) {
        self.waiting.clear();
        self.walked.clear();
        self.sent.iter_mut().for_each(|sent| sent.ends_snapshot = false);
        self.snapshot = Snapshot::Wanted;
    }

    /// What to do about the walk. `Begin` is said once.
    pub fn walk(&mut self) -> Walk {
        match self.snapshot {
            Snapshot::Wanted if self.is_here => {
                self.snapshot = Snapshot::Walking;
                Walk::Begin
            }
            Snapshot::Walking if self.is_here && self.has_room() => Walk::GoOn,
            _ => Walk::Rest,
        }
    }

    /// The walk came by these.
    pub fn walk_by(&mut self, keys: impl IntoIterator<Item = FlowKey>) {
        if self.snapshot != Snapshot::Walking {
            return;
        }
        for key in keys {
            self.change(key);
            // Too many were waiting: all of it begins again.
            if self.snapshot != Snapshot::Walking {
                return;
            }
            self.walked.insert(key);
        }
    }

    /// The walk is at its end.
    pub fn end_walk(&mut self) {
        if self.snapshot == Snapshot::Walking {
            self.snapshot = Snapshot::Draining;
        }
    }

    /// Takes a datagram in, whose seal was right.
    ///
    /// # Errors
    /// It is refused, and changes nothing.
    pub fn receive(&mut self, bytes: &[u8], now: Instant) -> Result<Vec<Heard>, DatagramError> {
        let (header, payload) = Header::decode(bytes)?;
        if header.from_epoch == self.epoch {
            return Err(DatagramError::Own);
        }
        let mut said = read(header.kind, payload)?;
        if self.ended_epochs.contains(&header.from_epoch) {
            return Err(DatagramError::Ended);
        }
        if header.to_epoch != self.epoch {
            // It does not know us, or is an old one: an answer does no harm, if it is one of a few.
            if !is_recent(self.answered_at, HELLO_EVERY, now) {
                self.answered_at = Some(now);
                self.greet = Some(header.from_epoch);
            }
            return Ok(Vec::new());
        }
        let mut heard = Vec::new();
        if self.peer != Some(header.from_epoch) {
            self.meet(header.from_epoch);
        }
        if header.kind == Kind::Data && self.introduced.is_none() {
            // Whose flows these are is not known yet. They are not acknowledged, so they come again.
            self.greet = Some(header.from_epoch);
            return Ok(heard);
        }
        // What was recorded is no sign of life, and acknowledgements are not told apart from that.
        let is_new = match header.kind {
            Kind::Hello => self.introduced.as_ref().is_none_or(|(before, _)| *before < header.sequence),
            Kind::Data => self.received.accept(header.sequence),
            Kind::Acknowledgement => false,
        };
        if is_new {
            self.heard_at = Some(now);
            if !self.is_here {
                self.is_here = true;
                heard.push(Heard::PeerCame);
            }
        }
        self.take_acknowledgement(header.received);
        if header.kind == Kind::Hello {
            heard.extend(self.take_introduction(header.sequence, said));
        } else if header.kind == Kind::Data {
            self.acknowledge = true;
            if is_new {
                if said.contains(&Heard::SnapshotEnded) {
                    self.snapshot_received = true;
                    self.introduction.wants_snapshot = false;
                }
                heard.append(&mut said);
            }
        }
        Ok(heard)
    }

    /// Says what is new in it.
    fn take_introduction(&mut self, sequence: u64, said: Vec<Heard>) -> Option<Heard> {
        let Some(Heard::Introduced(introduction)) = said.into_iter().next() else { return None };
        let known = self.introduced.as_ref();
        if known.is_some_and(|(before, _)| *before >= sequence) {
            return None;
        }
        let is_new = known.is_none_or(|(_, known)| *known != introduction);
        let wanted_one = known.is_some_and(|(_, known)| known.wants_snapshot);
        if introduction.wants_snapshot && !wanted_one && self.snapshot == Snapshot::Done {
            self.begin_again();
        }
        self.introduced = Some((sequence, introduction.clone()));
        is_new.then_some(Heard::Introduced(introduction))
    }

    fn meet(&mut self, epoch: u64) {
        if let Some(ended) = self.peer.replace(epoch) {
            self.ended_epochs.insert(ended);
        }
        self.greet = Some(epoch);
        self.is_here = false;
        self.introduced = None;
        self.received = Received::default();
        self.snapshot_received = false;
        self.sent.clear();
        self.begin_again();
    }

    fn take_acknowledgement(&mut self, received: Received) {
        for sent in std::mem::take(&mut self.sent) {
            match received.fate(sent.sequence) {
                Fate::Open => self.sent.push_back(sent),
                Fate::Lost => self.tell_again(sent),
                Fate::Received => {
                    for key in &sent.keys {
                        self.walked.remove(key);
                    }
                    if sent.ends_snapshot && self.snapshot == Snapshot::Draining {
                        self.snapshot = Snapshot::Done;
                    }
                }
            }
        }
    }

    fn tell_again(&mut self, lost: Sent) {
        lost.keys.into_iter().for_each(|key| self.change(key));
    }

    /// The next datagram to send; `None`: none for now. `read` says what a flow is like, if that is
    /// the other's business.
    pub fn poll(
        &mut self,
        now: Instant,
        mut read: impl FnMut(&FlowKey) -> Option<Change>,
    ) -> Option<Vec<u8>> {
        let is_over = |at: Option<Instant>, after: Duration| !is_recent(at, after, now);
        if self.is_here && is_over(self.heard_at, AWAY_AFTER) {
            self.is_here = false;
            // What it had to say meanwhile, it says in a snapshot, which is asked for.
            self.snapshot_received = false;
            self.introduction.wants_snapshot = true;
            self.sent.clear();
            self.begin_again();
        }
        if self.sent.front().is_some_and(|sent| is_over(Some(sent.at), TELL_AGAIN_AFTER)) {
            std::mem::take(&mut self.sent).into_iter().for_each(|sent| self.tell_again(sent));
        }
        if let Some(epoch) = self.greet.take() {
            let greeted_at = self.greeted_at;
            let datagram = self.greet(epoch, now);
            if self.peer != Some(epoch) {
                // Whom we know is still to hear from us in its time.
                self.greeted_at = greeted_at;
            }
            return Some(datagram);
        }
        if is_over(self.greeted_at, HELLO_EVERY) {
            return Some(self.greet(self.peer.unwrap_or(0), now));
        }
        let ends_snapshot = self.snapshot == Snapshot::Draining
            && self.walked.is_empty()
            && !self.sent.iter().any(|sent| sent.ends_snapshot);
        let open = self.sent.front().map_or(0, |sent| self.sequence + 1 - sent.sequence);
        if self.is_here && open < WINDOW && (ends_snapshot || !self.waiting.is_empty()) {
            return Some(self.tell(ends_snapshot, now, &mut read));
        }
        let is_due = std::mem::take(&mut self.acknowledge);
        is_due.then(|| self.say(Kind::Acknowledgement, self.peer.unwrap_or(0), 0))
    }

    fn greet(&mut self, to_epoch: u64, now: Instant) -> Vec<u8> {
        self.greeted_at = Some(now);
        self.hello_sequence += 1;
        let mut datagram = self.say(Kind::Hello, to_epoch, self.hello_sequence);
        self.introduction.encode(&mut datagram);
        datagram
    }

    fn say(&self, kind: Kind, to_epoch: u64, sequence: u64) -> Vec<u8> {
        // Of another epoch than the one that is known, nothing was received.
        let known = self.peer == Some(to_epoch);
        let received = if known { self.received } else { Received::default() };
        Header { kind, from_epoch: self.epoch, to_epoch, sequence, received }.encode()
    }

    fn tell(
        &mut self,
        ends_snapshot: bool,
        now: Instant,
        read: &mut impl FnMut(&FlowKey) -> Option<Change>,
    ) -> Vec<u8> {
        self.sequence += 1;
        self.acknowledge = false;
        let mut datagram = self.say(Kind::Data, self.peer.unwrap_or(0), self.sequence);
        let mut keys = Vec::new();
        if ends_snapshot {
            datagram.push(SNAPSHOT_ENDED);
        }
        while datagram.len() + Change::MAX_BYTES <= DATAGRAM_BYTES
            && let Some(key) = self.waiting.pop()
        {
            match read(&key) {
                Some(change) => {
                    change.encode(&mut datagram);
                    keys.push(key);
                }
                None => drop(self.walked.remove(&key)),
            }
        }
        self.sent.push_back(Sent { sequence: self.sequence, at: now, keys, ends_snapshot });
        datagram
    }
}

const _: () = assert!(HEADER_BYTES + 1 + Change::MAX_BYTES <= DATAGRAM_BYTES);

#[cfg(test)]
mod tests;
