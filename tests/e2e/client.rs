//! What the lab's client does and what the load balancer says about it, for the tests of traffic.

use anyhow::{Context as _, Result, bail, ensure};
use lb_user::api::{BackendView, CountersView, FlowList, ServiceView, Status};
use lb_user::model::BackendHealth;
pub(crate) use lbctl_tests::lab::stay_on_one_cpu;
use lbctl_tests::lab::{Lab, Options, addresses, poll};
use nix::sys::signal::Signal;
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// How long anything may take that should be quick.
pub(crate) const PATIENCE: Duration = Duration::from_secs(15);

/// A lab without database whose web backends are all up.
pub(crate) fn web_lab() -> Result<Lab> {
    let lab = Lab::up(Options { database: false, ..Options::default() })?;
    for node in ["lb1", "lb2"] {
        wait_for_health(&lab, node, "web1", BackendHealth::Up)?;
        wait_for_health(&lab, node, "web2", BackendHealth::Up)?;
    }
    Ok(lab)
}

pub(crate) fn wait_for_health(lab: &Lab, node: &str, backend: &str, wanted: BackendHealth) -> Result<()> {
    poll::until(&format!("{backend} is {wanted} for {node}"), PATIENCE, || {
        let view = backend_view(lab, node, backend)?;
        ensure!(view.health == wanted, "{:?}", view.addresses);
        Ok(())
    })
}

/// A backend of the service `web`, as a node shows it.
pub(crate) fn backend_view(lab: &Lab, node: &str, backend: &str) -> Result<BackendView> {
    let web = service_view(lab, node, "web")?;
    let mut found = web.backends.into_iter().filter(|view| view.name.as_str() == backend);
    found.next().with_context(|| format!("service web has no backend {backend}"))
}

/// A service, as a node shows it.
pub(crate) fn service_view(lab: &Lab, node: &str, service: &str) -> Result<ServiceView> {
    get(lab, node, &format!("/v1/services/{service}"))
}

fn get<T: serde::de::DeserializeOwned>(lab: &Lab, node: &str, path: &str) -> Result<T> {
    let body = lab.agent_get(node, path)?.body;
    serde_json::from_str(&body).with_context(|| format!("GET {path}: {body}"))
}

/// Entries in both flow tables of a node, as of its last sweep.
pub(crate) fn flow_entries(lab: &Lab, node: &str) -> Result<u64> {
    let status: Status = get(lab, node, "/v1/status")?;
    let flows =
        status.tables.iter().filter(|table| ["established", "embryonic"].contains(&table.name.as_str()));
    Ok(flows.filter_map(|table| table.entries).sum())
}

pub(crate) fn flows(lab: &Lab, node: &str, limit: usize) -> Result<FlowList> {
    get(lab, node, &format!("/v1/flows?limit={limit}"))
}

/// Counts of packets by outcome and occurrence.
pub(crate) fn counters(lab: &Lab, node: &str) -> Result<BTreeMap<String, u64>> {
    let view: CountersView = get(lab, node, "/v1/counters")?;
    let all = view.outcomes.into_iter().chain(view.occurrences);
    Ok(all.map(|counter| (counter.name, counter.count)).collect())
}

/// `lbctl` on lb1; its standard output, if it went well.
pub(crate) fn lbctl(lab: &Lab, arguments: &[&str]) -> Result<String> {
    lbctl_on(lab, "lb1", arguments)
}

/// The same on another node.
pub(crate) fn lbctl_on(lab: &Lab, node: &str, arguments: &[&str]) -> Result<String> {
    let output = lab.lbctl(node)?.args(arguments).output()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    ensure!(
        output.status.success(),
        "lbctl {arguments:?}: {text}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(text)
}

/// How a program ended and what it said.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Said {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Said {
    /// Runs a program to its end.
    pub(crate) fn by(command: &mut Command) -> Result<Self> {
        let output = command.output().with_context(|| format!("{command:?}"))?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Ok(Self { code: output.status.code(), out: text(&output.stdout), err: text(&output.stderr) })
    }
}

/// `lbctl` on lb1, however it ends.
pub(crate) fn try_lbctl(lab: &Lab, arguments: &[&str]) -> Result<Said> {
    Said::by(lab.lbctl("lb1")?.args(arguments))
}

/// Stops a node's agent, if it runs, and takes its dataplane away.
pub(crate) fn stop_and_detach(lab: &Lab, node: &str) -> Result<()> {
    // It may be stopped already.
    let _ = lab.kill_agent(node, Signal::SIGTERM);
    let config = lab.agent_config_path(node).display().to_string();
    poll::until("its agent is gone, and its dataplane", PATIENCE, || {
        let said = Said::by(lab.lbctl(node)?.args(["detach", "--config", &config]))?;
        ensure!(said.code == Some(0), "{said:?}");
        Ok(())
    })
}

/// `lbctl -o json` on lb1: its output as that type of the API, which must hold every field of it.
pub(crate) fn lbctl_json<T>(lab: &Lab, arguments: &[&str]) -> Result<T>
where
    T: serde::de::DeserializeOwned + serde::Serialize,
{
    whole(&lbctl(lab, &[&["-o", "json"], arguments].concat())?)
}

/// Reads JSON as a type that must hold every field of it.
pub(crate) fn whole<T: serde::de::DeserializeOwned + serde::Serialize>(text: &str) -> Result<T> {
    let value: T = serde_json::from_str(text).with_context(|| text.to_owned())?;
    let again = serde_json::to_value(&value)?;
    ensure!(
        again == serde_json::from_str::<serde_json::Value>(text)?,
        "fields are missing: {again}, not {text}"
    );
    Ok(value)
}

/// All four VIP addresses.
pub(crate) fn vips() -> Vec<IpAddr> {
    [addresses::VIP_A, addresses::VIP_B].into_iter().flat_map(addresses::vip).collect()
}

/// Both addresses of VIP A, which is active on lb1.
pub(crate) fn vip_a() -> [IpAddr; 2] {
    addresses::vip(addresses::VIP_A)
}

/// A connection that is kept, with requests on it one after the other. To be made on the client host.
pub(crate) struct KeptConnection {
    reader: BufReader<TcpStream>,
    /// Who answered the first request; a connection stays with its backend.
    pub(crate) backend: String,
    /// The address that the server saw.
    pub(crate) seen_as: String,
}

impl KeptConnection {
    fn connect(address: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect_timeout(&address, Duration::from_secs(5))?;
        stream.set_read_timeout(Some(Duration::from_secs(5)))?;
        Ok(Self { reader: BufReader::new(stream), backend: String::new(), seen_as: String::new() })
    }

    /// Connects and makes the first request.
    pub(crate) fn open(vip: IpAddr) -> Result<Self> {
        Self::open_at(SocketAddr::new(vip, 80))
    }

    /// The same at any port.
    pub(crate) fn open_at(address: SocketAddr) -> Result<Self> {
        let mut connection = Self::connect(address)?;
        connection.backend = connection.ask(false)?;
        Ok(connection)
    }

    /// One request; who answered it. `last` asks the server to close afterwards.
    pub(crate) fn ask(&mut self, last: bool) -> Result<String> {
        self.send(last)?;
        self.receive()
    }

    /// The first half of it.
    pub(crate) fn send(&mut self, last: bool) -> Result<()> {
        let connection = if last { "close" } else { "keep-alive" };
        let request = format!("GET /small HTTP/1.1\r\nHost: lab\r\nConnection: {connection}\r\n\r\n");
        Ok(self.reader.get_mut().write_all(request.as_bytes())?)
    }

    /// The other half.
    pub(crate) fn receive(&mut self) -> Result<String> {
        let (mut backend, mut body_bytes) = (None, None);
        loop {
            let mut line = String::new();
            ensure!(self.reader.read_line(&mut line)? > 0, "closed before the answer");
            let line = line.trim_end();
            if let Some(name) = line.strip_prefix("X-Backend: ") {
                backend = Some(name.to_owned());
            } else if let Some(client) = line.strip_prefix("X-Client: ") {
                self.seen_as = client.to_owned();
            } else if let Some(length) = line.strip_prefix("Content-Length: ") {
                body_bytes = Some(length.parse::<usize>()?);
            } else if line.is_empty() {
                break;
            }
        }
        let mut body = vec![0; body_bytes.context("an answer without length")?];
        self.reader.read_exact(&mut body)?;
        ensure!(body.len() == 1024 && body.starts_with(b"0123456789abcde\n"), "another body");
        backend.context("an answer without X-Backend")
    }

    /// The client's own address and port.
    pub(crate) fn local_address(&self) -> Result<SocketAddr> {
        Ok(self.reader.get_ref().local_addr()?)
    }

    /// Waits for the server's end of the stream.
    pub(crate) fn expect_end(&mut self) -> Result<()> {
        let mut rest = Vec::new();
        self.reader.read_to_end(&mut rest)?;
        ensure!(rest.is_empty(), "{} bytes after the last answer", rest.len());
        Ok(())
    }

    /// Ends the connection with RST instead of FIN.
    pub(crate) fn reset(self) -> Result<()> {
        // A linger time of zero makes close() send RST.
        let linger = nix::libc::linger { l_onoff: 1, l_linger: 0 };
        nix::sys::socket::setsockopt(self.reader.get_ref(), nix::sys::socket::sockopt::Linger, &linger)?;
        Ok(())
    }
}

/// A connection that is kept through each address of VIP A.
pub(crate) fn keep_open(lab: &Lab) -> Result<Vec<KeptConnection>> {
    lab.host("client").inside(|| vip_a().into_iter().map(KeptConnection::open).collect())?
}

/// A request on each of them.
pub(crate) fn ask_all(lab: &Lab, kept: &mut [KeptConnection]) -> Result<()> {
    lab.host("client").inside(|| kept.iter_mut().try_for_each(|one| one.ask(false).map(drop)))?
}

/// One request on a connection of its own; the backend that answered. To be made on the client host.
pub(crate) fn ask(vip: IpAddr) -> Result<String> {
    KeptConnection::connect(SocketAddr::new(vip, 80))?.ask(true)
}

/// Asks so many times from the client, one after the other; who answered, in order.
pub(crate) fn ask_times(lab: &Lab, vip: IpAddr, times: usize) -> Result<Vec<String>> {
    lab.host("client").inside(|| {
        stay_on_one_cpu(0)?;
        (0..times).map(|_| ask(vip)).collect()
    })?
}

pub(crate) fn shares(answers: &[String]) -> BTreeMap<&str, usize> {
    answers.iter().fold(BTreeMap::new(), |mut shares, who| {
        *shares.entry(who.as_str()).or_default() += 1;
        shares
    })
}

/// Runs a shell command on the client; what it printed, if it went well.
pub(crate) fn client_shell(lab: &Lab, script: &str) -> Result<String> {
    shell(lab, "client", script)
}

/// The same on any host.
pub(crate) fn shell(lab: &Lab, host: &str, script: &str) -> Result<String> {
    let output = lab.host(host).command("sh").args(["-c", script]).output()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    if !output.status.success() {
        bail!("{script}: {}: {text}{}", output.status, String::from_utf8_lossy(&output.stderr));
    }
    Ok(text)
}

/// A download by curl that takes its time. `X-Backend` is read from its output once the headers are in.
pub(crate) struct Download {
    child: Child,
    /// Who sends.
    pub(crate) backend: String,
    rest: BufReader<std::process::ChildStdout>,
}

impl Download {
    /// Begins; returns when the headers are in.
    pub(crate) fn begin(lab: &Lab, vip: IpAddr, path: &str, rate: &str) -> Result<Self> {
        Self::begin_at(lab, SocketAddr::new(vip, 80), path, rate)
    }

    /// The same at another port.
    pub(crate) fn begin_at(lab: &Lab, address: SocketAddr, path: &str, rate: &str) -> Result<Self> {
        let url = format!("http://{address}{path}");
        let mut curl = lab.host("client").command("curl");
        curl.args(["-s", "-D", "/dev/stderr", "-o", "/dev/null", "--limit-rate", rate, "--max-time", "60"]);
        curl.args(["-w", "%{http_code} %{size_download}", &url]);
        let mut child = curl.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().context("curl")?;
        let mut headers = BufReader::new(child.stderr.take().context("curl's errors")?);
        let mut backend = String::new();
        loop {
            let mut line = String::new();
            ensure!(headers.read_line(&mut line)? > 0, "curl ended before the headers");
            if let Some(name) = line.strip_prefix("X-Backend: ") {
                backend = name.trim().to_owned();
            } else if line.trim().is_empty() {
                break;
            }
        }
        let rest = BufReader::new(child.stdout.take().context("curl's output")?);
        Ok(Self { child, backend, rest })
    }

    pub(crate) fn still_runs(&mut self) -> Result<bool> {
        Ok(self.child.try_wait()?.is_none())
    }

    /// Waits for its end: curl's exit code, and "STATUS BYTES".
    pub(crate) fn finish(mut self) -> Result<(Option<i32>, String)> {
        let mut verdict = String::new();
        self.rest.read_to_string(&mut verdict)?;
        Ok((self.child.wait()?.code(), verdict))
    }
}
