//! What was set in a session and can be said again on another connection.
//!
//! Owns their order, and which of them a connection knows. What is set anew takes the place of what it was before, at the end.

use std::collections::BTreeMap;

/// Settings that decide what a text and the strings in it are.
const HOW_TEXTS_ARE_READ: [&str; 6] = [
    "names",
    "sql_mode",
    "character_set_client",
    "character_set_connection",
    "collation_connection",
    "character_set_database",
];

/// Whether a setting decides what a string in a statement is.
pub(super) fn decides_reading(key: &str) -> bool {
    HOW_TEXTS_ARE_READ.contains(&key)
}

/// Under what a text is read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reading {
    /// The current schema.
    pub schema: Option<Vec<u8>>,
    /// The place of the last setting that decides.
    pub(super) place: u64,
}

/// One setting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    /// What is set: `@name` of a user variable, else a word.
    key: String,
    /// The statement.
    sql: Vec<u8>,
}

impl Setting {
    pub(super) fn new(key: impl Into<String>, sql: impl Into<Vec<u8>>) -> Self {
        Self { key: key.into(), sql: sql.into() }
    }

    /// A system variable with the value that the primary told; `None`: how to say it depends on how strings are read.
    pub(super) fn tracked(name: &str, value: &[u8]) -> Option<Self> {
        if value.contains(&b'\\') || !value.is_ascii() {
            return None;
        }
        let is_number = !value.is_empty() && value.iter().all(u8::is_ascii_digit);
        let mut sql = format!("SET SESSION {name} = ").into_bytes();
        if is_number {
            sql.extend_from_slice(value);
        } else {
            // Names of modes, collations, zones: a quote in one is doubled, which every sql_mode understands.
            sql.push(b'\'');
            for byte in value {
                if *byte == b'\'' {
                    sql.push(b'\'');
                }
                sql.push(*byte);
            }
            sql.push(b'\'');
        }
        Some(Self { key: name.to_owned(), sql })
    }

    /// What a session begins with, where the server tells it; said in one statement.
    pub(super) fn defaults(values: &[(String, Option<Vec<u8>>)]) -> Option<Self> {
        let said = values.iter().filter_map(|(name, value)| Self::tracked(name, value.as_deref()?));
        let prefix = b"SET SESSION ".len();
        let items: Vec<Vec<u8>> = said.filter_map(|one| Some(one.sql.get(prefix..)?.to_vec())).collect();
        let sql = [b"SET SESSION ".as_slice(), &items.join(b", SESSION ".as_slice())].concat();
        (!items.is_empty()).then(|| Self { key: "defaults".to_owned(), sql })
    }

    /// Whether it is another one where texts are read otherwise.
    pub(super) fn depends_on_reading(&self) -> bool {
        let has_quotes = self.sql.iter().any(|byte| b"'\"".contains(byte));
        has_quotes && self.key.starts_with('@')
            || !self.sql.is_ascii()
            || self.sql.iter().any(|byte| b"\\\"".contains(byte))
    }

    pub(super) fn key(&self) -> &str {
        &self.key
    }

    /// The statement that says it.
    pub fn sql(&self) -> &[u8] {
        &self.sql
    }
}

impl Reading {
    /// Whether nothing but the schema is another one.
    pub fn differs_by_schema(&self, other: &Self) -> bool {
        self.place == other.place
    }
}

/// All of them.
#[derive(Clone, Debug, Default)]
pub(super) struct Settings {
    in_order: BTreeMap<u64, Setting>,
    places: BTreeMap<String, u64>,
    last: u64,
}

impl Settings {
    pub(super) fn set(&mut self, setting: Setting) {
        if self.is_so(&setting) {
            return;
        }
        self.remove(&setting.key);
        self.last = self.last.saturating_add(1);
        self.places.insert(setting.key.clone(), self.last);
        self.in_order.insert(self.last, setting);
    }

    /// It is what was set last: nothing since then could have changed what comes of it.
    fn is_so(&self, setting: &Setting) -> bool {
        let Some(place) = self.places.get(&setting.key) else { return false };
        self.in_order.get(place) == Some(setting) && *place == self.last
    }

    pub(super) fn remove(&mut self, key: &str) {
        if let Some(place) = self.places.remove(key) {
            self.in_order.remove(&place);
        }
    }

    pub(super) fn remove_all(&mut self, is_meant: impl Fn(&str) -> bool) {
        self.in_order.retain(|_, setting| !is_meant(&setting.key));
        self.places.retain(|key, _| !is_meant(key));
    }

    /// User variables whose value is a string, by name.
    pub(super) fn variables_with_strings(&self) -> Vec<String> {
        let is_string = |setting: &&Setting| setting.sql.iter().any(|byte| b"'\"".contains(byte));
        let all = self.in_order.values().filter(is_string);
        all.filter_map(|setting| setting.key.strip_prefix('@').map(str::to_owned)).collect()
    }

    pub(super) fn reading(&self) -> Reading {
        let decisive = self.places.iter().filter(|(key, _)| decides_reading(key));
        Reading { schema: None, place: decisive.map(|(_, place)| *place).max().unwrap_or_default() }
    }

    pub(super) fn contains(&self, key: &str) -> bool {
        self.places.contains_key(key)
    }

    pub(super) fn after(&self, known: u64) -> (Vec<&Setting>, u64) {
        if known == self.last {
            return (Vec::new(), known);
        }
        (self.in_order.range(known.saturating_add(1)..).map(|(_, setting)| setting).collect(), self.last)
    }
}
