//! `cargo xtask bless`: lets the unit tests rewrite the files that they compare their output with.
//!
//! Owns only the variable that says so (`BLESS=1`). Never decides what a right output is: read the diff.

use anyhow::{Context, Result};
use clap::Args;

use crate::{process, project};

/// Arguments of `cargo xtask bless`.
#[derive(Debug, Args)]
pub(crate) struct Bless {
    /// Only tests whose name contains this
    filter: Option<String>,
}

impl Bless {
    pub(crate) fn run(self) -> Result<()> {
        let mut cargo = project::cargo();
        cargo.args(["test", "--workspace", "--lib", "--bins"]).args(self.filter).env("BLESS", "1");
        process::run(&mut cargo).context("a test still fails after its files were written anew")?;
        println!("Done. `git diff` shows what changed; commit it only if it is what you meant.");
        Ok(())
    }
}
