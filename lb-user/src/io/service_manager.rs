//! What a service manager is told of the agent: sd_notify(3).
//!
//! Owns the words. Where none has asked to be told (`$NOTIFY_SOCKET`), nothing is said. Never decides when something is so.

use sd_notify::NotifyState;
use tracing::debug;

/// The variable that says where it listens; commands of the operator's are not given it.
pub const VARIABLE: &str = "NOTIFY_SOCKET";

/// This process serves; it is the main one, also where another was that.
pub fn ready() {
    say(&[NotifyState::MainPid(std::process::id()), NotifyState::Ready]);
}

/// Another process is the main one from now on.
pub fn successor(pid: u32) {
    say(&[NotifyState::MainPid(pid)]);
}

/// Its loop goes round. One that takes another's place says so as well: the manager's clock runs on.
pub fn alive() {
    say(&[NotifyState::Watchdog]);
}

/// It ends.
pub fn stopping() {
    say(&[NotifyState::Stopping]);
}

fn say(words: &[NotifyState<'_>]) {
    if std::env::var_os(VARIABLE).is_some()
        && let Err(error) = sd_notify::notify(words)
    {
        debug!(%error, "the service manager was not told");
    }
}
