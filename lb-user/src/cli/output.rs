//! Tables for people, JSON for programs.

use comfy_table::presets::NOTHING;
use comfy_table::{CellAlignment, Table};
use serde::Serialize;
use std::io::{self, Write};

/// How results are printed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Output {
    pub(super) json: bool,
}

impl Output {
    /// Prints a value as JSON, or as what `table` makes of it.
    pub(super) fn print<T: Serialize>(self, value: &T, table: impl FnOnce(&T) -> String) -> io::Result<()> {
        let text = if self.json { serde_json::to_string_pretty(value)? } else { table(value) };
        self.line(&text)
    }

    /// Prints a line. A reader that left early (`| head`) is no failure.
    pub(super) fn line(self, text: &str) -> io::Result<()> {
        match writeln!(io::stdout(), "{}", text.trim_end()) {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            written => written,
        }
    }
}

/// A plain table; columns whose header begins with '>' are numbers, to the right.
pub(super) fn table(headers: &[&str], rows: Vec<Vec<String>>) -> String {
    let mut table = Table::new();
    table.load_style(NOTHING);
    table.set_header(headers.iter().map(|header| header.trim_start_matches('>').to_uppercase()));
    table.add_rows(rows);
    for (index, header) in headers.iter().enumerate() {
        if let Some(column) = table.column_mut(index) {
            column.set_padding((0, 2));
            if header.starts_with('>') {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
    }
    let lines: Vec<String> = table.lines().map(|line| line.trim_end().to_owned()).collect();
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_has_its_headers_above_its_rows() {
        let text = table(&["name", ">count"], vec![vec!["web".into(), "12".into()]]);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 2);
        assert!(lines[0].starts_with("NAME") && lines[0].ends_with("COUNT"));
        assert!(lines[1].starts_with("web") && lines[1].ends_with("12"));
    }
}
