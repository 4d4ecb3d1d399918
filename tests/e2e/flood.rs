//! Floods, on real connections: what is open goes on, and what is new is let in.

use crate::client::{
    KeptConnection, PATIENCE, ask, counters, flows, lbctl, lbctl_json, stay_on_one_cpu, try_lbctl, vip_a,
    web_lab,
};
use anyhow::{Context as _, Result, ensure};
use lb_user::api::Status;
use lbctl_tests::flood::{Flood, Kind, swallow_answers};
use lbctl_tests::lab::addresses::{VIP_DIRECT, vip};
use lbctl_tests::lab::{Lab, poll};
use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Packets of a flood in a second. More would be a test of the machine's patience.
const PER_SECOND: u32 = 100_000;
/// Connections that are open when a flood begins, half of each family.
const KEPT: usize = 60;
/// Of a hundred new connections, so many at least come about in time.
const SUCCESS_PERCENT: usize = 99;
/// Before its SYN would be sent again: what was lost once is not in time.
const IN_TIME: Duration = Duration::from_millis(900);
/// New connections, tried one after the other, that are enough to speak of a percentage. On a busy machine one takes 10 ms, and a flood
/// lasts for 3 seconds.
const TRIED_AT_LEAST: usize = 100;
/// The turn of a client when the flood is well under way.
const MIDST: usize = 50;
/// What packets of flows may be dropped as.
const DROPS: [&str; 16] = [
    "bad_ip_header",
    "bad_tcp_flags",
    "bad_tcp_header",
    "denied",
    "exceeds_mtu",
    "forwarding_disabled",
    "fragment",
    "internal",
    "no_neighbour",
    "no_route",
    "over_active",
    "over_rate",
    "ports_exhausted",
    "table_refused",
    "ttl_exceeded",
    "unknown_reset",
];

/// What happened to clients during a flood.
#[derive(Debug, Default)]
struct Seen {
    /// New connections that began and ended while the flood lasted; those of them that were answered in time.
    tried: usize,
    answered: usize,
    /// Why others were not.
    errors: Vec<String>,
    /// How many of those were reset.
    resets: usize,
}

fn is_reset(error: &anyhow::Error) -> bool {
    let causes = error.chain().filter_map(|cause| cause.downcast_ref::<std::io::Error>());
    let kinds = [ErrorKind::ConnectionReset, ErrorKind::ConnectionRefused, ErrorKind::BrokenPipe];
    causes.into_iter().any(|cause| kinds.contains(&cause.kind()))
}

/// Opens connections, one after the other, and asks on those that are open, until the flood is over. One of them stays open.
fn watch(vip: IpAddr, kept: &mut Vec<KeptConnection>, over: &AtomicBool) -> Result<Seen> {
    stay_on_one_cpu(0)?;
    let mut seen = Seen::default();
    for turn in 0.. {
        let begun = Instant::now();
        let answer = ask(vip);
        let took = begun.elapsed();
        if over.load(Ordering::Relaxed) {
            break;
        }
        seen.tried += 1;
        match answer {
            Ok(_) if took < IN_TIME => seen.answered += 1,
            Ok(_) => seen.errors.push(format!("answered after {took:?}")),
            Err(error) => {
                seen.resets += usize::from(is_reset(&error));
                seen.errors.push(format!("{error:#}"));
            }
        }
        if turn == MIDST {
            kept.push(KeptConnection::open(vip).context("a connection that is to stay open")?);
        }
        let turn = turn % kept.len();
        kept[turn].ask(false).context("a connection that was open before the flood")?;
    }
    Ok(seen)
}

/// Sends a flood, from all CPUs, while clients do what clients do. All of it must have left.
fn under(lab: &Lab, flood: Flood, vip: IpAddr, kept: &mut Vec<KeptConnection>) -> Result<Seen> {
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let sender = scope.spawn(|| {
            let sent = flood.send_from_all_cpus(lab, &over);
            over.store(true, Ordering::Relaxed);
            sent
        });
        let seen = lab.host("client").inside(|| watch(vip, kept, &over));
        over.store(true, Ordering::Relaxed);
        let sent = sender.join().map_err(|_| anyhow::anyhow!("the flood's thread panicked"))?;
        let seen = seen??;
        sent.map(|()| seen)
    })
}

fn expect_served(seen: &Seen) -> Result<()> {
    let Seen { tried, answered, errors, resets } = seen;
    ensure!(*tried >= TRIED_AT_LEAST, "only {tried} new connections were tried: {errors:?}");
    ensure!(
        answered * 100 >= tried * SUCCESS_PERCENT,
        "{answered} of {tried} new connections came about: {errors:?}"
    );
    // Clients use their ports again within seconds here, and now and then one meets what is left of its last connection.
    ensure!(*resets <= 1 + *tried / 1000, "{resets} of {tried} new connections were reset: {errors:?}");
    Ok(())
}

/// Segments that client and servers sent, and those of them, SYNs apart, that they had to send again.
#[derive(Debug, Clone, Copy)]
struct Segments {
    sent: u64,
    again: u64,
}

fn segments(lab: &Lab) -> Result<Segments> {
    let mut all = Segments { sent: 0, again: 0 };
    for host in ["client", "web1", "web2"] {
        let read = |file: &str| std::fs::read_to_string(format!("/proc/thread-self/net/{file}"));
        let (snmp, netstat) = lab.host(host).inside(|| (read("snmp"), read("netstat")))?;
        let (snmp, netstat) = (snmp?, netstat?);
        let again = field(&snmp, "Tcp:", "RetransSegs")? - field(&netstat, "TcpExt:", "TCPSynRetrans")?;
        // The kernel counts what was sent again on its own only.
        all.sent += field(&snmp, "Tcp:", "OutSegs")? + again;
        all.again += again;
    }
    Ok(all)
}

/// A value of the kernel's tables, in which a line of names comes before one of values.
fn field(table: &str, line: &str, name: &str) -> Result<u64> {
    let mut lines = table.lines().filter(|text| text.starts_with(line));
    let (names, values) = (lines.next().context("no names")?, lines.next().context("no values")?);
    let mut both = names.split_whitespace().zip(values.split_whitespace());
    let (_, value) = both.find(|(found, _)| *found == name).with_context(|| format!("no {name}"))?;
    Ok(value.parse()?)
}

/// How many handshakes the table of them holds; each is two entries.
fn embryonic_flows(lab: &Lab) -> Result<u32> {
    let status: Status = lbctl_json(lab, &["status"])?;
    let table = status.tables.iter().find(|table| table.name == "embryonic").context("no such table")?;
    Ok(u32::try_from(table.capacity / 2)?)
}

/// Flows there are, in either table.
fn flows_now(lab: &Lab) -> Result<usize> {
    Ok(flows(lab, "lb1", 1_000_000)?.flows.len())
}

fn keep(lab: &Lab, vips: [IpAddr; 2]) -> Result<Vec<KeptConnection>> {
    lab.host("client").inside(|| {
        stay_on_one_cpu(0)?;
        (0..KEPT).map(|number| KeptConnection::open(vips[number % 2])).collect()
    })?
}

#[test]
fn ten_tables_full_of_syns_cost_no_connection() -> Result<()> {
    let lab = web_lab()?;
    swallow_answers(&lab)?;
    let ten_tables = embryonic_flows(&lab)? * 10;
    let mut kept = keep(&lab, vip_a())?;
    for vip in vip_a() {
        let before = counters(&lab, "lb1")?;
        let segments_before = segments(&lab)?;
        let target = SocketAddr::new(vip, 80);
        let packets = ten_tables / 100 * 102;
        let flood = Flood { kind: Kind::Syn, target, packets, per_second: PER_SECOND, first: 0 };
        let seen = under(&lab, flood, vip, &mut kept)?;
        expect_served(&seen)?;
        let after = counters(&lab, "lb1")?;
        let grown = |name: &str| after[name] - before[name];
        let arrived = grown("cookie_sent") + grown("new_flow");
        ensure!(arrived >= u64::from(ten_tables), "{arrived} SYNs arrived, of {ten_tables} at least");
        // All but those of its first moment, and of the seconds before.
        ensure!(
            grown("cookie_accepted") * 10 >= seen.answered as u64 * 9,
            "{} of {} clients brought a cookie back",
            grown("cookie_accepted"),
            seen.answered
        );
        for name in DROPS {
            ensure!(grown(name) == 0, "packets were dropped as {name}: {after:?}");
        }
        // What the program drops is none, see above; what else is lost has overrun a queue of the machine's, which the flood fills too.
        let segments = segments(&lab)?;
        let (sent, again) = (segments.sent - segments_before.sent, segments.again - segments_before.again);
        ensure!(
            again * 1000 <= sent * 5,
            "{again} of {sent} segments of {} connections were lost",
            seen.tried
        );
        let said = lbctl(&lab, &["status"])?;
        ensure!(said.contains("SYN flood for"), "{said}");
    }
    let lost =
        lab.host("client").inside(|| kept.iter_mut().filter_map(|one| one.ask(false).err()).count())?;
    ensure!(lost == 0, "{lost} of {} open connections are lost", kept.len());

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
    const PACKETS: u32 = 200_000;
    let lab = web_lab()?;
    swallow_answers(&lab)?;
    let mut kept = keep(&lab, vip_a())?;
    // While cookies may come, an ACK costs more.
    let target = SocketAddr::new(vip_a()[0], 80);
    let syns = Flood { kind: Kind::Syn, target, packets: 100_000, per_second: PER_SECOND, first: 0 };
    under(&lab, syns, vip_a()[0], &mut kept)?;
    ensure!(counters(&lab, "lb1")?["cookie_sent"] > 0, "no cookie was sent");
    for vip in vip_a() {
        for (kind, counted) in [
            (Kind::Ack, "unknown_flow"),
            (Kind::Fragment, "fragment"),
            (Kind::IcmpError, "icmp_unrelated"),
            (Kind::Echo, "icmp_to_host"),
        ] {
            let (before, flows) = (counters(&lab, "lb1")?, flows_now(&lab)?);
            let target = SocketAddr::new(vip, 80);
            let first = 200_000;
            let flood = Flood { kind, target, packets: PACKETS, per_second: PER_SECOND, first };
            let seen = under(&lab, flood, vip, &mut kept)?;
            expect_served(&seen).with_context(|| format!("under a flood of {kind:?}"))?;
            let grown = counters(&lab, "lb1")?[counted] - before[counted];
            ensure!(
                grown >= u64::from(PACKETS / 100 * 98),
                "of {PACKETS} packets of a flood of {kind:?}, {grown} were counted as {counted}"
            );
            let more = flows_now(&lab)?.saturating_sub(flows);
            ensure!(more < 1000 + 2 * seen.tried, "a flood of {kind:?} made {more} flows");
        }
    }
    lab.down()
}

/// Backends that answer themselves are reached by floods; what the node remembers of them is bounded all the same.
#[test]
fn floods_at_backends_that_answer_directly_fill_no_table() -> Result<()> {
    const PACKETS: u32 = 300_000;
    let lab = web_lab()?;
    swallow_answers(&lab)?;
    // A backend that is too busy for a check is not what this is about.
    let text = lab.agent_config("lb1")?;
    let (before, after) =
        text.split_once("[service.web-direct.health]").context("no checks of web-direct")?;
    let patient =
        after.replacen("interval = \"1s\"\ntimeout = \"500ms\"", "interval = \"10s\"\ntimeout = \"10s\"", 1);
    ensure!(patient != after, "the checks of web-direct are others: {after}");
    lab.write_agent_config("lb1", &format!("{before}[service.web-direct.health]{patient}"))?;
    lbctl(&lab, &["apply"])?;
    let mut kept = keep(&lab, vip(VIP_DIRECT))?;
    for vip in vip(VIP_DIRECT) {
        for kind in [Kind::Syn, Kind::Ack] {
            let (before, flows) = (counters(&lab, "lb1")?, flows_now(&lab)?);
            let target = SocketAddr::new(vip, 80);
            // The ACKs are of others than the SYNs.
            let first = if kind == Kind::Ack { 400_000 } else { 0 };
            let flood = Flood { kind, target, packets: PACKETS, per_second: PER_SECOND, first };
            let begun = Instant::now();
            let seen = under(&lab, flood, vip, &mut kept)?;
            let windows = begun.elapsed().as_secs_f64().ceil() as usize + 1;
            expect_served(&seen).with_context(|| format!("under a flood of {kind:?}"))?;
            let after = counters(&lab, "lb1")?;
            let unrecorded = after["unrecorded"] - before["unrecorded"];
            ensure!(unrecorded >= u64::from(PACKETS / 10 * 8), "{unrecorded} of {kind:?} were not recorded");
            for name in DROPS {
                let dropped = after[name] - before[name];
                // Who was not recorded and reset his connection is not known any more: his reset is dropped, and none but his.
                let allowed = if name == "unknown_reset" { seen.tried as u64 / 100 } else { 0 };
                ensure!(dropped <= allowed, "{dropped} packets were dropped as {name}: {after:?}");
            }
            let more = flows_now(&lab)?.saturating_sub(flows);
            // In a second at most so many, and what CPUs have not told yet.
            let recorded = windows * (embryonic_flows(&lab)? as usize / 8 + 100);
            ensure!(
                more < recorded + 2 * seen.tried,
                "a flood of {kind:?} made {more} flows beside {} connections in {windows} seconds",
                seen.tried
            );
        }
        // As soon as it is over, what goes on is recorded, also what began in it.
        poll::until("all that is open is recorded", PATIENCE, || {
            lab.host("client").inside(|| kept.iter_mut().try_for_each(|one| one.ask(false).map(drop)))??;
            let before = counters(&lab, "lb1")?["unrecorded"];
            lab.host("client").inside(|| kept.iter_mut().try_for_each(|one| one.ask(false).map(drop)))??;
            let unrecorded = counters(&lab, "lb1")?["unrecorded"] - before;
            ensure!(unrecorded == 0, "{unrecorded} segments were not");
            Ok(())
        })?;
        lab.host("client").inside(|| ask(vip))??;
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
