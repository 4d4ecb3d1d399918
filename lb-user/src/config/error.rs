//! What is wrong with a configuration, told so that it can be put right.
//!
//! Owns how such an error looks to people (place, words, the line with a marker under it).
//! Never decides what an error is: [`super::file`] and [`super::validate`] do.

use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// One thing that is wrong, and where.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfigError {
    /// The file's name, as it was given.
    pub file: String,
    /// The line, from 1.
    pub line: usize,
    /// The column, from 1, in characters.
    pub column: usize,
    /// What it is about: `service.web.backend[1].address`. Empty where the text is no TOML.
    pub path: String,
    /// What is wrong, with the value that was found.
    pub wrong: String,
    /// What should be there.
    pub expected: Option<String>,
    /// What the writer may have meant, or what to do.
    pub suggestion: Option<String>,
    /// The line of the file.
    pub excerpt: String,
    /// How many characters of it, from the column on, the error is about.
    pub marked_chars: usize,
}

impl ConfigError {
    /// The words without the place: what is wrong; what was expected; what to do.
    pub fn message(&self) -> String {
        let mut message = self.wrong.clone();
        if let Some(expected) = &self.expected {
            message.push_str("; expected ");
            message.push_str(expected);
        }
        if let Some(suggestion) = &self.suggestion {
            message.push_str("; ");
            message.push_str(suggestion);
        }
        message
    }
}

/// Place and words; with `{:#}` also the line of the file with a marker under it, which is for those alone who may read the file.
impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}: ", self.file, self.line, self.column)?;
        if !self.path.is_empty() {
            write!(f, "{}: ", self.path)?;
        }
        f.write_str(&self.message())?;
        if !f.alternate() {
            return Ok(());
        }
        let number = self.line.to_string();
        // Tabs stay tabs, or the marker would not stand under what it marks.
        let before = self.excerpt.chars().take(self.column - 1);
        let indent: String = before.map(|c| if c == '\t' { '\t' } else { ' ' }).collect();
        let gutter = " ".repeat(number.len());
        writeln!(f, "\n {number} | {}", self.excerpt)?;
        write!(f, " {gutter} | {indent}{}", "^".repeat(self.marked_chars))
    }
}

impl std::error::Error for ConfigError {}

/// Everything that is wrong with a configuration, in the order of the file; at least one thing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigErrors(Vec<ConfigError>);

impl ConfigErrors {
    /// The errors, if there are any.
    pub(super) fn check(mut errors: Vec<ConfigError>) -> Result<(), Self> {
        if errors.is_empty() {
            return Ok(());
        }
        errors.sort_by_key(|error| (error.line, error.column));
        Err(Self(errors))
    }

    /// The errors.
    pub fn as_slice(&self) -> &[ConfigError] {
        &self.0
    }

    /// The errors one by one.
    pub fn iter(&self) -> std::slice::Iter<'_, ConfigError> {
        self.0.iter()
    }
}

impl<'a> IntoIterator for &'a ConfigErrors {
    type Item = &'a ConfigError;
    type IntoIter = std::slice::Iter<'a, ConfigError>;
    fn into_iter(self) -> Self::IntoIter {
        self.0.iter()
    }
}

impl From<ConfigError> for ConfigErrors {
    fn from(error: ConfigError) -> Self {
        Self(vec![error])
    }
}

/// One below the other; with `{:#}` as each of them has it, and an empty line between them.
impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, error) in self.0.iter().enumerate() {
            if position > 0 {
                f.write_str(if f.alternate() { "\n\n" } else { "\n" })?;
            }
            error.fmt(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigErrors {}

/// Why a configuration file could not be loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// It could not be read at all.
    #[error("cannot read the configuration {}: {cause}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        cause: std::io::Error,
    },
    /// It was read, and something is wrong with it.
    #[error(transparent)]
    Invalid(#[from] ConfigErrors),
}

/// `did you mean "interval"?`, if one of the words is close to what was given.
pub(super) fn did_you_mean<'w>(given: &str, words: impl IntoIterator<Item = &'w str>) -> Option<String> {
    nearest(given, words).map(|word| format!("did you mean {word:?}?"))
}

/// The word that looks most like what was given, if one looks like it at all.
pub(super) fn nearest<'w>(given: &str, words: impl IntoIterator<Item = &'w str>) -> Option<&'w str> {
    let lower = given.to_lowercase();
    let distance = |word: &str| {
        let word = word.to_lowercase();
        // An abbreviation is far by letters and near by meaning.
        if lower.len() >= 3 && (word.starts_with(&lower) || lower.starts_with(&word)) {
            return 1;
        }
        strsim::damerau_levenshtein(&lower, &word)
    };
    let near = words.into_iter().map(|word| (distance(word), word)).min_by_key(|(distance, _)| *distance);
    let letters = given.chars().count();
    // At least one letter must be right.
    near.filter(|(distance, _)| *distance < letters && *distance <= (letters / 3).clamp(1, 3))
        .map(|(_, word)| word)
}
