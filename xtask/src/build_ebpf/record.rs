//! `BUILD.toml`: what the BPF objects in the repository were built from.
//!
//! Owns the fingerprint of the sources and its comparison. Never builds anything.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// The record's file name, beside the objects.
pub(crate) const FILE: &str = "BUILD.toml";

const HEADER: &str = "# Written by `cargo xtask build-ebpf`: what the objects beside this file were built from.\n\
                      # `cargo xtask test` fails when it no longer matches. Do not edit by hand.\n\n";

/// Everything that decides what the objects are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Record {
    /// One hash over all of `files` and `crates`.
    pub(crate) sources: String,
    pub(crate) compiler: String,
    pub(crate) linker: String,
    pub(crate) flags: Vec<String>,
    /// Object file name → sha256.
    pub(crate) objects: BTreeMap<String, String>,
    /// Version of each dependency that ends up in the program.
    pub(crate) crates: BTreeMap<String, String>,
    /// Source file → sha256.
    pub(crate) files: BTreeMap<String, String>,
}

/// The sources' side of a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Sources {
    pub(crate) hash: String,
    pub(crate) crates: BTreeMap<String, String>,
    pub(crate) files: BTreeMap<String, String>,
}

impl Sources {
    /// Reads and hashes the sources as they are now.
    pub(crate) fn read(root: &Path) -> Result<Self> {
        let mut paths = vec![root.join("lb-ebpf/Cargo.toml")];
        collect_rust_files(&root.join("lb-ebpf/src"), &mut paths)?;
        let mut files = BTreeMap::new();
        for path in paths {
            let bytes = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
            let name = path.strip_prefix(root).unwrap_or(&path).to_string_lossy().into_owned();
            files.insert(name, sha256(&bytes));
        }
        let lock = root.join("Cargo.lock");
        let text = fs::read_to_string(&lock).with_context(|| format!("cannot read {}", lock.display()))?;
        let crates = locked_versions(&text)?;
        Ok(Self { hash: combined_hash(&files, &crates), crates, files })
    }
}

impl Record {
    pub(crate) fn load(dir: &Path) -> Result<Self> {
        let path = dir.join(FILE);
        let text = fs::read_to_string(&path)
            .with_context(|| format!("cannot read {}: run `cargo xtask build-ebpf`", path.display()))?;
        toml::from_str(&text)
            .with_context(|| format!("{} is damaged: run `cargo xtask build-ebpf`", path.display()))
    }

    pub(crate) fn store(&self, dir: &Path) -> Result<()> {
        let path = dir.join(FILE);
        let text = toml::to_string(self).context("cannot write the record as TOML")?;
        fs::write(&path, format!("{HEADER}{text}"))
            .with_context(|| format!("cannot write {}", path.display()))
    }

    /// What differs between this record and the sources, flags and objects as they are now.
    pub(crate) fn differences(
        &self,
        sources: &Sources,
        flags: &[String],
        objects: &BTreeMap<String, String>,
    ) -> Vec<String> {
        let mut found = Vec::new();
        if self.sources != sources.hash {
            compare("source", &self.files, &sources.files, &mut found);
            compare("dependency", &self.crates, &sources.crates, &mut found);
            if found.is_empty() {
                found.push("the record's hash does not belong to its own file list".to_owned());
            }
        }
        if self.flags != flags {
            found.push("the compiler's flags have changed in xtask".to_owned());
        }
        compare("object", &self.objects, objects, &mut found);
        found
    }
}

fn compare(
    what: &str,
    old: &BTreeMap<String, String>,
    new: &BTreeMap<String, String>,
    found: &mut Vec<String>,
) {
    for (name, value) in new {
        match old.get(name) {
            None => found.push(format!("{what} {name} is new")),
            Some(recorded) if recorded != value => found.push(format!("{what} {name} has changed")),
            Some(_) => {}
        }
    }
    for name in old.keys().filter(|name| !new.contains_key(*name)) {
        found.push(format!("{what} {name} is gone"));
    }
}

/// The hash of each object in a folder, under its file name.
pub(crate) fn object_hashes(dir: &Path, names: &[&str]) -> Result<BTreeMap<String, String>> {
    let mut hashes = BTreeMap::new();
    for name in names {
        let path = dir.join(name);
        match fs::read(&path) {
            Ok(bytes) => hashes.insert((*name).to_owned(), sha256(&bytes)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
            Err(error) => return Err(error).with_context(|| format!("cannot read {}", path.display())),
        };
    }
    Ok(hashes)
}

/// Lower-case hexadecimal SHA-256.
pub(crate) fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn combined_hash(files: &BTreeMap<String, String>, crates: &BTreeMap<String, String>) -> String {
    let mut text = String::new();
    for (name, value) in files.iter().chain(crates) {
        text.push_str(&format!("{name}={value}\n"));
    }
    sha256(text.as_bytes())
}

/// Tests never reach the object, so changing one does not make it stale.
fn is_test_source(path: &Path) -> bool {
    path.components().any(|part| part.as_os_str() == "tests" || part.as_os_str() == "tests.rs")
}

fn collect_rust_files(dir: &Path, found: &mut Vec<PathBuf>) -> Result<()> {
    let entries = fs::read_dir(dir).with_context(|| format!("cannot list {}", dir.display()))?;
    for entry in entries {
        let path = entry.with_context(|| format!("cannot list {}", dir.display()))?.path();
        if is_test_source(Path::new(path.file_name().unwrap_or_default())) {
            continue;
        }
        if path.is_dir() {
            collect_rust_files(&path, found)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    Ok(())
}

/// The versions of what the program is compiled with: aya-ebpf and its parts, and bytemuck.
fn locked_versions(lock: &str) -> Result<BTreeMap<String, String>> {
    #[derive(Deserialize)]
    struct Lock {
        package: Vec<Package>,
    }
    #[derive(Deserialize)]
    struct Package {
        name: String,
        version: String,
    }
    let lock: Lock = toml::from_str(lock).context("Cargo.lock is damaged")?;
    let crates: BTreeMap<_, _> = lock
        .package
        .into_iter()
        .filter(|package| package.name.starts_with("aya-ebpf") || package.name.starts_with("bytemuck"))
        .map(|package| (package.name, package.version))
        .collect();
    if !crates.contains_key("aya-ebpf") {
        bail!("Cargo.lock does not name aya-ebpf");
    }
    Ok(crates)
}

#[cfg(test)]
mod tests;
