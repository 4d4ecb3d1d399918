//! Where things lie: the top level of the repository, and links between documents.
//!
//! Owns the list of what the top level may hold. Never reads Rust.

use std::path::Path;

use super::Finding;
use super::source::Source;

/// Everything the top level may hold.
const TOP_LEVEL: [&str; 17] = [
    ".cargo",
    ".ci",
    ".gitignore",
    "CHANGELOG.md",
    "Cargo.lock",
    "Cargo.toml",
    "LICENSE-APACHE",
    "LICENSE-MIT",
    "README.md",
    "clippy.toml",
    "deny.toml",
    "docs",
    "lb-ebpf",
    "lb-user",
    "rustfmt.toml",
    "tests",
    "xtask",
];

/// Nothing else lies at the top level.
pub(crate) fn check_top_level(path: &str, found: &mut Vec<Finding>) {
    let first = path.split('/').next().unwrap_or(path);
    if !TOP_LEVEL.contains(&first) {
        let message =
            format!("`{first}` is not in the list of what the top level holds (xtask/src/tidy/layout.rs)");
        found.push(Finding { path: path.to_owned(), line: 1, message, warning: false });
    }
}

/// Relative links in Markdown lead somewhere; `exists` is asked with a path from the repository's root.
pub(crate) fn check_links(source: &Source, exists: impl Fn(&Path) -> bool, found: &mut Vec<Finding>) {
    if !source.path.ends_with(".md") {
        return;
    }
    let folder = Path::new(&source.path).parent().unwrap_or(Path::new(""));
    let mut in_fence = false;
    for (line, text) in source.lines() {
        if text.trim_start().starts_with("```") {
            in_fence = !in_fence;
        }
        if in_fence {
            continue;
        }
        for target in links(text) {
            let file = target.split('#').next().unwrap_or(target);
            let leads_out = file.contains("://") || file.starts_with("mailto:");
            if !file.is_empty() && !leads_out && !exists(&folder.join(file)) {
                found.push(source.at(line, format!("the link to `{target}` leads nowhere")));
            }
        }
    }
}

/// The targets of `[text](target)` in a line; code spans do not count.
fn links(text: &str) -> Vec<&str> {
    let mut found = Vec::new();
    for part in text.split('`').step_by(2) {
        for piece in part.split("](").skip(1) {
            if let Some(target) = piece.split([')', ' ']).next() {
                found.push(target);
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn broken_links(text: &str) -> Vec<usize> {
        let mut found = Vec::new();
        let exists =
            |path: &Path| path == Path::new("docs/vrrp.md") || path == Path::new("docs/../README.md");
        check_links(&Source::new("docs/testing.md", text), exists, &mut found);
        found.into_iter().map(|finding| finding.line).collect()
    }

    #[test]
    fn a_link_that_leads_nowhere_is_found() {
        assert_eq!(broken_links("x\n[a](vrrp.md) [b](mysql.md)\n"), [2]);
        assert_eq!(broken_links("[a](vrrp.md#timers) [b](../README.md)"), [0; 0]);
    }

    #[test]
    fn outside_links_anchors_and_code_are_left_alone() {
        assert_eq!(broken_links("[a](https://example.org/x) [b](#here) `[c](none.md)`"), [0; 0]);
        assert_eq!(broken_links("```\n[c](none.md)\n```\n"), [0; 0]);
    }

    #[test]
    fn the_top_level_holds_only_what_is_listed() {
        let mut found = Vec::new();
        check_top_level("lb-user/src/lib.rs", &mut found);
        check_top_level("Cargo.toml", &mut found);
        assert!(found.is_empty());
        check_top_level("scratch/notes.md", &mut found);
        assert_eq!(found.len(), 1);
    }
}
