//! What of the log is told: a level, or levels by part.

use super::ModelError;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// A level such as `debug`, or one for all and others for parts, such as `info,lbctl::slow=off`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct LogFilter(String);

/// The levels there are, from nothing to everything.
const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];

impl LogFilter {
    /// As it was written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for LogFilter {
    fn default() -> Self {
        Self("info".to_owned())
    }
}

impl FromStr for LogFilter {
    type Err = ModelError;

    fn from_str(text: &str) -> Result<Self, ModelError> {
        let is_path = |part: &str| {
            !part.is_empty()
                && part.chars().all(|letter| letter.is_ascii_alphanumeric() || "_:".contains(letter))
        };
        let is_right = |directive: &str| match directive.split_once('=') {
            Some((part, level)) => is_path(part) && LEVELS.contains(&level),
            None => LEVELS.contains(&directive),
        };
        if text.split(',').map(str::trim).all(is_right) {
            return Ok(Self(text.to_owned()));
        }
        Err(ModelError::LogFilter(text.to_owned()))
    }
}

impl TryFrom<String> for LogFilter {
    type Error = ModelError;

    fn try_from(text: String) -> Result<Self, ModelError> {
        text.parse()
    }
}

impl From<LogFilter> for String {
    fn from(filter: LogFilter) -> Self {
        filter.0
    }
}

impl fmt::Display for LogFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_and_levels_of_parts_are_taken_and_misspelt_ones_are_not() {
        for right in ["info", "off", "debug,lbctl::slow=off", "warn, lb_user::io::vrrp=trace"] {
            assert_eq!(right.parse::<LogFilter>().map(String::from), Ok(right.to_owned()));
        }
        for wrong in ["", "inof", "INFO ", "info,", "debug=", "=debug", "lbctl::slow", "lbctl::slow=5"] {
            assert!(wrong.parse::<LogFilter>().is_err(), "{wrong:?}");
        }
    }
}
