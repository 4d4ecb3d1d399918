//! Namespaces, links, addresses and routes of the lab.
//!
//! Nothing is created in the machine's own network: links are born in the namespaces they belong to.
//! Native XDP on veth shapes two settings: checksums must be complete (`tx off` on every end of every
//! link, else TCP through XDP fails), and a link's far end must run some XDP program for the near end
//! to transmit from XDP, hence the program that passes everything on the load balancers' bridge ports.

use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use super::addresses::{
    HOSTS, HostPlan, NODES, Network, ROUTER, ROUTER_NUMBER, VIP_DIRECT, WEBS, namespaces, vip,
};
use super::{paths, programs};

/// The XDP program for the far ends of the load balancers' links.
const PASS_OBJECT: &[u8] = include_bytes!("../../../lb-ebpf/object/lb-pass.o");

/// The bridge in the router's namespace that is the server network.
const BRIDGE: &str = "br-servers";

/// Makes all namespaces and links and sets them up.
pub(super) fn create() -> Result<()> {
    let pass_object = Path::new(paths::STATE_DIR).join("lb-pass.o");
    fs::write(&pass_object, PASS_OBJECT).with_context(|| format!("writing {}", pass_object.display()))?;
    ip_batch(&namespaces_and_links()).context("making namespaces and links")?;
    run_script(ROUTER, &router_script(&pass_object)).context("setting up the router")?;
    for host in &HOSTS {
        run_script(host.name, &host_script(host)).with_context(|| format!("setting up {}", host.name))?;
    }
    Ok(())
}

/// Removes those namespaces of the lab that exist; their links go with them. Says how many there were.
pub(super) fn destroy() -> Result<usize> {
    let existing: Vec<String> = namespaces().filter(|name| paths::namespace(name).exists()).collect();
    if existing.is_empty() {
        return Ok(0);
    }
    let commands: String = existing.iter().map(|name| format!("netns delete {name}\n")).collect();
    ip_batch(&commands).context("removing namespaces")?;
    Ok(existing.len())
}

/// What `ip` makes in the BPF file system, merely because it loads a program, as far as it is not there
/// yet. In the order in which it can be removed.
pub(super) fn loader_folders() -> Vec<PathBuf> {
    let names = ["ip", "xdp", "tc/globals", "tc"].map(|name| Path::new(paths::BPFFS).join(name));
    names.into_iter().filter(|path| fs::symlink_metadata(path).is_err()).collect()
}

/// Processes in the lab's namespaces, whoever started them.
pub(super) fn processes_inside() -> Vec<i32> {
    let Ok(ip) = programs::find("ip") else { return Vec::new() };
    let existing = namespaces().filter(|name| paths::namespace(name).exists());
    let listings = existing.filter_map(|name| Command::new(&ip).args(["netns", "pids", &name]).output().ok());
    let own = i32::try_from(std::process::id()).ok();
    let mut pids = Vec::new();
    for listing in listings {
        let text = String::from_utf8_lossy(&listing.stdout).into_owned();
        pids.extend(text.lines().filter_map(|line| line.trim().parse::<i32>().ok()));
    }
    pids.retain(|pid| Some(*pid) != own);
    pids
}

/// `ip -batch` in the machine's own network.
fn namespaces_and_links() -> String {
    let mut batch = String::new();
    for name in namespaces() {
        let _ = writeln!(batch, "netns add {name}");
    }
    for host in &HOSTS {
        let (port, name, mac) = (host.router_port(), host.name, mac(host));
        let _ = writeln!(
            batch,
            "link add dev {port} netns lab-router type veth peer name eth0 address {mac} netns lab-{name}"
        );
    }
    batch
}

/// A hardware address in which people recognise the host.
fn mac(host: &HostPlan) -> String {
    let third = match host.network {
        Network::Servers => 80,
        Network::Clients => 90,
    };
    format!("02:00:00:{third}:00:{:02}", host.number)
}

/// What runs in a host's namespace.
fn host_script(host: &HostPlan) -> String {
    let mut script = String::from("set -e\n");
    script.push_str(&settings(&["all", "default", "eth0"]));
    if host.name == "client" {
        // Benchmarks open tens of thousands of connections per second from this one address.
        script.push_str(
            "echo '10240 65535' >/proc/sys/net/ipv4/ip_local_port_range\n\
             echo 1 >/proc/sys/net/ipv4/tcp_tw_reuse\n",
        );
    }
    let (ipv4, ipv6) = (host.ipv4(), host.ipv6());
    let (gateway4, gateway6) = (host.network.ipv4(ROUTER_NUMBER), host.network.ipv6(ROUTER_NUMBER));
    let _ = write!(
        script,
        "ethtool -K eth0 tx off >/dev/null\n\
         ip -batch - <<END\n\
         link set lo up\n\
         link set eth0 up\n\
         address add {ipv4}/24 dev eth0\n\
         address add {ipv6}/64 dev eth0 nodad\n\
         route add default via {gateway4}\n\
         route add default via {gateway6}\n\
         END\n"
    );
    if WEBS.contains(&host.name) {
        script.push_str(&direct_script());
    }
    script
}

/// What a backend needs that answers from the VIP itself: `lbctl service guide` says the same.
fn direct_script() -> String {
    let [ipv4, ipv6] = vip(VIP_DIRECT);
    format!(
        "echo 1 >/proc/sys/net/ipv4/conf/all/arp_ignore\n\
         echo 2 >/proc/sys/net/ipv4/conf/all/arp_announce\n\
         ip address add {ipv4}/32 dev lo\n\
         ip address add {ipv6}/128 dev lo nodad\n"
    )
}

/// What runs in the router's namespace.
fn router_script(pass_object: &Path) -> String {
    let mut script = String::from("set -e\n");
    script.push_str(&settings(&["all", "default"]));
    script.push_str(
        "echo 1 >/proc/sys/net/ipv4/ip_forward\n\
         echo 1 >/proc/sys/net/ipv6/conf/all/forwarding\n\
         for f in /proc/sys/net/bridge/bridge-nf-call-*; do [ ! -w $f ] || echo 0 >$f; done\n",
    );
    let ports: Vec<String> = HOSTS.iter().map(HostPlan::router_port).collect();
    let _ = writeln!(script, "for port in {}; do ethtool -K $port tx off >/dev/null; done", ports.join(" "));
    script.push_str("ip -batch - <<END\nlink set lo up\n");
    let _ = writeln!(
        script,
        "link add {BRIDGE} address 02:00:00:80:00:01 type bridge stp_state 0 forward_delay 0 mcast_snooping 0"
    );
    for host in &HOSTS {
        let port = host.router_port();
        if host.network == Network::Servers {
            let _ = writeln!(script, "link set {port} master {BRIDGE}");
        }
        if NODES.contains(&host.name) {
            let _ = writeln!(
                script,
                "link set dev {port} xdpdrv object {} program lb_pass",
                pass_object.display()
            );
        }
        let _ = writeln!(script, "link set {port} up");
    }
    let _ = writeln!(script, "link set {BRIDGE} up");
    for (link, network) in [(BRIDGE, Network::Servers), ("eth-client", Network::Clients)] {
        let _ = writeln!(script, "address add {}/24 dev {link}", network.ipv4(ROUTER_NUMBER));
        let _ = writeln!(script, "address add {}/64 dev {link} nodad", network.ipv6(ROUTER_NUMBER));
    }
    script.push_str("END\n");
    script
}

/// Kernel settings of every namespace: addresses are ours alone to give, and usable at once.
fn settings(links: &[&str]) -> String {
    format!(
        "for c in {}; do\n\
         echo 0 >/proc/sys/net/ipv6/conf/$c/accept_ra\n\
         echo 0 >/proc/sys/net/ipv6/conf/$c/accept_dad\n\
         echo 0 >/proc/sys/net/ipv4/conf/$c/rp_filter\n\
         done\n",
        links.join(" ")
    )
}

fn run_script(host: &str, script: &str) -> Result<()> {
    let mut command = Command::new(programs::find("nsenter")?);
    command.arg(format!("--net={}", paths::namespace(&format!("lab-{host}")).display()));
    command.args(["sh", "-s"]).env("PATH", programs::search_path());
    feed(command, script)
}

fn ip_batch(commands: &str) -> Result<()> {
    let mut command = Command::new(programs::find("ip")?);
    command.args(["-batch", "-"]);
    feed(command, commands)
}

/// Runs a command with `input` on its standard input; a failure shows what it said.
fn feed(mut command: Command, input: &str) -> Result<()> {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let name = PathBuf::from(command.get_program());
    let mut child = command.spawn().with_context(|| format!("running {}", name.display()))?;
    if let Some(mut stdin) = child.stdin.take() {
        // A program that gave up early says why on its error output; that is the better message.
        let _ = stdin.write_all(input.as_bytes());
    }
    let output = child.wait_with_output().with_context(|| format!("waiting for {}", name.display()))?;
    if !output.status.success() {
        let said = [&output.stderr[..], &output.stdout[..]].concat();
        bail!("{} failed ({}): {}", name.display(), output.status, String::from_utf8_lossy(&said).trim());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::addresses::plan;

    #[test]
    fn links_are_born_in_their_namespaces() {
        let batch = namespaces_and_links();
        assert!(batch.contains("netns add lab-db2\n"));
        assert!(batch.contains(
            "link add dev p-lb1 netns lab-router type veth peer name eth0 address 02:00:00:80:00:02 netns lab-lb1\n"
        ));
        assert_eq!(batch.lines().filter(|line| line.starts_with("link add")).count(), HOSTS.len());
    }

    #[test]
    fn every_end_of_every_link_computes_its_checksums() {
        let router = router_script(Path::new("/x.o"));
        for host in &HOSTS {
            assert!(host_script(host).contains("ethtool -K eth0 tx off"));
            assert!(router.contains(&host.router_port()));
        }
        assert!(router.contains("ethtool -K $port tx off"));
    }

    #[test]
    fn only_the_load_balancers_ports_run_xdp() {
        let router = router_script(Path::new("/x.o"));
        let with_xdp: Vec<_> = router.lines().filter(|line| line.contains("xdpdrv")).collect();
        assert_eq!(
            with_xdp,
            [
                "link set dev p-lb1 xdpdrv object /x.o program lb_pass",
                "link set dev p-lb2 xdpdrv object /x.o program lb_pass"
            ]
        );
    }

    #[test]
    fn the_web_servers_have_the_direct_vip_and_do_not_answer_arp_for_it() {
        let web2 = host_script(plan("web2").unwrap());
        assert!(
            web2.contains(
                "ip address add 10.80.0.102/32 dev lo\nip address add fd80::102/128 dev lo nodad\n"
            )
        );
        assert!(web2.contains("arp_ignore"));
        assert!(!host_script(plan("db1").unwrap()).contains("arp_ignore"));
    }

    #[test]
    fn a_host_reaches_the_other_network_through_the_router() {
        let client = host_script(plan("client").unwrap());
        assert!(client.contains("route add default via 10.90.0.1\n"));
        assert!(client.contains("route add default via fd90::1\n"));
        let web1 = host_script(plan("web1").unwrap());
        assert!(
            web1.contains("address add 10.80.0.21/24 dev eth0\naddress add fd80::21/64 dev eth0 nodad\n")
        );
    }
}
