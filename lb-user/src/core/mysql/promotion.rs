//! Whether a replica may take the primary's place, and who has to be told.
//!
//! Owns the checks that need no question; what has to be asked and said is carried out elsewhere. Never promotes by itself: somebody wants it.

use super::topology::{Role, Topology, Unfit};
use std::fmt;
use std::time::{Duration, Instant};

/// What is to be done, by backends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Promotion<K> {
    /// It takes writes from then on.
    pub chosen: K,
    /// It takes none from then on; `None`: it is down.
    pub old: Option<K>,
    /// They replicate from the chosen one from then on.
    pub others: Vec<K>,
}

/// Why not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal<K> {
    /// It is the primary.
    IsPrimary,
    /// It is no replica.
    NoReplica(String),
    /// Several take writes: these.
    Rivals(Vec<K>),
    /// There is no primary, and nobody has said that it is down for good.
    NoPrimary,
    /// It was said that the primary is down, and it is not.
    PrimaryIsThere(K),
    /// Another replica has what it has not.
    Behind(K),
}

impl<K: fmt::Display> fmt::Display for Refusal<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::IsPrimary => f.write_str("it is the primary"),
            Self::NoReplica(why) => write!(f, "it is no replica that could take over: {why}"),
            Self::Rivals(rivals) => {
                let names: Vec<String> = rivals.iter().map(ToString::to_string).collect();
                write!(f, "{} take writes: make all but one read only first", names.join(" and "))
            }
            Self::NoPrimary => f.write_str(
                "there is no primary to be made read only; if it is down and will not come back by itself, say --primary-is-down",
            ),
            Self::PrimaryIsThere(primary) => write!(f, "{primary} is there and takes writes: leave out --primary-is-down"),
            Self::Behind(other) => write!(f, "{other} has transactions that it has not: promote that one"),
        }
    }
}

/// Whether `chosen` may take over.
///
/// # Errors
/// Why not.
pub fn promotion<K: Ord + Clone>(
    topology: &Topology<K>,
    all: &[K],
    chosen: &K,
    primary_is_down: bool,
    now: Instant,
) -> Result<Promotion<K>, Refusal<K>> {
    let rivals = topology.rivals();
    if !rivals.is_empty() {
        return Err(Refusal::Rivals(rivals));
    }
    let old = match (topology.primary(), primary_is_down) {
        (Some(primary), _) if primary == *chosen => return Err(Refusal::IsPrimary),
        (Some(primary), true) => return Err(Refusal::PrimaryIsThere(primary)),
        (None, false) => return Err(Refusal::NoPrimary),
        (primary, _) => primary,
    };
    let Some(own) = topology.observation(chosen) else {
        return Err(Refusal::NoReplica(why_not(topology.role(chosen, Duration::MAX, now))));
    };
    // Without its primary it hears nothing more, and that is no reason against it.
    let is_fit = match topology.role(chosen, Duration::MAX, now) {
        Role::Replica(_) => true,
        Role::Unfit(Unfit::NotReplicating(_)) => old.is_none() && own.replication.is_some(),
        _ => false,
    };
    if !is_fit {
        return Err(Refusal::NoReplica(why_not(topology.role(chosen, Duration::MAX, now))));
    }
    let others: Vec<K> =
        all.iter().filter(|one| *one != chosen && old.as_ref() != Some(one)).cloned().collect();
    for other in &others {
        let has_more = topology
            .observation(other)
            .is_some_and(|observation| !own.position.contains(&observation.position));
        // With a primary, the chosen one gets everything before it takes over.
        if has_more && old.is_none() {
            return Err(Refusal::Behind(other.clone()));
        }
    }
    let others = others.into_iter().filter(|one| topology.observation(one).is_some()).collect();
    Ok(Promotion { chosen: chosen.clone(), old, others })
}

fn why_not(role: Role) -> String {
    match role {
        Role::Unfit(why) => why.to_string(),
        Role::Primary | Role::Replica(_) => "it takes writes, or others have not been asked yet".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::protocol::capabilities::Flavor;
    use super::super::protocol::gtid::GtidPosition;
    use super::super::topology::{Observation, Replication};
    use super::*;

    fn topology(states: &[(u8, bool, &str, bool)]) -> Topology<u8> {
        let mut topology = Topology::default();
        topology.consist_of(states.iter().map(|(name, ..)| *name));
        for (name, is_read_only, gtid, is_running) in states {
            let position = GtidPosition::parse(Flavor::MariaDb, gtid.as_bytes()).expect("a position");
            let replication =
                Replication { is_running: *is_running, source: "1".into(), error: String::new() };
            let replication = is_read_only.then_some(replication);
            let found = Observation { is_read_only: *is_read_only, replication, position };
            topology.observe(*name, Ok(found), Instant::now());
        }
        topology
    }

    fn ask(topology: &Topology<u8>, chosen: u8, primary_is_down: bool) -> Result<Promotion<u8>, Refusal<u8>> {
        promotion(topology, &[1, 2, 3], &chosen, primary_is_down, Instant::now())
    }

    #[test]
    fn a_replica_takes_over_from_a_primary_that_is_there() {
        let all = topology(&[(1, false, "0-1-9", true), (2, true, "0-1-8", true), (3, true, "0-1-9", true)]);
        let expected = Promotion { chosen: 2, old: Some(1), others: vec![3] };
        assert_eq!(ask(&all, 2, false), Ok(expected));
        assert_eq!(ask(&all, 1, false), Err(Refusal::IsPrimary));
        assert_eq!(ask(&all, 2, true), Err(Refusal::PrimaryIsThere(1)));
        let stopped =
            topology(&[(1, false, "0-1-9", true), (2, true, "0-1-8", false), (3, true, "0-1-9", true)]);
        assert!(matches!(ask(&stopped, 2, false), Err(Refusal::NoReplica(_))));
    }

    #[test]
    fn where_the_primary_is_down_the_one_that_has_most_takes_over_when_that_is_said() {
        let mut all =
            topology(&[(1, false, "0-1-9", true), (2, true, "0-1-8", false), (3, true, "0-1-9", false)]);
        all.observe(1, Err("refused".into()), Instant::now());
        assert_eq!(ask(&all, 3, false), Err(Refusal::NoPrimary));
        assert_eq!(ask(&all, 2, true), Err(Refusal::Behind(3)));
        assert_eq!(ask(&all, 3, true), Ok(Promotion { chosen: 3, old: None, others: vec![2] }));
        assert!(matches!(ask(&all, 1, true), Err(Refusal::NoReplica(_))));
    }

    #[test]
    fn two_primaries_are_sorted_out_first() {
        let all = topology(&[(1, false, "0-1-9", true), (2, false, "0-1-9", true), (3, true, "0-1-9", true)]);
        assert_eq!(ask(&all, 3, false), Err(Refusal::Rivals(vec![1, 2])));
    }
}
