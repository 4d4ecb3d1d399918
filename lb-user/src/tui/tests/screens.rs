//! Screens as they look, compared with files; `cargo xtask bless tui` writes those anew.

use super::*;
use crate::blessed::expect_file;
use crate::tui::draw;
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::buffer::Buffer;
use ratatui::style::{Color, Modifier};
use std::path::Path;

pub(super) fn drawn(app: &App, width: u16, height: u16) -> Buffer {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).expect("a terminal in memory");
    terminal.draw(|frame| draw::draw(frame, app)).expect("it draws");
    terminal.backend().buffer().clone()
}

fn text(buffer: &Buffer) -> String {
    let width = usize::from(buffer.area.width);
    let line = |cells: &[ratatui::buffer::Cell]| -> String {
        let line: String = cells.iter().map(ratatui::buffer::Cell::symbol).collect();
        line.trim_end().to_owned() + "\n"
    };
    buffer.content.chunks(width).map(line).collect()
}

/// Compares with the file of that name, or writes it when that is wanted.
fn expect(name: &str, app: &App, (width, height): (u16, u16)) {
    let file =
        Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("src/tui/tests/{name}-{width}x{height}.txt"));
    expect_file(&file, &text(&drawn(app, width, height)), "tui");
}

const SMALL: (u16, u16) = (60, 15);
const USUAL: (u16, u16) = (80, 24);
const LARGE: (u16, u16) = (120, 40);

#[test]
fn every_screen_fits_the_usual_and_the_large_terminal() {
    let mut app = app(false, UNICODE);
    for (key, name) in [
        ("1", "overview"),
        ("2", "services"),
        ("3", "backends"),
        ("4", "flows"),
        ("5", "firewall"),
        ("6", "vrrp"),
        ("7", "mysql"),
        ("8", "events"),
    ] {
        press_all(&mut app, key);
        expect(name, &app, USUAL);
        expect(name, &app, LARGE);
    }
}

#[test]
fn every_screen_fits_the_smallest_terminal_without_colour_and_unicode() {
    let mut app = app(true, ASCII);
    for key in '1'..='8' {
        press_all(&mut app, &key.to_string());
        expect(&format!("ascii-{key}"), &app, SMALL);
        let buffer = drawn(&app, 120, 40);
        assert!(text(&buffer).is_ascii(), "screen {key}:\n{}", text(&buffer));
        let has_no_colour = |cell: &ratatui::buffer::Cell| (cell.fg, cell.bg) == (Color::Reset, Color::Reset);
        assert!(buffer.content.iter().all(has_no_colour), "screen {key} has colours");
    }
}

#[test]
fn a_question_names_what_will_be_done() {
    let mut app = app(true, UNICODE);
    press_all(&mut app, "3/web2 lb2 N↵r");
    expect("question", &app, USUAL);
    press_all(&mut app, "n⎋6/A IPv4 lb1↵F");
    expect("question-failover", &app, SMALL);
}

#[test]
fn one_node_alone_has_all_the_room() {
    let mut app = app(false, UNICODE);
    press_all(&mut app, "n");
    expect("overview-of-one", &app, USUAL);
    press_all(&mut app, "3f/web");
    expect("backends-of-one", &app, USUAL);
}

#[test]
fn details_tell_the_rest() {
    let mut app = app(false, UNICODE);
    press_all(&mut app, "n2/tls↵↵");
    expect("details-service", &app, LARGE);
    press_all(&mut app, "⎋3/web2 P↵↵");
    expect("details-backend", &app, USUAL);
    press_all(&mut app, "⎋4↵");
    expect("details-flow", &app, USUAL);
    press_all(&mut app, "⎋/connection↵↵");
    expect("details-connection", &app, USUAL);
    press_all(&mut app, "⎋⎋");
    press_all(&mut app, "⎋5j↵");
    expect("details-rule", &app, USUAL);
    press_all(&mut app, "⎋6↵");
    expect("details-router", &app, USUAL);
    press_all(&mut app, "⎋7↵");
    expect("details-statements", &app, USUAL);
    press_all(&mut app, "⎋8jj↵");
    expect("details-event", &app, USUAL);
}

#[test]
fn help_has_every_key_and_letter() {
    let mut app = app(false, UNICODE);
    press_all(&mut app, "?");
    expect("help", &app, LARGE);
    press_all(&mut app, &"j".repeat(99));
    expect("help-end", &app, SMALL);
}

#[test]
fn a_weight_is_asked_for_at_the_bottom() {
    let mut app = app(true, UNICODE);
    press_all(&mut app, "3w12");
    let text = text(&drawn(&app, 80, 24));
    let last = text.lines().last().expect("a line");
    assert_eq!(last, "weight of backend web1 of service dns on lb1, now 1 (0 to 256): 12_");
}

#[test]
fn a_node_that_is_lost_is_shown_as_lost() {
    let mut app = app(false, UNICODE);
    let why = "no agent answers at /run/lbctl/lb1.sock: there is no such socket";
    let begun = Instant::now();
    app.hear(News::Lost(0, why.into(), begun));
    app.hear(News::Lost(0, why.into(), begun + Duration::from_secs(65)));
    expect("lost", &app, USUAL);
    press_all(&mut app, "3");
    expect("lost-backends", &app, USUAL);
}

#[test]
fn before_an_agent_has_said_anything_that_is_said() {
    let mut app = App::new(vec!["lb1".into()], false, UNICODE);
    for key in '1'..='8' {
        press_all(&mut app, &key.to_string());
        assert!(text(&drawn(&app, 80, 24)).contains("lb1 ? asking"));
    }
}

#[test]
fn a_terminal_that_is_too_small_says_so() {
    for (width, height) in [(59, 15), (60, 14)] {
        let text = text(&drawn(&app(false, UNICODE), width, height));
        assert!(text.starts_with(&format!("{width}x{height} is too small:\n60x15 is needed")), "{text}");
    }
    drawn(&app(false, UNICODE), 1, 1);
}

#[test]
fn any_size_can_be_drawn_with_anything_on_top() {
    for keys in ["1", "2", "3", "4", "5", "6", "7", "8", "?", "3↵", "3d", "6G↵", "3/x"] {
        let mut app = app(true, UNICODE);
        press_all(&mut app, keys);
        for (width, height) in [(60, 15), (61, 16), (79, 17), (133, 15), (60, 99), (250, 80)] {
            drawn(&app, width, height);
        }
    }
}

#[test]
fn what_is_down_is_red_and_has_its_letter() {
    let mut app = app(false, UNICODE);
    press_all(&mut app, "3/lb1 down↵jg");
    let buffer = drawn(&app, 120, 40);
    let at = text(&buffer).lines().nth(3).and_then(|line| line.find("D down")).expect("the word");
    let cell = buffer.cell((u16::try_from(at).expect("a column"), 3)).expect("a cell");
    assert_eq!((cell.symbol(), cell.fg), ("D", Color::Red));
    assert!(cell.modifier.contains(Modifier::BOLD));
}
