//! Decisions without input or output: given facts and a time, what should be done.
//!
//! Nothing here names tokio, aya, a socket or a clock. Time is an argument. The modules do not know each
//! other; [`plan`] alone brings their answers together.

pub mod acme;
pub mod announce;
pub mod certificate;
pub mod expiry;
pub mod explain;
pub mod flood;
pub mod flow_sync;
pub mod frame_text;
pub mod health;
pub mod mysql;
pub mod plan;
pub mod probe;
pub mod proxy;
pub mod schedule;
pub mod track;
pub mod vrrp;
