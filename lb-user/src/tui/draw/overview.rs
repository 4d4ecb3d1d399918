//! The first screen: the nodes side by side, each at a glance.
//!
//! Owns what a glance is. What there is no room for goes from the bottom, so what matters most stands on top.

use super::super::app::{App, Node};
use super::super::history::Values;
use super::super::look::{self, Look, Tone};
use super::panel::{peer_name, peer_state, peer_troubles};
use super::{Piece, line_of, put, wrap};
use crate::api::{BackendView, Snapshot, VipView};
use crate::model::{AdminState, BackendHealth, ByteCount, ServiceName};
use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::widgets::Block;

/// A node needs that much.
const NODE_WIDTH_MIN: u16 = 30;
const LABEL_WIDTH: usize = 10;
const VALUE_WIDTH: usize = 11;
const NAME_WIDTH: usize = 7;
const SERVICE_WIDTH: usize = 15;

pub(super) fn draw(frame: &mut Frame<'_>, app: &App, area: Rect) {
    let nodes: Vec<&Node> = app.in_scope().map(|(_, node)| node).collect();
    let room = usize::from((area.width / NODE_WIDTH_MIN).max(1));
    let shown = nodes.len().min(room);
    let Some(width) = u16::try_from(shown).ok().and_then(|shown| area.width.checked_div(shown)) else {
        return;
    };
    let mut x = area.x;
    for (index, node) in nodes.into_iter().take(shown).enumerate() {
        let width = if index + 1 == shown { area.width - (x - area.x) } else { width };
        draw_node(frame, app.look, node, Rect { x, width, ..area });
        x += width;
    }
}

fn draw_node(frame: &mut Frame<'_>, look: Look, node: &Node, area: Rect) {
    let title = match node.snapshot() {
        Some(snapshot) => format!(" {} lbctl {} ", node.name(), snapshot.status.version),
        None => format!(" {} ", node.name()),
    };
    let tone = if node.lost.is_some() { Tone::Bad } else { Tone::Quiet };
    let block = Block::bordered().border_set(look.border()).border_style(look.style(tone)).title(title);
    let inner = block.inner(area);
    frame.render_widget(block, area);
    for (line, pieces) in (0..inner.height).zip(glance(node, look, usize::from(inner.width))) {
        put(frame, look, line_of(inner, line), pieces);
    }
}

/// A node in lines.
fn glance(node: &Node, look: Look, width: usize) -> Vec<Vec<Piece>> {
    let mut lines = Vec::new();
    if let Some(lost) = &node.lost {
        let words = wrap(&format!("gone: {}", lost.why), width);
        lines.extend(words.into_iter().take(3).map(|line| vec![(line, Tone::Bad)]));
        if node.seen.is_some() {
            lines.push(vec![("how it was then:".to_owned(), Tone::Doubtful)]);
        }
    }
    let Some(snapshot) = node.snapshot() else { return lines };
    lines.extend(figures(node, look, width));
    lines.push(services(snapshot));
    lines.push(backends(snapshot));
    lines.extend(snapshot.status.vips.iter().map(|vip| vip_line(vip, snapshot)));
    for peer in &snapshot.sync.peers {
        let (state, tone) = peer_state(peer);
        lines.push(vec![
            label("peer"),
            (format!("{} ", peer_name(peer)), Tone::Plain),
            (state.to_owned(), tone),
        ]);
        lines.extend(peer_troubles(peer).into_iter().map(|words| vec![(format!("  {words}"), Tone::Bad)]));
    }
    lines.extend(table_line(snapshot, look));
    lines.push(process(node, snapshot));
    if snapshot.status.runtime_changes {
        lines.push(vec![("has changes that its file has not".to_owned(), Tone::Doubtful)]);
    }
    lines.push(Vec::new());
    lines.extend(busiest(node, snapshot, look, width));
    lines
}

/// Services with their traffic, the busiest first.
fn busiest(node: &Node, snapshot: &Snapshot, look: Look, width: usize) -> Vec<Vec<Piece>> {
    let mut services: Vec<_> =
        snapshot.services.iter().map(|one| (node.history.service(one).bits, &one.name)).collect();
    services.sort_by(|a, b| b.0.total_cmp(&a.0).then_with(|| a.1.cmp(b.1)));
    let room = width.saturating_sub(SERVICE_WIDTH + VALUE_WIDTH + 2);
    let line = |(bits, name)| {
        let name: &ServiceName = name;
        let spark = look.spark(node.history.service_bits(name), room);
        let value = look::bits(f64::round(bits));
        vec![
            (format!("{:<SERVICE_WIDTH$} ", look.fit(name.as_str(), SERVICE_WIDTH)), Tone::Plain),
            (format!("{value:>VALUE_WIDTH$} "), Tone::Plain),
            (spark, Tone::Good),
        ]
    };
    services.into_iter().map(line).collect()
}

fn label(words: &str) -> Piece {
    (format!("{words:<LABEL_WIDTH$}"), Tone::Quiet)
}

/// Rates with their last minutes, then warnings: what somebody looks for first.
fn figures(node: &Node, look: Look, width: usize) -> Vec<Vec<Piece>> {
    let history = &node.history;
    let room = width.saturating_sub(LABEL_WIDTH + VALUE_WIDTH + 1);
    let latest = |values: &Values| values.back().copied().unwrap_or(0);
    let line = |words: &str, value: String, values: &Values, tone: Tone| {
        let spark = look.spark(values.iter(), room);
        vec![label(words), (format!("{value:>VALUE_WIDTH$} "), Tone::Plain), (spark, tone)]
    };
    let count = |values: &Values| look::short(latest(values) as f64);
    let dropped = if latest(&history.dropped) > 0 { Tone::Bad } else { Tone::Quiet };
    let mut lines = vec![
        line("new flows", format!("{}/s", count(&history.new_flows)), &history.new_flows, Tone::Good),
        line("traffic", look::bits(latest(&history.bits) as f64), &history.bits, Tone::Good),
        line("packets", format!("{}/s", count(&history.packets)), &history.packets, Tone::Plain),
        line("dropped", format!("{}/s", count(&history.dropped)), &history.dropped, dropped),
    ];
    let warnings = node.snapshot().into_iter().flat_map(|snapshot| &snapshot.status.warnings);
    for warning in warnings {
        let words = wrap(&format!("W {warning}"), width);
        lines.extend(words.into_iter().take(2).map(|line| vec![(line, Tone::Doubtful)]));
    }
    lines
}

fn services(snapshot: &Snapshot) -> Vec<Piece> {
    let (all, without) = (snapshot.status.services, snapshot.status.services_without_backend);
    let mut pieces = vec![label("services"), (all.to_string(), Tone::Plain)];
    if without > 0 {
        pieces.push((format!("  D {without} without backend"), Tone::Bad));
    }
    pieces
}

/// How many are how: only what there is, but always those that are up.
fn backends(snapshot: &Snapshot) -> Vec<Piece> {
    let all: Vec<&BackendView> = snapshot.services.iter().flat_map(|service| &service.backends).collect();
    let mut pieces = vec![label("backends")];
    for (letter, health) in [
        ("U", BackendHealth::Up),
        ("D", BackendHealth::Down),
        ("P", BackendHealth::Degraded),
        ("?", BackendHealth::Unknown),
    ] {
        let count = all.iter().filter(|one| one.health == health).count();
        if count > 0 || health == BackendHealth::Up {
            let (_, tone) = look::health(health);
            pieces.push((format!("{letter}{count} "), if count > 0 { tone } else { Tone::Quiet }));
        }
    }
    for (letter, state) in [("N", AdminState::Drain), ("M", AdminState::Maint)] {
        let count = all.iter().filter(|one| one.state == state).count();
        if count > 0 {
            pieces.push((format!("{letter}{count} "), Tone::Doubtful));
        }
    }
    pieces
}

/// Who serves it, by family where VRRP decides.
fn vip_line(vip: &VipView, snapshot: &Snapshot) -> Vec<Piece> {
    let mut pieces = vec![label("VIP"), (format!("{:<NAME_WIDTH$} ", vip.name.as_str()), Tone::Plain)];
    let routers = snapshot.vrrp.routers.iter().filter(|router| router.vip == vip.name);
    let mut states: Vec<(&str, Tone)> = routers.map(|router| look::router(&router.state)).collect();
    states.dedup();
    match &states[..] {
        [] if vip.active_here => pieces.push(("A here".to_owned(), Tone::Good)),
        [] => pieces.push((format!("- on {}", vip.active_on), Tone::Quiet)),
        states => pieces.extend(states.iter().map(|(words, tone)| (format!("{words} "), *tone))),
    }
    pieces
}

/// How full the table of established flows is.
fn table_line(snapshot: &Snapshot, look: Look) -> Option<Vec<Piece>> {
    let table = snapshot.status.tables.iter().find(|table| table.name == "established")?;
    let part = table.entries? as f64 / table.capacity.max(1) as f64;
    let tone = if part > 0.9 { Tone::Bad } else { Tone::Good };
    let percent = format!(" {:.0} % of {}", part * 100.0, table.capacity);
    Some(vec![label("table"), (look.bar(part, 8), tone), (percent, Tone::Plain)])
}

fn process(node: &Node, snapshot: &Snapshot) -> Vec<Piece> {
    let memory = ByteCount(snapshot.status.process.resident_bytes);
    vec![label("agent"), (format!("{:.1} % CPU, {memory}", node.history.cpu_percent), Tone::Plain)]
}
