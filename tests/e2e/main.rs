//! The end-to-end tests: one binary. They need root, and make and remove what they need themselves.

mod client;
mod failures;
mod packets;
mod path_mtu;
mod traffic;
mod transfers;
