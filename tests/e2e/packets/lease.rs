//! VIPs that are only served while an agent renews the lease for them.
//!
//! Not cases of the table, because the lease runs by the kernel's clock.

use super::builder::{ACK, Packet, SYN};
use super::case::{Service, Setup};
use super::eviction::dataplane;
use super::lifecycle::in_environment;
use super::scene::{Flow, Port, ROUTER_MAC, SCENES, Scene};
use anyhow::{Context as _, Result, ensure};
use lb_ebpf::outcome::Outcome;
use lb_user::io::dataplane::{Dataplane, VipTerms};
use lbctl_tests::lab::poll;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

const LEASE: Duration = Duration::from_millis(500);
const PATIENCE: Duration = Duration::from_secs(10);

fn outcome(dataplane: &Dataplane, frame: &[u8], ifindex: u32) -> Result<&'static str> {
    let before = dataplane.counters()?.outcomes;
    dataplane.run(frame, ifindex, 1)?;
    let after = dataplane.counters()?.outcomes;
    let grown = before.iter().zip(&after).find(|(before, after)| before.count < after.count);
    Ok(grown.context("no outcome was counted")?.1.name)
}

/// The router asks who has an address: by ARP, or by a solicitation to the address' group.
fn asks_for(scene: Scene, address: IpAddr) -> Vec<u8> {
    let ethernet = |to: [u8; 6], kind: [u8; 2]| [&to[..], &ROUTER_MAC, &kind].concat();
    match address {
        IpAddr::V4(v4) => {
            let mut frame = ethernet([0xff; 6], [8, 6]);
            frame.extend([0, 1, 8, 0, 6, 4, 0, 1]);
            frame.extend(ROUTER_MAC);
            frame.extend([10, 80, 0, 1, 0, 0, 0, 0, 0, 0]);
            frame.extend(v4.octets());
            frame
        }
        IpAddr::V6(v6) => {
            let octets = v6.octets();
            let [.., x, y, z] = octets;
            let IpAddr::V6(router) = scene.router().address else { unreachable!("a scene has one family") };
            let mut frame = ethernet([0x33, 0x33, 0xff, x, y, z], [0x86, 0xdd]);
            frame.extend([0x60, 0, 0, 0, 0, 24, 58, 255]);
            frame.extend(router.octets());
            frame.extend([0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, x, y, z]);
            // The checksum is the host's to look at.
            frame.extend([135, 0, 0, 0, 0, 0, 0, 0]);
            frame.extend(octets);
            frame
        }
    }
}

#[test]
fn a_vip_whose_lease_is_over_is_served_no_more_until_it_is_renewed() {
    in_environment(|environment| {
        for scene in SCENES {
            let other = SocketAddr::new(scene.vip_b(), 80);
            let mut setup = Setup::web(scene, &[scene.web(1)]);
            setup.vips.push(scene.vip_b());
            setup.services.push(Service::over("other", other, &[scene.web(2)]));
            let mut dataplane = dataplane(environment, &setup, 512)?;
            let ifindex = environment.ifindex(Port::Lan)?;
            let mut lease = dataplane.lease()?;
            let flow = scene.flow();
            let leased = VipTerms { needs_lease: true, is_for_services: false };
            let new =
                |number: u16| scene.flow().another(10_000 + number, 0, scene.web(1)).client_sends(SYN, b"");
            let elsewhere = Flow { service: other, ..flow };
            dataplane.set_vip_terms(&[(scene.vip(), leased)].into())?;
            let ends = |packet: &Packet, wanted: Outcome| -> Result<()> {
                let ended = outcome(&dataplane, &packet.frame(), ifindex)?;
                ensure!(ended == wanted.name(), "{}: {ended}, not {}", scene.family(), wanted.name());
                Ok(())
            };
            let asked = |address, wanted: &[Outcome]| -> Result<()> {
                let ended = outcome(&dataplane, &asks_for(scene, address), ifindex)?;
                let right = wanted.iter().any(|wanted| wanted.name() == ended);
                ensure!(right, "{}: asking for {address} ends as {ended}", scene.family());
                Ok(())
            };
            // ARP is no packet of IP; a solicitation is one, to a group that is no VIP.
            let host = [Outcome::NotIp, Outcome::NotOurs];

            // Without a word about a lease there is none.
            ends(&flow.client_sends(SYN, b""), Outcome::NewFlow)?;
            lease.renew(Some(LEASE))?;
            ends(&flow.backend_sends(SYN | ACK, b""), Outcome::Handshake)?;
            ends(&flow.client_sends(ACK, b""), Outcome::Promoted)?;
            ends(&flow.client_sends(ACK, b"data"), Outcome::ToBackend)?;
            asked(scene.vip(), &host)?;

            let over =
                || outcome(&dataplane, &new(1).frame(), ifindex).is_ok_and(|ended| ended == "lease_over");
            ensure!(poll::wait(PATIENCE, over), "the lease is never over");
            ends(&new(2), Outcome::LeaseOver)?;
            ends(&flow.client_sends(ACK, b"data"), Outcome::LeaseOver)?;
            ends(&flow.backend_sends(ACK, b"data"), Outcome::LeaseOver)?;
            asked(scene.vip(), &[Outcome::LeaseOver])?;
            // What needs none goes on.
            asked(scene.vip_b(), &host)?;
            asked(scene.node(), &host)?;
            ends(&elsewhere.client_sends(SYN, b""), Outcome::NewFlow)?;

            lease.renew(Some(LEASE))?;
            ends(&flow.client_sends(ACK, b"data"), Outcome::ToBackend)?;
            asked(scene.vip(), &host)?;
            // The program's clock ticks, so it may see the end a moment later.
            lease.renew(Some(Duration::ZERO))?;
            let ended = || ends(&flow.client_sends(ACK, b"data"), Outcome::LeaseOver).is_ok();
            ensure!(poll::wait(PATIENCE, ended), "a lease of nothing is never over");
            lease.renew(None)?;
            ends(&flow.client_sends(ACK, b"data"), Outcome::ToBackend)?;
        }
        Ok(())
    });
}
