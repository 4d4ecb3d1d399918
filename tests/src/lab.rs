//! The lab: clients, router, load balancers, web servers and databases on one machine.
//!
//! Every host is a network namespace with its own link, addresses and real servers; the names and
//! addresses are fixed (see [`addresses`]) because tests, documents and measurements rely on them.
//! This module owns the life of a lab: [`Lab::up`], what can be asked of a running one, [`Lab::down`].
//! It never touches the network outside the namespaces it made, and ends no process it did not start.
//! There is one lab per machine at a time.

pub mod addresses;
pub mod agents;
mod application;
mod certificates;
pub mod cleanup;
pub mod commands;
pub mod control_groups;
mod databases;
mod dns;
mod folder;
mod host;
mod http;
pub mod interrupt;
mod lock;
mod nginx;
pub mod paths;
pub mod poll;
pub mod processes;
pub mod programs;
mod progress;
pub mod rates;
pub mod state;
mod summary;
mod topology;
mod up;

use std::collections::HashMap;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Child, Command};
use std::sync::Mutex;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use nix::sys::signal::Signal;

pub use host::{Host, stay_on_one_cpu};
pub use http::Response;
pub use progress::Progress;
pub use summary::summary;

use lock::LabLock;
use state::{Setup, StateFile};

/// What a lab is made of. `Options::default()` is everything, found next to the running binary.
#[derive(Debug, Clone)]
pub struct Options {
    /// Start `lbctl agent` on the load balancers.
    pub agents: bool,
    /// Start MariaDB on db1 and db2, and the application servers.
    pub database: bool,
    /// The `lbctl` binary; `None`: next to the running binary.
    pub lbctl: Option<PathBuf>,
    /// The `lab-app` binary; `None`: next to the running binary.
    pub app: Option<PathBuf>,
    /// Where the application servers find their database; `None`: the `db` service, web1 through VIP A
    /// and web2 through VIP B.
    pub app_database: Option<String>,
    /// With agents: VIPs move between them by VRRP, and they share their flows. Off, VIP A is lb1's and VIP B lb2's, for what is about
    /// one node.
    pub failover: bool,
    /// MySQL in place of MariaDB, from the root folder of a system that has it.
    pub mysql: Option<PathBuf>,
    /// Let nginx write access logs (off by default: benchmarks).
    pub access_log: bool,
    /// With agents: return only when the VIPs answer the client.
    pub wait_for_vips: bool,
    /// Where progress goes.
    pub progress: Progress,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            agents: true,
            database: true,
            lbctl: None,
            app: None,
            app_database: None,
            failover: false,
            mysql: None,
            access_log: false,
            wait_for_vips: true,
            progress: Progress::Silent,
        }
    }
}

/// A running lab. Dropping it takes the lab down, unless it was [detached](Lab::detach) or only
/// [attached to](Lab::attach).
#[derive(Debug)]
pub struct Lab {
    state: StateFile,
    setup: Setup,
    /// Held as long as this process owns the lab; its presence means "take it down on drop".
    lock: Mutex<Option<LabLock>>,
    /// Only what this very process started: a parent has to collect its dead.
    children: Mutex<HashMap<i32, Child>>,
}

impl Lab {
    /// Brings the lab up and returns when everything answers. A lab somebody left behind (a crash,
    /// a `kill -9`) is cleaned away first; a lab that is running is an error.
    pub fn up(options: Options) -> Result<Lab> {
        up::up(options)
    }

    /// Connects to the lab that another process started; it stays up when this value is dropped.
    pub fn attach() -> Result<Lab> {
        let state = StateFile::default();
        let Some(found) = state.load()? else {
            bail!("no lab is running; start one with `cargo xtask lab up --detach`");
        };
        Ok(Lab { state, setup: found.setup, lock: Mutex::new(None), children: Mutex::default() })
    }

    /// Leaves everything running and forgets it: the lab then ends with `lab down`.
    pub fn detach(self) -> Result<()> {
        self.state.update(|state| state.detached = true)?;
        if let Ok(mut lock) = self.lock.lock() {
            lock.take();
        }
        Ok(())
    }

    /// Takes everything down: processes, namespaces, pins, files. Doing it twice is harmless.
    pub fn down(&self) -> Result<()> {
        let lock = self.lock.lock().map_err(|_| anyhow!("another thread panicked"))?.take();
        let Some(lock) = lock else { return Ok(()) };
        let cleaned = cleanup::clean(&self.state);
        self.reap();
        drop(lock);
        cleaned.map(|_| ())
    }

    /// How the lab was made.
    pub fn setup(&self) -> &Setup {
        &self.setup
    }

    /// A host by its name, with or without `lab-`. A name that does not exist is a mistake in the test.
    ///
    /// # Panics
    /// When there is no such host.
    pub fn host(&self, name: &str) -> Host {
        match Host::find(name) {
            Ok(host) => host,
            Err(error) => panic!("{error:#}"),
        }
    }

    /// The folder nginx of `web` serves as `/files/`.
    pub fn files_dir(&self, web: &str) -> PathBuf {
        nginx::files_dir(&paths::host_dir(web))
    }

    /// What nginx of `web` was asked, where the lab's options want that written.
    pub fn access_log(&self, web: &str) -> PathBuf {
        paths::host_dir(web).join("access.log")
    }

    /// The lab's certificate authority, for clients of web's port 443.
    pub fn ca_certificate(&self) -> PathBuf {
        certificates::authority_certificate()
    }

    /// The configuration file of the agent on `node` (`lb1` or `lb2`).
    pub fn agent_config_path(&self, node: &str) -> PathBuf {
        agents::config_path(node)
    }

    /// Reads the configuration file of the agent on `node`.
    pub fn agent_config(&self, node: &str) -> Result<String> {
        let path = agents::config_path(node);
        std::fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))
    }

    /// Replaces the configuration file of the agent on `node`, atomically; the agent is not told.
    pub fn write_agent_config(&self, node: &str, text: &str) -> Result<()> {
        state::replace_file(&agents::config_path(node), text.as_bytes())
    }

    /// The control socket of the agent on `node`.
    pub fn agent_socket(&self, node: &str) -> PathBuf {
        agents::socket_path(node)
    }

    /// `GET path` on the control socket of the agent on `node`.
    pub fn agent_get(&self, node: &str, path: &str) -> Result<Response> {
        http::get_over_unix_socket(&agents::socket_path(node), path)
    }

    /// `lbctl` speaking to the agent on `node`, to which the caller adds arguments.
    pub fn lbctl(&self, node: &str) -> Result<Command> {
        let binary = self.setup.lbctl.as_ref().context("this lab was started without an lbctl binary")?;
        let mut command = Command::new(binary);
        command.arg("--socket").arg(agents::socket_path(node));
        Ok(command)
    }

    /// Starts the agent on `node` and waits until its control socket answers.
    pub fn start_agent(&self, node: &str) -> Result<()> {
        let binary = self.setup.lbctl.as_ref().context("this lab was started without an lbctl binary")?;
        agents::start(self, node, binary)?;
        agents::wait_until_ready(self, node)
    }

    /// What the agent on `node` has logged.
    pub fn agent_log(&self, node: &str) -> Result<String> {
        let path = processes::log_path(node, agents::PROCESS);
        std::fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))
    }

    /// Sends `signal` to the agent on `node`; for one that ends processes, waits until it has ended.
    pub fn kill_agent(&self, node: &str, signal: Signal) -> Result<()> {
        self.end_process(node, agents::PROCESS, signal)
    }

    /// Starts nginx on `web` and waits until it answers.
    pub fn start_nginx(&self, web: &str) -> Result<()> {
        nginx::start(self, web)?;
        nginx::wait_until_ready(self, web)
    }

    /// Sends `signal` to nginx on `web` (SIGKILL: to its workers too); for one that ends processes,
    /// waits until it has ended.
    pub fn kill_nginx(&self, web: &str, signal: Signal) -> Result<()> {
        self.end_process(web, nginx::PROCESS, signal)
    }

    /// Runs statements as the administrator of the server on `db`; what they print, without headings.
    pub fn database_query(&self, db: &str, sql: &str) -> Result<String> {
        databases::query(db, sql)
    }

    /// Waits until the replica has what the primary has now.
    pub fn replicate(&self) -> Result<()> {
        databases::replicate(self)
    }

    /// Starts the server on `db` (`db1` or `db2`) with the data it has, and waits until it answers.
    pub fn start_database(&self, db: &str) -> Result<()> {
        databases::start(self, db)?;
        databases::wait_until_ready(self, db)
    }

    /// Sends `signal` to the server on `db`; for one that ends processes, waits until it has ended.
    pub fn kill_database(&self, db: &str, signal: Signal) -> Result<()> {
        self.end_process(db, databases::Kind::of(&self.setup).process(), signal)
    }

    /// A MariaDB command line client for `db` (`db1` or `db2`), as root, to which the caller adds
    /// for example `-e "SELECT 1"`.
    pub fn mariadb(&self, db: &str) -> Command {
        databases::client(db)
    }

    /// An agent has taken the place of the one that runs on `node`, and is that process. Tells when the old one has ended.
    pub fn follow_upgrade(&self, node: &str, pid: i32) -> Result<impl Fn() -> bool + use<'_>> {
        let old = self.record(node, "agent")?;
        let id = processes::ProcessId::of(pid).with_context(|| format!("the new agent of {node} is gone"))?;
        self.state.update(|state| {
            let known = state.processes.iter_mut().find(|record| record.id == old.id);
            known.into_iter().for_each(|record| record.name = "old agent".to_owned());
            state.processes.push(state::ProcessRecord { id, ..old.clone() });
        })?;
        Ok(move || {
            self.reap();
            !old.id.is_alive()
        })
    }

    /// The process id of a server, for example `("web1", "nginx")` or `("lb1", "agent")`.
    pub fn process_id(&self, host: &str, name: &str) -> Result<i32> {
        Ok(self.record(host, name)?.id.pid)
    }

    /// Waits until both VIPs answer the client, over IPv4 and IPv6, and with a database until the
    /// application reaches it.
    pub fn wait_until_serving(&self, within: Duration) -> Result<()> {
        up::wait_until_serving(self, within)
    }

    fn end_process(&self, host: &str, name: &str, signal: Signal) -> Result<()> {
        let record = self.record(host, name)?;
        processes::send(&record.id, signal)
            .with_context(|| format!("sending {signal} to {name} on {host}"))?;
        if !matches!(signal, Signal::SIGTERM | Signal::SIGINT | Signal::SIGQUIT | Signal::SIGKILL) {
            return Ok(());
        }
        let ended = poll::wait(Duration::from_secs(15), || {
            self.reap();
            !record.id.is_alive() && (signal != Signal::SIGKILL || processes::group_has_ended(&record.id))
        });
        if !ended {
            let (pid, doing) = (record.id.pid, processes::what_it_does(&record.id));
            let said = processes::last_lines(&record.log);
            bail!("{name} on {host} (pid {pid}) still runs 15 s after {signal}: {doing}{said}");
        }
        self.state.update(|state| state.processes.retain(|other| other.id != record.id))
    }

    fn record(&self, host: &str, name: &str) -> Result<state::ProcessRecord> {
        let state = self.state.load()?.context("the lab has been taken down")?;
        let host = host.strip_prefix("lab-").unwrap_or(host);
        let found = state.processes.iter().rfind(|record| record.host == host && record.name == name);
        found.cloned().with_context(|| format!("{name} was not started on {host}"))
    }

    /// Collects children that have ended, so that they do not stay as zombies.
    fn reap(&self) {
        if let Ok(mut children) = self.children.lock() {
            children.retain(|_, child| !matches!(child.try_wait(), Ok(Some(_))));
        }
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        if let Err(error) = self.down() {
            // The terminal may be gone; a failing print must not become a panic while dropping.
            let _ = writeln!(std::io::stderr(), "lab: not everything could be taken down: {error:#}");
        }
    }
}
