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
        let level = |word: &str| {
            let word = word.to_ascii_lowercase();
            LEVELS.contains(&word.as_str()).then_some(word)
        };
        // The library takes any word for a part whose every level is wanted, a misspelt level as well.
        let directive = |text: &str| match text.trim().split_once('=') {
            Some((part, word)) if is_path(part) => Some(format!("{part}={}", level(word)?)),
            Some(_) => None,
            None => level(text.trim()),
        };
        let all: Option<Vec<String>> = text.split(',').map(directive).collect();
        all.map(|all| Self(all.join(","))).ok_or_else(|| ModelError::LogFilter(text.to_owned()))
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
        let right = [
            ("info", "info"),
            ("OFF", "off"),
            ("debug,lbctl::slow=off", "debug,lbctl::slow=off"),
            ("warn, lb_user::io::vrrp=Trace", "warn,lb_user::io::vrrp=trace"),
        ];
        for (text, kept) in right {
            assert_eq!(text.parse::<LogFilter>().map(String::from), Ok(kept.to_owned()));
            assert!(tracing_subscriber::EnvFilter::try_new(kept).is_ok(), "{kept}");
        }
        for wrong in ["", "inof", "info,", "debug=", "=debug", "lbctl::slow", "lbctl::slow=5", "a b=info"] {
            assert!(wrong.parse::<LogFilter>().is_err(), "{wrong:?}");
        }
    }
}
