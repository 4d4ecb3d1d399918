//! Reads files of source prefixes: one on a line, `#` begins a comment.
//!
//! Owns the file's format. Never keeps what it read.

use crate::model::parse_prefix;
use ipnet::IpNet;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Why a file's prefixes could not be read.
#[derive(Debug, thiserror::Error)]
pub enum PrefixFileError {
    /// The file cannot be read.
    #[error("{path}: {cause}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        cause: std::io::Error,
    },
    /// A line is no prefix.
    #[error("{path}:{line}: {reason}")]
    Line {
        /// The file.
        path: PathBuf,
        /// The line's number, from 1.
        line: usize,
        /// What is wrong with it.
        reason: String,
    },
}

/// The prefixes in a file.
pub fn read(path: &Path) -> Result<BTreeSet<IpNet>, PrefixFileError> {
    let text = std::fs::read_to_string(path)
        .map_err(|cause| PrefixFileError::Read { path: path.to_owned(), cause })?;
    parse(&text).map_err(|(line, reason)| PrefixFileError::Line { path: path.to_owned(), line, reason })
}

/// The prefixes in a text, or the number of the line that is wrong and why.
fn parse(text: &str) -> Result<BTreeSet<IpNet>, (usize, String)> {
    let mut prefixes = BTreeSet::new();
    for (index, line) in text.lines().enumerate() {
        let entry = line.split('#').next().unwrap_or_default().trim();
        if !entry.is_empty() {
            prefixes.insert(parse_prefix(entry).map_err(|error| (index + 1, error.to_string()))?);
        }
    }
    Ok(prefixes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_blank_lines_are_skipped_and_twice_is_once() {
        let text = "# bad people\n198.51.100.0/24 # since May\n\n  2001:db8::/32\r\n198.51.100.0/24\n";
        let prefixes: Vec<String> = parse(text).expect("prefixes").iter().map(ToString::to_string).collect();
        assert_eq!(prefixes, ["198.51.100.0/24", "2001:db8::/32"]);
    }

    #[test]
    fn a_wrong_line_is_named_by_its_number() {
        let (line, reason) = parse("198.51.100.0/24\nnobody\n").expect_err("refused");
        assert_eq!(line, 2);
        assert!(reason.contains("\"nobody\""), "{reason}");
    }
}
