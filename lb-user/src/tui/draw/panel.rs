//! What stands below a table: connections, reasons of drops, the nodes that flows are shared with.
//!
//! Each is made of the same snapshots as the table above it. Draws nothing itself: it gives lines.

use super::super::app::{App, Node};
use super::super::feed::Open;
use super::super::look::{self, Tone};
use super::Piece;
use crate::api::{MysqlNode, MysqlView, SyncPeerView, SyncView};

const REASONS_MAX: usize = 8;
/// Where whose packets they are is to be seen, too.
const REASONS_BESIDE: usize = 3;
const SOURCES_MAX: usize = 10;
const BAR_WIDTH: usize = 12;

fn title(words: impl Into<String>) -> Vec<Piece> {
    vec![(words.into(), Tone::Quiet)]
}

/// Connections that end at a node, of each service that has them.
pub(super) fn connections(app: &App) -> Vec<Vec<Piece>> {
    let mut lines = vec![Vec::new(), title("CONNECTIONS THAT END HERE")];
    for (_, node) in app.in_scope() {
        let is_cut = |open: &Open| open.flows.truncated || open.connections.truncated;
        if node.open.as_ref().is_some_and(|open| is_cut(open)) {
            let words = format!(
                "{}: more than is shown; `lbctl flow list` and `connection list` find any",
                node.name()
            );
            lines.push(vec![(words, Tone::Doubtful)]);
        }
        let services = node.snapshot().into_iter().flat_map(|snapshot| &snapshot.services);
        for (service, proxy) in services.filter_map(|one| Some((one, one.proxy.as_ref()?))) {
            let ended: u64 = proxy.ended.values().sum();
            let waiting = if proxy.waiting > 0 { Tone::Doubtful } else { Tone::Plain };
            lines.push(vec![
                (format!("{:<8} {:<16}", node.name(), service.name.as_str()), Tone::Plain),
                (format!("{:>6} open  ", proxy.active), Tone::Plain),
                (format!("{:>6} waiting  ", proxy.waiting), waiting),
                (format!("{ended:>8} ended"), Tone::Quiet),
            ]);
        }
    }
    if lines.len() > 2 { lines } else { Vec::new() }
}

/// Why packets are dropped, the most frequent reasons first, and what becomes of connections without a rule.
pub(super) fn drops(app: &App) -> Vec<Vec<Piece>> {
    let mut lines = vec![Vec::new()];
    for (_, node) in app.in_scope() {
        lines.extend(policies(node));
    }
    let mut reasons: Vec<(String, u64, f64, String)> = Vec::new();
    for (_, node) in app.in_scope() {
        let outcomes = node.snapshot().into_iter().flat_map(|snapshot| &snapshot.counters.outcomes);
        for one in outcomes.filter(|one| one.dropped && one.count > 0) {
            let rate = node.history.outcome(&one.name);
            match reasons.iter_mut().find(|(name, ..)| *name == one.name) {
                Some((_, count, sum, _)) => (*count, *sum) = (*count + one.count, *sum + rate),
                None => reasons.push((one.name.clone(), one.count, rate, one.description.clone())),
            }
        }
    }
    reasons.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    lines.push(title(match reasons.is_empty() {
        true => "DROPPED: nothing",
        false => "DROPPED              PACKETS      /S",
    }));
    let most = reasons.first().map_or(1, |(_, count, ..)| *count);
    let sources = sources(app);
    let room = if sources.is_empty() { REASONS_MAX } else { REASONS_BESIDE };
    for (name, count, rate, description) in reasons.into_iter().take(room) {
        let bar = app.look.bar(count as f64 / most as f64, BAR_WIDTH);
        let now = if rate > 0.0 { Tone::Bad } else { Tone::Plain };
        lines.push(vec![
            (format!("{name:<18}"), Tone::Plain),
            (format!("{count:>10}"), Tone::Plain),
            (format!("{:>8}  ", look::short(rate.round())), now),
            (format!("{bar}  "), Tone::Doubtful),
            (description, Tone::Quiet),
        ]);
    }
    lines.extend(sources);
    lines
}

/// Whose packets are dropped, those of whom it is most first.
fn sources(app: &App) -> Vec<Vec<Piece>> {
    let mut all: Vec<_> = app
        .in_scope()
        .flat_map(|(_, node)| node.dropped.sources.iter().map(move |source| (node.name(), source)))
        .collect();
    all.sort_by_key(|(_, source)| std::cmp::Reverse(source.packets));
    let mut lines = Vec::new();
    if !all.is_empty() {
        lines.push(title("SOURCE                     PACKETS    LAST  NODE      WHY"));
    }
    for (node, source) in all.into_iter().take(SOURCES_MAX) {
        let reasons: Vec<String> =
            source.reasons.iter().map(|reason| format!("{} {}", reason.outcome, reason.packets)).collect();
        lines.push(vec![
            (format!("{:<24}", source.source_text()), Tone::Plain),
            (format!("{:>10}", source.packets), Tone::Plain),
            (format!("{:>8}  ", look::idle(source.last_ms)), Tone::Plain),
            (format!("{node:<10}"), Tone::Plain),
            (reasons.join(", "), Tone::Quiet),
        ]);
    }
    lines
}

fn policies(node: &Node) -> Vec<Vec<Piece>> {
    let Some(seen) = &node.seen else { return Vec::new() };
    let firewall = &seen.firewall;
    let denying: Vec<&str> = firewall.denying_services.iter().map(|name| name.as_str()).collect();
    let services = match denying.is_empty() {
        true => "allow for services".to_owned(),
        false => format!("deny for {}", denying.join(", ")),
    };
    let host = firewall.host_default;
    let words = format!(
        "{}: {} prefixes; by default {services}, {host} for the host",
        node.name(),
        firewall.prefixes
    );
    let mut lines = vec![title(words)];
    if let Some(seconds) = firewall.confirm_within_seconds {
        let words = format!("{}: a change is taken back in {seconds} s: `lbctl confirm`", node.name());
        lines.push(vec![(words, Tone::Bad)]);
    }
    lines
}

/// The servers of databases, and the sessions.
pub(super) fn databases(app: &App) -> Vec<Vec<Piece>> {
    let mut lines = vec![Vec::new(), title("SERVER    OF        ROLE              LAG  VERSION")];
    for (_, node) in app.in_scope() {
        for view in node.snapshot().into_iter().flat_map(|snapshot| &snapshot.mysql) {
            lines.extend(view.nodes.iter().map(|server| server_line(node.name(), server)));
            if let Some(why) = &view.no_primary {
                lines.push(vec![(format!("  {}: no primary: {why}", view.service), Tone::Bad)]);
            }
            lines.push(vec![(session_words(view), Tone::Quiet)]);
        }
    }
    if lines.len() > 2 { lines } else { Vec::new() }
}

fn server_line(node: &str, server: &MysqlNode) -> Vec<Piece> {
    let (role, tone) = match server.role.as_str() {
        "primary" => ("P primary", Tone::Good),
        "replica" => ("R replica", Tone::Good),
        _ => ("X unfit", Tone::Bad),
    };
    let lag = server.lag_ms.map_or_else(|| "-".to_owned(), look::idle);
    let version = server.version.as_deref().unwrap_or("");
    let words = server.why.as_deref().unwrap_or(version).to_owned();
    vec![
        (format!("{:<10}{node:<10}", server.backend.as_str()), Tone::Plain),
        (format!("{role:<14}"), tone),
        (format!("{lag:>7}  "), Tone::Plain),
        (words, Tone::Quiet),
    ]
}

/// How many sessions there are, and what holds how many of them at the primary.
fn session_words(view: &MysqlView) -> String {
    let mut holds: Vec<(&str, usize)> = Vec::new();
    for hold in view.sessions.iter().filter_map(|session| session.held.first()) {
        match holds.iter_mut().find(|(known, _)| known == hold) {
            Some((_, count)) => *count += 1,
            None => holds.push((hold, 1)),
        }
    }
    holds.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(b.0)));
    let held: Vec<String> = holds.iter().map(|(hold, count)| format!("{count} held by {hold}")).collect();
    let held = if held.is_empty() { "none is held at the primary".to_owned() } else { held.join(", ") };
    format!("  {}: {} sessions, {held}", view.service, view.sessions.len())
}

/// How a peer is, in a letter and words.
pub(super) fn peer_state(peer: &SyncPeerView) -> (&'static str, Tone) {
    match peer {
        SyncPeerView { refused: Some(_), .. } => ("R refused", Tone::Bad),
        SyncPeerView { here: false, .. } => ("X away", Tone::Bad),
        SyncPeerView { has_snapshot: true, has_been_told: true, .. } => ("S in sync", Tone::Good),
        _ => ("T telling", Tone::Doubtful),
    }
}

pub(super) fn peer_name(peer: &SyncPeerView) -> String {
    peer.node.as_ref().map_or_else(|| peer.address.to_string(), ToString::to_string)
}

/// What of a peer is not as it should be.
pub(super) fn peer_troubles(peer: &SyncPeerView) -> Vec<String> {
    let mut troubles: Vec<String> = peer.refused.clone().into_iter().collect();
    if peer.same_configuration == Some(false) {
        troubles.push("its configuration differs".to_owned());
    }
    let lists = [
        ("both nodes serve", &peer.both_active),
        ("down only here", &peer.down_only_here),
        ("down only there", &peer.down_only_there),
    ];
    let filled = lists.into_iter().filter(|(_, list)| !list.is_empty());
    troubles.extend(filled.map(|(words, list)| format!("{words}: {}", list.join(", "))));
    troubles
}

/// The nodes that flows are shared with, and what priorities hang on.
pub(super) fn peers(app: &App) -> Vec<Vec<Piece>> {
    let mut lines = vec![Vec::new(), title("PEER      OF        STATE        WAITING     TAKEN")];
    for (_, node) in app.in_scope() {
        let Some(snapshot) = node.snapshot() else { continue };
        lines.extend(own_sync(node.name(), &snapshot.sync));
        for peer in &snapshot.sync.peers {
            let (state, tone) = peer_state(peer);
            lines.push(vec![
                (format!("{:<10}{:<10}", peer_name(peer), node.name()), Tone::Plain),
                (format!("{state:<13}"), tone),
                (format!("{:>7}{:>10}", peer.waiting, peer.flows_taken), Tone::Plain),
            ]);
            lines
                .extend(peer_troubles(peer).into_iter().map(|words| vec![(format!("  {words}"), Tone::Bad)]));
        }
        for tracker in &snapshot.vrrp.trackers {
            let (state, tone) = if tracker.up { ("U up", Tone::Good) } else { ("D down", Tone::Bad) };
            let trouble = tracker.trouble.as_deref().unwrap_or("");
            lines.push(vec![
                (format!("{:<10}{:<10}", tracker.name.as_str(), node.name()), Tone::Plain),
                (format!("{state:<13}"), tone),
                (format!("track: {} {trouble}", tracker.tracks), Tone::Quiet),
            ]);
        }
    }
    lines
}

fn own_sync(name: &str, sync: &SyncView) -> Option<Vec<Piece>> {
    match (sync.address, sync.joined) {
        (None, _) => Some(title(format!("{name} shares no flows"))),
        (Some(_), false) => Some(vec![(format!("{name} still waits for the others' flows"), Tone::Doubtful)]),
        (Some(_), true) => None,
    }
}
