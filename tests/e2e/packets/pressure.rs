//! When there is a flood, and when it is over: the program's accounts of handshakes, by packets and the kernel's clock.
//!
//! Not cases of the table, because they take their seconds, and because how much a CPU has counted and not yet told is not for
//! us to say.

use super::builder::{ACK, FIN, PSH, Packet, SYN};
use super::case::{Service, Setup};
use super::environment::Environment;
use super::eviction::dataplane;
use super::lifecycle::in_environment;
use super::scene::{FIRST_NAT_PORT, Flow, Port, SCENES, Scene};
use anyhow::{Context as _, Result, ensure};
use lb_ebpf::abi::{Forwarding, PORT_REST_NS, PRESSURE_SHARE};
use lb_ebpf::outcome::Outcome;
use lb_user::io::dataplane::{Dataplane, monotonic_now};
use lb_user::model::SynCookieMode;
use lbctl_tests::lab::poll;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// An eighth of it is the least threshold there is.
const EMBRYONIC_FLOWS: u32 = 512;
const THRESHOLD: u64 = 64;
/// What CPUs may have counted and not told: this runs on one at a time, but may be moved.
const UNTOLD: u64 = 4 * PRESSURE_SHARE as u64;
/// The account of a window counts until the end of the next.
const MEMORY: Duration = Duration::from_millis(2100);
const PATIENCE: Duration = Duration::from_secs(20);

/// A dataplane, and packets to it.
struct Bench {
    dataplane: Dataplane,
    ifindex: u32,
}

impl Bench {
    fn new(environment: &Environment, setup: &Setup) -> Result<Self> {
        let setup = Setup { syn_cookies: SynCookieMode::Auto, ..setup.clone() };
        let dataplane = dataplane(environment, &setup, EMBRYONIC_FLOWS)?;
        Ok(Self { dataplane, ifindex: environment.ifindex(Port::Lan)? })
    }

    fn counted(&self, outcome: Outcome) -> Result<u64> {
        let counters = self.dataplane.counters()?;
        let found = counters.outcomes.iter().find(|counter| counter.name == outcome.name());
        Ok(found.context("no such counter")?.count)
    }

    /// Whether a packet ends so.
    fn ends(&self, packet: &Packet, outcome: Outcome) -> Result<bool> {
        let before = self.counted(outcome)?;
        self.dataplane.run(&packet.frame(), self.ifindex, 1)?;
        Ok(self.counted(outcome)? > before)
    }

    /// How many of the packets end so.
    fn end(&self, packets: impl Iterator<Item = Packet>, outcome: Outcome) -> Result<u64> {
        let before = self.counted(outcome)?;
        for packet in packets {
            self.dataplane.run(&packet.frame(), self.ifindex, 1)?;
        }
        Ok(self.counted(outcome)? - before)
    }

    /// How long it takes until a packet, another one each time, ends so. They are few: no flood.
    fn until(&self, outcome: Outcome, packet: impl Fn(u16) -> Packet) -> Result<Duration> {
        let begun = Instant::now();
        let mut number = 0;
        poll::until(outcome.name(), PATIENCE, || {
            number += 1;
            let next = Instant::now();
            poll::wait(PATIENCE, || next.elapsed() > Duration::from_millis(100));
            ensure!(self.ends(&packet(number), outcome)?, "it ends otherwise");
            Ok(begun.elapsed())
        })
    }

    fn established(&self) -> Result<usize> {
        let (flows, _) =
            self.dataplane.sweeper()?.list(monotonic_now(), 10_000, |flow| flow.state == "established")?;
        Ok(flows.len())
    }
}

fn syn(flow: Flow) -> Packet {
    flow.client_sends(SYN, b"")
}

#[test]
fn handshakes_that_are_not_completed_are_a_flood_and_others_are_none() {
    in_environment(|environment| {
        SCENES.into_iter().try_for_each(|scene| a_flood(environment, scene).context(scene.family()))
    });
}

fn a_flood(environment: &Environment, scene: Scene) -> Result<()> {
    const FLOWS: u16 = 400;
    let setup = Setup { established_flows: 1024, ..Setup::web(scene, &[scene.web(1)]) };
    let bench = Bench::new(environment, &setup)?;
    let flow = |number: u16| scene.flow().another(10_000 + number, FIRST_NAT_PORT + number, scene.web(1));
    for number in 0..FLOWS {
        let flow = flow(number);
        let segments = [syn(flow), flow.backend_sends(SYN | ACK, b""), flow.client_sends(ACK, b"")];
        for segment in segments {
            bench.dataplane.run(&segment.frame(), bench.ifindex, 1)?;
        }
    }
    let promoted = bench.counted(Outcome::Promoted)?;
    ensure!(promoted == u64::from(FLOWS), "{promoted} of {FLOWS} handshakes were completed");
    ensure!(bench.counted(Outcome::CookieSent)? == 0, "handshakes that are completed are taken for a flood");

    // In less than a second, and in the next one in any case.
    let flood = (FLOWS..2 * FLOWS).map(|number| syn(flow(number)));
    let remembered = bench.end(flood, Outcome::NewFlow)?;
    ensure!(
        (THRESHOLD..=THRESHOLD + UNTOLD).contains(&remembered),
        "{remembered} SYNs of a flood were remembered"
    );
    ensure!(bench.ends(&syn(flow(2 * FLOWS)), Outcome::CookieSent)?, "no cookie in a flood");
    let lasted = bench.until(Outcome::NewFlow, |number| syn(flow(2 * FLOWS + 1 + number)))?;
    ensure!(lasted < MEMORY + Duration::from_secs(1), "SYNs were remembered again after {lasted:?}");
    ensure!(lasted > Duration::from_millis(500), "the flood was forgotten after {lasted:?}");
    Ok(())
}

/// Few SYNs, but a backend with few ports. Other services have theirs.
#[test]
fn a_backend_without_ports_gets_cookies_for_its_own_service_alone() {
    const PORTS: u16 = 16;
    in_environment(|environment| {
        let scene = SCENES[0];
        let mut setup = Setup::web(scene, &[scene.web(1)]).with_nat_ports(PORTS);
        let other = SocketAddr::new(scene.vip(), 81);
        setup.services.push(Service::over("other", other, &[scene.web(2)]));
        let bench = Bench::new(environment, &setup)?;
        let flow = |number: u16| scene.flow().another(10_000 + number, 0, scene.web(1));
        ensure!(bench.end((0..PORTS).map(|number| syn(flow(number))), Outcome::NewFlow)? == u64::from(PORTS));
        ensure!(
            bench.ends(&syn(flow(100)), Outcome::PortsExhausted)?,
            "a port was taken from a fresh handshake"
        );
        let begun = Instant::now();
        let rest = Duration::from_nanos(PORT_REST_NS.unsigned_abs() + 10_000_000);
        poll::wait(2 * rest, || begun.elapsed() > rest);
        ensure!(
            bench.ends(&syn(flow(101)), Outcome::NewFlow)?,
            "no port of a handshake that rests was taken"
        );
        ensure!(bench.ends(&syn(flow(102)), Outcome::CookieSent)?, "ports are short, and no cookie was sent");
        let elsewhere = Flow { service: other, ..flow(103) };
        ensure!(bench.ends(&syn(elsewhere), Outcome::NewFlow)?, "another service is in a flood, too");
        Ok(())
    });
}

fn direct(environment: &Environment, scene: Scene) -> Result<(Bench, impl Fn(u16) -> Flow)> {
    let setup = Setup { established_flows: 1024, ..Setup::web(scene, &[scene.web(1)]) }.with(|service| {
        service.forwarding = Some(Forwarding::Direct);
        service.backends.iter_mut().for_each(|(_, address)| address.set_port(80));
    });
    let direct = Flow { forwarding: Forwarding::Direct, backend_port: 80, ..scene.flow() };
    let flow = move |number: u16| direct.another(10_000 + number, 0, scene.web(1));
    Ok((Bench::new(environment, &setup)?, flow))
}

/// Nobody here sees what backends answer; so a client that came in a flood has to be recorded once it goes on.
#[test]
fn what_comes_directly_in_a_flood_is_recorded_as_soon_as_it_goes_on() {
    in_environment(|environment| {
        for scene in SCENES {
            let (bench, flow) = direct(environment, scene)?;
            let recorded = bench.end((0..1000).map(|number| syn(flow(number))), Outcome::NewFlow)?;
            ensure!(
                (THRESHOLD..=THRESHOLD + UNTOLD).contains(&recorded),
                "{}: {recorded} SYNs of a flood were recorded",
                scene.family()
            );
            let client = flow(2000);
            ensure!(bench.ends(&syn(client), Outcome::Unrecorded)?, "a SYN in a flood was recorded");
            ensure!(bench.ends(&client.client_sends(ACK, b""), Outcome::NewFlow)?, "the ACK was not");
            let request = client.client_sends(ACK | PSH, b"request");
            ensure!(bench.ends(&request, Outcome::Promoted)?, "the request did not establish the flow");
            ensure!(bench.ends(&request, Outcome::ToBackend)?, "the flow is not established");
            // One that ends with the flood is not kept as if it were open.
            let open = bench.established()?;
            let client = flow(2001);
            ensure!(
                bench.ends(&client.client_sends(FIN | ACK, b""), Outcome::NewFlow)?,
                "the FIN was not recorded"
            );
            bench.dataplane.run(&client.client_sends(ACK, b"").frame(), bench.ifindex, 1)?;
            ensure!(bench.established()? == open, "a flow that has ended is open");
        }
        Ok(())
    });
}

/// What goes by without a record looks like a flood. It must not be one for that.
#[test]
fn clients_that_are_not_recorded_do_not_make_a_flood_last() {
    const CLIENTS: u16 = 300;
    in_environment(|environment| {
        let scene = SCENES[0];
        let (bench, flow) = direct(environment, scene)?;
        bench.end((0..1000).map(|number| syn(flow(number))), Outcome::Unrecorded)?;
        let acks = (1000..2000).map(|number| flow(number).client_sends(ACK, b""));
        let recorded = bench.end(acks, Outcome::NewFlow)?;
        ensure!(
            (THRESHOLD..=THRESHOLD + UNTOLD).contains(&recorded),
            "{recorded} of a flood of ACKs were recorded"
        );
        // So many clients that they would be a flood by themselves go on, all at once, again and again.
        let begun = Instant::now();
        while bench.established()? < usize::from(CLIENTS) {
            ensure!(begun.elapsed() < PATIENCE, "{} of {CLIENTS} clients are recorded", bench.established()?);
            for number in 3000..3000 + CLIENTS {
                let request = flow(number).client_sends(ACK | PSH, b"request").frame();
                bench.dataplane.run(&request, bench.ifindex, 1)?;
            }
        }
        let lost = bench.counted(Outcome::UnknownFlow)?;
        ensure!(lost == 0, "{lost} segments were answered with RST");
        Ok(())
    });
}
