//! How many of a thousand open connections are lost when the node goes that they lead through: our agents, which share flows, and
//! keepalived with HAProxy, whose connections end at the node.

use super::{KEEPALIVED_VIP, PATIENCE, Way, has, set_link};
use crate::bench::report::Row;
use crate::keepalived::{Keepalived, Settings};
use crate::lab::addresses::{VIP_A, vip};
use crate::lab::{Lab, Options, Progress, interrupt, paths, poll, processes, programs};
use anyhow::{Context as _, Result, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::io::{Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

const CONNECTIONS: usize = 1000;
const HAPROXY_PORT: u16 = 8082;
/// Who has not answered by then is lost.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);
/// As keepalived writes it: the lab's own.
const INTERVAL: &str = "0.1";

/// Runs it in a lab whose nodes share flows.
pub fn run() -> Result<Vec<Row>> {
    let options =
        Options { database: false, failover: true, progress: Progress::Lines, ..Options::default() };
    let lab = Lab::up(options)?;
    let rows = measure(&lab).and_then(|mut rows| {
        rows.extend(super::cost::measure(&lab)?);
        Ok(rows)
    });
    let down = lab.down();
    let rows = rows?;
    down?;
    Ok(rows)
}

fn measure(lab: &Lab) -> Result<Vec<Row>> {
    for node in ["lb1", "lb2"] {
        // What is measured comes and goes on purpose.
        let text = lab.agent_config(node)?.replace("\nid = 51\n", "\nid = 51\nflap_limit = 0\n");
        lab.write_agent_config(node, &text)?;
        let output = lab.lbctl(node)?.arg("apply").output()?;
        ensure!(output.status.success(), "{output:?}");
    }
    let mut rows = Vec::new();
    for way in Way::ALL {
        let ours = ours(lab, way).with_context(|| format!("ours, {}", way.name()))?;
        let row =
            Row::new(format!("{}, 100ms", way.name()), "connections lost of 1000", "", ours).at_most(0.0);
        rows.push(match way {
            Way::Moved => row,
            _ => {
                let theirs = theirs(lab, way).with_context(|| format!("theirs, {}", way.name()))?;
                row.peer("keepalived + HAProxy", theirs)
            }
        });
        println!("  {}: {:?}", way.name(), rows.last());
    }
    Ok(rows)
}

fn open(lab: &Lab, address: SocketAddr) -> Result<Vec<TcpStream>> {
    let mut all = lab.host("client").inside(|| {
        let connect = |_| TcpStream::connect_timeout(&address, Duration::from_secs(5));
        (0..CONNECTIONS).map(connect).collect::<std::io::Result<Vec<_>>>()
    })??;
    let lost = count_lost(&mut all)?;
    ensure!(lost == 0, "{lost} connections did not work before");
    Ok(all)
}

/// How many do not answer a request.
fn count_lost(all: &mut [TcpStream]) -> Result<usize> {
    interrupt::check()?;
    let request = b"GET /healthz HTTP/1.1\r\nHost: lab\r\n\r\n";
    let sent: Vec<bool> = all.iter_mut().map(|one| one.write_all(request).is_ok()).collect();
    let deadline = Instant::now() + ANSWER_WITHIN;
    let mut lost = 0;
    for (one, sent) in all.iter_mut().zip(sent) {
        let left = deadline.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
        one.set_read_timeout(Some(left))?;
        let mut answer = [0; 4096];
        let answered = sent && one.read(&mut answer).is_ok_and(|bytes| bytes > 0);
        lost += usize::from(!answered);
    }
    Ok(lost)
}

fn wait_for(lab: &Lab, address: Ipv4Addr, host: &str) -> Result<()> {
    poll::until(&format!("{address} is on {host}"), PATIENCE, || {
        ensure!(has(lab, host, address)?, "it is not");
        Ok(())
    })
}

fn ours(lab: &Lab, way: Way) -> Result<f64> {
    let IpAddr::V4(address) = vip(VIP_A)[0] else { return Ok(f64::NAN) };
    super::wait_until_on(lab, address, "lb1", Some("lb2"))?;
    wait_until_in_sync(lab)?;
    let mut all = open(lab, (address, 80).into())?;
    match way {
        Way::Crash => {
            set_link(lab, "down")?;
            lab.kill_agent("lb1", Signal::SIGKILL)?;
        }
        Way::Link => set_link(lab, "down")?,
        Way::Killed => lab.kill_agent("lb1", Signal::SIGKILL)?,
        Way::Stopped => lab.kill_agent("lb1", Signal::SIGTERM)?,
        Way::Moved => super::failover(lab, "lb1")?,
    }
    wait_for(lab, address, "lb2")?;
    let lost = count_lost(&mut all)?;
    match way {
        Way::Link => set_link(lab, "up")?,
        Way::Moved => super::failover(lab, "lb2")?,
        Way::Crash => {
            set_link(lab, "up")?;
            lab.start_agent("lb1")?;
        }
        Way::Killed | Way::Stopped => lab.start_agent("lb1")?,
    }
    Ok(lost as f64)
}

/// Waits until both nodes have told each other all.
pub(super) fn wait_until_in_sync(lab: &Lab) -> Result<()> {
    for node in ["lb1", "lb2"] {
        poll::until(&format!("{node} is in sync"), PATIENCE, || {
            let view: serde_json::Value = serde_json::from_str(&lab.agent_get(node, "/v1/sync")?.body)?;
            let peer = &view["peers"][0];
            let is_so = |key: &str| peer[key] == true;
            ensure!(view["joined"] == true && is_so("has_snapshot") && is_so("has_been_told"), "{view}");
            Ok(())
        })?;
    }
    Ok(())
}

fn start_haproxy(lab: &Lab, host: &str) -> Result<i32> {
    let config = format!(
        "global\n  nbthread 2\n  maxconn 4000\ndefaults\n  mode tcp\n  timeout connect 5s\n  timeout client 1m\n  \
         timeout server 1m\nlisten web\n  bind :{HAPROXY_PORT}\n  balance roundrobin\n  server web1 10.80.0.21:80\n  \
         server web2 10.80.0.22:80\n"
    );
    let path = paths::host_dir(host).join("haproxy-failover.cfg");
    std::fs::write(&path, config).with_context(|| path.display().to_string())?;
    let binary =
        programs::find("haproxy").context("HAProxy is the peer; Debian's package is called haproxy")?;
    processes::start(lab, host, "haproxy", &binary, &["-db", "-f", &path.display().to_string()])?;
    poll::until("HAProxy listens", PATIENCE, || {
        lab.host(host).inside(|| TcpStream::connect((Ipv4Addr::LOCALHOST, HAPROXY_PORT)))??;
        Ok(())
    })?;
    lab.process_id(host, "haproxy")
}

fn theirs(lab: &Lab, way: Way) -> Result<f64> {
    let proxies = [start_haproxy(lab, "lb1")?, start_haproxy(lab, "lb2")?];
    let keepalived = |host: &str, priority: u8, state: &'static str| {
        let addresses = vec![KEEPALIVED_VIP.into()];
        Keepalived::start(lab, host, &Settings { addresses, id: 61, priority, interval: INTERVAL, state })
    };
    let first = keepalived("lb1", 200, "MASTER")?;
    let _second = keepalived("lb2", 100, "BACKUP")?;
    super::wait_until_on(lab, KEEPALIVED_VIP, "lb1", Some("lb2"))?;
    let mut all = open(lab, (KEEPALIVED_VIP, HAPROXY_PORT).into())?;
    let end = |pid: i32| kill(Pid::from_raw(pid), Signal::SIGKILL);
    match way {
        Way::Crash => {
            set_link(lab, "down")?;
            end(proxies[0])?;
            first.kill_alone();
        }
        Way::Link => set_link(lab, "down")?,
        Way::Killed => first.kill_alone(),
        Way::Stopped | Way::Moved => first.stop()?,
    }
    wait_for(lab, KEEPALIVED_VIP, "lb2")?;
    let lost = count_lost(&mut all)?;
    set_link(lab, "up")?;
    for pid in proxies {
        // The first may be gone already.
        let _ = end(pid);
    }
    let mut left = lab.host("lb1").command("ip");
    // What a killed keepalived leaves; most of the time nothing.
    let _ = left.args(["addr", "del", &format!("{KEEPALIVED_VIP}/32"), "dev", "eth0"]).output()?;
    Ok(lost as f64)
}
