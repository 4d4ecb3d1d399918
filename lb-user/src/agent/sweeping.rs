//! The thread that walks the flow tables: sweeping, listing and cutting take long at a million flows, and
//! the agent's loop must not wait for them.

use super::AgentError;
use crate::api::{ApiError, ErrorKind, FlowFilter, Reply};
use crate::config::{Config, FlowTimeouts};
use crate::core::expiry::Timeouts;
use crate::core::plan::ServiceAddress;
use crate::io::dataplane::{DataplaneError, FlowEntry, FlowSweeper, SweepReport, monotonic_now};
use std::collections::BTreeSet;
use std::sync::mpsc as blocking;
use std::thread;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;
use tracing::warn;

/// Sweeps are at least so far apart.
const INTERVAL: Duration = Duration::from_secs(1);
/// A sweep is followed by so many times its own length of rest: at most 5 % of one CPU.
const REST: u32 = 20;
const DEFAULT_LIMIT: usize = 1000;

/// What comes back from the thread.
pub(super) enum Swept {
    /// A sweep's report, and when it began: what came later it may not have seen.
    Report(SweepReport, Instant),
    /// Flows of a backend were cut.
    Cut { backend: String, flows: u64 },
}

/// A flow list on its way to be given names.
pub(super) type NameFlows = Box<dyn Fn(&FlowEntry) -> crate::api::FlowView + Send>;

/// What the thread is asked to do.
pub(super) enum Order {
    /// New timeouts.
    SetTimeouts(Timeouts),
    /// Forget all flows of a backend address.
    Cut { backend_id: u32, backend: String },
    /// List flows to one of these VIP addresses (empty: all).
    List {
        filter: FlowFilter,
        vips: Option<Vec<ServiceAddress>>,
        /// Ids of the backends that the filter names, if it names any.
        backends: Option<BTreeSet<u32>>,
        name: NameFlows,
        reply: Reply<crate::api::FlowList>,
    },
}

impl From<FlowTimeouts> for Timeouts {
    fn from(config: FlowTimeouts) -> Self {
        Self {
            established: config.established,
            half_closed: config.half_closed,
            closed: config.closed,
            embryonic: config.embryonic,
            udp: config.udp,
        }
    }
}

/// The thread, and what it reports. It ends when its order channel closes.
pub(super) fn spawn(
    mut sweeper: FlowSweeper,
    config: &Config,
) -> Result<(blocking::Sender<Order>, mpsc::Receiver<Swept>), AgentError> {
    let (orders, orders_in) = blocking::channel();
    let (reports, reports_out) = mpsc::channel(4);
    let mut timeouts = Timeouts::from(config.dataplane.timeouts);
    let work = move || {
        let mut next_sweep = Instant::now();
        loop {
            // Orders, however many, never put a sweep off: a table that is not swept fills up.
            let wait = next_sweep.saturating_duration_since(Instant::now());
            let order = if wait.is_zero() {
                Err(blocking::RecvTimeoutError::Timeout)
            } else {
                orders_in.recv_timeout(wait)
            };
            match order {
                Ok(Order::SetTimeouts(new)) => timeouts = new,
                Ok(Order::Cut { backend_id, backend }) => match sweeper.cut(backend_id) {
                    Ok(flows) => drop(reports.blocking_send(Swept::Cut { backend, flows })),
                    Err(error) => warn!(%error, backend, "flows not cut"),
                },
                Ok(Order::List { filter, vips, backends, name, reply }) => {
                    // A client that left no longer wants it.
                    let _ = reply.send(list(&sweeper, &filter, vips.as_deref(), backends.as_ref(), &name));
                }
                Err(blocking::RecvTimeoutError::Disconnected) => return,
                Err(blocking::RecvTimeoutError::Timeout) => {
                    let begun = Instant::now();
                    let rest = match sweeper.sweep(timeouts, monotonic_now()) {
                        Ok(report) => {
                            let rest = INTERVAL.max(report.took * REST);
                            if reports.blocking_send(Swept::Report(report, begun)).is_err() {
                                return;
                            }
                            rest
                        }
                        Err(error) => {
                            warn!(%error, "flow tables not swept");
                            INTERVAL
                        }
                    };
                    next_sweep = Instant::now() + rest;
                }
            }
        }
    };
    let spawned = thread::Builder::new().name("flow-sweep".into()).spawn(work);
    spawned.map_err(|cause| AgentError::System { what: "starting the sweeping thread", cause })?;
    Ok((orders, reports_out))
}

fn list(
    sweeper: &FlowSweeper,
    filter: &FlowFilter,
    vips: Option<&[ServiceAddress]>,
    backends: Option<&BTreeSet<u32>>,
    name: &NameFlows,
) -> Result<crate::api::FlowList, ApiError> {
    let wanted = |flow: &FlowEntry| {
        vips.is_none_or(|vips| vips.contains(&ServiceAddress { socket: flow.vip, protocol: flow.protocol }))
            && backends.is_none_or(|backends| backends.contains(&flow.backend_id))
            && filter.client.is_none_or(|clients| clients.contains(&flow.client.ip()))
            && filter.protocol.is_none_or(|protocol| flow.protocol == protocol)
            && filter.state.is_none_or(|state| flow.state == state.as_str())
            && filter.idle_ms.is_none_or(|idle_ms| flow.idle.as_millis() >= u128::from(idle_ms))
    };
    let limit = filter.limit.unwrap_or(DEFAULT_LIMIT);
    let internal = |error: DataplaneError| ApiError::new(ErrorKind::Internal, error.to_string());
    let (flows, truncated) = sweeper.list(monotonic_now(), limit, wanted).map_err(internal)?;
    Ok(crate::api::FlowList { flows: flows.iter().map(name).collect(), truncated })
}
