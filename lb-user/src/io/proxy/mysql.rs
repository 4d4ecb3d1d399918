//! Sessions of databases: the client's on one side, and on the other one connection to the primary and one to a replica.
//!
//! Owns the sockets and the order of things on them. Where a command runs is decided by [`crate::core::mysql::session`]; which backend is the
//! primary, the agent says.

mod accounting;
mod backends;
mod borrowed;
mod channel;
mod interruption;
mod link;
mod login;
mod logins;
mod monitor;
mod perform;
mod pool;
mod prepared;
mod promote;
mod relay;
mod replica;
mod session;
mod sessions;

pub use link::LinkError;
pub use monitor::{Asked, Found, Kept, look};
pub use promote::{PromoteError, Promoting, promote};
pub use sessions::{Routes, SessionView, Sessions};

use super::Served;
use super::account::{Ended, ServiceAccount, SessionPlace};
use super::connection::{Context, Ends, reset};
use super::preface;
use super::record::Record;
use super::terms::MysqlPlan;
use crate::core::mysql::protocol::capabilities::Capabilities;
use crate::core::mysql::protocol::packet::frame;
use crate::core::mysql::protocol::response::ServerError;
use login::LoginError;
use std::sync::Arc;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};
use tracing::debug;

/// Serves a client from its greeting to its end.
pub(super) async fn serve(
    tcp: TcpStream,
    ends: Ends,
    mut context: Context,
    (account, mut record): (Arc<ServiceAccount>, Option<Box<Record>>),
) {
    let served = context.service.borrow().clone();
    let (mut rest, patience) = (Vec::new(), Instant::now() + served.terms.handshake);
    // What takes a moment has its room for that moment alone: a session that says nothing should hold little.
    let preface = Box::pin(preface::who_connects(&tcp, &mut rest, ends, &served.terms, patience));
    let ended = match preface.await {
        Ok(ends) => {
            if let Some(record) = &mut record {
                record.note_ends(ends);
            }
            begin(tcp, rest, ends, &mut context, record.as_deref_mut()).await
        }
        Err(_) => {
            reset(&tcp);
            Ended::BadHandshake
        }
    };
    account.count_end(ended);
    if let Some(record) = record {
        record.end(ended, None);
    }
}

async fn begin(
    tcp: TcpStream,
    rest: Vec<u8>,
    ends: Ends,
    context: &mut Context,
    record: Option<&mut Record>,
) -> Ended {
    let served = context.service.borrow_and_update().clone();
    let patience = Instant::now() + served.terms.handshake;
    let Some((served, plan)) = with_greeting(served, context, patience).await else {
        refuse(&tcp, "no backend of this service has been heard of yet");
        return Ended::NoBackend;
    };
    let Some(place) = SessionPlace::take(&served.account, served.terms.max_flows) else {
        refuse(&tcp, "the service has as many sessions as it may have");
        return Ended::NoRoom;
    };
    let Some(sample) = &plan.greeting else { return Ended::NoBackend };
    let number = served.sessions.number();
    let login = Box::pin(login::accept(tcp, rest, (ends, number), (&served.terms, &plan, sample)));
    let client = match timeout_at(patience, login).await {
        Ok(Ok(client)) => client,
        Ok(Err(error)) => {
            debug!(client = %ends.client, %error, "no session");
            return match error {
                LoginError::Tls(_) => Ended::TlsFailed,
                LoginError::Io(_) | LoginError::Refused(_) => Ended::BadHandshake,
            };
        }
        Err(_) => return Ended::BadHandshake,
    };
    if let Some(record) = record {
        record.note_user(&client.identity.user);
    }
    let registered = served.sessions.begin(number, client.identity.user.clone(), ends.client);
    let running = session::Running::new(client, (served, plan), ends, registered, context);
    let ended = Box::pin(running.run()).await;
    drop(place);
    ended
}

/// The service as it is now, once it is known what servers it has.
async fn with_greeting(
    mut served: Arc<Served>,
    context: &mut Context,
    patience: Instant,
) -> Option<(Arc<Served>, Arc<MysqlPlan>)> {
    loop {
        if let Some(plan) = served.terms.mysql.clone().filter(|plan| plan.greeting.is_some()) {
            return Some((served, plan));
        }
        timeout_at(patience, context.service.changed()).await.ok()?.ok()?;
        served = context.service.borrow_and_update().clone();
    }
}

/// Tells a client that nothing comes of it, before anything was agreed on.
fn refuse(tcp: &TcpStream, message: &str) {
    let error = ServerError::Other { code: 1040, sql_state: *b"08004", message };
    // Whether it arrives is the client's concern.
    if tcp.try_write(&frame(0, &error.packet().encode(Capabilities::default()))).is_err() {
        reset(tcp);
    }
}
