//! `cargo xtask install`: puts `lbctl` where `sudo lbctl` finds it.
//!
//! Owns that one file. Never writes configuration or service units.

use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::Args;

use crate::{process, project};

/// Arguments of `cargo xtask install`.
#[derive(Debug, Args)]
pub(crate) struct Install {
    /// lbctl goes into the folder bin below this one
    #[arg(long, value_name = "DIR", default_value = "/usr/local")]
    prefix: PathBuf,
}

impl Install {
    pub(crate) fn run(self) -> Result<()> {
        let mut cargo = project::cargo();
        cargo.args(["build", "--release", "--package", "lb-user", "--bin", "lbctl"]);
        process::run(&mut cargo).context("lbctl does not build")?;
        let program = project::release_program("lbctl");
        let prefix = std::path::absolute(&self.prefix).context("cannot tell the prefix's absolute path")?;
        let place = prefix.join("bin/lbctl");
        let install = |mut command: std::process::Command| {
            command.args(["-D", "-m", "755"]).arg(&program).arg(&place);
            process::run(&mut command)
        };
        if writable(&prefix) {
            install(std::process::Command::new("install"))?;
        } else {
            println!("{} belongs to root: installing with sudo", prefix.display());
            install(process::as_root("install", &[])?)?;
        }
        println!("Installed {}. Try: sudo lbctl --help", place.display());
        Ok(())
    }
}

/// Whether we may write below a prefix that may not exist yet.
fn writable(prefix: &std::path::Path) -> bool {
    let bin = prefix.join("bin");
    let nearest = bin.ancestors().find(|folder| folder.exists());
    nearest.is_some_and(|folder| nix::unistd::access(folder, nix::unistd::AccessFlags::W_OK).is_ok())
}
