//! Services whose connections end at the node (mode `tcp`), between real clients and servers.

use crate::client::{
    KeptConnection, PATIENCE, client_shell, counters, lbctl, service_view, shell, stay_on_one_cpu, vip_a,
};
use crate::sync::{at_home, failover_lab};
use crate::vrrp::{expect_state, hand_over};
use anyhow::{Context as _, Result, ensure};
use lbctl_tests::lab::{Lab, poll};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::Signal;
use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};

/// Of the service, on VIP A.
pub(crate) const PORT: u16 = 81;

/// Adds a service of mode `tcp` to a node: in front of nginx where that expects the PROXY protocol, with these terms.
pub(crate) fn serve(lab: &Lab, node: &str, terms: &str, backends: &[(&str, &str)]) -> Result<()> {
    let mut text = lab.agent_config(node)?;
    text.push_str(&format!(
        "\n[service.web-tcp]\nvips = [\"A\"]\nport = {PORT}\nmode = \"tcp\"\n\n[service.web-tcp.proxy]\n{terms}\n\n\
         [service.web-tcp.health]\ntype = \"tcp\"\ninterval = \"200ms\"\n"
    ));
    for (name, address) in backends {
        text.push_str(&format!("\n[[service.web-tcp.backend]]\nname = \"{name}\"\naddress = {address}\n"));
    }
    lab.write_agent_config(node, &text)?;
    let output = lab.lbctl(node)?.arg("apply").output()?;
    ensure!(output.status.success(), "{output:?}");
    all_up(lab, node)
}

pub(crate) const NGINX: [(&str, &str); 2] = [
    ("web1", "[\"10.80.0.21:8080\", \"[fd80::21]:8080\"]"),
    ("web2", "[\"10.80.0.22:8080\", \"[fd80::22]:8080\"]"),
];

fn all_up(lab: &Lab, node: &str) -> Result<()> {
    poll::until("all backends of web-tcp are up", PATIENCE, || {
        let view = service_view(lab, node, "web-tcp")?;
        let mut addresses = view.backends.iter().flat_map(|backend| &backend.addresses);
        ensure!(addresses.all(|address| address.slots > 0), "{:?}", view.backends);
        Ok(())
    })
}

/// Requests on connections of their own; who answered each, and whom it saw.
fn ask_times(lab: &Lab, vip: IpAddr, times: usize) -> Result<Vec<(String, String)>> {
    lab.host("client").inside(|| {
        stay_on_one_cpu(0)?;
        let ask =
            |_| KeptConnection::open_at(SocketAddr::new(vip, PORT)).map(|one| (one.backend, one.seen_as));
        (0..times).map(ask).collect()
    })?
}

fn client_of(vip: IpAddr) -> &'static str {
    if vip.is_ipv4() { "10.90.0.10" } else { "fd90::10" }
}

fn expect_turns(lab: &Lab, vip: IpAddr) -> Result<()> {
    let answers = ask_times(lab, vip, 10)?;
    ensure!(answers.windows(2).all(|pair| pair[0].0 != pair[1].0), "not in turn: {answers:?}");
    ensure!(answers.iter().all(|(_, seen)| seen == client_of(vip)), "seen as another: {answers:?}");
    Ok(())
}

fn open(lab: &Lab, vip: IpAddr) -> Result<KeptConnection> {
    lab.host("client").inside(|| KeptConnection::open_at(SocketAddr::new(vip, PORT)))?
}

fn ask_on(lab: &Lab, open: &mut KeptConnection) -> Result<String> {
    lab.host("client").inside(|| open.ask(false))?
}

#[test]
fn connections_end_at_the_node_and_their_backends_see_the_clients() -> Result<()> {
    let lab = failover_lab()?;
    for node in ["lb1", "lb2"] {
        serve(&lab, node, "send_proxy = \"v2\"", &NGINX)?;
    }
    for vip in vip_a() {
        expect_turns(&lab, vip)?;
    }
    let view = service_view(&lab, "lb1", "web-tcp")?;
    let proxy = view.proxy.clone().context("no view of its connections")?;
    ensure!(view.mode == "tcp" && proxy.ended["closed"] >= 10, "{proxy:?}");
    ensure!(
        view.backends.iter().all(|one| one.flows_established >= 10 && one.forward_bytes > 500),
        "{view:?}"
    );
    ensure!(counters(&lab, "lb1")?["to_agent"] > 100, "{:?}", counters(&lab, "lb1")?);
    let said =
        lbctl(&lab, &["explain", "--from", "10.90.0.10:4711", "--to", &format!("10.80.0.100:{PORT}")])?;
    ensure!(said.contains("to_agent") && said.contains("web-tcp"), "{said}");
    let said = lbctl(&lab, &["service", "show", "web-tcp"])?;
    ensure!(said.contains("mode tcp") && said.contains("0 waiting for a backend; ended: closed "), "{said}");
    the_firewall_holds(&lab)?;
    drained_and_dead_backends(&lab)?;
    moves_and_restarts(&lab)?;
    lab.down()
}

/// What the firewall denies does not reach the agent, and what is open stops.
fn the_firewall_holds(lab: &Lab) -> Result<()> {
    let [vip, _] = vip_a();
    let mut kept = open(lab, vip)?;
    lbctl(lab, &["firewall", "rule", "add", "me", "--deny", "10.90.0.10", "--service", "web-tcp"])?;
    ensure!(ask_on(lab, &mut kept).is_err(), "an open connection goes on");
    ensure!(open(lab, vip).is_err(), "a denied client was let in");
    lbctl(lab, &["firewall", "rule", "del", "me"])?;
    expect_turns(lab, vip)
}

fn drained_and_dead_backends(lab: &Lab) -> Result<()> {
    let [vip, _] = vip_a();
    let mut kept = [open(lab, vip)?, open(lab, vip)?];
    lbctl(lab, &["backend", "drain", "web-tcp", "web1"])?;
    let answers = ask_times(lab, vip, 4)?;
    ensure!(answers.iter().all(|(server, _)| server == "web2"), "{answers:?}");
    for one in &mut kept {
        ensure!(ask_on(lab, one)? == one.backend, "an open connection was moved");
    }
    // What was drained is cut where that is wanted.
    lbctl(lab, &["backend", "maint", "web-tcp", "web1", "--force"])?;
    for one in &mut kept {
        let goes_on = ask_on(lab, one).is_ok();
        ensure!(goes_on == (one.backend == "web2"), "the connection to {}: {goes_on}", one.backend);
    }
    lbctl(lab, &["backend", "ready", "web-tcp", "web1"])?;
    all_up(lab, "lb1")?;
    // One that is gone is passed over by every single connection, before and after its check has failed.
    lab.kill_nginx("web1", Signal::SIGTERM)?;
    let answers = ask_times(lab, vip, 20)?;
    ensure!(answers.iter().all(|(server, _)| server == "web2"), "{answers:?}");
    let view = service_view(lab, "lb1", "web-tcp")?;
    ensure!(view.backends[0].flows_refused > 0, "{view:?}");
    lab.start_nginx("web1")?;
    all_up(lab, "lb1")?;
    expect_turns(lab, vip)
}

/// The other node listens already when the VIP comes to it.
fn moves_and_restarts(lab: &Lab) -> Result<()> {
    hand_over(lab, "lb1", "A")?;
    expect_state(lab, "lb2", "A", "active")?;
    for vip in vip_a() {
        expect_turns(lab, vip)?;
    }
    ensure!(
        service_view(lab, "lb2", "web-tcp")?.proxy.is_some_and(|proxy| proxy.ended["closed"] >= 10),
        "not by lb2"
    );
    hand_over(lab, "lb2", "A")?;
    at_home(lab)?;
    lab.kill_agent("lb1", Signal::SIGKILL)?;
    lab.start_agent("lb1")?;
    at_home(lab)?;
    all_up(lab, "lb1")?;
    for vip in vip_a() {
        expect_turns(lab, vip)?;
    }
    Ok(())
}

/// As many as one process may hold open here; each takes two of the agent's descriptors.
const IDLE: usize = 9500;

#[test]
fn nearly_ten_thousand_idle_connections_stay_open_and_keep_nobody_out() -> Result<()> {
    let lab = failover_lab()?;
    serve(&lab, "lb1", "send_proxy = \"v2\"", &NGINX)?;
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, most, most)?;
    let [vip, _] = vip_a();
    let at = SocketAddr::new(vip, PORT);
    let mut idle = lab.host("client").inside(|| {
        stay_on_one_cpu(0)?;
        (0..IDLE).map(|_| KeptConnection::open_at(at)).collect::<Result<Vec<_>>>()
    })??;
    let view = service_view(&lab, "lb1", "web-tcp")?;
    ensure!(view.proxy.is_some_and(|proxy| proxy.active == IDLE as u64), "not all are open");
    for _ in 0..5 {
        expect_turns(&lab, vip)?;
    }
    // Each goes on, at its own backend.
    let wrong = lab.host("client").inside(|| {
        let answers = idle.iter_mut().map(|one| (one.ask(false).ok(), &one.backend));
        answers.filter(|(answer, backend)| answer.as_ref() != Some(*backend)).count()
    })?;
    ensure!(wrong == 0, "{wrong} are lost, or were moved");
    drop(idle);
    poll::until("all have ended", PATIENCE, || {
        let view = service_view(&lab, "lb1", "web-tcp")?;
        ensure!(view.proxy.as_ref().is_some_and(|proxy| proxy.active == 0), "{:?}", view.proxy);
        Ok(())
    })?;
    lab.down()
}

/// Real requests go on while one thing of the service after the other is changed; an untouched service's connections, too.
#[test]
fn changes_of_a_service_cost_no_request() -> Result<()> {
    let lab = failover_lab()?;
    serve(&lab, "lb1", "send_proxy = \"v1\"", &NGINX)?;
    let [vip, _] = vip_a();
    let over = AtomicBool::new(false);
    let (asked, errors) = std::thread::scope(|scope| {
        let asker = scope.spawn(|| {
            lab.host("client").inside(|| {
                let (mut asked, mut errors) = (0, Vec::new());
                while !over.load(Ordering::Relaxed) {
                    asked += 1;
                    let answer = KeptConnection::open_at(SocketAddr::new(vip, PORT));
                    errors.extend(answer.err().map(|error| format!("{error:#}")));
                }
                (asked, errors)
            })
        });
        let changed = (|| {
            lbctl(&lab, &["backend", "set", "web-tcp", "web1", "--weight", "3"])?;
            lbctl(&lab, &["service", "set", "web-tcp", "--scheduler", "least-connections"])?;
            lbctl(&lab, &["service", "set", "web-tcp", "--max-flows", "5000"])?;
            lbctl(&lab, &["backend", "del", "web-tcp", "web1"])?;
            lbctl(&lab, &["backend", "add", "web-tcp", "web3", "--address", "10.80.0.21:8080"])?;
            lbctl(&lab, &["backend", "set", "web", "web1", "--weight", "2"])?;
            let text =
                lab.agent_config("lb1")?.replace("send_proxy = \"v1\"", "send_proxy = \"v2\"\nretries = 5");
            lab.write_agent_config("lb1", &text)?;
            lbctl(&lab, &["apply"])
        })();
        over.store(true, Ordering::Relaxed);
        let asked = asker.join().map_err(|_| anyhow::anyhow!("the asking thread panicked"))?;
        changed?;
        asked
    })?;
    ensure!(asked > 20 && errors.is_empty(), "{} of {asked} failed: {errors:?}", errors.len());
    lab.down()
}

/// A real HAProxy. Dropped, it is killed.
struct Haproxy {
    child: Child,
    _folder: tempfile::TempDir,
}

impl Haproxy {
    fn start(lab: &Lab, host: &str, config: &str, ready: SocketAddr) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let file = folder.path().join("haproxy.cfg");
        std::fs::write(&file, config)?;
        let mut command = lab.host(host).command("haproxy");
        let child =
            command.args(["-db", "-f"]).arg(&file).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
        let started = Self { child, _folder: folder };
        poll::until("HAProxy listens", PATIENCE, || {
            lab.host(host).inside(|| std::net::TcpStream::connect(ready).map(drop))??;
            Ok(())
        })?;
        Ok(started)
    }
}

impl Drop for Haproxy {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

const TIMES: &str = "defaults\n mode http\n timeout connect 5s\n timeout client 10s\n timeout server 10s\n";

/// HAProxy in front of the node, and behind it, in both versions of the protocol: the last server sees the first client.
#[test]
fn haproxy_tells_the_node_who_its_client_is_and_is_told_by_it() -> Result<()> {
    let lab = failover_lab()?;
    // What HAProxy behind the node answers is whom it sees.
    let _behind = Haproxy::start(
        &lab,
        "web1",
        &format!(
            "{TIMES}frontend seen\n bind :8090 accept-proxy\n bind [::]:8090 v6only accept-proxy\n http-request return status 200 \
             content-type text/plain lf-string \"%[src] %[dst] %[dst_port]\"\n"
        ),
        "10.80.0.21:8090".parse()?,
    )?;
    let mut seen = BTreeSet::new();
    for (sends, version) in [("send-proxy", "v2"), ("send-proxy-v2", "v1")] {
        let terms =
            format!("send_proxy = \"{version}\"\naccept_proxy_from = [\"10.90.0.0/24\", \"fd90::/64\"]");
        let before = lab.agent_config("lb1")?;
        serve(&lab, "lb1", &terms, &[("seen", "[\"10.80.0.21:8090\", \"[fd80::21]:8090\"]")])?;
        for (number, vip) in vip_a().into_iter().enumerate() {
            let at = format!("127.0.0.{}:{}", 7 + number, 9000 + number);
            let server = SocketAddr::new(vip, PORT);
            let config = format!("{TIMES}listen front\n bind {at}\n server vip {server} {sends}\n");
            let front = Haproxy::start(&lab, "client", &config, at.parse()?)?;
            let answer = client_shell(
                &lab,
                &format!("curl -sS --fail --max-time 5 --interface 127.0.0.5 http://{at}/"),
            )?;
            let port = 9000 + number;
            ensure!(
                answer == format!("127.0.0.5 127.0.0.{} {port}", 7 + number),
                "{sends}, {version}: {answer:?}"
            );
            seen.insert(answer);
            drop(front);
        }
        // Whoever may send a header must.
        let refused =
            client_shell(&lab, &format!("curl -sS --max-time 5 http://10.80.0.100:{PORT}/ 2>&1 || true"))?;
        ensure!(refused.contains("reset"), "{refused}");
        // Others are believed to be who they are, whatever they say.
        let other = shell(&lab, "web2", &format!("curl -sS --max-time 5 http://10.80.0.100:{PORT}/"))?;
        ensure!(other.starts_with("10.80.0.22 "), "{other}");
        lab.write_agent_config("lb1", &before)?;
        lbctl(&lab, &["apply"])?;
    }
    ensure!(seen.len() == 2, "{seen:?}");
    lab.down()
}
