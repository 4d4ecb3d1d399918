//! Pictures of screens for the documentation, drawn by the program itself; `cargo xtask bless pictures` draws them anew.

use super::screens::drawn;
use super::*;
use crate::blessed::expect_file;
use ratatui::buffer::{Buffer, Cell};
use ratatui::style::{Color, Modifier};
use std::fmt::Write as _;
use std::path::Path;

/// A letter's place, in the picture's units.
const CELL: (f32, f32) = (8.4, 18.0);
const MARGIN: f32 = 10.0;
const GROUND: &str = "#161d25";
const INK: &str = "#dae1e9";

fn colour(colour: Color) -> &'static str {
    match colour {
        Color::Green => "#56c98f",
        Color::Red => "#ff857c",
        Color::Yellow => "#e0b44a",
        Color::DarkGray => "#93a0af",
        _ => INK,
    }
}

/// How a cell looks: its colour, whether it is reversed, whether it is bold.
fn look(cell: &Cell) -> (&'static str, bool, bool) {
    let has = |modifier| cell.modifier.contains(modifier);
    (colour(cell.fg), has(Modifier::REVERSED), has(Modifier::BOLD))
}

/// Cells in a row that look alike are one text, so that its letters can be found and copied.
fn svg(buffer: &Buffer) -> String {
    let (width, height) = (buffer.area.width, buffer.area.height);
    let size = |cells: u16, cell: f32| f32::from(cells) * cell + 2.0 * MARGIN;
    let mut picture = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {:.0} {:.0}\" font-family=\"ui-monospace, 'DejaVu Sans Mono', monospace\" \
         font-size=\"14\">\n<rect width=\"100%\" height=\"100%\" rx=\"6\" fill=\"{GROUND}\"/>\n",
        size(width, CELL.0),
        size(height, CELL.1)
    );
    for (row, cells) in (0_u16..).zip(buffer.content.chunks(usize::from(width))) {
        let mut begin = 0;
        for run in cells.chunk_by(|one, next| look(one) == look(next)) {
            let text: String = run.iter().map(Cell::symbol).collect();
            draw_run(&mut picture, (begin, row), &text, look(&run[0]), run.len());
            begin += run.len();
        }
    }
    picture + "</svg>\n"
}

fn draw_run(
    picture: &mut String,
    (column, row): (usize, u16),
    text: &str,
    (ink, is_reversed, is_bold): (&str, bool, bool),
    cells: usize,
) {
    let (x, y) = (MARGIN + column as f32 * CELL.0, MARGIN + f32::from(row) * CELL.1);
    let width = cells as f32 * CELL.0;
    let ink = if is_reversed {
        let _ = writeln!(
            picture,
            "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{}\" fill=\"{ink}\"/>",
            CELL.1
        );
        GROUND
    } else {
        ink
    };
    if text.trim().is_empty() {
        return;
    }
    let escaped = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    let weight = if is_bold { " font-weight=\"bold\"" } else { "" };
    let _ = writeln!(
        picture,
        "<text x=\"{x:.1}\" y=\"{:.1}\" fill=\"{ink}\"{weight} xml:space=\"preserve\" textLength=\"{width:.1}\">{escaped}</text>",
        y + 13.5
    );
}

#[test]
fn pictures_in_the_documentation_are_of_this_program() {
    let mut app = app(false, UNICODE);
    for (key, name) in [("1", "overview"), ("4", "flows"), ("7", "mysql")] {
        press_all(&mut app, key);
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../docs/pictures/tui-{name}.svg"));
        expect_file(&file, &svg(&drawn(&app, 120, 28)), "pictures");
    }
}
