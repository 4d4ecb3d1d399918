//! Much data and many connections: what a transfer survives, and that nothing is left of what has ended.

use crate::client::{
    Download, KeptConnection, PATIENCE, ask_times, backend_view, client_shell, counters, flow_entries, flows,
    lbctl, shares, stay_on_one_cpu, vip_a, vips, wait_for_health, web_lab,
};
use anyhow::{Result, ensure};
use lb_user::api::BackendView;
use lb_user::model::BackendHealth;
use lbctl_tests::lab::{Lab, poll};
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::Read;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

pub(crate) const GIGABYTE: u64 = 1 << 30;

/// Puts a file of random bytes where both web servers serve it as `/files/NAME`.
pub(crate) fn serve_file(lab: &Lab, name: &str, bytes: u64) -> Result<PathBuf> {
    let file = lab.files_dir("web1").join(name);
    let mut random = File::open("/dev/urandom")?.take(bytes);
    std::io::copy(&mut random, &mut File::create(&file)?)?;
    fs::hard_link(&file, lab.files_dir("web2").join(name))?;
    Ok(file)
}

#[test]
fn a_gigabyte_arrives_unchanged_over_both_families() -> Result<()> {
    let lab = web_lab()?;
    let file = serve_file(&lab, "gigabyte", GIGABYTE)?;
    let sum = Command::new("sha256sum").stdin(File::open(file)?).output()?;
    let wanted = String::from_utf8(sum.stdout)?;
    ensure!(wanted.len() > 64, "sha256sum: {wanted:?}");
    for vip in vip_a() {
        let url = format!("http://{}/files/gigabyte", SocketAddr::new(vip, 80));
        let got = client_shell(&lab, &format!("curl -s --max-time 120 {url} | sha256sum"))?;
        ensure!(got == wanted, "{url}: checksum {got:?}, not {wanted:?}");
    }
    // And through the web servers' own TLS.
    let authority = lab.ca_certificate();
    for vip in vips() {
        let url = format!("https://{}/", SocketAddr::new(vip, 8443));
        let page = client_shell(&lab, &format!("curl -sS --cacert {} {url}", authority.display()))?;
        ensure!(page.contains("A static page"), "{url}: {page}");
    }
    lab.down()
}

#[test]
fn drain_waits_for_its_transfers_and_removal_cuts_them_only_by_force() -> Result<()> {
    let lab = web_lab()?;
    serve_file(&lab, "transfer", 16 << 20)?;
    for vip in vip_a() {
        a_drain_waits_for_a_transfer(&lab, vip)?;
    }
    for vip in vip_a() {
        a_removed_backend_finishes_its_transfer(&lab, vip)?;
    }
    a_forced_removal_cuts_a_transfer(&lab)?;
    lab.down()
}

/// Waits until the node's last sweep has seen the backend's flow.
fn wait_for_flow(lab: &Lab, backend: &str) -> Result<()> {
    poll::until("the transfer's flow is counted", PATIENCE, || {
        let flows = backend_view(lab, "lb1", backend)?.active_flows;
        ensure!(flows == 1, "{flows} active flows");
        Ok(())
    })
}

fn a_drain_waits_for_a_transfer(lab: &Lab, vip: IpAddr) -> Result<()> {
    let mut transfer = Download::begin(lab, vip, "/files/transfer", "4M")?;
    let backend = transfer.backend.clone();
    wait_for_flow(lab, &backend)?;
    let drain = ["backend", "drain", "web", &backend, "--wait", "--timeout"];
    let impatient = lab.lbctl("lb1")?.args(drain).arg("0s").output()?;
    ensure!(impatient.status.code() == Some(6), "a drain that ran out of time: {impatient:?}");
    ensure!(transfer.still_runs()?, "the transfer ended too early for this test");
    let answers = ask_times(lab, vip, 10)?;
    ensure!(!answers.contains(&backend), "a draining backend got new flows: {:?}", shares(&answers));
    let said = lbctl(lab, &[&drain[..], &["30s"]].concat())?;
    ensure!(said.contains("no flows left"), "{said}");
    ensure!(!transfer.still_runs()?, "the drain ended before the transfer");
    let (code, verdict) = transfer.finish()?;
    ensure!(code == Some(0) && verdict == "200 16777216", "curl {code:?}: {verdict}");
    lbctl(lab, &["backend", "ready", "web", &backend])?;
    Ok(())
}

fn address_arguments(backend: &str) -> [String; 4] {
    let digits = if backend == "web1" { 21 } else { 22 };
    ["--address".into(), format!("10.80.0.{digits}:80"), "--address".into(), format!("[fd80::{digits}]:80")]
}

fn add_again(lab: &Lab, backend: &str) -> Result<()> {
    let address = address_arguments(backend);
    let words = ["backend", "add", "web", backend].into_iter().chain(address.iter().map(String::as_str));
    lbctl(lab, &words.collect::<Vec<_>>())?;
    wait_for_health(lab, "lb1", backend, BackendHealth::Up)
}

fn a_removed_backend_finishes_its_transfer(lab: &Lab, vip: IpAddr) -> Result<()> {
    let mut transfer = Download::begin(lab, vip, "/files/transfer", "8M")?;
    let backend = transfer.backend.clone();
    lbctl(lab, &["backend", "del", "web", &backend])?;
    ensure!(transfer.still_runs()?, "the transfer ended too early for this test");
    let answers = ask_times(lab, vip, 4)?;
    ensure!(!answers.contains(&backend), "a removed backend got new flows: {:?}", shares(&answers));
    let (code, verdict) = transfer.finish()?;
    ensure!(code == Some(0) && verdict == "200 16777216", "curl {code:?}: {verdict}");
    add_again(lab, &backend)
}

fn a_forced_removal_cuts_a_transfer(lab: &Lab) -> Result<()> {
    let mut cut = Download::begin(lab, vip_a()[0], "/files/transfer", "1M")?;
    let mut other = Download::begin(lab, vip_a()[1], "/files/transfer", "1M")?;
    ensure!(cut.backend == other.backend, "each family begins with the same backend");
    let kept = Download::begin(lab, vip_a()[0], "/files/transfer", "8M")?;
    ensure!(cut.backend != kept.backend, "{} twice in a row", kept.backend);
    ensure!(cut.still_runs()? && other.still_runs()?, "ended too early for this test");
    lbctl(lab, &["backend", "del", "web", &cut.backend, "--force"])?;
    for transfer in [cut, other] {
        // 56: failure with receiving network data, which is what RST gives.
        let (code, verdict) = transfer.finish()?;
        ensure!(code == Some(56), "curl {code:?}: {verdict}");
    }
    let (code, verdict) = kept.finish()?;
    ensure!(code == Some(0) && verdict == "200 16777216", "the other backend's: curl {code:?}: {verdict}");
    Ok(())
}

/// How a connection of the next test ends.
fn end(mut connection: KeptConnection, way: usize) -> Result<()> {
    match way % 3 {
        0 => {
            connection.ask(true)?;
            connection.expect_end()
        }
        1 => connection.reset(),
        _ => Ok(()), // Dropped: the client's FIN comes first.
    }
}

#[test]
fn ten_thousand_connections_leave_nothing_in_any_table() -> Result<()> {
    let lab = web_lab()?;
    // Closed flows leave soon, so that the test need not wait; those to VIP `direct` are half-closed as far as is seen.
    let config = lab.agent_config("lb1")?;
    let config = config
        .replace("[dataplane]\n", "[dataplane]\ntimeouts = { closed = \"2s\", half_closed = \"2s\" }\n");
    lab.write_agent_config("lb1", &config)?;
    lbctl(&lab, &["apply"])?;
    let totals = || -> Result<Vec<_>> {
        let views = ["web1", "web2"].map(|backend| backend_view(&lab, "lb1", backend));
        let counts = |view: BackendView| [view.flows_new, view.flows_established, view.flows_refused];
        views.into_iter().map(|view| view.map(counts)).collect()
    };
    let before = totals()?;
    let threads = 4;
    for vip in vip_a() {
        let one = |number| {
            stay_on_one_cpu(number)?;
            (0..5000 / threads).try_for_each(|way| end(KeptConnection::open(vip)?, way))
        };
        lab.host("client").inside(|| {
            std::thread::scope(|scope| {
                let all: Vec<_> = (0..threads).map(|number| scope.spawn(move || one(number))).collect();
                all.into_iter().try_for_each(|thread| thread.join().unwrap_or(Ok(())))
            })
        })??;
    }
    for (before, after) in before.iter().zip(totals()?) {
        let counts: Vec<u64> = after.iter().zip(before).map(|(after, before)| after - before).collect();
        ensure!(counts == [5000, 5000, 0], "a backend's new, established, refused flows: {counts:?}");
    }
    // Those that were reset linger, in case the RST was forged; the others are gone already.
    entries_come(&lab, 6000)?;
    entries_go(&lab)?;
    let counters = counters(&lab, "lb1")?;
    // However many, they are no flood.
    for bad in [
        "ports_exhausted",
        "table_refused",
        "internal",
        "unknown_flow",
        "no_neighbour",
        "exceeds_mtu",
        "cookie_sent",
    ] {
        ensure!(counters[bad] == 0, "{bad}: {}", counters[bad]);
    }
    two_thousand_at_a_time(&lab)?;
    lab.down()
}

/// A sweep has seen at least so many entries in the tables, two for each flow.
fn entries_come(lab: &Lab, at_least: u64) -> Result<()> {
    poll::until("a sweep counts the flows", PATIENCE, || {
        let entries = flow_entries(lab, "lb1")?;
        ensure!(entries >= at_least, "{entries} entries");
        Ok(())
    })
}

fn entries_go(lab: &Lab) -> Result<()> {
    poll::until("the flow tables are empty", Duration::from_secs(20), || {
        let entries = flow_entries(lab, "lb1")?;
        ensure!(entries == 0, "{entries} entries: {:?}", flows(lab, "lb1", 3)?.flows);
        Ok(())
    })
}

/// Each has a flow of its own, shown with its addresses, and each goes on when the last has come.
fn two_thousand_at_a_time(lab: &Lab) -> Result<()> {
    let open = || {
        stay_on_one_cpu(0)?;
        let mut all = Vec::new();
        for vip in vip_a().into_iter().cycle().take(2000) {
            all.push(KeptConnection::open(vip)?);
        }
        Ok::<_, anyhow::Error>(all)
    };
    let mut connections = lab.host("client").inside(open)??;
    let list = flows(lab, "lb1", 5000)?;
    let shown: BTreeSet<SocketAddr> = list.flows.iter().map(|flow| flow.client).collect();
    ensure!(list.flows.len() == 2000 && !list.truncated, "{} flows are listed", list.flows.len());
    for connection in &connections {
        let client = connection.local_address()?;
        ensure!(shown.contains(&client), "the flow of {client} is not listed");
    }
    let ports: BTreeSet<_> = list.flows.iter().map(|flow| (flow.backend, flow.nat)).collect();
    ensure!(ports.len() == 2000, "two flows share a NAT port: {} of 2000", ports.len());
    ensure!(flows(lab, "lb1", 100)?.truncated, "a list that was cut short must say so");
    entries_come(lab, 4000)?;
    for connection in &mut connections {
        let backend = connection.backend.clone();
        let now = connection.ask(false)?;
        ensure!(now == backend, "a connection moved from {backend} to {now}");
    }
    let before = counters(lab, "lb1")?["flow_ended"];
    drop(connections);
    // Closed in order, they are forgotten at once, not after a timeout.
    poll::until("every flow has ended", PATIENCE, || {
        let ended = counters(lab, "lb1")?["flow_ended"] - before;
        ensure!(ended == 2000, "{ended} of 2000");
        Ok(())
    })?;
    ensure!(flows(lab, "lb1", 10)?.flows.is_empty(), "an ended flow is still listed");
    entries_go(lab)
}
