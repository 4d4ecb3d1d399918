//! Reads files of source prefixes: one on a line, `#` begins a comment.
//!
//! Owns the file's format. Never keeps what it read.

use crate::model::read_prefix;
use ipnet::IpNet;
use std::collections::BTreeSet;
use std::fmt;
use std::path::{Path, PathBuf};

/// Why a file's prefixes could not be read. With `{:#}` the line itself is in it, which may be anything: whose file it is, is for who asks to know.
#[derive(Debug)]
pub enum PrefixFileError {
    /// The file cannot be read.
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        cause: std::io::Error,
    },
    /// A line is no prefix.
    Line {
        /// The file.
        path: PathBuf,
        /// The line's number, from 1.
        line: usize,
        /// What is there.
        entry: String,
        /// What is wrong with it.
        why: String,
    },
}

impl fmt::Display for PrefixFileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read { path, cause } => write!(f, "{}: {cause}", path.display()),
            Self::Line { path, line, entry, why } if f.alternate() => {
                write!(f, "{}:{line}: {entry:?}: {why}", path.display())
            }
            Self::Line { path, line, why, .. } => write!(f, "{}:{line}: {why}", path.display()),
        }
    }
}

impl std::error::Error for PrefixFileError {}

/// The prefixes in a file.
pub fn read(path: &Path) -> Result<BTreeSet<IpNet>, PrefixFileError> {
    let text = std::fs::read_to_string(path)
        .map_err(|cause| PrefixFileError::Read { path: path.to_owned(), cause })?;
    parse(path, &text)
}

/// The prefixes in a file's text.
fn parse(path: &Path, text: &str) -> Result<BTreeSet<IpNet>, PrefixFileError> {
    let mut prefixes = BTreeSet::new();
    for (index, line) in text.lines().enumerate() {
        let entry = line.split('#').next().unwrap_or_default().trim();
        if entry.is_empty() {
            continue;
        }
        let wrong = |why| {
            let (path, entry) = (path.to_owned(), entry.to_owned());
            PrefixFileError::Line { path, line: index + 1, entry, why }
        };
        prefixes.insert(read_prefix(entry).map_err(wrong)?);
    }
    Ok(prefixes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_blank_lines_are_skipped_and_twice_is_once() {
        let text = "# bad people\n198.51.100.0/24 # since May\n\n  2001:db8::/32\r\n198.51.100.0/24\n";
        let prefixes: Vec<String> =
            parse(Path::new("f"), text).expect("prefixes").iter().map(ToString::to_string).collect();
        assert_eq!(prefixes, ["198.51.100.0/24", "2001:db8::/32"]);
    }

    #[test]
    fn a_wrong_line_is_named_by_its_number() {
        let text = "198.51.100.0/24\nroot:$y$secret # not for a log\n";
        let error = parse(Path::new("/f"), text).expect_err("refused");
        let (log, shown) = (error.to_string(), format!("{error:#}"));
        assert!(log.starts_with("/f:2: expected an address") && !log.contains("secret"), "{log}");
        assert!(shown.starts_with("/f:2: \"root:$y$secret\": expected an address"), "{shown}");
    }
}
