//! One host of the lab, as seen from outside: run a program on it, or a piece of this program.

use std::fs::File;
use std::process::Command;

use anyhow::{Context, Result, anyhow, bail};
use nix::sched::{CloneFlags, CpuSet, sched_setaffinity, setns};
use nix::unistd::Pid;

use super::{addresses, agents, paths, programs};

/// A host, that is, a network namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Host {
    name: String,
}

impl Host {
    /// Finds a host by its name, with or without `lab-`.
    pub fn find(name: &str) -> Result<Host> {
        let short = name.strip_prefix("lab-").unwrap_or(name);
        let full = format!("lab-{short}");
        if addresses::namespaces().all(|known| known != full) {
            let known: Vec<_> = addresses::namespaces().collect();
            bail!("no host is called `{name}`; there are {} (`lab-` may be left out)", known.join(", "));
        }
        Ok(Host { name: short.to_owned() })
    }

    /// The name without `lab-`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The name of the network namespace.
    pub fn namespace(&self) -> String {
        format!("lab-{}", self.name)
    }

    /// A command that will run on this host. Only the network is the host's; files and processes are
    /// this machine's (`ip netns exec` would hide the pins of the BPF file system).
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net={}", paths::namespace(&self.namespace()).display())).arg(program);
        command.env("PATH", programs::search_path());
        if addresses::NODES.contains(&self.name.as_str()) {
            command.env("LBCTL_SOCKET", agents::socket_path(&self.name));
        }
        command
    }

    /// Does `work` with this host's network: sockets it opens belong to the host, also later and
    /// from other threads. `work` runs on a thread of its own; threads it starts inherit the network.
    pub fn inside<T: Send>(&self, work: impl FnOnce() -> T + Send) -> Result<T> {
        let path = paths::namespace(&self.namespace());
        let namespace =
            File::open(&path).with_context(|| format!("opening {}; is the lab up?", path.display()))?;
        std::thread::scope(|scope| {
            let worker = scope.spawn(move || {
                setns(&namespace, CloneFlags::CLONE_NEWNET)
                    .context("entering the namespace; this needs root")?;
                Ok(work())
            });
            worker.join().map_err(|_| anyhow!("what ran inside lab-{} panicked", self.name))?
        })
    }
}

/// Keeps this thread on one CPU, and with it the packets that it sends over the lab's links. Linux answers with RST when
/// the ACK of a handshake and the data after it reach a listener on two CPUs at the same moment (the request is out of
/// its hash table, the connection not yet in). Network cards keep a connection's packets in one queue; veth does not.
pub fn stay_on_one_cpu(number: usize) -> Result<()> {
    let mut cpus = CpuSet::new();
    cpus.set(number % std::thread::available_parallelism()?.get())?;
    Ok(sched_setaffinity(Pid::from_raw(0), &cpus)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_found_with_and_without_its_prefix() {
        assert_eq!(Host::find("web1").unwrap(), Host::find("lab-web1").unwrap());
        assert_eq!(Host::find("router").unwrap().namespace(), "lab-router");
    }

    #[test]
    fn an_unknown_host_is_answered_with_the_known_ones() {
        let error = Host::find("web3").unwrap_err().to_string();
        assert!(error.contains("`web3`") && error.contains("lab-web2"), "{error}");
    }

    #[test]
    fn a_command_on_a_load_balancer_speaks_to_its_own_agent() {
        let command = Host::find("lb2").unwrap().command("lbctl");
        let socket = command.get_envs().find(|(name, _)| *name == "LBCTL_SOCKET");
        assert_eq!(socket.and_then(|(_, value)| value), Some("/run/lbctl/lb2.sock".as_ref()));
    }
}
