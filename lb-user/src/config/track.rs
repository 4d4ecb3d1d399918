//! `[track.NAME]`: what a virtual router's priority hangs on; and `[notify]`: who is told when its state changes.

use crate::model::ServiceName;
use std::fmt;
use std::time::Duration;

/// What is watched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tracker {
    /// Whether an interface is up and connected.
    Interface(String),
    /// Whether a service has so many backends that can take flows.
    Service {
        /// The service.
        name: ServiceName,
        /// How many of its backends at least, each with all its addresses.
        at_least: u32,
    },
    /// Whether the program is attached to all interfaces of the node.
    Dataplane,
    /// Whether a command ends well.
    Command(TrackedCommand),
}

/// A command that says by its exit status whether all is well.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrackedCommand {
    /// The program, by its whole path, and its arguments.
    pub words: Vec<String>,
    /// From the begin of one run to the next one's.
    pub interval: Duration,
    /// How long a run may take; then it is ended, and has failed.
    pub timeout: Duration,
    /// So many good runs in a row make it up.
    pub rise: u32,
    /// So many bad ones make it down.
    pub fall: u32,
}

impl fmt::Display for Tracker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Interface(name) => write!(f, "interface {name}"),
            Self::Service { name, at_least } => write!(f, "service {name} with {at_least} backends"),
            Self::Dataplane => f.write_str("dataplane"),
            Self::Command(command) => {
                let time = humantime::format_duration;
                write!(f, "command {:?} every {}", command.words.join(" "), time(command.interval))?;
                write!(f, " within {} rise {} fall {}", time(command.timeout), command.rise, command.fall)
            }
        }
    }
}

/// `[notify]`: a command that is run when a virtual router's state changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notify {
    /// The program, by its whole path, and its arguments.
    pub words: Vec<String>,
    /// How long it may take; then it is ended.
    pub timeout: Duration,
}

impl fmt::Display for Notify {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} within {}", self.words.join(" "), humantime::format_duration(self.timeout))
    }
}
