//! Tables as screens have them: columns, lines, and how lines are picked and put in order.
//!
//! Owns filter and order. Knows nothing of what is in a table, nor of how it is drawn.

use super::look::Tone;
use crate::model::{BackendName, Family, Protocol, RuleName, ServiceName, VipName};
use std::cmp::Ordering;
use std::net::SocketAddr;

/// What a line is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Subject {
    Service(ServiceName),
    Backend(ServiceName, BackendName),
    Flow {
        protocol: Protocol,
        client: SocketAddr,
        vip: SocketAddr,
    },
    Connection {
        client: SocketAddr,
        vip: SocketAddr,
    },
    Rule(RuleName),
    Router(VipName, Family),
    /// A service's statements of one form, by its digest.
    Statements(ServiceName, String),
    /// Its number and its time: numbers begin anew with an agent.
    Event(u64, u64),
}

/// A line's name among all: the node's number, and what it is about.
pub(super) type RowId = (usize, Subject);

/// A column.
#[derive(Clone, Copy, Debug)]
pub(super) struct Column {
    pub(super) title: &'static str,
    /// Numbers stand at the right.
    pub(super) is_right: bool,
    /// Where there is no room for all, those with the lowest go first.
    pub(super) keep: u8,
    /// The largest come first when it is sorted by this.
    pub(super) descends: bool,
}

impl Column {
    pub(super) const fn text(title: &'static str, keep: u8) -> Self {
        Self { title, is_right: false, keep, descends: false }
    }

    pub(super) const fn number(title: &'static str, keep: u8) -> Self {
        Self { title, is_right: true, keep, descends: true }
    }
}

/// What stands in a line under a column.
#[derive(Clone, Debug)]
pub(super) struct Cell {
    pub(super) text: String,
    pub(super) tone: Tone,
    /// What it is sorted by where that is not its text.
    pub(super) number: Option<f64>,
}

impl Cell {
    pub(super) fn new(text: impl Into<String>) -> Self {
        Self { text: text.into(), tone: Tone::Plain, number: None }
    }

    pub(super) fn toned((text, tone): (impl Into<String>, Tone)) -> Self {
        Self { text: text.into(), tone, number: None }
    }

    pub(super) fn number(number: f64, text: impl Into<String>) -> Self {
        Self { text: text.into(), tone: Tone::Plain, number: Some(number) }
    }

    pub(super) fn count(count: u64) -> Self {
        Self::number(count as f64, count.to_string())
    }
}

/// A line.
#[derive(Clone, Debug)]
pub(super) struct Row {
    pub(super) node: usize,
    pub(super) subject: Subject,
    pub(super) cells: Vec<Cell>,
}

impl Row {
    pub(super) fn id(&self) -> RowId {
        (self.node, self.subject.clone())
    }
}

/// How lines are put in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Order {
    /// The column's title.
    pub(super) column: &'static str,
    pub(super) is_reversed: bool,
}

/// A table.
#[derive(Clone, Debug)]
pub(super) struct Table {
    pub(super) columns: Vec<Column>,
    pub(super) rows: Vec<Row>,
    /// What is said where there are no lines.
    pub(super) empty: &'static str,
}

/// The title of the column that says whose a line is.
pub(super) const NODE: &str = "NODE";

impl Table {
    /// The lines that have all words of a filter, in order.
    pub(super) fn arranged(mut self, filter: &str, order: Order) -> Self {
        let words: Vec<String> = filter.split_whitespace().map(str::to_lowercase).collect();
        self.rows.retain(|row| {
            let text: Vec<String> = row.cells.iter().map(|cell| cell.text.to_lowercase()).collect();
            words.iter().all(|word| text.iter().any(|text| text.contains(word)))
        });
        let sorted_by = self.columns.iter().position(|column| column.title == order.column);
        let Some(index) = sorted_by else { return self };
        let turns = self.columns[index].descends != order.is_reversed;
        // What stands first says what a line is about; whose it is comes last, so that nodes stand side by side.
        let first = usize::from(self.columns.first().is_some_and(|column| column.title == NODE));
        self.rows.sort_by(|a, b| {
            let by_column = compare(&a.cells[index], &b.cells[index]);
            let by_column = if turns { by_column.reverse() } else { by_column };
            let named = first..self.columns.len().min(first + 3);
            let by_name = || named.map(|at| compare(&a.cells[at], &b.cells[at])).find(|found| found.is_ne());
            by_column.then_with(|| by_name().unwrap_or(Ordering::Equal)).then(a.node.cmp(&b.node))
        });
        self
    }

    /// The column after the one it is sorted by.
    pub(super) fn column_after(&self, order: Order) -> Order {
        let now = self.columns.iter().position(|column| column.title == order.column);
        let next = now.map_or(0, |at| (at + 1) % self.columns.len().max(1));
        let column = self.columns.get(next).map_or(order.column, |column| column.title);
        Order { column, is_reversed: false }
    }

    pub(super) fn position(&self, id: &RowId) -> Option<usize> {
        self.rows.iter().position(|row| row.node == id.0 && row.subject == id.1)
    }
}

fn compare(a: &Cell, b: &Cell) -> Ordering {
    match (a.number, b.number) {
        (Some(a), Some(b)) => a.total_cmp(&b),
        _ => a.text.cmp(&b.text),
    }
}
