//! Tells the operator's command of each change of a virtual router's state, one after the other, in their order.

use super::state::Agent;
use super::vrrp::label;
use crate::api::EventKind;
use crate::config::Notify;
use crate::core::vrrp::machine::State;
use crate::io::command;
use crate::io::vrrp::RouterKey;
use serde_json::json;
use std::net::IpAddr;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// Changes that may wait for a command that takes its time.
const WAITING_MAX: usize = 256;
/// An agent that ends waits for so long until the last ones have been told.
const END_WITHIN: Duration = Duration::from_secs(10);

struct Told {
    notify: Notify,
    content: Vec<u8>,
    what: String,
}

/// The task that runs commands.
pub(super) struct Notifier {
    queue: mpsc::Sender<Told>,
    task: JoinHandle<()>,
}

impl Notifier {
    /// Starts it; what went wrong goes to the channel, in words.
    pub(super) fn spawn(failed: mpsc::UnboundedSender<String>) -> Self {
        let (queue, mut waiting) = mpsc::channel::<Told>(WAITING_MAX);
        let task = tokio::spawn(async move {
            while let Some(Told { notify, content, what }) = waiting.recv().await {
                if let Err(error) = command::run(&notify.words, &content, notify.timeout).await {
                    // An agent that is gone needs to know nothing.
                    let _ = failed.send(format!("notify: {what}: {error}"));
                }
            }
        });
        Self { queue, task }
    }

    /// Waits until all have been told.
    pub(super) async fn finish(self) {
        drop(self.queue);
        // Whoever told the agent to end has patience only for so long.
        let _ = tokio::time::timeout(END_WITHIN, self.task).await;
    }
}

impl Agent {
    /// Tells of a change of state, if somebody wants to know.
    pub(super) fn notify(&mut self, key: &RouterKey, from: State, to: State, reason: &str) {
        let Some(notify) = self.config.notify.clone() else { return };
        let (vip, family) = key;
        let priority = self
            .virtual_routers
            .snapshot()
            .routers
            .iter()
            .find(|one| one.key == *key)
            .map(|one| one.priority.get());
        let addresses: Vec<IpAddr> =
            self.config.vips.get(vip).map(|vip| vip.addresses_of(*family).collect()).unwrap_or_default();
        let content = json!({
            "node": self.config.node.name,
            "vip": vip,
            "family": family,
            "from": from.name(),
            "to": to.name(),
            "reason": reason,
            "priority": priority,
            "addresses": addresses,
        });
        let mut content = content.to_string().into_bytes();
        content.push(b'\n');
        let what = format!("{} {} → {}", label(key), from.name(), to.name());
        if self.notifier.queue.try_send(Told { notify, content, what: what.clone() }).is_err() {
            let message =
                format!("notify: {what}: not told, as {WAITING_MAX} changes wait for the command already");
            self.journal.record(EventKind::Warning, message);
        }
    }
}
