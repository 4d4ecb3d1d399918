mod keys;
mod news;
mod pictures;
mod screens;

use super::action::Action;
use super::app::{App, Effect, Mode};
use super::feed::{Digests, News, Open, Seen, Wanted};
use super::look::Look;
use crate::api::{ConnectionList, DroppedList, Event, FirewallView, FlowList, Snapshot};
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use serde::Deserialize;
use std::time::{Duration, Instant};

const UNICODE: Look = Look { has_colour: true, has_unicode: true };
const ASCII: Look = Look { has_colour: false, has_unicode: false };

/// What the agents of two nodes said.
const RECORDED: [&str; 2] = [include_str!("tests/lb1.json"), include_str!("tests/lb2.json")];

#[derive(Clone, Deserialize)]
struct Recorded {
    snapshot: Snapshot,
    firewall: FirewallView,
    flows: FlowList,
    connections: ConnectionList,
    events: Vec<Event>,
    digests: Digests,
    dropped: DroppedList,
}

fn recorded(node: usize) -> Recorded {
    serde_json::from_str(RECORDED[node]).expect("a record of this API")
}

/// How a node is after some seconds, its counters grown by what comes and goes.
fn seen_after(node: usize, seconds: u64, begun: Instant) -> Seen {
    let Recorded { mut snapshot, firewall, .. } = recorded(node);
    for second in 1..=seconds {
        let wave = [1, 3, 6, 9, 7, 4, 2, 5][second as usize % 8];
        for backend in snapshot.services.iter_mut().flat_map(|service| &mut service.backends) {
            if backend.active_flows > 0 {
                backend.flows_new += wave * u64::from(backend.weight.get());
                backend.forward_bytes += wave * 9_000;
                backend.reverse_bytes += wave * 120_000 * u64::from(backend.weight.get());
            }
        }
        for outcome in snapshot.counters.outcomes.iter_mut().filter(|outcome| outcome.count > 100) {
            outcome.count += if outcome.dropped { wave % 3 } else { wave * 140 };
        }
        snapshot.status.process.cpu_ms += 11;
    }
    snapshot.status.uptime_seconds += seconds;
    Seen { snapshot, firewall, at: begun + Duration::from_secs(seconds) }
}

/// An app that has followed both nodes for half a minute.
fn app(may_write: bool, look: Look) -> App {
    let mut app = App::new(vec!["lb1".into(), "lb2".into()], may_write, look);
    let begun = Instant::now();
    for node in 0..RECORDED.len() {
        for second in 0..30 {
            app.hear(News::Seen(node, Box::new(seen_after(node, second, begun))));
        }
        let recorded = recorded(node);
        let open = Open { flows: recorded.flows, connections: recorded.connections };
        app.hear(News::Open(node, Box::new(open)));
        app.hear(News::Digests(node, recorded.digests));
        app.hear(News::Dropped(node, recorded.dropped));
        for event in recorded.events {
            app.hear(News::Happened(node, event));
        }
    }
    app
}

fn press(app: &mut App, code: KeyCode) -> Effect {
    app.press(KeyEvent::new(code, KeyModifiers::NONE))
}

/// Presses the keys of these letters; what the last one did. `↵` is Enter, `⎋` Esc.
fn press_all(app: &mut App, keys: &str) -> Effect {
    keys.chars().fold(Effect::None, |_, key| {
        let code = match key {
            '↵' => KeyCode::Enter,
            '⎋' => KeyCode::Esc,
            key => KeyCode::Char(key),
        };
        press(app, code)
    })
}

/// The texts of a column of the table on the screen.
fn column(app: &App, title: &str) -> Vec<String> {
    let table = app.table();
    let index = table.columns.iter().position(|column| column.title == title).expect("that column");
    table.rows.iter().map(|row| row.cells[index].text.clone()).collect()
}
