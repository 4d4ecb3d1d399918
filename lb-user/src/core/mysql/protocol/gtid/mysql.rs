//! MySQL's GTID sets: `uuid:1-5:7`, and with tags (8.4 and later) `uuid:1-5:tag:1-3`.
//!
//! Owns their text and their order as sets. MySQL reference: GTID Format and Storage.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use super::interval::{Interval, Intervals};
use super::{GtidError, MAX_PARTS};

/// The UUID of the server on which a transaction began.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Source(pub [u8; 16]);

/// The tag of a transaction; empty for none. Servers compare tags without regard to case and write them in
/// small letters.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Tag(String);

/// The highest number a transaction can have.
const MAX_NUMBER: u64 = i64::MAX.unsigned_abs() - 1;
const MAX_TAG: usize = 32;

/// A set of MySQL transactions.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct GtidSet {
    sources: BTreeMap<(Source, Tag), Intervals>,
}

impl GtidSet {
    /// Whether no transaction is in it.
    pub fn is_empty(&self) -> bool {
        self.sources.is_empty()
    }

    /// Whether all transactions of `other` are in it.
    pub fn contains(&self, other: &Self) -> bool {
        other.sources.iter().all(|(key, asked)| {
            let own = self.sources.get(key);
            asked.iter().all(|interval| own.is_some_and(|own| own.contains(interval)))
        })
    }

    /// Whether the transaction `number` of the source is in it.
    pub fn contains_one(&self, source: Source, tag: &Tag, number: u64) -> bool {
        let one = Interval { first: number, last: number };
        self.sources.get(&(source, tag.clone())).is_some_and(|own| own.contains(&one))
    }

    /// Adds all transactions of `other`. On an error some of them may be missing.
    pub fn merge(&mut self, other: &Self) -> Result<(), GtidError> {
        for ((source, tag), intervals) in &other.sources {
            for interval in intervals.iter() {
                self.add(*source, tag, *interval)?;
            }
        }
        Ok(())
    }

    /// Adds the transaction `number` of the source, from 1 on.
    pub fn advance(&mut self, source: Source, tag: &Tag, number: u64) -> Result<(), GtidError> {
        match number {
            1..=MAX_NUMBER => self.add(source, tag, Interval { first: number, last: number }),
            _ => Err(GtidError::Interval(number.to_string())),
        }
    }

    fn add(&mut self, source: Source, tag: &Tag, interval: Interval) -> Result<(), GtidError> {
        let full = self.sources.len() >= MAX_PARTS;
        let key = (source, tag.clone());
        if full && !self.sources.contains_key(&key) {
            return Err(GtidError::TooLarge(MAX_PARTS));
        }
        self.sources.entry(key).or_default().add(interval)
    }

    /// One comma-separated part: a UUID, and intervals and tags in turn.
    fn parse_part(&mut self, part: &str) -> Result<(), GtidError> {
        let mut fields = part.split(':').map(str::trim);
        let source: Source = fields.next().unwrap_or_default().parse()?;
        let mut tag = Tag::default();
        let mut pending = true;
        for field in fields {
            if field.starts_with(|letter: char| letter.is_ascii_digit()) {
                pending = false;
                if let Some(interval) = parse_interval(field)? {
                    self.add(source, &tag, interval)?;
                }
            } else {
                tag = field.parse()?;
                pending = true;
            }
        }
        // A UUID or a tag must have an interval after it.
        if pending { Err(GtidError::Interval(part.to_owned())) } else { Ok(()) }
    }
}

/// `5` or `1-5`; `None` for one that ends before it begins, which servers take as empty.
fn parse_interval(text: &str) -> Result<Option<Interval>, GtidError> {
    let wrong = || GtidError::Interval(text.to_owned());
    let number = |text: &str| {
        let digits = text.trim();
        let plain = digits.bytes().all(|byte| byte.is_ascii_digit());
        digits.parse::<u64>().ok().filter(|number| plain && *number <= MAX_NUMBER).ok_or_else(wrong)
    };
    let (first, last) = match text.split_once('-') {
        Some((first, last)) => (number(first)?, number(last)?),
        None => (number(text)?, number(text)?),
    };
    match first {
        0 => Err(wrong()),
        _ => Ok((first <= last).then_some(Interval { first, last })),
    }
}

impl FromStr for GtidSet {
    type Err = GtidError;

    fn from_str(text: &str) -> Result<Self, GtidError> {
        let mut set = Self::default();
        for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
            set.parse_part(part)?;
        }
        Ok(set)
    }
}

impl FromStr for Source {
    type Err = GtidError;

    fn from_str(text: &str) -> Result<Self, GtidError> {
        let wrong = || GtidError::Uuid(text.to_owned());
        let dashes = [8, 13, 18, 23];
        let dashed = text.len() == 36 && dashes.iter().all(|at| text.as_bytes().get(*at) == Some(&b'-'));
        if !(dashed || text.len() == 32) {
            return Err(wrong());
        }
        let mut digits = text.chars().filter(|letter| !(dashed && *letter == '-'));
        let mut bytes = [0; 16];
        for byte in &mut bytes {
            let mut digit = || digits.next().and_then(|letter| letter.to_digit(16)).ok_or_else(wrong);
            *byte = u8::try_from(digit()? << 4 | digit()?).map_err(|_| wrong())?;
        }
        if digits.next().is_some() { Err(wrong()) } else { Ok(Self(bytes)) }
    }
}

impl FromStr for Tag {
    type Err = GtidError;

    fn from_str(text: &str) -> Result<Self, GtidError> {
        let fits = text.len() <= MAX_TAG
            && text.starts_with(|letter: char| letter.is_ascii_alphabetic() || letter == '_')
            && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        if fits { Ok(Self(text.to_ascii_lowercase())) } else { Err(GtidError::Tag(text.to_owned())) }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, byte) in self.0.iter().enumerate() {
            if matches!(index, 4 | 6 | 8 | 10) {
                formatter.write_str("-")?;
            }
            write!(formatter, "{byte:02x}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Tag {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl fmt::Display for GtidSet {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut last = None;
        for ((source, tag), intervals) in &self.sources {
            if last != Some(source) {
                let comma = if last.is_some() { "," } else { "" };
                write!(formatter, "{comma}{source}")?;
                last = Some(source);
            }
            if !tag.0.is_empty() {
                write!(formatter, ":{tag}")?;
            }
            for Interval { first, last } in intervals.iter() {
                write!(formatter, ":{first}")?;
                if first != last {
                    write!(formatter, "-{last}")?;
                }
            }
        }
        Ok(())
    }
}
