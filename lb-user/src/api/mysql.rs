//! Services of databases over the wire.

use crate::model::{BackendName, Consistency, ServiceName};
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;

/// A service with mode `mysql`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MysqlView {
    /// Its name.
    pub service: ServiceName,
    /// How recent replicas have to be.
    pub consistency: Consistency,
    /// Who takes writes.
    pub primary: Option<BackendName>,
    /// Why nobody does, where that is so.
    pub no_primary: Option<String>,
    /// Its backends.
    pub nodes: Vec<MysqlNode>,
    /// How often what was sent where, and why.
    pub routes: Vec<RouteCount>,
    /// Its sessions.
    pub sessions: Vec<MysqlSession>,
}

/// A backend.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MysqlNode {
    /// Its name.
    pub backend: BackendName,
    /// Where it is asked.
    pub address: SocketAddr,
    /// `primary`, `replica` or `unfit`.
    pub role: String,
    /// How long ago the primary went on from what this replica has, in milliseconds.
    pub lag_ms: Option<u64>,
    /// Why it is unfit.
    pub why: Option<String>,
    /// What it calls itself.
    pub version: Option<String>,
    /// Which transactions it has: GTIDs.
    pub position: Option<String>,
    /// Where it replicates from.
    pub source: Option<String>,
}

/// How often something was sent somewhere.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RouteCount {
    /// `primary` or `replica`.
    pub target: String,
    /// Why, in a word.
    pub why: String,
    /// How often.
    pub count: u64,
}

/// What statements of one form cost: those that differ in nothing but literals.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MysqlDigest {
    /// A hash of the form, in hexadecimal digits; empty: of all forms for which there was no room.
    pub digest: String,
    /// The form: every literal is `?`.
    pub text: String,
    /// How many ran.
    pub count: u64,
    /// Of those, how many ended with an error.
    pub errors: u64,
    /// In all answers.
    pub rows: u64,
    /// All together, in microseconds.
    pub time_us: u64,
    /// The longest one, in microseconds.
    pub time_max_us: u64,
    /// How often where, and why.
    pub routes: Vec<RouteCount>,
}

/// A session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MysqlSession {
    /// What `KILL` knows it by.
    pub number: u32,
    /// Who it is.
    pub user: String,
    /// Where it comes from.
    pub client: SocketAddr,
    /// Why nothing of it is sent to a replica, in words of their own; empty: reads are.
    pub held: Vec<String>,
    /// Its connection to the primary.
    pub primary: Option<SocketAddr>,
    /// Its connection to a replica.
    pub replica: Option<SocketAddr>,
}

/// A statement to ask about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MysqlQuestion {
    /// The service.
    pub service: ServiceName,
    /// The text, as a client sends it.
    pub sql: String,
}

/// Where it would run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MysqlRoute {
    /// `primary` or `replica`.
    pub target: String,
    /// Why, in a word.
    pub why: String,
    /// And in a sentence.
    pub words: String,
}

/// A replica is to take the primary's place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MysqlPromotion {
    /// Which.
    pub backend: BackendName,
    /// The primary is down, and will not come back by itself.
    #[serde(default)]
    pub primary_is_down: bool,
    /// How long it may take to get what it lacks, in milliseconds.
    pub within_ms: u64,
}

/// It did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MysqlPromoted {
    /// Which.
    pub backend: BackendName,
    /// What is left to be done by hand.
    pub left: Vec<String>,
}

/// A session was told to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MysqlKilled {
    /// Which.
    pub number: u32,
}
