//! Flows that one node tells another of: told when they begin and change, gone on with by the other to the byte.
//!
//! Not cases of the table, because they are about two nodes. Both have their tables in one namespace; a packet is shown to
//! one or the other.

use super::builder::{ACK, FIN, RST, SYN};
use super::case::{Action, Service, Setup};
use super::eviction::dataplane_at;
use super::lifecycle::in_environment;
use super::scene::{Flow, Port, SCENES};
use anyhow::{Context as _, Result, ensure};
use lb_ebpf::abi::{FlowKey, Forwarding, PeerPorts};
use lb_ebpf::outcome::Outcome;
use lb_user::io::dataplane::{Dataplane, FlowCopies, FlowCopy, FlowNews, Link, Put, VipTerms, detach};
use lbctl_tests::lab::poll;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

const EMBRYONIC_FLOWS: u32 = 512;
const PATIENCE: Duration = Duration::from_secs(10);
const FORWARDINGS: [Forwarding; 3] = [Forwarding::Nat, Forwarding::KeepSource, Forwarding::Direct];

/// Takes the second node's pins away again.
struct Pins(PathBuf);

impl Drop for Pins {
    fn drop(&mut self) {
        // What stays is taken away by the next run.
        let _ = detach(&self.0, false);
    }
}

fn told(news: &mut FlowNews) -> Vec<FlowKey> {
    let mut keys = Vec::new();
    news.take(usize::MAX, |key| keys.push(key));
    keys
}

fn outcome(dataplane: &Dataplane, frame: &[u8], ifindex: u32) -> Result<(&'static str, Vec<u8>)> {
    let before = dataplane.counters()?.outcomes;
    let packet = dataplane.run(frame, ifindex, 1)?.packet;
    let after = dataplane.counters()?.outcomes;
    let grown = before.iter().zip(&after).find(|(before, after)| before.count < after.count);
    Ok((grown.context("no outcome was counted")?.1.name, packet))
}

fn establish(node: &Dataplane, flow: &Flow, ifindex: u32) -> Result<()> {
    node.run(&flow.client_sends(SYN, b"").frame(), ifindex, 1)?;
    if flow.forwarding != Forwarding::Direct {
        node.run(&flow.backend_sends(SYN | ACK, b"").frame(), ifindex, 1)?;
    }
    node.run(&flow.client_sends(ACK, b"").frame(), ifindex, 1)?;
    Ok(())
}

#[test]
fn another_node_goes_on_with_a_flow_to_the_byte() {
    in_environment(|environment| {
        for (scene, forwarding) in SCENES.iter().flat_map(|scene| FORWARDINGS.map(|one| (*scene, one))) {
            let mut setup = Setup::web(scene, &[scene.web(1)]);
            setup.services[0].forwarding = Some(forwarding);
            let ifindex = environment.ifindex(Port::Lan)?;
            let link = Link { ifindex, mac: Port::Lan.mac() };
            let second_pins = environment.pin_dir().with_file_name(format!(
                "{}b",
                environment.pin_dir().file_name().context("a name")?.to_string_lossy()
            ));
            let _pins = Pins(second_pins.clone());
            let mut first = dataplane_at(&environment.pin_dir(), &setup, EMBRYONIC_FLOWS)?;
            // Its ids are others: a service and a backend were there before.
            let mut elsewhere = setup.clone().with_nat_ports(16);
            elsewhere.nat_ports = (20_000, 20_015);
            let mut second = dataplane_at(&second_pins, &elsewhere, EMBRYONIC_FLOWS)?;
            let copies = |node: &Dataplane| -> Result<FlowCopies> {
                let mut copies = node.flow_copies()?;
                copies.set_scene(node.known_backends(), link);
                Ok(copies)
            };
            let (ours, mut theirs) = (copies(&first)?, copies(&second)?);
            let mut news = first.flow_news()?;
            let flow = Flow { forwarding, ..scene.flow() };

            // Nobody wants to know.
            let silent = flow.another(40_001, flow.nat_port, flow.backend);
            establish(&first, &silent, ifindex)?;
            ensure!(told(&mut news).is_empty(), "a flow was told of, and nobody had asked");

            first.tell_of_flows(true)?;
            let flow = flow.another(40_002, flow.nat_port + 1, flow.backend);
            establish(&first, &flow, ifindex)?;
            let keys = told(&mut news);
            ensure!(keys.len() == 1, "{}: {forwarding:?}: {keys:?} were told", scene.family());
            let copy = ours.read(&keys[0]).context("no such flow")?;
            ensure!(copy.key == keys[0], "another flow was read");
            let mut walk = ours.begin_walk();
            let walked = ours.walk(&mut walk)?.context("an empty table")?;
            ensure!(walked.len() == 2, "{} flows were walked by", walked.len());

            // A node that has just taken the VIP waits to hear of what it does not know.
            let data = flow.client_sends(ACK, b"data");
            second.begin_grace(Duration::from_secs(3600))?;
            ensure!(outcome(&second, &data.frame(), ifindex)?.0 == Outcome::InGrace.name(), "no grace");
            let answer = flow.backend_sends(ACK, b"answer");
            if forwarding == Forwarding::Nat {
                let ended = outcome(&second, &answer.frame(), ifindex)?.0;
                ensure!(ended == Outcome::NoService.name(), "nobody said that the port is a peer's: {ended}");
                second.set_peer_ports(PeerPorts::new(flow.nat_port - 1, flow.nat_port))?;
                let ended = outcome(&second, &answer.frame(), ifindex)?.0;
                ensure!(ended == Outcome::InGrace.name(), "a backend got a RST from the host: {ended}");
            }

            ensure!(theirs.put(&copy, true)? == Put::Done, "it was not written");
            let (ended, packet) = outcome(&second, &data.frame(), ifindex)?;
            ensure!(ended == Outcome::ToBackend.name(), "{}: {forwarding:?}: {ended}", scene.family());
            ensure!(packet == flow.forwarded(&data).frame(), "{forwarding:?}: another packet left");
            if forwarding != Forwarding::Direct {
                let (ended, packet) = outcome(&second, &answer.frame(), ifindex)?;
                ensure!(ended == Outcome::ToClient.name(), "{}: {forwarding:?}: {ended}", scene.family());
                ensure!(packet == flow.returned(&answer).frame(), "{forwarding:?}: another answer left");
            }

            // Its end is told, and a stranger's backend is not taken.
            first.run(&flow.client_sends(RST, b"").frame(), ifindex, 1)?;
            let keys = told(&mut news);
            ensure!(keys.len() == 1, "{forwarding:?}: the end was told as {keys:?}");
            let ended = ours.read(&keys[0]).context("a closed flow is still there")?;
            ensure!(ended.state != copy.state, "nothing is told of the RST");
            ensure!(theirs.put(&ended, true)? == Put::Kept, "a flow in use was overwritten");
            ensure!(theirs.put(&ended, false)? == Put::Done, "a flow was not overwritten");
            let stranger = FlowCopy { backend_hash: copy.backend_hash ^ 1, ..copy.clone() };
            ensure!(theirs.put(&stranger, false)? == Put::UnknownBackend, "an unknown backend was taken");
            ensure!(theirs.remove(&copy.key)? && !theirs.remove(&copy.key)?, "it is there twice");
            ensure!(second.read_flows()?.is_empty(), "something is left");
            ensure!(ours.read(&copy.key).is_some(), "the other node's flow went too");
        }
        Ok(())
    });
}

#[test]
fn a_next_hop_that_is_not_known_drops_until_it_is_and_a_port_used_anew_replaces_its_old_flow() {
    in_environment(|environment| {
        let scene = SCENES[0];
        let setup = Setup::web(scene, &[scene.web(1), scene.silent()]);
        let ifindex = environment.ifindex(Port::Lan)?;
        let link = Link { ifindex, mac: Port::Lan.mac() };
        let node = dataplane_at(&environment.pin_dir(), &setup, EMBRYONIC_FLOWS)?;
        let mut copies = node.flow_copies()?;
        copies.set_scene(node.known_backends(), link);
        let flow = scene.flow();
        establish(&node, &flow, ifindex)?;
        let key = copies.walk(&mut copies.begin_walk())?.context("a flow")?[0].0;
        let copy = copies.read(&key).context("a flow")?;
        ensure!(copies.remove(&key)?, "no flow");

        let silent = node.known_backends().into_iter().find(|backend| backend.address != copy.backend);
        let silent = silent.context("the silent backend")?;
        let unknown = FlowCopy {
            backend_hash: silent.name_hash,
            backend: silent.address,
            next_hops: [[0; 6]; 2],
            ..copy.clone()
        };
        ensure!(copies.put(&unknown, false)? == Put::Done, "it was not written");
        let data = flow.client_sends(ACK, b"data");
        for _ in 0..2 {
            let run = node.run(&data.frame(), ifindex, 1)?;
            ensure!(run.action == Action::Drop as u32, "a packet left for nowhere");
            ensure!(outcome(&node, &data.frame(), ifindex)?.0 == Outcome::NoNeighbour.name(), "another end");
        }
        let told_of = FlowCopy { next_hops: [[2, 0, 0, 0, 0, 9], [0; 6]], ..unknown };
        ensure!(copies.put(&told_of, false)? == Put::Done, "it was not written");
        let sent = node.run(&data.frame(), ifindex, 1)?.packet;
        ensure!(
            sent[..6] == [2, 0, 0, 0, 0, 9],
            "it goes to {:x?}, not where the other node sent it",
            &sent[..6]
        );

        // Its port belongs to another client by now.
        let mut second = copy.clone();
        let other = flow.another(flow.client.port() + 1, flow.nat_port, flow.backend);
        let address = other.client.ip().into();
        second.key = FlowKey::new(address, other.client.port().to_be_bytes(), key.destination, [0, 80], 6);
        ensure!(copies.put(&copy, false)? == Put::Done, "it was not written");
        ensure!(copies.put(&second, true)? == Put::Kept, "a flow in use lost its port");
        ensure!(copies.put(&second, false)? == Put::Done, "it was not written");
        ensure!(copies.read(&copy.key).is_none(), "the old flow still leads to the port");
        let fin = other.client_sends(FIN | ACK, b"");
        ensure!(
            node.run(&fin.frame(), ifindex, 1)?.packet == other.forwarded(&fin).frame(),
            "another packet"
        );
        Ok(())
    });
}

#[test]
fn a_ring_that_nobody_reads_is_counted_and_stops_no_packet() {
    in_environment(|environment| {
        let scene = SCENES[0];
        let mut node =
            dataplane_at(&environment.pin_dir(), &Setup::web(scene, &[scene.web(1)]), EMBRYONIC_FLOWS)?;
        node.tell_of_flows(true)?;
        let ifindex = environment.ifindex(Port::Lan)?;
        let flow = scene.flow();
        establish(&node, &flow, ifindex)?;
        let fin = flow.client_sends(FIN | ACK, b"");
        let missed = || -> Result<u64> {
            let counted = node.counters()?.occurrences;
            Ok(counted.iter().find(|one| one.name == "sync_missed").context("no such counter")?.count)
        };
        let full = || {
            (0..1000).all(|_| {
                let run = node.run(&fin.frame(), ifindex, 1);
                run.is_ok_and(|run| run.packet == flow.forwarded(&fin).frame())
            }) && missed().is_ok_and(|missed| missed > 0)
        };
        ensure!(poll::wait(PATIENCE, full), "the ring is never full, or a packet was stopped");
        let mut news = node.flow_news()?;
        let keys = told(&mut news);
        ensure!(keys.len() > 20_000, "{} keys were in the ring", keys.len());
        Ok(())
    });
}

/// A flow that begins while nobody would tell of it would end with this node.
#[test]
fn no_flow_begins_at_a_shared_vip_while_nobody_listens_and_those_that_are_open_go_on() {
    in_environment(|environment| {
        for scene in SCENES {
            let mut setup = Setup::web(scene, &[scene.web(1)]);
            setup.vips.push(scene.vip_b());
            let other = SocketAddr::new(scene.vip_b(), 80);
            setup.services.push(Service::over("other", other, &[scene.web(2)]));
            let mut node = dataplane_at(&environment.pin_dir(), &setup, EMBRYONIC_FLOWS)?;
            let shared = VipTerms { needs_lease: true, is_for_services: false };
            node.set_vip_terms(&[(scene.vip(), shared)].into())?;
            node.tell_of_flows(true)?;
            let ifindex = environment.ifindex(Port::Lan)?;
            let flow = scene.flow();
            establish(&node, &flow, ifindex)?;
            let mut news = node.flow_news()?;
            let syn = |number: u16| {
                scene.flow().another(20_000 + number, 0, scene.web(1)).client_sends(SYN, b"").frame()
            };
            let ends = |frame: &[u8], wanted: Outcome| -> Result<()> {
                let (ended, _) = outcome(&node, frame, ifindex)?;
                ensure!(ended == wanted.name(), "{}: {ended}, not {}", scene.family(), wanted.name());
                Ok(())
            };
            ends(&syn(1), Outcome::NewFlow)?;
            news.promise(Some(Duration::from_secs(60)))?;
            ends(&syn(2), Outcome::NewFlow)?;
            news.promise(Some(Duration::ZERO))?;
            let mut number = 100;
            let is_over = || {
                number += 1;
                ends(&syn(number), Outcome::Unheard).is_ok()
            };
            ensure!(poll::wait(PATIENCE, is_over), "the promise is never over");
            ends(&flow.client_sends(ACK, b"data").frame(), Outcome::ToBackend)?;
            ends(&flow.backend_sends(ACK, b"data").frame(), Outcome::ToClient)?;
            // Of a VIP that stays here nobody has to be told.
            let elsewhere = Flow { service: other, ..flow.another(20_004, 0, scene.web(2)) };
            ends(&elsewhere.client_sends(SYN, b"").frame(), Outcome::NewFlow)?;
            news.promise(None)?;
            ends(&syn(5), Outcome::NewFlow)?;
        }
        Ok(())
    });
}

/// A client that uses its port again gets another port of the node: what others know of the first must not lead to the second.
#[test]
fn a_copy_with_another_port_leaves_nothing_that_leads_to_it() {
    in_environment(|environment| {
        let scene = SCENES[0];
        let ifindex = environment.ifindex(Port::Lan)?;
        let link = Link { ifindex, mac: Port::Lan.mac() };
        let node =
            dataplane_at(&environment.pin_dir(), &Setup::web(scene, &[scene.web(1)]), EMBRYONIC_FLOWS)?;
        let mut copies = node.flow_copies()?;
        copies.set_scene(node.known_backends(), link);
        let flow = scene.flow();
        establish(&node, &flow, ifindex)?;
        let key = copies.walk(&mut copies.begin_walk())?.context("a flow")?[0].0;
        let first = copies.read(&key).context("a flow")?;
        ensure!(copies.remove(&key)?, "no flow");
        let second = FlowCopy { source_port: (flow.nat_port + 7).to_be_bytes(), ..first.clone() };
        ensure!(copies.put(&first, false)? == Put::Done, "it was not written");
        let old_reverse = node
            .read_flows()?
            .into_iter()
            .map(|(key, _)| key)
            .find(|one| *one != key)
            .context("two entries")?;
        ensure!(copies.put(&second, false)? == Put::Done, "it was not written");
        ensure!(
            node.read_flows()?.len() == 2,
            "an entry of the first port is left: {:?}",
            node.read_flows()?
        );
        // What was said late of the first port does not concern the second, and neither does whoever has it by now.
        copies.remove(&old_reverse)?;
        let other = flow.another(flow.client.port() + 1, flow.nat_port, flow.backend);
        let address = other.client.ip().into();
        let mut third = first.clone();
        third.key = FlowKey::new(address, other.client.port().to_be_bytes(), key.destination, [0, 80], 6);
        ensure!(copies.put(&third, false)? == Put::Done, "it was not written");
        ensure!(
            copies.read(&key).is_some_and(|copy| copy.source_port == second.source_port),
            "the flow is gone"
        );
        ensure!(node.read_flows()?.len() == 4, "{:?}", node.read_flows()?);
        Ok(())
    });
}
