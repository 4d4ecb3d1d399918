//! `cargo xtask tidy`: the house rules that no other tool checks.
//!
//! Owns the list of files and the report; the rules are in the modules below. Never changes a file.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::{process, project};

mod layers;
mod layout;
mod source;
mod style;

use source::Source;

/// Inputs of fuzz targets: data to the byte, also where it looks like text.
const CORPORA: &str = "lb-user/fuzz/corpus/";

/// One broken rule.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Finding {
    path: String,
    line: usize,
    message: String,
    /// Said, but not counted as a failure.
    warning: bool,
}

impl Finding {
    fn into_warning(self) -> Self {
        Self { warning: true, ..self }
    }
}

impl Source {
    fn at(&self, line: usize, message: impl Into<String>) -> Finding {
        Finding { path: self.path.clone(), line, message: message.into(), warning: false }
    }
}

/// Checks the whole repository; an error when a rule is broken.
pub(crate) fn run() -> Result<()> {
    let root = project::root();
    let files = tracked_files(&root)?;
    let mut found = Vec::new();
    for path in &files {
        layout::check_top_level(path, &mut found);
        // Generated, or not ours to reformat.
        if path.ends_with("Cargo.lock") || path.starts_with("LICENSE-") || path.starts_with(CORPORA) {
            continue;
        }
        let bytes = std::fs::read(root.join(path)).with_context(|| format!("cannot read {path}"))?;
        let Ok(text) = String::from_utf8(bytes) else { continue };
        let source = Source::new(path.as_str(), text);
        layers::check(&source, &mut found);
        style::check(&source, &mut found);
        layout::check_links(&source, |target| root.join(target).exists(), &mut found);
    }
    report(&files, &found)
}

fn report(files: &[String], found: &[Finding]) -> Result<()> {
    for finding in found {
        let kind = if finding.warning { "warning: " } else { "" };
        println!("{}:{}: {kind}{}", finding.path, finding.line, finding.message);
    }
    let broken = found.iter().filter(|finding| !finding.warning).count();
    if broken > 0 {
        bail!("{broken} house rules broken in {} files looked at", files.len());
    }
    println!("tidy: {} files, {} warnings", files.len(), found.len());
    Ok(())
}

/// What git tracks or would track, and that exists.
fn tracked_files(root: &Path) -> Result<Vec<String>> {
    let mut git = Command::new("git");
    // A checkout of another user is still worth checking when root does it.
    git.args(["-c", "safe.directory=*", "-C"]).arg(root);
    git.args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"]);
    let list = process::output(&mut git).context("cannot list the project's files")?;
    let mut files: Vec<String> = list
        .split('\0')
        .filter(|path| !path.is_empty() && root.join(path).is_file())
        .map(str::to_owned)
        .collect();
    files.sort();
    files.dedup();
    Ok(files)
}
