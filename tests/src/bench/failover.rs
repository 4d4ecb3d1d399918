//! For how long a VIP does not answer when the node that has it goes, in several ways: our agents, and keepalived, one after the other on
//! the same two hosts.
//!
//! A prober on the client asks every millisecond. What is measured is the longest time without an answer: the address' own, by the host's
//! kernel, for both. Connections are another matter, and another half: [`connections`], with what they cost.

pub mod connections;
mod cost;

use super::report::{Row, median};
use crate::keepalived::{Keepalived, Settings};
use crate::lab::addresses::{VIP_A, vip};
use crate::lab::{Lab, interrupt, poll};
use anyhow::{Context as _, Result, anyhow, ensure};
use nix::sys::signal::Signal;
use socket2::{Domain, Protocol, Socket, Type};
use std::io::Read as _;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

const REPEATS: usize = 10;
/// The VIP of keepalived: one that our program leaves to the host.
const KEEPALIVED_VIP: Ipv4Addr = Ipv4Addr::new(10, 80, 0, 150);
const PATIENCE: Duration = Duration::from_secs(20);
/// As the agents and keepalived write them.
const INTERVALS: [(&str, &str, Duration); 3] = [
    ("10ms", "0.01", Duration::from_millis(10)),
    ("100ms", "0.1", Duration::from_millis(100)),
    ("1s", "1", Duration::from_secs(1)),
];

/// How the node goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Way {
    /// Its daemon is killed and its link goes down: as if the machine had lost its power.
    Crash,
    /// Its link goes down.
    Link,
    /// Its daemon is killed; the kernel goes on.
    Killed,
    /// Its daemon is told to stop.
    Stopped,
    /// The VIP is handed over.
    Moved,
}

impl Way {
    const ALL: [Self; 5] = [Self::Crash, Self::Link, Self::Killed, Self::Stopped, Self::Moved];

    const fn name(self) -> &'static str {
        match self {
            Self::Crash => "crash",
            Self::Link => "link down",
            Self::Killed => "daemon killed",
            Self::Stopped => "daemon stopped",
            Self::Moved => "planned move",
        }
    }
}

/// Two nodes with one kind of daemon.
trait Pair {
    fn address(&self) -> Ipv4Addr;
    /// Starts lb1's daemon.
    fn start(&mut self) -> Result<()>;
    /// Ends lb1's daemon: in order, or not.
    fn end(&mut self, in_order: bool) -> Result<()>;
    fn hand_over(&mut self) -> Result<()>;
    fn hand_back(&mut self) -> Result<()>;
}

struct Ours<'a>(&'a Lab);

impl Pair for Ours<'_> {
    fn address(&self) -> Ipv4Addr {
        match vip(VIP_A)[0] {
            IpAddr::V4(v4) => v4,
            IpAddr::V6(_) => KEEPALIVED_VIP,
        }
    }

    fn start(&mut self) -> Result<()> {
        self.0.start_agent("lb1")
    }

    fn end(&mut self, in_order: bool) -> Result<()> {
        self.0.kill_agent("lb1", if in_order { Signal::SIGTERM } else { Signal::SIGKILL })
    }

    fn hand_over(&mut self) -> Result<()> {
        failover(self.0, "lb1")
    }

    fn hand_back(&mut self) -> Result<()> {
        failover(self.0, "lb2")
    }
}

fn failover(lab: &Lab, node: &str) -> Result<()> {
    let output = lab.lbctl(node)?.args(["vrrp", "failover", "A"]).output()?;
    ensure!(output.status.success(), "{output:?}");
    Ok(())
}

struct Theirs<'a> {
    lab: &'a Lab,
    interval: &'static str,
    daemons: [Option<Keepalived>; 2],
}

impl<'a> Theirs<'a> {
    fn new(lab: &'a Lab, interval: &'static str) -> Result<Self> {
        let mut pair = Self { lab, interval, daemons: [None, None] };
        pair.daemons[1] = Some(pair.keepalived("lb2", 100, "BACKUP")?);
        Ok(pair)
    }

    fn keepalived(&self, host: &str, priority: u8, state: &'static str) -> Result<Keepalived> {
        let addresses = vec![KEEPALIVED_VIP.into()];
        Keepalived::start(
            self.lab,
            host,
            &Settings { addresses, id: 61, priority, interval: self.interval, state },
        )
    }
}

impl Pair for Theirs<'_> {
    fn address(&self) -> Ipv4Addr {
        KEEPALIVED_VIP
    }

    fn start(&mut self) -> Result<()> {
        self.daemons[0] = Some(self.keepalived("lb1", 200, "MASTER")?);
        Ok(())
    }

    fn end(&mut self, in_order: bool) -> Result<()> {
        let daemon = self.daemons[0].take().context("keepalived does not run")?;
        if in_order {
            return daemon.stop();
        }
        daemon.kill_alone();
        Ok(())
    }

    fn hand_over(&mut self) -> Result<()> {
        Err(anyhow!("keepalived cannot do that"))
    }

    fn hand_back(&mut self) -> Result<()> {
        self.hand_over()
    }
}

/// Asks every millisecond until it is over; whether each was answered.
fn probe(address: Ipv4Addr, over: &AtomicBool) -> Result<Vec<bool>> {
    let socket = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::ICMPV4))?;
    socket.set_nonblocking(true)?;
    socket.connect(&SocketAddr::from((address, 0)).into())?;
    let id = (std::process::id() as u16).to_be_bytes();
    let begun = Instant::now();
    let mut answered = Vec::new();
    while !over.load(Ordering::Relaxed) {
        let number = u16::try_from(answered.len()).context("it takes more than a minute")?;
        let [a, b] = number.to_be_bytes();
        let mut message = [8, 0, 0, 0, id[0], id[1], a, b];
        let sum: u32 = message.chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(pair[1])).sum();
        let sum = !((sum & 0xffff) + (sum >> 16)) as u16;
        message[2..4].copy_from_slice(&sum.to_be_bytes());
        // A link that is down, or an address that nobody has: that is what is measured.
        let _ = socket.send(&message);
        answered.push(false);
        let next = begun + Duration::from_millis(answered.len() as u64);
        while Instant::now() < next {
            receive(&socket, id, &mut answered)?;
            std::thread::sleep(Duration::from_micros(100)); // poll: the clock, and answers
        }
    }
    let last = Instant::now();
    while last.elapsed() < Duration::from_millis(100) {
        receive(&socket, id, &mut answered)?;
    }
    Ok(answered)
}

fn receive(mut socket: &Socket, id: [u8; 2], answered: &mut [bool]) -> Result<()> {
    let mut packet = [0; 256];
    loop {
        let length = match socket.read(&mut packet) {
            Ok(length) => length,
            // Nothing more; or an ICMP error about what was sent, which is no answer.
            Err(_) => return Ok(()),
        };
        // Behind an IP header without options: type 0, then id and number.
        let bytes = &packet[..length];
        if length >= 28 && bytes[20] == 0 && bytes[24..26] == id {
            let number = usize::from(u16::from_be_bytes([bytes[26], bytes[27]]));
            if let Some(one) = answered.get_mut(number) {
                *one = true;
            }
        }
    }
}

/// The longest row of questions that were not answered, in ms.
fn blackout_ms(answered: &[bool]) -> f64 {
    let longest = answered.split(|answered| *answered).map(<[bool]>::len).max();
    longest.unwrap_or(0) as f64
}

fn has(lab: &Lab, host: &str, address: Ipv4Addr) -> Result<bool> {
    let output = lab.host(host).command("ip").args(["-o", "-4", "addr", "show", "dev", "eth0"]).output()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    Ok(text.contains(&format!(" {address}/32 ")))
}

/// Waits until one node has the address and the other one has not; what a node without link or daemon has is nobody's business.
fn wait_until_on(lab: &Lab, address: Ipv4Addr, host: &str, other: Option<&str>) -> Result<()> {
    poll::until(&format!("{address} is on {host}"), PATIENCE, || {
        ensure!(has(lab, host, address)?, "it is not");
        ensure!(
            other.is_none_or(|other| !has(lab, other, address).unwrap_or(true)),
            "the other node has it, too"
        );
        Ok(())
    })
}

fn set_link(lab: &Lab, word: &str) -> Result<()> {
    let status = lab.host("router").command("ip").args(["link", "set", "p-lb1", word]).status()?;
    ensure!(status.success(), "ip link set p-lb1 {word}");
    Ok(())
}

/// Goes one way, once, and back again; for how long the address was silent, in ms.
fn once(lab: &Lab, pair: &mut dyn Pair, way: Way, phase: Duration) -> Result<f64> {
    interrupt::check()?;
    let address = pair.address();
    wait_until_on(lab, address, "lb1", Some("lb2"))?;
    let over = AtomicBool::new(false);
    let answered = std::thread::scope(|scope| {
        let prober = scope.spawn(|| lab.host("client").inside(|| probe(address, &over)));
        let gone = go(lab, pair, way, phase);
        over.store(true, Ordering::Relaxed);
        let answered = prober.join().map_err(|_| anyhow!("the prober panicked"))??;
        gone?;
        answered
    })?;
    match way {
        Way::Link => set_link(lab, "up")?,
        Way::Crash => {
            set_link(lab, "up")?;
            pair.start()?;
        }
        Way::Killed | Way::Stopped => pair.start()?,
        Way::Moved => pair.hand_back()?,
    }
    ensure!(
        answered.len() > 200 && answered[..50].iter().any(|one| *one),
        "the address did not answer before"
    );
    Ok(blackout_ms(&answered))
}

/// `phase` after it has become Active: between two advertisements each time at another moment.
fn go(lab: &Lab, pair: &mut dyn Pair, way: Way, phase: Duration) -> Result<()> {
    let address = pair.address();
    pause(Duration::from_millis(200) + phase);
    match way {
        Way::Crash => {
            set_link(lab, "down")?;
            pair.end(false)?;
        }
        Way::Link => set_link(lab, "down")?,
        Way::Killed => pair.end(false)?,
        Way::Stopped => pair.end(true)?,
        Way::Moved => pair.hand_over()?,
    }
    wait_until_on(lab, address, "lb2", None)?;
    // What comes after it belongs to it: the network has to learn where the address is.
    pause(Duration::from_millis(300));
    Ok(())
}

fn pause(time: Duration) {
    let begun = Instant::now();
    poll::wait(2 * time, || begun.elapsed() >= time);
}

fn measure_pair(lab: &Lab, pair: &mut dyn Pair, way: Way, interval: Duration) -> Result<Vec<f64>> {
    let mut blackouts = Vec::new();
    for number in 0..REPEATS {
        let phase = interval * number as u32 / REPEATS as u32;
        blackouts
            .push(once(lab, pair, way, phase).with_context(|| format!("{} at {interval:?}", way.name()))?);
    }
    blackouts.sort_by(f64::total_cmp);
    Ok(blackouts)
}

fn configure(lab: &Lab, interval: &str) -> Result<()> {
    for node in ["lb1", "lb2"] {
        let text = lab.agent_config(node)?;
        let text = match text.split_once("[vip.A.vrrp]\n") {
            Some((before, after)) => {
                let after = after.split_once("[vip.A]\n").context("no VIP A")?.1;
                format!("{before}[vip.A]\n{after}")
            }
            None => text,
        };
        let table = format!("[vip.A.vrrp]\nid = 51\ninterval = \"{interval}\"\nflap_limit = 0\n[vip.A]\n");
        lab.write_agent_config(node, &text.replacen("[vip.A]\n", &table, 1))?;
        let output = lab.lbctl(node)?.arg("apply").output()?;
        ensure!(output.status.success(), "{output:?}");
    }
    Ok(())
}

fn measure(lab: &Lab) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for (ours_interval, theirs_interval, interval) in INTERVALS {
        configure(lab, ours_interval)?;
        let mut theirs = Theirs::new(lab, theirs_interval)?;
        theirs.start()?;
        let mut ours = Ours(lab);
        for way in Way::ALL {
            let own = measure_pair(lab, &mut ours, way, interval)?;
            let peers = match way {
                Way::Moved => None,
                _ => Some(measure_pair(lab, &mut theirs, way, interval)?),
            };
            let case = format!("{}, advertisements every {ours_interval}", way.name());
            println!("  {case}: {own:?} ms, keepalived {peers:?}");
            for (metric, figure) in [
                ("silent, least", (|all: &[f64]| all[0]) as fn(&[f64]) -> f64),
                ("silent, median", |all| median(all.to_vec())),
                ("silent, most", |all| all[all.len() - 1]),
            ] {
                let row = Row::new(case.clone(), metric, "ms", figure(&own));
                rows.push(match &peers {
                    Some(peers) => {
                        let row = row.peer("keepalived", figure(peers));
                        if metric == "silent, median" {
                            row.at_most_of("keepalived", 1.0, "1 ×")
                        } else {
                            row
                        }
                    }
                    None if metric == "silent, median" => row.at_most(0.0),
                    None => row,
                });
            }
        }
    }
    Ok(rows)
}

/// Runs the benchmark. It needs root.
pub fn run() -> Result<Vec<Row>> {
    super::in_lab(measure)
}
