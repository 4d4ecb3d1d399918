//! Benchmarks: each against its peer, in the same run, on the same machine.
//!
//! A benchmark makes [`report::Report`]s: cases with a metric, our figure, the peers' figures and the target.
//! It prints a table, and writes `target/bench/NAME.json`. Whether a target is met is part of the result,
//! never a reason to fail.

pub mod report;
pub mod xdp;
