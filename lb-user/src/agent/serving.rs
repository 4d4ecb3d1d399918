//! An agent from when it is ready to its end: the one loop, and what makes it the only one of its node.

use super::state::Agent;
use super::upgrade::Upgrade;
use super::{AgentError, TICK, UniquenessError, acme, checks, mysql, sweeping, sync, track, uniqueness};
use crate::api::server::{Context, serve};
use crate::api::{Command, EventKind};
use crate::config::Config;
use crate::io::confine::Owner;
use crate::io::dataplane::Refusals;
use crate::io::proxy::ProxyEvent;
use crate::io::service_manager;
use crate::io::vrrp::Decision;
use crate::model::NodeName;
use std::path::PathBuf;
use std::time::Duration;
use tokio::net::UnixListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;
use tracing::info;

/// Where an agent is the only one.
#[derive(Clone)]
pub(super) struct Places {
    node: NodeName,
    socket: PathBuf,
    pin_dir: PathBuf,
}

impl Places {
    pub(super) fn of(config: &Config) -> Self {
        let socket = config.control.socket.clone();
        Self { node: config.node.name.clone(), socket, pin_dir: config.dataplane.pin_dir.clone() }
    }

    /// The node's lock with an owner's rights, who may have put anything in its place; that of the pins, which are given to the owner later, with
    /// one's own.
    pub(super) fn claim_as(&self, owner: &Owner) -> Result<uniqueness::Claim, AgentError> {
        let folder = self.socket.clone();
        let node = owner.acts(|| uniqueness::claim_node(&self.node, &self.socket));
        let node = node.map_err(|cause| AgentError::Folder { path: folder, cause })??;
        Ok(uniqueness::Claim::with(node, &self.pin_dir)?)
    }

    pub(super) fn claim(&self) -> Result<uniqueness::Claim, UniquenessError> {
        uniqueness::claim(&self.node, &self.socket, &self.pin_dir)
    }
}

/// What an agent has as long as it is the only one.
pub(super) struct Held {
    pub(super) places: Places,
    pub(super) only: Option<Only>,
    pub(super) socket: SocketFile,
    /// Where it is told that something is not as it should be.
    pub(super) failures: mpsc::UnboundedSender<String>,
}

/// What there is one of.
pub(super) struct Only {
    pub(super) claim: uniqueness::Claim,
    pub(super) listener: UnixListener,
}

impl Only {
    fn regain(places: &Places, context: &Context) -> Result<Self, UniquenessError> {
        let claim = places.claim()?;
        Ok(Self { claim, listener: uniqueness::listen(&places.socket, &context.policy)? })
    }
}

const REGAIN_EVERY: Duration = Duration::from_secs(1);

/// Answers commands for as long as this goes on. What had to be given up for another agent that came to nothing is taken back, as soon as that can be:
/// what the agent does beside that goes on meanwhile.
async fn answer(
    only: Option<Only>,
    places: Places,
    context: Context,
    failures: mpsc::UnboundedSender<String>,
) {
    let mut told = false;
    let mut only = only;
    let only = loop {
        if let Some(only) = only.take() {
            break only;
        }
        match Only::regain(&places, &context) {
            Ok(regained) => break regained,
            Err(error) => {
                if !told {
                    // The journal goes with the agent.
                    let _ = failures.send(format!("no command can reach this agent: {error}"));
                    told = true;
                }
                tokio::time::sleep(REGAIN_EVERY).await;
            }
        }
    };
    let Only { claim, listener } = only;
    // A socket that breaks accepts nobody any more, and that is all.
    let _ = serve(listener, context).await;
    drop(claim);
}

/// Runs until a signal ends the agent, or another one has taken its place.
pub(super) async fn serve_until_the_end(
    mut agent: Agent,
    mut inputs: Inputs,
    context: Context,
    mut held: Held,
) -> Result<(), AgentError> {
    let mut signals = Signals::new()?;
    loop {
        let answers = answer(held.only.take(), held.places.clone(), context.clone(), held.failures.clone());
        let server = tokio::spawn(answers);
        let ended = event_loop(&mut agent, &mut inputs, &mut signals).await;
        let EndedBy::Upgrade(mut upgrade) = ended else {
            leave(agent, &mut inputs).await;
            server.abort();
            return Ok(());
        };
        server.abort();
        // It lets go of its socket and its locks with its end.
        let _ = server.await;
        let ready = tokio::task::block_in_place(|| upgrade.wait_until_ready(&agent.proxy));
        let Err(error) = ready else {
            // It is another one's by now.
            held.socket.0 = None;
            while let Ok(decision) = inputs.decisions.try_recv() {
                agent.handle_decision(decision).await;
            }
            // Who still waits for an answer is told that there is none.
            drop((inputs, context));
            upgrade.finish(agent, &mut signals).await;
            return Ok(());
        };
        upgrade.give_up();
        let message = format!("no upgrade: the new agent did not become ready ({error}); this one goes on");
        agent.journal.record(EventKind::Warning, message);
    }
}

/// What ended the loop.
enum EndedBy {
    Signal,
    Upgrade(Upgrade),
}

/// Removes the socket's file when the agent ends.
pub(super) struct SocketFile(pub(super) Option<PathBuf>);

impl Drop for SocketFile {
    fn drop(&mut self) {
        if let Some(path) = &self.0 {
            // Gone already is as good.
            let _ = std::fs::remove_file(path);
        }
    }
}

/// What comes in.
pub(super) struct Inputs {
    pub(super) commands_in: mpsc::Receiver<Command>,
    pub(super) check_results: mpsc::Receiver<checks::CheckDone>,
    pub(super) sweeps: mpsc::Receiver<sweeping::Swept>,
    pub(super) refusals: Refusals,
    pub(super) traces_ended: mpsc::Receiver<()>,
    pub(super) decisions: mpsc::UnboundedReceiver<Decision>,
    pub(super) sync_events: mpsc::UnboundedReceiver<sync::SyncEvent>,
    pub(super) tracked: mpsc::Receiver<track::Tracked>,
    pub(super) failures: mpsc::UnboundedReceiver<String>,
    pub(super) proxy_events: mpsc::Receiver<ProxyEvent>,
    pub(super) acme_events: acme::AcmeEvents,
    pub(super) looks: mpsc::Receiver<mysql::Looked>,
}

/// What the agent is asked from outside without words.
pub(super) struct Signals {
    pub(super) hangup: Signal,
    pub(super) terminate: Signal,
    pub(super) interrupt: Signal,
}

impl Signals {
    fn new() -> Result<Self, AgentError> {
        let wait = |kind, what| signal(kind).map_err(|cause| AgentError::System { what, cause });
        Ok(Self {
            hangup: wait(SignalKind::hangup(), "waiting for SIGHUP")?,
            terminate: wait(SignalKind::terminate(), "waiting for SIGTERM")?,
            interrupt: wait(SignalKind::interrupt(), "waiting for SIGINT")?,
        })
    }
}

async fn event_loop(agent: &mut Agent, inputs: &mut Inputs, signals: &mut Signals) -> EndedBy {
    let mut tick = tokio::time::interval(TICK);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
    info!(node = %agent.config.node.name, "ready");
    service_manager::ready();
    loop {
        tokio::select! {
            Some(decision) = inputs.decisions.recv() => agent.handle_decision(decision).await,
            Some(event) = inputs.sync_events.recv() => agent.handle_sync_event(event),
            Some(tracked) = inputs.tracked.recv() => agent.handle_tracked(tracked),
            Some(words) = inputs.failures.recv() => agent.journal.record(EventKind::Warning, words),
            Some(event) = inputs.proxy_events.recv() => agent.handle_proxy_event(event),
            Some(event) = inputs.acme_events.next() => agent.handle_acme(event),
            Some(looked) = inputs.looks.recv() => agent.handle_looked(looked),
            Some(command) = inputs.commands_in.recv() => {
                agent.handle_command(command).await;
                if let Some(upgrade) = agent.upgrade.take() {
                    return EndedBy::Upgrade(upgrade);
                }
            }
            Some(done) = inputs.check_results.recv() => agent.handle_check(done),
            Ok(ids) = inputs.refusals.next() => agent.handle_refusals(&ids),
            Some(()) = inputs.traces_ended.recv() => agent.end_trace(),
            Some(swept) = inputs.sweeps.recv() => agent.handle_sweep(swept),
            _ = tick.tick() => agent.handle_tick().await,
            _ = signals.hangup.recv() => agent.reload().await,
            _ = signals.terminate.recv() => break,
            _ = signals.interrupt.recv() => break,
        }
    }
    EndedBy::Signal
}

/// What an agent does last.
async fn leave(mut agent: Agent, inputs: &mut Inputs) {
    service_manager::stopping();
    agent.end_trace();
    // Nobody could take it back later.
    agent.take_back().await;
    agent.leave_vrrp(&mut inputs.decisions).await;
    agent.notifier.finish().await;
    agent.return_routes.finish().await;
    info!("stopping; the kernel keeps forwarding with the last state (`lbctl detach` ends that)");
}
