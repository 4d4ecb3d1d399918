//! Real keepalived on a host of the lab: the other node of a pair, or both, to be measured against.

use crate::lab::{Lab, poll};
use anyhow::{Context as _, Result, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs::File;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::time::Duration;
use tempfile::TempDir;

const PATIENCE: Duration = Duration::from_secs(15);

/// Names the root folder of another system, whose keepalived is run instead of this one's.
const ROOT_VARIABLE: &str = "LBCTL_KEEPALIVED_ROOT";

/// What it is told: an instance for each address.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The virtual addresses, one of each family at most.
    pub addresses: Vec<IpAddr>,
    /// The virtual router's id.
    pub id: u8,
    /// How much this node is wanted.
    pub priority: u8,
    /// Seconds between two advertisements, as keepalived writes them.
    pub interval: &'static str,
    /// `MASTER` or `BACKUP`: what it begins as.
    pub state: &'static str,
}

/// A running keepalived. Dropped, it is killed.
pub struct Keepalived {
    child: Child,
    folder: TempDir,
    host: String,
    addresses: Vec<IpAddr>,
}

impl Keepalived {
    /// Starts it.
    pub fn start(lab: &Lab, host: &str, settings: &Settings) -> Result<Self> {
        let root = std::env::var_os(ROOT_VARIABLE).map(PathBuf::from);
        let folder = match &root {
            Some(root) => tempfile::tempdir_in(root.join("tmp"))?,
            None => tempfile::tempdir()?,
        };
        // Where keepalived finds a file of that folder.
        let place = |name: &str| -> Result<String> {
            let path = folder.path().join(name);
            let seen = match &root {
                Some(root) => Path::new("/").join(path.strip_prefix(root)?),
                None => path,
            };
            Ok(seen.display().to_string())
        };
        let Settings { addresses, id, priority, interval, state } = settings;
        let instances: String = addresses
            .iter()
            .map(|vip| {
                let (name, bits) = if vip.is_ipv4() { ("v4", 32) } else { ("v6", 128) };
                format!(
                    "vrrp_instance {name} {{\n state {state}\n interface eth0\n virtual_router_id {id}\n priority {priority}\n \
                     advert_int {interval}\n version 3\n virtual_ipaddress {{\n  {vip}/{bits} dev eth0\n }}\n}}\n"
                )
            })
            .collect();
        let config = folder.path().join("keepalived.conf");
        std::fs::write(&config, format!("global_defs {{\n vrrp_version 3\n}}\n{instances}"))?;
        let log = File::create(folder.path().join("log"))?;
        let mut command = match &root {
            Some(root) => {
                let mut command = lab.host(host).command("chroot");
                command.arg(root).arg("keepalived");
                command
            }
            None => lab.host(host).command("keepalived"),
        };
        // In the foreground, VRRP alone, its words on the console.
        command.args(["-n", "-l", "-D", "-P", "-f", &place("keepalived.conf")?]);
        command.args(["-p", &place("pid")?, "-r", &place("vrrp.pid")?]);
        let child = command.stdout(log.try_clone()?).stderr(log).spawn().context("keepalived")?;
        Ok(Self { child, folder, host: host.to_owned(), addresses: addresses.clone() })
    }

    fn log(&self) -> Result<String> {
        Ok(std::fs::read_to_string(self.folder.path().join("log"))?)
    }

    /// Waits until it has said so often, or more, that it enters a state: once for each family and time.
    pub fn expect(&self, state: &str, times: usize) -> Result<()> {
        poll::until(&format!("keepalived enters {state} {times} times"), PATIENCE, || {
            let log = self.log()?;
            let said = log.lines().filter(|line| line.contains(&format!("Entering {state}"))).count();
            ensure!(said >= times, "{said} times:\n{log}");
            Ok(())
        })
    }

    /// Ends it in order: it says that it leaves.
    pub fn stop(mut self) -> Result<()> {
        kill(Pid::from_raw(i32::try_from(self.child.id())?), Signal::SIGTERM)?;
        self.child.wait()?;
        Ok(())
    }

    /// Kills all of it. The addresses stay where they are.
    pub fn kill_alone(mut self) {
        self.kill_all();
    }

    /// Kills all of it, and takes away the addresses that it leaves, as if its machine had gone.
    pub fn kill(mut self, lab: &Lab) -> Result<()> {
        self.kill_all();
        for vip in &self.addresses.clone() {
            let bits = if vip.is_ipv4() { 32 } else { 128 };
            let mut command = lab.host(&self.host).command("ip");
            let status = command.args(["addr", "del", &format!("{vip}/{bits}"), "dev", "eth0"]).status()?;
            ensure!(status.success(), "{vip} was not there");
        }
        Ok(())
    }

    /// The child first, while the parent, which would start another, cannot; a child whose parent is gone would end in order.
    fn kill_all(&mut self) {
        let child = std::fs::read_to_string(self.folder.path().join("vrrp.pid"));
        let child = child.ok().and_then(|text| text.trim().parse().ok());
        let signal = |pid: i32, signal| {
            // Gone already is as good.
            let _ = kill(Pid::from_raw(pid), signal);
        };
        if let (Ok(parent), Some(child)) = (i32::try_from(self.child.id()), child) {
            signal(parent, Signal::SIGSTOP);
            signal(child, Signal::SIGKILL);
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Keepalived {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            self.kill_all();
        }
    }
}
