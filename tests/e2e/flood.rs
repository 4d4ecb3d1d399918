//! Floods, on real connections: what is open goes on, and what is new is let in.

use crate::client::{
    KeptConnection, PATIENCE, ask, counters, lbctl, lbctl_json, stay_on_one_cpu, try_lbctl, vip_a, web_lab,
};
use anyhow::{Context as _, Result, ensure};
use lb_user::api::Status;
use lbctl_tests::flood::{Flood, Kind, swallow_answers};
use lbctl_tests::lab::{Lab, poll};
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Packets of a flood in a second. More would be a test of the machine's patience.
const PER_SECOND: u32 = 150_000;
/// Connections that are open when a flood begins, half of each family.
const KEPT: usize = 60;
/// Of a hundred new connections, so many at least come about.
const SUCCESS_PERCENT: usize = 99;

/// What happened to clients during a flood.
#[derive(Debug, Default)]
struct Seen {
    /// New connections: tried, answered.
    tried: usize,
    answered: usize,
    /// Requests on connections that were there before.
    asked_again: usize,
    errors: Vec<String>,
}

/// Opens connections, one after the other, and asks on those that are open, until the flood is over.
fn watch(vip: IpAddr, kept: &mut [KeptConnection], over: &AtomicBool) -> Result<Seen> {
    stay_on_one_cpu(0)?;
    let mut seen = Seen::default();
    while !over.load(Ordering::Relaxed) || seen.tried < 100 {
        seen.tried += 1;
        match ask(vip) {
            Ok(_) => seen.answered += 1,
            Err(error) => seen.errors.push(format!("{error:#}")),
        }
        let turn = seen.tried % kept.len();
        kept[turn].ask(false).context("a connection that was open before the flood")?;
        seen.asked_again += 1;
    }
    Ok(seen)
}

/// Sends a flood while clients do what clients do.
fn under(lab: &Lab, flood: Flood, vip: IpAddr, kept: &mut [KeptConnection]) -> Result<Seen> {
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let sender = scope.spawn(|| {
            let sent = lab.host("client").inside(|| flood.send(&AtomicBool::new(false)));
            over.store(true, Ordering::Relaxed);
            sent?
        });
        let seen = lab.host("client").inside(|| watch(vip, kept, &over))?;
        let sent = sender.join().map_err(|_| anyhow::anyhow!("the flood's thread panicked"))??;
        ensure!(sent == flood.packets, "{sent} packets were sent of {}", flood.packets);
        seen
    })
}

fn expect_served(seen: &Seen) -> Result<()> {
    let Seen { tried, answered, errors, .. } = seen;
    ensure!(
        answered * 100 >= tried * SUCCESS_PERCENT,
        "{answered} of {tried} new connections came about: {errors:?}"
    );
    Ok(())
}

/// How many handshakes the table of them holds; each is two entries.
fn embryonic_flows(lab: &Lab) -> Result<u32> {
    let status: Status = lbctl_json(lab, &["status"])?;
    let table = status.tables.iter().find(|table| table.name == "embryonic").context("no such table")?;
    Ok(u32::try_from(table.capacity / 2)?)
}

fn keep(lab: &Lab) -> Result<Vec<KeptConnection>> {
    lab.host("client").inside(|| {
        stay_on_one_cpu(0)?;
        (0..KEPT).map(|number| KeptConnection::open(vip_a()[number % 2])).collect()
    })?
}

#[test]
fn ten_tables_full_of_syns_cost_no_connection() -> Result<()> {
    let lab = web_lab()?;
    swallow_answers(&lab)?;
    let packets = embryonic_flows(&lab)? * 10;
    let mut kept = keep(&lab)?;
    for vip in vip_a() {
        let before = counters(&lab, "lb1")?;
        let target = SocketAddr::new(vip, 80);
        let flood = Flood { kind: Kind::Syn, target, packets, per_second: PER_SECOND, first: 0 };
        let seen = under(&lab, flood, vip, &mut kept)?;
        expect_served(&seen)?;
        let after = counters(&lab, "lb1")?;
        let grown = |name: &str| after[name] - before[name];
        ensure!(grown("cookie_sent") > u64::from(packets) / 2, "{} cookies were sent", grown("cookie_sent"));
        ensure!(grown("cookie_accepted") > 0, "no client brought a cookie back");
        ensure!(grown("ports_exhausted") + grown("table_refused") == 0, "a table was full: {after:?}");
        ensure!(grown("internal") == 0, "a fault of the program: {after:?}");
        // The last segment of a connection that is over may come late; none of one that goes on is unknown.
        ensure!(
            grown("unknown_flow") <= 1 + seen.tried as u64 / 1000,
            "packets of flows were not known: {after:?}"
        );
        let said = lbctl(&lab, &["status"])?;
        ensure!(said.contains("SYN flood for"), "{said}");
    }
    let lost =
        lab.host("client").inside(|| kept.iter_mut().filter_map(|one| one.ask(false).err()).count())?;
    ensure!(lost == 0, "{lost} of {KEPT} open connections are lost");

    // Afterwards SYNs are remembered again, and the end is told.
    let calm = Instant::now();
    poll::until("SYNs are remembered again", PATIENCE, || {
        let before = counters(&lab, "lb1")?["cookie_sent"];
        lab.host("client").inside(|| ask(vip_a()[0]))??;
        ensure!(counters(&lab, "lb1")?["cookie_sent"] == before, "a cookie was sent");
        Ok(())
    })?;
    ensure!(
        calm.elapsed() < Duration::from_secs(8),
        "cookies were sent for {:?} after the flood",
        calm.elapsed()
    );
    poll::until("the end of the flood is told", PATIENCE, || {
        let events = lab.agent_get("lb1", "/v1/events")?.body;
        ensure!(events.contains("SYN flood: over"), "{events}");
        Ok(())
    })?;
    lab.down()
}

#[test]
fn floods_of_what_begins_nothing_are_counted_and_keep_nobody_out() -> Result<()> {
    let lab = web_lab()?;
    swallow_answers(&lab)?;
    let mut kept = keep(&lab)?;
    for vip in vip_a() {
        for (kind, counted) in
            [(Kind::Ack, "unknown_flow"), (Kind::Fragment, "fragment"), (Kind::IcmpError, "icmp_unrelated")]
        {
            let before = counters(&lab, "lb1")?[counted];
            let target = SocketAddr::new(vip, 80);
            let flood = Flood { kind, target, packets: 100_000, per_second: PER_SECOND, first: 0 };
            let seen = under(&lab, flood, vip, &mut kept)?;
            expect_served(&seen).with_context(|| format!("under a flood of {kind:?}"))?;
            let grown = counters(&lab, "lb1")?[counted] - before;
            ensure!(
                grown > 90_000,
                "of 100000 packets of a flood of {kind:?}, {grown} were counted as {counted}"
            );
        }
    }
    lab.down()
}

#[test]
fn cookies_for_all_are_a_word_in_the_configuration_and_in_force_at_once() -> Result<()> {
    let lab = web_lab()?;
    let text = lab.agent_config("lb1")?;
    ensure!(text.contains("[dataplane]"), "the lab's configuration has no table [dataplane]: {text}");
    lab.write_agent_config("lb1", &text.replace("[dataplane]", "[dataplane]\nsyn_cookies = \"always\""))?;
    let said = lbctl(&lab, &["apply"])?;
    ensure!(said.contains("dataplane: syn_cookies auto → always"), "{said}");
    for vip in vip_a() {
        let before = counters(&lab, "lb1")?;
        for _ in 0..20 {
            lab.host("client").inside(|| ask(vip))??;
        }
        let after = counters(&lab, "lb1")?;
        for name in ["cookie_sent", "cookie_accepted"] {
            ensure!(after[name] - before[name] == 20, "{name} of 20: {}", after[name] - before[name]);
        }
    }
    // A whole download by way of a cookie: windows and selective acknowledgements are right.
    let url = format!("http://{}/files/bulk", SocketAddr::new(vip_a()[0], 80));
    for web in ["web1", "web2"] {
        std::fs::write(lab.files_dir(web).join("bulk"), vec![b'x'; 64 << 20])?;
    }
    let mut curl = lab.host("client").command("curl");
    curl.args(["-s", "-o", "/dev/null", "--max-time", "30", "-w", "%{http_code} %{size_download}", &url]);
    let output = curl.output()?;
    ensure!(output.stdout == format!("200 {}", 64 << 20).as_bytes(), "{output:?}");
    let wrong = text.replace("[dataplane]", "[dataplane]\nsyn_cookies = \"maybe\"");
    lab.write_agent_config("lb1", &wrong)?;
    let refused = try_lbctl(&lab, &["apply"])?;
    ensure!(refused.code != Some(0) && refused.err.contains("dataplane.syn_cookies"), "{refused:?}");
    lab.down()
}
