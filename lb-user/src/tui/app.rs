//! What is shown, and what keys make of it: pure, so that tests press keys and look.
//!
//! Owns all state. Never asks an agent, never reads a clock, never draws: it says what is to be done as an [`Effect`].

mod input;
mod node;

use super::action::Action;
use super::feed::{News, Wanted};
use super::keys::{self, Command, Screen};
use super::look::{Look, Tone};
use super::rows;
use super::table::{Order, Row, RowId, Table};
use ratatui::crossterm::event::KeyEvent;

pub(super) use input::{Mode, Question};
pub(super) use node::Node;

/// Which nodes are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scope {
    All,
    One(usize),
}

impl Scope {
    pub(super) fn has(self, node: usize) -> bool {
        match self {
            Self::All => true,
            Self::One(one) => one == node,
        }
    }
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Effect {
    None,
    Leave,
    /// At these nodes.
    Act(Vec<usize>, Action),
}

/// How a screen was left.
#[derive(Clone, Debug)]
struct Place {
    /// Nothing is chosen before somebody does: the cursor is on the first line.
    cursor: Option<RowId>,
    /// Where that line was, for when it is gone.
    line: usize,
    filter: String,
    order: Order,
}

/// All there is to see.
#[derive(Clone, Debug)]
pub(super) struct App {
    nodes: Vec<Node>,
    /// The nodes as they were when that was wanted.
    frozen: Option<Vec<Node>>,
    places: Vec<Place>,
    pub(super) look: Look,
    pub(super) may_write: bool,
    pub(super) screen: Screen,
    pub(super) scope: Scope,
    pub(super) mode: Mode,
    /// What became of the last thing that was wanted.
    pub(super) note: Option<(String, Tone)>,
}

impl App {
    /// Of nodes with these names.
    pub(super) fn new(names: Vec<String>, may_write: bool, look: Look) -> Self {
        let place = |screen: &Screen| Place {
            cursor: None,
            line: 0,
            filter: String::new(),
            order: Order { column: rows::first_order(*screen), is_reversed: false },
        };
        Self {
            nodes: names.into_iter().map(Node::new).collect(),
            frozen: None,
            places: Screen::ALL.iter().map(place).collect(),
            look,
            may_write,
            screen: Screen::Overview,
            scope: Scope::All,
            mode: Mode::Table,
            note: None,
        }
    }

    /// The nodes as they are shown.
    pub(super) fn nodes(&self) -> &[Node] {
        self.frozen.as_deref().unwrap_or(&self.nodes)
    }

    pub(super) fn is_frozen(&self) -> bool {
        self.frozen.is_some()
    }

    /// The nodes in scope, with their numbers.
    pub(super) fn in_scope(&self) -> impl Iterator<Item = (usize, &Node)> {
        self.nodes().iter().enumerate().filter(|(index, _)| self.scope.has(*index))
    }

    pub(super) fn filter(&self) -> &str {
        &self.place().filter
    }

    pub(super) fn order(&self) -> Order {
        self.place().order
    }

    fn place(&self) -> &Place {
        &self.places[self.screen.index()]
    }

    fn place_mut(&mut self) -> &mut Place {
        &mut self.places[self.screen.index()]
    }

    /// What is to be asked for while this is shown.
    pub(super) fn wanted(&self) -> Option<Wanted> {
        match self.screen {
            Screen::Flows => Some(Wanted::Flows(self.scope)),
            Screen::Mysql => Some(Wanted::Digests(self.scope)),
            Screen::Firewall => Some(Wanted::Dropped(self.scope)),
            _ => None,
        }
    }

    /// The table of the screen, as it is to be shown.
    pub(super) fn table(&self) -> Table {
        rows::table(self).arranged(self.filter(), self.order())
    }

    /// Where the cursor is in that table.
    pub(super) fn cursor(&self, table: &Table) -> usize {
        let place = self.place();
        let found = place.cursor.as_ref().and_then(|id| table.position(id));
        let line = if place.cursor.is_some() { place.line } else { 0 };
        found.unwrap_or(line).min(table.rows.len().saturating_sub(1))
    }

    /// The line that the cursor is on.
    pub(super) fn chosen(&self) -> Option<Row> {
        let table = self.table();
        table.rows.get(self.cursor(&table)).cloned()
    }

    /// Takes news in; whether what is shown may be another now.
    pub(super) fn hear(&mut self, news: News) -> bool {
        if let News::Done(index, outcome) = news {
            let name = self.nodes.get(index).map_or("", Node::name);
            self.note = Some(match outcome {
                Ok(words) => (format!("{name}: {words}"), Tone::Good),
                Err(words) => (format!("{name}: not done: {words}"), Tone::Bad),
            });
            return true;
        }
        let (News::Seen(index, _)
        | News::Lost(index, ..)
        | News::Happened(index, _)
        | News::Open(index, _)
        | News::Digests(index, _)
        | News::Dropped(index, _)) = news
        else {
            return false;
        };
        let Some(node) = self.nodes.get_mut(index) else { return false };
        node.hear(news) && self.frozen.is_none()
    }

    /// A key; what is to be done by it.
    pub(super) fn press(&mut self, key: KeyEvent) -> Effect {
        if keys::is_interrupt(key) {
            return Effect::Leave;
        }
        match std::mem::replace(&mut self.mode, Mode::Table) {
            Mode::Table => match keys::command_of(key) {
                Some(command) => self.obey(command),
                None => Effect::None,
            },
            mode => self.press_in(mode, key),
        }
    }

    fn obey(&mut self, command: Command) -> Effect {
        self.note = None;
        match command {
            Command::Leave => return Effect::Leave,
            Command::Show(screen) => self.screen = screen,
            Command::NextScreen => self.screen = self.screen.step(1),
            Command::PreviousScreen => self.screen = self.screen.step(Screen::ALL.len() - 1),
            Command::Down => self.go(|line, _| line + 1),
            Command::Up => self.go(|line, _| line.saturating_sub(1)),
            Command::PageDown => self.go(|line, _| line + PAGE),
            Command::PageUp => self.go(|line, _| line.saturating_sub(PAGE)),
            Command::First => self.go(|_, _| 0),
            Command::Last => self.go(|_, last| last),
            Command::Details => {
                if let Some(row) = self.chosen() {
                    self.mode = Mode::Details(row.id(), 0);
                }
            }
            Command::Filter => {
                if self.screen != Screen::Overview {
                    self.mode = Mode::Filter;
                }
            }
            Command::Sort => self.place_mut().order = rows::table(self).column_after(self.order()),
            Command::Reverse => {
                let order = &mut self.place_mut().order;
                order.is_reversed = !order.is_reversed;
            }
            Command::Freeze => {
                self.frozen = if self.frozen.is_some() { None } else { Some(self.nodes.clone()) };
            }
            Command::NextNode => self.next_node(),
            Command::Help => self.mode = Mode::Help(0),
            Command::Back => self.place_mut().filter.clear(),
            Command::Drain | Command::Ready | Command::Maint | Command::Weight | Command::Failover => {
                self.ask_for(command);
            }
        }
        Effect::None
    }

    fn next_node(&mut self) {
        let count = self.nodes.len();
        self.scope = match self.scope {
            Scope::All if count > 1 => Scope::One(0),
            Scope::One(one) if one + 1 < count => Scope::One(one + 1),
            _ => Scope::All,
        };
    }

    /// Moves the cursor: from where it is, and where the last line is, to where it shall be.
    fn go(&mut self, to: impl Fn(usize, usize) -> usize) {
        let table = self.table();
        let Some(last) = table.rows.len().checked_sub(1) else { return };
        let line = to(self.cursor(&table), last).min(last);
        let place = self.place_mut();
        (place.line, place.cursor) = (line, Some(table.rows[line].id()));
    }

    fn complain(&mut self, words: impl Into<String>) {
        self.note = Some((words.into(), Tone::Doubtful));
    }
}

/// Lines of a page: so many are there on the smallest terminal.
const PAGE: usize = 10;
