//! What stands in the tables of the screens.
//!
//! Owns which columns there are and what is in them. Reads nodes, changes nothing; order and filter are the table's.

mod details;

use super::app::{App, Node};
use super::keys::Screen;
use super::look::{self, Look, Tone};
use super::table::{Cell, Column, NODE, Row, Subject, Table};
use crate::api::{
    BackendView, ConnectionView, Event, FlowView, MysqlDigest, RuleView, ServiceView, VirtualRouterView,
};
use crate::model::{BackendHealth, ByteCount, ServiceName};

pub(super) use details::details;

const SPARK_WIDTH: usize = 12;
const BAR_WIDTH: usize = 10;

/// The column that a screen's table is sorted by at first.
pub(super) fn first_order(screen: Screen) -> &'static str {
    match screen {
        Screen::Overview => "",
        Screen::Services | Screen::Backends => "SERVICE",
        Screen::Flows => "BYTES",
        Screen::Firewall => "#",
        Screen::Vrrp => "VIP",
        Screen::Mysql => "MS",
        Screen::Events => "TIME",
    }
}

/// The table of the app's screen: all lines, in no order.
pub(super) fn table(app: &App) -> Table {
    let look = app.look;
    match app.screen {
        Screen::Overview => Table { columns: Vec::new(), rows: Vec::new(), empty: "" },
        Screen::Services => build(app, SERVICES, "no services", |node, index| {
            let services = node.snapshot().into_iter().flat_map(|snapshot| &snapshot.services);
            services.map(|service| row(index, service_row(service, node, look))).collect()
        }),
        Screen::Backends => build(app, BACKENDS, "no backends", |node, index| {
            let services = node.snapshot().into_iter().flat_map(|snapshot| &snapshot.services);
            let backends =
                services.flat_map(|service| service.backends.iter().map(move |one| (service, one)));
            backends.map(|(service, one)| row(index, backend_row(service, one, node, look))).collect()
        }),
        Screen::Flows => build(app, FLOWS, "no flows and no connections", |node, index| {
            let flows = node.open.iter().flat_map(|open| &open.flows.flows).map(flow_row);
            let connections = node.open.iter().flat_map(|open| &open.connections.connections);
            flows.chain(connections.map(connection_row)).map(|content| row(index, content)).collect()
        }),
        Screen::Firewall => build(app, RULES, "no rules", |node, index| {
            let rules = node.seen.iter().flat_map(|seen| &seen.firewall.rules);
            rules.enumerate().map(|(place, rule)| row(index, rule_row(place, rule))).collect()
        }),
        Screen::Vrrp => build(app, ROUTERS, "no VIP moves by VRRP", |node, index| {
            let routers = node.snapshot().into_iter().flat_map(|snapshot| &snapshot.vrrp.routers);
            routers.map(|router| row(index, router_row(router))).collect()
        }),
        Screen::Mysql => build(app, STATEMENTS, "no statements of databases", |node, index| {
            let all =
                node.digests.iter().flat_map(|(service, all)| all.iter().map(move |one| (service, one)));
            all.map(|(service, one)| row(index, statement_row(service, one))).collect()
        }),
        Screen::Events => build(app, EVENTS, "no events", |node, index| {
            node.events.iter().map(|event| row(index, event_row(event))).collect()
        }),
    }
}

type Content = (Subject, Vec<Cell>);

fn row(node: usize, (subject, cells): Content) -> Row {
    Row { node, subject, cells }
}

/// A table of all nodes in scope; whose a line is stands before it where there are several.
fn build(
    app: &App,
    columns: &[Column],
    empty: &'static str,
    rows: impl Fn(&Node, usize) -> Vec<Row>,
) -> Table {
    let mut table = Table { columns: columns.to_vec(), rows: Vec::new(), empty };
    let has_several = app.in_scope().count() > 1;
    if has_several {
        table.columns.insert(0, Column::text(NODE, 90));
    }
    for (index, node) in app.in_scope() {
        let mut found = rows(node, index);
        if has_several {
            // What a lost agent said last is shown, but not as if it were so now.
            let tone = if node.lost.is_some() { Tone::Bad } else { Tone::Quiet };
            found.iter_mut().for_each(|row| row.cells.insert(0, Cell::toned((node.name(), tone))));
        }
        table.rows.extend(found);
    }
    table
}

fn rate(rate: f64) -> Cell {
    Cell::number(rate, look::short(if rate < 10.0 { (rate * 10.0).round() / 10.0 } else { rate.round() }))
}

const SERVICES: &[Column] = &[
    Column::text("SERVICE", 100),
    Column::text("VIP:PORT", 60),
    Column::text("MODE", 50),
    Column::text("SCHEDULER", 20),
    Column::text("BACKENDS", 80),
    Column::number("FLOWS", 70),
    Column::number("NEW/S", 65),
    Column::number("BIT/S", 64),
    Column::text("TRAFFIC", 30),
];

fn service_row(service: &ServiceView, node: &Node, look: Look) -> Content {
    let vips: Vec<&str> = service.vips.iter().map(|vip| vip.as_str()).collect();
    let rates = node.history.service(service);
    let spark = look.spark(node.history.service_bits(&service.name), SPARK_WIDTH);
    let cells = vec![
        Cell::new(service.name.as_str()),
        Cell::new(format!("{}:{}/{}", vips.join(","), service.port, service.protocol)),
        Cell::new(&*service.mode),
        Cell::new(&*service.scheduler),
        Cell::toned(backends_in_short(service)),
        Cell::count(service.active_flows),
        rate(rates.new_flows),
        rate(rates.bits),
        Cell { number: Some(rates.bits), tone: Tone::Good, ..Cell::new(spark) },
    ];
    (Subject::Service(service.name.clone()), cells)
}

/// How many backends take flows, of all, with the letter of how that is.
fn backends_in_short(service: &ServiceView) -> (String, Tone) {
    let takes = |backend: &&BackendView| backend.addresses.iter().any(|address| address.slots > 0);
    let (all, take) = (service.backends.len(), service.backends.iter().filter(takes).count());
    match (take, all) {
        (_, 0) => ("-".to_owned(), Tone::Quiet),
        _ if service.listen.is_empty() => (format!("- {take}/{all}"), Tone::Quiet),
        (0, _) => (format!("D 0/{all}"), Tone::Bad),
        _ if take < all => (format!("P {take}/{all}"), Tone::Doubtful),
        _ => (format!("U {take}/{all}"), Tone::Good),
    }
}

const BACKENDS: &[Column] = &[
    Column::text("SERVICE", 99),
    Column::text("BACKEND", 100),
    Column::text("ADDRESS", 20),
    Column::text("STATE", 95),
    Column::text("HEALTH", 94),
    Column::number("WEIGHT", 70),
    Column::number("FLOWS", 80),
    Column::number("NEW/S", 75),
    Column::number("BIT/S", 74),
    Column::number("CHECK", 30),
    Column::text("SHARE", 40),
];

fn backend_row(service: &ServiceView, backend: &BackendView, node: &Node, look: Look) -> Content {
    let rates = node.history.backend(backend);
    let of = |backend: &BackendView| node.history.backend(backend).new_flows;
    let all: f64 = service.backends.iter().map(of).sum();
    let share = if all > 0.0 { rates.new_flows / all } else { 0.0 };
    let address = backend.addresses.first().map_or_else(|| "-".to_owned(), |one| one.address.to_string());
    let slowest = backend.addresses.iter().filter_map(|one| one.last_check_us).max();
    let (health, tone) = look::health(backend.health);
    let check = slowest.map_or(Cell::number(-1.0, "-"), |us| {
        Cell::number(us as f64, format!("{:.1}ms", us as f64 / 1000.0))
    });
    let cells = vec![
        Cell::new(backend.service.as_str()),
        Cell::new(backend.name.as_str()),
        Cell::new(address),
        Cell::toned(look::state(backend.state)),
        Cell::toned((health, tone)),
        Cell::count(backend.weight.get().into()),
        Cell::count(backend.active_flows),
        rate(rates.new_flows),
        rate(rates.bits),
        check,
        Cell {
            number: Some(share),
            tone: if backend.health == BackendHealth::Down { Tone::Bad } else { Tone::Good },
            ..Cell::new(look.bar(share, BAR_WIDTH))
        },
    ];
    (Subject::Backend(backend.service.clone(), backend.name.clone()), cells)
}

const FLOWS: &[Column] = &[
    Column::text("SERVICE", 60),
    Column::text("CLIENT", 100),
    Column::text("VIP", 50),
    Column::text("BACKEND", 90),
    Column::text("STATE", 80),
    Column::number("IDLE", 40),
    Column::number("PACKETS", 30),
    Column::number("BYTES", 70),
];

fn flow_row(flow: &FlowView) -> Content {
    let backend = flow.backend_name.as_ref().map_or_else(|| flow.backend.to_string(), ToString::to_string);
    let cells = vec![
        Cell::new(flow.service.as_ref().map_or("-", |service| service.as_str())),
        Cell::new(flow.client.to_string()),
        Cell::new(format!("{}/{}", flow.vip, flow.protocol)),
        Cell::new(backend),
        Cell::toned(look::flow(&flow.state)),
        Cell::number(flow.idle_ms as f64, look::idle(flow.idle_ms)),
        Cell::count(flow.forward_packets),
        Cell::number(flow.forward_bytes as f64, ByteCount(flow.forward_bytes).to_string()),
    ];
    (Subject::Flow { protocol: flow.protocol, client: flow.client, vip: flow.vip }, cells)
}

/// A connection that ends here. Its packets are the host's, and nobody counts them.
fn connection_row(one: &ConnectionView) -> Content {
    let backend = one.backend_name.as_ref().map_or_else(|| one.backend.to_string(), ToString::to_string);
    let cells = vec![
        Cell::new(one.service.as_ref().map_or("-", |service| service.as_str())),
        Cell::new(one.client.to_string()),
        Cell::new(format!("{}/tcp", one.vip)),
        Cell::new(backend),
        Cell::toned(look::CONNECTION),
        Cell::number(one.idle_ms as f64, look::idle(one.idle_ms)),
        Cell::number(0.0, "-"),
        Cell::number(one.up_bytes as f64, ByteCount(one.up_bytes).to_string()),
    ];
    (Subject::Connection { client: one.client, vip: one.vip }, cells)
}

const RULES: &[Column] = &[
    Column { descends: false, ..Column::number("#", 85) },
    Column::text("RULE", 100),
    Column::text("ACTION", 95),
    Column::text("SOURCES", 60),
    Column::text("TARGET", 70),
    Column::number("ALLOWED", 75),
    Column::number("DENIED", 80),
    Column::number("OVER", 65),
    Column::text("LIMITS", 40),
];

fn rule_row(place: usize, rule: &RuleView) -> Content {
    let cells = vec![
        Cell::count(place as u64 + 1),
        Cell::new(rule.name.as_str()),
        Cell::toned(look::action(&rule.action)),
        Cell::new(&*rule.sources),
        Cell::new(&*rule.target),
        Cell::count(rule.allowed),
        Cell::count(rule.denied),
        Cell::count(rule.over_rate + rule.over_active),
        Cell::new(rule.limits.as_deref().unwrap_or("-")),
    ];
    (Subject::Rule(rule.name.clone()), cells)
}

const ROUTERS: &[Column] = &[
    Column::text("VIP", 100),
    Column::text("FAMILY", 95),
    Column::number("ID", 40),
    Column::text("STATE", 99),
    Column::number("FOR", 70),
    Column::number("PRIORITY", 80),
    Column::number("INTERVAL", 35),
    Column::text("HEARD", 60),
    Column::number("TAKEN OVER", 30),
];

fn router_row(router: &VirtualRouterView) -> Content {
    let priority = match router.priority == router.configured_priority {
        true => router.priority.to_string(),
        false => format!("{} of {}", router.priority, router.configured_priority),
    };
    let heard = router.heard.as_ref().map_or_else(
        || "nobody".to_owned(),
        |heard| format!("{} ({}) {} ago", heard.from, heard.priority, look::idle(heard.ago_ms)),
    );
    let cells = vec![
        Cell::new(router.vip.as_str()),
        Cell::new(router.family.title()),
        Cell::count(router.id.into()),
        Cell::toned(look::router(&router.state)),
        Cell::number(router.since_ms as f64, look::span(router.since_ms / 1000)),
        Cell::number(router.priority.into(), priority),
        Cell::number(router.interval_ms as f64, format!("{}ms", router.interval_ms)),
        Cell::new(heard),
        Cell::count(router.times_active),
    ];
    (Subject::Router(router.vip.clone(), router.family), cells)
}

const STATEMENTS: &[Column] = &[
    Column::text("SERVICE", 60),
    Column::number("COUNT", 95),
    Column::number("ERRORS", 55),
    Column::number("MS", 90),
    Column::number("MEAN", 80),
    Column::number("MAX", 70),
    Column::number("ROWS", 50),
    Column::text("SENT TO", 85),
    Column::text("STATEMENT", 100),
];

/// How a part of the statements went to replicas: `R` all, `P` none of them.
fn sent_to(one: &MysqlDigest) -> (String, Tone) {
    let at = |target: &'static str| one.routes.iter().filter(move |route| route.target == target);
    let replica: u64 = at("replica").map(|route| route.count).sum();
    let why = at("primary").max_by_key(|route| route.count).map_or("", |route| route.why.as_str());
    match (replica, one.count) {
        (0, _) => (format!("P {why}"), Tone::Doubtful),
        (replica, all) if replica >= all => ("R read".to_owned(), Tone::Good),
        (replica, all) => (format!("{}% R, P {why}", replica * 100 / all.max(1)), Tone::Plain),
    }
}

fn statement_row(service: &ServiceName, one: &MysqlDigest) -> Content {
    let ms = |us: u64| Cell::number(us as f64, format!("{:.1}", us as f64 / 1000.0));
    let failed = if one.errors > 0 { Tone::Bad } else { Tone::Quiet };
    let cells = vec![
        Cell::new(service.as_str()),
        Cell::count(one.count),
        Cell { tone: failed, ..Cell::count(one.errors) },
        ms(one.time_us),
        ms(one.time_us / one.count.max(1)),
        ms(one.time_max_us),
        Cell::count(one.rows),
        Cell::toned(sent_to(one)),
        Cell::new(one.text.replace(char::is_control, " ")),
    ];
    (Subject::Statements(service.clone(), one.digest.clone()), cells)
}

const EVENTS: &[Column] = &[
    Column { descends: true, ..Column::text("TIME", 80) },
    Column::text("KIND", 90),
    Column::text("WHAT HAPPENED", 100),
];

fn event_row(event: &Event) -> Content {
    let cells = vec![
        Cell::number(event.at_unix_ms as f64, look::clock(event.at_unix_ms)),
        Cell::toned(look::event(event.kind)),
        Cell::new(&*event.message),
    ];
    (Subject::Event(event.sequence, event.at_unix_ms), cells)
}
