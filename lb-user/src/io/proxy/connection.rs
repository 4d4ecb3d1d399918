//! One connection, from its accept to its end: who the client is, which backend takes it, and then whatever both have to say.

use super::account::{Ended, Place, ServiceAccount, Waiting};
use super::handshake::{self, HandshakeError, TlsFacts};
use super::mysql;
use super::open::{Entered, OpenConnections};
use super::pipe::Pipes;
use super::preface;
use super::pump::{End, Moved, Pump, Side};
use super::reach::{Reached, Wanted, reach};
use super::record::Record;
use super::wire::{Session, Wire};
use super::{ProxyEvent, Served};
use crate::core::proxy::{Ask, Choice, RequestAnswer, Table};
use crate::model::{AtLimit, WhenDown};
use socket2::SockRef;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, timeout_at};
use tracing::debug;

/// Where one backend alone can take a connection, and refused it, it is asked again after this, or its connect timeout if that is less.
const ASK_AGAIN_AFTER: Duration = Duration::from_secs(1);

/// The account of bytes that were moved is that far behind at most: all threads write it.
const COUNT_EVERY_BYTES: u64 = 256 * 1024;

/// What a connection needs of its thread.
#[derive(Clone)]
pub(super) struct Context {
    /// What its service is, now and later.
    pub(super) service: watch::Receiver<Arc<Served>>,
    pub(super) events: mpsc::Sender<ProxyEvent>,
    pub(super) pipes: Pipes,
    /// Those of the thread.
    pub(super) open: Arc<OpenConnections>,
}

impl Context {
    /// A connection of the service begins: where it is counted, also at its end.
    pub(super) fn begin(&self) -> Arc<ServiceAccount> {
        let account = self.service.borrow().account.clone();
        account.count_begin();
        account
    }
}

/// The two ends that a client sees: its own, and the VIP's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ends {
    pub(super) client: SocketAddr,
    pub(super) vip: SocketAddr,
}

/// Finds a backend for a connection that was accepted. What follows is a task of its own: what it takes to open a connection is not kept while it
/// is open.
pub(super) async fn serve(client: TcpStream, ends: Ends, context: Context, account: Arc<ServiceAccount>) {
    let (pipes, all) = (context.pipes, context.open.clone());
    let mut record = Record::begin(context.service.borrow().terms.connection_log.as_ref(), ends);
    if context.service.borrow().terms.mysql.is_some() {
        // A task of its own, without the room that other connections need.
        drop(tokio::spawn(mysql::serve(client, ends, context, (account, record))));
        return;
    }
    match open(&client, ends, context, record.as_deref_mut()).await {
        Ok(opened) => {
            let listed = (all, (opened.ends != ends).then_some(opened.ends.client));
            drop(tokio::spawn(exchange(client, opened, pipes, (account, listed, record))));
        }
        Err(ended) => {
            // Who is told something should come to read it.
            if !matches!(ended, Ended::TlsFailed | Ended::Redirected | Ended::Challenged) {
                reset(&client);
            }
            account.count_end(ended);
            if let Some(record) = record {
                record.end(ended, Some(Moved::default()));
            }
        }
    }
}

/// A connection with its backend, and what each of both is to be told first.
struct Opened {
    ends: Ends,
    client: Option<Box<Session>>,
    backend: Reached,
    to_backend: Vec<u8>,
    /// How much of it is the client's own.
    early_bytes: u64,
    served: Arc<Served>,
    place: Place,
}

/// Finds out who the client is, and connects to a backend.
async fn open(
    client: &TcpStream,
    ends: Ends,
    mut context: Context,
    mut record: Option<&mut Record>,
) -> Result<Opened, Ended> {
    let served = context.service.borrow_and_update().clone();
    let terms = &served.terms;
    let patience = Instant::now() + terms.handshake;
    let mut rest = Vec::new();
    let who = preface::who_connects(client, &mut rest, ends, terms, patience).await;
    let ends = who.map_err(|_| Ended::BadHandshake)?;
    if let Some(record) = &mut record {
        record.note_ends(ends);
    }
    if let Some(port) = terms.redirect {
        let answers = terms.challenges.as_ref().map(|set| &set.0.answers);
        let answered = preface::redirect(client, &mut rest, (ends.vip, port, answers), patience).await;
        return Err(match answered {
            Ok(RequestAnswer::Elsewhere(_)) => Ended::Redirected,
            Ok(RequestAnswer::Challenge(_)) => Ended::Challenged,
            Err(_) => Ended::BadHandshake,
        });
    }
    let (mut session, mut facts, mut name) = (None, None, None);
    if terms.tls.is_some() {
        let established = end_tls(client, &rest, patience, ends, &served).await?;
        name.clone_from(&established.facts.server_name);
        (session, facts) = (Some(established.session), Some(established.facts));
        rest = established.first;
    } else if served.tables.have_names() {
        let hello = preface::hello(client, &mut rest, patience).await.map_err(|_| Ended::BadHandshake)?;
        name = hello.server_name;
    }
    if let Some(record) = &mut record {
        record.note_tls(name.as_deref(), facts.as_ref());
    }
    let asked = Asked { ends, name: name.as_deref(), tls: facts.as_ref() };
    // What the service is by now, after all that waiting.
    let (served, place, index, backend) = connect(asked, served.clone(), &mut context).await?;
    if let (Some(record), Some(taken)) = (record, served.backends.get(index)) {
        record.note_backend(taken.name.as_str(), taken.address);
    }
    let mut to_backend = backend.unsent.clone();
    let early_bytes = rest.len() as u64;
    to_backend.append(&mut rest);
    Ok(Opened { ends, client: session, backend, to_backend, early_bytes, served, place })
}

/// A connection that a backend is looked for.
#[derive(Clone, Copy)]
struct Asked<'a> {
    ends: Ends,
    /// The name its client asked for.
    name: Option<&'a str>,
    tls: Option<&'a TlsFacts>,
}

/// The handshake with a client whose TLS ends here.
async fn end_tls(
    client: &TcpStream,
    first: &[u8],
    patience: Instant,
    ends: Ends,
    served: &Served,
) -> Result<handshake::Established, Ended> {
    let Some(tls) = &served.terms.tls else { return Err(Ended::TlsFailed) };
    let challenges = served.terms.challenges.as_ref().map(|set| &*set.0);
    let reason = match timeout_at(patience, handshake::accept(client, first, &tls.0, challenges)).await {
        Ok(Err(HandshakeError::Challenged)) => return Err(Ended::Challenged),
        Ok(Ok(established)) => {
            served.account.count_handshake(established.facts.is_resumed);
            return Ok(established);
        }
        Ok(Err(error)) => error.to_string(),
        Err(_) => "it took too long".to_owned(),
    };
    debug!(client = %ends.client, vip = %ends.vip, reason, "no TLS session came about");
    Err(Ended::TlsFailed)
}

type Connected = (Arc<Served>, Place, usize, Reached);

/// Connects to one backend after the other, until one takes the connection or it has been tried as often as may be.
async fn connect(
    asked: Asked<'_>,
    mut served: Arc<Served>,
    context: &mut Context,
) -> Result<Connected, Ended> {
    let Asked { ends, name, tls } = asked;
    let (mut table, mut turn, mut ticket) = served.draw(name);
    let mut freed = None;
    let patience = Instant::now() + served.terms.queue;
    let mut tried: Vec<usize> = Vec::new();
    let mut failures = 0;
    let mut waiting = None;
    loop {
        let ask = Ask { client: ends.client, vip: ends.vip, ticket, tried: &tried };
        match place(&served, &table, &ask) {
            Ok((index, place)) => {
                drop(waiting.take());
                let Some(backend) = served.backends.get(index) else { return Err(Ended::NoBackend) };
                let cuts = place.backend.cuts();
                let wanted = Wanted {
                    client: ends.client,
                    vip: ends.vip,
                    tls,
                    terms: &served.terms,
                    begins_tls: true,
                };
                match reach(backend.address, &wanted).await {
                    Ok(_) if place.backend.cuts() != cuts => return Err(Ended::Cut),
                    Ok(reached) => {
                        place.backend.count_established();
                        return Ok((served, place, index, reached));
                    }
                    Err(error) => {
                        place.backend.count_failed();
                        let is_shown = served.terms.shows(ends.client, backend.address);
                        note_failure(&error, backend.name_hash, is_shown, context);
                    }
                }
                if failures == served.terms.retries {
                    return Err(Ended::ConnectFailed);
                }
                failures += 1;
                tried.push(index);
                let again = Ask { client: ends.client, vip: ends.vip, ticket, tried: &tried };
                if table.choose(&again, |index| served.connections(index)) == Choice::Nobody {
                    tried.clear();
                    sleep(ASK_AGAIN_AFTER.min(served.terms.connect)).await;
                }
            }
            Err(refusal) => {
                let waits = match refusal {
                    Choice::Full => served.terms.at_limit != AtLimit::Reset,
                    _ => served.terms.when_down == WhenDown::Drop,
                };
                let end = if refusal == Choice::Full { Ended::NoRoom } else { Ended::NoBackend };
                if !waits {
                    return Err(end);
                }
                if waiting.is_none() {
                    waiting = Some(Waiting::begin(&served.account, served.terms.max_queue).ok_or(end)?);
                }
                // The bell must be heard from before the last look, which follows: a place may become free in between.
                let Some(bell) = freed.take() else {
                    let mut bell = Box::pin(turn.freed.clone().notified_owned());
                    bell.as_mut().enable();
                    freed = Some(bell);
                    continue;
                };
                wait(bell, context, patience).await.map_err(|()| end)?;
            }
        }
        // Backends come and go while a connection is made.
        let now = context.service.borrow_and_update().clone();
        if !Arc::ptr_eq(&now, &served) && now.tables != served.tables {
            tried.clear();
            (table, turn, ticket) = now.draw(name);
            freed = None;
        }
        served = now;
    }
}

/// Takes a place at one of the service's backends, or says why there is none.
fn place(served: &Served, table: &Table, ask: &Ask<'_>) -> Result<(usize, Place), Choice> {
    let mut taken: Vec<usize> = Vec::new();
    while !served.account.is_full(served.terms.max_flows) {
        // Those that another thread was faster at count as tried.
        let tried = [ask.tried, &taken].concat();
        let ask = Ask { tried: &tried, ..*ask };
        let index = match table.choose(&ask, |index| served.connections(index)) {
            Choice::Backend(index) => index,
            Choice::Nobody if !taken.is_empty() => return Err(Choice::Full),
            other => return Err(other),
        };
        let max = table.backends.get(index).map_or(0, |backend| backend.max);
        let backend = served.backends.get(index).ok_or(Choice::Nobody)?;
        match Place::take((&served.account, served.terms.max_flows), (&backend.account, max)) {
            Some(place) => return Ok((index, place)),
            None => taken.push(index),
        }
    }
    Err(Choice::Full)
}

/// Waits until there may be room, or another backend.
async fn wait(freed: impl Future<Output = ()>, context: &mut Context, patience: Instant) -> Result<(), ()> {
    let changed = async {
        tokio::select! {
            () = freed => {}
            // A service that is gone tells nothing more: then its connections wait for the other alone.
            Ok(()) = context.service.changed() => {}
        }
    };
    timeout_at(patience, changed).await.map_err(|_| ())
}

/// A backend that does not take connections is told to whoever judges health; that this machine has no socket left is not its fault, nor that
/// an answer goes another way to the client whose address it was shown.
pub(super) fn note_failure(error: &io::Error, name_hash: u64, is_client_shown: bool, context: &Context) {
    use io::ErrorKind::{ConnectionRefused, HostUnreachable, InvalidData, TimedOut, UnexpectedEof};
    // What is not understood, or cut short, is a handshake of TLS that failed.
    let reason = match error.kind() {
        TimedOut if is_client_shown => return,
        ConnectionRefused | HostUnreachable | TimedOut => None,
        InvalidData | UnexpectedEof => Some(error.to_string()),
        _ => return,
    };
    // Where nobody listens fast enough, enough has been told.
    let _ = context.events.try_send(ProxyEvent::ConnectFailed { name_hash, reason });
}

/// Lets both sides talk to the end.
fn exchange(
    client: TcpStream,
    opened: Opened,
    pipes: Pipes,
    (account, (all, told), record): (Arc<ServiceAccount>, Listed, Option<Box<Record>>),
) -> impl Future<Output = ()> + Send {
    let Opened { ends: _, client: session, backend, to_backend, early_bytes, served, place } = opened;
    let ends = (Wire::new(client, session), Wire::new(backend.stream, backend.session));
    let early = Moved { up_bytes: early_bytes, down_bytes: backend.first.len() as u64 };
    let pump = Pump::new(ends, (to_backend, backend.first), early);
    let mut held = Held { _entered: all.enter(pump.sockets(), told), pump };
    async move {
        let end = {
            // As it was when it began: a change concerns those that come.
            let idle = &served.terms.idle;
            let (deadline, _) = held.pump.deadline(idle);
            let mut sleep = pin!(tokio::time::sleep_until(deadline));
            let mut cut = pin!(place.backend.cut_wanted());
            let mut counted = Moved::default();
            poll_fn(|cx| {
                if cut.as_mut().poll(cx).is_ready() {
                    return Poll::Ready(None);
                }
                let end = held.pump.poll_within(cx, pipes, idle, sleep.as_mut()).map(Some);
                let moved = held.pump.moved();
                if end.is_ready() || moved.since(counted) >= COUNT_EVERY_BYTES {
                    let (up, down) =
                        (moved.up_bytes - counted.up_bytes, moved.down_bytes - counted.down_bytes);
                    place.backend.count_bytes(up, down);
                    counted = moved;
                }
                end
            })
            .await
        };
        let ended = ended(end.as_ref());
        if ended != Ended::Closed {
            held.pump.reset();
        }
        let moved = held.pump.moved();
        // Who sees that it has ended finds its place free.
        drop((held, place));
        account.count_end(ended);
        if let Some(record) = record {
            record.end(ended, Some(moved));
        }
    }
}

/// What moves a connection's data, and its place among those that are open, which goes first however this ends.
struct Held {
    _entered: Entered,
    pump: Pump,
}

/// Where a connection is listed, and who a header said it is from.
type Listed = (Arc<OpenConnections>, Option<SocketAddr>);

/// `None`: the operator wanted it.
fn ended(end: Option<&End>) -> Ended {
    match end {
        None => Ended::Cut,
        Some(End::Closed) => Ended::Closed,
        Some(End::Reset(Side::Client)) => Ended::ClientReset,
        Some(End::Reset(Side::Backend)) => Ended::BackendReset,
        Some(End::Idle(Side::Client)) => Ended::ClientIdle,
        Some(End::Idle(Side::Backend)) => Ended::BackendIdle,
        Some(End::HalfClosed) => Ended::HalfClosedIdle,
    }
}

/// When it is closed it is broken off: an orderly end would say that all was told.
pub(super) fn reset(stream: &TcpStream) {
    // One that is gone already needs nothing.
    let _ = SockRef::from(stream).set_linger(Some(Duration::ZERO));
}

#[cfg(test)]
mod tests;
