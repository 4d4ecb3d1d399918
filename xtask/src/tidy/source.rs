//! A file as the rules see it: text, code without comments and strings, tokens, paths.
//!
//! Owns a small reading of Rust that is right about comments, strings, lifetimes and use trees.
//! Never judges anything.

/// One file of the project.
#[derive(Debug)]
pub(crate) struct Source {
    /// Relative to the repository's root, with `/`.
    pub(crate) path: String,
    pub(crate) text: String,
    /// For Rust: the text with comments and the contents of strings blanked, line for line.
    pub(crate) code: String,
    /// The line of the `#[cfg(test)]` before an inline `mod`, from where on everything is test code.
    pub(crate) tests_from: Option<usize>,
}

/// A token of Rust code, as far as the rules care.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Token<'a> {
    Word(&'a str),
    /// `::`
    Separator,
    Mark(char),
}

/// A path such as `crate::core::plan`, and the line where it begins. Use trees come expanded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NamedPath {
    pub(crate) line: usize,
    pub(crate) segments: Vec<String>,
}

impl Source {
    pub(crate) fn new(path: impl Into<String>, text: impl Into<String>) -> Self {
        let (path, text) = (path.into(), text.into());
        let code = if path.ends_with(".rs") { blank_comments_and_strings(&text) } else { String::new() };
        let tests_from = inline_tests(&code);
        Self { path, text, code, tests_from }
    }

    pub(crate) fn is_rust(&self) -> bool {
        self.path.ends_with(".rs")
    }

    /// Lines of the text with their numbers.
    pub(crate) fn lines(&self) -> impl Iterator<Item = (usize, &str)> {
        self.text.lines().enumerate().map(|(index, line)| (index + 1, line))
    }

    /// Whether a line is test code: in a test file, or below an inline test module's head.
    pub(crate) fn is_test_line(&self, line: usize) -> bool {
        self.is_test_file() || self.tests_from.is_some_and(|from| line >= from)
    }

    /// `tests.rs`, anything in a folder `tests`, the test workspace member.
    pub(crate) fn is_test_file(&self) -> bool {
        self.path.split('/').any(|part| part == "tests" || part == "tests.rs")
    }

    /// The tokens of the code, each with its line.
    pub(crate) fn tokens(&self) -> Vec<(usize, Token<'_>)> {
        tokens(&self.code)
    }

    /// Every path in the code.
    pub(crate) fn paths(&self) -> Vec<NamedPath> {
        let tokens = self.tokens();
        let mut found = Vec::new();
        let mut at = 0;
        while at < tokens.len() {
            let after_dot = at > 0 && tokens[at - 1].1 == Token::Mark('.');
            if matches!(tokens[at].1, Token::Word(_)) && !after_dot {
                at = read_path(&tokens, at, &[], &mut found);
            } else {
                at += 1;
            }
        }
        found
    }
}

fn inline_tests(code: &str) -> Option<usize> {
    let lines: Vec<&str> = code.lines().collect();
    let head = |line: &str| line.trim_start().starts_with("#[cfg(test)]");
    let module = |line: &str| line.contains("mod ") && line.trim_end().ends_with('{');
    (0..lines.len())
        .find(|&index| head(lines[index]) && lines[index..].iter().take(3).any(|line| module(line)))
        .map(|index| index + 1)
}

/// Reads the path at `at` (a word) with its use tree, adds what it names, returns where to go on.
fn read_path(
    tokens: &[(usize, Token<'_>)],
    mut at: usize,
    prefix: &[String],
    found: &mut Vec<NamedPath>,
) -> usize {
    let line = tokens[at].0;
    let mut segments = prefix.to_vec();
    while let Some((_, Token::Word(word))) = tokens.get(at) {
        segments.push((*word).to_owned());
        at += 1;
        if tokens.get(at).map(|token| &token.1) != Some(&Token::Separator) {
            break;
        }
        match tokens.get(at + 1).map(|token| &token.1) {
            Some(Token::Word(_)) => at += 1,
            Some(Token::Mark('*')) => {
                segments.push("*".to_owned());
                at += 2;
            }
            Some(Token::Mark('{')) => return read_group(tokens, at + 2, &segments, found),
            _ => break,
        }
    }
    found.push(NamedPath { line, segments });
    at
}

/// Reads the inside of `{…}` in a use tree; `at` is behind the brace.
fn read_group(
    tokens: &[(usize, Token<'_>)],
    mut at: usize,
    prefix: &[String],
    found: &mut Vec<NamedPath>,
) -> usize {
    while let Some((line, token)) = tokens.get(at) {
        match token {
            Token::Mark('}') => return at + 1,
            Token::Word("as") => at += 2,
            Token::Word("self") => {
                found.push(NamedPath { line: *line, segments: prefix.to_vec() });
                at += 1;
            }
            Token::Word(_) => at = read_path(tokens, at, prefix, found),
            Token::Mark('*') => {
                let segments = [prefix, &["*".to_owned()]].concat();
                found.push(NamedPath { line: *line, segments });
                at += 1;
            }
            Token::Mark(_) | Token::Separator => at += 1,
        }
    }
    at
}

fn tokens(code: &str) -> Vec<(usize, Token<'_>)> {
    let mut found = Vec::new();
    for (index, text) in code.lines().enumerate() {
        let mut rest = text;
        while let Some(first) = rest.chars().next() {
            let word = rest.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(rest.len());
            let taken = if word > 0 {
                found.push((index + 1, Token::Word(&rest[..word])));
                word
            } else if rest.starts_with("::") {
                found.push((index + 1, Token::Separator));
                2
            } else {
                if !first.is_whitespace() {
                    found.push((index + 1, Token::Mark(first)));
                }
                first.len_utf8()
            };
            rest = &rest[taken..];
        }
    }
    found
}

/// Replaces comments and the insides of strings and characters by blanks; line breaks stay.
fn blank_comments_and_strings(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    let mut rest = text;
    let mut previous = ' ';
    while let Some(first) = rest.chars().next() {
        let in_word = previous.is_alphanumeric() || previous == '_';
        let hidden = hidden_length(rest, in_word);
        if hidden == 0 {
            code.push(first);
            previous = first;
            rest = &rest[first.len_utf8()..];
        } else {
            code.extend(rest[..hidden].chars().map(|c| if c == '\n' { '\n' } else { ' ' }));
            previous = ' ';
            rest = &rest[hidden..];
        }
    }
    code
}

/// How many bytes at the start are a comment, a string or a character; 0 when it is code.
fn hidden_length(rest: &str, in_word: bool) -> usize {
    if rest.starts_with("//") {
        return rest.find('\n').unwrap_or(rest.len());
    }
    if rest.starts_with("/*") {
        return block_comment(rest);
    }
    if let Some(inside) = rest.strip_prefix('"') {
        return 1 + quoted(inside, '"');
    }
    if rest.starts_with('\'') {
        return character(rest);
    }
    if in_word {
        return 0;
    }
    let prefix =
        ["br", "cr", "r", "b", "c"].into_iter().find(|prefix| rest.starts_with(prefix)).unwrap_or("");
    let body = &rest[prefix.len()..];
    if prefix.ends_with('r') {
        let hashes = body.len() - body.trim_start_matches('#').len();
        if body[hashes..].starts_with('"') {
            let end = format!("\"{}", "#".repeat(hashes));
            let inside = &body[hashes + 1..];
            let length = inside.find(&end).map_or(inside.len(), |at| at + end.len());
            return prefix.len() + hashes + 1 + length;
        }
    } else if !prefix.is_empty() && body.starts_with('"') {
        return prefix.len() + 1 + quoted(&body[1..], '"');
    } else if prefix == "b" && body.starts_with('\'') {
        return 1 + character(body);
    }
    0
}

/// The length up to and with the closing quote.
fn quoted(rest: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, c) in rest.char_indices() {
        if escaped {
            escaped = false;
        } else if c == '\\' {
            escaped = true;
        } else if c == quote {
            return at + c.len_utf8();
        }
    }
    rest.len()
}

/// `'x'` and `'\n'` are characters, `'a` is a lifetime.
fn character(rest: &str) -> usize {
    let mut inside = rest[1..].chars();
    match (inside.next(), inside.next()) {
        (Some('\\'), _) => 1 + quoted(&rest[1..], '\''),
        (Some(first), Some('\'')) => 2 + first.len_utf8(),
        _ => 0,
    }
}

fn block_comment(rest: &str) -> usize {
    let mut depth = 0_usize;
    let mut at = 0;
    while at < rest.len() {
        if rest[at..].starts_with("/*") {
            depth += 1;
            at += 2;
        } else if rest[at..].starts_with("*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += rest[at..].chars().next().map_or(1, char::len_utf8);
        }
    }
    rest.len()
}

#[cfg(test)]
mod tests;
