//! MariaDB's GTIDs and positions: `0-1-100,1-1-7`.
//!
//! Owns their text, and that a replica has a transaction when it has come as far in the transaction's domain:
//! within one domain all servers have the same order. MariaDB reference: Global Transaction ID.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use super::{GtidError, MAX_PARTS};

/// One transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct MariaDbGtid {
    /// The domain, an order of its own.
    pub domain: u32,
    /// The server on which it began.
    pub server: u32,
    /// Its number in the domain.
    pub sequence: u64,
}

/// How far a server has come in each domain.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct MariaDbPosition {
    domains: BTreeMap<u32, (u32, u64)>,
}

impl MariaDbPosition {
    /// Whether it names no transaction.
    pub fn is_empty(&self) -> bool {
        self.domains.is_empty()
    }

    /// The last transaction of each domain.
    pub fn iter(&self) -> impl Iterator<Item = MariaDbGtid> {
        self.domains.iter().map(|(&domain, &(server, sequence))| MariaDbGtid { domain, server, sequence })
    }

    /// Whether a server at this position has the transaction.
    pub fn contains_one(&self, gtid: MariaDbGtid) -> bool {
        self.domains.get(&gtid.domain).is_some_and(|(_, sequence)| *sequence >= gtid.sequence)
    }

    /// Whether a server at this position has come as far as `other` in all its domains.
    pub fn contains(&self, other: &Self) -> bool {
        other.iter().all(|gtid| self.contains_one(gtid))
    }

    /// Moves on to the transaction, unless the position is beyond it already.
    pub fn advance(&mut self, gtid: MariaDbGtid) -> Result<(), GtidError> {
        if self.contains_one(gtid) {
            return Ok(());
        }
        if self.domains.len() >= MAX_PARTS && !self.domains.contains_key(&gtid.domain) {
            return Err(GtidError::TooLarge(MAX_PARTS));
        }
        self.domains.insert(gtid.domain, (gtid.server, gtid.sequence));
        Ok(())
    }

    /// Moves on to `other` in every domain in which it is further.
    pub fn merge(&mut self, other: &Self) -> Result<(), GtidError> {
        other.iter().try_for_each(|gtid| self.advance(gtid))
    }
}

impl FromStr for MariaDbGtid {
    type Err = GtidError;

    fn from_str(text: &str) -> Result<Self, GtidError> {
        let wrong = || GtidError::MariaDb(text.to_owned());
        if !text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-') {
            return Err(wrong());
        }
        let mut fields = text.split('-');
        let mut field = || fields.next().ok_or_else(wrong);
        let domain = field()?.parse().map_err(|_| wrong())?;
        let server = field()?.parse().map_err(|_| wrong())?;
        let sequence = field()?.parse().map_err(|_| wrong())?;
        if fields.next().is_some() { Err(wrong()) } else { Ok(Self { domain, server, sequence }) }
    }
}

impl FromStr for MariaDbPosition {
    type Err = GtidError;

    /// Of several transactions in one domain the furthest counts.
    fn from_str(text: &str) -> Result<Self, GtidError> {
        let mut position = Self::default();
        for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
            position.advance(part.parse()?)?;
        }
        Ok(position)
    }
}

impl fmt::Display for MariaDbGtid {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}-{}-{}", self.domain, self.server, self.sequence)
    }
}

impl fmt::Display for MariaDbPosition {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, gtid) in self.iter().enumerate() {
            let comma = if index > 0 { "," } else { "" };
            write!(formatter, "{comma}{gtid}")?;
        }
        Ok(())
    }
}
