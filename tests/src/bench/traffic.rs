//! Real traffic in the lab: ours against HAProxy in TCP mode and against no load balancer at all, on the same
//! hosts, in the same run, taking turns.

use super::load::{CpuTimes, Load, Plan, wrk};
use super::report::{Row, median};
use crate::lab::addresses::ipv4_of;
use crate::lab::{Lab, interrupt, poll, processes, programs};
use anyhow::{Context, Result};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::time::Duration;

const ROUNDS: usize = 7;
pub(super) const HAPROXY_PORT: u16 = 8081;
/// What of our own CPU time falls while our load runs. The agent's falls later too: it sweeps flows that have ended.
const PROGRAM: &str = "XDP program";
const AGENT: &str = "agent";

/// One way to the web servers.
struct Way {
    name: &'static str,
    base: &'static str,
    cpu: &'static [&'static str],
}

const WAYS: [Way; 3] = [
    Way { name: "ours", base: "http://10.80.0.100", cpu: &[PROGRAM] },
    Way { name: "HAProxy", base: "http://10.80.0.2:8081", cpu: &["HAProxy"] },
    Way { name: "direct", base: "http://10.80.0.21", cpu: &[] },
];

/// What one run cost.
struct Sample {
    load: Load,
    own_us: f64,
    /// The agent's part of it.
    agent_us: f64,
    machine_us: f64,
}

/// Turns the kernel's accounting of BPF run time on, and off again when dropped.
pub(super) struct BpfStats(String);

const BPF_STATS: &str = "/proc/sys/kernel/bpf_stats_enabled";

impl BpfStats {
    pub(super) fn on() -> Result<Self> {
        let before = std::fs::read_to_string(BPF_STATS).context(BPF_STATS)?;
        std::fs::write(BPF_STATS, "1").context(BPF_STATS)?;
        Ok(Self(before))
    }
}

impl Drop for BpfStats {
    fn drop(&mut self) {
        // Nothing to be done about a failure here.
        let _ = std::fs::write(BPF_STATS, self.0.trim());
    }
}

pub(super) fn start_haproxy(lab: &Lab) -> Result<i32> {
    let config = format!(
        "global\n  nbthread 2\n  maxconn 4000\ndefaults\n  mode tcp\n  option splice-auto\n  timeout connect 5s\n  \
         timeout client 1m\n  timeout server 1m\nlisten web\n  bind 10.80.0.2:{HAPROXY_PORT}\n  balance roundrobin\n  \
         server web1 10.80.0.21:80\n  server web2 10.80.0.22:80\n"
    );
    let path: PathBuf = crate::lab::paths::host_dir("lb1").join("haproxy.cfg");
    std::fs::write(&path, config).with_context(|| path.display().to_string())?;
    let binary =
        programs::find("haproxy").context("HAProxy is the peer; Debian's package is called haproxy")?;
    processes::start(lab, "lb1", "haproxy", &binary, &["-db", "-f", &path.display().to_string()])?;
    poll::until("HAProxy listens", Duration::from_secs(10), || {
        let address = SocketAddr::from((ipv4_of("lb1"), HAPROXY_PORT));
        lab.host("lb1").inside(|| TcpStream::connect(address))??;
        Ok(())
    })?;
    lab.process_id("lb1", "haproxy")
}

/// Measures all cases in a lab of its own.
pub fn run() -> Result<Vec<Row>> {
    super::in_lab(measure)
}

fn measure(lab: &Lab) -> Result<Vec<Row>> {
    let haproxy = start_haproxy(lab)?;
    let agent = lab.process_id("lb1", "agent")?;
    let _stats = BpfStats::on()?;
    for web in ["web1", "web2"] {
        std::fs::write(lab.files_dir(web).join("bulk"), vec![b'x'; 16 << 20]).context("the bulk file")?;
    }
    let mut rows = Vec::new();
    let plan = Plan { connections: 64, duration: Duration::from_secs(3), close: false };
    let samples = rounds(lab, "/small", plan, haproxy, agent)?;
    rows.extend(request_rows("keep-alive, 64 connections, 1 KiB", &samples, 40.0, "1/40 of"));
    let samples = rounds(lab, "/small", Plan { close: true, ..plan }, haproxy, agent)?;
    rows.extend(request_rows("new connections, 64 at a time, 1 KiB", &samples, 20.0, "1/20 of"));
    let samples = rounds(lab, "/files/bulk", Plan { connections: 4, ..plan }, haproxy, agent)?;
    let rate = |load: &Load| load.bytes_per_second * 8.0 / 1e9;
    let row =
        figure_row("bulk, 4 connections, 16 MiB", "rate", "Gbit/s", &samples, |sample| rate(&sample.load));
    rows.push(row.at_least_of("HAProxy", 1.5));
    Ok(rows)
}

/// Samples of each way, in turns, so that what else the machine does falls on all alike.
fn rounds(lab: &Lab, path: &str, plan: Plan, haproxy: i32, agent: i32) -> Result<Vec<Vec<Sample>>> {
    let processes = [(AGENT, agent), ("HAProxy", haproxy)];
    let mut samples: Vec<Vec<Sample>> = WAYS.iter().map(|_| Vec::new()).collect();
    // The first second of each way warms caches and is not counted.
    for way in &WAYS {
        wrk(lab, &format!("{}{path}", way.base), Plan { duration: Duration::from_secs(1), ..plan })?;
    }
    for _ in 0..ROUNDS {
        let begun = CpuTimes::read(&processes, agent)?;
        for (way, samples) in WAYS.iter().zip(&mut samples) {
            interrupt::check()?;
            let before = CpuTimes::read(&processes, agent)?;
            let load = wrk(lab, &format!("{}{path}", way.base), plan)?;
            let used = CpuTimes::read(&processes, agent)?.since(&before);
            samples.push(Sample {
                load,
                own_us: used.of(way.cpu) / load.requests,
                agent_us: 0.0,
                machine_us: used.machine_us / load.requests,
            });
        }
        // All of the agent's time in this round is ours, also what it did while the others' load ran.
        let agent_us = CpuTimes::read(&processes, agent)?.since(&begun).of(&[AGENT]);
        if let Some(ours) = samples[0].last_mut() {
            ours.agent_us = agent_us / ours.load.requests;
            ours.own_us += ours.agent_us;
        }
    }
    Ok(samples)
}

/// A figure of all ways: the median of the rounds.
fn figure_row(
    case: &str,
    metric: &str,
    unit: &str,
    samples: &[Vec<Sample>],
    figure: impl Fn(&Sample) -> f64,
) -> Row {
    let mut figures = samples.iter().map(|samples| median(samples.iter().map(&figure).collect()));
    let mut row = Row::new(case, metric, unit, figures.next().unwrap_or(f64::NAN));
    for (way, theirs) in WAYS.iter().skip(1).zip(figures) {
        row = row.peer(way.name, theirs);
    }
    row
}

fn request_rows(case: &str, samples: &[Vec<Sample>], cpu_ratio: f64, words: &str) -> Vec<Row> {
    let row = |metric, unit, figure: fn(&Sample) -> f64| figure_row(case, metric, unit, samples, figure);
    vec![
        row("requests", "1/s", |sample| sample.load.requests_per_second).at_least_of("HAProxy", 1.15),
        row("own CPU", "µs/request", |sample| sample.own_us).at_most_of("HAProxy", 1.0 / cpu_ratio, words),
        row("the agent's part of it", "µs/request", |sample| sample.agent_us),
        row("whole machine busy", "µs/request", |sample| sample.machine_us),
        row("latency p50", "ms", |sample| sample.load.p50_ms),
        row("latency p99", "ms", |sample| sample.load.p99_ms).at_most_of("HAProxy", 1.0, "1 ×"),
    ]
}
