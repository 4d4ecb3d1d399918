//! `cargo xtask build-ebpf`: compiles the XDP programs and records what they were built from.
//!
//! Owns the compiler's flags, the objects in `lb-ebpf/object` and the freshness check.
//! Never loads a program: that is the tests' business.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::Args;

use crate::packages::Consent;
use crate::{process, project};

pub(crate) mod record;
pub(crate) mod toolchain;

use record::{Record, Sources};
use toolchain::{TARGET, Toolchain};

/// The programs and the files they become.
const PROGRAMS: [(&str, &str); 2] = [("lb-xdp", "lb-xdp.o"), ("lb-pass", "lb-pass.o")];
const OBJECTS: [&str; 2] = ["lb-xdp.o", "lb-pass.o"];

/// Arguments of `cargo xtask build-ebpf`.
#[derive(Debug, Args)]
pub(crate) struct BuildEbpf {
    /// Folder for the objects and BUILD.toml [default: lb-ebpf/object]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Install what is missing without asking
    #[arg(long, short)]
    yes: bool,
}

impl BuildEbpf {
    pub(crate) fn run(self) -> Result<()> {
        let root = project::root();
        let out = self.out.unwrap_or_else(|| object_dir(&root));
        let record = build(&root, &out, Consent::from_yes(self.yes))?;
        println!("{}, {}", record.compiler, record.linker);
        for name in OBJECTS {
            let bytes = fs::metadata(out.join(name)).map(|meta| meta.len()).unwrap_or(0);
            println!("{:<40} {bytes} bytes", out.join(name).display());
        }
        Ok(())
    }
}

/// Where the repository keeps the built objects.
pub(crate) fn object_dir(root: &Path) -> PathBuf {
    root.join("lb-ebpf/object")
}

/// Compiles both programs into `out` and writes the record beside them.
pub(crate) fn build(root: &Path, out: &Path, consent: Consent) -> Result<Record> {
    let toolchain = Toolchain::find_or_install(consent)?;
    let target_dir = project::target_dir().join("bpf");
    // Read first: an edit during the build then shows as stale instead of going unnoticed.
    let sources = Sources::read(root)?;
    let mut cargo = toolchain.cargo();
    cargo
        .args(["build", "--release", "--package", "lb-ebpf", "--bins", "--target", TARGET])
        .args(toolchain.cargo_arguments())
        .env("CARGO_TARGET_DIR", &target_dir)
        .env_remove("RUSTFLAGS")
        .env("CARGO_ENCODED_RUSTFLAGS", encoded_flags(root, &target_dir, &toolchain)?);
    process::run(&mut cargo).context("the BPF program does not compile")?;

    fs::create_dir_all(out).with_context(|| format!("cannot create {}", out.display()))?;
    for (program, object) in PROGRAMS {
        let built = target_dir.join(TARGET).join("release").join(program);
        let bytes = fs::read(&built).with_context(|| format!("cannot read {}", built.display()))?;
        if bytes.get(..4) != Some(b"\x7fELF") {
            bail!("{} is not an ELF object", built.display());
        }
        fs::write(out.join(object), bytes).with_context(|| format!("cannot write {object}"))?;
    }
    let record = Record {
        sources: sources.hash,
        compiler: toolchain.compiler_version,
        linker: toolchain.linker_version,
        flags: recorded_flags(),
        objects: record::object_hashes(out, &OBJECTS)?,
        crates: sources.crates,
        files: sources.files,
    };
    record.store(out)?;
    Ok(record)
}

/// What no longer fits between the sources and the objects in the repository; empty when all is fresh.
pub(crate) fn stale(root: &Path) -> Result<Vec<String>> {
    let dir = object_dir(root);
    let record = Record::load(&dir)?;
    let objects = record::object_hashes(&dir, &OBJECTS)?;
    Ok(record.differences(&Sources::read(root)?, &recorded_flags(), &objects))
}

/// The flags that decide what the object is; paths are not among them.
fn recorded_flags() -> Vec<String> {
    [
        // v3 of the instruction set (kernel 5.1): 32-bit operations and jumps.
        "-Ctarget-cpu=v3",
        "-Cdebuginfo=2",
        "-Clink-arg=--btf",
        // In-order expansion turns what it cannot inline into calls of memset and memmove, which BPF lacks.
        "-Clink-arg=--disable-expand-memcpy-in-order",
    ]
    .map(str::to_owned)
    .to_vec()
}

/// The same flags with the linker and with every path of this machine taken out of the object.
fn encoded_flags(root: &Path, target_dir: &Path, toolchain: &Toolchain) -> Result<OsString> {
    let mut flags: Vec<OsString> = recorded_flags().into_iter().map(OsString::from).collect();
    flags.push(join("-Clinker=", &toolchain.linker, ""));
    flags.push(join("--remap-path-prefix=", root, "=/lbctl"));
    flags.push(join("--remap-path-prefix=", target_dir, "=/target"));
    let registry = project::cargo_home().join("registry/src");
    if let Ok(entries) = fs::read_dir(&registry) {
        for entry in entries {
            let path = entry.with_context(|| format!("cannot list {}", registry.display()))?.path();
            flags.push(join("--remap-path-prefix=", &path, "=/crates"));
        }
    }
    Ok(flags.join(std::ffi::OsStr::new("\x1f")))
}

fn join(before: &str, path: &Path, after: &str) -> OsString {
    let mut flag = OsString::from(before);
    flag.push(path);
    flag.push(after);
    flag
}
