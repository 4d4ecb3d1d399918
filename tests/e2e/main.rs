//! The end-to-end tests: one binary. They need root, and make and remove what they need themselves.

mod acme;
mod application;
mod client;
mod commands;
mod explain;
mod failover;
mod failures;
mod firewall;
mod flood;
mod instances;
mod interop;
mod limits;
mod modes;
mod moves;
mod packets;
mod path_mtu;
mod proxy;
mod schedulers;
mod sync;
mod tls;
mod trace;
mod tracking;
mod traffic;
mod transfers;
mod upgrade;
mod vrrp;
