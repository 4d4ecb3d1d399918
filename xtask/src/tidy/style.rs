//! How a file is written: header, lengths, names, words, whitespace.
//!
//! Owns the limits. Never looks at who names whom.

use super::Finding;
use super::source::{Source, Token};

const FILE_LINES_MAX: usize = 400;
const FILE_LINES_AIM: usize = 300;
const FUNCTION_LINES_MAX: usize = 90;
const EMPTY_NAMES: [&str; 6] = ["util", "utils", "helper", "helpers", "manager", "managers"];
const UNFINISHED: [&str; 3] = ["todo", "dbg", "unimplemented"];
/// A folder of the machine this was first written on; in two parts, so that this file passes itself.
const FOREIGN_PATH: &str = concat!("/wo", "rk/");
/// VRRP's and MySQL's old role words, in two parts for the same reason.
const OLD_ROLES: [&str; 2] = [concat!("mas", "ter"), concat!("sla", "ve")];

/// All rules about how a file is written.
pub(crate) fn check(source: &Source, found: &mut Vec<Finding>) {
    whitespace(source, found);
    foreign_paths(source, found);
    empty_names(source, found);
    if !source.is_rust() {
        return;
    }
    header(source, found);
    file_length(source, found);
    let tokens = source.tokens();
    functions(source, &tokens, found);
    words(source, &tokens, found);
}

fn whitespace(source: &Source, found: &mut Vec<Finding>) {
    for (line, text) in source.lines() {
        if text.ends_with([' ', '\t', '\r']) {
            found.push(source.at(line, "whitespace at the end of the line"));
        }
    }
    if !source.text.is_empty() && !source.text.ends_with('\n') {
        found.push(source.at(source.text.lines().count(), "the last line has no line break"));
    }
}

fn foreign_paths(source: &Source, found: &mut Vec<Finding>) {
    for (line, text) in source.lines() {
        if text.contains(FOREIGN_PATH) {
            found.push(source.at(line, format!("`{FOREIGN_PATH}` is a path of one machine only")));
        }
    }
}

fn empty_names(source: &Source, found: &mut Vec<Finding>) {
    for part in source.path.split('/').map(|part| part.strip_suffix(".rs").unwrap_or(part)) {
        if EMPTY_NAMES.contains(&part) {
            found.push(source.at(1, format!("`{part}` says nothing: name it after what it does")));
        }
    }
}

fn header(source: &Source, found: &mut Vec<Finding>) {
    // `foo/tests.rs` needs none: its name says it all.
    if !source.text.starts_with("//!") && !source.path.ends_with("/tests.rs") {
        let message = "a file starts with a `//!` header: what it is for, what it owns, what it never does";
        found.push(source.at(1, message));
    }
}

fn file_length(source: &Source, found: &mut Vec<Finding>) {
    let lines = source.text.lines().count();
    if lines > FILE_LINES_MAX {
        found.push(
            source.at(lines, format!("{lines} lines: at most {FILE_LINES_MAX}, {FILE_LINES_AIM} is the aim")),
        );
    } else if lines > FILE_LINES_AIM {
        found.push(source.at(lines, format!("{lines} lines: {FILE_LINES_AIM} is the aim")).into_warning());
    }
}

fn functions(source: &Source, tokens: &[(usize, Token<'_>)], found: &mut Vec<Finding>) {
    for (index, (start, token)) in tokens.iter().enumerate() {
        let Some((_, Token::Word(name))) = tokens.get(index + 1) else { continue };
        if *token != Token::Word("fn") {
            continue;
        }
        let Some(end) = end_of_body(&tokens[index..]) else { continue };
        let lines = end - start + 1;
        if lines > FUNCTION_LINES_MAX {
            let message = format!("function `{name}` has {lines} lines: at most {FUNCTION_LINES_MAX}");
            found.push(source.at(*start, message));
        }
    }
}

/// The line of the brace that closes a function; `None` for one without a body.
fn end_of_body(tokens: &[(usize, Token<'_>)]) -> Option<usize> {
    let (mut braces, mut brackets) = (0_usize, 0_usize);
    for (line, token) in tokens {
        match token {
            Token::Mark('(' | '[') => brackets += 1,
            Token::Mark(')' | ']') => brackets = brackets.saturating_sub(1),
            // Not the one in an array type such as `[u8; 4]`.
            Token::Mark(';') if braces == 0 && brackets == 0 => return None,
            Token::Mark('{') => braces += 1,
            Token::Mark('}') => {
                braces = braces.saturating_sub(1);
                if braces == 0 {
                    return Some(*line);
                }
            }
            _ => {}
        }
    }
    None
}

fn words(source: &Source, tokens: &[(usize, Token<'_>)], found: &mut Vec<Finding>) {
    let lines: Vec<&str> = source.text.lines().collect();
    for (index, (line, token)) in tokens.iter().enumerate() {
        let Token::Word(word) = token else { continue };
        let next = tokens.get(index + 1).map(|token| &token.1);
        if UNFINISHED.contains(word) && next == Some(&Token::Mark('!')) {
            found.push(source.at(*line, format!("`{word}!` does not stay in the code")));
        }
        let text = lines.get(line - 1).copied().unwrap_or_default();
        let waits = *word == "sleep" && next == Some(&Token::Mark('('));
        if waits && source.is_test_line(*line) && !text.contains("// poll:") {
            let message =
                "tests poll with a deadline; a sleep inside a poll says so on its line (`// poll: …`)";
            found.push(source.at(*line, message));
        }
        let lower = word.to_lowercase();
        if let Some(role) = OLD_ROLES.iter().find(|role| lower.contains(*role)) {
            let message =
                format!("`{word}`: not `{role}` but Active/Backup (VRRP) or primary/replica (MySQL)");
            found.push(source.at(*line, message));
        }
    }
}

#[cfg(test)]
mod tests;
