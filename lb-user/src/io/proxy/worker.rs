//! A thread of the proxy: accepts connections at its sockets and serves them. Threads share nothing but accounts.

use super::connection::{Context, Ends, serve};
use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tracing::warn;

/// After a failed accept for lack of descriptors or memory: until then some connections may have ended.
const ACCEPT_AGAIN_AFTER: Duration = Duration::from_millis(20);

/// A timer that is due before all others has the runtime write to itself, to look at its timers anew. Each connection sets one; with this one
/// going on, none of them is the first.
const TICK: Duration = Duration::from_millis(100);

/// What a thread is asked to do.
pub(super) enum Order {
    /// Accept connections there.
    Listen { listener: std::net::TcpListener, at: SocketAddr, context: Context },
    /// Accept none there any more. Open connections go on.
    Close(SocketAddr),
    /// Say so once none is being accepted any more of what was closed.
    Finish(oneshot::Sender<()>),
}

/// Works until there is nobody who could give orders any more.
pub(super) async fn run(mut orders: mpsc::UnboundedReceiver<Order>) {
    // Several at one address where they are another agent's, which had more threads.
    let mut accepting: BTreeMap<SocketAddr, Vec<JoinHandle<()>>> = BTreeMap::new();
    let mut closing: Vec<JoinHandle<()>> = Vec::new();
    let ticking = tokio::spawn(async {
        let mut tick = tokio::time::interval(TICK);
        loop {
            tick.tick().await;
        }
    });
    while let Some(order) = orders.recv().await {
        closing.retain(|task| !task.is_finished());
        match order {
            Order::Listen { listener, at, context } => match TcpListener::from_std(listener) {
                Ok(listener) => {
                    accepting.entry(at).or_default().push(tokio::spawn(accept(listener, at, context)));
                }
                Err(error) => warn!(%at, %error, "connections are not accepted by one of the threads"),
            },
            Order::Close(at) => {
                let closed = accepting.remove(&at).into_iter().flatten();
                closing.extend(closed.inspect(JoinHandle::abort));
            }
            Order::Finish(done) => {
                for task in closing.drain(..) {
                    // Its end is all that matters.
                    let _ = task.await;
                }
                let _ = done.send(());
            }
        }
    }
    ticking.abort();
}

async fn accept(listener: TcpListener, vip: SocketAddr, context: Context) {
    loop {
        match listener.accept().await {
            Ok((stream, client)) => {
                // At once: whoever waits for all to end must not overlook it.
                let account = context.begin();
                tokio::spawn(serve(stream, Ends { client, vip }, context.clone(), account));
            }
            // It was gone before it was accepted.
            Err(error) if is_of_one_connection(&error) => {}
            Err(error) => {
                warn!(%vip, %error, "a connection was not accepted");
                tokio::time::sleep(ACCEPT_AGAIN_AFTER).await;
            }
        }
    }
}

fn is_of_one_connection(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset)
}
