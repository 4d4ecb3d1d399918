//! Load on the lab, and what it costs: `wrk` from the client, CPU time from the kernel's accounts.

use anyhow::{Context, Result, anyhow, ensure};
use std::collections::BTreeMap;
use std::time::Duration;

use crate::lab::Lab;

/// What `wrk` said.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Load {
    /// Requests answered per second.
    pub requests_per_second: f64,
    /// All requests answered.
    pub requests: f64,
    /// Median latency in ms.
    pub p50_ms: f64,
    /// 99th percentile of latency in ms.
    pub p99_ms: f64,
    /// Bytes received per second.
    pub bytes_per_second: f64,
}

/// How to load.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Connections at a time.
    pub connections: u32,
    /// For how long.
    pub duration: Duration,
    /// A new connection for each request.
    pub close: bool,
}

/// Runs `wrk` on the client.
pub fn wrk(lab: &Lab, url: &str, plan: Plan) -> Result<Load> {
    let mut command = lab.host("client").command("wrk");
    command.args(["-t2", "--latency", &format!("-c{}", plan.connections)]);
    command.arg(format!("-d{}s", plan.duration.as_secs()));
    if plan.close {
        command.args(["-H", "Connection: close"]);
    }
    let output = command.arg(url).output().context("running wrk; Debian's package is called wrk")?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    ensure!(output.status.success(), "wrk failed: {text}{}", String::from_utf8_lossy(&output.stderr));
    ensure!(!text.contains("Non-2xx"), "wrk got errors instead of pages from {url}:\n{text}");
    parse(&text).with_context(|| format!("reading wrk's output:\n{text}"))
}

fn parse(text: &str) -> Result<Load> {
    let field = |label: &str| -> Result<&str> {
        let line = text.lines().find(|line| line.trim_start().starts_with(label));
        let line = line.ok_or_else(|| anyhow!("no line {label:?}"))?.trim_start();
        Ok(line[label.len()..].split_whitespace().next().unwrap_or_default())
    };
    let requests =
        text.lines().find_map(|line| line.trim().split_once(" requests in ")).map(|(count, _)| count);
    Ok(Load {
        requests_per_second: field("Requests/sec:")?.parse()?,
        requests: requests.ok_or_else(|| anyhow!("no count of requests"))?.trim().parse()?,
        p50_ms: milliseconds(field("50%")?)?,
        p99_ms: milliseconds(field("99%")?)?,
        bytes_per_second: bytes(field("Transfer/sec:")?)?,
    })
}

fn with_unit(text: &str, units: &[(&str, f64)]) -> Result<f64> {
    for (unit, factor) in units {
        if let Some(number) = text.strip_suffix(unit) {
            return Ok(number.parse::<f64>()? * factor);
        }
    }
    Err(anyhow!("{text:?} has an unknown unit"))
}

fn milliseconds(text: &str) -> Result<f64> {
    with_unit(text, &[("us", 0.001), ("ms", 1.0), ("s", 1000.0), ("m", 60_000.0)])
}

fn bytes(text: &str) -> Result<f64> {
    with_unit(text, &[("KB", 1024.0), ("MB", 1_048_576.0), ("GB", 1_073_741_824.0), ("B", 1.0)])
}

/// CPU time used so far, in microseconds.
#[derive(Clone, Debug, Default)]
pub struct CpuTimes {
    /// All CPUs busy, whoever with.
    pub machine_us: f64,
    /// Processes by name, and `XDP program`.
    pub by_name: BTreeMap<String, f64>,
}

impl CpuTimes {
    /// Reads the accounts. `processes` are names and ids; the XDP program's time is taken from the
    /// descriptor that the agent `agent_pid` holds (needs `kernel.bpf_stats_enabled`).
    pub fn read(processes: &[(&str, i32)], agent_pid: i32) -> Result<Self> {
        let mut by_name = BTreeMap::new();
        for (name, pid) in processes {
            by_name.insert((*name).to_owned(), process_us(*pid)?);
        }
        by_name.insert("XDP program".to_owned(), program_us(agent_pid)?);
        Ok(Self { machine_us: machine_us()?, by_name })
    }

    /// What was used since.
    #[must_use]
    pub fn since(&self, before: &Self) -> Self {
        let used = |(name, now): (&String, &f64)| {
            (name.clone(), now - before.by_name.get(name).copied().unwrap_or(0.0))
        };
        Self {
            machine_us: self.machine_us - before.machine_us,
            by_name: self.by_name.iter().map(used).collect(),
        }
    }

    /// Of these, together.
    pub fn of(&self, names: &[&str]) -> f64 {
        names.iter().filter_map(|name| self.by_name.get(*name)).sum()
    }
}

/// Microseconds in a tick of /proc: USER_HZ is 100 on every architecture in use.
const TICK_US: f64 = 10_000.0;

fn machine_us() -> Result<f64> {
    let text = std::fs::read_to_string("/proc/stat").context("/proc/stat")?;
    let line = text.lines().next().unwrap_or_default();
    let ticks: Vec<f64> = line.split_whitespace().skip(1).filter_map(|word| word.parse().ok()).collect();
    // user nice system idle iowait irq softirq steal: all but idle, iowait and steal.
    let busy = [0, 1, 2, 5, 6].iter().filter_map(|index| ticks.get(*index)).sum::<f64>();
    Ok(busy * TICK_US)
}

fn process_us(pid: i32) -> Result<f64> {
    let path = format!("/proc/{pid}/stat");
    let text = std::fs::read_to_string(&path).context(path)?;
    // The name in parentheses may hold anything; the fields after it do not.
    let rest = text.rsplit_once(')').map_or("", |(_, rest)| rest);
    let fields: Vec<&str> = rest.split_whitespace().collect();
    let ticks = |index: usize| fields.get(index).and_then(|field| field.parse::<f64>().ok()).unwrap_or(0.0);
    Ok((ticks(11) + ticks(12)) * TICK_US)
}

fn program_us(agent_pid: i32) -> Result<f64> {
    let dir = format!("/proc/{agent_pid}/fdinfo");
    let mut found: Option<f64> = None;
    for entry in std::fs::read_dir(&dir).with_context(|| dir.clone())? {
        // A descriptor may close while we look.
        let Ok(text) = std::fs::read_to_string(entry?.path()) else { continue };
        let field = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
        // BPF_PROG_TYPE_XDP is 6.
        if field("prog_type:") == Some("6") {
            // One that is attached, and others that are not and take no time.
            let time = field("run_time_ns:").and_then(|time| time.parse::<f64>().ok());
            found = time.map(|time| time + found.unwrap_or(0.0)).or(found);
        }
    }
    Ok(found.ok_or_else(|| anyhow!("agent {agent_pid} holds no XDP program"))? / 1000.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const OUTPUT: &str = "Running 5s test @ http://10.80.0.100/small
  2 threads and 64 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency     1.11ms    1.01ms  20.11ms   91.11%
    Req/Sec    35.00k     2.00k   40.00k    70.00%
  Latency Distribution
     50%  812.00us
     75%    1.25ms
     90%    2.00ms
     99%    4.50ms
  351234 requests in 5.01s, 421.11MB read
Requests/sec:  70106.58
Transfer/sec:     84.05MB
";

    #[test]
    fn wrks_words_become_numbers() {
        let load = parse(OUTPUT).expect("it parses");
        assert_eq!(load.requests_per_second, 70106.58);
        assert_eq!(load.requests, 351_234.0);
        assert_eq!((load.p50_ms, load.p99_ms), (0.812, 4.5));
        assert!((load.bytes_per_second - 84.05 * 1_048_576.0).abs() < 1.0);
    }

    #[test]
    fn an_output_without_figures_is_an_error() {
        assert!(parse("unable to connect").is_err());
    }
}
