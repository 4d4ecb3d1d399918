//! Bringing a lab up, step by step, each step waiting until what it started answers.

use std::collections::HashMap;
use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Mutex;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::addresses::{NODES, VIP_A, VIP_B, VIP_DIRECT, namespaces, vip};
use super::databases::{Kind, Preparation};
use super::lock::LabLock;
use super::state::{Setup, State, StateFile};
use super::{
    Host, Lab, Options, Progress, agents, application, certificates, cleanup, dns, folder, http, interrupt,
    nginx, poll, processes, programs, topology,
};

/// See [`Lab::up`].
pub(super) fn up(options: Options) -> Result<Lab> {
    require_root()?;
    programs::check(options.database)?;
    let lock = take_lock()?;
    let setup = setup(&options)?;
    let state = StateFile::default();
    clean_up_first(&state, options.progress)?;
    // From here on, whatever fails, dropping this takes away what stands.
    let lab = Lab {
        state,
        setup: setup.clone(),
        lock: Mutex::new(Some(lock)),
        children: Mutex::new(HashMap::new()),
    };
    folder::create()?;
    let mut initial = State::new(setup)?;
    initial.namespaces = namespaces().collect();
    initial.leftovers = topology::loader_folders();
    lab.state.save(&initial)?;
    // After `lab`, so that on failure this ends before the folders are removed.
    let databases = if options.database { Some(Preparation::start(Kind::of(&lab.setup))?) } else { None };
    bring_up(&lab, &options, databases)?;
    lab.state.update(|state| state.ready = true)?;
    Ok(lab)
}

fn bring_up(lab: &Lab, options: &Options, databases: Option<Preparation>) -> Result<()> {
    let step = Steps(options.progress);
    step.run("namespaces, links, addresses, routes", topology::create)?;
    step.run("a certificate authority and a certificate", certificates::create)?;
    step.run("nginx on web1 and web2", || nginx::start_all(lab))?;
    step.run("dnsmasq on web1 and web2", || dns::start_all(lab))?;
    agents::prepare(lab)?;
    if let (true, Some(lbctl)) = (options.agents, lab.setup().lbctl.as_ref()) {
        step.run("agents on lb1 and lb2", || {
            NODES.iter().try_for_each(|node| agents::start(lab, node, lbctl))?;
            NODES.iter().try_for_each(|node| agents::wait_until_ready(lab, node))
        })?;
    }
    if let Some(databases) = databases {
        step.run("folders of the databases (begun meanwhile)", || databases.finish())?;
        let name = Kind::of(lab.setup()).name();
        step.run(&format!("{name}: primary on db1, replica on db2"), || {
            super::databases::start_all(lab)?;
            super::databases::set_up(lab)
        })?;
        step.run("application servers on web1 and web2", || application::start_all(lab))?;
    }
    if options.wait_for_vips && options.agents {
        step.run("all VIPs answer the client", || wait_until_serving(lab, Duration::from_secs(20)))?;
    }
    Ok(())
}

/// Steps that stop when the process was asked to.
struct Steps(Progress);

impl Steps {
    fn run<T>(&self, what: &str, work: impl FnOnce() -> Result<T>) -> Result<T> {
        interrupt::check()?;
        let done = self.0.step(what, work);
        interrupt::check()?;
        done.with_context(|| format!("the lab could not be brought up: {what}"))
    }
}

/// See [`Lab::wait_until_serving`].
pub(super) fn wait_until_serving(lab: &Lab, within: Duration) -> Result<()> {
    let client = Host::find("client")?;
    for address in [vip(VIP_A), vip(VIP_B), vip(VIP_DIRECT)].concat() {
        let address = SocketAddr::new(address, 80);
        poll::until(&format!("http://{address}/healthz answers the client"), within, || {
            NODES.iter().try_for_each(|node| processes::check_alive(lab, node, agents::PROCESS))?;
            client.inside(|| http::expect_ok(http::get(address, "/healthz")?).map(drop))?
        })?;
    }
    if lab.setup().database { application::wait_until_working(lab, within) } else { Ok(()) }
}

/// An error that says what to do when this process lacks the rights.
pub(super) fn require_root() -> Result<()> {
    if nix::unistd::geteuid().is_root() {
        return Ok(());
    }
    bail!("the lab makes network namespaces, which needs root; use sudo")
}

fn setup(options: &Options) -> Result<Setup> {
    let binary = |given: &Option<PathBuf>, name: &str| match given {
        Some(path) => fs::canonicalize(path).with_context(|| format!("finding {}", path.display())),
        None => programs::sibling(name),
    };
    let lbctl = match binary(&options.lbctl, "lbctl") {
        Ok(path) => Some(path),
        Err(error) if options.agents => return Err(error),
        Err(_) => None,
    };
    Ok(Setup {
        database: options.database,
        agents: options.agents,
        failover: options.failover,
        access_log: options.access_log,
        mysql: options.mysql.as_ref().map(fs::canonicalize).transpose().context("finding MySQL")?,
        lbctl,
        app: if options.database { Some(binary(&options.app, "lab-app")?) } else { None },
        app_database: options.app_database.clone(),
    })
}

/// Takes the lock, or says who has it. A detached lab has no owner that could hold it.
fn take_lock() -> Result<LabLock> {
    let state = StateFile::default().load().unwrap_or_default();
    let Some(lock) = LabLock::try_take()? else {
        let owner = state.map(|state| format!(" (process {})", state.owner.pid)).unwrap_or_default();
        bail!("a lab is running already{owner}; end it with Ctrl-C there or with `cargo xtask lab down`");
    };
    if state.is_some_and(|state| state.is_running_detached()) {
        bail!("a lab is running already, in the background; end it with `cargo xtask lab down`");
    }
    Ok(lock)
}

fn clean_up_first(state: &StateFile, progress: Progress) -> Result<()> {
    if cleanup::anything_left() {
        progress.note("an earlier lab was not taken down");
        progress.step("cleaning up what it left", || cleanup::clean(state))?;
    }
    Ok(())
}
