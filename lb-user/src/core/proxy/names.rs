//! Which of a service's backends a connection may go to, by the name its client asks for.
//!
//! Backends with names take connections for these alone, those without take all others. Owns the parts of a service's table that names
//! have; each is a table of its own, so that backends of one name take turns whatever others are asked for.

use super::balance::Table;
use std::collections::BTreeMap;
use std::sync::Arc;

/// The tables of a service, by name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tables {
    /// Of a name, or of all names under `*.`, which are kept with the asterisk.
    by_name: BTreeMap<String, Arc<Table>>,
    /// Of everybody else.
    rest: Arc<Table>,
}

impl Tables {
    /// Of a table whose backends have these names, in the same order.
    pub fn new(table: Arc<Table>, names: &[Vec<String>]) -> Self {
        let has = |index: usize| names.get(index).is_some_and(|names| !names.is_empty());
        if !(0..names.len()).any(has) {
            return Self { by_name: BTreeMap::new(), rest: table };
        }
        let mut by_name = BTreeMap::new();
        for name in names.iter().flatten() {
            let is_for = |index: usize| names.get(index).is_some_and(|names| names.contains(name));
            by_name.entry(name.to_ascii_lowercase()).or_insert_with(|| part(&table, is_for));
        }
        Self { by_name, rest: part(&table, |index| !has(index)) }
    }

    /// Whether it matters what name is asked for.
    pub fn have_names(&self) -> bool {
        !self.by_name.is_empty()
    }

    /// The key and the table for a name; the key is empty for everybody else.
    pub fn of(&self, name: Option<&str>) -> (&str, &Arc<Table>) {
        let exact = name.and_then(|name| self.by_name.get_key_value(name));
        let under = || {
            let (_, parent) = name?.split_once('.')?;
            self.by_name.get_key_value(format!("*.{parent}").as_str())
        };
        exact.or_else(under).map_or(("", &self.rest), |(key, table)| (key.as_str(), table))
    }

    /// All keys.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.by_name.keys().map(String::as_str).chain([""])
    }
}

/// The same table, in which none but those backends take connections.
fn part(table: &Table, is_in: impl Fn(usize) -> bool) -> Arc<Table> {
    let mut part = table.clone();
    part.slots.retain(|index| is_in(*index as usize));
    for (index, backend) in part.backends.iter_mut().enumerate() {
        if !is_in(index) {
            backend.weight = 0;
        }
    }
    Arc::new(part)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::proxy::{Ask, Choice, TableBackend};
    use crate::model::SchedulerKind;

    fn tables(scheduler: SchedulerKind, names: &[&[&str]]) -> Tables {
        let backends = vec![TableBackend { weight: 1, max: 0 }; names.len()];
        let table = Table { scheduler, slots: (0..names.len() as u32).collect(), backends };
        let names: Vec<Vec<String>> =
            names.iter().map(|names| names.iter().map(|name| (*name).to_owned()).collect()).collect();
        Tables::new(Arc::new(table), &names)
    }

    fn chosen(tables: &Tables, name: Option<&str>) -> Vec<usize> {
        let at = "10.0.0.1:80".parse().expect("an address");
        let choose =
            |ticket| tables.of(name).1.choose(&Ask { client: at, vip: at, ticket, tried: &[] }, |_| 0);
        let all = (0..4).filter_map(|ticket| match choose(ticket) {
            Choice::Backend(index) => Some(index),
            Choice::Full | Choice::Nobody => None,
        });
        all.collect()
    }

    #[test]
    fn a_name_has_backends_of_its_own_and_the_others_take_the_rest() {
        for scheduler in [SchedulerKind::RoundRobin, SchedulerKind::LeastConnections] {
            let tables = tables(scheduler, &[&["a.org"], &["a.org", "*.b.org"], &[], &["c.b.org"]]);
            assert!(tables.have_names());
            let of = |name| {
                let mut all = chosen(&tables, name);
                all.sort_unstable();
                all
            };
            assert_eq!(of(Some("a.org")), [0, 0, 1, 1]);
            assert_eq!(of(Some("x.b.org")), [1, 1, 1, 1]);
            assert_eq!(of(Some("c.b.org")), [3, 3, 3, 3], "a name of its own goes before an asterisk");
            for rest in [None, Some("b.org"), Some("x.y.b.org"), Some("")] {
                assert_eq!(of(rest), [2, 2, 2, 2], "{rest:?}");
            }
        }
    }

    #[test]
    fn where_all_have_names_nobody_takes_the_rest() {
        let tables = tables(SchedulerKind::RoundRobin, &[&["a.org"]]);
        assert!(chosen(&tables, None).is_empty());
        assert_eq!(tables.keys().collect::<Vec<_>>(), ["a.org", ""]);
    }

    #[test]
    fn without_names_all_take_all() {
        let tables = tables(SchedulerKind::RoundRobin, &[&[], &[]]);
        assert!(!tables.have_names());
        assert_eq!(chosen(&tables, Some("any.org")), [0, 1, 0, 1]);
    }
}
