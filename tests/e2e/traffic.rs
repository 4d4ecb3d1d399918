//! Steering as clients see it: exact round robin and weights, refusals, the host's own traffic, in both families.

use crate::client::{ask_times, lbctl, shares, vip_a, vips, web_lab};
use anyhow::{Context as _, Result, ensure};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

#[test]
fn requests_alternate_exactly_and_weights_hold_exactly_in_both_families() -> Result<()> {
    let lab = web_lab()?;
    for vip in vips() {
        let answers = ask_times(&lab, vip, 1000)?;
        for pair in answers.windows(2) {
            ensure!(pair[0] != pair[1], "VIP {vip}: {} twice in a row", pair[0]);
        }
        let shares = shares(&answers);
        ensure!(
            shares.get("web1") == Some(&500) && shares.get("web2") == Some(&500),
            "VIP {vip}: {shares:?}"
        );
    }
    lbctl(&lab, &["backend", "set", "web", "web1", "--weight", "3"])?;
    for vip in vip_a() {
        let answers = ask_times(&lab, vip, 400)?;
        let shares = shares(&answers);
        ensure!(
            shares.get("web1") == Some(&300) && shares.get("web2") == Some(&100),
            "VIP {vip}: {shares:?}"
        );
    }
    lbctl(&lab, &["backend", "drain", "web", "web1"])?;
    let answers = ask_times(&lab, vip_a()[0], 50)?;
    ensure!(
        answers.iter().all(|who| who == "web2"),
        "a drained backend got new flows: {:?}",
        shares(&answers)
    );
    lab.down()
}

#[test]
fn a_port_without_service_and_a_service_without_backend_refuse_at_once() -> Result<()> {
    let lab = web_lab()?;
    lbctl(&lab, &["backend", "maint", "web", "web1"])?;
    lbctl(&lab, &["backend", "maint", "web", "web2"])?;
    for vip in vip_a() {
        for port in [80, 81] {
            let address = SocketAddr::new(vip, port);
            let refused =
                lab.host("client").inside(|| TcpStream::connect_timeout(&address, Duration::from_secs(5)))?;
            let error = refused.err().with_context(|| format!("{address} accepts"))?;
            ensure!(error.kind() == std::io::ErrorKind::ConnectionRefused, "{address}: {error}");
        }
    }
    lab.down()
}
