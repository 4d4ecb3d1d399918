//! What the end-to-end tests, packet cases and benchmarks stand on.
//!
//! Owns the lab: the reference topology as network namespaces with real servers. The binary `lab`
//! is a thin shell around it. Never talks to the insides of the agent: only to its binary and API.

pub mod bench;
pub mod flood;
pub mod keepalived;
pub mod lab;
