//! Finds where in the text to put a new backend or a new value.

use toml_edit::{Array, Item, Table, TableLike, Value};

use super::{EditError, Sheet, Splice, render};
use crate::config::Backend;
use crate::model::ServiceName;

impl Sheet<'_> {
    /// What to put where so that a service has one backend more.
    pub(super) fn paste_backend(
        &self,
        service: &ServiceName,
        backend: &Backend,
    ) -> Result<Vec<Splice>, EditError> {
        let unfamiliar = || EditError::Unfamiliar { what: format!("service {service}") };
        let item = self.service(service)?;
        let table = item.as_table_like().ok_or_else(unfamiliar)?;
        let splices = match (table.get("backend"), item) {
            (Some(Item::ArrayOfTables(tables)), _) => {
                tables.iter().last().and_then(|last| self.paste_block(service, backend, last))
            }
            (Some(Item::Value(Value::Array(list))), _) => self.paste_element(list, backend),
            (None, Item::Value(Value::InlineTable(inline))) => {
                let added = format!("backend = [{}]", render::inline_backend(backend));
                self.paste_pair(inline, &added).map(|splice| vec![splice])
            }
            (None, Item::Table(table)) => match self.last_block(table) {
                Some(last) => self.paste_block(service, backend, last),
                None => Some(vec![self.block(service, backend, self.text.len(), true)]),
            },
            _ => None,
        };
        splices.ok_or_else(unfamiliar)
    }

    /// The table under this one, or this one, whose header stands last in the file.
    fn last_block<'t>(&self, table: &'t Table) -> Option<&'t Table> {
        let below = table.iter().filter_map(|(_, item)| self.last_block(item.as_table()?));
        below
            .chain([table])
            .filter_map(|table| Some((self.header(table)?.start, table)))
            .max_by_key(|(start, _)| *start)
            .map(|(_, table)| table)
    }

    /// A backend with a header of its own, behind another table.
    fn paste_block(&self, service: &ServiceName, backend: &Backend, last: &Table) -> Option<Vec<Splice>> {
        let header = self.line_start(self.header(last)?.start);
        let above = self.text.get(..header)?.lines().rev();
        let mut above = above.skip_while(|line| line.trim_start().starts_with('#'));
        // Blank lines between tables where the file has them.
        let apart = above.next().is_some_and(|line| line.trim().is_empty());
        Some(vec![self.block(service, backend, self.block_end(last)?, apart)])
    }

    fn block(&self, service: &ServiceName, backend: &Backend, at: usize, apart: bool) -> Splice {
        let before = self.text.get(..at).unwrap_or_default();
        let mut text = String::new();
        if !before.is_empty() && !before.ends_with('\n') {
            text.push('\n');
        }
        // Right below a comment the header would take it over.
        let comment = before.lines().next_back().is_some_and(|line| line.trim_start().starts_with('#'));
        if apart || comment {
            text.push('\n');
        }
        text.push_str(&render::backend_header(service));
        text.push_str(&render::backend(backend));
        Splice { place: at..at, text: text.replace('\n', self.newline()) }
    }

    /// A backend behind the others of a list.
    fn paste_element(&self, list: &Array, backend: &Backend) -> Option<Vec<Splice>> {
        let added = render::inline_backend(backend);
        let insert = |at: usize, text: String| Splice { place: at..at, text };
        let Some(last) = list.iter().last() else {
            let inside = list.span()?.start + 1;
            return Some(vec![insert(inside, added)]);
        };
        let place = last.span()?;
        let comma = self.comma_after(place.end);
        let behind = comma.map_or(place.end, |comma| comma + 1);
        let indent = self.text.get(self.line_start(place.start)..place.start)?;
        if !indent.trim().is_empty() || !self.rest_is_comment(behind) {
            return Some(vec![insert(place.end, format!(", {added}"))]);
        }
        // A line for each: the new one comes below the last one's comment.
        let line = self.text.get(..self.line_end(behind))?.trim_end_matches(['\r', '\n']).len();
        let separator = comma.map_or(",", |_| "");
        let closing = comma.map_or("", |_| ",");
        let text = format!("{}{indent}{added}{closing}", self.newline());
        Some(vec![insert(place.end, separator.to_owned()), insert(line, text)])
    }

    /// A pair behind the others of an inline table.
    fn paste_pair(&self, table: &dyn TableLike, pair: &str) -> Option<Splice> {
        let end = table.iter().filter_map(|(_, item)| item.span()).map(|span| span.end).max()?;
        Some(Splice { place: end..end, text: format!(", {pair}") })
    }

    /// What to put where so that a backend has this value under a key.
    pub(super) fn set_in_backend(
        &self,
        service: &ServiceName,
        position: usize,
        key: &str,
        value: &str,
    ) -> Option<Splice> {
        let backend = self.service(service).ok()?.as_table_like()?.get("backend")?;
        let place = |table: &dyn TableLike| table.get(key).map(Item::span);
        match backend {
            Item::ArrayOfTables(tables) => {
                let table = tables.get(position)?;
                match place(table) {
                    Some(span) => Some(Splice { place: span?, text: value.to_owned() }),
                    None => self.paste_line(table, &format!("{key} = {value}")),
                }
            }
            Item::Value(Value::Array(list)) => {
                let table = list.get(position)?.as_inline_table()?;
                match place(table) {
                    Some(span) => Some(Splice { place: span?, text: value.to_owned() }),
                    None => self.paste_pair(table, &format!("{key} = {value}")),
                }
            }
            _ => None,
        }
    }

    /// What to put where so that a service has this value under a key.
    pub(super) fn set_in_service(&self, service: &ServiceName, key: &str, value: &str) -> Option<Splice> {
        let item = self.service(service).ok()?;
        if let Some(found) = item.as_table_like()?.get(key) {
            return Some(Splice { place: found.span()?, text: value.to_owned() });
        }
        match item {
            Item::Table(table) => self.paste_line(table, &format!("{key} = {value}")),
            Item::Value(Value::InlineTable(table)) => self.paste_pair(table, &format!("{key} = {value}")),
            _ => None,
        }
    }

    /// A line behind the last key of a table, indented as that one is.
    fn paste_line(&self, table: &Table, line: &str) -> Option<Splice> {
        let last = self.last_value_end(table)?;
        let start = self.line_start(last);
        let first = self.text.get(start..last)?;
        let indent: String = first.chars().take_while(|c| *c == ' ' || *c == '\t').collect();
        let at = self.line_end(last);
        let newline = self.newline();
        let text = match self.text.get(..at)?.ends_with('\n') {
            true => format!("{indent}{line}{newline}"),
            false => format!("{newline}{indent}{line}"),
        };
        Some(Splice { place: at..at, text })
    }
}
