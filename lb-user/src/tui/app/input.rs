//! Keys while something is asked, typed or read, and the questions before anything is changed.
//!
//! Owns the one mode there is at a time. Nothing here acts: a yes becomes an [`Effect`].

use super::super::action::{Action, BackendPath};
use super::super::keys::{Command, Screen};
use super::super::table::{RowId, Subject};
use super::{App, Effect, Node};
use crate::model::{AdminState, Weight};
use ratatui::crossterm::event::{KeyCode, KeyEvent};

/// What keys are for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::tui) enum Mode {
    /// Commands, by the table of keys.
    Table,
    /// Words of the filter.
    Filter,
    /// A weight's digits, for the backend of a node.
    Weight {
        node: usize,
        path: BackendPath,
        now: Weight,
        text: String,
    },
    /// Yes or no.
    Confirm(Question),
    /// Reading about a line; the number of the first line shown.
    Details(RowId, u16),
    Help(u16),
}

/// What is asked before it is done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::tui) struct Question {
    pub(in crate::tui) action: Action,
    pub(in crate::tui) node: usize,
    /// Nodes where the same may be done: that one and others; empty where it is for one alone.
    pub(in crate::tui) everywhere: Vec<usize>,
}

const WEIGHT_DIGITS_MAX: usize = 3;

impl App {
    /// A key outside the table of keys; the mode was taken out and is put back where it stays.
    pub(super) fn press_in(&mut self, mode: Mode, key: KeyEvent) -> Effect {
        match mode {
            Mode::Table => {}
            Mode::Filter => self.type_filter(key.code),
            Mode::Weight { node, path, now, text } => self.type_weight(key.code, node, path, now, text),
            Mode::Confirm(question) => return self.answer(question, key.code),
            Mode::Details(id, line) => {
                self.mode = read(line, key.code).map_or(Mode::Table, |line| Mode::Details(id, line));
            }
            Mode::Help(line) => self.mode = read(line, key.code).map_or(Mode::Table, Mode::Help),
        }
        Effect::None
    }

    fn type_filter(&mut self, code: KeyCode) {
        let filter = &mut self.place_mut().filter;
        match code {
            KeyCode::Enter => return,
            KeyCode::Esc => {
                filter.clear();
                return;
            }
            KeyCode::Backspace => {
                filter.pop();
            }
            KeyCode::Char(letter) => filter.push(letter),
            _ => {}
        }
        self.mode = Mode::Filter;
    }

    fn type_weight(&mut self, code: KeyCode, node: usize, path: BackendPath, now: Weight, mut text: String) {
        match code {
            KeyCode::Esc => return,
            KeyCode::Enter => {
                match text.parse::<Weight>() {
                    Ok(weight) if weight == now => self.complain(format!("the weight is {now} already")),
                    Ok(weight) => return self.confirm(node, Action::SetWeight(path, now, weight)),
                    Err(error) => self.complain(error.to_string()),
                }
                return;
            }
            KeyCode::Backspace => {
                text.pop();
            }
            KeyCode::Char(digit) if digit.is_ascii_digit() && text.len() < WEIGHT_DIGITS_MAX => {
                text.push(digit)
            }
            _ => {}
        }
        self.mode = Mode::Weight { node, path, now, text };
    }

    fn answer(&mut self, question: Question, code: KeyCode) -> Effect {
        let nodes = match code {
            KeyCode::Char('y') => vec![question.node],
            KeyCode::Char('a') if !question.everywhere.is_empty() => question.everywhere,
            KeyCode::Char('n' | 'q') | KeyCode::Esc => {
                self.complain("nothing was changed");
                return Effect::None;
            }
            // Neither a yes nor a no: it is asked still.
            _ => {
                self.mode = Mode::Confirm(question);
                return Effect::None;
            }
        };
        Effect::Act(nodes, question.action)
    }

    /// Begins what a command that changes something asks for.
    pub(super) fn ask_for(&mut self, command: Command) {
        if !self.may_write {
            return self.complain("read-only: `lbctl tui --write` may change things");
        }
        let Some(row) = self.chosen() else {
            return self.complain("there is no line to do that with");
        };
        // What is done is done to what is now, also where what is shown is frozen.
        let Some(node) = self.nodes.get(row.node) else { return };
        if node.lost.is_some() {
            return self.complain("its agent does not answer");
        }
        match (command, row.subject) {
            (Command::Failover, Subject::Router(vip, family)) => {
                let routers = node.snapshot().map(|snapshot| &snapshot.vrrp.routers);
                let mut routers = routers.into_iter().flatten();
                let is_active = routers.any(|one| one.vip == vip && one.family == family && one.active);
                if is_active {
                    self.confirm(row.node, Action::HandOver(vip));
                } else {
                    self.complain(format!("VIP {vip} is not Active on {}", node.name()));
                }
            }
            (Command::Failover, _) => {
                self.complain(format!("choose a VIP first: screen {}", Screen::Vrrp.index() + 1));
            }
            (_, Subject::Backend(service, backend)) => {
                self.ask_for_backend(command, row.node, BackendPath { service, backend });
            }
            _ => self.complain(format!("choose a backend first: screen {}", Screen::Backends.index() + 1)),
        }
    }

    fn ask_for_backend(&mut self, command: Command, node: usize, path: BackendPath) {
        let Some((state, now)) = self.nodes.get(node).and_then(|node| backend(node, &path)) else {
            return self.complain("it is not there any more");
        };
        let wanted = match command {
            Command::Drain => AdminState::Drain,
            Command::Ready => AdminState::Ready,
            Command::Maint => AdminState::Maint,
            _ => {
                self.mode = Mode::Weight { node, path, now, text: String::new() };
                return;
            }
        };
        if state == wanted && self.everywhere(&path).len() < 2 {
            return self.complain(format!("{} is in state {state} already", path.words()));
        }
        self.confirm(node, Action::SetState(path, wanted));
    }

    fn confirm(&mut self, node: usize, action: Action) {
        let everywhere = match &action {
            Action::SetState(path, _) | Action::SetWeight(path, ..) => self.everywhere(path),
            Action::HandOver(_) => Vec::new(),
        };
        let everywhere = if everywhere.len() > 1 { everywhere } else { Vec::new() };
        self.mode = Mode::Confirm(Question { action, node, everywhere });
    }

    /// The nodes that have that backend and whose agents answer.
    fn everywhere(&self, path: &BackendPath) -> Vec<usize> {
        let has = |node: &Node| node.lost.is_none() && backend(node, path).is_some();
        self.nodes.iter().enumerate().filter(|(_, node)| has(node)).map(|(index, _)| index).collect()
    }
}

fn backend(node: &Node, path: &BackendPath) -> Option<(AdminState, Weight)> {
    let mut backends = node.snapshot()?.services.iter().flat_map(|service| &service.backends);
    let found = backends.find(|one| one.service == path.service && one.name == path.backend)?;
    Some((found.state, found.weight))
}

/// Moves through a text; `None` when it is closed.
fn read(line: u16, code: KeyCode) -> Option<u16> {
    match code {
        KeyCode::Esc | KeyCode::Enter | KeyCode::Char('q' | '?') => None,
        KeyCode::Char('j') | KeyCode::Down => Some(line.saturating_add(1)),
        KeyCode::Char('k') | KeyCode::Up => Some(line.saturating_sub(1)),
        KeyCode::PageDown => Some(line.saturating_add(10)),
        KeyCode::PageUp => Some(line.saturating_sub(10)),
        KeyCode::Char('g') | KeyCode::Home => Some(0),
        _ => Some(line),
    }
}
