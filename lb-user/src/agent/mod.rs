//! The agent: the single owner of the node's state.
//!
//! One task, one loop: events come in (commands, check results, sweeps, signals, ticks), effects go out
//! (steps to the dataplane, addresses to interfaces, files, answers). Nothing else holds state; who wants to
//! know something or to change something sends a command. When the agent ends, the kernel
//! dataplane goes on as it is.

mod acme;
mod certificates;
mod change;
mod checks;
mod confinement;
mod connections;
mod dropped;
mod explain;
mod firewall;
mod flood;
mod host;
mod journal;
mod logging;
mod metrics;
mod mysql;
mod notify;
mod probe;
mod proxying;
mod serving;
mod spec;
mod state;
mod sweeping;
mod sync;
mod tick;
mod trace;
mod track;
mod uniqueness;
mod upgrade;
mod view;
mod vips;
mod vrrp;

pub use confinement::Floor;
pub use uniqueness::UniquenessError;

use crate::api::server::{Context, Policy};
use crate::api::{Event, EventKind};
use crate::config::{Config, LoadError};
use crate::core::plan::firewall::Ruleset;
use crate::io::confine::{ConfineError, Confinement};
use crate::io::dataplane::{self, Dataplane, DataplaneError, Options};
use crate::io::hand_over::Listeners;
use crate::io::interface::{InterfaceError, Interfaces, enable_forwarding};
use crate::io::log::{LogControl, LogError, LogWritten};
use crate::io::proxy::{Proxy, ProxyEvent};
use crate::io::return_routes::{self, ReturnRoutes};
use crate::io::vrrp::VirtualRouters;
use serving::{Held, Inputs, Only, Places, SocketFile, serve_until_the_end};
use state::Agent;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::sync::{broadcast, mpsc};
use tracing::{error, info, warn};
use upgrade::Successor;

/// Why the agent could not start or had to end.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// The configuration.
    #[error(transparent)]
    Config(#[from] LoadError),
    /// The dataplane.
    #[error(transparent)]
    Dataplane(#[from] DataplaneError),
    /// An interface.
    #[error(transparent)]
    Interface(#[from] InterfaceError),
    /// Another agent.
    #[error(transparent)]
    Uniqueness(#[from] UniquenessError),
    /// The configured group is not there.
    #[error(
        "control.group: there is no group {0} on this machine; make it with `groupadd --system {0}`, or leave it out"
    )]
    NoGroup(String),
    /// What is wanted does not fit.
    #[error(transparent)]
    Plan(#[from] crate::core::plan::PlanError),
    /// The firewall's rules.
    #[error("firewall: {0}")]
    Firewall(#[from] crate::io::dataplane::FirewallError),
    /// A rule's file of prefixes.
    #[error("{}", file_words(&.0.to_string()))]
    PrefixFile(#[from] crate::io::prefix_file::PrefixFileError),
    /// The files of TLS.
    #[error("{0}")]
    TlsFiles(String),
    /// Taking the place of an agent whose maps are others.
    #[error(
        "this program has other maps than the one that runs: its flows would be lost; stop that agent, which lets other nodes have the VIPs, and start this one"
    )]
    OtherMaps,
    /// The log.
    #[error(transparent)]
    Log(#[from] LogError),
    /// What whoever starts the agent does not let its file say.
    #[error("{0}")]
    Floor(String),
    /// A folder that the agent needs.
    #[error("{path}: {cause}")]
    Folder {
        /// Which.
        path: PathBuf,
        /// Why it is not there.
        cause: std::io::Error,
    },
    /// Giving up rights.
    #[error(transparent)]
    Confine(#[from] ConfineError),
    /// Sharing flows.
    #[error(transparent)]
    Sync(#[from] crate::io::sync::SyncError),
    /// The operating system refused something basic.
    #[error("{what}: {cause}")]
    System {
        /// What was tried.
        what: &'static str,
        /// Why it failed.
        cause: std::io::Error,
    },
}

const COMMANDS_WAITING: usize = 64;
const EVENTS_WAITING: usize = 256;
/// How often counters, rates and slow starts move on.
const TICK: Duration = Duration::from_secs(1);

/// The dataplane options that a configuration asks for.
pub fn dataplane_options(config: &Config) -> Options {
    Options {
        pin_dir: config.dataplane.pin_dir.clone(),
        interfaces: config.node.interfaces.clone(),
        attach: config.node.attach,
        established_flows: config.dataplane.established_flows,
        embryonic_flows: config.dataplane.embryonic_flows,
        limited_sources: config.dataplane.limited_sources,
        prefixes: config.dataplane.prefixes,
        nat_ports: config.node.nat_ports,
        syn_cookies: config.dataplane.syn_cookies,
    }
}

/// An agent that has given up what it does not need, and may have threads.
pub struct Prepared {
    config_file: PathBuf,
    text: String,
    config: Config,
    policy: Policy,
    log: LogControl,
    confinement: Confinement,
    floor: Floor,
    /// Unless it takes another agent's place.
    claim: Option<uniqueness::Claim>,
}

/// Reads the file, gives up rights, and begins the log, which is written to its end when what comes back is dropped. To be called before there are
/// threads: rights are a thread's, and those that come later have no more.
///
/// # Errors
/// The configuration is wrong, or this machine does not have what it wants.
pub fn prepare(config_file: &Path, floor: Floor) -> Result<(Prepared, LogWritten), AgentError> {
    let text = std::fs::read_to_string(config_file)
        .map_err(|cause| LoadError::Read { path: config_file.to_owned(), cause })?;
    let config = Config::parse(&text, &config_file.display().to_string()).map_err(LoadError::from)?;
    floor.allows(&config).map_err(AgentError::Floor)?;
    host::allow_open_files();
    let policy = policy(&config)?;
    let (confinement, claim) = confinement::give_up(&config, config_file, &policy, &floor)?;
    // After that: what writes it is a thread.
    let (log, written) = LogControl::start(&config.log.level, config.log.format)?;
    confinement::tell(&confinement, &config);
    let config_file = config_file.to_owned();
    Ok((Prepared { config_file, text, config, policy, log, confinement, floor, claim }, written))
}

/// Runs the agent until a signal ends it.
///
/// # Errors
/// See [`AgentError`].
pub async fn run(prepared: Prepared) -> Result<(), AgentError> {
    let Prepared { config_file, text, config, policy, log, confinement, floor, claim } = prepared;
    let successor = Successor::inherited()?;
    let listeners =
        successor.as_ref().map_or_else(|| Ok(Default::default()), |one| one.take_listeners(&config))?;
    let places = Places::of(&config);
    let claim = match claim {
        Some(claim) => claim,
        None => places.claim()?,
    };
    // After the claim, so that it is about our own pins and goes while they are still ours.
    let mut new_pins = NewPins::of(&config.dataplane.pin_dir);
    let interfaces = Interfaces::open()?;
    let mut host_warnings = host::warnings(&config.node);
    prepare_interfaces(&interfaces, &config).await?;
    let (dataplane, mut report) = Dataplane::load(&dataplane_options(&config))?;
    report.warnings.append(&mut host_warnings);
    let listener = uniqueness::listen(&config.control.socket, &policy)?;
    let socket = SocketFile(Some(config.control.socket.clone()));

    let (events, _) = broadcast::channel(EVENTS_WAITING);
    let (sweeper, sweeps) = sweeping::spawn(dataplane.sweeper()?, &config)?;
    let refusals = dataplane.refusals()?;
    let (results, check_results) = mpsc::channel(EVENTS_WAITING);
    let (trace_ended, traces_ended) = mpsc::channel(1);
    let mut lease = dataplane.lease()?;
    let renew = move |lasts| {
        if let Err(error) = lease.renew(lasts) {
            error!(%error, "the lease of this node's VIPs was not renewed");
        }
    };
    let (virtual_routers, decisions) = VirtualRouters::spawn(crate::io::urgency::raise, Box::new(renew))
        .map_err(|cause| AgentError::System { what: "starting the thread for VRRP", cause })?;
    let (found, sync_events) = mpsc::unbounded_channel();
    let syncing = upgrade::share_flows(&config, &dataplane, found, successor.as_ref()).await?;
    let (found, tracked) = mpsc::channel(EVENTS_WAITING);
    let tracking = track::Tracking::new(found);
    let (failed, failures) = mpsc::unbounded_channel();
    let notifier = notify::Notifier::spawn(failed.clone());
    let return_routes = ReturnRoutes::spawn(failed.clone());
    let (proxy, proxy_events) = spawn_proxy(listeners)?;
    let (commands, commands_in) = mpsc::channel(COMMANDS_WAITING);
    let journal = journal::Journal::new(events.clone());
    let context = Context { commands, events, policy };
    let metrics = metrics::MetricsEndpoint::new(context.clone());
    let (issuing, acme_events) = acme::Issuing::new(&config);
    let (databases, looks) = mysql::Databases::new();
    let mut agent = Agent::new(
        config_file,
        text,
        config,
        dataplane,
        interfaces,
        sweeper,
        results,
        trace_ended,
        virtual_routers,
        syncing,
        tracking,
        notifier,
        proxy,
        return_routes,
        issuing,
        databases,
        metrics,
        (journal, log),
        (confinement, floor),
    );
    agent.start(report).await?;
    new_pins.keep();
    let inputs = Inputs {
        commands_in,
        check_results,
        sweeps,
        refusals,
        traces_ended,
        decisions,
        sync_events,
        tracked,
        failures,
        proxy_events,
        acme_events,
        looks,
    };
    let held = Held { places, only: Some(Only { claim, listener }), socket, failures: failed };
    serve_until_the_end(agent, inputs, context, held).await
}

/// Interfaces must be there, and let packets through.
async fn prepare_interfaces(interfaces: &Interfaces, config: &Config) -> Result<(), AgentError> {
    for interface in &config.node.interfaces {
        interfaces.addresses(interface).await?;
        enable_forwarding(interface)?;
    }
    Ok(())
}

/// A proxy with a thread for each CPU.
fn spawn_proxy(listeners: Listeners) -> Result<(Proxy, mpsc::Receiver<ProxyEvent>), AgentError> {
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let system = |cause| AgentError::System { what: "starting the proxy's threads", cause };
    Proxy::spawn(threads, listeners).map_err(system)
}

/// What is wrong with a file of prefixes, and the way out.
fn file_words(error: &str) -> String {
    format!("firewall: {error}; mend the file, or take its rule out")
}

/// Reads the files of prefixes that a configuration's rules name, and throws them away: are they right?
pub fn check_prefix_files(config: &Config) -> Result<(), crate::io::prefix_file::PrefixFileError> {
    firewall::read_rules(config, firewall::Files::Read, &Ruleset::default()).map(drop)
}

/// Reads the files of TLS that a configuration names, and throws them away: are they right?
///
/// # Errors
/// What is wrong with which, in words.
pub fn check_tls_files(config: &Config) -> Result<(), String> {
    certificates::check_files(config)
}

/// Takes the program, its maps and this node's VIPs off the machine; returns whether anything was attached.
/// Refuses while an agent works with them.
pub async fn detach(config: &Config) -> Result<bool, AgentError> {
    let pin_dir = &config.dataplane.pin_dir;
    let _claim = uniqueness::claim_what_is_there(&config.node.name, &config.control.socket, pin_dir)
        .map_err(UniquenessError::not_detached)?;
    // One that the agent mounted for its user goes with what is on it; another one is somebody else's.
    let was_there = dataplane::detach(pin_dir, config.agent.user.is_some())?;
    if let Err(error) = return_routes::remove_all().await {
        warn!(%error, "rules for the answers to transparent connections stay");
    }
    let interfaces = Interfaces::open()?;
    for (interface, address) in vips::possible_places(config) {
        interfaces.remove(&interface, address).await?;
    }
    Ok(was_there)
}

fn policy(config: &Config) -> Result<Policy, AgentError> {
    let group = match &config.control.group {
        Some(name) => Some(Policy::group_by_name(name).ok_or_else(|| AgentError::NoGroup(name.clone()))?),
        None => None,
    };
    Ok(Policy { group, others_may_read: config.control.others_may_read })
}

/// Takes the dataplane away again when a start fails that found none: half of one, on some of its interfaces or with
/// nobody to steer it, is worse than none. What an earlier agent left is not touched.
struct NewPins(Option<PathBuf>);

impl NewPins {
    fn of(pin_dir: &Path) -> Self {
        let empty = dataplane::has_no_pins(pin_dir);
        Self(empty.then(|| pin_dir.to_owned()))
    }

    /// The start went well.
    fn keep(&mut self) {
        self.0 = None;
    }
}

impl Drop for NewPins {
    fn drop(&mut self) {
        if let Some(pin_dir) = &self.0
            && let Err(error) = dataplane::detach(pin_dir, false)
        {
            warn!(%error, "the pins of this start stay");
        }
    }
}

/// Logs an event at the level it deserves.
fn log(event: &Event) {
    match event.kind {
        EventKind::Warning => warn!("{}", event.message),
        EventKind::ConfigRefused => error!("{}", event.message),
        _ => info!("{}", event.message),
    }
}
