//! Which figures there are.

use super::text::Type::{self, Counter, Gauge};
use super::text::{Family, Text};
use crate::api::{
    AddressView, BackendView, CounterView, CountersView, FirewallView, RuleView, ServiceView, Status,
    SyncPeerView, SyncView, TableView, VirtualRouterView, VrrpView,
};
use crate::model::{AdminState, BackendHealth, HealthState};
use std::fmt::Display;

pub(super) fn node(text: &mut Text, status: &Status) {
    let info: [(&str, &dyn Display); 2] = [("node", &status.node), ("version", &status.version)];
    text.family("lbctl_info", Gauge, "The node and the release of its agent; always 1.").sample(&info, 1);
    let mut one = |name, kind, help, value: &dyn Display| text.family(name, kind, help).sample(&[], value);
    one("lbctl_uptime_seconds", Gauge, "Seconds since the agent started.", &status.uptime_seconds);
    one("lbctl_warnings", Gauge, "Things the operator should know.", &status.warnings.len());
    one(
        "lbctl_services_without_backend",
        Gauge,
        "Services where no backend takes new flows.",
        &status.services_without_backend,
    );
    let process = &status.process;
    let cpu_seconds = process.cpu_ms as f64 / 1000.0;
    one("process_cpu_seconds_total", Counter, "Time the agent's threads ran.", &cpu_seconds);
    one("process_resident_memory_bytes", Gauge, "Memory the agent holds.", &process.resident_bytes);
    one("process_open_fds", Gauge, "Files the agent has open, sockets among them.", &process.open_files);
    one("process_threads", Gauge, "Threads of the agent.", &process.threads);
    one("lbctl_tasks", Gauge, "Tasks of the agent, but those of connections that end here.", &process.tasks);
    let mut vips = text.family("lbctl_vip_active", Gauge, "Whether this node serves the VIP, in any family.");
    for vip in &status.vips {
        vips.flag(&[("vip", &vip.name)], vip.active_here);
    }
}

pub(super) fn dataplane(text: &mut Text, counters: &CountersView, tables: &[TableView]) {
    let count = |family: &mut Family<'_>, label: &str, all: &[CounterView]| {
        all.iter().for_each(|counter| family.sample(&[(label, &counter.name)], counter.count));
    };
    let help = "Packets the program saw, each in exactly one outcome.";
    count(&mut text.family("lbctl_xdp_packets_total", Counter, help), "outcome", &counters.outcomes);
    let help = "What happened to packets on the way to their outcome.";
    count(
        &mut text.family("lbctl_xdp_occurrences_total", Counter, help),
        "occurrence",
        &counters.occurrences,
    );
    let mut entries =
        text.family("lbctl_table_entries", Gauge, "Entries in use; of flows as of the last sweep.");
    for (table, count) in tables.iter().filter_map(|table| Some((table, table.entries?))) {
        entries.sample(&[("table", &table.name)], count);
    }
    let mut capacity = text.family("lbctl_table_capacity_entries", Gauge, "Entries there is room for.");
    for table in tables.iter().filter(|table| table.capacity > 0) {
        capacity.sample(&[("table", &table.name)], table.capacity);
    }
    let mut bytes =
        text.family("lbctl_table_memory_bytes", Gauge, "Memory of the table, as the kernel counts it.");
    for table in tables {
        bytes.sample(&[("table", &table.name)], table.bytes);
    }
}

pub(super) fn services(text: &mut Text, services: &[ServiceView]) {
    let mut info = text.family("lbctl_service_info", Gauge, "The service's mode and scheduler; always 1.");
    for service in services {
        let labels: [(&str, &dyn Display); 4] = [
            ("service", &service.name),
            ("mode", &service.mode),
            ("scheduler", &service.scheduler),
            ("protocol", &service.protocol),
        ];
        info.sample(&labels, 1);
    }
    let mut addresses =
        text.family("lbctl_service_addresses", Gauge, "Addresses this node serves it at now.");
    for service in services {
        addresses.sample(&[("service", &service.name)], service.listen.len());
    }
    let mut flows = text.family("lbctl_service_active_flows", Gauge, "Open flows and connections.");
    for service in services {
        flows.sample(&[("service", &service.name)], service.active_flows);
    }
    let proxied = || services.iter().filter_map(|service| Some((&service.name, service.proxy.as_ref()?)));
    let mut active =
        text.family("lbctl_connections_active", Gauge, "Open connections that end at this node.");
    for (name, proxy) in proxied() {
        active.sample(&[("service", name)], proxy.active);
    }
    let help = "Connections that wait for a backend with room.";
    let mut waiting = text.family("lbctl_connections_waiting", Gauge, help);
    for (name, proxy) in proxied() {
        waiting.sample(&[("service", name)], proxy.waiting);
    }
    let help = "Connections that ended, by how they did.";
    let mut ended = text.family("lbctl_connections_ended_total", Counter, help);
    for (name, proxy) in proxied() {
        for (reason, count) in &proxy.ended {
            ended.sample(&[("service", name), ("reason", reason)], count);
        }
    }
}

type Of<T> = fn(&T) -> u64;

/// Families that have one sample for each thing of a kind.
type Figures<'a, T> = &'a [(&'static str, Type, &'static str, Of<T>)];

fn of_each<'a, T: 'a, I: Iterator<Item = &'a T>>(
    text: &mut Text,
    figures: Figures<'_, T>,
    all: impl Fn() -> I,
    sample: impl Fn(&mut Family<'_>, &T, u64),
) {
    for (name, kind, help, figure) in figures {
        let mut family = text.family(name, *kind, help);
        all().for_each(|one| sample(&mut family, one, figure(one)));
    }
}

pub(super) fn backends(text: &mut Text, services: &[ServiceView]) {
    let all = || services.iter().flat_map(|service| &service.backends);
    let mut health =
        text.family("lbctl_backend_health", Gauge, "What the backend's checks say, over all addresses.");
    for backend in all() {
        let labels: [(&str, &dyn Display); 2] = [("service", &backend.service), ("backend", &backend.name)];
        health.states(&labels, "health", BackendHealth::WORDS, backend.health.as_str());
    }
    let mut state = text.family("lbctl_backend_state", Gauge, "What the operator wants of the backend.");
    for backend in all() {
        let labels: [(&str, &dyn Display); 2] = [("service", &backend.service), ("backend", &backend.name)];
        state.states(&labels, "state", AdminState::WORDS, backend.state.as_str());
    }
    let figures: Figures<'_, BackendView> = &[
        ("lbctl_backend_weight", Gauge, "Its share of new flows.", |one| one.weight.get().into()),
        ("lbctl_backend_active_flows", Gauge, "Open flows and connections.", |one| one.active_flows),
        ("lbctl_backend_flows_new_total", Counter, "Flows and connections it was given.", |one| {
            one.flows_new
        }),
        ("lbctl_backend_flows_established_total", Counter, "Of those, that it took.", |one| {
            one.flows_established
        }),
        ("lbctl_backend_flows_refused_total", Counter, "And that it refused.", |one| one.flows_refused),
        ("lbctl_backend_flows_over_limit_total", Counter, "Flows it was not given, for its limit.", |one| {
            one.flows_over_limit
        }),
    ];
    of_each(text, figures, all, |family, backend, figure| {
        family.sample(&[("service", &backend.service), ("backend", &backend.name)], figure);
    });
    let figures: [(&'static str, &'static str, [Of<BackendView>; 2]); 2] = [
        (
            "lbctl_backend_packets_total",
            "Packets to the backend (forward) and from it.",
            [|one| one.forward_packets, |one| one.reverse_packets],
        ),
        ("lbctl_backend_bytes_total", "Their bytes.", [|one| one.forward_bytes, |one| one.reverse_bytes]),
    ];
    for (name, help, [forward, reverse]) in figures {
        let mut family = text.family(name, Counter, help);
        for backend in all() {
            for (direction, figure) in [("forward", forward), ("reverse", reverse)] {
                let labels: [(&str, &dyn Display); 3] =
                    [("service", &backend.service), ("backend", &backend.name), ("direction", &direction)];
                family.sample(&labels, figure(backend));
            }
        }
    }
}

pub(super) fn checks(text: &mut Text, services: &[ServiceView]) {
    let all = || {
        let backends = services.iter().flat_map(|service| &service.backends);
        backends.flat_map(|backend| backend.addresses.iter().map(move |address| (backend, address)))
    };
    let with_labels =
        |family: &mut Family<'_>, backend: &BackendView, address: &AddressView, value: &dyn Display| {
            let labels: [(&str, &dyn Display); 3] =
                [("service", &backend.service), ("backend", &backend.name), ("address", &address.address)];
            family.sample(&labels, value);
        };
    let help = "Whether the address passes its checks; without checks it is left out.";
    let mut up = text.family("lbctl_check_up", Gauge, help);
    for (backend, address) in all().filter(|(_, address)| address.health != HealthState::Unknown) {
        with_labels(&mut up, backend, address, &u8::from(address.health == HealthState::Up));
    }
    let mut took = text.family("lbctl_check_duration_seconds", Gauge, "How long the last check took.");
    for (backend, address, took_us) in
        all().filter_map(|(backend, one)| Some((backend, one, one.last_check_us?)))
    {
        with_labels(&mut took, backend, address, &(took_us as f64 / 1e6));
    }
    let help = "Checks that were made, by what they found.";
    let mut made = text.family("lbctl_checks_total", Counter, help);
    for (backend, address) in all().filter(|(_, address)| address.last_check.is_some()) {
        for (result, count) in [("passed", address.checks_passed), ("failed", address.checks_failed)] {
            let labels: [(&str, &dyn Display); 4] = [
                ("service", &backend.service),
                ("backend", &backend.name),
                ("address", &address.address),
                ("result", &result),
            ];
            made.sample(&labels, count);
        }
    }
    let help = "Slots of the current slot table that the address has: its share of new flows.";
    let mut slots = text.family("lbctl_backend_slots", Gauge, help);
    for (backend, address) in all() {
        with_labels(&mut slots, backend, address, &address.slots);
    }
}

pub(super) fn tls(text: &mut Text, services: &[ServiceView]) {
    let all =
        || services.iter().filter_map(|service| Some((&service.name, service.proxy.as_ref()?.tls.as_ref()?)));
    let help = "Handshakes with clients that began a session (full) or went on with one (resumed).";
    let mut handshakes = text.family("lbctl_tls_handshakes_total", Counter, help);
    for (name, tls) in all() {
        handshakes.sample(&[("service", name), ("kind", &"full")], tls.full_handshakes);
        handshakes.sample(&[("service", name), ("kind", &"resumed")], tls.resumed_handshakes);
    }
    let help = "When the certificate expires, in seconds since 1970.";
    let mut expiry = text.family("lbctl_tls_certificate_not_after_seconds", Gauge, help);
    for (name, tls) in all() {
        for certificate in &tls.certificates {
            let file = certificate.file.display();
            expiry.sample(&[("service", name), ("file", &file)], certificate.not_after_unix_seconds);
        }
    }
    let help = "Whether files of TLS as they are now are not in force.";
    let mut trouble = text.family("lbctl_tls_files_refused", Gauge, help);
    for (name, tls) in all() {
        trouble.flag(&[("service", name)], tls.trouble.is_some());
    }
}

pub(super) fn firewall(text: &mut Text, firewall: &FirewallView) {
    text.family("lbctl_firewall_prefixes", Gauge, "Prefixes that the kernel looks up.")
        .sample(&[], firewall.prefixes);
    let help = "What rules did: connections allowed; packets denied, over a rate, or over a number of open connections.";
    let mut rules = text.family("lbctl_firewall_rule_hits_total", Counter, help);
    let figures: [(&str, Of<RuleView>); 4] = [
        ("allowed", |rule| rule.allowed),
        ("denied", |rule| rule.denied),
        ("over_rate", |rule| rule.over_rate),
        ("over_active", |rule| rule.over_active),
    ];
    for rule in &firewall.rules {
        for (hit, figure) in &figures {
            rules.sample(&[("rule", &rule.name), ("hit", hit)], figure(rule));
        }
    }
}

pub(super) fn vrrp(text: &mut Text, vrrp: &VrrpView) {
    let mut state = text.family("lbctl_vrrp_state", Gauge, "The state of a virtual router (RFC 9568).");
    for router in &vrrp.routers {
        let labels: [(&str, &dyn Display); 2] = [("vip", &router.vip), ("family", &router.family)];
        state.states(&labels, "state", &["initialize", "backup", "active"], &router.state);
    }
    let help = "How often it came to that state.";
    let mut times = text.family("lbctl_vrrp_transitions_total", Counter, help);
    for router in &vrrp.routers {
        let all = [
            ("initialize", router.times_initialize),
            ("backup", router.times_backup),
            ("active", router.times_active),
        ];
        for (state, count) in all {
            let labels: [(&str, &dyn Display); 3] =
                [("vip", &router.vip), ("family", &router.family), ("state", &state)];
            times.sample(&labels, count);
        }
    }
    let figures: Figures<'_, VirtualRouterView> = &[
        ("lbctl_vrrp_priority", Gauge, "Its priority now.", |one| one.priority.into()),
        ("lbctl_vrrp_became_active_total", Counter, "How often it became Active.", |one| one.times_active),
        ("lbctl_vrrp_adverts_sent_total", Counter, "Advertisements sent.", |one| one.adverts_sent),
        ("lbctl_vrrp_adverts_received_total", Counter, "Advertisements received.", |one| {
            one.adverts_received
        }),
    ];
    of_each(
        text,
        figures,
        || vrrp.routers.iter(),
        |family, router, figure| {
            family.sample(&[("vip", &router.vip), ("family", &router.family)], figure);
        },
    );
    let mut malformed =
        text.family("lbctl_vrrp_malformed_total", Counter, "Packets that were no advertisements.");
    for (reason, count) in &vrrp.malformed {
        malformed.sample(&[("reason", reason)], count);
    }
    let mut trackers = text.family("lbctl_tracker_up", Gauge, "Whether what priorities hang on is up.");
    for tracker in &vrrp.trackers {
        trackers.flag(&[("tracker", &tracker.name)], tracker.up);
    }
}

pub(super) fn sync(text: &mut Text, sync: &SyncView) {
    if sync.address.is_none() {
        return;
    }
    let help = "Whether this node has what the others knew when it started.";
    text.family("lbctl_sync_joined", Gauge, help).flag(&[], sync.joined);
    let help = "Flows that the program could not tell of.";
    text.family("lbctl_sync_missed_total", Counter, help).sample(&[], sync.missed);
    let help = "Datagrams without the right seal, or of strangers.";
    text.family("lbctl_sync_foreign_datagrams_total", Counter, help)
        .sample(&[], sync.unsealed + sync.strangers);
    let figures: Figures<'_, SyncPeerView> = &[
        ("lbctl_sync_peer_here", Gauge, "Whether the other node is heard.", |one| one.here.into()),
        ("lbctl_sync_peer_waiting_flows", Gauge, "Flows it is still to be told.", |one| one.waiting),
        ("lbctl_sync_peer_told", Gauge, "Whether it has acknowledged all there is.", |one| {
            one.has_been_told.into()
        }),
        ("lbctl_sync_peer_split_addresses", Gauge, "VIP addresses that both nodes say they serve.", |one| {
            one.both_active.len() as u64
        }),
        ("lbctl_sync_sent_bytes_total", Counter, "Bytes sent to it.", |one| one.sent_bytes),
        ("lbctl_sync_received_datagrams_total", Counter, "Datagrams of it.", |one| one.received_datagrams),
        ("lbctl_sync_refused_datagrams_total", Counter, "Datagrams of it that were of no use.", |one| {
            one.refused_datagrams
        }),
        ("lbctl_sync_flows_taken_total", Counter, "Its flows that were taken over.", |one| one.flows_taken),
        (
            "lbctl_sync_peer_configuration_differs",
            Gauge,
            "Whether its configuration differs from this node's in VIPs, services or firewall.",
            |one| u64::from(one.same_configuration == Some(false)),
        ),
    ];
    of_each(
        text,
        figures,
        || sync.peers.iter(),
        |family, peer, figure| {
            family.sample(&[("peer", &peer.address)], figure);
        },
    );
}
