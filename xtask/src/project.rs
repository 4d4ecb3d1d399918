//! Where things are: the repository's root, the target folder and cargo itself.
//!
//! Owns every path that more than one command needs. Never creates or changes anything.

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The repository's root: the parent of the xtask crate.
pub(crate) fn root() -> PathBuf {
    // At run time first: a target folder that was moved or shared keeps the path it was compiled at.
    let manifest = env::var_os("CARGO_MANIFEST_DIR").map(PathBuf::from);
    manifest
        .as_deref()
        .filter(|dir| dir.ends_with("xtask"))
        .unwrap_or(Path::new(env!("CARGO_MANIFEST_DIR")))
        .parent()
        .map(Path::to_path_buf)
        .unwrap_or_default()
}

/// Cargo's target folder for host builds.
pub(crate) fn target_dir() -> PathBuf {
    match env::var_os("CARGO_TARGET_DIR") {
        Some(dir) => root().join(dir),
        None => root().join("target"),
    }
}

/// Where tools live that the project installs for itself alone.
pub(crate) fn tools_dir() -> PathBuf {
    target_dir().join("tools")
}

/// A program of the release profile, as `cargo build --release` leaves it.
pub(crate) fn release_program(name: &str) -> PathBuf {
    target_dir().join("release").join(name)
}

/// The cargo that runs us (or the one in the PATH), started at the repository's root.
pub(crate) fn cargo() -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or(OsString::from("cargo")));
    command.current_dir(root());
    // Set by `cargo run` for this crate; a nested cargo must find its own.
    for key in ["CARGO_MANIFEST_DIR", "CARGO_MANIFEST_PATH", "CARGO_PKG_NAME", "CARGO_PKG_VERSION"] {
        command.env_remove(key);
    }
    command
}

/// Cargo, about to install a program for the project alone, into the folder bin of [`tools_dir`]. Says so.
pub(crate) fn install_tool(name: &str, version: &str) -> Command {
    let tools = tools_dir();
    println!("Installing {name} {version} into {} (about a minute).", tools.display());
    let mut command = cargo();
    command
        // Unoptimized: they work for seconds either way, compiling takes less than half the time.
        .args(["install", name, "--version", version, "--locked", "--quiet", "--debug"])
        .args(["--config", "profile.dev.debug=false", "--root"])
        .arg(&tools)
        .env("CARGO_TARGET_DIR", tools.join("build"));
    command
}

/// Cargo's home folder: the registry's sources are below it.
pub(crate) fn cargo_home() -> PathBuf {
    env::var_os("CARGO_HOME").map(PathBuf::from).unwrap_or_else(|| home().join(".cargo"))
}

fn home() -> PathBuf {
    env::var_os("HOME").map(PathBuf::from).unwrap_or_else(|| PathBuf::from("/root"))
}

/// Looks a program up in the PATH and in the folders that a plain user's PATH lacks.
pub(crate) fn find_program(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .chain(["/usr/local/sbin", "/usr/sbin", "/sbin"].map(PathBuf::from))
        .map(|dir| dir.join(name))
        .find(|file| file.is_file())
}
