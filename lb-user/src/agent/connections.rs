//! Connections that end at this node, one by one.

use super::state::Agent;
use crate::api::{ApiError, ConnectionFilter, ConnectionList, ConnectionView};
use crate::io::proxy::OpenConnection;
use crate::model::{BackendName, ServiceName};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

/// When nobody says how many.
const LIMIT: usize = 1000;

impl Agent {
    /// Those to which all of the filter applies.
    pub(super) fn connections(&self, filter: &ConnectionFilter) -> Result<ConnectionList, ApiError> {
        if let Some(name) = filter.service.as_ref().filter(|name| !self.config.services.contains_key(*name)) {
            return Err(self.no_service(name));
        }
        let names = self.entrances();
        let view = |open: &OpenConnection| {
            let service = names.get(&open.vip).copied();
            ConnectionView {
                service: service.cloned(),
                backend_name: service.and_then(|name| self.backend_at(name, open.backend)),
                client: open.client,
                vip: open.vip,
                backend: open.backend,
                age_ms: ms(open.age),
                idle_ms: ms(open.idle),
                up_bytes: open.up_bytes,
                down_bytes: open.down_bytes,
                round_trip_us: u64::try_from(open.round_trip.as_micros()).unwrap_or(u64::MAX),
                retransmitted: open.retransmitted,
            }
        };
        let (open, truncated) =
            self.proxy.open(filter.limit.unwrap_or(LIMIT), &|open| is_wanted(filter, &view(open)));
        Ok(ConnectionList { connections: open.iter().map(view).collect(), truncated })
    }

    /// Where which service is reached.
    fn entrances(&self) -> BTreeMap<SocketAddr, &ServiceName> {
        let listening = self.desired.proxied.iter();
        listening
            .flat_map(|(key, steering)| steering.listen.iter().map(move |at| (*at, &key.service)))
            .collect()
    }

    fn backend_at(&self, service: &ServiceName, address: SocketAddr) -> Option<BackendName> {
        let backends = &self.config.services.get(service)?.backends;
        let has_it = |backend: &&crate::config::Backend| backend.addresses.contains(&address);
        backends.iter().find(has_it).map(|backend| backend.name.clone())
    }
}

fn is_wanted(filter: &ConnectionFilter, one: &ConnectionView) -> bool {
    let is_or_any = |wanted: &Option<ServiceName>| wanted.is_none() || *wanted == one.service;
    is_or_any(&filter.service)
        && (filter.backend.is_none() || filter.backend == one.backend_name)
        && filter.client.is_none_or(|prefix| prefix.contains(&one.client.ip()))
        && filter.idle_ms.is_none_or(|idle_ms| one.idle_ms >= idle_ms)
}

fn ms(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
