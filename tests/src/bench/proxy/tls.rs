//! TLS that ends at the node, against HAProxy and nginx (both with OpenSSL), with the same certificate (ECDSA, P-256), servers and cores.
//!
//! Connections are made by a client of our own that goes on with a session or does not, as it is told: `wrk` does as it likes.

use super::{
    LASTS, Load, Peer, Plan, Row, Sample, Way, bulk_rows, resident_bytes, rounds, row, start, with_wrk,
};
use crate::lab::{Lab, paths};
use anyhow::{Context, Result, ensure};
use rustls::client::Resumption;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Of our services, at VIP A: in the clear, and with TLS.
const PORT: u16 = 443;
const PLAIN_PORT: u16 = 82;
const HAPROXY: &str = "HAProxy";
const NGINX: &str = "nginx stream";
const IDLE: usize = 2000;
/// That make connections at the same time.
const CLIENTS: usize = 4;

const PEERS: [Peer; 2] = [
    Peer { name: HAPROXY, program: "haproxy", port: 8091, config: haproxy, arguments: &["-db", "-f"] },
    Peer { name: NGINX, program: "nginx", port: 8093, config: nginx, arguments: &["-c"] },
];

fn bundle() -> String {
    paths::host_dir("lb1").join("bundle.pem").display().to_string()
}

/// In the clear at the next port.
fn haproxy(port: u16) -> String {
    let plain = port + 1;
    let servers = "balance roundrobin\n server web1 10.80.0.21:80\n server web2 10.80.0.22:80\n";
    format!(
        "global\n nbthread 2\n maxconn 7000\ndefaults\n mode tcp\n timeout connect 5s\n timeout client 10m\n timeout server 10m\n\
         listen tls\n bind 10.80.0.2:{port} ssl crt {}\n {servers}listen plain\n bind 10.80.0.2:{plain}\n {servers}",
        bundle()
    )
}

fn nginx(port: u16) -> String {
    let (folder, bundle, plain) = (paths::host_dir("lb1").display().to_string(), bundle(), port + 1);
    format!(
        "load_module /usr/lib/nginx/modules/ngx_stream_module.so;\ndaemon off;\nuser root;\nworker_processes 2;\npid {folder}/nginx-tls.pid;\n\
         error_log {folder}/nginx-tls-error.log;\nworker_rlimit_nofile 20000;\nevents {{ worker_connections 9000; }}\n\
         stream {{\n upstream web {{ server 10.80.0.21:80; server 10.80.0.22:80; }}\n \
         ssl_certificate {bundle};\n ssl_certificate_key {bundle};\n ssl_protocols TLSv1.2 TLSv1.3;\n \
         server {{ listen 10.80.0.2:{port} ssl reuseport backlog=4096; proxy_pass web; }}\n \
         server {{ listen 10.80.0.2:{plain} reuseport backlog=4096; proxy_pass web; }}\n}}\n"
    )
}

/// How a connection begins.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    Plain,
    Full,
    Resumed,
}

/// Makes one connection after the other, each with one request.
struct Client {
    kind: Kind,
    config: Arc<ClientConfig>,
}

const REQUEST: &[u8] = b"GET /small HTTP/1.1\r\nHost: web\r\nConnection: close\r\n\r\n";

impl Client {
    fn new(lab: &Lab, kind: Kind) -> Result<Self> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(lab.ca_certificate())?)?;
        let mut config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
        config.resumption = match kind {
            Kind::Resumed => Resumption::in_memory_sessions(64),
            Kind::Plain | Kind::Full => Resumption::disabled(),
        };
        Ok(Self { kind, config: Arc::new(config) })
    }

    fn begin(&self, way: &Way) -> Result<StreamOwned<ClientConnection, TcpStream>> {
        let stream = TcpStream::connect(way.address)?;
        stream.set_nodelay(true)?;
        let connection = ClientConnection::new(self.config.clone(), ServerName::try_from("web")?)?;
        Ok(StreamOwned::new(connection, stream))
    }

    fn request(&self, way: &Way, answer: &mut Vec<u8>) -> Result<()> {
        answer.clear();
        if self.kind == Kind::Plain {
            // Of the same way: the port next to it, or the service in the clear.
            let port = if way.address.port() == PORT { PLAIN_PORT } else { way.address.port() + 1 };
            let mut stream = TcpStream::connect(SocketAddr::new(way.address.ip(), port))?;
            stream.write_all(REQUEST)?;
            stream.read_to_end(answer)?;
        } else {
            let mut stream = self.begin(way)?;
            stream.write_all(REQUEST)?;
            stream.read_to_end(answer)?;
        }
        ensure!(answer.starts_with(b"HTTP/1.1 200 "), "{}", String::from_utf8_lossy(answer));
        Ok(())
    }

    /// For so long.
    fn load(&self, lab: &Lab, way: &Way, duration: Duration) -> Result<Load> {
        let one = || -> Result<f64> {
            lab.host("client").inside(|| {
                let (begun, mut requests, mut answer) = (Instant::now(), 0.0, Vec::new());
                while begun.elapsed() < duration {
                    self.request(way, &mut answer).with_context(|| way.name)?;
                    requests += 1.0;
                }
                Ok(requests)
            })?
        };
        let requests = std::thread::scope(|scope| {
            let clients: Vec<_> = (0..CLIENTS).map(|_| scope.spawn(one)).collect();
            let all = clients
                .into_iter()
                .map(|client| client.join().map_err(|_| anyhow::anyhow!("a client panicked"))?);
            all.sum::<Result<f64>>()
        })?;
        let requests_per_second = requests / duration.as_secs_f64();
        Ok(Load {
            requests_per_second,
            requests,
            p50_ms: f64::NAN,
            p99_ms: f64::NAN,
            bytes_per_second: f64::NAN,
        })
    }
}

fn start_ours(lab: &Lab) -> Result<Way> {
    let mut text = lab.agent_config("lb1")?;
    // As the peers are: without a header for the servers, which are asked at the same port.
    text = text.replace("[service.web-tls.proxy]\nsend_proxy = \"v2\"\n", "[service.web-tls.proxy]\n");
    text = text.replace("21:8080\"", "21:80\"").replace("22:8080\"", "22:80\"");
    text = text.replace("[fd80::21]:8080", "[fd80::21]:80").replace("[fd80::22]:8080", "[fd80::22]:80");
    lab.write_agent_config("lb1", &text)?;
    let ours = super::start_ours(lab)?;
    Ok(Way { address: SocketAddr::new(ours.address.ip(), PORT), ..ours })
}

fn handshake_rows(lab: &Lab, ways: &[Way], agent: i32) -> Result<Vec<Row>> {
    let mut samples = Vec::new();
    for kind in [Kind::Plain, Kind::Full, Kind::Resumed] {
        let client = Client::new(lab, kind)?;
        samples.push(rounds(ways, agent, LASTS, |way, duration| client.load(lab, way, duration))?);
    }
    let each = |sample: &Sample| sample.own_us / sample.load.requests;
    let [plain, full, resumed] = &samples[..] else { anyhow::bail!("three kinds of connections") };
    let own = |case: &str, of: &[Vec<Sample>]| row(ways, of, (case, "own CPU", "µs/connection"), each);
    let rate = |case: &str, of: &[Vec<Sample>]| {
        row(ways, of, (case, "connections", "1/s"), |sample| sample.load.requests_per_second)
    };
    let in_the_clear = own("new connections in the clear", plain);
    let mut rows = Vec::new();
    for (case, of, target) in
        [("full handshakes, TLS 1.3", full, true), ("resumed handshakes, TLS 1.3", resumed, false)]
    {
        let whole = own(case, of);
        // What TLS adds to a connection.
        let added = |name: &str| {
            whole.peers.get(name).zip(in_the_clear.peers.get(name)).map(|(tls, plain)| tls - plain)
        };
        let alone = Row::new(case, "own CPU of the handshake alone", "µs", whole.ours - in_the_clear.ours);
        let alone = ways
            .iter()
            .filter_map(|way| Some((way.name, added(way.name)?)))
            .fold(alone, |row, (name, figure)| row.peer(name, figure));
        rows.extend([rate(case, of), whole]);
        rows.push(if target { alone.at_most_of(HAPROXY, 0.5, "0.5 ×") } else { alone });
    }
    rows.push(in_the_clear);
    Ok(rows)
}

/// What a connection costs while nobody says anything, after one request each.
fn idle_row(lab: &Lab, ways: &[Way]) -> Result<Row> {
    let client = Client::new(lab, Kind::Full)?;
    let mut figures = Vec::new();
    for way in ways {
        let pid = way.pid.context("a process")?;
        let before = resident_bytes(pid)?;
        let open = lab.host("client").inside(|| -> Result<Vec<_>> {
            let open = (0..IDLE).map(|_| {
                let mut stream = client.begin(way)?;
                stream.write_all(b"HEAD /small HTTP/1.1\r\nHost: web\r\n\r\n")?;
                ensure!(stream.read(&mut [0; 512])? > 0, "no answer");
                Ok(stream)
            });
            open.collect()
        })??;
        figures.push((resident_bytes(pid)? - before) / open.len() as f64);
    }
    let row =
        Row::new(format!("{IDLE} idle connections, TLS"), "resident memory", "bytes/connection", figures[0]);
    let row = ways.iter().zip(&figures).skip(1).fold(row, |row, (way, theirs)| row.peer(way.name, *theirs));
    Ok(row.at_most_of(HAPROXY, 0.5, "0.5 ×"))
}

pub(super) fn measure(lab: &Lab) -> Result<Vec<Row>> {
    let _stats = super::super::traffic::BpfStats::on()?;
    let ca = lab.ca_certificate();
    let part = |name: &str| std::fs::read_to_string(ca.with_file_name(name));
    std::fs::write(bundle(), part("web.pem")? + &part("web.key")?).context("the bundle for the peers")?;
    let mut ways = vec![start_ours(lab)?];
    for peer in &PEERS {
        ways.push(start(lab, peer)?);
    }
    let agent = lab.process_id("lb1", "agent")?;
    for web in ["web1", "web2"] {
        std::fs::write(lab.files_dir(web).join("bulk"), vec![b'x'; 16 << 20]).context("the bulk file")?;
    }
    // First, while all are fresh.
    let mut rows = vec![idle_row(lab, &ways)?];
    rows.extend(handshake_rows(lab, &ways, agent)?);
    let plan = Plan { connections: 64, duration: LASTS, close: false };
    let samples = rounds(&ways, agent, LASTS, with_wrk(lab, "https", "/small", plan))?;
    let case = "keep-alive, 64 connections, 1 KiB, TLS";
    rows.push(
        row(&ways, &samples, (case, "requests", "1/s"), |sample| sample.load.requests_per_second)
            .at_least_of(HAPROXY, 1.05),
    );
    rows.push(row(&ways, &samples, (case, "own CPU", "µs/request"), |sample| {
        sample.own_us / sample.load.requests
    }));
    rows.push(row(&ways, &samples, (case, "latency p99", "ms"), |sample| sample.load.p99_ms));
    let few = Plan { connections: 4, ..plan };
    let samples = rounds(&ways, agent, LASTS, with_wrk(lab, "https", "/files/bulk", few))?;
    let mut bulk = bulk_rows(&ways, "bulk, 4 connections, 16 MiB, TLS", &samples).into_iter();
    rows.extend(bulk.next());
    rows.extend(bulk.next().map(|cpu| cpu.at_most_of(HAPROXY, 0.45, "0.45 ×")));
    Ok(rows)
}
