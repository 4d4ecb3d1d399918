//! Whose packets are dropped is remembered: each of a few, and of many so that everybody has their share.

use super::builder::{FIN, SYN};
use super::case::{Action, Setup};
use super::environment::Environment;
use super::eviction::dataplane;
use super::lifecycle::in_environment;
use super::scene::{Port, SCENES, Scene};
use anyhow::{Context as _, Result, ensure};
use lb_ebpf::abi::STRIDE_MAX;
use lb_user::io::dataplane::{Dataplane, Dropped};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

const EMBRYONIC_FLOWS: u32 = 64;
/// In each round one source sends nine times as much as the other.
const ROUNDS: u32 = 2000;
const MOST: u32 = 90;
const LEAST: u32 = 10;

#[test]
fn whose_packets_are_dropped_is_counted_and_in_a_flood_estimated() {
    in_environment(|environment| {
        for scene in SCENES {
            remember(environment, scene).with_context(|| scene.family())?;
        }
        Ok(())
    });
}

/// The source that an address is part of.
fn network(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(v6) => IpAddr::V6((u128::from(v6) >> 64 << 64).into()),
    }
}

fn remembered(dataplane: &Dataplane, source: IpAddr) -> Result<Vec<Dropped>> {
    let all = dataplane.dropped_sources()?.look(Duration::from_secs(60))?;
    Ok(all.into_iter().filter(|one| one.network == network(source)).collect())
}

fn remember(environment: &Environment, scene: Scene) -> Result<()> {
    let setup = Setup::web(scene, &[scene.web(1)]);
    let mut dataplane = dataplane(environment, &setup, EMBRYONIC_FLOWS)?;
    let ifindex = environment.ifindex(Port::Lan)?;
    let mut flow = scene.flow();
    let most = flow.client_sends(SYN | FIN, b"").frame();
    let least_from = other_network(flow.client.ip());
    flow.client = SocketAddr::new(least_from, flow.client.port());
    let least = flow.client_sends(SYN | FIN, b"").frame();
    let most_from = scene.flow().client.ip();

    dataplane.begin_drop_round()?;
    for (packet, times) in [(&most, 5), (&least, 3)] {
        let action = dataplane.run(packet, ifindex, times)?.action;
        ensure!(action == Action::Drop as u32, "it was not dropped: {action}");
    }
    for (source, packets) in [(most_from, 5), (least_from, 3)] {
        let found = remembered(&dataplane, source)?;
        let [one] = &found[..] else { anyhow::bail!("{source}: {found:?}") };
        ensure!(one.outcome == "bad_tcp_flags" && one.packets == packets, "{found:?}");
        ensure!(one.first >= one.last && one.first < Duration::from_secs(30), "{found:?}");
    }

    for round in 0..ROUNDS {
        // A part of what is dropped is counted one by one, the greater part is not.
        if round % 4 == 0 {
            dataplane.begin_drop_round()?;
        }
        // One by one: for repeats the kernel changes code of its own each time, which takes longer than all of them.
        for (packet, times) in [(&most, MOST), (&least, LEAST)] {
            (0..times).try_for_each(|_| dataplane.run(packet, ifindex, 1).map(drop))?;
        }
    }
    let mut all = 0;
    for (source, packets) in [(most_from, ROUNDS * MOST), (least_from, ROUNDS * LEAST)] {
        let found = remembered(&dataplane, source)?.iter().map(|one| one.packets).sum::<u64>();
        // Of the lesser one a hundred samples are there.
        let off = found.abs_diff(packets.into()) as f64 / f64::from(packets);
        ensure!(off < 0.5, "{source}: {found} of {packets}");
        all += found;
    }
    // Whoever they are of, together it is all of them, but those that a CPU goes by yet.
    let sent = u64::from(ROUNDS * (MOST + LEAST)) + 8;
    let cpus = std::thread::available_parallelism()?.get() as u64;
    ensure!(all.abs_diff(sent) <= cpus * u64::from(STRIDE_MAX), "{all} of {sent}");
    // What was dropped longer ago than is asked for is forgotten.
    dataplane.dropped_sources()?.look(Duration::ZERO)?;
    ensure!(remembered(&dataplane, most_from)?.is_empty(), "it is remembered yet");
    Ok(())
}

/// An address that is another source.
fn other_network(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(v4) => IpAddr::V4((u32::from(v4) ^ 1).into()),
        IpAddr::V6(v6) => IpAddr::V6((u128::from(v6) ^ 1 << 64).into()),
    }
}
