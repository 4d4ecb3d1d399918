//! `lbctl trace`: real packets in words and in a file, and nothing left of it afterwards.

use crate::client::{ask, counters, lbctl, stay_on_one_cpu, try_lbctl, vip_a, web_lab};
use anyhow::{Context as _, Result, ensure};
use lb_user::api::TracedPacket;
use lbctl_tests::lab::{Lab, poll};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// A trace that runs, from when packets are told about.
struct Trace {
    child: Child,
    lines: BufReader<std::process::ChildStdout>,
}

impl Trace {
    fn begin(lab: &Lab, arguments: &[&str]) -> Result<Self> {
        let before = program_id(lab)?;
        let mut command = lab.lbctl("lb1")?;
        command.args(["-o", "json", "trace"]).args(arguments).stdout(Stdio::piped());
        let mut child = command.spawn().context("lbctl")?;
        let lines = BufReader::new(child.stdout.take().context("its output")?);
        poll::until("the program that tells is in place", Duration::from_secs(10), || {
            ensure!(program_id(lab)? != before, "the old one is");
            Ok(())
        })?;
        Ok(Self { child, lines })
    }

    fn next(&mut self) -> Result<TracedPacket> {
        let mut line = String::new();
        ensure!(self.lines.read_line(&mut line)? > 0, "the trace ended");
        serde_json::from_str(&line).context(line)
    }

    fn end(mut self) -> Result<()> {
        kill(Pid::from_raw(self.child.id().try_into()?), Signal::SIGINT)?;
        self.child.wait()?;
        Ok(())
    }
}

/// The id of the program on lb1's interface.
fn program_id(lab: &Lab) -> Result<String> {
    let shown = lab.host("lb1").command("ip").args(["-d", "link", "show", "eth0"]).output()?;
    let text = String::from_utf8_lossy(&shown.stdout).into_owned();
    let rest = text.split("prog/xdp id ").nth(1).with_context(|| format!("no program: {text}"))?;
    Ok(rest.split_whitespace().next().unwrap_or_default().to_owned())
}

fn request(lab: &Lab, number: usize) -> Result<String> {
    lab.host("client").inside(|| {
        stay_on_one_cpu(0)?;
        ask(vip_a()[number])
    })?
}

#[test]
fn packets_are_told_about_while_somebody_looks_and_only_then() -> Result<()> {
    let lab = web_lab()?;
    let silent = program_id(&lab)?;
    let mut trace = Trace::begin(&lab, &["--service", "web", "--from", "10.90.0.0/24"])?;
    // Of the other family: not wanted.
    request(&lab, 1)?;
    let backend = request(&lab, 0)?;
    let wanted = [
        ("[S]", "new_flow", "to-backend"),
        ("[S.]", "handshake", "to-client"),
        ("[.]", "promoted", "to-backend"),
    ];
    for (flags, outcome, direction) in wanted {
        let packet = trace.next()?;
        ensure!(packet.packet.ends_with(&format!("tcp {flags}")) && packet.outcome == outcome, "{packet:?}");
        ensure!(packet.verdict == "transmit" && packet.interface == "eth0", "{packet:?}");
        ensure!(packet.direction.as_deref() == Some(direction), "{packet:?}");
        ensure!(packet.backend.as_ref().is_some_and(|name| name.as_str() == backend), "{packet:?}");
        ensure!(packet.service.as_ref().is_some_and(|name| name.as_str() == "web"), "{packet:?}");
        // The frame as it came in, by the IPv4 address of the VIP or of the backend's network in it.
        ensure!(packet.frame.len() / 2 == packet.frame_bytes as usize, "{packet:?}");
    }
    let second = try_lbctl(&lab, &["trace", "-c", "1"])?;
    ensure!(second.code == Some(1) && second.err.contains("one at a time"), "{second:?}");
    trace.end()?;
    poll::until("the silent program is back", Duration::from_secs(10), || {
        let now = program_id(&lab)?;
        ensure!(now == silent, "program {now}, not {silent}");
        Ok(())
    })?;
    request(&lab, 0)?;

    // What is denied is told with its rule; a trace that has its number ends by itself.
    lbctl(&lab, &["firewall", "rule", "add", "out", "--deny", "10.90.0.10", "--service", "web"])?;
    let mut trace = Trace::begin(&lab, &["-c", "1", "--from", "10.90.0.10"])?;
    let connect =
        || std::net::TcpStream::connect_timeout(&(vip_a()[0], 80).into(), Duration::from_millis(300));
    ensure!(lab.host("client").inside(connect)?.is_err(), "the rule lets the client in");
    let packet = trace.next()?;
    ensure!(packet.outcome == "denied" && packet.verdict == "drop", "{packet:?}");
    ensure!(packet.rule.as_ref().is_some_and(|rule| rule.as_str() == "out"), "{packet:?}");
    ensure!(trace.child.wait()?.success(), "it did not end well");
    let counters = counters(&lab, "lb1")?;
    ensure!(counters["internal"] == 0, "{counters:?}");
    let wrong = try_lbctl(&lab, &["trace", "--service", "wbe"])?;
    ensure!(wrong.code == Some(4), "{wrong:?}");
    lab.down()
}

#[test]
fn a_trace_goes_into_a_file_that_tcpdump_reads_and_ends_with_its_agent() -> Result<()> {
    let lab = web_lab()?;
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("trace.pcapng").display().to_string();
    let mut trace = Trace::begin(&lab, &["--service", "web", "--pcap", &file, "-c", "6"])?;
    request(&lab, 0)?;
    ensure!(trace.child.wait()?.success(), "it did not end well");
    let read = Command::new("tcpdump").args(["-nn", "-r", &file]).output()?;
    let text = String::from_utf8_lossy(&read.stdout).into_owned();
    ensure!(
        read.status.success() && text.lines().count() == 6,
        "{text}{}",
        String::from_utf8_lossy(&read.stderr)
    );
    let first = text.lines().next().unwrap_or_default();
    ensure!(first.contains("10.90.0.10.") && first.contains("> 10.80.0.100.80: Flags [S]"), "{first}");
    let bytes = std::fs::read(&file)?;
    let has = |words: &[u8]| bytes.windows(words.len()).any(|window| window == words);
    ensure!(has(b"transmit (new_flow) service web"), "the file has no comments");

    // An agent that is killed leaves the program that tells; the next one puts its own in place.
    let silent_before = program_id(&lab)?;
    let trace = Trace::begin(&lab, &[])?;
    let telling = program_id(&lab)?;
    lab.kill_agent("lb1", Signal::SIGKILL)?;
    let mut child = trace.child;
    ensure!(!child.wait()?.success(), "the trace outlives its agent");
    request(&lab, 0)?;
    lab.start_agent("lb1")?;
    let now = program_id(&lab)?;
    ensure!(now != telling && now != silent_before, "program {now} is an old one");
    // One that is asked to end takes it out itself.
    let trace = Trace::begin(&lab, &[])?;
    lab.kill_agent("lb1", Signal::SIGTERM)?;
    let mut child = trace.child;
    child.wait()?;
    ensure!(program_id(&lab)? == now, "the program that tells stays");
    request(&lab, 0)?;
    lab.start_agent("lb1")?;
    lab.down()
}
