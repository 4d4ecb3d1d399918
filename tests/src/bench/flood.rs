//! Floods: what new and old clients get while one lasts, by way of our program and of HAProxy on the same host, and what it costs.
//!
//! Both stand in the same lab, behind the same link, and meet the same packets at the same rate, one after the
//! other. HAProxy's host is Linux with its own SYN cookies on, as it comes.

use super::load::CpuTimes;
use super::report::{Row, median};
use super::traffic::{BpfStats, HAPROXY_PORT, start_haproxy};
use crate::flood::{Flood, Kind, swallow_answers};
use crate::lab::addresses::{VIP_A, ipv4_of, vip};
use crate::lab::{Lab, interrupt, stay_on_one_cpu};
use anyhow::{Context, Result, anyhow, ensure};
use lb_user::api::Status;
use std::collections::VecDeque;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Ten times what the table of handshakes holds by default.
const SYNS: u32 = 655_360;
/// Packets of the other floods.
const PACKETS: u32 = 300_000;
const PER_SECOND: u32 = 100_000;
/// Connections that are open when a flood begins.
const KEPT: usize = 200;
/// Clients that open one connection after the other.
const CLIENTS: usize = 4;
/// A client that gets no answer for so long gives up.
const PATIENCE: Duration = Duration::from_secs(2);
const REQUEST: &[u8] = b"GET /small HTTP/1.1\r\nHost: lab\r\nConnection: keep-alive\r\n\r\n";

/// What clients saw while something went on.
#[derive(Debug, Default)]
struct Seen {
    /// How long each new connection took, with a request and its answer, in ms; those that failed are not among them.
    new_ms: Vec<f64>,
    failed: usize,
    /// Why the first of those failed.
    error: Option<String>,
    /// How long requests on connections took that were open before, in ms.
    kept_ms: Vec<f64>,
    /// Connections that were open before and are not usable any more.
    lost: usize,
    /// Kernel memory that was added at most, in MiB.
    grown_mib: f64,
    /// CPU time of the machine per packet of the flood, in µs, all that clients and servers did included.
    machine_us: f64,
    /// The program's time per packet of the flood in ns, that of the clients' packets included.
    program_ns: f64,
}

fn connect(target: SocketAddr) -> Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&target, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// One request and its answer.
fn ask(stream: &mut TcpStream) -> Result<()> {
    stream.write_all(REQUEST)?;
    let mut answer = [0; 4096];
    let mut bytes = 0;
    // 1024 bytes of content, and a head.
    while bytes < 1024 || !answer[..bytes].windows(4).any(|four| four == b"\r\n\r\n") {
        let read = stream.read(&mut answer[bytes..])?;
        ensure!(read > 0 && bytes + read < answer.len(), "no answer");
        bytes += read;
    }
    Ok(())
}

/// Ends a connection with RST: a client that keeps thousands in TIME-WAIT, without timestamps by which they could be used
/// again, runs out of ports.
fn reset(stream: TcpStream) -> Result<()> {
    let linger = nix::libc::linger { l_onoff: 1, l_linger: 0 };
    Ok(nix::sys::socket::setsockopt(&stream, nix::sys::socket::sockopt::Linger, &linger)?)
}

/// A client of connections that are open: a request on one after the other, until it is over.
fn keeper(kept: Vec<TcpStream>, over: &AtomicBool) -> Result<Seen> {
    stay_on_one_cpu(0)?;
    let mut seen = Seen::default();
    let mut kept: VecDeque<_> = kept.into();
    while !over.load(Ordering::Relaxed)
        && let Some(mut stream) = kept.pop_front()
    {
        let begun = Instant::now();
        if ask(&mut stream).is_ok() {
            seen.kept_ms.push(begun.elapsed().as_secs_f64() * 1000.0);
            kept.push_back(stream);
        }
        std::thread::sleep(Duration::from_millis(2)); // poll: the clock; a client's pace, nothing is waited for
    }
    kept.retain_mut(|stream| ask(stream).is_ok());
    seen.lost = KEPT - kept.len();
    Ok(seen)
}

/// One client: connections one after the other, until it is over.
fn client(cpu: usize, target: SocketAddr, over: &AtomicBool) -> Result<Seen> {
    stay_on_one_cpu(cpu)?;
    let mut seen = Seen::default();
    while !over.load(Ordering::Relaxed) {
        let begun = Instant::now();
        match connect(target).and_then(|mut stream| ask(&mut stream).and_then(|()| reset(stream))) {
            Ok(()) => seen.new_ms.push(begun.elapsed().as_secs_f64() * 1000.0),
            Err(error) => {
                seen.failed += 1;
                seen.error.get_or_insert(format!("{error:#}"));
            }
        }
    }
    Ok(seen)
}

/// Clients at work during `flood`, or without one for as long as it would take.
fn watch(lab: &Lab, target: SocketAddr, flood: Option<Flood>, agent: i32) -> Result<Seen> {
    interrupt::check()?;
    let open = || -> Result<TcpStream> {
        let mut stream = connect(target)?;
        ask(&mut stream)?;
        Ok(stream)
    };
    let kept: Vec<TcpStream> =
        lab.host("client").inside(|| (0..KEPT).map(|_| open()).collect::<Result<_>>())??;
    let over = AtomicBool::new(false);
    let (before, memory) = (CpuTimes::read(&[], agent)?, kernel_kib()?);
    let mut seen = std::thread::scope(|scope| -> Result<Seen> {
        let over = &over;
        let mut clients: Vec<_> = (0..CLIENTS)
            .map(|number| scope.spawn(move || lab.host("client").inside(|| client(number, target, over))?))
            .collect();
        clients.push(scope.spawn(|| lab.host("client").inside(|| keeper(kept, over))?));
        let peak = scope.spawn(|| peak_kib(over));
        let sent = match flood {
            Some(flood) => flood.send_from_all_cpus(lab, &AtomicBool::new(false)),
            None => {
                std::thread::sleep(Duration::from_secs(3)); // poll: how long the quiet lasts, nothing is waited for
                Ok(())
            }
        };
        over.store(true, Ordering::Relaxed);
        let mut all = Seen::default();
        for client in clients {
            let seen = client.join().map_err(|_| anyhow!("a client panicked"))??;
            all.new_ms.extend(seen.new_ms);
            all.kept_ms.extend(seen.kept_ms);
            all.failed += seen.failed;
            all.lost += seen.lost;
            all.error = all.error.or(seen.error);
        }
        let peak = peak.join().map_err(|_| anyhow!("the thread that looks at the memory panicked"))??;
        all.grown_mib = (peak - memory) / 1024.0;
        sent.map(|()| all)
    })?;
    let used = CpuTimes::read(&[], agent)?.since(&before);
    if let Some(error) = &seen.error {
        println!("  {} connections to {target} failed, the first of them so: {error}", seen.failed);
    }
    let packets = f64::from(flood.map_or(1, |flood| flood.packets));
    seen.machine_us = used.machine_us / packets;
    seen.program_ns = used.of(&["XDP program"]) * 1000.0 / packets;
    Ok(seen)
}

fn percent(seen: &Seen) -> f64 {
    let tried = seen.new_ms.len() + seen.failed;
    100.0 * seen.new_ms.len() as f64 / tried.max(1) as f64
}

fn at(times_ms: &[f64], share: f64) -> f64 {
    let mut sorted = times_ms.to_vec();
    sorted.sort_by(f64::total_cmp);
    let index = (sorted.len() as f64 * share) as usize;
    sorted.get(index.min(sorted.len().saturating_sub(1))).copied().unwrap_or(f64::NAN)
}

/// What a flood costs both.
fn rows(case: &str, ours: &Seen, theirs: &Seen, is_flood: bool) -> Vec<Row> {
    let row = |metric: &str, unit: &str, figure: &dyn Fn(&Seen) -> f64| {
        Row::new(case, metric, unit, figure(ours)).peer("HAProxy", figure(theirs))
    };
    let mut rows = vec![
        row("new connections answered", "%", &percent).at_least(99.0),
        row("how many of them", "", &|seen| seen.new_ms.len() as f64),
        row("new connection p50", "ms", &|seen| median(seen.new_ms.clone())),
        row("new connection p99", "ms", &|seen| at(&seen.new_ms, 0.99)).at_most_of("HAProxy", 1.0, "1 ×"),
        row("request on an open connection p99", "ms", &|seen| at(&seen.kept_ms, 0.99)),
        row("kernel memory grown, at most", "MiB", &|seen| seen.grown_mib),
        row(&format!("open connections lost, of {KEPT}"), "", &|seen| seen.lost as f64).at_most(0.0),
    ];
    if is_flood {
        rows.push(row("whole machine busy", "µs/packet of the flood", &|seen| seen.machine_us));
        rows.push(Row::new(case, "our program", "ns/packet of the flood", ours.program_ns));
    }
    rows
}

/// Measures all cases in a lab of its own.
pub fn run() -> Result<Vec<Row>> {
    super::in_lab(measure)
}

/// The most that [`kernel_kib`] says until it is over.
fn peak_kib(over: &AtomicBool) -> Result<f64> {
    let mut peak = kernel_kib()?;
    while !over.load(Ordering::Relaxed) {
        std::thread::sleep(Duration::from_millis(50)); // poll: the clock, nothing is waited for
        peak = peak.max(kernel_kib()?);
    }
    Ok(peak)
}

/// What the kernel's allocator holds for sockets, handshakes and packets, in KiB: what floods may fill.
fn kernel_kib() -> Result<f64> {
    let text = std::fs::read_to_string("/proc/meminfo").context("/proc/meminfo")?;
    let line =
        text.lines().find_map(|line| line.strip_prefix("Slab:")).context("no Slab in /proc/meminfo")?;
    Ok(line.split_whitespace().next().unwrap_or_default().parse()?)
}

/// What our tables of flows take, whatever comes.
fn flow_tables_mib(lab: &Lab) -> Result<f64> {
    let status: Status = serde_json::from_str(&lab.agent_get("lb1", "/v1/status")?.body)?;
    let tables =
        status.tables.iter().filter(|table| ["established", "embryonic"].contains(&table.name.as_str()));
    Ok(tables.map(|table| table.bytes as f64).sum::<f64>() / f64::from(1 << 20))
}

fn measure(lab: &Lab) -> Result<Vec<Row>> {
    start_haproxy(lab)?;
    swallow_answers(lab)?;
    let agent = lab.process_id("lb1", "agent")?;
    let _stats = BpfStats::on()?;
    let ours = SocketAddr::new(vip(VIP_A)[0], 80);
    let theirs = SocketAddr::from((ipv4_of("lb1"), HAPROXY_PORT));
    let cases = [
        ("no flood", None, 0),
        ("SYNs, 10 tables full", Some(Kind::Syn), SYNS),
        ("ACKs", Some(Kind::Ack), PACKETS),
        ("fragments", Some(Kind::Fragment), PACKETS),
        ("ICMP errors", Some(Kind::IcmpError), PACKETS),
        ("pings", Some(Kind::Echo), PACKETS),
    ];
    let mut all = vec![Row::new("all", "flow tables, of fixed size", "MiB", flow_tables_mib(lab)?)];
    for (case, kind, packets) in cases {
        let mut seen = Vec::new();
        for target in [ours, theirs] {
            let flood = kind.map(|kind| Flood { kind, target, packets, per_second: PER_SECOND, first: 0 });
            seen.push(watch(lab, target, flood, agent)?);
        }
        all.extend(rows(case, &seen[0], &seen[1], kind.is_some()));
    }
    Ok(all)
}
