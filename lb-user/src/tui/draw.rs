//! Draws what the app knows, and changes nothing of it.
//!
//! Owns where things stand: the screens' names at the top, the nodes below, the screen, a line of what is asked or said at the bottom.

mod overlay;
mod overview;
mod panel;
mod table;

use super::app::{App, Mode, Node, Scope};
use super::keys::Screen;
use super::look::{self, Look, Tone};
use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::style::Modifier;
use ratatui::text::{Line, Span};

/// The smallest terminal that shows something useful.
const WIDTH_MIN: u16 = 60;
const HEIGHT_MIN: u16 = 15;

/// A text and what it means to who looks at it.
type Piece = (String, Tone);

pub(super) fn draw(frame: &mut Frame<'_>, app: &App) {
    let area = frame.area();
    if area.width < WIDTH_MIN || area.height < HEIGHT_MIN {
        let words = format!("{}x{} is too small:", area.width, area.height);
        put(frame, app.look, line_of(area, 0), vec![(words, Tone::Plain)]);
        let words = format!("{WIDTH_MIN}x{HEIGHT_MIN} is needed");
        put(frame, app.look, line_of(area, 1), vec![(words, Tone::Plain)]);
        return;
    }
    screens(frame, app, line_of(area, 0));
    nodes(frame, app, line_of(area, 1));
    let body = Rect { y: 2, height: area.height - 3, ..area };
    match app.screen {
        Screen::Overview => overview::draw(frame, app, body),
        _ => with_panel(frame, app, body),
    }
    footer(frame, app, line_of(area, area.height - 1));
    overlay::draw(frame, app, body);
}

/// A table, with what belongs to it below.
fn with_panel(frame: &mut Frame<'_>, app: &App, body: Rect) {
    let panel = match app.screen {
        Screen::Flows => panel::connections(app),
        Screen::Firewall => panel::drops(app),
        Screen::Vrrp => panel::peers(app),
        Screen::Mysql => panel::databases(app),
        Screen::Overview | Screen::Services | Screen::Backends | Screen::Events => Vec::new(),
    };
    let height = panel_height(panel.len(), body.height);
    let (above, below) = (
        Rect { height: body.height - height, ..body },
        Rect { y: body.y + body.height - height, height, ..body },
    );
    table::draw(frame, app, above);
    for (line, pieces) in (0..height).zip(panel) {
        put(frame, app.look, line_of(below, line), pieces);
    }
}

/// At most a half, and an empty line above.
fn panel_height(lines: usize, all: u16) -> u16 {
    u16::try_from(lines).unwrap_or(u16::MAX).min(all / 2)
}

/// A line of an area.
fn line_of(area: Rect, line: u16) -> Rect {
    Rect { y: area.y + line, height: 1, ..area }.intersection(area)
}

/// Writes a line; what is too long is cut.
fn put(frame: &mut Frame<'_>, look: Look, area: Rect, pieces: Vec<Piece>) {
    let mut room = usize::from(area.width);
    let mut spans = Vec::new();
    for (text, tone) in pieces {
        let text = look.fit(&text, room);
        room -= text.chars().count();
        spans.push(Span::styled(text, look.style(tone)));
    }
    frame.render_widget(Line::from(spans), area);
}

/// Words in lines of at most that width.
fn wrap(text: &str, width: usize) -> Vec<String> {
    let width = width.max(1);
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let mut word: Vec<char> = word.chars().collect();
        let line = lines.last().map_or(0, |line| line.chars().count());
        if line > 0 && line + 1 + word.len() > width {
            lines.push(String::new());
        }
        if let Some(line) = lines.last_mut().filter(|line| !line.is_empty()) {
            line.push(' ');
        }
        // A word longer than a line is cut where the line ends.
        while word.len() > width {
            let rest = word.split_off(width);
            lines.last_mut().into_iter().for_each(|line| line.extend(&word));
            lines.push(String::new());
            word = rest;
        }
        lines.last_mut().into_iter().for_each(|line| line.extend(&word));
    }
    lines
}

/// The screens with their numbers; where there is no room for all, only this one has its name.
fn screens(frame: &mut Frame<'_>, app: &App, area: Rect) {
    let full: usize = Screen::ALL.iter().map(|screen| screen.title().len() + 4).sum();
    let has_room = full < usize::from(area.width);
    let mut spans = Vec::new();
    for screen in Screen::ALL {
        let number = screen.index() + 1;
        let is_shown = screen == app.screen;
        let name = if has_room || is_shown { format!(" {}", screen.title()) } else { String::new() };
        let style = app.look.style(if is_shown { Tone::Plain } else { Tone::Quiet });
        let style = if is_shown { style.add_modifier(Modifier::REVERSED | Modifier::BOLD) } else { style };
        // Brackets where turning around may not be seen.
        let text = if is_shown { format!("[{number}{name}]") } else { format!(" {number}{name} ") };
        spans.push(Span::styled(text, style));
    }
    frame.render_widget(Line::from(spans), area);
}

/// The nodes, how they are, and how they are looked at.
fn nodes(frame: &mut Frame<'_>, app: &App, area: Rect) {
    let mut pieces = Vec::new();
    for (index, node) in app.nodes().iter().enumerate() {
        let mark = if app.scope == Scope::One(index) { ">" } else { " " };
        pieces.push((format!("{mark}{} ", node.name()), Tone::Plain));
        pieces.push(state_of(node));
        let warnings = node.snapshot().map_or(0, |snapshot| snapshot.status.warnings.len());
        if warnings > 0 {
            pieces.push((format!(" W{warnings}"), Tone::Doubtful));
        }
        pieces.push((" ".to_owned(), Tone::Plain));
    }
    let mut right = Vec::new();
    if app.is_frozen() {
        right.push("FROZEN".to_owned());
    }
    if app.screen != Screen::Overview {
        if !app.filter().is_empty() {
            right.push(format!("/{}", app.filter()));
        }
        let table = app.table();
        if !table.rows.is_empty() {
            right.push(format!("{}/{}", app.cursor(&table) + 1, table.rows.len()));
        }
    }
    right.push(if app.may_write { "--write" } else { "read-only" }.to_owned());
    let right = right.join("  ");
    let taken: usize = pieces.iter().map(|(text, _)| text.chars().count()).sum();
    let gap = usize::from(area.width).saturating_sub(taken + right.chars().count() + 1).max(1);
    pieces.push((" ".repeat(gap), Tone::Plain));
    pieces.push((right, Tone::Quiet));
    put(frame, app.look, area, pieces);
}

fn state_of(node: &Node) -> Piece {
    match (&node.lost, node.snapshot()) {
        (Some(lost), _) => (format!("X gone for {}", look::span(lost.lasts.as_secs())), Tone::Bad),
        (None, Some(seen)) => (format!("U up {}", look::span(seen.status.uptime_seconds)), Tone::Good),
        (None, None) => ("? asking".to_owned(), Tone::Quiet),
    }
}

/// What is typed or asked; else what became of something, else what is wrong, else which keys there are.
fn footer(frame: &mut Frame<'_>, app: &App, area: Rect) {
    let lost = app.in_scope().find_map(|(_, node)| Some((node.name(), node.lost.as_ref()?)));
    let pieces = match (&app.mode, &app.note, lost) {
        (Mode::Filter, ..) => {
            vec![(format!("/{}_   Enter keeps it, Esc ends it", app.filter()), Tone::Plain)]
        }
        (Mode::Weight { node, path, now, text }, ..) => {
            let name = app.nodes().get(*node).map_or("", Node::name);
            let words = path.words();
            vec![(format!("weight of {words} on {name}, now {now} (0 to 256): {text}_"), Tone::Plain)]
        }
        (_, Some((words, tone)), _) => vec![(words.clone(), *tone)],
        (_, None, Some((name, lost))) => vec![(format!("{name} is gone: {}", lost.why), Tone::Bad)],
        _ => vec![(hints(app).to_owned(), Tone::Quiet)],
    };
    put(frame, app.look, area, pieces);
}

fn hints(app: &App) -> &'static str {
    match (app.screen, app.may_write) {
        (Screen::Overview, _) => "? help  q leave  n node  f freeze",
        (Screen::Backends, true) => {
            "? help  d drain  r ready  m maint  w weight  Enter details  / filter  s sort"
        }
        (Screen::Vrrp, true) => {
            "? help  q leave  F failover  Enter details  / filter  s sort  n node  f freeze"
        }
        _ => "? help  q leave  Enter details  / filter  s sort  n node  f freeze",
    }
}
