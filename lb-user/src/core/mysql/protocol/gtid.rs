//! GTIDs: which transactions a server has.
//!
//! Owns the sets of MySQL and the positions of MariaDB, their text and their order. Never asks a server.

mod interval;
mod mariadb;
mod mysql;

use std::fmt;

use thiserror::Error;

use super::capabilities::Flavor;

pub use mariadb::{MariaDbGtid, MariaDbPosition};
pub use mysql::{GtidSet, Source, Tag};

/// Why a text is not a GTID set or position.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum GtidError {
    /// Not a UUID.
    #[error("{0:?} is not the UUID of a server")]
    Uuid(String),
    /// Not a tag: up to 32 letters, digits and underscores, the first not a digit.
    #[error("{0:?} is neither a tag nor an interval of transaction numbers")]
    Tag(String),
    /// Not an interval of numbers from 1 on.
    #[error("{0:?} is not an interval of transaction numbers")]
    Interval(String),
    /// Not `domain-server-sequence`.
    #[error("{0:?} is not a GTID of the form domain-server-sequence")]
    MariaDb(String),
    /// The text is not UTF-8.
    #[error("a GTID set holds bytes that are not text")]
    NotText,
    /// More sources, domains or intervals than are kept.
    #[error("a GTID set has more than {0} parts")]
    TooLarge(usize),
}

/// The most sources, or intervals of one source, or domains, that are kept.
pub const MAX_PARTS: usize = 1 << 16;

/// How far a server has come, of either kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GtidPosition {
    /// A set of MySQL.
    MySql(GtidSet),
    /// A position of MariaDB.
    MariaDb(MariaDbPosition),
}

impl GtidPosition {
    /// An empty position: every server has come as far.
    pub fn empty(flavor: Flavor) -> Self {
        match flavor {
            Flavor::MySql => Self::MySql(GtidSet::default()),
            Flavor::MariaDb => Self::MariaDb(MariaDbPosition::default()),
        }
    }

    /// Reads the text as a server of this kind writes it.
    pub fn parse(flavor: Flavor, text: &[u8]) -> Result<Self, GtidError> {
        let text = std::str::from_utf8(text).map_err(|_| GtidError::NotText)?;
        match flavor {
            Flavor::MySql => text.parse().map(Self::MySql),
            Flavor::MariaDb => text.parse().map(Self::MariaDb),
        }
    }

    /// Whether a server at this position has all of `other`. Positions of two kinds have nothing in common but
    /// that an empty one asks for nothing.
    pub fn contains(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::MySql(own), Self::MySql(other)) => own.contains(other),
            (Self::MariaDb(own), Self::MariaDb(other)) => own.contains(other),
            (_, other) => other.is_empty(),
        }
    }

    /// Adds all of `other`. A position of the other kind takes this one's place: a server of one kind never
    /// has GTIDs of the other, so the service behind the proxy is another now.
    pub fn merge(&mut self, other: &Self) -> Result<(), GtidError> {
        match (self, other) {
            (Self::MySql(own), Self::MySql(other)) => own.merge(other),
            (Self::MariaDb(own), Self::MariaDb(other)) => own.merge(other),
            (own, other) => {
                own.clone_from(other);
                Ok(())
            }
        }
    }

    /// Whether it asks for nothing.
    pub fn is_empty(&self) -> bool {
        match self {
            Self::MySql(set) => set.is_empty(),
            Self::MariaDb(position) => position.is_empty(),
        }
    }
}

impl fmt::Display for GtidPosition {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::MySql(set) => set.fmt(formatter),
            Self::MariaDb(position) => position.fmt(formatter),
        }
    }
}

#[cfg(test)]
mod tests;
