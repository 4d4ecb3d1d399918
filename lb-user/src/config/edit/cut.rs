//! Finds what to take out of the text so that a backend or a service is gone.
//!
//! What goes with a table: the comment lines right above its header, and those right below its last key.
//! What stays: comments with a blank line between, and everything of other tables.

use std::ops::Range;

use toml_edit::{Item, Table, TableLike, Value};

use super::Sheet;
use crate::model::ServiceName;

impl Sheet<'_> {
    /// The place of a backend.
    pub(super) fn cut_backend(&self, service: &ServiceName, position: usize) -> Option<Range<usize>> {
        match self.service(service).ok()?.as_table_like()?.get("backend")? {
            Item::ArrayOfTables(tables) => self.cut_block(tables.get(position)?),
            Item::Value(Value::Array(list)) => {
                let places: Option<Vec<Range<usize>>> = list.iter().map(Value::span).collect();
                self.cut_element(&places?, position)
            }
            _ => None,
        }
    }

    /// The place of one piece of a service; there may be more.
    pub(super) fn cut_service_piece(&self, service: &ServiceName) -> Option<Range<usize>> {
        let root = self.document.as_table();
        match root.get("service")? {
            Item::Table(services) => self.cut_piece(services, service.as_str()),
            Item::Value(Value::InlineTable(services)) => self.cut_pair(services, service.as_str()),
            _ => None,
        }
    }

    /// The place of one piece of what a table has under a key.
    fn cut_piece(&self, parent: &dyn TableLike, key: &str) -> Option<Range<usize>> {
        let (written, item) = parent.get_key_value(key)?;
        match item {
            Item::Value(value) => {
                let place = written.span()?.start..value.span()?.end;
                Some(self.line_start(place.start)..self.line_end(place.end))
            }
            Item::ArrayOfTables(tables) => self.cut_block(tables.iter().last()?),
            Item::Table(table) => {
                // From the back, so that a header goes only when nothing is left that stands under it.
                let parts: Vec<&str> = table.iter().map(|(key, _)| key).collect();
                let own = self.header(table).is_some();
                let separate = |key: &&&str| !own || self.stands_apart(table.get(key));
                match parts.iter().rev().find(separate) {
                    Some(part) => self.cut_piece(table, part),
                    None => self.cut_block(table),
                }
            }
            Item::None => None,
        }
    }

    /// Whether something has a header of its own, or is made of things that have.
    fn stands_apart(&self, item: Option<&Item>) -> bool {
        match item {
            Some(Item::ArrayOfTables(_)) => true,
            Some(Item::Table(table)) => !table.is_dotted(),
            _ => false,
        }
    }

    /// The place of a table with a header: its comments, its header and its keys.
    pub(super) fn cut_block(&self, table: &Table) -> Option<Range<usize>> {
        let mut start = self.with_comments_above(self.header(table)?.start);
        let mut end = self.block_end(table)?;
        let blank = |line: &str| line.trim().is_empty();
        // Blank lines were around it on both sides: those on one side go with it.
        let above = self.text.get(..start)?;
        if end == self.text.len() {
            start = above.trim_end_matches([' ', '\t', '\r', '\n']).len();
            start = if start == 0 { 0 } else { self.line_end(start) };
        } else if above.lines().next_back().is_none_or(blank) {
            for line in self.text.get(end..)?.split_inclusive('\n').take_while(|line| blank(line)) {
                end += line.len();
            }
        }
        Some(start..end)
    }

    /// Where a table's header stands, if it has one.
    pub(super) fn header(&self, table: &Table) -> Option<Range<usize>> {
        table.span().filter(|span| self.text.get(span.clone()).is_some_and(|text| text.starts_with('[')))
    }

    /// Where a table with a header ends: behind its last key and the comment lines right below that.
    pub(super) fn block_end(&self, table: &Table) -> Option<usize> {
        let mut end = self.line_end(self.last_value_end(table).unwrap_or(self.header(table)?.end));
        let below = self.text.get(end..)?;
        let comments: usize = below
            .split_inclusive('\n')
            .take_while(|line| line.trim_start().starts_with('#'))
            .map(str::len)
            .sum();
        let next = below.get(comments..)?.lines().next();
        // Right above another header they are that one's.
        if next.is_none_or(|line| line.trim().is_empty()) {
            end += comments;
        }
        Some(end)
    }

    /// Where the last value ends that stands under a table's own header.
    pub(super) fn last_value_end(&self, table: &dyn TableLike) -> Option<usize> {
        let ends = table.iter().filter_map(|(_, item)| match item {
            Item::Value(value) => value.span().map(|span| span.end),
            Item::Table(table) if table.is_dotted() => self.last_value_end(table),
            _ => None,
        });
        ends.max()
    }

    /// The place of one pair of an inline table.
    fn cut_pair(&self, table: &dyn TableLike, key: &str) -> Option<Range<usize>> {
        let place =
            |(key, item): (&str, &Item)| Some(table.get_key_value(key)?.0.span()?.start..item.span()?.end);
        let places: Option<Vec<Range<usize>>> = table.iter().map(place).collect();
        self.cut_element(&places?, table.iter().position(|(other, _)| other == key)?)
    }

    /// The place of one element of a list, with the comma that it no longer needs.
    fn cut_element(&self, places: &[Range<usize>], position: usize) -> Option<Range<usize>> {
        let place = places.get(position)?.clone();
        let behind = self.comma_after(place.end).map_or(place.end, |comma| comma + 1);
        let (start, end) = (self.line_start(place.start), self.line_end(behind));
        let alone = self.text.get(start..place.start)?.trim().is_empty()
            && self.rest_is_comment(behind)
            && self.text.get(place.end..behind)?.trim_matches([' ', '\t', ',']).is_empty();
        if alone {
            return Some(start..end);
        }
        let before = position.checked_sub(1).and_then(|before| places.get(before));
        match (before, places.get(position + 1)) {
            (_, Some(next)) => Some(place.start..next.start),
            (Some(before), None) => Some(before.end..place.end),
            (None, None) => Some(place.start..behind),
        }
    }

    /// Where the comma behind an element stands, if there is one.
    pub(super) fn comma_after(&self, end: usize) -> Option<usize> {
        let mut at = end;
        loop {
            let rest = self.text.get(at..)?;
            match rest.chars().next()? {
                ',' => return Some(at),
                '#' => at = self.line_end(at),
                space if space.is_whitespace() => at += space.len_utf8(),
                _ => return None,
            }
        }
    }

    /// Whether nothing but a comment follows on the line.
    pub(super) fn rest_is_comment(&self, at: usize) -> bool {
        let rest = self.text.get(at..self.line_end(at)).unwrap_or_default().trim();
        rest.is_empty() || rest.starts_with('#')
    }

    /// Where the line begins in which something stands.
    pub(super) fn line_start(&self, at: usize) -> usize {
        self.text.get(..at).and_then(|before| before.rfind('\n')).map_or(0, |newline| newline + 1)
    }

    /// Where the next line begins.
    pub(super) fn line_end(&self, at: usize) -> usize {
        let newline = self.text.get(at..).and_then(|rest| rest.find('\n'));
        newline.map_or(self.text.len(), |newline| at + newline + 1)
    }

    /// Where the comment lines begin that stand right above a header.
    pub(super) fn with_comments_above(&self, header: usize) -> usize {
        let start = self.line_start(header);
        let above = self.text.get(..start).unwrap_or_default();
        let lines = above.split_inclusive('\n').rev();
        let comments: usize = lines.take_while(|line| line.trim_start().starts_with('#')).map(str::len).sum();
        start - comments
    }
}
