//! Sessions of databases: statements that are routed one by one, against HAProxy, which routes connections to the primary and knows no statement, and
//! against the primary itself.
//!
//! `sysbench` is the client. Servers, proxies and client share the machine's cores, so a second server adds no speed: the CPU time of each
//! proxy is reported for itself.

use super::{LASTS, Peer, Row, Way, rounds, row, start};
use crate::bench::load::Load;
use crate::lab::addresses::ipv4_of;
use crate::lab::{Lab, poll};
use anyhow::{Context, Result, ensure};
use std::net::SocketAddr;
use std::time::Duration;

const HAPROXY: &str = "HAProxy";
const DIRECT: &str = "direct";
const PEER: Peer =
    Peer { name: HAPROXY, program: "haproxy", port: 3390, config: haproxy, arguments: &["-db", "-f"] };
const ROWS: &str = "10000";

fn haproxy(port: u16) -> String {
    format!(
        "global\n nbthread 2\n maxconn 7000\ndefaults\n mode tcp\n timeout connect 5s\n timeout client 10m\n timeout server 10m\n\
         listen db\n bind 10.80.0.2:{port}\n server db1 10.80.0.31:3306\n"
    )
}

/// What `sysbench` does.
#[derive(Clone, Copy)]
struct Case {
    script: &'static str,
    threads: usize,
    is_prepared: bool,
}

impl Case {
    fn words(self) -> String {
        let how = if self.is_prepared { "prepared" } else { "text" };
        format!("{}, {} threads, {how}", self.script, self.threads)
    }
}

fn arguments(way: SocketAddr, case: Case, duration: Duration) -> Vec<String> {
    let prepared = if case.is_prepared { "auto" } else { "disable" };
    vec![
        case.script.to_owned(),
        format!("--mysql-host={}", way.ip()),
        format!("--mysql-port={}", way.port()),
        "--mysql-user=app".to_owned(),
        "--mysql-password=app-password".to_owned(),
        "--mysql-db=notes".to_owned(),
        "--tables=1".to_owned(),
        format!("--table-size={ROWS}"),
        format!("--threads={}", case.threads),
        format!("--time={}", duration.as_secs()),
        format!("--db-ps-mode={prepared}"),
        "--percentile=99".to_owned(),
        // What two sessions do at the same time to one row is not what is measured.
        "--mysql-ignore-errors=1213,1020,1205".to_owned(),
    ]
}

fn sysbench(lab: &Lab, way: &Way, case: Case, duration: Duration, command: &str) -> Result<Load> {
    let output = lab
        .host("client")
        .command("sysbench")
        .args(arguments(way.address, case, duration))
        .arg(command)
        .output()
        .context("sysbench")?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    ensure!(output.status.success(), "{}: {text}{}", way.name, String::from_utf8_lossy(&output.stderr));
    let figure = |name: &str| -> Option<f64> {
        let line = text.lines().find_map(|line| line.trim().strip_prefix(name))?;
        line.split_whitespace().next()?.trim_start_matches('(').parse().ok()
    };
    let queries = figure("queries:").unwrap_or(f64::NAN);
    Ok(Load {
        requests_per_second: queries / duration.as_secs_f64(),
        requests: queries,
        p50_ms: figure("avg:").unwrap_or(f64::NAN),
        p99_ms: figure("99th percentile:").unwrap_or(f64::NAN),
        bytes_per_second: f64::NAN,
    })
}

fn case_rows(lab: &Lab, ways: &[Way], agent: i32, case: Case) -> Result<Vec<Row>> {
    let samples = rounds(ways, agent, LASTS, |way, duration| sysbench(lab, way, case, duration, "run"))?;
    let words = case.words();
    let of = |metric, unit, figure: fn(&super::Sample) -> f64| {
        row(ways, &samples, (words.as_str(), metric, unit), figure)
    };
    Ok(vec![
        of("queries", "1/s", |sample| sample.load.requests_per_second).at_least_of(HAPROXY, 1.0),
        of("own CPU", "µs/query", |sample| sample.own_us / sample.load.requests),
        of("p99 of a transaction", "ms", |sample| sample.load.p99_ms),
    ])
}

pub(super) fn measure(lab: &Lab) -> Result<Vec<Row>> {
    let _stats = crate::bench::traffic::BpfStats::on()?;
    poll::until("the roles are known", Duration::from_secs(20), || {
        let output = lab.lbctl("lb1")?.args(["mysql", "nodes"]).output()?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        ensure!(text.contains("primary ") && text.contains("replica "), "{text}");
        Ok(())
    })?;
    let ours = Way {
        name: "ours",
        address: SocketAddr::from(([10, 80, 0, 100], 3306)),
        cpu: &[super::AGENT, super::PROGRAM],
        pid: Some(lab.process_id("lb1", "agent")?),
    };
    let direct = Way { name: DIRECT, address: SocketAddr::from((ipv4_of("db1"), 3306)), cpu: &[], pid: None };
    let first = Case { script: "oltp_read_write", threads: 1, is_prepared: false };
    sysbench(lab, &direct, first, Duration::from_secs(1), "prepare")?;
    let ways = [ours, start(lab, &PEER)?, direct];
    let agent = lab.process_id("lb1", "agent")?;
    let mut rows = Vec::new();
    for (script, threads, is_prepared) in [
        ("oltp_point_select", 1, false),
        ("oltp_point_select", 4, false),
        ("oltp_point_select", 64, false),
        ("oltp_point_select", 4, true),
        ("oltp_read_only", 4, true),
        ("oltp_read_write", 4, true),
        ("oltp_write_only", 4, true),
    ] {
        rows.extend(case_rows(lab, &ways, agent, Case { script, threads, is_prepared })?);
    }
    Ok(rows)
}
