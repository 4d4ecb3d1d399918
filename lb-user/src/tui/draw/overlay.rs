//! What lies over a screen for a while: a question, details, the help.
//!
//! Owns its place and size. What is asked, and what a yes does, is the app's.

use super::super::app::{App, Mode, Node, Question};
use super::super::keys::BINDINGS;
use super::super::look::Tone;
use super::super::rows;
use super::super::table::RowId;
use super::{Piece, line_of, put, wrap};
use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::widgets::{Block, Clear};

const WIDTH_MAX: u16 = 76;
const LABEL_WIDTH: usize = 15;

pub(super) fn draw(frame: &mut Frame<'_>, app: &App, body: Rect) {
    let width = body.width.saturating_sub(2).min(WIDTH_MAX);
    let inner = usize::from(width.saturating_sub(4));
    match &app.mode {
        Mode::Confirm(question) => show(frame, app, body, width, " sure? ", ask(app, question, inner), 0),
        Mode::Details(id, line) => show(frame, app, body, width, " details ", details(app, id, inner), *line),
        Mode::Help(line) => show(frame, app, body, width, " help ", help(app, inner), *line),
        Mode::Table | Mode::Filter | Mode::Weight { .. } => {}
    }
}

fn ask(app: &App, question: &Question, width: usize) -> Vec<Vec<Piece>> {
    let name = |index: &usize| app.nodes().get(*index).map_or("", Node::name);
    let mut lines: Vec<Vec<Piece>> = Vec::new();
    for text in [&*question.action.question(name(&question.node)), question.action.consequence()] {
        lines.extend(wrap(text, width).into_iter().map(|line| vec![(line, Tone::Plain)]));
    }
    lines.push(Vec::new());
    let mut keys = vec![(format!("y yes, on {}   ", name(&question.node)), Tone::Good)];
    if !question.everywhere.is_empty() {
        let names: Vec<&str> = question.everywhere.iter().map(name).collect();
        keys.push((format!("a on all: {}   ", names.join(", ")), Tone::Doubtful));
    }
    keys.push(("n no".to_owned(), Tone::Plain));
    lines.push(keys);
    lines
}

fn details(app: &App, (index, subject): &RowId, width: usize) -> Vec<Vec<Piece>> {
    let Some(node) = app.nodes().get(*index) else { return Vec::new() };
    let mut lines = vec![vec![label("node"), (node.name().to_owned(), Tone::Plain)]];
    let Some(said) = rows::details(node, subject) else {
        lines.push(vec![("it is not there any more".to_owned(), Tone::Doubtful)]);
        return lines;
    };
    for (what, text, tone) in said {
        for (number, part) in wrap(&text, width - LABEL_WIDTH).into_iter().enumerate() {
            lines.push(vec![label(if number == 0 { what } else { "" }), (part, tone)]);
        }
    }
    lines
}

fn label(words: &str) -> Piece {
    (format!("{words:<LABEL_WIDTH$}"), Tone::Quiet)
}

fn help(app: &App, width: usize) -> Vec<Vec<Piece>> {
    let keys = BINDINGS.iter().map(|binding| {
        let needs = if binding.command.writes() && !app.may_write { " (with --write)" } else { "" };
        (binding.shown, format!("{}{needs}", binding.does))
    });
    let letters = LETTERS.iter().map(|(what, words)| (*what, (*words).to_owned()));
    let gap = std::iter::once(("", String::new()));
    let mut lines = Vec::new();
    for (what, words) in keys.chain(gap).chain(letters) {
        for (number, part) in wrap(&words, width - LABEL_WIDTH).into_iter().enumerate() {
            lines.push(vec![label(if number == 0 { what } else { "" }), (part, Tone::Plain)]);
        }
    }
    lines
}

const LETTERS: &[(&str, &str)] = &[
    ("health", "U up, D down, P degraded (some addresses up, some down), ? unknown"),
    ("state", "R ready, N drain (no new flows), M maintenance"),
    ("VRRP", "A Active, B Backup, I Initialize"),
    ("flow", "S embryonic, E established, H half-closed, C closed"),
    ("rule", "A allow, D deny, L limit"),
    ("peer", "S in sync, T telling, X away, R refused"),
    ("node", "U up, X gone, W with a number: warnings"),
];

fn show(
    frame: &mut Frame<'_>,
    app: &App,
    body: Rect,
    width: u16,
    title: &'static str,
    lines: Vec<Vec<Piece>>,
    from: u16,
) {
    let needed = u16::try_from(lines.len()).unwrap_or(u16::MAX).saturating_add(2);
    let height = needed.min(body.height);
    let area =
        Rect { x: body.x + (body.width - width) / 2, y: body.y + (body.height - height) / 2, width, height };
    frame.render_widget(Clear, area);
    let mut block = Block::bordered().border_set(app.look.border()).title(title);
    if needed > height {
        block = block.title_bottom(" j, k: more   Esc: back ");
    }
    let inner = block.inner(area);
    frame.render_widget(block, area);
    let inner = Rect { x: inner.x + 1, width: inner.width.saturating_sub(2), ..inner };
    let from = from.min(needed - height);
    for (line, pieces) in (0..inner.height).zip(lines.into_iter().skip(usize::from(from))) {
        put(frame, app.look, line_of(inner, line), pieces);
    }
}
