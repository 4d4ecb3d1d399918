//! All sessions of a service: their numbers, by which others end them, and what was routed where and why.
//!
//! Owns the numbers that clients know their connections by. They are above those that servers give in the time they run, so that a number says
//! whose it is.

use crate::core::mysql::digests::{Digests, Ran};
use crate::core::mysql::session::{Hold, Target, Why};
use crate::core::mysql::sql::Digest;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;

/// The first number of ours.
const FIRST: u32 = 0x4000_0000;

/// One session, as others see it.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) number: u32,
    pub(super) client: SocketAddr,
    /// Rung when it has to end.
    pub(super) kill: Notify,
    /// Rung for whoever waits: what it runs has to end.
    pub(super) cancel: Notify,
    state: Mutex<State>,
}

/// What a session does.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct State {
    user: String,
    holds: Vec<Hold>,
    primary: Option<SocketAddr>,
    /// The primary's number of its connection there.
    thread: Option<u32>,
    replica: Option<SocketAddr>,
}

/// A session in a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionView {
    /// What its client knows it by.
    pub number: u32,
    /// Who it is.
    pub user: String,
    /// Where it comes from.
    pub client: SocketAddr,
    /// Why nothing of it runs on a replica; empty: it may.
    pub holds: Vec<Hold>,
    /// Its connections.
    pub primary: Option<SocketAddr>,
    /// See there.
    pub replica: Option<SocketAddr>,
}

/// How often something was routed.
pub type Routes = BTreeMap<(&'static str, &'static str), u64>;

/// All of a service.
#[derive(Debug, Default)]
pub struct Sessions {
    next: AtomicU32,
    open: Mutex<BTreeMap<u32, Arc<Entry>>>,
    routes: Mutex<Routes>,
    digests: Mutex<Digests>,
}

/// A lock that is held for a few instructions only; nobody panics under it.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Sessions {
    pub(super) fn number(&self) -> u32 {
        FIRST | self.next.fetch_add(1, Ordering::Relaxed) & (FIRST - 1)
    }

    pub(super) fn begin(self: &Arc<Self>, number: u32, user: String, client: SocketAddr) -> Registered {
        let (kill, cancel) = (Notify::new(), Notify::new());
        let state = Mutex::new(State { user, ..State::default() });
        let entry = Arc::new(Entry { number, client, kill, cancel, state });
        lock(&self.open).insert(number, entry.clone());
        Registered { entry, sessions: self.clone() }
    }

    /// The session with that number, if it is one of ours.
    pub(super) fn find(&self, number: u64) -> Option<Arc<Entry>> {
        lock(&self.open).get(&u32::try_from(number).ok()?).cloned()
    }

    /// The session whose connection to that primary has the number there: `CONNECTION_ID()` tells clients of it.
    pub(super) fn find_by_thread(&self, number: u64, primary: SocketAddr) -> Option<Arc<Entry>> {
        let is_it = |entry: &&Arc<Entry>| {
            let state = lock(&entry.state);
            state.primary == Some(primary) && state.thread.is_some_and(|thread| u64::from(thread) == number)
        };
        lock(&self.open).values().find(is_it).cloned()
    }

    /// Whether a number is one that only we give.
    pub(super) fn is_ours(number: u64) -> bool {
        (u64::from(FIRST)..u64::from(FIRST) * 2).contains(&number)
    }

    pub(super) fn count(&self, target: Target, why: &Why) {
        let mut routes = lock(&self.routes);
        let count = routes.entry((target.name(), why.name())).or_default();
        *count = count.saturating_add(1);
    }

    pub(super) fn ran(&self, digest: &Digest, ran: &Ran) {
        lock(&self.digests).add(digest, ran);
    }

    /// What statements cost.
    pub fn digests(&self) -> Digests {
        lock(&self.digests).clone()
    }

    /// How often what was routed where, and why.
    pub fn routes(&self) -> Routes {
        lock(&self.routes).clone()
    }

    /// All that are open.
    pub fn view(&self) -> Vec<SessionView> {
        let view = |entry: &Arc<Entry>| {
            let State { user, holds, primary, replica, .. } = lock(&entry.state).clone();
            SessionView { number: entry.number, user, client: entry.client, holds, primary, replica }
        };
        lock(&self.open).values().map(view).collect()
    }

    /// Ends a session; whether there is one with that number.
    pub fn kill(&self, number: u32) -> bool {
        let entry = lock(&self.open).get(&number).cloned();
        entry.inspect(|entry| entry.kill.notify_one()).is_some()
    }
}

impl Entry {
    /// Whose session it is.
    pub(super) fn user(&self) -> String {
        lock(&self.state).user.clone()
    }
}

/// A session's place in the list. Dropped, it is gone from there.
pub(super) struct Registered {
    entry: Arc<Entry>,
    pub(super) sessions: Arc<Sessions>,
}

impl Registered {
    pub(super) fn entry(&self) -> &Arc<Entry> {
        &self.entry
    }

    /// Shows what it does.
    pub(super) fn show(
        &self,
        user: &str,
        holds: impl Iterator<Item = Hold> + Clone,
        primary: Option<(SocketAddr, u32)>,
        replica: Option<SocketAddr>,
    ) {
        let (primary, thread) = primary.unzip();
        let mut shown = lock(&self.entry.state);
        // It is shown after every command, and seldom another one.
        let is_so = (shown.primary, shown.thread, shown.replica) == (primary, thread, replica)
            && shown.user == user
            && shown.holds.iter().copied().eq(holds.clone());
        if !is_so {
            *shown = State { user: user.to_owned(), holds: holds.collect(), primary, thread, replica };
        }
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        lock(&self.sessions.open).remove(&self.entry.number);
    }
}
