//! lbctl's kernel dataplane: what the XDP program, the agent and the tests share.
//!
//! Owns the map layouts ([`abi`]), the wire headers ([`wire`]) and the decisions that need no packet
//! memory ([`cookie`], [`csum`], [`steer`], [`flow_state`], [`outcome`]): all of them plain functions that run and
//! are tested on the host. The code that touches packets and maps is in `bpf`, which exists only for
//! the BPF target. Never allocates, never panics on packet contents.
#![no_std]
// The BPF target has fetch-and-add, but core offers it there through intrinsics only.
#![cfg_attr(target_arch = "bpf", feature(core_intrinsics), allow(internal_features))]

#[cfg(test)]
extern crate std;

pub mod abi;
#[cfg(target_arch = "bpf")]
pub mod bpf;
pub mod cookie;
pub mod csum;
pub mod flow_state;
pub mod outcome;
pub mod steer;
pub mod wire;
