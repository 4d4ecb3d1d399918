//! What the agent shows: its state as the API's types.

use super::state::{Agent, FILL_WARNING_PERCENT};
use crate::api::{
    AddressView, BackendView, CounterView, CountersView, FlowView, InterfaceView, ProcessView, ServiceView,
    Snapshot, Status, TableView, VipView,
};
use crate::config::{Backend, Service};
use crate::core::plan::{BackendEntry, Image, SteeringKey, name_hash};
use crate::io::dataplane::{BackendTotals, Counter, DataplaneError, FlowEntry, Table};
use crate::io::process;
use crate::model::{BackendHealth, BackendName, Family, HealthState, ServiceName, whole_ms};
use lb_ebpf::abi::service_account;
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

type Index = BTreeMap<u64, (u32, u64)>;

impl Agent {
    /// Everything the agent shows, as of now.
    pub(super) fn snapshot(&self) -> Result<Snapshot, DataplaneError> {
        let index = index(self.dataplane.image());
        let services: Result<Vec<_>, _> =
            self.config.services.values().map(|service| self.service(service, &index)).collect();
        let services = services?;
        let status = self.status(&services, self.tables()?);
        let counters = self.dataplane.counters()?;
        let counters =
            CountersView { outcomes: views(&counters.outcomes), occurrences: views(&counters.occurrences) };
        let (vrrp, sync, mysql) = (self.vrrp_view(), self.sync_view(), self.mysql_view());
        Ok(Snapshot { status, services, counters, vrrp, sync, mysql })
    }

    fn all_warnings(&self, tables: &[TableView]) -> Vec<String> {
        let waiting = self.waiting.iter().map(|change| super::change::waits(change));
        let full = tables.iter().filter_map(fill_warning);
        let own = self.warnings.iter().cloned().chain(self.flood_warning()).chain(self.proxy_warnings());
        let own = own
            .chain(self.certificates.warnings())
            .chain(self.issuing.warnings())
            .chain(self.databases.warnings())
            .chain(self.metrics.warning())
            .chain(self.confinement_warnings());
        own.chain(waiting).chain(self.holding.warnings()).chain(full).collect()
    }

    fn tables(&self) -> Result<Vec<TableView>, DataplaneError> {
        let view = |table: Table| TableView {
            entries: match table.name {
                "established" => Some(self.sweep.established_entries),
                "embryonic" => Some(self.sweep.embryonic_entries),
                _ => table.entries,
            },
            name: table.name.to_owned(),
            capacity: table.capacity,
            bytes: table.bytes,
        };
        Ok(self.dataplane.tables()?.into_iter().map(view).collect())
    }

    fn status(&self, services: &[ServiceView], tables: Vec<TableView>) -> Status {
        let config = &self.config;
        let vips = config.vips.iter().map(|(name, vip)| VipView {
            name: name.clone(),
            addresses: vip.addresses.clone(),
            interface: vip.interface.clone(),
            active_on: vip.active_on.clone(),
            active_here: self.serves(name),
            vrrp: vip.vrrp.is_some(),
        });
        let interfaces = self.dataplane.attachments().iter().map(|attachment| InterfaceView {
            name: attachment.interface.clone(),
            xdp_mode: attachment.mode.name().to_owned(),
        });
        let takes_flows = |service: &&ServiceView| {
            service.backends.iter().any(|backend| backend.addresses.iter().any(|address| address.slots > 0))
        };
        let figures = process::figures();
        let process = ProcessView {
            cpu_ms: whole_ms(figures.cpu),
            resident_bytes: figures.resident_bytes,
            open_files: figures.open_files,
            threads: figures.threads,
            tasks: tokio::runtime::Handle::current().metrics().num_alive_tasks() as u64,
        };
        let has_backends = |service: &&ServiceView| {
            let configured = config.services.get(&service.name);
            configured.is_none_or(|service| service.mode.has_backends())
        };
        let served = services.iter().filter(|service| !service.listen.is_empty()).filter(has_backends);
        let without = served.filter(|service| !takes_flows(service)).count();
        Status {
            node: config.node.name.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            uptime_seconds: self.started.elapsed().as_secs(),
            config_file: self.config_file.display().to_string(),
            runtime_changes: self.runtime_changes,
            interfaces: interfaces.collect(),
            vips: vips.collect(),
            process,
            confinement: self.confinement_view(),
            warnings: self.all_warnings(&tables),
            tables,
            services: services.len() as u64,
            services_without_backend: without as u64,
        }
    }

    fn service(&self, service: &Service, index: &Index) -> Result<ServiceView, DataplaneError> {
        let backends: Result<Vec<_>, _> =
            service.backends.iter().map(|backend| self.backend(service, backend, index)).collect();
        let listen = [Family::V4, Family::V6].into_iter().filter_map(|family| {
            self.desired.steering.get(&SteeringKey { service: service.name.clone(), family })
        });
        let proxy = self.proxy_view(service);
        Ok(ServiceView {
            name: service.name.clone(),
            vips: service.vips.clone(),
            listen: listen.flat_map(|steering| steering.listen.iter().copied()).collect(),
            port: service.port,
            mode: service.mode.to_string(),
            protocol: service.protocol,
            keep_source: service.keep_source,
            scheduler: service.scheduler.to_string(),
            max_flows: service.max_flows,
            at_limit: service.at_limit,
            active_flows: match &proxy {
                Some(proxy) => proxy.active,
                None => self.active_flows_of(&service.name)?,
            },
            proxy,
            when_down: service.when_down,
            default_policy: service.default_policy,
            health_check: service.health.as_ref().map(ToString::to_string),
            backends: backends?,
        })
    }

    /// Open flows of a service over both families.
    fn active_flows_of(&self, service: &ServiceName) -> Result<u64, DataplaneError> {
        let hashes = [Family::V4, Family::V6].map(|family| name_hash(service, None, family));
        let services = self.dataplane.image().services.values();
        let ids: BTreeSet<u32> =
            services.filter(|entry| hashes.contains(&entry.name_hash)).map(|entry| entry.id).collect();
        ids.into_iter().map(|id| self.dataplane.active_flows(service_account(id))).sum()
    }

    fn backend(
        &self,
        service: &Service,
        backend: &Backend,
        index: &Index,
    ) -> Result<BackendView, DataplaneError> {
        let mut totals = BackendTotals::default();
        let mut active_flows = 0;
        let mut addresses = Vec::new();
        for address in &backend.addresses {
            if service.proxy.is_some() {
                let (counts, slots) = self.proxied_address(&service.name, &backend.name, *address);
                addresses.push(self.address(&service.name, backend, *address, slots));
                active_flows += counts.active;
                totals.flows_new += counts.begun;
                totals.flows_established += counts.established;
                totals.flows_refused += counts.failed;
                totals.forward_bytes += counts.up_bytes;
                totals.reverse_bytes += counts.down_bytes;
                continue;
            }
            let hash = name_hash(&service.name, Some(&backend.name), Family::of(address.ip()));
            let Some((id, slots)) = index.get(&hash).copied() else {
                addresses.push(self.address(&service.name, backend, *address, 0));
                continue;
            };
            addresses.push(self.address(&service.name, backend, *address, slots));
            active_flows += self.dataplane.active_flows(id)?;
            let found = self.dataplane.backend_totals(id)?;
            totals.flows_new += found.flows_new;
            totals.flows_established += found.flows_established;
            totals.flows_refused += found.flows_refused;
            totals.flows_over_limit += found.flows_over_limit;
            totals.forward_packets += found.forward_packets;
            totals.forward_bytes += found.forward_bytes;
            totals.reverse_packets += found.reverse_packets;
            totals.reverse_bytes += found.reverse_bytes;
        }
        Ok(BackendView {
            service: service.name.clone(),
            name: backend.name.clone(),
            weight: backend.weight,
            state: backend.state,
            max_flows: backend.max_flows,
            health: BackendHealth::of(addresses.iter().map(|address| address.health)),
            addresses,
            active_flows,
            active_flows_settled: service.proxy.is_some()
                || self.sweep_begun.is_some_and(|begun| begun > self.changed_at),
            flows_new: totals.flows_new,
            flows_established: totals.flows_established,
            flows_refused: totals.flows_refused,
            flows_over_limit: totals.flows_over_limit,
            forward_packets: totals.forward_packets,
            forward_bytes: totals.forward_bytes,
            reverse_packets: totals.reverse_packets,
            reverse_bytes: totals.reverse_bytes,
        })
    }

    fn address(
        &self,
        service: &ServiceName,
        backend: &Backend,
        address: SocketAddr,
        slots: u64,
    ) -> AddressView {
        let check = self.checks.find(service, &backend.name, Family::of(address.ip()));
        AddressView {
            address,
            health: check.map_or(HealthState::Unknown, |check| check.state()),
            last_check: check.and_then(|check| check.last_result()),
            last_check_us: check.and_then(|check| check.last_duration_us()),
            checks_passed: check.map_or(0, |check| check.passed()),
            checks_failed: check.map_or(0, |check| check.failed()),
            slots,
        }
    }

    /// Ids of a backend's addresses in the dataplane, as far as they are there.
    pub(super) fn backend_ids(&self, service: &ServiceName, backend: &BackendName) -> Vec<u32> {
        let hashes = [Family::V4, Family::V6].map(|family| name_hash(service, Some(backend), family));
        let backends = self.dataplane.image().backends.iter();
        backends.filter(|(_, entry)| hashes.contains(&entry.name_hash)).map(|(id, _)| *id).collect()
    }

    /// Ids of the addresses of all backends of that name.
    pub(super) fn ids_of_backends(&self, name: &BackendName) -> BTreeSet<u32> {
        self.config.services.keys().flat_map(|service| self.backend_ids(service, name)).collect()
    }

    /// A function that names flows, for use elsewhere: it holds what it needs of the current state.
    pub(super) fn flow_namer(&self) -> impl Fn(&FlowEntry) -> FlowView + Send + use<> {
        let mut by_hash = BTreeMap::new();
        for service in self.config.services.values() {
            for backend in &service.backends {
                for family in [Family::V4, Family::V6] {
                    let hash = name_hash(&service.name, Some(&backend.name), family);
                    by_hash.insert(hash, (service.name.clone(), backend.name.clone()));
                }
            }
        }
        let image = &self.dataplane.image().backends;
        let names: BTreeMap<u32, (ServiceName, BackendName)> = image
            .iter()
            .filter_map(|(id, entry)| Some((*id, by_hash.get(&entry.name_hash)?.clone())))
            .collect();
        move |flow| {
            let (service, backend_name) = names.get(&flow.backend_id).cloned().unzip();
            FlowView {
                service,
                backend_name,
                protocol: flow.protocol,
                client: flow.client,
                vip: flow.vip,
                nat: flow.nat,
                backend: flow.backend,
                state: flow.state.to_owned(),
                idle_ms: whole_ms(flow.idle),
                forward_packets: flow.forward_packets,
                forward_bytes: flow.forward_bytes,
            }
        }
    }
}

/// A table that is nearly full. The embryonic one may be: what was used least recently gives way.
fn fill_warning(table: &TableView) -> Option<String> {
    let TableView { name, entries, capacity, .. } = table;
    let entries = entries.filter(|entries| entries * 100 > capacity * FILL_WARNING_PERCENT)?;
    (name != "embryonic").then(|| format!("table {name} holds {entries} of {capacity} entries"))
}

fn views(counters: &[Counter]) -> Vec<CounterView> {
    let view = |counter: &Counter| CounterView {
        name: counter.name.to_owned(),
        count: counter.count,
        description: counter.description.to_owned(),
        dropped: counter.dropped,
    };
    counters.iter().map(view).collect()
}

/// Id and slots of each backend address that the dataplane knows, by [`name_hash`].
fn index(image: &Image) -> Index {
    let mut slots: BTreeMap<u32, u64> = BTreeMap::new();
    for id in image.slots.values().flatten() {
        *slots.entry(*id).or_default() += 1;
    }
    let entry =
        |(id, entry): (&u32, &BackendEntry)| (entry.name_hash, (*id, slots.get(id).copied().unwrap_or(0)));
    image.backends.iter().map(entry).collect()
}

/// A backend as events name it.
pub(super) fn label(service: &ServiceName, backend: &BackendName) -> String {
    format!("service {service}: backend {backend}")
}
