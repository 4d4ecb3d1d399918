//! What statements of a service cost, and where they ran, by what is the same in all of them.
//!
//! Owns the counts, and how many of them are kept. Literals never come here: a digest holds none.

use super::session::Target;
use super::sql::Digest;
use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

/// Statements of other forms are counted together.
const FORMS_MAX: usize = 1000;

/// One that has run.
#[derive(Clone, Copy, Debug)]
pub struct Ran {
    /// Where.
    pub target: Target,
    /// Why there, in a word.
    pub why: &'static str,
    /// From the command to the end of its answer, what the client took to read it included.
    pub time: Duration,
    /// In the answer.
    pub rows: u64,
    /// It did not end with an error.
    pub is_ok: bool,
}

/// What those of one form cost.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// How many ran.
    pub count: u64,
    /// Of those, how many ended with an error.
    pub errors: u64,
    /// In all answers.
    pub rows: u64,
    /// All together.
    pub time: Duration,
    /// The longest one.
    pub time_max: Duration,
    /// How often where and why.
    pub routes: BTreeMap<(&'static str, &'static str), u64>,
}

/// All of a service.
#[derive(Clone, Debug, Default)]
pub struct Digests {
    forms: HashMap<u64, (String, Counts)>,
    others: Counts,
}

impl Counts {
    fn add(&mut self, ran: &Ran) {
        self.count = self.count.saturating_add(1);
        self.errors = self.errors.saturating_add(u64::from(!ran.is_ok));
        self.rows = self.rows.saturating_add(ran.rows);
        self.time = self.time.saturating_add(ran.time);
        self.time_max = self.time_max.max(ran.time);
        let route = self.routes.entry((ran.target.name(), ran.why)).or_default();
        *route = route.saturating_add(1);
    }
}

impl Digests {
    /// One has run.
    pub fn add(&mut self, digest: &Digest, ran: &Ran) {
        if let Some((_, counts)) = self.forms.get_mut(&digest.hash) {
            counts.add(ran);
        } else if self.forms.len() < FORMS_MAX {
            let mut counts = Counts::default();
            counts.add(ran);
            self.forms.insert(digest.hash, (digest.text.clone(), counts));
        } else {
            self.others.add(ran);
        }
    }

    /// Each form's hash, text and counts, in no order.
    pub fn forms(&self) -> impl Iterator<Item = (u64, &str, &Counts)> {
        self.forms.iter().map(|(hash, (text, counts))| (*hash, text.as_str(), counts))
    }

    /// Of forms that came when there were as many as are kept.
    pub fn others(&self) -> &Counts {
        &self.others
    }
}

#[cfg(test)]
mod tests {
    use super::super::protocol::capabilities::Flavor;
    use super::super::sql::{Context, Dialect, SqlMode, digest};
    use super::*;

    fn of(text: &str) -> Digest {
        let dialect = Dialect { flavor: Flavor::MariaDb, version: 101_106 };
        digest(text.as_bytes(), &Context { dialect, mode: SqlMode::default(), utf8: true })
    }

    const RAN: Ran =
        Ran { target: Target::Replica, why: "read", time: Duration::from_millis(3), rows: 2, is_ok: true };

    #[test]
    fn statements_that_differ_in_literals_alone_are_counted_together() {
        let mut digests = Digests::default();
        digests.add(&of("SELECT a FROM t WHERE id = 5"), &RAN);
        let slow = Ran { time: Duration::from_millis(9), is_ok: false, rows: 0, ..RAN };
        digests.add(&of("select a from t where id = 'secret'"), &Ran { target: Target::Primary, ..slow });
        let all: Vec<_> = digests.forms().collect();
        assert_eq!(all.len(), 1);
        let (_, text, counts) = all[0];
        assert!(!text.contains("secret") && !text.contains('5'), "{text}");
        assert_eq!((counts.count, counts.errors, counts.rows), (2, 1, 2));
        assert_eq!((counts.time, counts.time_max), (Duration::from_millis(12), Duration::from_millis(9)));
        assert_eq!(counts.routes.len(), 2);
    }

    #[test]
    fn no_more_forms_are_kept_than_there_is_room_for() {
        let mut digests = Digests::default();
        for number in 0..FORMS_MAX + 5 {
            digests.add(&of(&format!("SELECT a{number} FROM t")), &RAN);
        }
        assert_eq!((digests.forms().count(), digests.others().count), (FORMS_MAX, 5));
    }
}
