//! How things look: colours, letters for states, and characters that every terminal has where it has no others.
//!
//! Owns the words and letters of states. Knows nothing of what is shown where.

use crate::api::EventKind;
use crate::model::{AdminState, BackendHealth, HealthState};
use humantime::format_rfc3339_seconds;
use ratatui::style::{Color, Modifier, Style};
use ratatui::symbols::border;
use std::time::{Duration, UNIX_EPOCH};

/// What the terminal can show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Look {
    pub(super) has_colour: bool,
    pub(super) has_unicode: bool,
}

/// What something means to who looks at it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tone {
    Good,
    Bad,
    Doubtful,
    Quiet,
    Plain,
}

const ASCII_BORDER: border::Set<'static> = border::Set {
    top_left: "+",
    top_right: "+",
    bottom_left: "+",
    bottom_right: "+",
    vertical_left: "|",
    vertical_right: "|",
    horizontal_top: "-",
    horizontal_bottom: "-",
};

/// Eighths of a cell, from nothing to all of it.
const HEIGHTS: [char; 9] = [' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
const WIDTHS: [char; 9] = [' ', '▏', '▎', '▍', '▌', '▋', '▊', '▉', '█'];
const ASCII_HEIGHTS: [char; 9] = [' ', '.', '.', ':', '-', '=', '+', '*', '#'];

impl Look {
    /// By the variables that say so: `NO_COLOR`, and those of the locale.
    pub(super) fn of_environment() -> Self {
        let set = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let locale = ["LC_ALL", "LC_CTYPE", "LANG"].into_iter().find_map(set).unwrap_or_default();
        let locale = locale.to_ascii_lowercase();
        let has_unicode = locale.contains("utf-8") || locale.contains("utf8");
        let is_dumb = set("TERM").is_none_or(|term| term == "dumb");
        Self { has_colour: set("NO_COLOR").is_none() && !is_dumb, has_unicode }
    }

    pub(super) fn style(self, tone: Tone) -> Style {
        let style = Style::default();
        if !self.has_colour {
            return if tone == Tone::Bad { style.add_modifier(Modifier::BOLD) } else { style };
        }
        match tone {
            Tone::Good => style.fg(Color::Green),
            Tone::Bad => style.fg(Color::Red).add_modifier(Modifier::BOLD),
            Tone::Doubtful => style.fg(Color::Yellow),
            Tone::Quiet => style.fg(Color::DarkGray),
            Tone::Plain => style,
        }
    }

    pub(super) fn border(self) -> border::Set<'static> {
        if self.has_unicode { border::PLAIN } else { ASCII_BORDER }
    }

    /// Marks what the cursor is on: turned around where there are no colours, so that it is seen without them.
    pub(super) fn cursor(self) -> Style {
        Style::default().add_modifier(Modifier::REVERSED)
    }

    /// The last values as a line of little bars, the latest at the right; the largest is a full one.
    pub(super) fn spark<'a>(self, values: impl DoubleEndedIterator<Item = &'a u64>, width: usize) -> String {
        let values: Vec<u64> = values.rev().take(width).copied().collect();
        let largest = values.iter().copied().max().unwrap_or(0);
        let heights = if self.has_unicode { HEIGHTS } else { ASCII_HEIGHTS };
        let height = |value: &u64| {
            // Something is not nothing, however small.
            let eighths = (*value as f64 / largest.max(1) as f64 * 8.0).ceil() as usize;
            heights[eighths.min(8)]
        };
        let bars: String = values.iter().rev().map(height).collect();
        format!("{bars:>width$}")
    }

    /// A part of a whole as a bar that is `width` wide when it is all of it.
    pub(super) fn bar(self, part: f64, width: usize) -> String {
        let eighths = (part.clamp(0.0, 1.0) * width as f64 * 8.0).round() as usize;
        let (full, rest) = (eighths / 8, eighths % 8);
        let mut bar = if self.has_unicode { "█".repeat(full) } else { "#".repeat(full) };
        if rest > 0 {
            bar.push(if self.has_unicode { WIDTHS[rest] } else { '-' });
        }
        format!("{bar:<width$}")
    }

    /// Cuts a text to a width, and says so. Agents' words have characters that not every terminal has.
    pub(super) fn fit(self, text: &str, width: usize) -> String {
        if !self.has_unicode && !text.is_ascii() {
            let text: String = text.replace('→', "->").replace('…', "...");
            let text: String =
                text.chars().map(|letter| if letter.is_ascii() { letter } else { '?' }).collect();
            return self.fit(&text, width);
        }
        if text.chars().count() <= width {
            return text.to_owned();
        }
        let mut cut: String = text.chars().take(width.saturating_sub(1)).collect();
        if width > 0 {
            cut.push(if self.has_unicode { '…' } else { '~' });
        }
        cut
    }

    /// One of two texts, by what the terminal can show.
    pub(super) fn or_ascii(self, text: &'static str, ascii: &'static str) -> &'static str {
        if self.has_unicode { text } else { ascii }
    }
}

/// A letter and a word, so that it is not the colour alone that says it.
pub(super) fn health(health: BackendHealth) -> (&'static str, Tone) {
    match health {
        BackendHealth::Up => ("U up", Tone::Good),
        BackendHealth::Down => ("D down", Tone::Bad),
        BackendHealth::Degraded => ("P degraded", Tone::Doubtful),
        BackendHealth::Unknown => ("? unknown", Tone::Quiet),
    }
}

/// The same for one address.
pub(super) fn address_health(health: HealthState) -> (&'static str, Tone) {
    match health {
        HealthState::Up => ("U up", Tone::Good),
        HealthState::Down => ("D down", Tone::Bad),
        HealthState::Unknown => ("? unknown", Tone::Quiet),
    }
}

/// A virtual router's state, of its word in the API.
pub(super) fn router(state: &str) -> (&'static str, Tone) {
    match state {
        "active" => ("A Active", Tone::Good),
        "backup" => ("B Backup", Tone::Plain),
        _ => ("I Initialize", Tone::Doubtful),
    }
}

/// A flow's state, of its word in the API.
pub(super) fn flow(state: &str) -> (&'static str, Tone) {
    match state {
        "established" => ("E established", Tone::Good),
        "embryonic" => ("S embryonic", Tone::Plain),
        "half-closed" => ("H half-closed", Tone::Doubtful),
        _ => ("C closed", Tone::Quiet),
    }
}

/// A connection that ends at the node.
pub(super) const CONNECTION: (&str, Tone) = ("X connection", Tone::Good);

/// A rule's action, of its word in the API.
pub(super) fn action(action: &str) -> (&'static str, Tone) {
    match action {
        "allow" => ("A allow", Tone::Good),
        "deny" => ("D deny", Tone::Bad),
        _ => ("L limit", Tone::Doubtful),
    }
}

/// Kinds of events: a letter, a word, and whether somebody should look.
pub(super) fn event(kind: EventKind) -> (&'static str, Tone) {
    match kind {
        EventKind::AgentStarted => ("S start", Tone::Good),
        EventKind::HealthChanged => ("H health", Tone::Doubtful),
        EventKind::ConfigChanged => ("C config", Tone::Plain),
        EventKind::ConfigRefused => ("R refused", Tone::Bad),
        EventKind::FlowsCut => ("X cut", Tone::Doubtful),
        EventKind::VrrpChanged => ("V vrrp", Tone::Doubtful),
        EventKind::SyncChanged => ("F sync", Tone::Doubtful),
        EventKind::Warning => ("W warning", Tone::Bad),
    }
}

pub(super) fn state(state: AdminState) -> (&'static str, Tone) {
    match state {
        AdminState::Ready => ("R ready", Tone::Plain),
        AdminState::Drain => ("N drain", Tone::Doubtful),
        AdminState::Maint => ("M maint", Tone::Doubtful),
    }
}

/// A number as people read it: `12.3k`.
pub(super) fn short(number: f64) -> String {
    let (mut value, mut unit) = (number, "");
    for next in ["k", "M", "G", "T"] {
        if value < 1000.0 {
            break;
        }
        (value, unit) = (value / 1000.0, next);
    }
    if unit.is_empty() && value.fract() == 0.0 || value >= 100.0 {
        format!("{value:.0}{unit}")
    } else {
        format!("{value:.1}{unit}")
    }
}

/// How long, of milliseconds.
pub(super) fn idle(milliseconds: u64) -> String {
    if milliseconds < 60_000 {
        format!("{:.1}s", milliseconds as f64 / 1000.0)
    } else {
        span(milliseconds / 1000)
    }
}

pub(super) fn bits(rate: f64) -> String {
    format!("{}bit/s", short(rate))
}

/// `3d 4h`, `5h 6m`, `7m 8s`.
pub(super) fn span(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{}m {}s", seconds / 60, seconds % 60),
        3600..86_400 => format!("{}h {}m", seconds / 3600, seconds / 60 % 60),
        _ => format!("{}d {}h", seconds / 86_400, seconds / 3600 % 24),
    }
}

/// A moment's date and time, UTC, of milliseconds since 1970.
pub(super) fn date(at_unix_ms: u64) -> String {
    let at = UNIX_EPOCH.checked_add(Duration::from_millis(at_unix_ms)).unwrap_or(UNIX_EPOCH);
    // Years of more than four digits are beyond what it can write.
    if at_unix_ms > MILLISECONDS_MAX { "later".to_owned() } else { format_rfc3339_seconds(at).to_string() }
}

/// Its time of day alone.
pub(super) fn clock(at_unix_ms: u64) -> String {
    date(at_unix_ms).split_once('T').map_or_else(String::new, |(_, time)| time.to_owned())
}

/// The end of the year 9999.
const MILLISECONDS_MAX: u64 = 253_402_300_799_000;
