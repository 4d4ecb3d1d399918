//! The end-to-end tests: one binary. They need root, and make and remove what they need themselves.

mod packets;
mod traffic;
