//! Services and backends as commands specify them, made into those of a configuration: what is not said has its default.

use crate::api::{BackendSpec, ServicePatch, ServiceSpec};
use crate::config::{Backend, CheckKind, DEFAULT_REFUSALS, HealthCheck, ProxyTerms, Service, edit};
use crate::model::{DefaultPolicy, Mode, WhenDown};
use std::time::Duration;

pub(super) fn backend(spec: &BackendSpec) -> Backend {
    Backend {
        name: spec.name.clone(),
        addresses: spec.address.clone(),
        weight: spec.weight,
        state: spec.state,
        max_flows: spec.max_flows,
        names: Vec::new(),
    }
}

pub(super) fn settings(patch: &ServicePatch) -> edit::ServiceSettings {
    let ServicePatch { scheduler, max_flows, at_limit } = *patch;
    edit::ServiceSettings { scheduler, max_flows, at_limit }
}

pub(super) fn service(spec: &ServiceSpec) -> Service {
    let kind = match &spec.check_path {
        Some(path) => CheckKind::Http { path: path.clone(), expect_status: vec![200], expect_body: None },
        None => CheckKind::Tcp,
    };
    let health = HealthCheck {
        kind,
        interval: Duration::from_secs(2),
        timeout: Duration::from_secs(1),
        rise: 2,
        fall: 3,
        slow_start: Duration::ZERO,
        refusals: DEFAULT_REFUSALS,
        port: None,
    };
    Service {
        name: spec.name.clone(),
        vips: spec.vips.clone(),
        port: spec.port,
        protocol: spec.protocol,
        mode: spec.mode,
        keep_source: spec.keep_source,
        scheduler: spec.scheduler,
        when_down: WhenDown::Reset,
        default_policy: DefaultPolicy::Allow,
        max_flows: spec.max_flows,
        at_limit: spec.at_limit,
        proxy: spec.mode.is_served_by_agent().then(|| ProxyTerms::of(spec.mode)),
        mysql: None,
        tls: None,
        backend_tls: None,
        https_port: (spec.mode == Mode::RedirectHttps).then_some(443),
        health: (!spec.no_check && spec.mode.has_backends()).then_some(health),
        backends: spec.backends.iter().map(backend).collect(),
    }
}
