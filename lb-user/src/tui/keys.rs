//! Which key does what: one table, which the help screen shows, too.
//!
//! Owns the table. What a command does is the app's.

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

/// The screens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Screen {
    Overview,
    Services,
    Backends,
    Flows,
    Firewall,
    Vrrp,
    Mysql,
    Events,
}

impl Screen {
    /// All, in the order of their numbers.
    pub(super) const ALL: [Self; 8] = [
        Self::Overview,
        Self::Services,
        Self::Backends,
        Self::Flows,
        Self::Firewall,
        Self::Vrrp,
        Self::Mysql,
        Self::Events,
    ];

    pub(super) fn title(self) -> &'static str {
        match self {
            Self::Overview => "Overview",
            Self::Services => "Services",
            Self::Backends => "Backends",
            Self::Flows => "Flows",
            Self::Firewall => "Firewall",
            Self::Vrrp => "VRRP",
            Self::Mysql => "MySQL",
            Self::Events => "Events",
        }
    }

    /// Its place among all, from 0.
    pub(super) fn index(self) -> usize {
        self as usize
    }

    /// The one that is so many further, around the end.
    pub(super) fn step(self, by: usize) -> Self {
        Self::ALL[(self.index() + by) % Self::ALL.len()]
    }
}

/// What a key says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Command {
    Show(Screen),
    NextScreen,
    PreviousScreen,
    Down,
    Up,
    PageDown,
    PageUp,
    First,
    Last,
    Details,
    Filter,
    Sort,
    Reverse,
    Freeze,
    NextNode,
    Drain,
    Ready,
    Maint,
    Weight,
    Failover,
    Help,
    Back,
    Leave,
}

impl Command {
    /// Whether it changes an agent.
    pub(super) fn writes(self) -> bool {
        matches!(self, Self::Drain | Self::Ready | Self::Maint | Self::Weight | Self::Failover)
    }
}

/// A line of the table.
pub(super) struct Binding {
    pub(super) keys: &'static [KeyCode],
    /// The keys as people read them.
    pub(super) shown: &'static str,
    pub(super) command: Command,
    pub(super) does: &'static str,
}

const fn bind(
    keys: &'static [KeyCode],
    shown: &'static str,
    command: Command,
    does: &'static str,
) -> Binding {
    Binding { keys, shown, command, does }
}

use KeyCode::{BackTab, Char, Down, End, Enter, Esc, Home, Left, PageDown, PageUp, Right, Tab, Up};

/// All keys outside of questions and texts.
pub(super) const BINDINGS: &[Binding] = &[
    bind(
        &[Char('1')],
        "1",
        Command::Show(Screen::Overview),
        "Overview: traffic, health, VIPs, peers, warnings",
    ),
    bind(&[Char('2')], "2", Command::Show(Screen::Services), "Services"),
    bind(&[Char('3')], "3", Command::Show(Screen::Backends), "Backends"),
    bind(&[Char('4')], "4", Command::Show(Screen::Flows), "Flows, and connections that end at the node"),
    bind(&[Char('5')], "5", Command::Show(Screen::Firewall), "Firewall: rules, and why packets are dropped"),
    bind(&[Char('6')], "6", Command::Show(Screen::Vrrp), "VRRP, and the nodes that flows are shared with"),
    bind(&[Char('7')], "7", Command::Show(Screen::Mysql), "MySQL: what statements cost, servers, sessions"),
    bind(&[Char('8')], "8", Command::Show(Screen::Events), "Events"),
    bind(&[Tab, Right], "Tab", Command::NextScreen, "next screen"),
    bind(&[BackTab, Left], "Shift-Tab", Command::PreviousScreen, "previous screen"),
    bind(&[Char('j'), Down], "j, Down", Command::Down, "down"),
    bind(&[Char('k'), Up], "k, Up", Command::Up, "up"),
    bind(&[PageDown], "PgDn", Command::PageDown, "a page down"),
    bind(&[PageUp], "PgUp", Command::PageUp, "a page up"),
    bind(&[Char('g'), Home], "g, Home", Command::First, "to the first"),
    bind(&[Char('G'), End], "G, End", Command::Last, "to the last"),
    bind(&[Enter], "Enter", Command::Details, "details of the line"),
    bind(&[Char('/')], "/", Command::Filter, "only lines with these words; Esc ends it"),
    bind(&[Char('s')], "s", Command::Sort, "sort by the next column"),
    bind(&[Char('S')], "S", Command::Reverse, "sort the other way round"),
    bind(&[Char('f')], "f", Command::Freeze, "freeze what is shown, and go on"),
    bind(&[Char('n')], "n", Command::NextNode, "next node; all of them after the last"),
    bind(&[Char('d')], "d", Command::Drain, "drain the backend"),
    bind(&[Char('r')], "r", Command::Ready, "make the backend ready"),
    bind(&[Char('m')], "m", Command::Maint, "take the backend into maintenance"),
    bind(&[Char('w')], "w", Command::Weight, "set the backend's weight"),
    bind(&[Char('F')], "F", Command::Failover, "hand the VIP over to another node; on screen 6"),
    bind(&[Char('?')], "?", Command::Help, "this help"),
    bind(&[Esc], "Esc", Command::Back, "back; ends a filter"),
    bind(&[Char('q')], "q, Ctrl-C", Command::Leave, "leave"),
];

/// What a key says outside of questions and texts.
pub(super) fn command_of(key: KeyEvent) -> Option<Command> {
    let code = match key.code {
        // Capital letters say so themselves; a terminal may tell of Shift or not.
        Char(_) if key.modifiers.intersects(KeyModifiers::CONTROL | KeyModifiers::ALT) => return None,
        code => code,
    };
    BINDINGS.iter().find(|binding| binding.keys.contains(&code)).map(|binding| binding.command)
}

/// Whether a key ends everything, whatever else is going on.
pub(super) fn is_interrupt(key: KeyEvent) -> bool {
    key.code == Char('c') && key.modifiers.contains(KeyModifiers::CONTROL)
}
