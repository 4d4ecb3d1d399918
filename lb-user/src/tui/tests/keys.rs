//! What keys do: to what is shown, and to agents, which is nothing without a yes.

use super::*;
use crate::model::AdminState;
use crate::tui::app::Scope;
use crate::tui::keys::{BINDINGS, Screen};
use crate::tui::table::Subject;
use std::collections::BTreeSet;

/// An app on the screen of backends with the cursor on the first line that has these words.
fn on_backend(may_write: bool, words: &str) -> App {
    let mut app = app(may_write, UNICODE);
    press_all(&mut app, &format!("3/{words}↵"));
    app
}

fn note(app: &App) -> &str {
    app.note.as_ref().map_or("", |(words, _)| words)
}

#[test]
fn every_screen_has_its_number_and_tab_goes_round() {
    let mut app = app(false, UNICODE);
    for screen in Screen::ALL {
        press_all(&mut app, &(screen.index() + 1).to_string());
        assert_eq!(app.screen, screen);
    }
    press(&mut app, KeyCode::Tab);
    assert_eq!(app.screen, Screen::Overview);
    press(&mut app, KeyCode::BackTab);
    assert_eq!(app.screen, Screen::Events);
}

#[test]
fn no_key_means_two_things() {
    let keys: Vec<KeyCode> = BINDINGS.iter().flat_map(|binding| binding.keys).copied().collect();
    let different: BTreeSet<String> = keys.iter().map(|key| format!("{key:?}")).collect();
    assert_eq!(different.len(), keys.len());
}

#[test]
fn q_and_control_c_leave_also_out_of_a_question() {
    assert_eq!(press_all(&mut app(false, UNICODE), "q"), Effect::Leave);
    let mut app = on_backend(true, "web1");
    press_all(&mut app, "d");
    assert!(matches!(app.mode, Mode::Confirm(_)));
    let interrupt = KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL);
    assert_eq!(app.press(interrupt), Effect::Leave);
}

#[test]
fn a_drain_is_confirmed_before_it_is_sent() {
    let mut app = on_backend(true, "web-tls web1 lb2");
    assert_eq!(press_all(&mut app, "d"), Effect::None);
    let Mode::Confirm(question) = app.mode.clone() else { panic!("{:?}", app.mode) };
    let words = question.action.question("lb2");
    assert_eq!(words, "Drain backend web1 of service web-tls on lb2?");
    // Neither Enter nor any other key is a yes.
    assert_eq!(press_all(&mut app, "↵dx1"), Effect::None);
    assert_eq!(app.mode, Mode::Confirm(question));
    let Effect::Act(nodes, Action::SetState(path, state)) = press_all(&mut app, "y") else { panic!() };
    assert_eq!((nodes, state), (vec![1], AdminState::Drain));
    assert_eq!((path.service.as_str(), path.backend.as_str()), ("web-tls", "web1"));
    assert_eq!(app.mode, Mode::Table);
}

#[test]
fn a_no_sends_nothing() {
    for no in ["n", "q", "⎋"] {
        let mut app = on_backend(true, "web1");
        assert_eq!(press_all(&mut app, &format!("m{no}")), Effect::None);
        assert_eq!((&app.mode, note(&app)), (&Mode::Table, "nothing was changed"));
        assert_eq!(press_all(&mut app, "y"), Effect::None);
    }
}

#[test]
fn what_is_done_on_all_nodes_is_sent_to_each_that_has_it() {
    let mut app = on_backend(true, "web-tls web1 lb1");
    let Effect::Act(nodes, Action::SetState(_, state)) = press_all(&mut app, "ma") else { panic!() };
    assert_eq!((nodes, state), (vec![0, 1], AdminState::Maint));
    // A node whose agent does not answer is not asked.
    app.hear(News::Lost(1, "gone".into(), Instant::now()));
    assert_eq!(press_all(&mut app, "ma"), Effect::None);
    assert!(matches!(press_all(&mut app, "y"), Effect::Act(nodes, _) if nodes == [0]));
}

#[test]
fn without_write_nothing_is_even_asked() {
    let mut app = on_backend(false, "web1");
    for key in ["d", "r", "m", "w"] {
        assert_eq!(press_all(&mut app, &format!("{key}y")), Effect::None);
        assert_eq!(app.mode, Mode::Table);
    }
    press_all(&mut app, "d");
    assert!(note(&app).starts_with("read-only"), "{}", note(&app));
    press_all(&mut app, "6");
    assert_eq!(press_all(&mut app, "Fy"), Effect::None);
}

#[test]
fn a_weight_is_typed_checked_and_confirmed() {
    let mut app = on_backend(true, "/80 lb1 web1 100");
    press_all(&mut app, "⎋/lb1↵gjj");
    let chosen = app.chosen().expect("a line");
    assert!(
        matches!(&chosen.subject, Subject::Backend(service, backend) if (service.as_str(), backend.as_str()) == ("web", "web1"))
    );
    press_all(&mut app, "w300↵");
    assert!(note(&app).contains("300 is not a weight") || note(&app).contains("\"300\" is not a weight"));
    press_all(&mut app, "w3↵");
    assert_eq!(note(&app), "the weight is 3 already");
    assert_eq!(press_all(&mut app, "w1x2↵"), Effect::None);
    let Mode::Confirm(question) = &app.mode else { panic!("{:?}", app.mode) };
    let words = "Set the weight of backend web1 of service web on lb1 from 3 to 12?";
    assert_eq!(question.action.question("lb1"), words);
    let Effect::Act(_, Action::SetWeight(_, from, to)) = press_all(&mut app, "y") else { panic!() };
    assert_eq!((from.get(), to.get()), (3, 12));
    assert_eq!(press_all(&mut app, "w7⎋y"), Effect::None);
    assert_eq!(app.mode, Mode::Table);
}

#[test]
fn a_vip_is_handed_over_by_the_node_that_has_it() {
    let mut app = app(true, UNICODE);
    press_all(&mut app, "6/Active IPv4 lb2↵F");
    let Effect::Act(nodes, Action::HandOver(vip)) = press_all(&mut app, "y") else { panic!() };
    assert_eq!((nodes, vip.as_str()), (vec![1], "B"));
    press_all(&mut app, "⎋/Backup lb1↵F");
    assert_eq!((&app.mode, note(&app)), (&Mode::Table, "VIP B is not Active on lb1"));
    press_all(&mut app, "3F");
    assert_eq!(note(&app), "choose a VIP first: screen 6");
    press_all(&mut app, "6d");
    assert_eq!(note(&app), "choose a backend first: screen 3");
}

#[test]
fn a_filter_leaves_lines_that_have_all_its_words() {
    let mut app = on_backend(false, "LB1 down");
    assert_eq!(column(&app, "SERVICE"), ["web-passthrough", "web-passthrough"]);
    // Each screen has its own; Esc ends it.
    press_all(&mut app, "2");
    assert_eq!(app.filter(), "");
    press_all(&mut app, "3⎋");
    assert_eq!(column(&app, "SERVICE").len(), 20);
    press_all(&mut app, "/nobody");
    assert!(app.table().rows.is_empty());
    press(&mut app, KeyCode::Backspace);
    assert_eq!(app.filter(), "nobod");
    // Keys that mean something elsewhere are letters here.
    press_all(&mut app, "⎋/qd");
    assert_eq!((app.filter(), &app.mode), ("qd", &Mode::Filter));
}

#[test]
fn s_sorts_by_the_next_column_and_numbers_fall() {
    let mut app = app(false, UNICODE);
    press_all(&mut app, "n3");
    while app.order().column != "FLOWS" {
        press_all(&mut app, "s");
    }
    let flows = |app: &App| -> Vec<u64> {
        column(app, "FLOWS").iter().map(|text| text.parse().expect("a number")).collect()
    };
    assert_eq!(flows(&app)[..4], [36, 12, 4, 3]);
    press_all(&mut app, "S");
    assert!(flows(&app).is_sorted());
    for _ in 0..app.table().columns.len() {
        press_all(&mut app, "s");
    }
    assert_eq!(app.order().column, "FLOWS");
}

#[test]
fn the_same_things_of_several_nodes_stand_side_by_side() {
    let mut app = app(false, UNICODE);
    press_all(&mut app, "2");
    let pairs = ["dns", "web", "web-direct", "web-passthrough", "web-tls"];
    assert_eq!(column(&app, "SERVICE"), pairs.map(|name| [name; 2]).concat());
    assert_eq!(column(&app, "NODE")[..4], ["lb1", "lb2", "lb1", "lb2"]);
}

#[test]
fn n_shows_one_node_after_the_other_and_then_all() {
    let mut app = app(false, UNICODE);
    press_all(&mut app, "4");
    assert_eq!(app.wanted(), Some(Wanted::Flows(Scope::All)));
    for wanted in [Scope::One(0), Scope::One(1), Scope::All] {
        press_all(&mut app, "n");
        assert_eq!((app.scope, app.wanted()), (wanted, Some(Wanted::Flows(wanted))));
    }
    press_all(&mut app, "n3");
    assert_eq!(app.wanted(), None);
    assert!(app.table().columns.iter().all(|column| column.title != "NODE"));
    assert_eq!(app.table().rows.len(), 10);
}

#[test]
fn the_cursor_stays_with_its_line_when_the_order_changes() {
    let mut app = on_backend(false, "lb2");
    press_all(&mut app, "jjj");
    let chosen = app.chosen().expect("a line").id();
    press_all(&mut app, "sssS");
    assert_eq!(app.chosen().expect("a line").id(), chosen);
    press_all(&mut app, "G");
    assert_eq!(app.cursor(&app.table()), 9);
    press_all(&mut app, "jg");
    assert_eq!(app.cursor(&app.table()), 0);
    press_all(&mut app, "k");
    assert_eq!(app.cursor(&app.table()), 0);
    press(&mut app, KeyCode::PageDown);
    assert_eq!(app.cursor(&app.table()), 9);
}

#[test]
fn details_and_help_close_and_scroll() {
    let mut app = on_backend(false, "web1");
    press_all(&mut app, "↵");
    assert!(matches!(app.mode, Mode::Details(_, 0)));
    press_all(&mut app, "jjk");
    assert!(matches!(app.mode, Mode::Details(_, 1)));
    press_all(&mut app, "⎋");
    assert_eq!(app.mode, Mode::Table);
    press_all(&mut app, "?jj");
    assert_eq!(app.mode, Mode::Help(2));
    // It closes what is open, and does not leave.
    assert_eq!(press_all(&mut app, "q"), Effect::None);
    assert_eq!(app.mode, Mode::Table);
}
