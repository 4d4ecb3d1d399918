//! Nodes that go, in every way a node goes, under load: what is open goes on.

use crate::client::{KeptConnection, PATIENCE, ask, lbctl, shell, vip_a};
use crate::sync::{at_home, failover_lab, in_sync};
use crate::transfers::{GIGABYTE, serve_file};
use crate::vrrp::{expect_active, expect_state, hand_over, set_link};
use anyhow::{Context as _, Result, ensure};
use lbctl_tests::lab::{Lab, agents, poll};
use nix::sys::signal::Signal;
use std::net::{IpAddr, SocketAddr};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// Connections that stay open, through each address of VIP A.
const OPEN: usize = 500;
/// Between two rounds of requests on all of them.
const ROUND_EVERY: Duration = Duration::from_millis(200);
/// Between two new connections through each address of it: 200 in a second.
const NEW_EVERY: Duration = Duration::from_millis(10);

const FILE: &str = "transfer";

/// How lb1 goes, and comes back.
struct Way {
    name: &'static str,
    go: fn(&Lab) -> Result<()>,
    come: fn(&Lab) -> Result<()>,
}

const WAYS: [Way; 7] = [
    Way {
        name: "a crash",
        go: |lab| {
            set_link(lab, "down")?;
            lab.kill_agent("lb1", Signal::SIGKILL)
        },
        come: |lab| {
            set_link(lab, "up")?;
            lab.start_agent("lb1")
        },
    },
    Way { name: "its link goes down", go: |lab| set_link(lab, "down"), come: |lab| set_link(lab, "up") },
    Way {
        name: "its agent is killed",
        go: |lab| lab.kill_agent("lb1", Signal::SIGKILL),
        come: |lab| lab.start_agent("lb1"),
    },
    Way {
        name: "its agent hangs",
        go: |lab| lab.kill_agent("lb1", Signal::SIGSTOP),
        come: |lab| lab.kill_agent("lb1", Signal::SIGCONT),
    },
    Way {
        name: "its agent is stopped",
        go: |lab| lab.kill_agent("lb1", Signal::SIGTERM),
        come: |lab| lab.start_agent("lb1"),
    },
    Way {
        name: "a planned move",
        go: |lab| hand_over(lab, "lb1", "A"),
        come: |lab| hand_over(lab, "lb2", "A"),
    },
    Way {
        name: "a move to a node by its name",
        go: |lab| give(lab, "lb1", "lb2"),
        come: |lab| give(lab, "lb2", "lb1"),
    },
];

fn give(lab: &Lab, from: &str, to: &str) -> Result<()> {
    let output = lab.lbctl(from)?.args(["vrrp", "failover", "A", "--to", to]).output()?;
    ensure!(output.status.success(), "{output:?}");
    Ok(())
}

/// What clients saw so far.
#[derive(Default)]
struct Seen {
    over: AtomicBool,
    /// Rounds of requests on all connections that are open.
    rounds: AtomicUsize,
    /// New connections.
    asked: AtomicUsize,
}

/// Asks on all connections at once, round after round: whenever a node goes, there are requests under way.
fn keep_asking(open: &mut [KeptConnection], seen: &Seen) -> Result<()> {
    while !seen.over.load(Ordering::Relaxed) {
        let begun = Instant::now();
        for (number, one) in open.iter_mut().enumerate() {
            one.send(false).with_context(|| format!("connection {number}, sending"))?;
        }
        for (number, one) in open.iter_mut().enumerate() {
            let backend = one.receive().with_context(|| format!("connection {number}"))?;
            ensure!(
                backend == one.backend,
                "connection {number} was moved from {} to {backend}",
                one.backend
            );
        }
        seen.rounds.fetch_add(1, Ordering::Relaxed);
        poll::wait(2 * ROUND_EVERY, || begun.elapsed() >= ROUND_EVERY);
    }
    Ok(())
}

/// Opens new connections, at a steady rate; what became of each is counted, and said of those that failed.
fn keep_opening(vip: IpAddr, seen: &Seen) -> Vec<String> {
    let mut errors = Vec::new();
    let begun = Instant::now();
    for number in 1.. {
        if seen.over.load(Ordering::Relaxed) {
            break;
        }
        seen.asked.fetch_add(1, Ordering::Relaxed);
        if let Err(error) = ask(vip) {
            errors.push(format!("{error:#}"));
        }
        let due = begun + NEW_EVERY * number;
        let until_due = due.saturating_duration_since(Instant::now());
        poll::wait(until_due, || Instant::now() >= due);
    }
    errors
}

/// A file for the client, which takes its time.
struct File {
    bytes: u64,
    /// What curl may read in a second, as it writes that.
    rate: &'static str,
}

/// A file on its way to the client, and what becomes of it.
struct Transfer {
    child: Child,
}

impl Transfer {
    fn begin(lab: &Lab, vip: IpAddr, rate: &str) -> Result<Self> {
        let url = format!("http://{}/files/{FILE}", SocketAddr::new(vip, 80));
        let script = format!("curl -sS --limit-rate {rate} --max-time 300 {url} | sha256sum");
        let mut shell = lab.host("client").command("sh");
        Ok(Self { child: shell.args(["-c", &script]).stdout(Stdio::piped()).spawn()? })
    }

    fn still_runs(&mut self) -> Result<bool> {
        Ok(self.child.try_wait()?.is_none())
    }

    fn expect(self, wanted: &str) -> Result<()> {
        let output = self.child.wait_with_output()?;
        let got = String::from_utf8_lossy(&output.stdout).into_owned();
        ensure!(got == wanted, "the file arrived as {got:?}, not {wanted:?}");
        Ok(())
    }
}

/// Does something while clients are busy; no connection that was open may be lost by that. How many were opened, and those that failed.
fn under_load(lab: &Lab, file: File, work: impl FnOnce(&Seen) -> Result<()>) -> Result<(usize, Vec<String>)> {
    let path = serve_file(lab, FILE, file.bytes)?;
    let sum = Command::new("sha256sum").stdin(std::fs::File::open(path)?).output()?;
    let wanted = String::from_utf8(sum.stdout)?;
    let client = lab.host("client");
    let mut open: Vec<KeptConnection> = client.inside(|| {
        let of = |vip: IpAddr| (0..OPEN).map(move |_| KeptConnection::open(vip));
        vip_a().into_iter().flat_map(of).collect::<Result<_>>()
    })??;
    let transfers = vip_a().map(|vip| Transfer::begin(lab, vip, file.rate));
    let seen = Seen::default();
    let errors = std::thread::scope(|scope| {
        let asker = scope.spawn(|| client.inside(|| keep_asking(&mut open, &seen)));
        let openers = vip_a().map(|vip| {
            let (client, seen) = (&client, &seen);
            scope.spawn(move || client.inside(|| keep_opening(vip, seen)))
        });
        let worked = work(&seen);
        seen.over.store(true, Ordering::Relaxed);
        let panicked = |_| anyhow::anyhow!("a thread of the clients panicked");
        let asked = asker.join().map_err(panicked)?;
        let mut errors = Vec::new();
        for opener in openers {
            errors.extend(opener.join().map_err(panicked)??);
        }
        worked?;
        asked??;
        anyhow::Ok(errors)
    })?;
    let mut transfers = transfers.into_iter().collect::<Result<Vec<_>>>()?;
    for transfer in &mut transfers {
        ensure!(transfer.still_runs()?, "a transfer ended before what it was to outlive");
    }
    for transfer in transfers {
        transfer.expect(&wanted)?;
    }
    Ok((seen.asked.into_inner(), errors))
}

/// Waits for rounds of requests that began after this.
fn two_rounds(seen: &Seen) -> Result<()> {
    let before = seen.rounds.load(Ordering::Relaxed);
    poll::until("all connections were asked twice", PATIENCE, || {
        let rounds = seen.rounds.load(Ordering::Relaxed) - before;
        ensure!(rounds >= 2, "{rounds} rounds");
        Ok(())
    })
}

#[test]
fn a_thousand_connections_and_a_download_outlive_every_way_a_node_goes() -> Result<()> {
    let lab = failover_lab()?;
    let gigabyte = File { bytes: GIGABYTE, rate: "40M" };
    let (asked, errors) = under_load(&lab, gigabyte, |seen| {
        for Way { name, go, come } in WAYS {
            let step = || -> Result<()> {
                in_sync(&lab, "lb1")?;
                in_sync(&lab, "lb2")?;
                go(&lab)?;
                expect_active(&lab, "lb2", "A")?;
                two_rounds(seen).context("after it went")?;
                come(&lab)?;
                at_home(&lab)?;
                two_rounds(seen).context("after it came back")
            };
            step().context(name)?;
        }
        Ok(())
    })?;
    expect_few(asked, &errors, WAYS.len())?;
    lab.down()
}

/// A connection that began in the last moment before a node went, within which nobody else was told of it, may end with that node.
fn expect_few(asked: usize, errors: &[String], most: usize) -> Result<()> {
    ensure!(
        asked >= 100 && errors.len() <= most,
        "{} of {asked} new connections failed: {errors:?}",
        errors.len()
    );
    Ok(())
}

/// Nodes that do not hear each other, but are heard by everybody else: each of them serves all.
#[test]
fn connections_outlive_nodes_that_do_not_hear_each_other_and_their_meeting_again() -> Result<()> {
    let lab = failover_lab()?;
    let isolate = |word: &str| {
        let script = ["p-lb1", "p-lb2"].map(|port| format!("bridge link set dev {port} isolated {word}"));
        shell(&lab, "router", &script.join("; ")).map(drop)
    };
    let file = File { bytes: 160 << 20, rate: "20M" };
    let (asked, errors) = under_load(&lab, file, |seen| {
        isolate("on")?;
        expect_active(&lab, "lb2", "A")?;
        expect_state(&lab, "lb1", "A", "active")?;
        // So long that each takes the other one for gone.
        poll::until("the nodes have given each other up", PATIENCE, || {
            let events = lab.agent_get("lb2", "/v1/events")?.body;
            ensure!(events.contains("the other node is not heard any more"), "{events}");
            Ok(())
        })?;
        two_rounds(seen).context("with two nodes that serve")?;
        isolate("off")?;
        at_home(&lab)?;
        two_rounds(seen).context("when they have met again")?;
        in_sync(&lab, "lb1")?;
        in_sync(&lab, "lb2")
    })?;
    // Who is new finds one node or the other, and what that does with it the other one does not hear of.
    expect_few(asked, &errors, asked / 20)?;
    lab.down()
}

/// Nodes that hear each other by everything but VRRP both serve: that is said at once, with what to do.
#[test]
fn two_nodes_that_serve_one_vip_say_so_on_both() -> Result<()> {
    let lab = failover_lab()?;
    let multicast = |word: &str| {
        let script = ["p-lb1", "p-lb2"].map(|port| format!("bridge link set dev {port} mcast_flood {word}"));
        shell(&lab, "router", &script.join("; ")).map(drop)
    };
    multicast("off")?;
    for node in ["lb1", "lb2"] {
        poll::until(&format!("{node} reports a split brain"), PATIENCE, || {
            let events = lab.agent_get(node, "/v1/events")?.body;
            ensure!(
                events.contains("split brain: both nodes serve") && events.contains("protocol 112"),
                "{events}"
            );
            Ok(())
        })?;
    }
    let said = lbctl(&lab, &["sync"])?;
    ensure!(said.contains("both nodes serve (split brain): 10.80.0.100"), "{said}");
    multicast("on")?;
    at_home(&lab)?;
    lab.down()
}

/// With no node alive connections end, and are the only thing that does.
#[test]
fn two_nodes_that_were_both_rebooted_serve_again() -> Result<()> {
    let lab = failover_lab()?;
    for node in ["lb1", "lb2"] {
        lab.kill_agent(node, Signal::SIGKILL)?;
    }
    for node in ["lb1", "lb2"] {
        // What does not outlive a reboot: programs, tables, addresses.
        std::fs::remove_dir_all(agents::pin_dir(node))?;
        shell(
            &lab,
            node,
            "ip -4 addr flush dev eth0 to 10.80.0.100/30; ip -6 addr flush dev eth0 to fd80::100/126",
        )?;
    }
    for vip in vip_a() {
        ensure!(lab.host("client").inside(|| ask(vip))?.is_err(), "{vip} answers, with no node");
    }
    for node in ["lb1", "lb2"] {
        lab.start_agent(node)?;
    }
    at_home(&lab)?;
    lab.wait_until_serving(PATIENCE)?;
    in_sync(&lab, "lb1")?;
    in_sync(&lab, "lb2")?;
    lab.down()
}
