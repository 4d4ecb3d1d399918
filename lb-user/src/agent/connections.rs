//! Connections that end at this node, one by one.

use super::state::Agent;
use crate::api::{ApiError, ConnectionFilter, ConnectionList, ConnectionView, Reply};
use crate::io::proxy::OpenConnection;
use crate::model::{BackendName, ServiceName, whole_ms, whole_us};
use std::collections::BTreeMap;
use std::net::SocketAddr;

/// When nobody says how many, and the most there are.
const LIMIT: usize = 1000;
const LIMIT_MAX: usize = 100_000;

impl Agent {
    /// Those to which all of the filter applies. They are looked for beside the loop.
    pub(super) fn list_connections(&self, filter: ConnectionFilter, reply: Reply<ConnectionList>) {
        if let Some(name) = filter.service.as_ref().filter(|name| !self.config.services.contains_key(*name)) {
            // Whoever has left needs no answer.
            let _ = reply.send(Err(self.no_service(name)));
            return;
        }
        let (names, open) = (self.names_of_connections(), self.proxy.open());
        let look = move || {
            let max = filter.limit.unwrap_or(LIMIT).min(LIMIT_MAX);
            let pick = |one: &OpenConnection| Some(names.view(one)).filter(|view| is_wanted(&filter, view));
            let (connections, truncated) = open.look(max, &pick);
            let _ = reply.send(Ok::<_, ApiError>(ConnectionList { connections, truncated }));
        };
        drop(tokio::task::spawn_blocking(look));
    }

    fn names_of_connections(&self) -> Names {
        let entrances = self
            .desired
            .proxied
            .iter()
            .flat_map(|(key, steering)| steering.listen.iter().map(move |at| (*at, key.service.clone())));
        let backends = self.config.services.values().flat_map(|service| {
            let addresses = service.backends.iter().flat_map(|backend| {
                backend.addresses.iter().map(move |address| (*address, backend.name.clone()))
            });
            addresses.map(|(address, name)| ((service.name.clone(), address), name))
        });
        Names { entrances: entrances.collect(), backends: backends.collect() }
    }
}

/// What addresses are called.
struct Names {
    entrances: BTreeMap<SocketAddr, ServiceName>,
    backends: BTreeMap<(ServiceName, SocketAddr), BackendName>,
}

impl Names {
    fn view(&self, open: &OpenConnection) -> ConnectionView {
        let service = self.entrances.get(&open.vip).cloned();
        let backend = service.clone().and_then(|name| self.backends.get(&(name, open.backend)).cloned());
        ConnectionView {
            service,
            backend_name: backend,
            client: open.client,
            vip: open.vip,
            backend: open.backend,
            age_ms: whole_ms(open.age),
            idle_ms: whole_ms(open.idle),
            up_bytes: open.up_bytes,
            down_bytes: open.down_bytes,
            round_trip_us: whole_us(open.round_trip),
            retransmitted: open.retransmitted,
        }
    }
}

fn is_wanted(filter: &ConnectionFilter, one: &ConnectionView) -> bool {
    (filter.service.is_none() || filter.service == one.service)
        && (filter.backend.is_none() || filter.backend == one.backend_name)
        && filter.client.is_none_or(|prefix| prefix.contains(&one.client.ip()))
        && filter.idle_ms.is_none_or(|idle_ms| one.idle_ms >= idle_ms)
}
