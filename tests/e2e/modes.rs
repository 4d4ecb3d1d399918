//! The ways of forwarding beside NAT with the VIP as source, on real servers: `dsr`, `keep_source`, UDP.

mod transparent;

use crate::client::{
    KeptConnection, PATIENCE, client_shell, counters, flows, lbctl, lbctl_json, service_view, shell,
    stay_on_one_cpu, try_lbctl, vip_a,
};
use anyhow::{Context as _, Result, ensure};
use lb_user::api::{Explanation, FlowView, Guide, ProbeView};
use lb_user::model::Protocol;
use lbctl_tests::lab::{Lab, Options, addresses, poll};
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::time::Duration;

const SERVERS: [&str; 2] = ["web1", "web2"];

fn lab() -> Result<Lab> {
    let lab = Lab::up(Options { database: false, access_log: true, ..Options::default() })?;
    for service in ["web", "web-direct", "dns"] {
        wait_for_slots(&lab, service)?;
    }
    Ok(lab)
}

/// Waits until all backends of a service of lb1 take flows.
fn wait_for_slots(lab: &Lab, service: &str) -> Result<()> {
    poll::until(&format!("all backends of {service} are up"), PATIENCE, || {
        let view = service_view(lab, "lb1", service)?;
        let mut addresses = view.backends.iter().flat_map(|backend| &backend.addresses);
        ensure!(addresses.all(|address| address.slots > 0), "{:?}", view.backends);
        Ok(())
    })
}

fn direct_vips() -> [IpAddr; 2] {
    addresses::vip(addresses::VIP_DIRECT)
}

/// Requests on connections of their own; who answered each, and whom it saw.
fn ask_at(lab: &Lab, address: SocketAddr, times: usize) -> Result<Vec<(String, String)>> {
    lab.host("client").inside(|| {
        stay_on_one_cpu(0)?;
        let ask = |_| KeptConnection::open_at(address).map(|found| (found.backend, found.seen_as));
        (0..times).map(ask).collect()
    })?
}

/// Answers that came in turn from both servers, which saw that client.
fn expect_turns(answers: &[(String, String)], client: &str) -> Result<()> {
    let of = |name: &str| answers.iter().filter(|(server, _)| server == name).count();
    ensure!(SERVERS.map(of) == [answers.len() / 2; 2], "not in turn: {answers:?}");
    ensure!(answers.windows(2).all(|pair| pair[0].0 != pair[1].0), "not in turn: {answers:?}");
    ensure!(answers.iter().all(|(_, seen)| seen == client), "seen as another than {client}: {answers:?}");
    Ok(())
}

fn client_of(vip: IpAddr) -> String {
    let host = addresses::plan("client").expect("the lab has a client");
    if vip.is_ipv4() { host.ipv4().to_string() } else { host.ipv6().to_string() }
}

fn flow_of(lab: &Lab, client: SocketAddr) -> Result<FlowView> {
    let list = flows(lab, "lb1", 1000)?;
    let found = list.flows.iter().find(|flow| flow.client == client).cloned();
    found.with_context(|| format!("no flow of {client}: {list:?}"))
}

/// A file of that many MB on both web servers, and what its checksum is.
fn put_file(lab: &Lab, megabytes: usize) -> Result<String> {
    let first = lab.files_dir("web1").join("big");
    let script = format!(
        "head -c {megabytes}M /dev/urandom >{0} && cp {0} {1} && sha256sum <{0}",
        first.display(),
        lab.files_dir("web2").join("big").display()
    );
    client_shell(lab, &script)
}

fn expect_download(lab: &Lab, address: SocketAddr, checksum: &str) -> Result<()> {
    let got = client_shell(lab, &format!("curl -sf --max-time 30 'http://{address}/files/big' | sha256sum"))?;
    ensure!(got == checksum, "{address}: another file arrived: {got}");
    Ok(())
}

/// Asks a service's backends; the JSON that is printed.
fn probe(lab: &Lab, service: &str, code: i32) -> Result<String> {
    let said = try_lbctl(lab, &["-o", "json", "service", "probe", service])?;
    ensure!(said.code == Some(code), "{said:?}");
    Ok(said.out)
}

/// Does on both servers what the guide says.
fn follow_guide(lab: &Lab, service: &str) -> Result<Guide> {
    let guide: Guide = lbctl_json(lab, &["service", "guide", service])?;
    for server in SERVERS {
        shell(lab, server, &guide.on_backends.join("\n"))?;
    }
    Ok(guide)
}

#[test]
fn the_guide_makes_a_backend_answer_directly_and_the_probe_sees_it() -> Result<()> {
    let lab = lab()?;
    let probes: Vec<ProbeView> = serde_json::from_str(&probe(&lab, "web-direct", 0)?)?;
    ensure!(probes.len() == 4 && probes.iter().all(|probe| probe.answers), "{probes:?}");

    // As a server is before anybody has set it up.
    shell(
        &lab,
        "web2",
        "ip address flush dev lo scope global; echo 0 >/proc/sys/net/ipv4/conf/all/arp_ignore",
    )?;
    let probes: Vec<ProbeView> = serde_json::from_str(&probe(&lab, "web-direct", 1)?)?;
    let answers: Vec<_> = probes.iter().map(|probe| (probe.backend.as_str(), probe.answers)).collect();
    ensure!(answers == [("web1", true), ("web1", true), ("web2", false), ("web2", false)], "{probes:?}");
    let table = try_lbctl(&lab, &["service", "probe", "web-direct"])?;
    ensure!(table.out.contains("does it have 10.80.0.102 on its loopback interface?"), "{table:?}");

    follow_guide(&lab, "web-direct")?;
    probe(&lab, "web-direct", 0)?;
    for vip in direct_vips() {
        expect_turns(&ask_at(&lab, SocketAddr::new(vip, 80), 20)?, &client_of(vip))?;
    }
    let guide = lbctl(&lab, &["service", "guide", "web-direct"])?;
    ensure!(guide.contains("# on each backend:") && guide.contains("arp_ignore=1"), "{guide}");

    // A server that has the address but serves nothing there.
    let mut add = vec!["service", "add", "nothing", "--vip", "direct", "--port", "82", "--mode", "dsr"];
    add.extend(["--no-check", "--backend", "web1=10.80.0.21:82,[fd80::21]:82"]);
    add.extend(["--backend", "away=10.80.0.99:82"]);
    lbctl(&lab, &add)?;
    let probes: Vec<ProbeView> = serde_json::from_str(&probe(&lab, "nothing", 1)?)?;
    ensure!(probes[0].result.starts_with("refuses") && probes[1].result.starts_with("refuses"), "{probes:?}");
    ensure!(probes[2].result.contains("not on a network of this node"), "{probes:?}");

    // Datagrams know no handshake: there the address itself is asked.
    let mut add = vec!["service", "add", "datagrams", "--vip", "direct", "--port", "53", "--mode", "dsr"];
    add.extend(["--protocol", "udp", "--no-check", "--backend", "web1=10.80.0.21:53,[fd80::21]:53"]);
    lbctl(&lab, &add)?;
    probe(&lab, "datagrams", 0)?;
    let nat = try_lbctl(&lab, &["service", "probe", "web"])?;
    ensure!(nat.code == Some(1) && nat.err.contains("mode nat asks nothing of its backends"), "{nat:?}");
    lab.down()
}

#[test]
fn backends_answer_directly_and_see_their_clients() -> Result<()> {
    let lab = lab()?;
    let checksum = put_file(&lab, 32)?;
    for vip in direct_vips() {
        let client = client_of(vip);
        expect_turns(&ask_at(&lab, SocketAddr::new(vip, 80), 20)?, &client)?;
        for server in SERVERS {
            let log = std::fs::read_to_string(lab.access_log(server))?;
            let line = |line: &str| line.starts_with(&client) && line.contains(&format!("to={vip}"));
            ensure!(log.lines().any(line), "{server} logged no request of {client} to {vip}: {log}");
        }
        expect_download(&lab, SocketAddr::new(vip, 80), &checksum)?;
    }
    // The download's bytes went past the node, the requests through it.
    let service = service_view(&lab, "lb1", "web-direct")?;
    let bytes =
        |count: fn(&lb_user::api::BackendView) -> u64| service.backends.iter().map(count).sum::<u64>();
    ensure!(bytes(|one| one.reverse_bytes) == 0, "answers came by way of the node");
    ensure!(bytes(|one| one.forward_bytes) < 8 << 20, "more than requests went through the node");

    // A connection stays with its server while that is drained, and is counted until its client ends it.
    let mut kept = lab.host("client").inside(|| KeptConnection::open(direct_vips()[0]))??;
    lbctl(&lab, &["backend", "drain", "web-direct", &kept.backend])?;
    let other = if kept.backend == "web1" { "web2" } else { "web1" };
    let answers = ask_at(&lab, SocketAddr::new(direct_vips()[0], 80), 6)?;
    ensure!(answers.iter().all(|(server, _)| server == other), "{answers:?}");
    ensure!(kept.ask(false)? == kept.backend, "the drained server lost its connection");
    let flow = flow_of(&lab, kept.local_address()?)?;
    ensure!(flow.nat == flow.client && flow.state == "established", "{flow:?}");
    let active = |wanted: u64| {
        poll::until("the open connections are counted", PATIENCE, || {
            let active = service_view(&lab, "lb1", "web-direct")?.active_flows;
            ensure!(active == wanted, "{active} active flows, {wanted} connections");
            Ok(())
        })
    };
    active(1)?;
    kept.ask(true)?;
    kept.expect_end()?;
    drop(kept);
    active(0)?;
    lab.down()
}

#[test]
fn backends_see_their_clients_and_answer_by_way_of_the_node() -> Result<()> {
    let lab = lab()?;
    let mut add = vec!["service", "add", "kept", "--vip", "A", "--port", "81", "--keep-source"];
    add.extend(["--check-path", "/healthz"]);
    add.extend(["--backend", "web1=10.80.0.21:80,[fd80::21]:80"]);
    add.extend(["--backend", "web2=10.80.0.22:80,[fd80::22]:80"]);
    let said = lbctl(&lab, &add)?;
    ensure!(said.contains("keep_source"), "{said}");
    wait_for_slots(&lab, "kept")?;

    // Their own gateway leads past the node: the client gets answers from a server that it never spoke to.
    let vip = vip_a()[0];
    let connect = || std::net::TcpStream::connect_timeout(&SocketAddr::new(vip, 81), Duration::from_secs(1));
    ensure!(lab.host("client").inside(connect)?.is_err(), "answers come by way of the node without a route");

    let probes: Vec<ProbeView> = serde_json::from_str(&probe(&lab, "kept", 1)?)?;
    ensure!(probes.len() == 4 && probes.iter().all(|probe| !probe.answers), "{probes:?}");
    ensure!(probes[0].result.starts_with("no answer came this way"), "{probes:?}");
    let guide = follow_guide(&lab, "kept")?;
    ensure!(!guide.on_nodes.is_empty(), "nodes redirect clients' packets past themselves: {guide:?}");
    for command in &guide.on_nodes {
        shell(&lab, "lb1", command)?;
    }
    probe(&lab, "kept", 0)?;
    let checksum = put_file(&lab, 32)?;
    for vip in vip_a() {
        let address = SocketAddr::new(vip, 81);
        expect_turns(&ask_at(&lab, address, 20)?, &client_of(vip))?;
        expect_download(&lab, address, &checksum)?;
    }
    let service = service_view(&lab, "lb1", "kept")?;
    let bytes: u64 = service.backends.iter().map(|backend| backend.reverse_bytes).sum();
    ensure!(bytes > 64 << 20, "the downloads did not come by way of the node: {bytes} bytes");

    // What servers send for themselves goes by way of the node's own stack.
    let mut connection =
        lab.host("client").inside(|| KeptConnection::open_at(SocketAddr::new(vip, 81)))??;
    let flow = flow_of(&lab, connection.local_address()?)?;
    ensure!(flow.nat == flow.client && flow.vip.port() == 81, "{flow:?}");
    let answer: Explanation = lbctl_json(
        &lab,
        &[
            "explain",
            "--from",
            &flow.backend.to_string(),
            "--to",
            &flow.client.to_string(),
            "--interface",
            "eth0",
        ],
    )?;
    ensure!(answer.outcome == "to_client", "{answer:?}");
    ensure!(answer.leaves.is_some_and(|leaves| leaves.from == flow.vip), "the answer comes from elsewhere");
    let seen = shell(
        &lab,
        "web1",
        "ping -c 1 -W 2 10.90.0.10 >/dev/null && ping -c 1 -W 2 fd90::10 >/dev/null && echo yes",
    )?;
    ensure!(seen == "yes\n", "a server cannot reach the client any more");
    connection.ask(true)?;
    lab.down()
}

/// One question for the name that every server answers with its own, and its answer.
fn who_is(socket: &UdpSocket, server: SocketAddr, id: u16) -> Result<String> {
    let mut query = id.to_be_bytes().to_vec();
    // Recursion desired, one question: TXT, IN.
    query.extend([1, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
    query.extend(b"\x03who\x03lab\x00\x00\x10\x00\x01");
    socket.send_to(&query, server)?;
    let mut answer = [0; 512];
    let (bytes, from) = socket.recv_from(&mut answer).context("no answer")?;
    let answer = &answer[..bytes];
    ensure!(from == server, "the answer came from {from}, not from {server}");
    ensure!(answer.starts_with(&id.to_be_bytes()), "the answer to another question");
    // The record's data is a text with its length before it, and the last thing in the answer.
    ["web1", "web2"]
        .into_iter()
        .find(|name| answer.ends_with(name.as_bytes()))
        .map(str::to_owned)
        .with_context(|| format!("an answer without a name: {answer:?}"))
}

fn socket_for(server: SocketAddr) -> Result<UdpSocket> {
    let any: SocketAddr = if server.is_ipv4() { "0.0.0.0:0".parse()? } else { "[::]:0".parse()? };
    let socket = UdpSocket::bind(any)?;
    socket.set_read_timeout(Some(Duration::from_secs(3)))?;
    Ok(socket)
}

/// Questions from so many ports; who answered each. A port that came twice would be a conversation that goes on, so all stay open.
fn ask_anew(server: SocketAddr, times: u16) -> Result<Vec<String>> {
    let sockets: Vec<UdpSocket> = (0..times).map(|_| socket_for(server)).collect::<Result<_>>()?;
    sockets.iter().zip(0..).map(|(socket, id)| who_is(socket, server, id)).collect()
}

#[test]
fn name_servers_are_asked_in_turn_and_a_conversation_stays_with_one() -> Result<()> {
    let lab = lab()?;
    for vip in vip_a() {
        let server = SocketAddr::new(vip, 53);
        let answers = lab.host("client").inside(|| {
            stay_on_one_cpu(0)?;
            ask_anew(server, 40)
        })??;
        ensure!(answers.windows(2).all(|pair| pair[0] != pair[1]), "not in turn: {answers:?}");
    }
    // Single questions are not established flows.
    ensure!(service_view(&lab, "lb1", "dns")?.active_flows == 0, "questions count as open flows");

    let server = SocketAddr::new(vip_a()[0], 53);
    let socket = lab.host("client").inside(|| socket_for(server))??;
    let local = SocketAddr::new(client_of(server.ip()).parse()?, socket.local_addr()?.port());
    let first = who_is(&socket, server, 1)?;
    for id in 2..100 {
        let who = who_is(&socket, server, id)?;
        ensure!(who == first, "question {id} of one socket went to {who}, the first to {first}");
    }
    let flow = flow_of(&lab, local)?;
    ensure!(flow.protocol == Protocol::Udp && flow.state == "established", "{flow:?}");
    ensure!(service_view(&lab, "lb1", "dns")?.active_flows == 1, "the conversation is not counted");
    let question =
        ["explain", "--protocol", "udp", "--from", &local.to_string(), "--to", &server.to_string()];
    let answer: Explanation = lbctl_json(&lab, &question)?;
    ensure!(answer.flow == "established" && answer.outcome == "to_backend", "{answer:?}");
    ensure!(answer.backend.is_some_and(|name| name.as_str() == first), "explained with another backend");

    // Over TCP the same port is the host's: there is no such service.
    let before = counters(&lab, "lb1")?["no_service"];
    let refused = lab.host("client").inside(|| std::net::TcpStream::connect(server))?;
    ensure!(refused.is_err() && counters(&lab, "lb1")?["no_service"] > before, "TCP was taken for UDP");

    // Directly, too: the answer comes from the VIP, without the node.
    let mut add = vec!["service", "add", "dns-direct", "--vip", "direct", "--port", "53", "--mode", "dsr"];
    add.extend(["--protocol", "udp", "--no-check"]);
    add.extend(["--backend", "web1=10.80.0.21:53,[fd80::21]:53"]);
    add.extend(["--backend", "web2=10.80.0.22:53,[fd80::22]:53"]);
    lbctl(&lab, &add)?;
    for vip in direct_vips() {
        let server = SocketAddr::new(vip, 53);
        let pair = lab.host("client").inside(|| ask_anew(server, 2))??;
        ensure!(pair[0] != pair[1], "not in turn: {pair:?}");
    }
    let port = try_lbctl(&lab, &["backend", "add", "dns-direct", "web3", "--address", "10.80.0.23:54"])?;
    ensure!(port.code == Some(1) && port.err.contains("expected port 53"), "{port:?}");

    // Silence ends a conversation.
    let config = lab.agent_config("lb1")?;
    lab.write_agent_config("lb1", &format!("{config}\n[dataplane.timeouts]\nudp = \"1s\"\n"))?;
    lbctl(&lab, &["apply"])?;
    poll::until("the silent conversation is forgotten", PATIENCE, || {
        let active = service_view(&lab, "lb1", "dns")?.active_flows;
        ensure!(active == 0 && flow_of(&lab, local).is_err(), "{active} active flows");
        Ok(())
    })?;
    ensure!(SERVERS.contains(&who_is(&socket, server, 1000)?.as_str()), "it cannot be taken up again");
    lab.down()
}
