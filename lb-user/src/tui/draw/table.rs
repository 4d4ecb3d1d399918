//! Draws a table: as many columns as there is room for, as wide as they need to be.
//!
//! Owns widths. What stands where in a table is not decided here.

use super::super::app::App;
use super::super::look::Tone;
use super::super::table::{Column, Row, Table};
use super::line_of;
use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::style::Modifier;
use ratatui::text::{Line, Span};

/// Between columns.
const GAP: usize = 2;
/// A text is not cut below this width where columns can go.
const TEXT_MIN: usize = 16;

pub(super) fn draw(frame: &mut Frame<'_>, app: &App, area: Rect) {
    let table = app.table();
    let widths = fit(&table, app, usize::from(area.width));
    let head = widths.iter().map(|(index, width)| {
        let column = table.columns[*index];
        let title = titled(column, app);
        let style = app.look.style(Tone::Plain).add_modifier(Modifier::BOLD);
        Span::styled(aligned(&title, *width, column.is_right), style)
    });
    frame.render_widget(Line::from_iter(head), line_of(area, 0));
    if table.rows.is_empty() {
        let words = if app.filter().is_empty() { table.empty } else { "no line has these words" };
        frame.render_widget(Line::styled(words, app.look.style(Tone::Quiet)), line_of(area, 1));
        return;
    }
    let height = usize::from(area.height.saturating_sub(1));
    let cursor = app.cursor(&table);
    // The cursor is in the middle where lines are above and below.
    let first = cursor.saturating_sub(height / 2).min(table.rows.len().saturating_sub(height));
    for (line, (index, row)) in (1..).zip(table.rows.iter().enumerate().skip(first).take(height)) {
        let area = line_of(area, line);
        frame.render_widget(line_text(&table, row, &widths, app), area);
        if index == cursor {
            frame.buffer_mut().set_style(area, app.look.cursor());
        }
    }
}

fn titled(column: Column, app: &App) -> String {
    let order = app.order();
    if order.column != column.title {
        return column.title.to_owned();
    }
    let descends = column.descends != order.is_reversed;
    let mark = if descends { app.look.or_ascii("▼", "v") } else { app.look.or_ascii("▲", "^") };
    format!("{}{mark}", column.title)
}

fn line_text(table: &Table, row: &Row, widths: &[(usize, usize)], app: &App) -> Line<'static> {
    let spans = widths.iter().map(|(index, width)| {
        let (cell, column) = (&row.cells[*index], table.columns[*index]);
        let text = app.look.fit(&cell.text, width - GAP);
        Span::styled(aligned(&text, *width, column.is_right), app.look.style(cell.tone))
    });
    Line::from_iter(spans)
}

/// The gap stands at the right of each column.
fn aligned(text: &str, width: usize, is_right: bool) -> String {
    let room = width - GAP;
    if is_right { format!("{text:>room$}  ") } else { format!("{text:<room$}  ") }
}

/// Which columns are shown, and how wide, with the gap.
fn fit(table: &Table, app: &App, room: usize) -> Vec<(usize, usize)> {
    let natural = |index: usize, column: &Column| {
        let cells = table.rows.iter().map(|row| row.cells[index].text.chars().count());
        cells.max().unwrap_or(0).max(titled(*column, app).chars().count()) + GAP
    };
    let natural: Vec<usize> = table.columns.iter().enumerate().map(|(at, one)| natural(at, one)).collect();
    let floor = |index: usize| {
        if table.columns[index].is_right { natural[index] } else { natural[index].min(TEXT_MIN + GAP) }
    };
    let mut shown: Vec<usize> = (0..table.columns.len()).collect();
    // The last gap needs no room.
    let room = room + GAP;
    while shown.len() > 1 && shown.iter().map(|index| floor(*index)).sum::<usize>() > room {
        shown.sort_by_key(|index| table.columns[*index].keep);
        shown.remove(0);
    }
    let mut left = room.saturating_sub(shown.iter().map(|index| floor(*index)).sum());
    shown.sort_by_key(|index| std::cmp::Reverse(table.columns[*index].keep));
    let mut widths = Vec::new();
    for index in shown {
        let more = left.min(natural[index] - floor(index));
        left -= more;
        widths.push((index, floor(index) + more));
    }
    widths.sort_unstable();
    widths
}
