//! Thin shells around the core: each owns one kind of input or output and decides nothing.
//!
//! They do not know each other, nor the agent.

pub mod acme;
pub mod announce;
pub mod command;
pub mod confine;
pub mod dataplane;
pub mod hand_over;
pub mod health;
pub mod interface;
pub mod log;
pub mod neighbour;
pub mod prefix_file;
pub mod probe;
pub mod process;
pub mod proxy;
pub mod return_routes;
pub mod service_manager;
pub mod share;
pub mod sync;
pub mod tls;
pub mod urgency;
pub mod vrrp;
