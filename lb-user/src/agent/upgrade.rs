//! One agent takes another one's place while both run: the program on the disk is newer, say.
//!
//! The one that goes starts the one that comes, which checks the configuration, is given the sockets that listen, loads what takes long,
//! and says when it is ready. Until then the one that goes serves VIPs, shares flows and accepts connections; what goes wrong until then costs
//! nothing but the attempt. Then it lets go of all but its open connections, which it serves to their end, or to a limit. Owns that order.

use super::serving::Signals;
use super::state::Agent;
use super::sync::{SyncEvent, Syncing};
use super::{AgentError, certificates, sync};
use crate::api::{ApiError, ErrorKind, UpgradeRequest, UpgradeStarted};
use crate::config::Config;
use crate::io::confine;
use crate::io::dataplane::{Dataplane, pins_are_ours};
use crate::io::hand_over::{HandOver, Listeners, Word};
use crate::io::proxy::Proxy;
use crate::io::service_manager;
use crate::io::sync::SyncError;
use nix::unistd::Pid;
use std::io;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;
use tracing::{info, warn};

/// How long the one that comes may take to read and check its configuration.
const CHECKED_WITHIN: Duration = Duration::from_secs(10);
/// And to load its program into the kernel, which verifies it.
const READY_WITHIN: Duration = Duration::from_secs(60);
/// How long the one that goes may take to let go.
const GONE_WITHIN: Duration = Duration::from_secs(10);
/// How long open connections are served when nobody says otherwise.
const DRAIN_FOR: Duration = Duration::from_secs(3600);
/// And at most.
const DRAIN_FOR_MAX: Duration = Duration::from_secs(30 * 86_400);
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// An agent that was started to take this one's place.
pub(super) struct Upgrade {
    hand_over: HandOver,
    pid: Pid,
    drain_for: Duration,
}

impl Agent {
    /// Starts the program that is on the disk now, and waits until it says that it can use the configuration.
    pub(super) fn begin_upgrade(&mut self, request: &UpgradeRequest) -> Result<UpgradeStarted, ApiError> {
        self.refuse_while_unconfirmed()?;
        let internal = |what: &str, error: io::Error| {
            ApiError::new(ErrorKind::Internal, format!("no upgrade: {what}: {error}"))
        };
        if self.runtime_changes {
            let message = "no upgrade: the running configuration has changes that the file has not, and that would be lost; \
                           `lbctl diff` shows them";
            return Err(ApiError::new(ErrorKind::Conflict, message));
        }
        if let Some(trouble) = self.certificates.trouble() {
            let message =
                format!("no upgrade: the new agent could not read what this one has in force: {trouble}");
            return Err(ApiError::new(ErrorKind::Conflict, message));
        }
        let drain_for = request.drain_seconds.map_or(DRAIN_FOR, Duration::from_secs);
        if drain_for > DRAIN_FOR_MAX {
            let message = format!("drain_seconds: at most {}", DRAIN_FOR_MAX.as_secs());
            return Err(ApiError::new(ErrorKind::Invalid, message));
        }
        let program = own_program().map_err(|error| internal("this agent's program", error))?;
        let mut command = Command::new(&program);
        command.arg("agent").arg("--config").arg(&self.config_file);
        if let Some(user) = &self.floor.user {
            command.arg("--user").arg(user);
        }
        if self.confinement.is_in_force() {
            command.env(confine::VARIABLE, self.confinement.to_tell());
        }
        match self.log_for_now() {
            Some(level) => command.env(crate::io::log::VARIABLE, level.as_str()),
            None => command.env_remove(crate::io::log::VARIABLE),
        };
        let (hand_over, pid) =
            HandOver::start(command).map_err(|error| internal(&program.display().to_string(), error))?;
        if let Err(error) = hand_over.expect(Word::Checked, CHECKED_WITHIN, &mut Listeners::new()) {
            hand_over.end(pid);
            let message = format!(
                "no upgrade: the new agent did not start ({error}); its log says why, and this one goes on"
            );
            return Err(ApiError::new(ErrorKind::Conflict, message));
        }
        self.upgrade = Some(Upgrade { hand_over, pid, drain_for });
        Ok(UpgradeStarted {
            pid: pid.as_raw().unsigned_abs(),
            connections: self.proxy.open_connections(),
            drain_seconds: drain_for.as_secs(),
        })
    }

    /// Gives everything up but the connections.
    fn into_proxy(self) -> Proxy {
        self.proxy
    }
}

/// This agent's program, where a newer one may be by now.
fn own_program() -> io::Result<PathBuf> {
    let path = std::env::current_exe()?;
    // What the kernel says of a file that was replaced.
    let text = path.to_string_lossy();
    Ok(text.strip_suffix(" (deleted)").map_or(path.clone(), PathBuf::from))
}

impl Upgrade {
    /// Hands the sockets over, and waits until the other one has only to take what there is one of. This agent changes nothing meanwhile.
    pub(super) fn wait_until_ready(&mut self, proxy: &Proxy) -> io::Result<()> {
        self.hand_over.send_listeners(&proxy.listeners()?)?;
        self.hand_over.say(Word::Frozen)?;
        self.hand_over.expect(Word::Ready, READY_WITHIN, &mut Listeners::new())
    }

    /// Ends the attempt.
    pub(super) fn give_up(self) {
        self.hand_over.end(self.pid);
    }

    /// Lets go of all that there is one of, and serves open connections to their end.
    pub(super) async fn finish(self, agent: Agent, signals: &mut Signals) {
        let pid = self.pid.as_raw().unsigned_abs();
        let mut proxy = agent.into_proxy();
        // While this process still is the main one: when that ends, a service manager takes the service for ended.
        service_manager::successor(pid);
        if let Err(error) = self.hand_over.say(Word::Gone) {
            warn!(%error, pid, "the agent that was to take over is gone; this one has let go already");
        }
        proxy.stop_listening().await;
        info!(
            pid,
            connections = proxy.open_connections(),
            "another agent took over; open connections are served to their end"
        );
        let until = Instant::now() + self.drain_for;
        while proxy.open_connections() > 0 && Instant::now() < until {
            tokio::select! {
                () = tokio::time::sleep(LOOK_EVERY) => {}
                _ = signals.terminate.recv() => break,
                _ = signals.interrupt.recv() => break,
            }
        }
        info!(connections = proxy.open_connections(), "stopping; what is still open is cut");
    }
}

/// This agent is to take another one's place.
pub(super) struct Successor {
    hand_over: HandOver,
    since: Instant,
}

impl Successor {
    /// If it is.
    pub(super) fn inherited() -> Result<Option<Self>, AgentError> {
        let system = |cause| AgentError::System { what: "taking another agent's place", cause };
        Ok(HandOver::inherited().map_err(system)?.map(|hand_over| Self { hand_over, since: Instant::now() }))
    }

    /// Says that the configuration can be used, with all that it names, and waits until the other one changes nothing any more.
    pub(super) fn take_listeners(&self, config: &Config) -> Result<Listeners, AgentError> {
        if !pins_are_ours(&config.dataplane.pin_dir) {
            return Err(AgentError::OtherMaps);
        }
        certificates::check_readable(config).map_err(AgentError::TlsFiles)?;
        let system = |cause| AgentError::System { what: "taking another agent's sockets", cause };
        self.hand_over.say(Word::Checked).map_err(system)?;
        let mut listeners = Listeners::new();
        self.hand_over.expect(Word::Frozen, READY_WITHIN, &mut listeners).map_err(system)?;
        Ok(listeners)
    }

    /// Says that all is ready, and waits until the other one has let go.
    pub(super) fn take_over(&self) -> Result<(), AgentError> {
        let system = |cause| AgentError::System { what: "taking another agent's place", cause };
        self.hand_over.say(Word::Ready).map_err(system)?;
        self.hand_over.expect(Word::Gone, GONE_WITHIN, &mut Listeners::new()).map_err(system)
    }

    /// Whether an address that is in use is so for a moment only.
    pub(super) fn waits_for(&self, error: &SyncError) -> bool {
        let is_in_use =
            matches!(error, SyncError::Socket { cause, .. } if cause.kind() == io::ErrorKind::AddrInUse);
        is_in_use && self.since.elapsed() < READY_WITHIN + GONE_WITHIN
    }
}

/// Starts to share flows, where the configuration wants it. Whoever takes another agent's place does so from here on: what follows takes but
/// a moment.
pub(super) async fn share_flows(
    config: &Config,
    dataplane: &Dataplane,
    found: mpsc::UnboundedSender<SyncEvent>,
    successor: Option<&Successor>,
) -> Result<Option<Syncing>, AgentError> {
    if let Some(successor) = successor {
        tokio::task::block_in_place(|| successor.take_over())?;
    }
    loop {
        match sync::spawn(config, dataplane, found.clone()) {
            // The thread of the one that has let go may still be on its way out.
            Err(AgentError::Sync(error)) if successor.is_some_and(|one| one.waits_for(&error)) => {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
            spawned => return spawned,
        }
    }
}
