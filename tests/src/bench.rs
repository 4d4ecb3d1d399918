//! Benchmarks: each against its peer, in the same run, on the same machine.
//!
//! A benchmark makes [`report::Report`]s: cases with a metric, our figure, the peers' figures and the target.
//! It prints a table, and writes `target/bench/NAME.json`. Whether a target is met is part of the result,
//! never a reason to fail.

mod chain;
pub mod failover;
pub mod firewall;
pub mod flood;
pub mod load;
mod modes;
pub mod proxy;
pub mod report;
pub mod traffic;
pub mod xdp;

use crate::lab::{Lab, Options, Progress, interrupt};
use anyhow::{Result, bail};
use report::{Report, Row};
use std::path::Path;

/// Runs a benchmark, prints its table and writes its figures to `DIR/NAME.json`.
pub fn run(name: &str, dir: &Path) -> Result<()> {
    // Ctrl-C is looked at between measurements, so that nothing is left behind.
    interrupt::install()?;
    let rows = match name {
        "xdp" => [xdp::run()?, traffic::run()?].concat(),
        "xdp-packets" => xdp::run()?,
        "xdp-traffic" => traffic::run()?,
        "firewall" => firewall::run()?,
        "flood" => flood::run()?,
        "proxy" => proxy::run()?,
        "tls" => proxy::run_tls()?,
        "mysql" => proxy::run_mysql()?,
        "failover" => [failover::run()?, failover::connections::run()?].concat(),
        "failover-blackout" => failover::run()?,
        "failover-connections" => failover::connections::run()?,
        other => bail!(
            "there is no benchmark {other:?}; there are: xdp, its halves xdp-packets and xdp-traffic, firewall, flood, proxy, tls, mysql, failover, and its \
             halves failover-blackout and failover-connections"
        ),
    };
    let report = Report::new(name, rows);
    println!("{}", report.markdown());
    report.write(dir)
}

/// Measures in a lab of its own, which goes down whatever comes of it.
fn in_lab(measure: fn(&Lab) -> Result<Vec<Row>>) -> Result<Vec<Row>> {
    in_lab_with(false, measure)
}

/// The same, with databases where they are wanted.
fn in_lab_with(database: bool, measure: fn(&Lab) -> Result<Vec<Row>>) -> Result<Vec<Row>> {
    let lab = Lab::up(Options { database, progress: Progress::Lines, ..Options::default() })?;
    let rows = measure(&lab);
    let down = lab.down();
    let rows = rows?;
    down?;
    Ok(rows)
}
