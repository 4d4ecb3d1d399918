//! Services whose connections end at this node: what the proxy is told of them, and what it tells.

use super::state::Agent;
use crate::api::{EventKind, ProxyView};
use crate::config::{Config, ProxyTerms, Service};
use crate::core::plan::{Steering, SteeringKey, name_hash};
use crate::core::proxy::{Table, TableBackend};
use crate::io::proxy::{
    BackendCounts, ChallengeSet, IdleTimeouts, PlannedBackend, ProxyEvent, ServicePlan, Terms, TlsClient,
    TlsServer,
};
use crate::model::{BackendName, Family, ServiceName, VipName, WhenDown};
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The same reason why there is no TLS with a backend.
const TOLD_AGAIN_AFTER: Duration = Duration::from_secs(600);

impl Agent {
    /// Lets the proxy serve what is desired by now.
    pub(super) fn follow_proxied(&mut self) {
        let plan = |(key, steering): (&SteeringKey, &Steering)| {
            let service = self.config.services.get(&key.service)?;
            // Without its files a service is not served: that is said where they are read.
            let tls = (self.certificates.server(service).ok()?, self.certificates.client(service).ok()?);
            let mut plan = plan(service, key.family, steering, tls);
            plan.terms.mysql = self.mysql_plan(service, steering);
            plan.terms.challenges = self.issuing.challenges().map(ChallengeSet);
            if self.checks.are_awaited(&key.service, key.family) {
                // An agent that has just started refuses nobody for what it does not know yet.
                plan.terms.when_down = WhenDown::Drop;
            }
            Some((key.clone(), plan))
        };
        let plans: BTreeMap<_, _> = self.desired.proxied.iter().filter_map(plan).collect();
        let transparent = plans.values().filter(|plan| plan.terms.transparent);
        let answering = transparent.flat_map(|plan| plan.backends.iter().map(|backend| backend.address));
        self.return_routes.follow(answering.collect());
        self.proxy.follow(plans);
        self.tell_of_listening();
    }

    /// Tries to listen where that failed before.
    pub(super) fn listen_again(&mut self) {
        if !self.proxy.troubles().is_empty() {
            self.proxy.listen_again();
            self.tell_of_listening();
        }
    }

    /// What is not listened to is told once, and when it is at last.
    fn tell_of_listening(&mut self) {
        let troubles = self.proxy.troubles().clone();
        for (at, reason) in troubles.iter().filter(|(at, reason)| self.deaf.get(*at) != Some(*reason)) {
            self.journal.record(EventKind::Warning, not_served(at, reason));
        }
        for at in self.deaf.keys().filter(|at| !troubles.contains_key(*at)) {
            self.journal.record(
                EventKind::ConfigChanged,
                format!("{at} is listened at at last, or not wanted any more"),
            );
        }
        self.deaf = troubles;
    }

    /// Where nobody listens, and what cannot work on several nodes, in words.
    pub(super) fn proxy_warnings(&self) -> impl Iterator<Item = String> + '_ {
        let torn = self.config.services.values().filter_map(|service| torn(service, &self.config));
        self.deaf.iter().map(|(at, reason)| not_served(at, reason)).chain(torn)
    }

    /// Backends that did not accept a connection count as refusing.
    pub(super) fn handle_proxy_event(&mut self, event: ProxyEvent) {
        let ProxyEvent::ConnectFailed { name_hash, reason } = event;
        if let Some(reason) = reason {
            self.tell_of_backend_tls(name_hash, reason);
        }
        if let Some(message) = self.checks.handle_refusal(name_hash, Instant::now()) {
            self.journal.record(EventKind::HealthChanged, message);
            self.steer_or_record();
        }
    }

    /// Why there is no TLS with a backend is told when it is new.
    fn tell_of_backend_tls(&mut self, name_hash: u64, reason: String) {
        // Some say at which second it was.
        let kind: String = reason.chars().filter(|letter| !letter.is_ascii_digit()).collect();
        let told = self.backend_tls_failures.get(&name_hash);
        if told.is_some_and(|(known, at)| *known == kind && at.elapsed() < TOLD_AGAIN_AFTER) {
            return;
        }
        let label = self.label_of(name_hash).unwrap_or_else(|| "a backend".to_owned());
        self.journal.record(EventKind::Warning, format!("{label}: no TLS with it: {reason}"));
        self.backend_tls_failures.insert(name_hash, (kind, Instant::now()));
    }

    fn label_of(&self, hash: u64) -> Option<String> {
        let proxied = self.desired.proxied.iter();
        proxied.flat_map(|(key, steering)| steering.backends.keys().map(move |name| (key, name))).find_map(
            |(key, name)| {
                let is_it = name_hash(&key.service, Some(name), key.family) == hash;
                is_it.then(|| super::view::label(&key.service, name))
            },
        )
    }

    /// Ends the connections of a backend.
    pub(super) fn cut_proxied(&self, service: &ServiceName, backend: &BackendName) {
        for family in [Family::V4, Family::V6] {
            self.proxy.cut(name_hash(service, Some(backend), family));
        }
    }

    /// What the connections of a service do, if they end here.
    pub(super) fn proxy_view(&self, service: &Service) -> Option<ProxyView> {
        service.proxy.as_ref()?;
        let counts = self.proxy.service_counts(&service.name);
        let ended = counts.ended.iter().copied().map(|(ended, count)| (ended.name().to_owned(), count));
        let tls = self.certificates.view(service, &counts);
        Some(ProxyView { active: counts.active, waiting: counts.waiting, ended: ended.collect(), tls })
    }

    /// What connections to a backend's address did, and how many slots it has.
    pub(super) fn proxied_address(
        &self,
        service: &ServiceName,
        backend: &BackendName,
        address: SocketAddr,
    ) -> (BackendCounts, u64) {
        let family = Family::of(address.ip());
        let counts = self.proxy.backend_counts(name_hash(service, Some(backend), family), address);
        let steering = self.desired.proxied.get(&SteeringKey { service: service.clone(), family });
        let slots =
            steering.map_or(0, |steering| steering.slots.iter().filter(|name| *name == backend).count());
        (counts, slots as u64)
    }
}

fn not_served(at: &SocketAddr, reason: &str) -> String {
    format!("{at} is not served: {reason}; trying again")
}

pub(super) fn is_transparent(service: &Service) -> bool {
    service.proxy.as_ref().is_some_and(|proxy| proxy.transparent)
}

fn backend_hosts(service: &Service) -> impl Iterator<Item = IpAddr> + '_ {
    service.backends.iter().flat_map(|backend| &backend.addresses).map(SocketAddr::ip)
}

/// That backends answer clients by one node, where their connections may come by several: those of this service, or of another one with the
/// same backends.
fn torn(service: &Service, config: &Config) -> Option<String> {
    let moves_with = |name: &VipName| {
        let vip = config.vips.get(name)?;
        Some(match &vip.vrrp {
            Some(vrrp) => {
                vrrp.group.as_ref().map_or_else(|| name.to_string(), |group| format!("group {group}"))
            }
            None => format!("node {}", vip.active_on),
        })
    };
    if !is_transparent(service) {
        return None;
    }
    let hosts: BTreeSet<IpAddr> = backend_hosts(service).collect();
    let has_same = |other: &&Service| {
        other.name == service.name
            || is_transparent(other) && backend_hosts(other).any(|host| hosts.contains(&host))
    };
    let all: Vec<&Service> = config.services.values().filter(has_same).collect();
    let vips: BTreeSet<&VipName> = all.iter().flat_map(|one| &one.vips).collect();
    let together: BTreeSet<String> = vips.iter().copied().filter_map(moves_with).collect();
    (together.len() > 1).then(|| {
        let names: Vec<&str> = all.iter().map(|one| one.name.as_str()).collect();
        let vips: Vec<&str> = vips.iter().map(|vip| vip.as_str()).collect();
        format!(
            "service {}: VIPs {} can be on several nodes at a time, and backends answer to transparent connections by one of them: put them into one vrrp group, or give each a service and backends of its own",
            names.join(", "),
            vips.join(", ")
        )
    })
}

fn plan(
    service: &Service,
    family: Family,
    steering: &Steering,
    tls: (Option<TlsServer>, Option<TlsClient>),
) -> ServicePlan {
    let index_of: BTreeMap<&BackendName, u32> = steering.backends.keys().zip(0..).collect();
    let table = Table {
        scheduler: steering.scheduler,
        slots: steering.slots.iter().filter_map(|name| index_of.get(name).copied()).collect(),
        backends: steering
            .backends
            .values()
            .map(|backend| TableBackend { weight: backend.weight, max: backend.max_flows })
            .collect(),
    };
    let planned = |(name, backend): (&BackendName, &crate::core::plan::SteeredBackend)| PlannedBackend {
        address: backend.address,
        name: name.clone(),
        name_hash: name_hash(&service.name, Some(name), family),
        names: service
            .backends
            .iter()
            .find(|one| one.name == *name)
            .map_or_else(Vec::new, |one| one.names.clone()),
    };
    ServicePlan {
        listen: steering.listen.clone(),
        table: Arc::new(table),
        backends: steering.backends.iter().map(planned).collect(),
        terms: terms(service, steering, tls),
    }
}

fn terms(
    service: &Service,
    steering: &Steering,
    (tls, backend_tls): (Option<TlsServer>, Option<TlsClient>),
) -> Terms {
    Terms {
        max_flows: steering.max_flows,
        at_limit: steering.at_limit,
        when_down: steering.when_down,
        tls,
        backend_tls,
        ..base_terms(service)
    }
}

/// What a service's table says of connections.
pub(super) fn base_terms(service: &Service) -> Terms {
    let proxy: ProxyTerms = service.proxy.clone().unwrap_or_default();
    Terms {
        connect: proxy.connect_timeout,
        handshake: proxy.handshake_timeout,
        queue: proxy.queue_timeout,
        idle: IdleTimeouts {
            client: proxy.client_timeout,
            backend: proxy.backend_timeout,
            half_closed: proxy.half_closed_timeout,
        },
        retries: proxy.retries,
        max_queue: proxy.max_queue,
        max_flows: service.max_flows,
        at_limit: service.at_limit,
        when_down: service.when_down,
        accept_proxy_from: proxy.accept_proxy_from,
        send_proxy: proxy.send_proxy,
        transparent: proxy.transparent,
        tls: None,
        backend_tls: None,
        redirect: service.https_port,
        challenges: None,
        connection_log: proxy.connection_log.then(|| service.name.clone()),
        mysql: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn transparent_connections_by_vips_that_move_apart_are_warned_of() {
        let config = |vip_b: &str, transparent: bool| {
            let text = format!(
                "[node]\nname = \"lb1\"\ninterfaces = [\"eth0\"]\n[vip.A]\naddress = \"10.80.0.100\"\n[vip.A.vrrp]\nid = 1\n\
                 priority = 200\ngroup = \"g\"\n[vip.B]\naddress = \"10.80.0.101\"\n[vip.B.vrrp]\nid = 2\npriority = 200\n{vip_b}\n\
                 [service.web]\nvips = [\"A\", \"B\"]\nport = 80\nmode = \"tcp\"\n[service.web.proxy]\ntransparent = {transparent}\n"
            );
            Config::parse(&text, "lbctl.toml").expect("a configuration")
        };
        let warning = |config: Config| config.services.values().find_map(|service| torn(service, &config));
        let told = warning(config("", true)).expect("a warning");
        assert!(told.contains("VIPs A, B can be on several nodes"), "{told}");
        assert_eq!(warning(config("group = \"g\"", true)), None);
        assert_eq!(warning(config("", false)), None);
    }

    #[test]
    fn so_are_those_of_two_services_with_the_same_backends() {
        let config = |backend: &str| {
            let text = format!(
                "[node]\nname = \"lb1\"\ninterfaces = [\"eth0\"]\n[vip.A]\naddress = \"10.80.0.100\"\n[vip.A.vrrp]\nid = 1\n\
                 priority = 200\n[vip.B]\naddress = \"10.80.0.101\"\n[vip.B.vrrp]\nid = 2\npriority = 200\n\
                 [service.a]\nvips = \"A\"\nport = 80\nmode = \"tcp\"\n[service.a.proxy]\ntransparent = true\n\
                 [[service.a.backend]]\nname = \"web1\"\naddress = \"10.80.0.21:80\"\n\
                 [service.b]\nvips = \"B\"\nport = 81\nmode = \"tcp\"\n[service.b.proxy]\ntransparent = true\n\
                 [[service.b.backend]]\nname = \"web1\"\naddress = \"{backend}\"\n"
            );
            Config::parse(&text, "lbctl.toml").expect("a configuration")
        };
        let warning = |config: Config| config.services.values().find_map(|service| torn(service, &config));
        let told = warning(config("10.80.0.21:81")).expect("a warning");
        assert!(told.starts_with("service a, b: VIPs A, B can be on several nodes"), "{told}");
        assert_eq!(warning(config("10.80.0.22:81")), None);
    }
}
