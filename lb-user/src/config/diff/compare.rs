//! Finds the steps between two configurations.

use super::{Change, Replaced, ServiceChange};
use crate::config::{Backend, Config, Service};
use crate::model::ServiceName;

/// The steps from `old` to `new`. What stays the same is in none of them.
///
/// Their order is one in which they can be done: what is removed goes before what is added, VIPs come
/// before the services that need them.
pub fn diff(old: &Config, new: &Config) -> Vec<Change> {
    let mut changes = Vec::new();
    settings(old, new, &mut changes);
    for name in old.services.keys().filter(|name| !new.services.contains_key(*name)) {
        changes.push(Change::ServiceRemoved(name.clone()));
    }
    vips(old, new, &mut changes);
    for (name, service) in &new.services {
        match old.services.get(name) {
            None => changes.push(Change::ServiceAdded(service.clone())),
            Some(before) => service_changes(name, before, service, &mut changes),
        }
    }
    let firewall = super::firewall::changes(&old.firewall, &new.firewall);
    changes.extend(firewall.into_iter().map(Change::Firewall));
    changes
}

/// The two values, if they are not the same.
pub(super) fn replaced<T: Clone + PartialEq>(old: &T, new: &T) -> Option<Replaced<T>> {
    (old != new).then(|| Replaced { old: old.clone(), new: new.clone() })
}

fn settings(old: &Config, new: &Config, changes: &mut Vec<Change>) {
    let (a, b) = (&old.node, &new.node);
    changes.extend(replaced(&a.name, &b.name).map(Change::NodeName));
    changes.extend(replaced(&a.nat_ports, &b.nat_ports).map(Change::NatPorts));
    changes.extend(replaced(&a.interfaces, &b.interfaces).map(Change::Interfaces));
    changes.extend(replaced(&a.attach, &b.attach).map(Change::Attach));
    let (a, b) = (&old.control, &new.control);
    changes.extend(replaced(&a.socket, &b.socket).map(Change::Socket));
    changes.extend(replaced(&a.group, &b.group).map(Change::Group));
    changes.extend(replaced(&a.others_may_read, &b.others_may_read).map(Change::OthersMayRead));
    let (a, b) = (&old.dataplane, &new.dataplane);
    changes.extend(replaced(&a.pin_dir, &b.pin_dir).map(Change::PinDir));
    changes.extend(replaced(&a.established_flows, &b.established_flows).map(Change::EstablishedFlows));
    changes.extend(replaced(&a.embryonic_flows, &b.embryonic_flows).map(Change::EmbryonicFlows));
    changes.extend(replaced(&a.limited_sources, &b.limited_sources).map(Change::LimitedSources));
    changes.extend(replaced(&a.prefixes, &b.prefixes).map(Change::Prefixes));
    changes.extend(replaced(&a.syn_cookies, &b.syn_cookies).map(Change::SynCookies));
    changes.extend(replaced(&a.timeouts, &b.timeouts).map(Change::Timeouts));
    changes.extend(replaced(&old.sync, &new.sync).map(Change::Sync));
    changes.extend(replaced(&old.notify, &new.notify).map(Change::Notify));
    changes.extend(replaced(&old.acme, &new.acme).map(Change::Acme));
    changes.extend(replaced(&old.metrics, &new.metrics).map(Change::Metrics));
    changes.extend(replaced(&old.log, &new.log).map(Change::Log));
    changes.extend(replaced(&old.agent, &new.agent).map(Change::Agent));
    trackers(old, new, changes);
}

fn trackers(old: &Config, new: &Config, changes: &mut Vec<Change>) {
    let gone = old.trackers.keys().filter(|name| !new.trackers.contains_key(*name));
    let mut names: Vec<_> = gone.chain(new.trackers.keys()).collect();
    names.sort();
    for name in names {
        let tracker = replaced(&old.trackers.get(name).cloned(), &new.trackers.get(name).cloned());
        changes.extend(tracker.map(|tracker| Change::Tracker(name.clone(), tracker)));
    }
}

fn vips(old: &Config, new: &Config, changes: &mut Vec<Change>) {
    for name in old.vips.keys().filter(|name| !new.vips.contains_key(*name)) {
        changes.push(Change::VipRemoved(name.clone()));
    }
    for (name, vip) in &new.vips {
        match old.vips.get(name) {
            None => changes.push(Change::VipAdded(name.clone(), vip.clone())),
            Some(before) => {
                changes.extend(replaced(before, vip).map(|vip| Change::VipChanged(name.clone(), vip)));
            }
        }
    }
}

fn service_changes(name: &ServiceName, old: &Service, new: &Service, changes: &mut Vec<Change>) {
    let mut steps: Vec<ServiceChange> = Vec::new();
    steps.extend(replaced(&old.vips, &new.vips).map(ServiceChange::Vips));
    steps.extend(replaced(&old.port, &new.port).map(ServiceChange::Port));
    steps.extend(replaced(&old.protocol, &new.protocol).map(ServiceChange::Protocol));
    steps.extend(replaced(&old.mode, &new.mode).map(ServiceChange::Mode));
    steps.extend(replaced(&old.keep_source, &new.keep_source).map(ServiceChange::KeepSource));
    steps.extend(replaced(&old.scheduler, &new.scheduler).map(ServiceChange::Scheduler));
    steps.extend(replaced(&old.when_down, &new.when_down).map(ServiceChange::WhenDown));
    steps.extend(replaced(&old.default_policy, &new.default_policy).map(ServiceChange::DefaultPolicy));
    steps.extend(replaced(&old.max_flows, &new.max_flows).map(ServiceChange::MaxFlows));
    steps.extend(replaced(&old.at_limit, &new.at_limit).map(ServiceChange::AtLimit));
    steps.extend(replaced(&old.proxy, &new.proxy).map(ServiceChange::Proxy));
    steps.extend(replaced(&old.tls, &new.tls).map(ServiceChange::Tls));
    steps.extend(replaced(&old.backend_tls, &new.backend_tls).map(ServiceChange::BackendTls));
    steps.extend(replaced(&old.mysql, &new.mysql).map(ServiceChange::Mysql));
    steps.extend(replaced(&old.https_port, &new.https_port).map(ServiceChange::HttpsPort));
    steps.extend(replaced(&old.health, &new.health).map(ServiceChange::Health));
    backend_changes(&old.backends, &new.backends, &mut steps);
    changes.extend(steps.into_iter().map(|step| Change::Service(name.clone(), step)));
}

fn backend_changes(old: &[Backend], new: &[Backend], steps: &mut Vec<ServiceChange>) {
    let among = |backends: &[Backend], backend: &Backend| {
        backends.iter().position(|other| other.name == backend.name)
    };
    for gone in old.iter().filter(|backend| among(new, backend).is_none()) {
        steps.push(ServiceChange::BackendRemoved(gone.name.clone()));
    }
    for backend in new {
        let name = &backend.name;
        let Some(before) = among(old, backend).and_then(|at| old.get(at)) else { continue };
        let addresses = replaced(&before.addresses, &backend.addresses);
        steps.extend(addresses.map(|addresses| ServiceChange::BackendAddresses(name.clone(), addresses)));
        let weight = replaced(&before.weight, &backend.weight);
        steps.extend(weight.map(|weight| ServiceChange::BackendWeight(name.clone(), weight)));
        let state = replaced(&before.state, &backend.state);
        steps.extend(state.map(|state| ServiceChange::BackendState(name.clone(), state)));
        let max_flows = replaced(&before.max_flows, &backend.max_flows);
        steps.extend(max_flows.map(|flows| ServiceChange::BackendMaxFlows(name.clone(), flows)));
        let names = replaced(&before.names, &backend.names);
        steps.extend(names.map(|names| ServiceChange::BackendNames(name.clone(), names)));
    }
    for added in new.iter().filter(|backend| among(old, backend).is_none()) {
        steps.push(ServiceChange::BackendAdded(added.clone()));
    }
    // Without a step for the order: those that stay in their old order, then the new ones.
    let stay = old.iter().filter(|backend| among(new, backend).is_some());
    let added = new.iter().filter(|backend| among(old, backend).is_none());
    if !stay.chain(added).map(|backend| &backend.name).eq(new.iter().map(|backend| &backend.name)) {
        steps.push(ServiceChange::BackendOrder(new.iter().map(|backend| backend.name.clone()).collect()));
    }
}
