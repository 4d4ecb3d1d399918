//! What nodes that serve the same names have in common: the account with the authority, certificates with their keys, and answers to
//! challenges, which may be asked of any of them.
//!
//! Two nodes tell each other all they have, and of each item the later one stays: whatever comes, however often and in whatever order, they
//! end with the same. Never decides what is done with it.

use crate::model::{AcmeChallenge, whole_ms};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

/// More than any tier has; a bound for what another node can make us keep.
pub const SHARED_BYTES_MAX: usize = 4 << 20;
/// Authorities ask within seconds. Clocks of nodes may differ by less than that.
const CHALLENGE_LASTS: Duration = Duration::from_secs(2 * 3600);

/// A certificate that an authority is asked for. Another authority gives out another one for the same names.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Asked {
    /// Where the authority says what there is.
    pub directory: String,
    /// Whom it is for.
    pub names: Vec<String>,
}

impl fmt::Display for Asked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.names.join(", "))
    }
}

/// What there is to share.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Item {
    /// The account with the authority of that directory.
    Account(String),
    /// That certificate, with those that lead from it to the authority, and its key.
    Certificate(Asked),
    /// The answer to the challenge with that token.
    Challenge(String),
}

/// An authority wants to see that a name is ours.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Challenge {
    /// The name.
    pub name: String,
    /// How it looks.
    pub kind: AcmeChallenge,
    /// What it asks by.
    pub token: String,
    /// What it wants to see. RFC 8555 §8.1.
    pub key_authorization: String,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
struct Content {
    /// Since the beginning of 1970.
    stamp_milliseconds: u64,
    text: String,
}

/// All that a node knows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Shared(BTreeMap<Item, Content>);

impl Shared {
    /// Takes something that was made then; whether it is news.
    pub fn put(&mut self, item: Item, made: Duration, text: String) -> bool {
        let stamp_milliseconds = whole_ms(made);
        let content = Content { stamp_milliseconds, text };
        match self.0.get(&item) {
            Some(known) if *known >= content => false,
            _ => {
                self.0.insert(item, content);
                true
            }
        }
    }

    /// The answer to a challenge that is about to come.
    pub fn put_challenge(&mut self, challenge: &Challenge, now: Duration) -> bool {
        // It comes after all others for its name, whatever the clock of who made those.
        let of_name = |content: &&Content| {
            serde_json::from_str::<Challenge>(&content.text).is_ok_and(|known| known.name == challenge.name)
        };
        let of_challenges = self.0.iter().filter(|(item, _)| matches!(item, Item::Challenge(_)));
        let last =
            of_challenges.map(|(_, content)| content).filter(of_name).map(|one| one.stamp_milliseconds).max();
        let after = last.map_or(Duration::ZERO, |last| Duration::from_millis(last.saturating_add(1)));
        // Of strings and a word: it cannot fail.
        let text = serde_json::to_string(challenge).unwrap_or_default();
        self.put(Item::Challenge(challenge.token.clone()), now.max(after), text)
    }

    /// What is known of an item.
    pub fn get(&self, item: &Item) -> Option<&str> {
        self.0.get(item).map(|content| content.text.as_str())
    }

    /// The challenges that may still be asked for, the latest last: with TLS-ALPN-01 it is the one that counts for its name.
    pub fn challenges(&self) -> impl Iterator<Item = Challenge> {
        let of_challenges = self.0.iter().filter(|(item, _)| matches!(item, Item::Challenge(_)));
        let mut contents: Vec<&Content> = of_challenges.map(|(_, content)| content).collect();
        contents.sort();
        contents.into_iter().filter_map(|content| serde_json::from_str(&content.text).ok())
    }

    /// Forgets what nobody here wants any more; challenges stay, for they may be about to be asked for.
    pub fn retain(&mut self, is_wanted: impl Fn(&Item) -> bool) {
        self.0.retain(|item, _| matches!(item, Item::Challenge(_)) || is_wanted(item));
    }

    /// Forgets challenges that nobody asks for any more; whether there were any.
    pub fn forget_old(&mut self, now: Duration) -> bool {
        let before = self.0.len();
        let is_old =
            |content: &Content| Duration::from_millis(content.stamp_milliseconds) + CHALLENGE_LASTS < now;
        self.0.retain(|item, content| !matches!(item, Item::Challenge(_)) || !is_old(content));
        self.0.len() != before
    }

    /// Takes what another node knows and `accept` lets pass; what of it was news. Its challenges that are old by now are not.
    pub fn merge(&mut self, other: Self, now: Duration, accept: impl Fn(&Item, &str) -> bool) -> Vec<Item> {
        let mut other = other;
        other.forget_old(now);
        let mut news = Vec::new();
        for (item, content) in other.0 {
            let made = Duration::from_millis(content.stamp_milliseconds);
            if accept(&item, &content.text) && self.put(item.clone(), made, content.text) {
                news.push(item);
            }
        }
        news
    }

    /// For another node.
    pub fn encode(&self) -> Vec<u8> {
        // Of strings and numbers: it cannot fail.
        serde_json::to_vec(&self.0.iter().collect::<Vec<_>>()).unwrap_or_default()
    }

    /// From another node; `None`: it is of another kind of node.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let all: Vec<(Item, Content)> = serde_json::from_slice(bytes).ok()?;
        Some(Self(all.into_iter().collect()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;

    fn challenge(token: &str) -> Challenge {
        Challenge {
            name: "a.org".into(),
            kind: AcmeChallenge::Http01,
            token: token.into(),
            key_authorization: format!("{token}.thumb"),
        }
    }

    #[test]
    fn a_challenge_is_known_for_a_while_on_both_nodes() {
        let now = Duration::from_secs(1_000_000);
        let (mut one, mut other) = (Shared::default(), Shared::default());
        assert!(one.put_challenge(&challenge("t"), now));
        let told = Shared::decode(&one.encode()).expect("what was encoded");
        assert_eq!(other.merge(told.clone(), now, |_, _| true), [Item::Challenge("t".into())]);
        assert_eq!(other.challenges().collect::<Vec<_>>(), [challenge("t")]);
        assert_eq!(other.merge(told.clone(), now, |_, _| true), []);
        let later = now + CHALLENGE_LASTS + Duration::from_secs(1);
        assert!(other.forget_old(later) && other.challenges().next().is_none());
        assert_eq!(other.merge(told, later, |_, _| true), [], "it does not come back");
    }

    #[test]
    fn of_two_challenges_for_a_name_the_later_one_comes_last() {
        let mut shared = Shared::default();
        // The clock of the second node is behind.
        for (token, made) in [("b", 1), ("c", 3), ("a", 2)] {
            shared.put_challenge(&challenge(token), Duration::from_millis(made));
        }
        let tokens: Vec<String> = shared.challenges().map(|challenge| challenge.token).collect();
        assert_eq!(tokens, ["b", "c", "a"]);
    }

    #[test]
    fn what_is_not_accepted_is_not_kept() {
        let (mut one, mut other) = (Shared::default(), Shared::default());
        one.put(Item::Account("d".into()), Duration::ZERO, "key".into());
        assert_eq!(other.merge(one, Duration::ZERO, |_, _| false), []);
        assert_eq!(other, Shared::default());
    }

    fn shared() -> impl Strategy<Value = Shared> {
        let asked =
            |number| Asked { directory: "https://ca.org/".into(), names: vec![format!("{number}.org")] };
        let item = (0..4_u8).prop_map(move |number| Item::Certificate(asked(number)));
        vec((item, 0..4_u64, "[ab]"), 0..8).prop_map(|all| {
            let mut shared = Shared::default();
            for (item, made, text) in all {
                shared.put(item, Duration::from_secs(made), text);
            }
            shared
        })
    }

    proptest! {
        #[test]
        fn two_nodes_end_with_the_same_whoever_tells_first(a in shared(), b in shared()) {
            let (mut one, mut other) = (a.clone(), b.clone());
            one.merge(b, Duration::ZERO, |_, _| true);
            other.merge(a, Duration::ZERO, |_, _| true);
            prop_assert_eq!(&one, &other);
            prop_assert_eq!(Shared::decode(&one.encode()), Some(one));
        }

        #[test]
        fn no_bytes_are_a_fault(bytes in vec(any::<u8>(), 0..200)) {
            let _ = Shared::decode(&bytes);
        }
    }
}
