//! `cargo xtask dist`: what users install, in `target/dist`.
//!
//! Owns that folder and the tool that makes packages. What is in the package, and what happens when it is installed, is in `lb-user/Cargo.toml`
//! and `lb-user/packaging`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use clap::Args;

use crate::{lab, process, project};

const CARGO_DEB_VERSION: &str = "3.8.0";

/// Arguments of `cargo xtask dist`.
#[derive(Debug, Args)]
pub(crate) struct Dist {}

impl Dist {
    pub(crate) fn run(self) -> Result<()> {
        lab::build(false)?;
        let made = make()?;
        println!("Made:");
        for path in made {
            println!("  {} ({} KiB)", path.display(), fs::metadata(&path)?.len() / 1024);
        }
        println!("Install: sudo apt install ./target/dist/lbctl_*.deb");
        Ok(())
    }
}

/// Makes all of it of the program that was built last; the files.
pub(crate) fn make() -> Result<Vec<PathBuf>> {
    let program = project::release_program("lbctl");
    let dist = project::root().join("target/dist");
    // What an earlier run made may be of another version.
    if dist.exists() {
        fs::remove_dir_all(&dist).with_context(|| format!("removing {}", dist.display()))?;
    }
    manual(&program, &dist)?;
    let package = package(&dist)?;
    let archive = archive(&program, &dist)?;
    Ok(vec![package, archive])
}

/// Man pages, and completions for shells, as the program itself writes them.
fn manual(program: &Path, dist: &Path) -> Result<()> {
    let (man, completions) = (dist.join("man"), dist.join("completions"));
    for folder in [&man, &completions] {
        fs::create_dir_all(folder).with_context(|| format!("creating {}", folder.display()))?;
    }
    process::run(Command::new(program).arg("man").arg(&man))?;
    for (shell, file) in [("bash", "lbctl.bash"), ("zsh", "_lbctl"), ("fish", "lbctl.fish")] {
        let text = process::output(Command::new(program).args(["completions", shell]))?;
        fs::write(completions.join(file), text)?;
    }
    Ok(())
}

fn package(dist: &Path) -> Result<PathBuf> {
    let tool = cargo_deb()?;
    let mut deb = Command::new(tool);
    deb.args(["--package", "lb-user", "--no-build", "--strip", "--quiet", "--output"])
        .arg(dist)
        .current_dir(project::root());
    process::run(&mut deb).context("the package was not made")?;
    let packages = fs::read_dir(dist)?.filter_map(|entry| Some(entry.ok()?.path()));
    let mut packages = packages.filter(|path| path.extension().is_some_and(|kind| kind == "deb"));
    packages.next().context("no package was made")
}

/// The tool, installed once.
fn cargo_deb() -> Result<PathBuf> {
    let tool = project::tools_dir().join("bin/cargo-deb");
    let version = |tool: &Path| process::output(Command::new(tool).arg("--version")).unwrap_or_default();
    if tool.exists() && version(&tool).contains(CARGO_DEB_VERSION) {
        return Ok(tool);
    }
    let mut cargo = project::install_tool("cargo-deb", CARGO_DEB_VERSION);
    cargo.arg("--no-default-features");
    process::run(&mut cargo).context("cannot install cargo-deb")?;
    ensure!(tool.exists(), "cargo-deb was installed, and is not at {}", tool.display());
    Ok(tool)
}

/// The program with its manual, for systems without dpkg.
fn archive(program: &Path, dist: &Path) -> Result<PathBuf> {
    let name = format!("lbctl-{}-{}", env!("CARGO_PKG_VERSION"), std::env::consts::ARCH);
    let folder = dist.join(&name);
    fs::create_dir_all(&folder)?;
    fs::copy(program, folder.join("lbctl"))?;
    process::run(Command::new("strip").arg(folder.join("lbctl")))?;
    for file in ["README.md", "CHANGELOG.md", "LICENSE-MIT", "LICENSE-APACHE"] {
        fs::copy(project::root().join(file), folder.join(file))?;
    }
    for from in [project::root().join("lb-user/packaging"), dist.join("man"), dist.join("completions")] {
        let to = folder.join(from.file_name().context("a folder's name")?);
        process::run(Command::new("cp").arg("--recursive").arg(&from).arg(to))?;
    }
    let archive = dist.join(format!("{name}.tar.gz"));
    process::run(
        Command::new("tar")
            .arg("--create")
            .arg("--gzip")
            .arg("--file")
            .arg(&archive)
            .arg("--directory")
            .arg(dist)
            .arg(&name),
    )?;
    fs::remove_dir_all(folder)?;
    Ok(archive)
}
