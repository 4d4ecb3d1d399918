//! How added tables look in the file.

use std::fmt::{Display, Write};
use std::path::Path;
use std::time::Duration;

use toml_edit::{Array, InlineTable, Key, Value};

use crate::config::{
    Backend, CertificateFiles, CheckKind, DEFAULT_REFUSALS, FirewallRule, HealthCheck, MysqlTerms, MysqlUser,
    ProxyTerms, RuleAction, RuleTarget, Service, Sources, TlsTerms,
};
use crate::model::{
    AdminState, AtLimit, ClientCertificateMode, DefaultPolicy, Mode, Protocol, SchedulerKind, ServiceName,
    TlsVersion, UnknownName, Weight, WhenDown, any_source,
};

/// The keys of a backend, one a line.
pub(super) fn backend(backend: &Backend) -> String {
    lines(&backend_keys(backend))
}

/// A backend on one line, for a list.
pub(super) fn inline_backend(backend: &Backend) -> String {
    let keys: Vec<String> =
        backend_keys(backend).into_iter().map(|(key, value)| format!("{key} = {value}")).collect();
    format!("{{ {} }}", keys.join(", "))
}

/// The header above a backend.
pub(super) fn backend_header(service: &ServiceName) -> String {
    format!("[[service.{}.backend]]\n", Key::new(service.as_str()))
}

/// A service with all its tables.
pub(in crate::config) fn service(service: &Service) -> String {
    let name = Key::new(service.name.as_str());
    let mut keys = vec![("vips", one_or_many(&service.vips)), ("port", Value::from(i64::from(service.port)))];
    if service.mode != Mode::Nat {
        keys.push(("mode", service.mode.as_str().into()));
    }
    if service.protocol != Protocol::Tcp {
        keys.push(("protocol", service.protocol.as_str().into()));
    }
    if service.keep_source {
        keys.push(("keep_source", true.into()));
    }
    if service.scheduler != SchedulerKind::RoundRobin {
        keys.push(("scheduler", service.scheduler.as_str().into()));
    }
    if service.when_down != WhenDown::Reset {
        keys.push(("when_down", service.when_down.as_str().into()));
    }
    if service.default_policy != DefaultPolicy::Allow {
        keys.push(("default_policy", service.default_policy.as_str().into()));
    }
    if service.max_flows != 0 {
        keys.push(("max_flows", i64::from(service.max_flows).into()));
    }
    if service.at_limit != AtLimit::OtherBackend {
        keys.push(("at_limit", service.at_limit.as_str().into()));
    }
    if let Some(port) = service.https_port.filter(|port| *port != 443) {
        keys.push(("https_port", i64::from(port).into()));
    }
    let mut text = format!("[service.{name}]\n{}", lines(&keys));
    if let Some(proxy) = service.proxy.as_ref().filter(|proxy| **proxy != ProxyTerms::of(service.mode)) {
        text.push_str(&format!("\n[service.{name}.proxy]\n{}", lines(&proxy_keys(proxy))));
    }
    text.push_str(&tls(service));
    if let Some(mysql) = &service.mysql {
        text.push_str(&format!("\n[service.{name}.mysql]\n{}", lines(&mysql_keys(mysql))));
    }
    if let Some(health) = &service.health {
        text.push_str(&format!("\n[service.{name}.health]\n{}", lines(&health_keys(health))));
    }
    for added in &service.backends {
        text.push_str(&format!("\n{}{}", backend_header(&service.name), backend(added)));
    }
    text
}

/// Both tables about TLS.
fn tls(service: &Service) -> String {
    let name = Key::new(service.name.as_str());
    let file = |path: &Path| Value::from(path.display().to_string());
    let mut text = String::new();
    if let Some(terms) = &service.tls {
        text.push_str(&format!("\n[service.{name}.tls]\n{}", lines(&tls_keys(terms))));
    }
    if let Some(terms) = &service.backend_tls {
        let mut keys = vec![("ca", file(&terms.ca))];
        keys.extend(terms.server_name.as_ref().map(|name| ("server_name", name.as_str().into())));
        text.push_str(&format!("\n[service.{name}.backend_tls]\n{}", lines(&keys)));
    }
    text
}

fn mysql_keys(mysql: &MysqlTerms) -> Vec<(&'static str, Value)> {
    let time = |duration: Duration| Value::from(humantime::format_duration(duration).to_string());
    let mut monitor = InlineTable::new();
    monitor.insert("user", mysql.monitor.user.as_str().into());
    monitor.insert("password", mysql.monitor.password.text().into());
    monitor.insert("interval", time(mysql.monitor.interval));
    let user = |user: &MysqlUser| {
        let mut table = InlineTable::new();
        table.insert("name", user.name.as_str().into());
        table.insert("password", user.password.text().into());
        Value::from(table)
    };
    let users: Array = mysql.users.iter().map(user).collect();
    let auth = mysql.passthrough.then(|| ("auth", Value::from("passthrough")));
    let replication = mysql.replication.as_ref().map(|user| {
        let mut table = InlineTable::new();
        table.insert("user", user.name.as_str().into());
        table.insert("password", user.password.text().into());
        ("replication", table.into())
    });
    let multiplex_after = mysql.multiplex_after.map(|after| ("multiplex_after", time(after)));
    let slow_log = mysql.slow_log.map(|slow_log| ("slow_log", time(slow_log)));
    let first = [
        ("consistency", mysql.consistency.as_str().into()),
        ("max_lag", time(mysql.max_lag)),
        ("max_wait", time(mysql.max_wait)),
    ];
    let monitor = [("monitor", monitor.into())];
    let users = (!mysql.users.is_empty()).then(|| ("user", users.into()));
    first
        .into_iter()
        .chain(multiplex_after)
        .chain(slow_log)
        .chain(auth)
        .chain(monitor)
        .chain(replication)
        .chain(users)
        .collect()
}

fn tls_keys(terms: &TlsTerms) -> Vec<(&'static str, Value)> {
    let file = |path: &Path| Value::from(path.display().to_string());
    let certificate = |files: &CertificateFiles| {
        let mut table = InlineTable::new();
        if !files.acme.is_empty() {
            table.insert("acme", one_or_many(&files.acme));
            return Value::from(table);
        }
        table.insert("file", file(&files.file));
        if let Some(key) = &files.key {
            table.insert("key", file(key));
        }
        Value::from(table)
    };
    let certificates: Array = terms.certificates.iter().map(certificate).collect();
    let mut keys = vec![("certificate", certificates.into())];
    if terms.min_version != TlsVersion::V1_2 {
        keys.push(("min_version", terms.min_version.as_str().into()));
    }
    if !terms.alpn.is_empty() {
        keys.push(("alpn", one_or_many(&terms.alpn)));
    }
    if terms.unknown_name != UnknownName::Default {
        keys.push(("unknown_name", terms.unknown_name.as_str().into()));
    }
    if let Some(client) = &terms.client {
        keys.push(("client_ca", file(&client.ca)));
        keys.extend(client.crl.as_ref().map(|crl| ("client_crl", file(crl))));
        if client.mode != ClientCertificateMode::Required {
            keys.push(("client_certificate", client.mode.as_str().into()));
        }
    }
    keys
}

/// A rule of the firewall.
pub(super) fn rule(rule: &FirewallRule) -> String {
    let sources: Value = match &rule.sources {
        Sources::File(path) => {
            let mut table = InlineTable::new();
            table.insert("file", path.display().to_string().into());
            table.into()
        }
        Sources::Prefixes(prefixes) if prefixes[..] == any_source() => "any".into(),
        Sources::Prefixes(prefixes) => one_or_many(prefixes),
    };
    let mut keys = vec![("name", rule.name.as_str().into()), (rule.action.word(), sources)];
    if let RuleAction::Limit(limits) = &rule.action {
        let number = |number: u32| Value::from(i64::from(number));
        if let Some(rate) = limits.new_flows_per_second {
            keys.push(("new_flows_per_second", number(rate)));
            keys.push(("burst", number(limits.burst)));
        }
        keys.extend(limits.active_flows.map(|active| ("active_flows", number(active))));
        keys.push(("per_ipv4", number(limits.per_ipv4.into())));
        keys.push(("per_ipv6", number(limits.per_ipv6.into())));
    }
    match &rule.target {
        RuleTarget::Services => {}
        RuleTarget::Service(name) => keys.push(("service", name.as_str().into())),
        RuleTarget::Host => keys.push(("host", true.into())),
        RuleTarget::HostPort(port) => keys.push(("host_port", i64::from(*port).into())),
    }
    format!("[[firewall.rule]]\n{}", lines(&keys))
}

fn backend_keys(backend: &Backend) -> Vec<(&'static str, Value)> {
    let mut keys = vec![("name", backend.name.as_str().into()), ("address", one_or_many(&backend.addresses))];
    if backend.weight != Weight::default() {
        keys.push(("weight", Value::from(i64::from(backend.weight.get()))));
    }
    if backend.state != AdminState::Ready {
        keys.push(("state", backend.state.as_str().into()));
    }
    if backend.max_flows != 0 {
        keys.push(("max_flows", i64::from(backend.max_flows).into()));
    }
    if !backend.names.is_empty() {
        keys.push(("names", one_or_many(&backend.names)));
    }
    keys
}

fn proxy_keys(proxy: &ProxyTerms) -> Vec<(&'static str, Value)> {
    let time = |duration: Duration| Value::from(humantime::format_duration(duration).to_string());
    let mut keys: Vec<_> = proxy.timeouts().into_iter().map(|(key, value)| (key, time(value))).collect();
    keys.push(("retries", Value::from(i64::from(proxy.retries))));
    keys.push(("max_queue", Value::from(i64::from(proxy.max_queue))));
    if !proxy.accept_proxy_from.is_empty() {
        keys.push(("accept_proxy_from", one_or_many(&proxy.accept_proxy_from)));
    }
    keys.extend(proxy.send_proxy.map(|version| ("send_proxy", version.as_str().into())));
    if proxy.transparent {
        keys.push(("transparent", true.into()));
    }
    if proxy.connection_log {
        keys.push(("connection_log", true.into()));
    }
    keys
}

fn health_keys(health: &HealthCheck) -> Vec<(&'static str, Value)> {
    let mut keys = Vec::new();
    match &health.kind {
        CheckKind::Tcp => keys.push(("type", "tcp".into())),
        CheckKind::Http { path, expect_status, expect_body } => {
            keys.push(("type", "http".into()));
            keys.push(("path", path.as_str().into()));
            if *expect_status != [200] {
                let all = expect_status.iter().map(|status| i64::from(*status)).collect::<Array>();
                keys.push(("expect_status", all.into()));
            }
            keys.extend(expect_body.as_ref().map(|body| ("expect_body", body.as_str().into())));
        }
    }
    let time = |duration: Duration| Value::from(humantime::format_duration(duration).to_string());
    keys.push(("interval", time(health.interval)));
    keys.push(("timeout", time(health.timeout)));
    keys.push(("rise", Value::from(i64::from(health.rise))));
    keys.push(("fall", Value::from(i64::from(health.fall))));
    if !health.slow_start.is_zero() {
        keys.push(("slow_start", time(health.slow_start)));
    }
    if health.refusals != DEFAULT_REFUSALS {
        keys.push(("refusals", Value::from(i64::from(health.refusals))));
    }
    keys.extend(health.port.map(|port| ("port", Value::from(i64::from(port)))));
    keys
}

fn lines(keys: &[(&str, Value)]) -> String {
    keys.iter().fold(String::new(), |mut text, (key, value)| {
        // Writing to a text cannot fail.
        let _ = writeln!(text, "{key} = {value}");
        text
    })
}

/// One value alone, several in a list.
fn one_or_many<T: Display>(values: &[T]) -> Value {
    match values {
        [one] => one.to_string().into(),
        many => many.iter().map(ToString::to_string).collect::<Array>().into(),
    }
}
