//! What sharing flows costs: bytes, CPU time, and how long it takes until the other node has a flow.

use super::connections::wait_until_in_sync;
use crate::bench::load::{Plan, wrk};
use crate::bench::report::{Row, median};
use crate::lab::addresses::{VIP_A, vip};
use crate::lab::{Lab, interrupt, poll};
use anyhow::{Context as _, Result, ensure};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(20);
const LOAD: Duration = Duration::from_secs(10);
const DELAYS: usize = 100;
/// The kernel counts a thread's time in these.
const TICK_MS: f64 = 10.0;

/// Of the nodes of a lab that share flows.
pub(super) fn measure(lab: &Lab) -> Result<Vec<Row>> {
    poll::until("VIP A is back on lb1", PATIENCE, || {
        let view: serde_json::Value = serde_json::from_str(&lab.agent_get("lb1", "/v1/vrrp")?.body)?;
        ensure!(view["routers"][0]["active"] == true, "{view}");
        Ok(())
    })?;
    wait_until_in_sync(lab)?;
    let idle = spent(lab, || {
        let begun = Instant::now();
        poll::wait(2 * LOAD, || begun.elapsed() >= LOAD);
        Ok(())
    })?;
    let busy = spent(lab, || {
        let plan = Plan { connections: 64, duration: LOAD, close: true };
        wrk(lab, &format!("http://{}/small", vip(VIP_A)[0]), plan).map(drop)
    })?;
    let thousands = (busy.flows - idle.flows) / 1000.0;
    ensure!(thousands > 1.0, "only {} flows were begun", busy.flows);
    let each = |figure: fn(&Spent) -> f64| (figure(&busy) - figure(&idle)) / thousands;
    let case =
        format!("sharing flows, {:.0} a second that begin and end", thousands * 1000.0 / LOAD.as_secs_f64());
    let delays = delays(lab)?;
    Ok(vec![
        Row::new(case.clone(), "bytes told", "kB/1,000 flows", each(|one| one.bytes) / 1000.0),
        Row::new(case.clone(), "CPU of the node that tells", "ms/1,000 flows", each(|one| one.telling_ms)),
        Row::new(case.clone(), "CPU of the node that is told", "ms/1,000 flows", each(|one| one.told_ms)),
        Row::new("a new flow", "until the other node has it, median", "ms", median(delays.clone())),
        Row::new(
            "a new flow",
            "until the other node has it, most",
            "ms",
            delays.iter().copied().fold(0.0, f64::max),
        ),
        Row::new("no flow", "CPU of each node", "ms/s", idle.telling_ms / LOAD.as_secs_f64()),
    ])
}

struct Spent {
    flows: f64,
    bytes: f64,
    telling_ms: f64,
    told_ms: f64,
}

fn spent(lab: &Lab, work: impl FnOnce() -> Result<()>) -> Result<Spent> {
    interrupt::check()?;
    let read = || -> Result<Spent> {
        Ok(Spent {
            flows: promoted(lab)?,
            bytes: sent_bytes(lab)?,
            telling_ms: thread_ms(lab, "lb1")?,
            told_ms: thread_ms(lab, "lb2")?,
        })
    };
    let before = read()?;
    work()?;
    wait_until_in_sync(lab)?;
    let after = read()?;
    Ok(Spent {
        flows: after.flows - before.flows,
        bytes: after.bytes - before.bytes,
        telling_ms: after.telling_ms - before.telling_ms,
        told_ms: after.told_ms - before.told_ms,
    })
}

fn promoted(lab: &Lab) -> Result<f64> {
    let view: serde_json::Value = serde_json::from_str(&lab.agent_get("lb1", "/v1/counters")?.body)?;
    let mut all = view["outcomes"].as_array().context("no outcomes")?.iter();
    let promoted = all.find(|one| one["name"] == "promoted").context("promoted flows are not counted")?;
    promoted["count"].as_f64().context("no number")
}

fn sent_bytes(lab: &Lab) -> Result<f64> {
    let view: serde_json::Value = serde_json::from_str(&lab.agent_get("lb1", "/v1/sync")?.body)?;
    view["peers"][0]["sent_bytes"].as_f64().context("no number")
}

/// CPU time of the thread that shares flows.
fn thread_ms(lab: &Lab, node: &str) -> Result<f64> {
    let tasks = format!("/proc/{}/task", lab.process_id(node, "agent")?);
    for task in std::fs::read_dir(tasks)? {
        let stat = std::fs::read_to_string(task?.path().join("stat"))?;
        let (name, rest) = stat.split_once(") ").context("another kind of stat")?;
        if !name.ends_with("(flow-sync") {
            continue;
        }
        let fields: Vec<&str> = rest.split_whitespace().collect();
        let ticks = |at: usize| fields.get(at).context("too short")?.parse::<f64>().context("no number");
        return Ok((ticks(11)? + ticks(12)?) * TICK_MS);
    }
    anyhow::bail!("the agent of {node} has no thread that shares flows")
}

/// From the end of a handshake until the other node lists the flow, in ms.
fn delays(lab: &Lab) -> Result<Vec<f64>> {
    let address = SocketAddr::new(vip(VIP_A)[0], 80);
    let mut delays = Vec::new();
    for _ in 0..DELAYS {
        interrupt::check()?;
        let stream = lab.host("client").inside(|| TcpStream::connect(address))??;
        let begun = Instant::now();
        let client = format!("\"client\":\"{}\"", stream.local_addr()?);
        loop {
            let flows = lab.agent_get("lb2", "/v1/flows?client=10.90.0.10&limit=5000")?.body;
            if flows.contains(&client) {
                delays.push(begun.elapsed().as_secs_f64() * 1000.0);
                break;
            }
            ensure!(begun.elapsed() < PATIENCE, "{client} is not in {flows}");
        }
    }
    Ok(delays)
}
