//! All there is to say of one line.
//!
//! Owns the words. Finds the thing anew each time, so that it is shown as it is now.

use super::super::app::Node;
use super::super::look::{self, Tone};
use super::super::table::Subject;
use crate::api::{
    BackendView, ConnectionView, FlowView, MysqlDigest, RuleView, ServiceView, VirtualRouterView,
};
use crate::model::ByteCount;

/// A line of a text: a word of what it is, what it is, and how that is.
pub(in crate::tui) type Said = (&'static str, String, Tone);

/// What is known of something at a node; nothing where it is gone.
pub(in crate::tui) fn details(node: &Node, subject: &Subject) -> Option<Vec<Said>> {
    let snapshot = node.snapshot()?;
    match subject {
        Subject::Service(name) => snapshot.services.iter().find(|one| one.name == *name).map(service),
        Subject::Backend(service, name) => {
            let mut backends = snapshot.services.iter().flat_map(|service| &service.backends);
            backends.find(|one| one.service == *service && one.name == *name).map(backend)
        }
        Subject::Flow { protocol, client, vip } => {
            let is_it =
                |one: &&FlowView| one.protocol == *protocol && one.client == *client && one.vip == *vip;
            node.open.as_ref()?.flows.flows.iter().find(is_it).map(flow)
        }
        Subject::Connection { client, vip } => {
            let is_it = |one: &&ConnectionView| one.client == *client && one.vip == *vip;
            node.open.as_ref()?.connections.connections.iter().find(is_it).map(connection)
        }
        Subject::Rule(name) => {
            node.seen.as_ref()?.firewall.rules.iter().find(|one| one.name == *name).map(rule)
        }
        Subject::Router(vip, family) => {
            snapshot.vrrp.routers.iter().find(|one| one.vip == *vip && one.family == *family).map(router)
        }
        Subject::Statements(service, digest) => {
            let (_, all) = node.digests.iter().find(|(name, _)| name == service)?;
            all.iter().find(|one| one.digest == *digest).map(statements)
        }
        Subject::Event(sequence, at) => {
            let mut events = node.events.iter();
            let event = events.find(|one| (one.sequence, one.at_unix_ms) == (*sequence, *at))?;
            let (kind, tone) = look::event(event.kind);
            Some(vec![
                ("number", event.sequence.to_string(), Tone::Plain),
                ("time", look::date(event.at_unix_ms), Tone::Plain),
                ("kind", kind.to_owned(), tone),
                ("", event.message.clone(), Tone::Plain),
            ])
        }
    }
}

fn plain(what: &'static str, text: impl ToString) -> Said {
    (what, text.to_string(), Tone::Plain)
}

fn list<T: ToString>(items: &[T]) -> String {
    let items: Vec<String> = items.iter().map(ToString::to_string).collect();
    if items.is_empty() { "-".to_owned() } else { items.join(", ") }
}

fn at_most(flows: u32) -> String {
    if flows == 0 { "no limit".to_owned() } else { format!("at most {flows}") }
}

fn connection(one: &ConnectionView) -> Vec<Said> {
    let backend = one.backend_name.as_ref().map_or("-".to_owned(), ToString::to_string);
    vec![
        plain("service", one.service.as_ref().map_or("-".to_owned(), ToString::to_string)),
        plain("client", one.client),
        plain("vip", one.vip),
        plain("backend", format!("{backend} ({})", one.backend)),
        plain("open for", look::idle(one.age_ms)),
        plain("silent for", look::idle(one.idle_ms)),
        plain("bytes in", ByteCount(one.up_bytes)),
        plain("bytes out", ByteCount(one.down_bytes)),
        plain("round trip", format!("{:.1} ms", one.round_trip_us as f64 / 1000.0)),
        plain("sent again", format!("{} segments", one.retransmitted)),
    ]
}

fn statements(one: &MysqlDigest) -> Vec<Said> {
    let ms = |us: u64| format!("{:.1} ms", us as f64 / 1000.0);
    let mean = one.time_us / one.count.max(1);
    let mut said = vec![
        plain("", one.text.replace(char::is_control, " ")),
        plain("digest", &one.digest),
        plain("ran", format!("{} times, {} with an error", one.count, one.errors)),
        plain("took", format!("{}, {} each, {} at most", ms(one.time_us), ms(mean), ms(one.time_max_us))),
        plain("rows", one.rows),
    ];
    said.extend(
        one.routes.iter().map(|route| {
            plain("sent", format!("{} times to the {}: {}", route.count, route.target, route.why))
        }),
    );
    said
}

fn service(service: &ServiceView) -> Vec<Said> {
    let mut said = vec![
        plain("service", format!("{}, mode {}, {}", service.name, service.mode, service.scheduler)),
        plain("VIPs", format!("{}, port {}/{}", list(&service.vips), service.port, service.protocol)),
        plain("served here at", list(&service.listen)),
        plain("health check", service.health_check.as_deref().unwrap_or("none")),
        plain("flows", format!("{} open, {}", service.active_flows, at_most(service.max_flows))),
        plain("at the limit", service.at_limit),
        plain("all down", service.when_down),
        plain("no rule", service.default_policy),
    ];
    if let Some(proxy) = &service.proxy {
        said.push(plain("connections", format!("{} open, {} waiting", proxy.active, proxy.waiting)));
        said.extend(proxy.ended.iter().map(|(how, count)| plain("ended", format!("{count} {how}"))));
        if let Some(tls) = &proxy.tls {
            let handshakes = format!("{} full, {} resumed", tls.full_handshakes, tls.resumed_handshakes);
            said.push(plain("handshakes", handshakes));
            let ends = |seconds: u64| look::date(seconds.saturating_mul(1000));
            said.extend(tls.certificates.iter().map(|one| {
                plain(
                    "certificate",
                    format!("{}, until {}", list(&one.names), ends(one.not_after_unix_seconds)),
                )
            }));
            said.extend(tls.trouble.iter().map(|trouble| ("trouble", trouble.clone(), Tone::Bad)));
        }
    }
    said.extend(service.backends.iter().map(|one| {
        let (health, tone) = look::health(one.health);
        let words = format!("{}: {health}, {}, weight {}", one.name, look::state(one.state).0, one.weight);
        ("backend", words, tone)
    }));
    said
}

fn backend(backend: &BackendView) -> Vec<Said> {
    let (health, tone) = look::health(backend.health);
    let (state, state_tone) = look::state(backend.state);
    let traffic = |packets: u64, bytes: u64| format!("{packets} packets, {}", ByteCount(bytes));
    let mut said = vec![
        plain("backend", format!("{} of service {}", backend.name, backend.service)),
        ("state", state.to_owned(), state_tone),
        ("health", health.to_owned(), tone),
        plain("weight", backend.weight),
        plain("flows", format!("{} open, {}", backend.active_flows, at_most(backend.max_flows))),
        plain("new", backend.flows_new),
        plain("established", backend.flows_established),
        plain("refused", backend.flows_refused),
        plain("over its limit", backend.flows_over_limit),
        plain("to it", traffic(backend.forward_packets, backend.forward_bytes)),
        plain("from it", traffic(backend.reverse_packets, backend.reverse_bytes)),
    ];
    for address in &backend.addresses {
        let (health, tone) = look::address_health(address.health);
        let check = address.last_check.as_deref().unwrap_or("not checked");
        said.push((
            "address",
            format!("{}: {health}, {} slots: {check}", address.address, address.slots),
            tone,
        ));
    }
    said
}

fn flow(flow: &FlowView) -> Vec<Said> {
    let name = |name: Option<String>| name.unwrap_or_else(|| "one that is gone".to_owned());
    let (state, tone) = look::flow(&flow.state);
    vec![
        plain("service", name(flow.service.as_ref().map(ToString::to_string))),
        plain("client", flow.client),
        plain("VIP", format!("{}/{}", flow.vip, flow.protocol)),
        plain("seen from", flow.nat),
        plain(
            "backend",
            format!("{} at {}", name(flow.backend_name.as_ref().map(ToString::to_string)), flow.backend),
        ),
        ("state", state.to_owned(), tone),
        plain("client silent", look::idle(flow.idle_ms)),
        plain("from it", format!("{} packets, {}", flow.forward_packets, ByteCount(flow.forward_bytes))),
    ]
}

fn rule(rule: &RuleView) -> Vec<Said> {
    let (action, tone) = look::action(&rule.action);
    vec![
        plain("rule", &rule.name),
        ("action", action.to_owned(), tone),
        plain("sources", format!("{} ({} prefixes)", rule.sources, rule.prefixes)),
        plain("target", &rule.target),
        plain("limits", rule.limits.as_deref().unwrap_or("none")),
        plain("allowed", format!("{} connections", rule.allowed)),
        plain("denied", format!("{} packets", rule.denied)),
        plain("over its rate", format!("{} packets", rule.over_rate)),
        plain("too many open", format!("{} packets", rule.over_active)),
    ]
}

fn router(router: &VirtualRouterView) -> Vec<Said> {
    let (state, tone) = look::router(&router.state);
    let priority = format!("{}, configured {}", router.priority, router.configured_priority);
    let mut said = vec![
        plain("VIP", format!("{} {}: {}", router.vip, router.family.title(), list(&router.addresses))),
        plain("virtual router", format!("{} on {}", router.id, router.interface)),
        ("state", format!("{state} for {}", look::span(router.since_ms / 1000)), tone),
        plain("priority", priority),
        plain("advertises", format!("every {} ms", router.interval_ms)),
        plain("misses Active", format!("after {} ms", router.active_down_ms)),
        plain("became Active", format!("{} times", router.times_active)),
        plain(
            "advertisements",
            format!("{} sent, {} received", router.adverts_sent, router.adverts_received),
        ),
        plain("group", router.group.as_ref().map_or_else(|| "none".to_owned(), ToString::to_string)),
    ];
    if let Some(heard) = &router.heard {
        let ago = look::idle(heard.ago_ms);
        said.push(plain("heard", format!("{} with priority {}, {ago} ago", heard.from, heard.priority)));
    }
    said.extend(router.trouble.iter().map(|trouble| ("takes no part", trouble.clone(), Tone::Bad)));
    said
}
