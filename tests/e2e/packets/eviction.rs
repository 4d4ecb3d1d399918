//! What a flood of SYNs may do to flows that are still in their handshake: they may be forgotten, but two of
//! them must never be taken for one.
//!
//! Not a case of the table, because which entries the kernel evicts is not for us to say.

use super::builder::{ACK, RST, SYN};
use super::case::{Action, Setup};
use super::environment::Environment;
use super::lifecycle::in_environment;
use super::runner::desired;
use super::scene::{Flow, IcmpKind, Port, SCENES, Scene};
use anyhow::{Context as _, Result, ensure};
use lb_ebpf::abi::PORT_REST_NS;
use lb_user::core::plan::steps;
use lb_user::io::dataplane::{Dataplane, Options, detach, monotonic_now};
use lb_user::model::{AttachMode, PortRange, Protocol};
use std::path::Path;
use std::time::{Duration, Instant};

/// Far more ports than the small embryonic table can hold flows.
const NAT_PORTS: u16 = 200;
const EMBRYONIC_FLOWS: u32 = 64;
const TURNS: u16 = 20;

/// A flow whose reverse entry was evicted, and whose NAT port then went to another one, must not get
/// that one's answers, nor that one its answers.
#[test]
fn a_flow_that_lost_its_port_in_a_flood_does_not_meet_the_flow_that_has_it_now() {
    in_environment(|environment| {
        for scene in SCENES {
            flood(environment, scene).with_context(|| scene.family())?;
        }
        Ok(())
    });
}

/// One query with its answer must not keep its port for as long as flows have that go on: 28,000 ports would be a few
/// hundred queries a second. The program's clock is the kernel's, so this takes its seconds.
#[test]
fn a_query_that_rested_gives_its_port_to_the_next() {
    in_environment(|environment| {
        let scene = SCENES[0];
        let mut setup = Setup::web(scene, &[scene.web(1)]).with_nat_ports(1);
        setup.services[0].protocol = Protocol::Udp;
        let dataplane = dataplane(environment, &setup, EMBRYONIC_FLOWS)?;
        let ifindex = environment.ifindex(Port::Lan)?;
        let says = |flow: &Flow| dataplane.run(&flow.client_says(b"query").frame(), ifindex, 1);
        let first = scene.flow();
        says(&first)?;
        dataplane.run(&first.backend_says(b"answer").frame(), ifindex, 1)?;
        let second = first.another(40001, first.nat_port, first.backend);
        ensure!(says(&second)?.action == Action::Drop as u32, "the port was given away at once");
        let begun = Instant::now();
        let taken = loop {
            let run = says(&second)?;
            if run.action == Action::Transmit as u32 {
                break run.packet;
            }
            ensure!(begun.elapsed() < Duration::from_secs(20), "the port never came free");
            std::thread::yield_now();
        };
        let rested = begun.elapsed();
        ensure!(rested > Duration::from_secs(4), "the port came free after {rested:?}");
        ensure!(taken == second.forwarded(&second.client_says(b"query")).frame(), "another packet left");
        let (flows, _) = dataplane.sweeper()?.list(monotonic_now(), 10, |_| true)?;
        ensure!(flows.len() == 1 && flows[0].client == second.client, "the flows are {flows:?}");
        Ok(())
    });
}

/// Clients that do not go on leave backends with half a handshake, which a flow on the same port would stumble over.
#[test]
fn ports_of_unfinished_handshakes_are_the_last_that_are_taken() {
    const PORTS: u16 = 64;
    const HELD: u16 = 20;
    in_environment(|environment| {
        let scene = SCENES[0];
        let setup = Setup::web(scene, &[scene.web(1)]).with_nat_ports(PORTS);
        let dataplane = dataplane(environment, &setup, EMBRYONIC_FLOWS)?;
        let ifindex = environment.ifindex(Port::Lan)?;
        let first = scene.flow();
        let numbered =
            |number: u16, port: u16| first.another(10_000 + number, first.nat_port + port, scene.web(1));
        let sends =
            |flow: &Flow, flags: u8| dataplane.run(&flow.client_sends(flags, b"").frame(), ifindex, 1);
        for number in 0..HELD {
            sends(&numbered(number, number), SYN)?;
        }
        for number in HELD..PORTS {
            sends(&numbered(number, number), SYN)?;
            sends(&numbered(number, number), RST)?;
        }
        let rested = Instant::now();
        while rested.elapsed() < Duration::from_nanos(PORT_REST_NS.unsigned_abs() + 10_000_000) {
            std::thread::yield_now();
        }
        // Each meets four ports that are held, has to look elsewhere, and finds a port there.
        for number in 0..HELD / 4 {
            let run = sends(&numbered(PORTS + number, 0), SYN)?;
            ensure!(run.action == Action::Transmit as u32, "flow {number} got no port");
            let port = u16::from_be_bytes([run.packet[34], run.packet[35]]) - first.nat_port;
            ensure!(port >= HELD, "flow {number} got port {port}, which a handshake held");
        }
        let reused = || -> Result<u64> {
            let occurrences = dataplane.counters()?.occurrences;
            let found = occurrences.iter().find(|counter| counter.name == "port_reused");
            Ok(found.context("no such counter")?.count)
        };
        ensure!(reused()? == 0, "a handshake lost its port while others were free");
        // Where nearly all are held, they are taken.
        for number in 2 * PORTS..4 * PORTS {
            sends(&numbered(number, 0), SYN)?;
        }
        ensure!(reused()? > 0, "no handshake lost its port when no other was free");
        Ok(())
    });
}

pub(super) fn dataplane(environment: &Environment, setup: &Setup, embryonic_flows: u32) -> Result<Dataplane> {
    dataplane_at(&environment.pin_dir(), setup, embryonic_flows)
}

pub(super) fn dataplane_at(pin_dir: &Path, setup: &Setup, embryonic_flows: u32) -> Result<Dataplane> {
    detach(pin_dir, false)?;
    let options = Options {
        pin_dir: pin_dir.to_owned(),
        interfaces: Vec::new(),
        attach: AttachMode::Auto,
        established_flows: setup.established_flows,
        embryonic_flows,
        limited_sources: 1024,
        syn_cookies: setup.syn_cookies,
        prefixes: 1024,
        nat_ports: PortRange::new(setup.nat_ports.0, setup.nat_ports.1)?,
    };
    let (mut dataplane, _) = Dataplane::open(&options)?;
    let steps = steps(dataplane.image(), &desired(setup)?)?;
    dataplane.take(&steps)?;
    Ok(dataplane)
}

fn flood(environment: &Environment, scene: Scene) -> Result<()> {
    let setup = Setup::web(scene, &[scene.web(1)]).with_nat_ports(NAT_PORTS);
    let dataplane = dataplane(environment, &setup, EMBRYONIC_FLOWS)?;
    let ifindex = environment.ifindex(Port::Lan)?;
    let run = |packet: Vec<u8>| Ok::<_, anyhow::Error>(dataplane.run(&packet, ifindex, 1)?.packet);
    let first = scene.flow();
    run(first.client_sends(SYN, b"").frame())?;
    run(first.backend_sends(SYN | ACK, b"").frame())?;
    // Errors about its answers keep the client's entry in use; nothing keeps the one that holds the port.
    let answer = first.returned(&first.backend_sends(SYN | ACK, b""));
    let error = scene.error(scene.router(), IcmpKind::TimeExceeded, &answer, 8).frame();
    let mut second = None;
    for number in 0..NAT_PORTS * TURNS {
        let nat_port = first.nat_port + (number + 1) % NAT_PORTS;
        let flow = first.another(10_000 + number, nat_port, scene.web(1));
        let syn = flow.client_sends(SYN, b"");
        let sent = run(syn.frame())?;
        let takes_over = Flow { nat_port: first.nat_port, ..flow };
        if sent == takes_over.forwarded(&syn).frame() {
            second = Some(takes_over);
            break;
        }
        // The backend answers a flood as it answers anybody.
        run(flow.backend_sends(SYN | ACK, b"").frame())?;
        run(error.clone())?;
    }
    let second = second.context("the first flow's port never went to another: the flood was too small")?;
    run(first.client_sends(ACK, b"").frame())?;
    let counters = dataplane.counters()?;
    let counted = |name: &str| {
        let mut all = counters.outcomes.iter().chain(&counters.occurrences);
        all.any(|counter| counter.name == name && counter.count != 0)
    };
    // The flood's clients never send an ACK.
    let promoted = counted("promoted");
    let answer = first.backend_sends(ACK, b"for the first client only");
    ensure!(
        !promoted || run(answer.frame())? == first.returned(&answer).frame(),
        "the first flow was established with the second one's reverse entry: its answers go to {}",
        second.client
    );
    let answer = second.backend_sends(SYN | ACK, b"");
    ensure!(
        run(answer.frame())? == second.returned(&answer).frame(),
        "the second flow, which has the port, does not get its answers"
    );
    ensure!(counted("port_lost"), "a flow lost its port and nobody counted it");
    Ok(())
}
