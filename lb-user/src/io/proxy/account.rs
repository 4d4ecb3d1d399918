//! What connections of a service, and of each of its backends, have in common on all threads: how many there are, what they did, and
//! whether they have to end.
//!
//! Words that are added to, and bells: nothing here is locked while a connection is served, and the list of bells for a moment at its end.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, RwLock};
use tokio::sync::Notify;
use tokio::sync::futures::Notified;

/// How a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(usize)]
pub enum Ended {
    /// Both sides said their last.
    Closed,
    /// The client broke it off.
    ClientReset,
    /// The backend did.
    BackendReset,
    /// The client was silent, or did not take what there was for it.
    ClientIdle,
    /// The backend was.
    BackendIdle,
    /// One direction was closed and the other one silent.
    HalfClosedIdle,
    /// The client did not say in time, or not rightly, what has to come before the data.
    BadHandshake,
    /// No session of TLS came about with the client.
    TlsFailed,
    /// Its request was answered with the way to HTTPS.
    Redirected,
    /// It was an authority's, that wanted to see whose a name is.
    Challenged,
    /// No backend could be connected to.
    ConnectFailed,
    /// There is no backend that takes connections.
    NoBackend,
    /// The backends have as many connections as they may have, and too many wait, or it waited for too long.
    NoRoom,
    /// The operator wanted it to end.
    Cut,
}

impl Ended {
    /// All of them, in the order of their counts.
    pub const ALL: [Self; 14] = [
        Self::Closed,
        Self::ClientReset,
        Self::BackendReset,
        Self::ClientIdle,
        Self::BackendIdle,
        Self::HalfClosedIdle,
        Self::BadHandshake,
        Self::TlsFailed,
        Self::Redirected,
        Self::Challenged,
        Self::ConnectFailed,
        Self::NoBackend,
        Self::NoRoom,
        Self::Cut,
    ];

    /// Its name in views and metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::ClientReset => "client_reset",
            Self::BackendReset => "backend_reset",
            Self::ClientIdle => "client_idle",
            Self::BackendIdle => "backend_idle",
            Self::HalfClosedIdle => "half_closed_idle",
            Self::BadHandshake => "bad_handshake",
            Self::TlsFailed => "tls_failed",
            Self::Redirected => "redirected",
            Self::Challenged => "challenged",
            Self::ConnectFailed => "connect_failed",
            Self::NoBackend => "no_backend",
            Self::NoRoom => "no_room",
            Self::Cut => "cut",
        }
    }
}

/// Of a service, over both families.
#[derive(Debug, Default)]
pub(super) struct ServiceAccount {
    /// Connections that were accepted and have not ended, also those without a backend yet.
    open: AtomicU32,
    active: AtomicU32,
    waiting: AtomicU32,
    ended: [AtomicU64; Ended::ALL.len()],
    full_handshakes: AtomicU64,
    resumed_handshakes: AtomicU64,
    /// Rung when a place becomes free, each of them: who waits for other backends than another does not have that one's bell.
    bells: RwLock<Vec<Arc<Notify>>>,
}

/// Of a backend's address.
#[derive(Debug, Default)]
pub(super) struct BackendAccount {
    active: AtomicU32,
    begun: AtomicU64,
    established: AtomicU64,
    failed: AtomicU64,
    up_bytes: AtomicU64,
    down_bytes: AtomicU64,
    /// Rung when its connections have to end.
    cut: Notify,
    cuts: AtomicU64,
}

/// Counts of a backend's address.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BackendCounts {
    /// Connections that are open, or about to be.
    pub active: u64,
    /// Connections that were given to it.
    pub begun: u64,
    /// Of those, that it accepted.
    pub established: u64,
    /// And that it did not.
    pub failed: u64,
    /// Bytes to it.
    pub up_bytes: u64,
    /// Bytes from it.
    pub down_bytes: u64,
}

/// Counts of a service.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServiceCounts {
    /// Connections that are open.
    pub active: u64,
    /// Connections that wait for a backend with room.
    pub waiting: u64,
    /// How many ended, by how they did; those that never did are left out.
    pub ended: Vec<(Ended, u64)>,
    /// Handshakes of TLS with clients that began a session.
    pub full_handshakes: u64,
    /// And that went on with one.
    pub resumed_handshakes: u64,
}

fn take_place(active: &AtomicU32, max: u32) -> bool {
    let more = |now: u32| (max == 0 || now < max).then(|| now.saturating_add(1));
    active.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).is_ok()
}

impl ServiceAccount {
    pub(super) fn counts(&self) -> ServiceCounts {
        let count =
            |ended: Ended| self.ended.get(ended as usize).map_or(0, |count| count.load(Ordering::Relaxed));
        let all = Ended::ALL.into_iter().map(|ended| (ended, count(ended)));
        ServiceCounts {
            active: self.active.load(Ordering::Relaxed).into(),
            waiting: self.waiting.load(Ordering::Relaxed).into(),
            ended: all.filter(|(_, count)| *count > 0).collect(),
            full_handshakes: self.full_handshakes.load(Ordering::Relaxed),
            resumed_handshakes: self.resumed_handshakes.load(Ordering::Relaxed),
        }
    }

    /// Another bell to ring.
    pub(super) fn add_bell(&self, bell: Arc<Notify>) {
        if let Ok(mut bells) = self.bells.write() {
            bells.retain(|known| Arc::strong_count(known) > 1 && !Arc::ptr_eq(known, &bell));
            bells.push(bell);
        }
    }

    /// One of those who wait at each bell may find a place.
    fn ring(&self) {
        if let Ok(bells) = self.bells.read() {
            bells.iter().for_each(|bell| bell.notify_one());
        }
    }

    pub(super) fn open(&self) -> u32 {
        self.open.load(Ordering::Relaxed)
    }

    pub(super) fn count_begin(&self) {
        self.open.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn count_handshake(&self, is_resumed: bool) {
        let count = if is_resumed { &self.resumed_handshakes } else { &self.full_handshakes };
        count.fetch_add(1, Ordering::Relaxed);
    }

    /// Whether the service has as many connections as it may have.
    pub(super) fn is_full(&self, max: u32) -> bool {
        max != 0 && self.active.load(Ordering::Relaxed) >= max
    }

    pub(super) fn count_end(&self, ended: Ended) {
        self.open.fetch_sub(1, Ordering::Relaxed);
        if let Some(count) = self.ended.get(ended as usize) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl BackendAccount {
    /// Ends all connections, and has those end that are being made.
    pub(super) fn cut(&self) {
        self.cuts.fetch_add(1, Ordering::Relaxed);
        self.cut.notify_waiters();
    }

    /// How often that was wanted so far.
    pub(super) fn cuts(&self) -> u64 {
        self.cuts.load(Ordering::Relaxed)
    }

    /// Until it is wanted next.
    pub(super) fn cut_wanted(&self) -> Notified<'_> {
        self.cut.notified()
    }

    pub(super) fn active(&self) -> u32 {
        self.active.load(Ordering::Relaxed)
    }

    pub(super) fn count_established(&self) {
        self.established.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn count_failed(&self) {
        self.failed.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn count_bytes(&self, up: u64, down: u64) {
        self.up_bytes.fetch_add(up, Ordering::Relaxed);
        self.down_bytes.fetch_add(down, Ordering::Relaxed);
    }

    pub(super) fn counts(&self) -> BackendCounts {
        let of = |count: &AtomicU64| count.load(Ordering::Relaxed);
        BackendCounts {
            active: self.active().into(),
            begun: of(&self.begun),
            established: of(&self.established),
            failed: of(&self.failed),
            up_bytes: of(&self.up_bytes),
            down_bytes: of(&self.down_bytes),
        }
    }
}

/// A connection's place in its service and at its backend. Dropped, it is free for another.
pub(super) struct Place {
    pub(super) backend: Arc<BackendAccount>,
    /// Where it is the session that has a place in the service, its connections have none of their own.
    service: Option<Arc<ServiceAccount>>,
}

impl Place {
    /// Takes one, unless either has as many connections as it may have (0: as many as come). Who gets none rings for nobody.
    pub(super) fn take(
        (service, service_max): (&Arc<ServiceAccount>, u32),
        (backend, backend_max): (&Arc<BackendAccount>, u32),
    ) -> Option<Self> {
        if !take_place(&service.active, service_max) {
            return None;
        }
        if !take_place(&backend.active, backend_max) {
            service.active.fetch_sub(1, Ordering::Relaxed);
            return None;
        }
        backend.begun.fetch_add(1, Ordering::Relaxed);
        Some(Self { backend: backend.clone(), service: Some(service.clone()) })
    }

    /// Takes one at the backend alone.
    pub(super) fn take_beside((backend, backend_max): (&Arc<BackendAccount>, u32)) -> Option<Self> {
        if !take_place(&backend.active, backend_max) {
            return None;
        }
        backend.begun.fetch_add(1, Ordering::Relaxed);
        Some(Self { backend: backend.clone(), service: None })
    }
}

/// A session's place in its service. Dropped, it is free for another.
pub(super) struct SessionPlace(Arc<ServiceAccount>);

impl SessionPlace {
    /// Takes one, unless the service has as many sessions as it may have (0: as many as come).
    pub(super) fn take(service: &Arc<ServiceAccount>, max: u32) -> Option<Self> {
        take_place(&service.active, max).then(|| Self(service.clone()))
    }
}

impl Drop for SessionPlace {
    fn drop(&mut self) {
        self.0.active.fetch_sub(1, Ordering::Relaxed);
        self.0.ring();
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.backend.active.fetch_sub(1, Ordering::Relaxed);
        if let Some(service) = &self.service {
            service.active.fetch_sub(1, Ordering::Relaxed);
            service.ring();
        }
    }
}

/// A connection that waits for a place.
pub(super) struct Waiting(Arc<ServiceAccount>);

impl Waiting {
    pub(super) fn begin(account: &Arc<ServiceAccount>, max: u32) -> Option<Self> {
        (max > 0 && take_place(&account.waiting, max)).then(|| Self(account.clone()))
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_free_again_when_its_connection_is_gone() {
        let (service, backend) = (Arc::new(ServiceAccount::default()), Arc::new(BackendAccount::default()));
        let take = |service_max, backend_max| Place::take((&service, service_max), (&backend, backend_max));
        let one = take(0, 1);
        assert!(one.is_some() && take(0, 1).is_none() && take(1, 0).is_none());
        assert!(take(0, 0).is_some(), "without a limit as many as come");
        drop(one);
        assert_eq!((backend.active(), service.counts().active), (0, 0));
        assert!(take(1, 1).is_some());
        assert_eq!(backend.counts().begun, 3);
    }

    #[test]
    fn each_end_has_its_own_count() {
        let account = ServiceAccount::default();
        for ended in Ended::ALL {
            account.count_begin();
            account.count_end(ended);
        }
        let counts = account.counts().ended;
        assert!(
            counts.iter().all(|(_, count)| *count == 1) && counts.len() == Ended::ALL.len(),
            "{counts:?}"
        );
        let names: std::collections::BTreeSet<_> = Ended::ALL.iter().map(|ended| ended.name()).collect();
        assert_eq!(names.len(), Ended::ALL.len());
    }
}
