//! The words for the steps: `service web: backend web2: weight 1 → 3`.

use std::fmt::{self, Display, Formatter};

use super::{Change, Replaced, ServiceChange};
use crate::config::{
    CheckKind, ClientCertificates, FlowTimeouts, HealthCheck, ProxyTerms, Service, TlsTerms, Vip,
};
use std::path::PathBuf;

impl<T: Display> Display for Replaced<T> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{} → {}", self.old, self.new)
    }
}

impl Display for Change {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::NodeName(name) => write!(f, "node: name {name}"),
            Self::NatPorts(ports) => write!(f, "node: nat_ports {ports}"),
            Self::Interfaces(list) => {
                write!(f, "node: interfaces {} → {}", joined(&list.old), joined(&list.new))
            }
            Self::Attach(attach) => write!(f, "node: attach {attach}"),
            Self::Socket(path) => {
                write!(f, "control: socket {} → {}", path.old.display(), path.new.display())
            }
            Self::Group(group) => {
                let name = |group: &Option<String>| group.clone().unwrap_or_else(|| "none".to_owned());
                write!(f, "control: group {} → {}", name(&group.old), name(&group.new))
            }
            Self::OthersMayRead(may) => write!(f, "control: others_may_read {may}"),
            Self::PinDir(path) => {
                write!(f, "dataplane: pin_dir {} → {}", path.old.display(), path.new.display())
            }
            Self::EstablishedFlows(flows) => write!(f, "dataplane: established_flows {flows}"),
            Self::EmbryonicFlows(flows) => write!(f, "dataplane: embryonic_flows {flows}"),
            Self::LimitedSources(sources) => write!(f, "dataplane: limited_sources {sources}"),
            Self::Prefixes(prefixes) => write!(f, "dataplane: prefixes {prefixes}"),
            Self::SynCookies(cookies) => write!(f, "dataplane: syn_cookies {cookies}"),
            Self::Timeouts(timeouts) => {
                write!(f, "dataplane: timeouts: {}", timeout_parts(&timeouts.old, &timeouts.new).join(", "))
            }
            Self::Sync(sync) => write!(f, "sync: {} → {}", or_none(&sync.old), or_none(&sync.new)),
            Self::Notify(notify) => write!(f, "notify: {} → {}", or_none(&notify.old), or_none(&notify.new)),
            Self::Metrics(metrics) => {
                write!(f, "metrics: {} → {}", or_none(&metrics.old), or_none(&metrics.new))
            }
            Self::Agent(agent) => write!(f, "agent: {} → {}", agent.old, agent.new),
            Self::Log(log) => write!(f, "log: {} → {}", log.old, log.new),
            Self::Acme(acme) => write!(f, "acme: {} → {}", or_none(&acme.old), or_none(&acme.new)),
            Self::Tracker(name, tracker) => {
                write!(f, "track {name}: {} → {}", or_none(&tracker.old), or_none(&tracker.new))
            }
            Self::VipAdded(name, vip) => {
                write!(f, "vip {name} added ({} on {}, ", joined(&vip.addresses), vip.interface)?;
                write!(f, "active on {})", vip.active_on)
            }
            Self::VipRemoved(name) => write!(f, "vip {name} removed"),
            Self::VipChanged(name, vip) => {
                write!(f, "vip {name}: {}", vip_parts(&vip.old, &vip.new).join(", "))
            }
            Self::ServiceAdded(service) => show_service(f, service),
            Self::ServiceRemoved(name) => write!(f, "service {name} removed"),
            Self::Service(name, change) => write!(f, "service {name}: {change}"),
            Self::Firewall(change) => write!(f, "firewall: {change}"),
        }
    }
}

impl Display for ServiceChange {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Vips(vips) => write!(f, "vips {} → {}", joined(&vips.old), joined(&vips.new)),
            Self::Port(port) => write!(f, "port {port}"),
            Self::Protocol(protocol) => write!(f, "protocol {protocol}"),
            Self::Mode(mode) => write!(f, "mode {mode}"),
            Self::KeepSource(keep) => write!(f, "keep_source {keep}"),
            Self::Scheduler(scheduler) => write!(f, "scheduler {scheduler}"),
            Self::WhenDown(when_down) => write!(f, "when_down {when_down}"),
            Self::DefaultPolicy(policy) => write!(f, "default_policy {policy}"),
            Self::MaxFlows(flows) => write!(f, "max_flows {}", limits(flows)),
            Self::AtLimit(at_limit) => write!(f, "at_limit {at_limit}"),
            Self::Proxy(Replaced { old: Some(old), new: Some(new) }) => {
                write!(f, "proxy: {}", proxy_parts(old, new).join(", "))
            }
            Self::Proxy(proxy) => write!(f, "proxy: {} → {}", or_none(&proxy.old), or_none(&proxy.new)),
            Self::Health(Replaced { old: Some(old), new: Some(new) }) => {
                write!(f, "health check: {}", health_parts(old, new).join(", "))
            }
            Self::Health(Replaced { new: Some(new), .. }) => write!(f, "health check: none → {new}"),
            Self::Health(Replaced { old: Some(old), new: None }) => write!(f, "health check: {old} → none"),
            Self::Health(Replaced { old: None, new: None }) => write!(f, "health check: none"),
            Self::Tls(Replaced { old: Some(old), new: Some(new) }) => {
                write!(f, "tls: {}", tls_parts(old, new).join(", "))
            }
            Self::Tls(tls) => write!(f, "tls: {} → {}", or_none(&tls.old), or_none(&tls.new)),
            Self::BackendTls(tls) => write!(f, "backend_tls: {} → {}", or_none(&tls.old), or_none(&tls.new)),
            Self::Mysql(mysql) => write!(f, "mysql: {} → {}", or_none(&mysql.old), or_none(&mysql.new)),
            Self::HttpsPort(port) => write!(f, "https_port {} → {}", or_none(&port.old), or_none(&port.new)),
            Self::BackendAdded(backend) => write!(f, "backend {backend} added"),
            Self::BackendRemoved(name) => write!(f, "backend {name} removed"),
            Self::BackendAddresses(name, list) => {
                write!(f, "backend {name}: address {} → {}", joined(&list.old), joined(&list.new))
            }
            Self::BackendWeight(name, weight) => write!(f, "backend {name}: weight {weight}"),
            Self::BackendState(name, state) => write!(f, "backend {name}: state {state}"),
            Self::BackendMaxFlows(name, flows) => write!(f, "backend {name}: max_flows {}", limits(flows)),
            Self::BackendNames(name, names) => {
                let list =
                    |names: &[String]| if names.is_empty() { "none".to_owned() } else { joined(names) };
                write!(f, "backend {name}: names {} → {}", list(&names.old), list(&names.new))
            }
            Self::BackendOrder(order) => write!(f, "order of the backends: {}", joined(order)),
        }
    }
}

fn limits(flows: &Replaced<u32>) -> String {
    let limit = |flows: u32| if flows == 0 { "none".to_owned() } else { flows.to_string() };
    format!("{} → {}", limit(flows.old), limit(flows.new))
}

fn show_service(f: &mut Formatter<'_>, service: &Service) -> fmt::Result {
    write!(f, "service {} added (VIP {}, ", service.name, joined(&service.vips))?;
    write!(f, "port {}/{}, {}, {}", service.port, service.protocol, service.mode, service.scheduler)?;
    if service.keep_source {
        f.write_str(", keep_source")?;
    }
    if service.max_flows != 0 {
        write!(f, ", at most {} flows", service.max_flows)?;
    }
    match &service.health {
        Some(health) => write!(f, ", health check {health}")?,
        None => f.write_str(", no health check")?,
    }
    match service.backends.as_slice() {
        [] => f.write_str(", no backends)"),
        backends => write!(f, ", backends {})", joined(backends)),
    }
}

fn or_none<T: Display>(value: &Option<T>) -> String {
    value.as_ref().map_or_else(|| "none".to_owned(), ToString::to_string)
}

fn joined<T: Display>(list: &[T]) -> String {
    list.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// Says `name old → new` unless they are the same.
fn part(parts: &mut Vec<String>, name: &str, old: impl Display, new: impl Display) {
    let (old, new) = (old.to_string(), new.to_string());
    if old != new {
        parts.push(format!("{name} {old} → {new}"));
    }
}

fn vip_parts(old: &Vip, new: &Vip) -> Vec<String> {
    let mut parts = Vec::new();
    part(&mut parts, "address", joined(&old.addresses), joined(&new.addresses));
    part(&mut parts, "interface", &old.interface, &new.interface);
    part(&mut parts, "active_on", &old.active_on, &new.active_on);
    part(&mut parts, "vrrp", or_none(&old.vrrp), or_none(&new.vrrp));
    parts
}

fn timeout_parts(old: &FlowTimeouts, new: &FlowTimeouts) -> Vec<String> {
    let time = humantime::format_duration;
    let mut parts = Vec::new();
    part(&mut parts, "established", time(old.established), time(new.established));
    part(&mut parts, "half_closed", time(old.half_closed), time(new.half_closed));
    part(&mut parts, "closed", time(old.closed), time(new.closed));
    part(&mut parts, "embryonic", time(old.embryonic), time(new.embryonic));
    part(&mut parts, "udp", time(old.udp), time(new.udp));
    parts
}

fn proxy_parts(old: &ProxyTerms, new: &ProxyTerms) -> Vec<String> {
    let mut parts = Vec::new();
    for ((key, old), (_, new)) in old.timeouts().into_iter().zip(new.timeouts()) {
        part(&mut parts, key, humantime::format_duration(old), humantime::format_duration(new));
    }
    part(&mut parts, "retries", old.retries, new.retries);
    part(&mut parts, "max_queue", old.max_queue, new.max_queue);
    let list = |list: &[ipnet::IpNet]| if list.is_empty() { "none".to_owned() } else { joined(list) };
    part(&mut parts, "accept_proxy_from", list(&old.accept_proxy_from), list(&new.accept_proxy_from));
    part(&mut parts, "send_proxy", or_none(&old.send_proxy), or_none(&new.send_proxy));
    part(&mut parts, "transparent", old.transparent, new.transparent);
    part(&mut parts, "connection_log", old.connection_log, new.connection_log);
    parts
}

fn tls_parts(old: &TlsTerms, new: &TlsTerms) -> Vec<String> {
    let mut parts = Vec::new();
    part(&mut parts, "certificate", joined(&old.certificates), joined(&new.certificates));
    part(&mut parts, "min_version", old.min_version, new.min_version);
    let list = |names: &[String]| if names.is_empty() { "none".to_owned() } else { joined(names) };
    part(&mut parts, "alpn", list(&old.alpn), list(&new.alpn));
    part(&mut parts, "unknown_name", old.unknown_name, new.unknown_name);
    let file =
        |file: Option<&PathBuf>| file.map_or_else(|| "none".to_owned(), |file| file.display().to_string());
    let (a, b) = (old.client.as_ref(), new.client.as_ref());
    part(&mut parts, "client_ca", file(a.map(|client| &client.ca)), file(b.map(|client| &client.ca)));
    let crl = |client: Option<&ClientCertificates>| file(client.and_then(|client| client.crl.as_ref()));
    part(&mut parts, "client_crl", crl(a), crl(b));
    let mode = |client: Option<&ClientCertificates>| or_none(&client.map(|client| client.mode));
    part(&mut parts, "client_certificate", mode(a), mode(b));
    parts
}

fn health_parts(old: &HealthCheck, new: &HealthCheck) -> Vec<String> {
    let time = humantime::format_duration;
    let mut parts = Vec::new();
    match (&old.kind, &new.kind) {
        (
            CheckKind::Http { path, expect_status, expect_body },
            CheckKind::Http { path: new_path, expect_status: new_status, expect_body: new_body },
        ) => {
            let quoted =
                |body: &Option<String>| body.as_ref().map_or("none".to_owned(), |body| format!("{body:?}"));
            part(&mut parts, "path", path, new_path);
            part(&mut parts, "expect_status", joined(expect_status), joined(new_status));
            part(&mut parts, "expect_body", quoted(expect_body), quoted(new_body));
        }
        (old, new) => part(&mut parts, "type", old, new),
    }
    let port = |port: Option<u16>| port.map_or("the backend's".to_owned(), |port| port.to_string());
    part(&mut parts, "interval", time(old.interval), time(new.interval));
    part(&mut parts, "timeout", time(old.timeout), time(new.timeout));
    part(&mut parts, "rise", old.rise, new.rise);
    part(&mut parts, "fall", old.fall, new.fall);
    part(&mut parts, "slow_start", time(old.slow_start), time(new.slow_start));
    part(&mut parts, "refusals", old.refusals, new.refusals);
    part(&mut parts, "port", port(old.port), port(new.port));
    parts
}
