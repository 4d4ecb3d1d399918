//! The agents on the load balancers: their configuration files, sockets and processes.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use nix::mount::{MsFlags, mount};

use super::addresses::{NODES, VIP_A, VIP_B, VIP_DIRECT, WEBS, ipv4_of, ipv6_of, vip};
use super::state::Setup;
use super::{Lab, certificates, http, paths, poll, processes, state};

/// Between advertisements, where VIPs move: a node that is gone is missed after 0.3 s and its skew.
pub const ADVERT_INTERVAL: &str = "100ms";

/// No secret: the lab's network ends on this machine.
const SYNC_KEY: &str = "the lab's nodes share their flows with this\n";

/// The name of the agent among a host's processes.
pub(super) const PROCESS: &str = "agent";

/// The configuration file of a node's agent.
pub fn config_path(node: &str) -> PathBuf {
    paths::host_dir(node).join("lbctl.toml")
}

/// The control socket of a node's agent.
pub fn socket_path(node: &str) -> PathBuf {
    let node = node.strip_prefix("lab-").unwrap_or(node);
    Path::new(paths::SOCKET_DIR).join(format!("{node}.sock"))
}

/// The folder of a node's pinned maps and links.
pub fn pin_dir(node: &str) -> PathBuf {
    Path::new(paths::PIN_DIR).join(node)
}

/// What agents may leave outside the lab's own folder.
pub(super) fn leftovers() -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = NODES.iter().map(|node| pin_dir(node)).collect();
    let Ok(entries) = fs::read_dir(paths::SOCKET_DIR) else { return found };
    for entry in entries.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        // lb1.sock, and whatever lies beside it under that name, such as a lock.
        if NODES.iter().any(|node| name.starts_with(&format!("{node}."))) {
            found.push(entry.path());
        }
    }
    found
}

/// Writes the configuration files and makes the folders that agents expect.
pub(super) fn prepare(lab: &Lab) -> Result<()> {
    mount_bpffs()?;
    fs::create_dir_all(paths::SOCKET_DIR).with_context(|| format!("creating {}", paths::SOCKET_DIR))?;
    for node in NODES {
        let folder = paths::host_dir(node);
        fs::create_dir_all(&folder).with_context(|| format!("creating {}", folder.display()))?;
        state::replace_file(&config_path(node), config_text(node, lab.setup()).as_bytes())?;
        write_sync_key(node, SYNC_KEY)?;
    }
    Ok(())
}

/// The file with the key that a node shares flows with.
pub fn sync_key_path(node: &str) -> PathBuf {
    paths::host_dir(node).join("sync.key")
}

/// Writes it, for nobody else to read.
pub fn write_sync_key(node: &str, key: &str) -> Result<()> {
    let path = sync_key_path(node);
    let written = fs::OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(&path);
    let mut file = written.with_context(|| format!("writing {}", path.display()))?;
    file.write_all(key.as_bytes()).with_context(|| format!("writing {}", path.display()))
}

/// Starts the agent on a node; does not wait.
pub(super) fn start(lab: &Lab, node: &str, binary: &Path) -> Result<()> {
    let config = config_path(node).display().to_string();
    processes::start(lab, node, PROCESS, binary, &["agent", "--config", &config])
}

/// Waits until the agent's control socket answers.
pub(super) fn wait_until_ready(lab: &Lab, node: &str) -> Result<()> {
    poll::until(&format!("the agent on {node} answers"), Duration::from_secs(15), || {
        processes::check_alive(lab, node, PROCESS)?;
        http::expect_ok(http::get_over_unix_socket(&socket_path(node), "/v1/status")?).map(drop)
    })
}

fn mount_bpffs() -> Result<()> {
    let mounts = fs::read_to_string("/proc/mounts").context("reading /proc/mounts")?;
    let mounted = mounts.lines().any(|line| {
        let mut fields = line.split(' ').skip(1);
        fields.next() == Some(paths::BPFFS) && fields.next() == Some("bpf")
    });
    if mounted {
        return Ok(());
    }
    if !Path::new(paths::BPFFS).is_dir() {
        bail!("{} does not exist: this kernel has no BPF file system", paths::BPFFS);
    }
    mount(Some("bpf"), paths::BPFFS, Some("bpf"), MsFlags::empty(), None::<&str>)
        .with_context(|| format!("mounting the BPF file system at {}", paths::BPFFS))
}

/// The configuration of one node. Both files describe the whole tier. With failover VIPs move between the nodes, and flows are shared;
/// without, each VIP stays where it is active.
pub(super) fn config_text(node: &str, setup: &Setup) -> String {
    // Apart, so that the nodes' ports stay distinct when flows are shared between them.
    let nat_ports = if node == NODES[0] { "2048-17407" } else { "17408-32767" };
    let mut text = format!(
        "# Written by the lab for {node}; `lbctl` commands change it.\n\n\
         [node]\nname = \"{node}\"\ninterfaces = [\"eth0\"]\nnat_ports = \"{nat_ports}\"\n\n\
         [control]\nsocket = \"{}\"\n\n\
         [dataplane]\npin_dir = \"{}\"\n\n\
         # For people; without a terminal it would be JSON.\n[log]\nformat = \"text\"\n\n",
        socket_path(node).display(),
        pin_dir(node).display()
    );
    if setup.failover {
        let peers: Vec<String> =
            NODES.iter().filter(|peer| **peer != node).map(|peer| format!("\"{}\"", ipv4_of(peer))).collect();
        text.push_str(&format!(
            "[sync]\naddress = \"{}\"\npeers = [{}]\nkey_file = \"{}\"\n\n",
            ipv4_of(node),
            peers.join(", "),
            sync_key_path(node).display()
        ));
    }
    let vips = [("A", VIP_A, NODES[0], 51), ("B", VIP_B, NODES[1], 52), ("direct", VIP_DIRECT, NODES[0], 53)];
    for (name, number, active_on, id) in vips {
        let [ipv4, ipv6] = vip(number);
        text.push_str(&format!(
            "[vip.{name}]\naddress = [\"{ipv4}\", \"{ipv6}\"]\ninterface = \"eth0\"\nactive_on = \"{active_on}\"\n\n"
        ));
        if setup.failover {
            text.push_str(&format!("[vip.{name}.vrrp]\nid = {id}\ninterval = \"{ADVERT_INTERVAL}\"\n\n"));
        }
    }
    let web_health = "type = \"http\"\npath = \"/healthz\"\nexpect_body = \"ok\"\n";
    let nat = "mode = \"nat\"\nprotocol = \"tcp\"\n";
    let both = "\"A\", \"B\"";
    text.push_str(&service("web", both, 80, nat, web_health, &WEBS, 80));
    // nginx on that port wants to be told who the client is, so its health is asked at another one.
    let tls_health = format!("{web_health}port = 80\n");
    text.push_str(&service("web-tls", both, 443, "mode = \"tls\"\n", &tls_health, &WEBS, 8080));
    text.push_str(&format!(
        "[service.web-tls.proxy]\nsend_proxy = \"v2\"\n\n[service.web-tls.tls]\nalpn = [\"http/1.1\"]\n\n\
         [[service.web-tls.tls.certificate]]\nfile = \"{}\"\nkey = \"{}\"\n\n",
        certificates::certificate().display(),
        certificates::key().display()
    ));
    text.push_str(&service("web-passthrough", both, 8443, nat, "type = \"tcp\"\n", &WEBS, 443));
    text.push_str(&service("web-direct", "\"direct\"", 80, "mode = \"dsr\"\n", web_health, &WEBS, 80));
    // Name servers answer over TCP, too, so a connection tells whether they live.
    text.push_str(&service("dns", both, 53, "protocol = \"udp\"\n", "type = \"tcp\"\n", &WEBS, 53));
    if setup.database {
        text.push_str(&database_service(both));
        // The primary alone, without a proxy in between.
        text.push_str(&service("db-primary", both, 3307, nat, "type = \"tcp\"\n", &["db1"], 3306));
    }
    text
}

/// What the application writes to and reads from. Whether a server answers is found out by asking it what it is.
fn database_service(vips: &str) -> String {
    let backend = |name: &str| {
        let (ipv4, ipv6) = (ipv4_of(name), ipv6_of(name));
        format!(
            "[[service.db.backend]]\nname = \"{name}\"\naddress = [\"{ipv4}:3306\", \"[{ipv6}]:3306\"]\n\n"
        )
    };
    format!(
        "[service.db]\nvips = [{vips}]\nport = 3306\nmode = \"mysql\"\n\n\
         [service.db.mysql.monitor]\nuser = \"lbctl\"\npassword = \"lbctl-password\"\n\n\
         [service.db.mysql.replication]\nuser = \"replication\"\npassword = \"replication-password\"\n\n\
         [[service.db.mysql.user]]\nname = \"app\"\npassword = \"app-password\"\n\n{}{}",
        backend("db1"),
        backend("db2")
    )
}

fn service(
    name: &str,
    vips: &str,
    port: u16,
    mode: &str,
    health: &str,
    backends: &[&str],
    backend_port: u16,
) -> String {
    let mut text = format!(
        "[service.{name}]\nvips = [{vips}]\nport = {port}\n{mode}scheduler = \"round-robin\"\n\n\
         [service.{name}.health]\n{health}interval = \"1s\"\ntimeout = \"500ms\"\n\n"
    );
    for backend in backends {
        text.push_str(&format!(
            "[[service.{name}.backend]]\nname = \"{backend}\"\naddress = [\"{}:{backend_port}\", \"[{}]:{backend_port}\"]\n\n",
            ipv4_of(backend),
            ipv6_of(backend)
        ));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(node: &str, database: bool) -> toml::Table {
        config_text(node, &Setup { database, ..Setup::default() }).parse().unwrap()
    }

    #[test]
    fn both_nodes_describe_the_same_services() {
        assert_eq!(config("lb1", true)["service"], config("lb2", true)["service"]);
        assert_eq!(config("lb1", true)["vip"], config("lb2", true)["vip"]);
    }

    #[test]
    fn nodes_differ_in_name_ports_socket_and_pins() {
        let [lb1, lb2] = NODES.map(|node| config(node, true));
        assert_eq!(lb1["node"]["name"].as_str(), Some("lb1"));
        assert_eq!(lb1["node"]["nat_ports"].as_str(), Some("2048-17407"));
        assert_eq!(lb2["node"]["nat_ports"].as_str(), Some("17408-32767"));
        assert_eq!(lb2["control"]["socket"].as_str(), Some("/run/lbctl/lb2.sock"));
        assert_eq!(lb2["dataplane"]["pin_dir"].as_str(), Some("/sys/fs/bpf/lbctl/lb2"));
    }

    #[test]
    fn every_backend_has_an_address_of_each_family() {
        let config = config("lb1", true);
        let web1 = &config["service"]["web"]["backend"][0];
        assert_eq!(web1["address"][0].as_str(), Some("10.80.0.21:80"));
        assert_eq!(web1["address"][1].as_str(), Some("[fd80::21]:80"));
        assert_eq!(
            config["service"]["web-passthrough"]["backend"][1]["address"][1].as_str(),
            Some("[fd80::22]:443")
        );
    }

    #[test]
    fn without_a_database_there_is_no_db_service() {
        let services =
            |database| config("lb1", database)["service"].as_table().unwrap().keys().cloned().collect();
        let with: Vec<String> = services(true);
        let without: Vec<String> = services(false);
        assert_eq!(with, ["db", "db-primary", "dns", "web", "web-direct", "web-passthrough", "web-tls"]);
        assert_eq!(without, ["dns", "web", "web-direct", "web-passthrough", "web-tls"]);
    }

    #[test]
    fn vips_are_active_on_one_node_each() {
        let vips = &config("lb2", false)["vip"];
        assert_eq!(vips["A"]["active_on"].as_str(), Some("lb1"));
        assert_eq!(vips["B"]["active_on"].as_str(), Some("lb2"));
        assert_eq!(vips["B"]["address"][1].as_str(), Some("fd80::101"));
    }

    #[test]
    fn with_failover_vips_move_and_each_node_names_the_other() {
        let text = |node| config_text(node, &Setup { failover: true, ..Setup::default() });
        let [lb1, lb2] = NODES.map(|node| text(node).parse::<toml::Table>().unwrap());
        assert_eq!(lb1["vip"], lb2["vip"]);
        assert_eq!(lb1["vip"]["B"]["vrrp"]["id"].as_integer(), Some(52));
        assert_eq!(lb1["sync"]["peers"][0], lb2["sync"]["address"]);
        assert_eq!(lb2["sync"]["peers"][0], lb1["sync"]["address"]);
    }
}
