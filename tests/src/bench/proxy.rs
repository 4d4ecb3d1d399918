//! The userspace proxy against HAProxy (with and without splice), nginx's stream module, and no proxy at all: on the same host, to the same
//! servers, in the same run, taking turns.

use super::load::{CpuTimes, Load, Plan, wrk};
use super::report::{Row, median};
use crate::lab::addresses::ipv4_of;
use crate::lab::{Lab, interrupt, paths, poll, processes, programs};
use anyhow::{Context, Result, ensure};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

mod mysql;
mod tls;

const ROUNDS: usize = 5;
/// Each round of each way.
const LASTS: Duration = Duration::from_secs(3);
/// Of our service, at VIP A.
const PORT: u16 = 82;
/// Connections that say nothing, for what each costs.
const IDLE: usize = 4000;
const AGENT: &str = "agent";
const PROGRAM: &str = "XDP program";
const SPLICING: &str = "HAProxy, splice";
const COPYING: &str = "HAProxy";
const STREAM: &str = "nginx stream";
const DIRECT: &str = "direct";

/// One way to the web servers: whose CPU time it is, besides.
struct Way {
    name: &'static str,
    address: SocketAddr,
    cpu: &'static [&'static str],
    pid: Option<i32>,
}

/// A peer on lb1.
struct Peer {
    name: &'static str,
    program: &'static str,
    port: u16,
    config: fn(u16) -> String,
    arguments: &'static [&'static str],
}

const PEERS: [Peer; 3] = [
    Peer {
        name: SPLICING,
        program: "haproxy",
        port: 8081,
        config: |port| haproxy(port, "option splice-auto"),
        arguments: &["-db", "-f"],
    },
    Peer {
        name: COPYING,
        program: "haproxy",
        port: 8082,
        config: |port| haproxy(port, ""),
        arguments: &["-db", "-f"],
    },
    Peer { name: STREAM, program: "nginx", port: 8083, config: nginx, arguments: &["-c"] },
];

fn haproxy(port: u16, option: &str) -> String {
    format!(
        "global\n nbthread 2\n maxconn 7000\ndefaults\n mode tcp\n {option}\n timeout connect 5s\n timeout client 10m\n \
         timeout server 10m\nlisten web\n bind 10.80.0.2:{port}\n balance roundrobin\n server web1 10.80.0.21:80\n \
         server web2 10.80.0.22:80\n"
    )
}

fn nginx(port: u16) -> String {
    let folder = paths::host_dir("lb1").display().to_string();
    // Debian has the module in a package of its own.
    format!(
        "load_module /usr/lib/nginx/modules/ngx_stream_module.so;\ndaemon off;\nuser root;\nworker_processes 2;\npid {folder}/nginx.pid;\n\
         error_log {folder}/nginx-error.log;\nworker_rlimit_nofile 20000;\nevents {{ worker_connections 9000; }}\n\
         stream {{\n upstream web {{ server 10.80.0.21:80; server 10.80.0.22:80; }}\n \
         server {{ listen 10.80.0.2:{port} reuseport backlog=4096; proxy_pass web; }}\n}}\n"
    )
}

fn start(lab: &Lab, peer: &Peer) -> Result<Way> {
    let name: String = peer.name.chars().filter(char::is_ascii_alphabetic).collect();
    let path = paths::host_dir("lb1").join(format!("{name}.cfg"));
    std::fs::write(&path, (peer.config)(peer.port)).with_context(|| path.display().to_string())?;
    let binary = programs::find(peer.program).with_context(|| format!("{} is a peer", peer.program))?;
    let file = path.display().to_string();
    let arguments = [peer.arguments, &[file.as_str()]].concat();
    processes::start(lab, "lb1", &name, &binary, &arguments)?;
    let address = SocketAddr::from((ipv4_of("lb1"), peer.port));
    poll::until(&format!("{} listens", peer.name), Duration::from_secs(10), || {
        lab.host("lb1").inside(|| TcpStream::connect(address))??;
        Ok(())
    })?;
    Ok(Way { name: peer.name, address, cpu: &[], pid: Some(lab.process_id("lb1", &name)?) })
}

fn start_ours(lab: &Lab) -> Result<Way> {
    let mut text = lab.agent_config("lb1")?;
    text.push_str(&format!("\n[service.proxied]\nvips = \"A\"\nport = {PORT}\nmode = \"tcp\"\n"));
    for (name, host) in [("web1", "10.80.0.21"), ("web2", "10.80.0.22")] {
        let six = host.rsplit_once('.').map_or("", |(_, last)| last);
        text.push_str(&format!(
            "\n[[service.proxied.backend]]\nname = \"{name}\"\naddress = [\"{host}:80\", \"[fd80::{six}]:80\"]\n"
        ));
    }
    lab.write_agent_config("lb1", &text)?;
    let output = lab.lbctl("lb1")?.arg("apply").output()?;
    ensure!(output.status.success(), "{output:?}");
    let address = SocketAddr::from(([10, 80, 0, 100], PORT));
    Ok(Way { name: "ours", address, cpu: &[AGENT, PROGRAM], pid: Some(lab.process_id("lb1", "agent")?) })
}

/// What one run cost.
struct Sample {
    load: Load,
    own_us: f64,
    machine_us: f64,
}

/// CPU time of a process and of those it started, in µs: nginx works in children.
fn own_us(way: &Way, before: &CpuTimes, after: &CpuTimes) -> f64 {
    let used = after.since(before);
    if way.cpu.is_empty() { used.of(&[way.name]) } else { used.of(way.cpu) }
}

fn read(ways: &[Way], agent: i32) -> Result<CpuTimes> {
    let mut processes = vec![(AGENT.to_owned(), agent)];
    for way in ways.iter().filter(|way| way.cpu.is_empty()) {
        let Some(pid) = way.pid else { continue };
        processes.push((way.name.to_owned(), pid));
    }
    let named: Vec<(&str, i32)> = processes.iter().map(|(name, pid)| (name.as_str(), *pid)).collect();
    let mut times = CpuTimes::read(&named, agent)?;
    for way in ways.iter().filter(|way| way.name == STREAM) {
        let Some(pid) = way.pid else { continue };
        for child in children(pid)? {
            let child = CpuTimes::read(&[("child", child)], agent)?;
            *times.by_name.entry(way.name.to_owned()).or_default() += child.of(&["child"]);
        }
    }
    Ok(times)
}

fn children(pid: i32) -> Result<Vec<i32>> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"))?;
    Ok(text.split_whitespace().filter_map(|word| word.parse().ok()).collect())
}

/// Samples of each way, in turns, so that what else the machine does falls on all alike.
fn rounds(
    ways: &[Way],
    agent: i32,
    duration: Duration,
    load: impl Fn(&Way, Duration) -> Result<Load>,
) -> Result<Vec<Vec<Sample>>> {
    for way in ways {
        load(way, Duration::from_secs(1))?;
    }
    let mut samples: Vec<Vec<Sample>> = ways.iter().map(|_| Vec::new()).collect();
    for _ in 0..ROUNDS {
        for (way, samples) in ways.iter().zip(&mut samples) {
            interrupt::check()?;
            let before = read(ways, agent)?;
            let load = load(way, duration)?;
            let after = read(ways, agent)?;
            let machine_us = after.since(&before).machine_us;
            samples.push(Sample { load, own_us: own_us(way, &before, &after), machine_us });
        }
    }
    Ok(samples)
}

fn row(
    ways: &[Way],
    samples: &[Vec<Sample>],
    (case, metric, unit): (&str, &str, &str),
    figure: impl Fn(&Sample) -> f64,
) -> Row {
    let mut figures = samples.iter().map(|samples| median(samples.iter().map(&figure).collect()));
    let row = Row::new(case, metric, unit, figures.next().unwrap_or(f64::NAN));
    ways.iter().skip(1).zip(figures).fold(row, |row, (way, theirs)| row.peer(way.name, theirs))
}

/// The better of HAProxy's two ways.
fn best(row: &Row, better: fn(f64, f64) -> f64) -> &'static str {
    let of = |name: &str| row.peers.get(name).copied().unwrap_or(f64::NAN);
    if better(of(SPLICING), of(COPYING)).total_cmp(&of(SPLICING)).is_eq() { SPLICING } else { COPYING }
}

fn request_rows(ways: &[Way], case: &str, samples: &[Vec<Sample>]) -> Vec<Row> {
    let of = |metric, unit, figure: fn(&Sample) -> f64| row(ways, samples, (case, metric, unit), figure);
    let requests = of("requests", "1/s", |sample| sample.load.requests_per_second);
    let peer = best(&requests, f64::max);
    vec![
        requests.at_least_of(peer, 1.05),
        of("own CPU", "µs/request", |sample| sample.own_us / sample.load.requests),
        of("whole machine busy", "µs/request", |sample| sample.machine_us / sample.load.requests),
        of("latency p50", "ms", |sample| sample.load.p50_ms),
        of("latency p99", "ms", |sample| sample.load.p99_ms),
    ]
}

fn resident_bytes(pid: i32) -> Result<f64> {
    let mut pages = 0.0;
    for pid in children(pid)?.into_iter().chain([pid]) {
        let text = std::fs::read_to_string(format!("/proc/{pid}/statm"))?;
        pages += text.split_whitespace().nth(1).and_then(|word| word.parse::<f64>().ok()).unwrap_or(0.0);
    }
    Ok(pages * 4096.0)
}

/// What a connection costs its proxy while nobody says anything, after one request each.
fn idle_bytes(lab: &Lab, way: &Way) -> Result<f64> {
    use std::io::{Read as _, Write as _};
    let Some(pid) = way.pid else { return Ok(f64::NAN) };
    let before = resident_bytes(pid)?;
    let open = lab.host("client").inside(|| -> Result<Vec<TcpStream>> {
        let mut open = Vec::new();
        for _ in 0..IDLE {
            let mut stream = TcpStream::connect(way.address)?;
            stream.write_all(b"HEAD /small HTTP/1.1\r\nHost: lab\r\n\r\n")?;
            ensure!(stream.read(&mut [0; 512])? > 0, "no answer");
            open.push(stream);
        }
        Ok(open)
    })??;
    let bytes = (resident_bytes(pid)? - before) / open.len() as f64;
    drop(open);
    Ok(bytes)
}

fn idle_row(lab: &Lab, ways: &[Way]) -> Result<Row> {
    let mut figures = Vec::new();
    for way in ways {
        figures.push(idle_bytes(lab, way)?);
    }
    let metric = "resident memory";
    let row = Row::new(format!("{IDLE} idle connections"), metric, "bytes/connection", figures[0]);
    let peers = ways.iter().zip(&figures).skip(1).filter(|(way, _)| way.pid.is_some());
    let row = peers.fold(row, |row, (way, theirs)| row.peer(way.name, *theirs));
    let peer = best(&row, f64::min);
    Ok(row.at_most_of(peer, 0.5, "0.5 ×"))
}

/// `wrk` at a path of each way.
fn with_wrk<'a>(
    lab: &'a Lab,
    scheme: &'a str,
    path: &'a str,
    plan: Plan,
) -> impl Fn(&Way, Duration) -> Result<Load> + 'a {
    move |way, duration| wrk(lab, &format!("{scheme}://{}{path}", way.address), Plan { duration, ..plan })
}

fn bulk_rows(ways: &[Way], case: &str, samples: &[Vec<Sample>]) -> Vec<Row> {
    let rate =
        row(ways, samples, (case, "rate", "Gbit/s"), |sample| sample.load.bytes_per_second * 8.0 / 1e9);
    let bytes = |sample: &Sample| sample.load.bytes_per_second * LASTS.as_secs_f64() / 1e9;
    let cpu = row(ways, samples, (case, "own CPU", "ms/GB"), |sample| sample.own_us / 1000.0 / bytes(sample));
    vec![rate, cpu]
}

fn measure(lab: &Lab) -> Result<Vec<Row>> {
    let _stats = super::traffic::BpfStats::on()?;
    let mut ways = vec![start_ours(lab)?];
    for peer in &PEERS {
        ways.push(start(lab, peer)?);
    }
    let web1 = SocketAddr::from((ipv4_of("web1"), 80));
    ways.push(Way { name: DIRECT, address: web1, cpu: &[], pid: None });
    let agent = lab.process_id("lb1", "agent")?;
    for web in ["web1", "web2"] {
        std::fs::write(lab.files_dir(web).join("bulk"), vec![b'x'; 16 << 20]).context("the bulk file")?;
    }
    // First, while all are fresh.
    let mut rows = vec![idle_row(lab, &ways)?];
    let plan = Plan { connections: 64, duration: LASTS, close: false };
    let samples = rounds(&ways, agent, LASTS, with_wrk(lab, "http", "/small", plan))?;
    rows.extend(request_rows(&ways, "keep-alive, 64 connections, 1 KiB", &samples));
    let close = Plan { close: true, ..plan };
    let samples = rounds(&ways, agent, LASTS, with_wrk(lab, "http", "/small", close))?;
    rows.extend(request_rows(&ways, "new connections, 64 at a time, 1 KiB", &samples));
    let few = Plan { connections: 4, ..plan };
    let samples = rounds(&ways, agent, LASTS, with_wrk(lab, "http", "/files/bulk", few))?;
    let mut bulk = bulk_rows(&ways, "bulk, 4 connections, 16 MiB", &samples).into_iter();
    if let Some(rate) = bulk.next() {
        let peer = best(&rate, f64::max);
        rows.push(rate.at_least_of(peer, 1.0));
    }
    rows.extend(bulk);
    Ok(rows)
}

/// Runs the benchmark. It needs root.
pub fn run() -> Result<Vec<Row>> {
    super::in_lab(measure)
}

/// The same for sessions of databases. It needs root.
pub fn run_mysql() -> Result<Vec<Row>> {
    super::in_lab_with(true, mysql::measure)
}

/// The same for TLS that ends at the node. It needs root.
pub fn run_tls() -> Result<Vec<Row>> {
    super::in_lab(tls::measure)
}
