//! Finds where in the file's text something stands, so that an error can point at it.
//!
//! Owns the parsed document with its spans, and the notation of paths
//! (`service.web.backend[1].address`). Never judges what it finds.

use std::fmt;
use std::ops::Range;

use toml_edit::{Document, Item, TableLike, Value};

use super::error::{ConfigError, ConfigErrors};

/// One step of a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Key(String),
    Index(usize),
}

/// The way from the top of the file to something in it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Path(Vec<Step>);

impl Path {
    /// A path of keys.
    pub(super) fn of(keys: &[&str]) -> Self {
        keys.iter().fold(Self::default(), |path, key| path.key(key))
    }

    /// The path one key deeper.
    pub(super) fn key(&self, key: &str) -> Self {
        self.step(Step::Key(key.to_owned()))
    }

    /// The path into one element of a list.
    pub(super) fn index(&self, index: usize) -> Self {
        self.step(Step::Index(index))
    }

    /// The path one step deeper.
    pub(super) fn step(&self, step: Step) -> Self {
        let mut steps = self.0.clone();
        steps.push(step);
        Self(steps)
    }

    /// The last key of the path, if it ends in one.
    pub(super) fn last_key(&self) -> Option<&str> {
        match self.0.last() {
            Some(Step::Key(key)) => Some(key),
            _ => None,
        }
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("top level");
        }
        for (position, step) in self.0.iter().enumerate() {
            match step {
                Step::Index(index) => write!(f, "[{index}]")?,
                Step::Key(key) => {
                    let dot = if position == 0 { "" } else { "." };
                    let bare = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
                    if !key.is_empty() && key.bytes().all(bare) {
                        write!(f, "{dot}{key}")?;
                    } else {
                        write!(f, "{dot}{key:?}")?;
                    }
                }
            }
        }
        Ok(())
    }
}

/// What is wrong with something, before it is known where it stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Complaint {
    pub(super) wrong: String,
    pub(super) expected: Option<String>,
    pub(super) suggestion: Option<String>,
}

impl Complaint {
    /// Says what is wrong.
    pub(super) fn new(wrong: impl Into<String>) -> Self {
        Self { wrong: wrong.into(), ..Self::default() }
    }

    /// Says what was expected instead.
    pub(super) fn expected(mut self, expected: impl Into<String>) -> Self {
        self.expected = Some(expected.into());
        self
    }

    /// Says what the writer may have meant, or should do.
    pub(super) fn suggest(mut self, suggestion: impl Into<Option<String>>) -> Self {
        self.suggestion = suggestion.into();
        self
    }
}

/// The text of a file, and the document in it.
pub(super) struct Source<'a> {
    file: &'a str,
    text: &'a str,
    document: Document<&'a str>,
}

/// A table or a value, whichever a path led to.
enum Place<'a> {
    Item(&'a Item),
    Value(&'a Value),
    Table(&'a dyn TableLike, Option<Range<usize>>),
}

impl<'a> Place<'a> {
    fn span(&self) -> Option<Range<usize>> {
        match self {
            Self::Item(item) => item.span(),
            Self::Value(value) => value.span(),
            Self::Table(_, span) => span.clone(),
        }
    }

    fn as_table(&self) -> Option<&'a dyn TableLike> {
        match self {
            Self::Item(item) => item.as_table_like(),
            Self::Value(value) => value.as_inline_table().map(|table| table as &dyn TableLike),
            Self::Table(table, _) => Some(*table),
        }
    }

    /// One step deeper: the span of the key if the step has one, and the place.
    fn enter(&self, step: &Step) -> Option<(Option<Range<usize>>, Place<'a>)> {
        match step {
            Step::Key(key) => {
                let (key, item) = self.as_table()?.get_key_value(key)?;
                Some((key.span(), Place::Item(item)))
            }
            Step::Index(index) => {
                let array = match self {
                    Self::Item(Item::ArrayOfTables(tables)) => {
                        let table = tables.get(*index)?;
                        return Some((None, Place::Table(table, table.span())));
                    }
                    Self::Item(item) => item.as_array()?,
                    Self::Value(value) => value.as_array()?,
                    Self::Table(..) => return None,
                };
                Some((None, Place::Value(array.get(*index)?)))
            }
        }
    }
}

impl<'a> Source<'a> {
    /// Reads a text; the error is the first place where it is not TOML.
    pub(super) fn parse(text: &'a str, file: &'a str) -> Result<Self, ConfigErrors> {
        match Document::parse(text) {
            Ok(document) => Ok(Self { file, text, document }),
            Err(error) => {
                let span = error.span().unwrap_or(0..0);
                let wrong = format!("not TOML: {}", error.message().replace('\n', "; "));
                Err(point(file, text, span, String::new(), Complaint::new(wrong)).into())
            }
        }
    }

    /// The file's text.
    pub(super) fn text(&self) -> &'a str {
        self.text
    }

    /// Whether there is something at a path.
    pub(super) fn has(&self, path: &Path) -> bool {
        let mut place = Place::Item(self.document.as_item());
        for step in &path.0 {
            let Some((_, next)) = place.enter(step) else { return false };
            place = next;
        }
        true
    }

    /// Where a value stands; for one that is not there, the nearest place above it.
    pub(super) fn value_span(&self, path: &Path) -> Range<usize> {
        self.spans(path).1
    }

    /// Where a key stands, or the value if the path does not end in a key.
    pub(super) fn key_span(&self, path: &Path) -> Range<usize> {
        let (key, value) = self.spans(path);
        key.unwrap_or(value)
    }

    fn spans(&self, path: &Path) -> (Option<Range<usize>>, Range<usize>) {
        let mut place = Place::Item(self.document.as_item());
        let mut found = (None, 0..0);
        for step in &path.0 {
            let Some((key, next)) = place.enter(step) else { break };
            // A table made by the headers of its children has no place of its own but its name's.
            let value = next.span().or_else(|| key.clone()).unwrap_or(found.1);
            found = (key, value);
            place = next;
        }
        found
    }

    /// An error about the value at a path.
    pub(super) fn at_value(&self, path: &Path, complaint: Complaint) -> ConfigError {
        self.at(self.value_span(path), path, complaint)
    }

    /// An error about the key at the end of a path.
    pub(super) fn at_key(&self, path: &Path, complaint: Complaint) -> ConfigError {
        self.at(self.key_span(path), path, complaint)
    }

    /// An error at a place in the text.
    pub(super) fn at(&self, span: Range<usize>, path: &Path, complaint: Complaint) -> ConfigError {
        point(self.file, self.text, span, path.to_string(), complaint)
    }
}

/// Makes an error of a complaint: turns byte offsets into a line, a column and an excerpt.
fn point(file: &str, text: &str, span: Range<usize>, path: String, complaint: Complaint) -> ConfigError {
    let start = floor_char(text, span.start);
    let before = text.get(..start).unwrap_or_default();
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    let rest = text.get(line_start..).unwrap_or_default();
    let excerpt = rest.lines().next().unwrap_or_default();
    let line_end = line_start + excerpt.len();
    let marked = text.get(start..floor_char(text, span.end.min(line_end))).unwrap_or_default();
    ConfigError {
        file: file.to_owned(),
        line: before.matches('\n').count() + 1,
        column: text.get(line_start..start).unwrap_or_default().chars().count() + 1,
        path,
        wrong: complaint.wrong,
        expected: complaint.expected,
        suggestion: complaint.suggestion,
        excerpt: excerpt.to_owned(),
        marked_chars: marked.chars().count().max(1),
    }
}

/// The offset itself, or the start of the character it is in the middle of.
fn floor_char(text: &str, offset: usize) -> usize {
    let mut offset = offset.min(text.len());
    while !text.is_char_boundary(offset) {
        offset -= 1;
    }
    offset
}
