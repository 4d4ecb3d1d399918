//! Finding a compiler and a linker for BPF, and installing Debian's where there is none.
//!
//! Owns the choice between Debian's rustc with its ready-made `core` and a nightly with rust-src.
//! Never changes a toolchain that is there; what it installs besides packages goes into `target/tools`.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::packages::{self, Consent, Package};
use crate::{process, project};

/// The only BPF target the objects are built for.
pub(crate) const TARGET: &str = "bpfel-unknown-none";

const LINKER_VERSION: &str = "0.13.0";
const LLVM_PREFIX: &str = "/usr/lib/llvm-22";
const DEBIAN_RUSTC: &str = "/usr/bin/rustc";

const PACKAGES: &[Package] = &[
    Package::file("rustc-web", DEBIAN_RUSTC),
    Package::named("libstd-rust-web-dev-bpf"),
    Package::file("llvm-22-dev", "/usr/lib/llvm-22/bin/llvm-config"),
];
/// What building bpf-linker needs besides LLVM.
const LINKER_PACKAGES: &[Package] = &[Package::file("g++", "/usr/bin/g++")];

/// Which compiler builds the objects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Compiler {
    /// Debian's `rustc-web` with `libstd-rust-web-dev-bpf`: `core` is there already compiled.
    Debian,
    /// A rustup nightly with the rust-src component: `core` is compiled along.
    Nightly,
}

/// A compiler and a linker that exist.
#[derive(Debug, Clone)]
pub(crate) struct Toolchain {
    pub(crate) compiler: Compiler,
    pub(crate) compiler_version: String,
    pub(crate) linker: PathBuf,
    pub(crate) linker_version: String,
}

impl Toolchain {
    /// The toolchain that is there, or Debian's after installing it.
    pub(crate) fn find_or_install(consent: Consent) -> Result<Self> {
        let compiler = match find_compiler() {
            Some(compiler) => compiler,
            None => {
                install_compiler(consent)?;
                find_compiler().with_context(|| {
                    format!("{DEBIAN_RUSTC} still has no `core` for {TARGET} after installing its package")
                })?
            }
        };
        let linker = match find_linker(&compiler) {
            Some(linker) => linker,
            None => install_linker(consent)?,
        };
        let compiler_version = match compiler {
            Compiler::Debian => process::output(Command::new(DEBIAN_RUSTC).arg("--version"))?,
            Compiler::Nightly => process::output(nightly("rustc").arg("--version"))?,
        };
        let linker_version = process::output(Command::new(&linker).arg("--version"))?;
        Ok(Self {
            compiler,
            compiler_version: compiler_version.trim().to_owned(),
            linker,
            linker_version: linker_version.trim().to_owned(),
        })
    }

    /// A cargo that compiles with this toolchain; flags and target are still to be added.
    pub(crate) fn cargo(&self) -> Command {
        match self.compiler {
            Compiler::Debian => {
                let mut cargo = project::cargo();
                cargo.env("RUSTC_BOOTSTRAP", "1").env("RUSTC", DEBIAN_RUSTC);
                cargo
            }
            Compiler::Nightly => {
                let mut cargo = nightly("cargo");
                cargo.current_dir(project::root());
                for key in ["RUSTC", "CARGO", "RUSTUP_TOOLCHAIN"] {
                    cargo.env_remove(key);
                }
                cargo
            }
        }
    }

    /// Arguments that this toolchain's cargo needs besides the common ones.
    pub(crate) fn cargo_arguments(&self) -> &'static [&'static str] {
        match self.compiler {
            Compiler::Debian => &[],
            Compiler::Nightly => &["-Z", "build-std=core"],
        }
    }
}

fn nightly(tool: &str) -> Command {
    let mut command = Command::new("rustup");
    // Only a nightly that is there: rustup is not to fetch one behind the user's back.
    command.args(["run", "nightly", tool]).env("RUSTUP_AUTO_INSTALL", "0");
    command
}

fn find_compiler() -> Option<Compiler> {
    if debian_has_core() {
        return Some(Compiler::Debian);
    }
    let sysroot = process::output(nightly("rustc").args(["--print", "sysroot"])).ok()?;
    let core = Path::new(sysroot.trim()).join("lib/rustlib/src/rust/library/core/src/lib.rs");
    core.is_file().then_some(Compiler::Nightly)
}

fn debian_has_core() -> bool {
    let mut rustc = Command::new(DEBIAN_RUSTC);
    rustc.args(["--print", "target-libdir", "--target", TARGET]);
    let Ok(folder) = process::output(&mut rustc) else { return false };
    let Ok(entries) = std::fs::read_dir(folder.trim()) else { return false };
    entries.flatten().any(|entry| entry.file_name().to_string_lossy().starts_with("libcore-"))
}

fn install_compiler(consent: Consent) -> Result<()> {
    if !packages::has_apt() {
        bail!(
            "no compiler for {TARGET}: either `rustup toolchain install nightly --component rust-src`, \
             or on Debian the packages rustc-web, libstd-rust-web-dev-bpf and llvm-22-dev"
        );
    }
    println!("No compiler for {TARGET} here (Debian's rustc-web, or a nightly with rust-src).");
    packages::install_missing("building the BPF program", PACKAGES, consent)
}

fn find_linker(compiler: &Compiler) -> Option<PathBuf> {
    let own = project::tools_dir().join("bin/bpf-linker");
    let candidates =
        [Some(own), project::find_program("bpf-linker"), Some(project::cargo_home().join("bin/bpf-linker"))];
    candidates.into_iter().flatten().find(|path| {
        let Ok(version) = process::output(Command::new(path).arg("--version")) else { return false };
        // Debian's compiler writes LLVM 22 bitcode and this version reads it; a nightly's owner chose a fitting one.
        *compiler == Compiler::Nightly || version.split_whitespace().nth(1) == Some(LINKER_VERSION)
    })
}

fn install_linker(consent: Consent) -> Result<PathBuf> {
    let wanted = [PACKAGES, LINKER_PACKAGES].concat();
    if packages::has_apt() {
        packages::install_missing("building bpf-linker", &wanted, consent)?;
    }
    let tools = project::tools_dir();
    println!("Installing bpf-linker {LINKER_VERSION} into {} (about a minute).", tools.display());
    let mut cargo = project::cargo();
    cargo
        .args(["install", "bpf-linker", "--version", LINKER_VERSION, "--locked", "--quiet", "--root"])
        .arg(&tools)
        .env("LLVM_PREFIX", LLVM_PREFIX)
        .env("CARGO_TARGET_DIR", tools.join("build"));
    process::run(&mut cargo).context("cannot install bpf-linker")?;
    Ok(tools.join("bin/bpf-linker"))
}
