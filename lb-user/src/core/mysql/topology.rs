//! Which of a service's backends takes writes, and which can answer reads: from what each of them says of itself.
//!
//! Owns the judgement and the measure of lag: how long ago the primary was where a replica is now. Two that take writes are none: nobody
//! but an operator knows which of them is right. Never asks anybody.

use super::protocol::gtid::GtidPosition;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::time::{Duration, Instant};

/// What a backend says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Observation {
    /// It takes no writes of ordinary users.
    pub is_read_only: bool,
    /// Its replication, where it is set up.
    pub replication: Option<Replication>,
    /// Which transactions it has.
    pub position: GtidPosition,
}

/// How a replica fares.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replication {
    /// It hears from its source, and repeats what it hears.
    pub is_running: bool,
    /// Where its source is, as it says itself.
    pub source: String,
    /// What went wrong last; empty: nothing.
    pub error: String,
}

/// What a backend is good for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Role {
    /// It takes writes.
    Primary,
    /// It answers reads; it is that far behind.
    Replica(Duration),
    /// It answers nothing: why.
    Unfit(Unfit),
}

/// Why a backend answers nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unfit {
    /// It has not been asked yet.
    Unknown,
    /// It did not answer.
    Silent(String),
    /// Another one takes writes, too.
    OneOfSeveral,
    /// Others have not been asked yet: one of them may be the primary.
    NotChosenYet,
    /// It repeats nobody's transactions, or has stopped to.
    NotReplicating(String),
    /// It is too far behind.
    Behind(Duration),
}

impl fmt::Display for Unfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown => f.write_str("it has not been asked yet"),
            Self::Silent(why) => write!(f, "it does not answer: {why}"),
            Self::OneOfSeveral => f.write_str("it takes writes, and so does another one: none is chosen"),
            Self::NotChosenYet => f.write_str("others have not been asked yet"),
            Self::NotReplicating(why) if why.is_empty() => f.write_str("it does not replicate"),
            Self::NotReplicating(why) => write!(f, "it does not replicate: {why}"),
            Self::Behind(lag) => write!(f, "it is {} behind", humantime::format_duration(*lag)),
        }
    }
}

/// Positions of the primary that are remembered.
const SAMPLES_MAX: usize = 256;

/// All backends of a service, by any name.
#[derive(Clone, Debug)]
pub struct Topology<K> {
    /// All that there are, whether anything is known of them or not.
    all: BTreeSet<K>,
    known: BTreeMap<K, Result<Observation, String>>,
    /// Where the primary was, and when; the latest last.
    samples: VecDeque<(Instant, GtidPosition)>,
    primary: Option<K>,
}

impl<K> Default for Topology<K> {
    fn default() -> Self {
        Self { all: BTreeSet::new(), known: BTreeMap::new(), samples: VecDeque::new(), primary: None }
    }
}

impl<K: Ord + Clone> Topology<K> {
    /// A backend was asked.
    pub fn observe(&mut self, backend: K, found: Result<Observation, String>, now: Instant) {
        self.known.insert(backend, found);
        self.choose();
        let Some(primary) = &self.primary else { return };
        let Some(Ok(observation)) = self.known.get(primary) else { return };
        if self.samples.back().is_none_or(|(_, position)| *position != observation.position) {
            if self.samples.len() >= SAMPLES_MAX {
                self.samples.pop_front();
            }
            self.samples.push_back((now, observation.position.clone()));
        }
    }

    /// These are the backends of it.
    pub fn consist_of(&mut self, all: impl IntoIterator<Item = K>) {
        self.all = all.into_iter().collect();
        self.known.retain(|backend, _| self.all.contains(backend));
        self.choose();
    }

    /// It is not what it was: nothing is known of it.
    pub fn forget(&mut self, backend: &K) {
        self.known.remove(backend);
        if self.primary.as_ref() == Some(backend) {
            self.primary = None;
        }
        self.choose();
    }

    fn choose(&mut self) {
        let mut writable = self.writable();
        let (first, second) = (writable.next().cloned(), writable.next().is_some());
        drop(writable);
        let only = first.filter(|_| !second);
        let are_all_known = self.all.iter().all(|backend| self.known.contains_key(backend));
        // One that has not been asked yet may take writes, too. Who was chosen before it came stays.
        self.primary = only.filter(|only| are_all_known || self.primary.as_ref() == Some(only));
    }

    /// What a backend said last.
    pub fn observation(&self, backend: &K) -> Option<&Observation> {
        self.known.get(backend)?.as_ref().ok()
    }

    fn writable(&self) -> impl Iterator<Item = &K> {
        let is_writable =
            |found: &Result<Observation, String>| found.as_ref().is_ok_and(|one| !one.is_read_only);
        self.known.iter().filter(move |(_, found)| is_writable(found)).map(|(backend, _)| backend)
    }

    /// The one that takes writes, if it is one.
    pub fn primary(&self) -> Option<K> {
        self.primary.clone()
    }

    /// Whether one takes writes that is not chosen, because others have not been asked yet.
    pub fn is_undecided(&self) -> bool {
        self.primary.is_none() && self.writable().count() == 1
    }

    /// All that take writes where these are several.
    pub fn rivals(&self) -> Vec<K> {
        let all: Vec<K> = self.writable().cloned().collect();
        if all.len() > 1 { all } else { Vec::new() }
    }

    /// What a backend is good for, where replicas may be `max_lag` behind.
    pub fn role(&self, backend: &K, max_lag: Duration, now: Instant) -> Role {
        let observation = match self.known.get(backend) {
            None => return Role::Unfit(Unfit::Unknown),
            Some(Err(why)) => return Role::Unfit(Unfit::Silent(why.clone())),
            Some(Ok(observation)) => observation,
        };
        if !observation.is_read_only {
            return match &self.primary {
                Some(primary) if primary == backend => Role::Primary,
                _ if self.rivals().is_empty() => Role::Unfit(Unfit::NotChosenYet),
                _ => Role::Unfit(Unfit::OneOfSeveral),
            };
        }
        match &observation.replication {
            Some(replication) if replication.is_running => {}
            other => {
                let why = other.as_ref().map(|replication| replication.error.clone()).unwrap_or_default();
                return Role::Unfit(Unfit::NotReplicating(why));
            }
        }
        if self.samples.is_empty() && self.all.iter().any(|backend| !self.known.contains_key(backend)) {
            return Role::Unfit(Unfit::NotChosenYet);
        }
        match self.lag(observation, now) {
            lag if lag > max_lag => Role::Unfit(Unfit::Behind(lag)),
            lag => Role::Replica(lag),
        }
    }

    /// How long ago the primary went on from what the replica has.
    fn lag(&self, replica: &Observation, now: Instant) -> Duration {
        let mut went_on = None;
        for (at, position) in self.samples.iter().rev() {
            if replica.position.contains(position) {
                return went_on.map_or(Duration::ZERO, |at| now.saturating_duration_since(at));
            }
            went_on = Some(*at);
        }
        // It has less than anything that is remembered: at least so long.
        went_on.map_or(Duration::ZERO, |at| now.saturating_duration_since(at))
    }
}

#[cfg(test)]
mod tests {
    use super::super::protocol::capabilities::Flavor;
    use super::*;

    const MAX_LAG: Duration = Duration::from_secs(5);

    fn observation(is_read_only: bool, gtid: &str, is_running: bool) -> Result<Observation, String> {
        let position = GtidPosition::parse(Flavor::MariaDb, gtid.as_bytes()).expect("a position");
        let replication = Replication {
            is_running,
            source: "db1".into(),
            error: if is_running { "" } else { "1062" }.into(),
        };
        Ok(Observation { is_read_only, replication: is_read_only.then_some(replication), position })
    }

    #[test]
    fn the_one_that_is_writable_is_the_primary_and_two_are_none() {
        let (mut topology, now) = (Topology::default(), Instant::now());
        topology.consist_of([1, 2]);
        assert_eq!(topology.role(&1, MAX_LAG, now), Role::Unfit(Unfit::Unknown));
        topology.observe(1, observation(false, "0-1-5", true), now);
        topology.observe(2, observation(true, "0-1-5", true), now);
        assert_eq!(topology.primary(), Some(1));
        assert_eq!(topology.role(&1, MAX_LAG, now), Role::Primary);
        assert_eq!(topology.role(&2, MAX_LAG, now), Role::Replica(Duration::ZERO));
        topology.observe(2, observation(false, "0-1-5", true), now);
        assert_eq!((topology.primary(), topology.rivals()), (None, vec![1, 2]));
        assert_eq!(topology.role(&1, MAX_LAG, now), Role::Unfit(Unfit::OneOfSeveral));
        topology.observe(1, Err("refused".into()), now);
        assert_eq!(topology.primary(), Some(2));
        assert_eq!(topology.role(&1, MAX_LAG, now), Role::Unfit(Unfit::Silent("refused".into())));
    }

    #[test]
    fn nobody_is_chosen_before_all_have_been_asked_and_who_was_chosen_stays_when_one_is_added() {
        let (mut topology, now) = (Topology::default(), Instant::now());
        topology.consist_of([1, 2]);
        topology.observe(1, observation(false, "0-1-5", true), now);
        assert_eq!(topology.role(&1, MAX_LAG, now), Role::Unfit(Unfit::NotChosenYet));
        topology.observe(2, Err("refused".into()), now);
        assert_eq!(topology.primary(), Some(1), "one that does not answer is asked");
        topology.consist_of([1, 2, 3]);
        assert_eq!(topology.role(&1, MAX_LAG, now), Role::Primary);
        topology.observe(3, observation(false, "0-1-5", true), now);
        assert_eq!((topology.primary(), topology.rivals()), (None, vec![1, 3]));
        topology.consist_of([2, 3]);
        assert_eq!(topology.primary(), Some(3));
    }

    #[test]
    fn a_backend_that_is_another_one_now_is_not_known() {
        let (mut topology, now) = (Topology::default(), Instant::now());
        topology.consist_of([1, 2]);
        topology.observe(1, observation(false, "0-1-5", true), now);
        topology.observe(2, observation(true, "0-1-5", true), now);
        topology.forget(&1);
        assert_eq!(
            (topology.primary(), topology.role(&1, MAX_LAG, now)),
            (None, Role::Unfit(Unfit::Unknown))
        );
    }

    #[test]
    fn a_replica_answers_nothing_before_it_is_known_how_far_others_are() {
        let (mut topology, now) = (Topology::default(), Instant::now());
        topology.consist_of([1, 2]);
        topology.observe(2, observation(true, "0-1-5", true), now);
        assert_eq!(topology.role(&2, MAX_LAG, now), Role::Unfit(Unfit::NotChosenYet));
        topology.observe(1, Err("refused".into()), now);
        assert_eq!(topology.role(&2, MAX_LAG, now), Role::Replica(Duration::ZERO));
    }

    #[test]
    fn lag_is_how_long_ago_the_primary_went_on_from_where_the_replica_is() {
        let (mut topology, start) = (Topology::default(), Instant::now());
        let after = |seconds| start + Duration::from_secs(seconds);
        topology.observe(2, observation(true, "0-1-5", true), start);
        for (seconds, gtid) in [(0, "0-1-5"), (10, "0-1-6"), (12, "0-1-7")] {
            topology.observe(1, observation(false, gtid, true), after(seconds));
        }
        assert_eq!(topology.role(&2, MAX_LAG, after(13)), Role::Replica(Duration::from_secs(3)));
        assert_eq!(topology.role(&2, MAX_LAG, after(16)), Role::Unfit(Unfit::Behind(Duration::from_secs(6))));
        topology.observe(2, observation(true, "0-1-6", true), after(16));
        assert_eq!(topology.role(&2, MAX_LAG, after(16)), Role::Replica(Duration::from_secs(4)));
        topology.observe(2, observation(true, "0-1-8", true), after(17));
        assert_eq!(topology.role(&2, MAX_LAG, after(17)), Role::Replica(Duration::ZERO));
        topology.observe(2, observation(true, "0-1-8", false), after(17));
        assert_eq!(topology.role(&2, MAX_LAG, after(17)), Role::Unfit(Unfit::NotReplicating("1062".into())));
    }
}
