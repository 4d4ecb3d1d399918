//! The small values everybody uses: names, weights, port ranges, states and modes.
//!
//! Each value is checked when it is made, so that whoever holds one need not check it again.
//! Owns their spelling (`Display`, `FromStr`, serde all use the same words). Never owns state,
//! and knows nothing of files, sockets or the dataplane.

mod byte_count;
mod log_filter;
mod moment;
mod name;
mod prefix;
mod virtual_router;
mod word;

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

pub use self::byte_count::ByteCount;
pub use self::log_filter::LogFilter;
pub use self::moment::{unix_ms, whole_ms, whole_us};
pub use self::name::{
    BackendName, GroupName, NAME_LEN_MAX, NodeName, RuleName, ServiceName, TrackerName, VipName,
};
pub use self::prefix::{any_source, parse_prefix, read_prefix};
pub use self::virtual_router::{AdvertInterval, Priority, VirtualRouterId};
pub use self::word::{
    AcmeChallenge, AdminState, AtLimit, AttachMode, BackendHealth, ChecksumForm, ClientCertificateMode,
    Consistency, DefaultPolicy, Family, FlowStateWord, HealthState, LogFormat, Mode, Protocol, ProxyVersion,
    SchedulerKind, SynCookieMode, TlsVersion, UnknownName, WhenDown,
};

/// Why a text or a number is not one of this module's values.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ModelError {
    /// The text is no name.
    #[error("{given:?} is not a name: {why}")]
    Name {
        /// The text.
        given: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// The number is no weight.
    #[error("{given} is not a weight; expected a whole number from 0 to 256")]
    Weight {
        /// What was given.
        given: String,
    },
    /// The text is no range of ports.
    #[error("{given:?} is not a range of ports; expected FIRST-LAST such as \"2048-32767\"")]
    PortRange {
        /// What was given.
        given: String,
    },
    /// The text is no address and no prefix.
    #[error("{given:?} is not a source: {why}")]
    Prefix {
        /// What was given.
        given: String,
        /// What is wrong, and what may have been meant.
        why: String,
    },
    /// The text says nothing of the log.
    #[error(
        "{0:?} is not what a log may tell; expected off, error, warn, info, debug or trace, and if need be others for parts, such as \"info,lbctl::slow=off\""
    )]
    LogFilter(String),
    /// The text is none of the words of an enumeration.
    #[error("{given:?} is not a {what}; expected one of {}", expected.join(", "))]
    Word {
        /// The enumeration's name for people.
        what: &'static str,
        /// What was given.
        given: String,
        /// The words there are.
        expected: &'static [&'static str],
    },
}

/// A backend's share of new flows relative to the other backends of its service; 0 means none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "u16", into = "u16")]
pub struct Weight(u16);

impl Weight {
    /// The largest weight.
    pub const MAX: u16 = 256;

    /// Makes a weight of a number from 0 to 256.
    pub fn new(weight: u16) -> Result<Self, ModelError> {
        if weight > Self::MAX {
            return Err(ModelError::Weight { given: weight.to_string() });
        }
        Ok(Self(weight))
    }

    /// The weight as a number.
    pub fn get(self) -> u16 {
        self.0
    }
}

impl Default for Weight {
    fn default() -> Self {
        Self(1)
    }
}

impl fmt::Display for Weight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl FromStr for Weight {
    type Err = ModelError;
    fn from_str(text: &str) -> Result<Self, ModelError> {
        let wrong = || ModelError::Weight { given: format!("{text:?}") };
        Self::new(text.parse().map_err(|_| wrong())?).map_err(|_| wrong())
    }
}

impl TryFrom<u16> for Weight {
    type Error = ModelError;
    fn try_from(weight: u16) -> Result<Self, ModelError> {
        Self::new(weight)
    }
}

impl From<Weight> for u16 {
    fn from(weight: Weight) -> u16 {
        weight.0
    }
}

/// An inclusive range of ports, written `2048-32767`. Never empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PortRange {
    first: u16,
    last: u16,
}

impl PortRange {
    /// Makes a range; `first` may not be above `last`.
    pub fn new(first: u16, last: u16) -> Result<Self, ModelError> {
        if first > last {
            return Err(ModelError::PortRange { given: format!("{first}-{last}") });
        }
        Ok(Self { first, last })
    }

    /// The first port of the range.
    pub fn first(self) -> u16 {
        self.first
    }

    /// The last port of the range, which belongs to it.
    pub fn last(self) -> u16 {
        self.last
    }

    /// How many ports there are in the range: at least one.
    #[expect(clippy::len_without_is_empty, reason = "a range is never empty")]
    pub fn len(self) -> u32 {
        u32::from(self.last) - u32::from(self.first) + 1
    }

    /// Whether the port is in the range.
    pub fn contains(self, port: u16) -> bool {
        (self.first..=self.last).contains(&port)
    }

    /// Whether the two ranges have a port in common.
    pub fn overlaps(self, other: Self) -> bool {
        self.first <= other.last && other.first <= self.last
    }
}

impl fmt::Display for PortRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{}-{}", self.first, self.last))
    }
}

impl FromStr for PortRange {
    type Err = ModelError;
    fn from_str(text: &str) -> Result<Self, ModelError> {
        let wrong = || ModelError::PortRange { given: text.to_owned() };
        let (first, last) = text.split_once('-').ok_or_else(wrong)?;
        let port = |digits: &str| digits.trim().parse::<u16>().map_err(|_| wrong());
        Self::new(port(first)?, port(last)?).map_err(|_| wrong())
    }
}

impl TryFrom<String> for PortRange {
    type Error = ModelError;
    fn try_from(text: String) -> Result<Self, ModelError> {
        text.parse()
    }
}

impl From<PortRange> for String {
    fn from(range: PortRange) -> String {
        range.to_string()
    }
}

#[cfg(test)]
mod tests;
