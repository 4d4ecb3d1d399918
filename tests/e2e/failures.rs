//! What fails, and what must not notice: a backend that dies, an agent that comes and goes, both under load.

use crate::client::{
    KeptConnection, PATIENCE, ask_times, counters, flow_entries, lbctl, shares, vip_a, wait_for_health,
    web_lab,
};
use anyhow::{Context as _, Result, bail, ensure};
use lb_user::model::BackendHealth;
use lbctl_tests::lab::{Lab, poll};
use nix::sys::signal::Signal;
use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, Scope, ScopedJoinHandle};
use std::time::{Duration, Instant};

#[test]
fn an_agent_that_is_killed_and_started_again_under_load_costs_no_request() -> Result<()> {
    let lab = web_lab()?;
    let mut wrk = lab.host("client").command("wrk");
    wrk.args(["-t1", "-c16", "-d6s", "http://10.80.0.100/small"]).stdout(Stdio::piped());
    let load = wrk.spawn().context("wrk")?;
    let flows = || {
        poll::until("the status shows the load's flows", PATIENCE, || {
            ensure!(flow_entries(&lab, "lb1")? > 0, "none");
            Ok(())
        })
    };
    flows()?;
    for signal in [Signal::SIGKILL, Signal::SIGTERM, Signal::SIGTERM, Signal::SIGKILL] {
        lab.kill_agent("lb1", signal)?;
        lab.start_agent("lb1")?;
    }
    flows()?;
    let events = lbctl(&lab, &["events"])?;
    ensure!(events.contains("with the flows of an earlier agent"), "{events}");
    let output = load.wait_with_output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    ensure!(output.status.success() && text.contains("requests in"), "{text}");
    for failure in ["Socket errors", "Non-2xx"] {
        if text.contains(failure) {
            bail!("requests failed:\n{text}");
        }
    }
    lab.down()
}

/// Keeps asking on connections until told to stop; the requests answered before the first failure, and that failure.
struct Asking<'scope> {
    threads: Vec<(String, ScopedJoinHandle<'scope, Answered>)>,
}

type Answered = (u64, Option<anyhow::Error>);

impl<'scope> Asking<'scope> {
    fn start<'env>(
        scope: &'scope Scope<'scope, 'env>,
        connections: Vec<KeptConnection>,
        stop: &'env AtomicBool,
    ) -> Self {
        let ask = |mut connection: KeptConnection| {
            let backend = connection.backend.clone();
            let work = move || {
                let mut answered = 0;
                while !stop.load(Ordering::Relaxed) {
                    match connection.ask(false) {
                        Ok(_) => answered += 1,
                        Err(error) => return (answered, Some(error)),
                    }
                }
                (answered, None)
            };
            (backend, scope.spawn(work))
        };
        Self { threads: connections.into_iter().map(ask).collect() }
    }

    /// Whether all threads on connections to `backend` have ended, which only a failure makes them do.
    fn all_failed(&self, backend: &str) -> bool {
        self.threads.iter().filter(|(of, _)| of == backend).all(|(_, thread)| thread.is_finished())
    }

    /// Ends when told to stop: those to `survivor` were all answered to the end, the others were cut.
    fn check(self, survivor: &str) -> Result<()> {
        for (backend, thread) in self.threads {
            let Ok((answered, failure)) = thread.join() else { bail!("a client panicked") };
            match failure {
                Some(error) if backend == survivor => {
                    return Err(error.context("a connection to the survivor"));
                }
                None if backend != survivor => bail!("a connection to the dead {backend} went on"),
                None => ensure!(answered > 100, "only {answered} requests in all that time"),
                Some(_) => {}
            }
        }
        Ok(())
    }
}

#[test]
fn a_backend_that_is_killed_takes_only_its_own_connections_along() -> Result<()> {
    let lab = web_lab()?;
    let open = || vip_a().into_iter().cycle().take(16).map(KeptConnection::open).collect::<Result<Vec<_>>>();
    let connections = lab.host("client").inside(open)??;
    let to_web1 = connections.iter().filter(|connection| connection.backend == "web1").count();
    ensure!(to_web1 == 8, "{to_web1} of 16 connections are to web1");
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let asking = Asking::start(scope, connections, &stop);
        let outcome = web1_dies_and_returns(&lab, &asking);
        stop.store(true, Ordering::Relaxed);
        outcome.and(asking.check("web2"))
    })?;
    lab.down()
}

fn web1_dies_and_returns(lab: &Lab, asking: &Asking) -> Result<()> {
    lab.kill_nginx("web1", Signal::SIGKILL)?;
    poll::until("web1's connections fail", PATIENCE, || {
        ensure!(asking.all_failed("web1"), "some go on");
        Ok(())
    })?;
    wait_for_health(lab, "lb1", "web1", BackendHealth::Down)?;
    for vip in vip_a() {
        let answers = ask_times(lab, vip, 20)?;
        ensure!(shares(&answers).get("web2") == Some(&20), "VIP {vip}: {:?}", shares(&answers));
    }
    ensure!(lbctl(lab, &["events"])?.contains("web1 (10.80.0.21:80) is down"), "no event tells it");
    lab.start_nginx("web1")?;
    wait_for_health(lab, "lb1", "web1", BackendHealth::Up)?;
    for vip in vip_a() {
        let answers = ask_times(lab, vip, 20)?;
        ensure!(shares(&answers).get("web1") == Some(&10), "VIP {vip}: {:?}", shares(&answers));
    }
    Ok(())
}

#[test]
fn a_backend_that_refuses_clients_is_taken_out_before_its_next_check() -> Result<()> {
    let lab = web_lab()?;
    let plain = lab.agent_config("lb1")?;
    // No check comes before the test is over, except for the first ones.
    let rarely = plain.replace("interval = \"1s\"", "interval = \"10m\"");
    ensure!(rarely != plain, "another file:\n{plain}");
    lab.write_agent_config("lb1", &rarely)?;
    lbctl(&lab, &["apply"])?;
    for server in ["web1", "web2"] {
        wait_for_health(&lab, "lb1", server, BackendHealth::Up)?;
    }
    lab.kill_nginx("web1", Signal::SIGKILL)?;
    let [v4, v6] = vip_a();
    for vip in [v4, v6] {
        // Three refusals, and those that come before the agent has heard of them; then nobody is refused any more.
        let connect = || TcpStream::connect_timeout(&SocketAddr::new(vip, 80), Duration::from_secs(2));
        let refused = lab.host("client").inside(|| {
            let mut refused = 0;
            let mut in_a_row = 0;
            let begun = Instant::now();
            while in_a_row < 10 && begun.elapsed() < PATIENCE {
                match connect() {
                    Ok(_) => in_a_row += 1,
                    Err(_) => (refused, in_a_row) = (refused + 1, 0),
                }
            }
            refused
        })?;
        ensure!(refused >= 3, "{vip}: {refused} connections were refused");
        let answers = ask_times(&lab, vip, 20)?;
        ensure!(shares(&answers).get("web2") == Some(&20), "{vip}: {:?}", shares(&answers));
    }
    let events = lbctl(&lab, &["events"])?;
    ensure!(events.contains("web1 (10.80.0.21:80) is down: it refuses clients' connections"), "{events}");
    ensure!(events.contains("web1 ([fd80::21]:80) is down: it refuses clients' connections"), "{events}");
    // Checks bring it up again.
    lab.start_nginx("web1")?;
    lab.write_agent_config("lb1", &plain)?;
    lbctl(&lab, &["apply"])?;
    wait_for_health(&lab, "lb1", "web1", BackendHealth::Up)?;
    lab.down()
}

/// The checks are wrong, not the servers: each way of being down shows in what a client meets.
#[test]
fn a_service_whose_checks_all_fail_refuses_drops_or_goes_on_as_configured() -> Result<()> {
    let lab = web_lab()?;
    let plain = lab.agent_config("lb1")?;
    let connect = |vip: IpAddr| {
        let to = SocketAddr::new(vip, 80);
        lab.host("client").inside(|| TcpStream::connect_timeout(&to, Duration::from_millis(1500)))
    };
    let broken = plain.replace("path = \"/healthz\"", "path = \"/nobody-has-this\"");
    ensure!(broken != plain, "another file:\n{plain}");
    lab.write_agent_config("lb1", &broken)?;
    lbctl(&lab, &["apply"])?;
    for server in ["web1", "web2"] {
        wait_for_health(&lab, "lb1", server, BackendHealth::Down)?;
    }
    for vip in vip_a() {
        let refused = connect(vip)?.err().context("somebody accepts")?;
        ensure!(refused.kind() == ErrorKind::ConnectionRefused, "by default: {refused}");
    }

    let with = |when_down: &str| -> Result<()> {
        let text =
            broken.replace("[service.web]\n", &format!("[service.web]\nwhen_down = \"{when_down}\"\n"));
        ensure!(text != broken, "another file:\n{broken}");
        lab.write_agent_config("lb1", &text)?;
        let said = lbctl(&lab, &["apply"])?;
        ensure!(said.contains(&format!("→ {when_down}")), "{said}");
        Ok(())
    };
    with("drop")?;
    let before = counters(&lab, "lb1")?;
    for vip in vip_a() {
        let silence = connect(vip)?.err().context("somebody accepts")?;
        ensure!(silence.kind() == ErrorKind::TimedOut, "drop: {silence}");
    }
    let count = |counters: &BTreeMap<String, u64>| counters.get("no_backend_dropped").copied().unwrap_or(0);
    ensure!(count(&counters(&lab, "lb1")?) >= count(&before) + 2, "the drops are not counted");

    with("last-known")?;
    for vip in vip_a() {
        let answers = ask_times(&lab, vip, 20)?;
        let shares = shares(&answers);
        ensure!(shares.get("web1") == Some(&10) && shares.get("web2") == Some(&10), "last-known: {shares:?}");
    }
    lab.down()
}
