//! VIPs that are given to a node by its name, VIPs that are there for services alone, and the application while nodes go.

use crate::client::{
    KeptConnection, PATIENCE, ask_all, client_shell, counters, keep_open, lbctl, lbctl_on, shell, try_lbctl,
    vip_a, web_lab,
};
use crate::sync::{at_home, failover_lab, in_sync};
use crate::tracking::configure;
use crate::vrrp::{expect_active, expect_state, give_vrrp, router, set_link};
use anyhow::{Context as _, Result, ensure};
use lbctl_tests::lab::{Lab, Options, poll};
use nix::sys::signal::Signal;
use serde_json::Value;
use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};

/// Of the host itself: no service's, no NAT port of either node, none that the kernel hands out.
const PORT: u16 = 61123;

#[test]
fn a_vip_goes_to_the_node_that_is_named() -> Result<()> {
    let lab = failover_lab()?;
    let mut kept = keep_open(&lab)?;
    let mut ask = || ask_all(&lab, &mut kept);
    let said = lbctl(&lab, &["vrrp", "failover", "A", "--to", "lb2"])?;
    ensure!(said.contains("handed over: A"), "{said}");
    expect_state(&lab, "lb2", "A", "active")?;
    expect_state(&lab, "lb1", "A", "backup")?;
    expect_state(&lab, "lb1", "direct", "active")?;
    ask()?;
    for (node, words) in [
        ("lb1", "vip A ipv4: active → backup, it was handed over"),
        ("lb2", "vip A ipv4: backup → active, the Active router asked this node to take its place"),
    ] {
        let events = lab.agent_get(node, "/v1/events")?.body;
        ensure!(events.contains(words), "{events}");
    }
    let there = try_lbctl(&lab, &["vrrp", "failover", "--to", "lb1"])?;
    ensure!(there.code != Some(0) && there.err.contains("this is lb1"), "{there:?}");
    let nobody = try_lbctl(&lab, &["vrrp", "failover", "--to", "lb9"])?;
    ensure!(
        nobody.code == Some(4) && nobody.err.contains("no node lb9") && nobody.err.contains("lb2"),
        "{nobody:?}"
    );
    // All that is left there, in one go.
    lbctl(&lab, &["vrrp", "failover", "--to", "lb2"])?;
    expect_state(&lab, "lb2", "direct", "active")?;
    let output = lab.lbctl("lb2")?.args(["vrrp", "failover", "A", "--to", "lb1"]).output()?;
    ensure!(output.status.success(), "{output:?}");
    expect_state(&lab, "lb1", "A", "active")?;
    ask()?;
    lab.down()
}

#[test]
fn a_node_is_known_by_name_only_where_flows_are_shared() -> Result<()> {
    let lab = web_lab()?;
    for node in ["lb1", "lb2"] {
        give_vrrp(&lab, node, "")?;
    }
    expect_state(&lab, "lb1", "A", "active")?;
    let said = try_lbctl(&lab, &["vrrp", "failover", "A", "--to", "lb2"])?;
    ensure!(said.code == Some(1) && said.err.contains("needs a table [sync]"), "{said:?}");
    expect_state(&lab, "lb1", "A", "active")?;
    lab.down()
}

/// Whether the client's curl reaches a port of an address; with patience for one answer.
fn reaches(lab: &Lab, address: IpAddr, port: u16) -> Result<bool> {
    let url = format!("http://{}/", SocketAddr::new(address, port));
    let mut curl = lab.host("client").command("curl");
    Ok(curl
        .args(["-sS", "-o", "/dev/null", "--max-time", "1", &url])
        .stderr(Stdio::null())
        .status()?
        .success())
}

fn pings(lab: &Lab, address: IpAddr) -> Result<bool> {
    let mut ping = lab.host("client").command("ping");
    let status = ping.args(["-c", "1", "-W", "1", &address.to_string()]).stdout(Stdio::null()).status()?;
    Ok(status.success())
}

#[test]
fn a_vip_that_is_for_services_alone_leaves_the_host_out() -> Result<()> {
    let lab = failover_lab()?;
    let mut server = lab.host("lb1").command("python3");
    server.args(["-m", "http.server", &PORT.to_string(), "--bind", "::"]);
    let mut server = server.stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
    let tried = (|| {
        for vip in vip_a() {
            poll::until("the host's own server answers at the VIP", PATIENCE, || {
                ensure!(reaches(&lab, vip, PORT)?, "{vip}: no");
                Ok(())
            })?;
            ensure!(pings(&lab, vip)?, "{vip} answers no ping");
        }
        configure(&lab, "lb1", &[(51, "accept = false")], "")?;
        at_home(&lab)?;
        for vip in vip_a() {
            ensure!(!reaches(&lab, vip, PORT)?, "{vip}: the host is reached at it");
            ensure!(!pings(&lab, vip)?, "{vip} answers a ping");
            // Whoever has forgotten who has it is told.
            shell(&lab, "router", "ip neigh flush dev br-servers")?;
            ensure!(reaches(&lab, vip, 80)?, "{vip}: its service is not reached");
        }
        let node: [IpAddr; 2] = ["10.80.0.2".parse()?, "fd80::2".parse()?];
        for own in node {
            ensure!(reaches(&lab, own, PORT)? && pings(&lab, own)?, "{own}: the node's own address");
        }
        ensure!(counters(&lab, "lb1")?["not_accepted"] >= 4, "{:?}", counters(&lab, "lb1")?);
        let said =
            lbctl(&lab, &["explain", "--from", "10.90.0.10:4711", "--to", &format!("10.80.0.100:{PORT}")])?;
        ensure!(said.contains("not_accepted"), "{said}");
        // It goes with the VIP's terms, without a restart.
        let text = lab.agent_config("lb1")?.replace("accept = false", "accept = true");
        lab.write_agent_config("lb1", &text)?;
        lbctl(&lab, &["apply"])?;
        for vip in vip_a() {
            ensure!(pings(&lab, vip)? && reaches(&lab, vip, PORT)?, "{vip}: the host is not reached");
        }
        Ok(())
    })();
    server.kill()?;
    server.wait()?;
    tried?;
    lab.down()
}

/// Writes a note and reads it, again and again; what was written, and what failed.
fn keep_noting(lab: &Lab, vip: IpAddr, over: &AtomicBool) -> Result<(BTreeSet<u64>, Vec<String>)> {
    let url = format!("http://{}/api/notes", SocketAddr::new(vip, 80));
    let (mut written, mut errors) = (BTreeSet::new(), Vec::new());
    while !over.load(Ordering::Relaxed) {
        let posted =
            client_shell(lab, &format!("curl -sS --fail --max-time 10 --json '{{\"text\": \"x\"}}' {url}"));
        let listed = client_shell(lab, &format!("curl -sS --fail --max-time 10 -o /dev/null {url}"));
        match posted {
            Ok(note) => {
                let note: Value = serde_json::from_str(&note)?;
                written.insert(note["id"].as_u64().context("a note without a number")?);
            }
            Err(error) => errors.push(format!("{error:#}")),
        }
        errors.extend(listed.err().map(|error| format!("{error:#}")));
    }
    Ok((written, errors))
}

#[test]
fn the_application_notices_nothing_of_a_node_that_goes_and_comes_back() -> Result<()> {
    // Through the kernel's dataplane, whose flows outlive their node; sessions of a proxy end with it.
    let database = Some("mysql://app:app-password@10.80.0.100:3307/notes".to_owned());
    let lab = Lab::up(Options { failover: true, app_database: database, ..Options::default() })?;
    for node in ["lb1", "lb2"] {
        in_sync(&lab, node)?;
    }
    at_home(&lab)?;
    let over = AtomicBool::new(false);
    let noted = std::thread::scope(|scope| {
        let noting = vip_a().map(|vip| {
            let (lab, over) = (&lab, &over);
            scope.spawn(move || keep_noting(lab, vip, over))
        });
        let worked = (|| {
            set_link(&lab, "down")?;
            lab.kill_agent("lb1", Signal::SIGKILL)?;
            expect_active(&lab, "lb2", "A")?;
            set_link(&lab, "up")?;
            lab.start_agent("lb1")?;
            at_home(&lab)?;
            in_sync(&lab, "lb1")?;
            lab.kill_agent("lb2", Signal::SIGTERM)?;
            expect_active(&lab, "lb1", "B")?;
            lab.start_agent("lb2")?;
            at_home(&lab)
        })();
        over.store(true, Ordering::Relaxed);
        let noted =
            noting.into_iter().map(|one| one.join().map_err(|_| anyhow::anyhow!("a thread panicked"))?);
        let noted = noted.collect::<Result<Vec<_>>>();
        worked.and(noted)
    })?;
    let query = "mariadb --no-defaults --host=10.80.0.100 --user=app --password=app-password --skip-ssl --batch \
                 --skip-column-names notes --execute='SELECT id FROM notes'";
    let ids = shell(&lab, "web1", query)?;
    let there: BTreeSet<u64> = ids.lines().map(str::parse).collect::<Result<_, _>>()?;
    for (written, errors) in noted {
        ensure!(errors.is_empty(), "{errors:?}");
        ensure!(written.len() >= 5, "only {} notes were written", written.len());
        ensure!(written.is_subset(&there), "of {written:?} only {there:?} are there");
    }
    lab.down()
}

/// Asks the router's network every 5 ms who has VIP A, until it is told to stop; then says when each MAC address answered first and last,
/// in seconds. ARP is answered by whoever serves.
const WHO_HAS: &str = r#"
import socket, struct, sys, time
k = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x0806))
k.bind(("br-servers", 0))
own = k.getsockname()[4]
ask = b"\xff" * 6 + own + struct.pack("!HHHBBH", 0x0806, 1, 0x0800, 6, 4, 1) + own + socket.inet_aton("10.80.0.1") + b"\0" * 6 + socket.inet_aton("10.80.0.100")
k.settimeout(0.005)
seen, until = {}, time.monotonic() + float(sys.argv[1])
while time.monotonic() < until:
    k.send(ask)
    end = time.monotonic() + 0.005
    while time.monotonic() < end:
        try:
            frame = k.recv(2048)
        except (TimeoutError, socket.timeout):
            break
        # An answer, not an announcement.
        if frame[20:22] == b"\0\2" and frame[28:32] == socket.inet_aton("10.80.0.100") and frame[38:42] == socket.inet_aton("10.80.0.1"):
            mac, now = frame[22:28].hex(), time.monotonic()
            seen[mac] = (seen.get(mac, (now,))[0], now)
for mac, (first, last) in seen.items():
    print(mac, first, last)
"#;

/// At whatever moment between two advertisements the agent dies: its node is silent before the other one begins.
#[test]
fn a_node_whose_agent_dies_is_silent_before_the_other_one_serves() -> Result<()> {
    let lab = web_lab()?;
    for node in ["lb1", "lb2"] {
        // So rare that an overlap would be long.
        let text = lab.agent_config(node)?;
        let table = "[vip.A.vrrp]\nid = 51\ninterval = \"400ms\"\nflap_limit = 0\n[vip.A]\n";
        lab.write_agent_config(node, &text.replacen("[vip.A]\n", table, 1))?;
        lbctl_on(&lab, node, &["apply"])?;
    }
    for phase in 0..4u32 {
        expect_state(&lab, "lb1", "A", "active")?;
        expect_state(&lab, "lb2", "A", "backup")?;
        let before = sent(&lab)?;
        let mut asker = lab.host("router").command("python3");
        let asker = asker.args(["-c", WHO_HAS, "3.5"]).stdout(Stdio::piped()).spawn()?;
        poll::until("lb1 advertises", PATIENCE, || {
            ensure!(sent(&lab)? > before, "not yet");
            Ok(())
        })?;
        let due = std::time::Instant::now() + phase * std::time::Duration::from_millis(100);
        poll::wait(PATIENCE, || std::time::Instant::now() >= due);
        lab.kill_agent("lb1", Signal::SIGKILL)?;
        let answered = String::from_utf8(asker.wait_with_output()?.stdout)?;
        let times: Vec<(f64, f64)> = answered
            .lines()
            .map(|line| {
                let mut words = line.split(' ').skip(1).map(str::parse);
                Ok((words.next().context("a time")??, words.next().context("a time")??))
            })
            .collect::<Result<_>>()?;
        let [one, other] = times[..] else { anyhow::bail!("not both nodes answered:\n{answered}") };
        let (old, new) = if one.0 < other.0 { (one, other) } else { (other, one) };
        ensure!(old.1 < new.0, "phase {phase}: both answered for {:.3} s", old.1 - new.0);
        lab.start_agent("lb1")?;
    }
    expect_state(&lab, "lb1", "A", "active")?;
    lab.down()
}

/// Advertisements that lb1 sent for VIP A.
fn sent(lab: &Lab) -> Result<u64> {
    Ok(router(lab, "lb1", "A", lb_user::model::Family::V4)?.adverts_sent)
}

/// Something done to a node.
type Deed = fn(&Lab) -> Result<()>;

/// What began at one node while the other one was away outlives its coming back.
#[test]
fn connections_that_began_while_a_node_was_away_outlive_its_return() -> Result<()> {
    let lab = failover_lab()?;
    let leaves_and_returns: [(Deed, Deed); 2] = [
        (|lab| lab.kill_agent("lb1", Signal::SIGKILL), |lab| lab.start_agent("lb1")),
        (|lab| set_link(lab, "down"), |lab| set_link(lab, "up")),
    ];
    for (leave, come_back) in leaves_and_returns {
        leave(&lab)?;
        expect_active(&lab, "lb2", "A")?;
        // lb2 takes lb1 for gone, and does not keep for it what changes.
        poll::until("lb2 has given lb1 up", PATIENCE, || {
            let peers = crate::sync::sync_view(&lab, "lb2")?.peers;
            ensure!(peers.iter().all(|peer| !peer.here), "{peers:?}");
            Ok(())
        })?;
        let mut kept = lab.host("client").inside(|| {
            let of = |vip: IpAddr| (0..100).map(move |_| KeptConnection::open(vip));
            vip_a().into_iter().flat_map(of).collect::<Result<Vec<_>>>()
        })??;
        come_back(&lab)?;
        at_home(&lab)?;
        let lost: Vec<String> = lab.host("client").inside(|| {
            kept.iter_mut().filter_map(|one| one.ask(false).err()).map(|error| format!("{error:#}")).collect()
        })?;
        ensure!(lost.is_empty(), "{} of {} were lost: {:?}", lost.len(), kept.len(), lost.first());
        in_sync(&lab, "lb1")?;
        in_sync(&lab, "lb2")?;
    }
    lab.down()
}

/// A table that outlived its agent has flows that ended elsewhere: they go when the other node has told what there is.
#[test]
fn flows_that_ended_while_an_agent_was_away_are_gone_when_it_has_heard_the_other_node() -> Result<()> {
    let lab = failover_lab()?;
    let [vip, _] = vip_a();
    let of_clients = |node: &str| -> Result<BTreeSet<SocketAddr>> {
        let list = crate::client::flows(&lab, node, 1000)?;
        Ok(list.flows.iter().filter(|flow| flow.vip.port() == 80).map(|flow| flow.client).collect())
    };
    let open = || {
        lab.host("client").inside(|| (0..20).map(|_| KeptConnection::open(vip)).collect::<Result<Vec<_>>>())
    };
    let (mut ending, mut staying) = (open()??, open()??);
    let names = |all: &[KeptConnection]| {
        all.iter().map(KeptConnection::local_address).collect::<Result<BTreeSet<_>>>()
    };
    let (ended, stayed) = (names(&ending)?, names(&staying)?);
    poll::until("lb2 has been told of all", PATIENCE, || {
        let there = of_clients("lb2")?;
        ensure!(there.is_superset(&ended) && there.is_superset(&stayed), "{} are there", there.len());
        Ok(())
    })?;
    lab.kill_agent("lb1", Signal::SIGKILL)?;
    expect_active(&lab, "lb2", "A")?;
    lab.host("client").inside(|| {
        ending.iter_mut().try_for_each(|one| one.ask(true).and_then(|_| one.expect_end()))?;
        staying.iter_mut().try_for_each(|one| one.ask(false).map(drop))
    })??;
    drop(ending);
    lab.start_agent("lb1")?;
    at_home(&lab)?;
    poll::until("lb1 has the flows there are and no others", PATIENCE, || {
        let there = of_clients("lb1")?;
        let stale: Vec<_> = there.intersection(&ended).collect();
        ensure!(stale.is_empty(), "{} flows that ended are there: {:?}", stale.len(), stale.first());
        ensure!(there.is_superset(&stayed), "of {} that stayed {} are there", stayed.len(), there.len());
        Ok(())
    })?;
    ask_all(&lab, &mut staying)?;
    lab.down()
}
