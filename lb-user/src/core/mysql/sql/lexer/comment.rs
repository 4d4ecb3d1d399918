//! What stands between tokens: white space, comments, version comments, hints.
//!
//! Owns the rules of both families for `/*! … */`; it never looks into what a version comment holds when it is
//! executed, that is read as if the comment were not there.
//! MySQL Reference Manual, "Comments"; MariaDB, "Comment Syntax".

use super::super::Flavor;
use super::super::token::Gap;
use super::{Lexer, SPACE, class};

/// MariaDB reads hints from 12.0 on.
const MARIADB_HINTS: u32 = 120_000;

/// What a version comment does to the text in it.
enum Version {
    /// Its content is read; so many bytes of digits come first.
    Executed(usize),
    Skipped,
    /// Servers of one family disagree.
    Uncertain,
}

impl Lexer<'_> {
    /// Passes over white space and comments. `None`: a comment has no end, or its end is not certain.
    pub(super) fn skip_gap(&mut self) -> Option<Gap> {
        let mut gap = Gap::None;
        while let Some(byte) = self.peek(0) {
            if class(byte) == SPACE {
                self.position += 1;
                if gap == Gap::None {
                    gap = Gap::Space;
                }
                continue;
            }
            match byte {
                b'#' => self.skip_line(),
                b'-' if self.peek(1) == Some(b'-') => match self.peek(2) {
                    Some(byte) if byte >= 0x80 && !self.context.utf8 => return None,
                    Some(byte) if byte > b' ' && byte != 0x7f => break,
                    _ => self.skip_line(),
                },
                b'/' if self.peek(1) == Some(b'*') => self.comment()?,
                b'*' if self.conditional && self.peek(1) == Some(b'/') => {
                    self.conditional = false;
                    self.position += 2;
                }
                _ => break,
            }
            gap = Gap::Comment;
        }
        Some(gap)
    }

    fn skip_line(&mut self) {
        let rest = self.text.get(self.position..).unwrap_or_default();
        self.position += rest.iter().position(|byte| *byte == b'\n').map_or(rest.len(), |at| at + 1);
    }

    /// Passes a comment, or enters it when it is a version comment that is executed.
    fn comment(&mut self) -> Option<()> {
        let mariadb = self.context.dialect.flavor == Flavor::MariaDb;
        match (self.peek(2), self.peek(3)) {
            (Some(b'!'), _) => self.version_comment(3, false),
            (Some(b'M'), Some(b'!')) if mariadb => self.version_comment(4, true),
            (Some(b'+'), _) if !mariadb || self.context.dialect.version >= MARIADB_HINTS => {
                self.hint_comment()
            }
            _ => self.plain_comment(),
        }
    }

    fn plain_comment(&mut self) -> Option<()> {
        self.position = end_of_comment(self.text, self.position + 2)?;
        Some(())
    }

    fn version_comment(&mut self, opening: usize, maria: bool) -> Option<()> {
        match self.version(opening, maria) {
            Version::Executed(digits) => {
                self.position += opening + digits;
                self.conditional = true;
                Some(())
            }
            Version::Skipped => self.skipped_comment(opening),
            Version::Uncertain => None,
        }
    }

    /// Decides by the digits after the `!`. Fewer than five of them are content, a sixth belongs to the number.
    fn version(&self, opening: usize, maria: bool) -> Version {
        let number = |length: usize| {
            (0..length).try_fold(0u32, |sum, index| {
                let byte = self.peek(opening + index)?;
                byte.is_ascii_digit().then(|| sum * 10 + u32::from(byte - b'0'))
            })
        };
        let Some(five) = number(5) else { return Version::Executed(0) };
        let (digits, version) = number(6).map_or((5, five), |six| (6, six));
        let server = self.context.dialect.version;
        if self.context.dialect.flavor == Flavor::MariaDb {
            // The numbers of MySQL 5.7 and later say nothing about MariaDB, except in its own comments.
            let foreign = !maria && (50_700..=99_999).contains(&version);
            return if version <= server && !foreign { Version::Executed(digits) } else { Version::Skipped };
        }
        match (digits, version <= server, five <= server) {
            (5, true, _) => Version::Executed(5),
            // Older versions read five digits only, and the sixth as content.
            (6, true, _) | (6, false, true) => Version::Uncertain,
            _ => Version::Skipped,
        }
    }

    /// A version comment that is not executed may hold comments of one level.
    fn skipped_comment(&mut self, opening: usize) -> Option<()> {
        let mut at = self.position + opening;
        loop {
            match (self.text.get(at)?, self.text.get(at + 1)?) {
                (b'*', b'/') => break,
                (b'/', b'*') => at = end_of_comment(self.text, at + 2)?,
                _ => at += 1,
            }
        }
        self.position = at + 2;
        Some(())
    }

    /// `/*+ … */`: hints where the server expects them, a plain comment elsewhere. Only those that change a
    /// variable or a thread's resources for the statement matter.
    fn hint_comment(&mut self) -> Option<()> {
        let start = self.position + 3;
        let end = end_of_comment(self.text, start)?;
        let body = self.text.get(start..end - 2)?;
        let mentions = |name: &[u8]| body.windows(name.len()).any(|part| part.eq_ignore_ascii_case(name));
        self.hint |= mentions(b"set_var") || mentions(b"resource_group");
        // Where the server reads hints it reads quoted names, which may hold the end of a comment.
        for quote in [b'"', b'`', b'\''] {
            if body.iter().filter(|byte| **byte == quote).count() % 2 == 1 {
                return None;
            }
        }
        self.position = end;
        Some(())
    }
}

/// The place after the next `*/`.
fn end_of_comment(text: &[u8], from: usize) -> Option<usize> {
    let rest = text.get(from..)?;
    rest.windows(2).position(|pair| pair == b"*/").map(|at| from + at + 2)
}
