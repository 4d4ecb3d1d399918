//! The namespace that the program's routing look-ups are answered in, and the folder of its pins.
//!
//! Owns both: made by [`Environment::enter`], gone when dropped, also after a panic. Whoever enters stays
//! in the namespace, so it takes a thread of its own. Never touches the host's own interfaces.

use super::scene::{NARROW_MTU, Port, SCENES, Scene};
use anyhow::{Context as _, Result, ensure};
use lb_user::io::dataplane::detach;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

const PREFIX: &str = "lbctl-test-";
const BPF_FS: &str = "/sys/fs/bpf";
const NAMESPACES: &str = "/run/netns";

static NEXT: AtomicU32 = AtomicU32::new(0);

pub(crate) struct Environment {
    name: String,
}

impl Environment {
    /// Makes a namespace with the scene in it and takes the calling thread there.
    pub(crate) fn enter() -> Result<Self> {
        ensure!(nix::unistd::geteuid().is_root(), "packet cases need root: they load a BPF program");
        mount_bpf_fs()?;
        let process = std::process::id();
        remove_leftovers();
        let environment =
            Self { name: format!("{PREFIX}{process}-{}", NEXT.fetch_add(1, Ordering::Relaxed)) };
        run(&format!("ip netns add {}", environment.name))?;
        let path = Path::new(NAMESPACES).join(&environment.name);
        let file = fs::File::open(&path).with_context(|| path.display().to_string())?;
        nix::sched::setns(&file, nix::sched::CloneFlags::CLONE_NEWNET).context("entering the namespace")?;
        run("ip link set lo up")?;
        for port in Port::ALL {
            make_port(port)?;
        }
        for scene in SCENES {
            make_network(scene)?;
        }
        Ok(environment)
    }

    /// Where the dataplane under test pins its maps.
    pub(crate) fn pin_dir(&self) -> PathBuf {
        Path::new(BPF_FS).join(&self.name)
    }

    /// The index of an interface.
    pub(crate) fn ifindex(&self, port: Port) -> Result<u32> {
        nix::net::if_::if_nametoindex(port.name()).with_context(|| port.name())
    }
}

impl Drop for Environment {
    fn drop(&mut self) {
        remove(&self.name);
    }
}

/// Best effort: what stays is taken away by the next run.
fn remove(name: &str) {
    let _ = detach(&Path::new(BPF_FS).join(name), false);
    if Path::new(NAMESPACES).join(name).exists() {
        let _ = run(&format!("ip netns del {name}"));
    }
}

/// Takes away what tests left that were killed.
fn remove_leftovers() {
    for folder in [NAMESPACES, BPF_FS] {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let owner = name.strip_prefix(PREFIX).and_then(|rest| rest.split_once('-'));
            if owner.is_some_and(|(process, _)| !Path::new("/proc").join(process).exists()) {
                remove(&name);
            }
        }
    }
}

fn mount_bpf_fs() -> Result<()> {
    use nix::sys::statfs::{BPF_FS_MAGIC, statfs};
    if statfs(BPF_FS).context(BPF_FS)?.filesystem_type() == BPF_FS_MAGIC {
        return Ok(());
    }
    run(&format!("mount -t bpf bpf {BPF_FS}"))
}

fn run(line: &str) -> Result<()> {
    let mut words = line.split_whitespace();
    let output = Command::new(words.next().unwrap_or_default()).args(words).output();
    let output = output.with_context(|| format!("cannot run `{line}`"))?;
    ensure!(output.status.success(), "`{line}`: {}", String::from_utf8_lossy(&output.stderr).trim());
    Ok(())
}

fn sysctl(key: &str, value: &str) -> Result<()> {
    let path = format!("/proc/sys/net/{key}");
    fs::write(&path, value).with_context(|| path)
}

fn mac_text(mac: [u8; 6]) -> String {
    mac.map(|byte| format!("{byte:02x}")).join(":")
}

fn make_port(port: Port) -> Result<()> {
    let name = port.name();
    run(&format!(
        "ip link add {name} mtu 9000 address {} type veth peer name {name}-peer mtu 9000",
        mac_text(port.mac())
    ))?;
    let forwarding = if port == Port::Dark { "0" } else { "1" };
    for family in ["ipv4", "ipv6"] {
        sysctl(&format!("{family}/conf/{name}/forwarding"), forwarding)?;
    }
    run(&format!("ip link set {name}-peer up"))?;
    run(&format!("ip link set {name} up"))
}

fn make_network(scene: Scene) -> Result<()> {
    let (length, whole) = if scene.v6 { (64, 128) } else { (24, 32) };
    // An address that is still looked for elsewhere would not be used.
    let at_once = if scene.v6 { "nodad" } else { "" };
    run(&format!("ip addr add {}/{length} dev lan {at_once}", scene.node()))?;
    run(&format!("ip addr add {}/{length} dev far {at_once}", scene.far_node()))?;
    let neighbours = [scene.router(), scene.web(1), scene.web(2), scene.web(3), scene.far(), scene.narrow()];
    for host in neighbours {
        let (mac, port) = (mac_text(host.mac), host.port.name());
        run(&format!("ip neigh add {} lladdr {mac} dev {port} nud permanent", host.address))?;
    }
    run(&format!("ip route add {}/{whole} via {} dev lan", scene.client(), scene.router().address))?;
    // IPv4 heeds a route's MTU in forwarding only where it is locked.
    let narrow = scene.narrow().address;
    run(&format!("ip route add {narrow}/{whole} dev lan mtu lock {NARROW_MTU}"))?;
    run(&format!("ip route add unreachable {}/{whole}", scene.refused().address))
}
