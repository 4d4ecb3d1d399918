//! What priorities hang on, and who is told of changes.
//!
//! Owns the keys of `[track.NAME]` and `[notify]`.

use serde::Deserialize;

use super::value::{DurationText, OneOrMany};

/// `[track.NAME]`
///
/// Something that priorities hang on.
#[derive(Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct FileTracker {
    /// text | none | it is up while that interface is up and connected; looked at ten times a second
    pub(in crate::config) interface: Option<String>,
    /// text | none | it is up while that service has `at_least` backends that are ready and up on all their addresses
    pub(in crate::config) service: Option<String>,
    /// integer | `1` | with `service`: how many backends, 1 to 65535
    pub(in crate::config) at_least: Option<i64>,
    /// boolean | none | `true`: it is up while a program is attached to all of `node.interfaces`; looked at every
    /// second
    pub(in crate::config) dataplane: Option<bool>,
    /// text or list | none | it is up while that command, by its whole path and with its arguments, ends with
    /// status 0. It gets no input, and what it writes goes nowhere
    pub(in crate::config) command: Option<OneOrMany<String>>,
    /// duration | `"2s"` | with `command`: from the begin of one run to the next; 100 ms to 1 h
    pub(in crate::config) interval: Option<DurationText>,
    /// duration | `"1s"` | with `command`: how long one run may take before it is killed, with all it started; 1 ms
    /// to 1 day
    pub(in crate::config) timeout: Option<DurationText>,
    /// integer | `1` | with `command`: so many runs in a row that end well bring it up, 1 to 100. The first run
    /// decides at once; until its end it counts as up
    pub(in crate::config) rise: Option<i64>,
    /// integer | `1` | with `command`: so many runs in a row that fail take it down, 1 to 100. The first run decides
    /// at once
    pub(in crate::config) fall: Option<i64>,
}

/// `[notify]`
///
/// A command that is told of virtual routers' changes.
#[derive(Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct FileNotify {
    /// text or list | required | a program by its whole path, and arguments
    pub(in crate::config) command: Option<OneOrMany<String>>,
    /// duration | `"30s"` | then it is killed, with all it started; 1 ms to 1 h
    pub(in crate::config) timeout: Option<DurationText>,
}
