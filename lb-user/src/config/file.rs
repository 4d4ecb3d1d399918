//! What may be written in the configuration file: its tables and keys, and their TOML types.
//!
//! Values stay as they were written here (texts, whole numbers), so that [`super::validate`] can
//! judge all of them and tell everything that is wrong at once. Owns the errors about unknown keys
//! and wrong types, and what the reference (`docs/configuration.md`) and editors are told of each key: the comment
//! on a field is its row there, `TYPE | DEFAULT | MEANING AND LIMITS`, and the comment on a table begins with its
//! heading; `tests/reference.rs` compares. Never gives a default.

mod agent;
mod dataplane;
mod firewall;
mod mysql;
mod node;
mod proxy;
mod service;
mod sync;
mod tls;
mod track;
mod value;
mod vip;

use std::collections::BTreeMap;

use serde::Deserialize;

use super::error::{ConfigErrors, nearest};
use super::locate::{Complaint, Path, Source, Step};
pub(super) use agent::{FileAgent, FileControl, FileLog, FileMetrics};
pub(super) use dataplane::{FileDataplane, FileTimeouts};
pub(super) use firewall::{FileFirewall, FileRule};
pub(super) use mysql::{FileMysql, FileMysqlReplication, FileMysqlUser};
pub(super) use node::FileNode;
pub(super) use proxy::FileProxy;
pub(super) use service::{FileBackend, FileHealth, FileService};
pub(super) use sync::FileSync;
pub(super) use tls::{FileAcme, FileBackendTls, FileCertificate, FileTls};
pub(super) use track::{FileNotify, FileTracker};
pub(super) use value::{DurationText, FileSources, OneOrMany};
pub(super) use vip::{FileVip, FileVrrp};

/// All that one file says of a node.
#[derive(Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(super) struct File {
    /// table | required | [this machine](#node), its interfaces and NAT ports
    pub(super) node: Option<FileNode>,
    /// table | empty | [the socket](#control) that commands come by
    #[serde(default)]
    pub(super) control: FileControl,
    /// table | empty | [the program](#dataplane) in the kernel and the sizes of its tables
    #[serde(default)]
    pub(super) dataplane: FileDataplane,
    /// tables | none | `[vip.NAME]`: [addresses](#vipname) that clients know
    #[serde(default)]
    pub(super) vip: BTreeMap<String, FileVip>,
    /// tables | none | `[service.NAME]`: [what is served](#servicename) at VIPs, and by which backends
    #[serde(default)]
    pub(super) service: BTreeMap<String, FileService>,
    /// table | empty | [who may reach what](#firewall)
    #[serde(default)]
    pub(super) firewall: FileFirewall,
    /// table | none | [whom this node shares its flows with](#sync)
    pub(super) sync: Option<FileSync>,
    /// tables | none | `[track.NAME]`: [what priorities hang on](#trackname)
    #[serde(default)]
    pub(super) track: BTreeMap<String, FileTracker>,
    /// table | none | [a command](#notify) that is told of virtual routers' changes
    pub(super) notify: Option<FileNotify>,
    /// table | none | [who gives out certificates](#acme)
    pub(super) acme: Option<FileAcme>,
    /// table | none | [figures over HTTP](#metrics)
    pub(super) metrics: Option<FileMetrics>,
    /// table | empty | [the agent's log](#log)
    #[serde(default)]
    pub(super) log: FileLog,
    /// table | empty | [what the agent keeps](#agent) of the rights it is started with
    #[serde(default)]
    pub(super) agent: FileAgent,
}

impl File {
    /// Reads a document; the error is the first unknown key or wrong type.
    pub(super) fn read(source: &Source<'_>) -> Result<Self, ConfigErrors> {
        let wrong = |error: toml::de::Error, path: Path| {
            let span = error.span().unwrap_or_else(|| source.value_span(&path));
            let (path, complaint) = translate(error.message(), &path, source.text().get(span.clone()));
            ConfigErrors::from(source.at(span, &path, complaint))
        };
        let deserializer =
            toml::Deserializer::parse(source.text()).map_err(|error| wrong(error, Path::default()))?;
        serde_path_to_error::deserialize(deserializer).map_err(|error| {
            let path = error.path().iter().fold(Path::default(), |path, segment| match segment {
                serde_path_to_error::Segment::Seq { index } => path.step(Step::Index(*index)),
                serde_path_to_error::Segment::Map { key } => path.key(key),
                serde_path_to_error::Segment::Enum { .. } | serde_path_to_error::Segment::Unknown => path,
            });
            wrong(error.into_inner(), path)
        })
    }
}

/// Keys whose values nobody is told.
const SECRETS: [&str; 1] = ["password"];

/// Turns serde's words about types and fields into words about the file.
fn translate(message: &str, path: &Path, found: Option<&str>) -> (Path, Complaint) {
    if let Some(rest) = message.strip_prefix("unknown field ") {
        return unknown_key(rest, path);
    }
    if let Some(rest) = message.strip_prefix("invalid type: ")
        && let Some((given, wanted)) = rest.rsplit_once(", expected ")
    {
        // What is a secret where it is right may be one where it is not.
        let may_be_told = !path.last_key().is_some_and(|key| SECRETS.contains(&key));
        let found = found.filter(|text| !text.contains('\n') && !given.starts_with("map") && may_be_told);
        let given = match (found, given) {
            (Some(text), _) => format!("{text} is {}", type_name(given)),
            (None, given) => format!("this is {}", type_name(given)),
        };
        let complaint = Complaint::new(given).expected(type_name(wanted));
        let single = matches!(path.last_key(), Some("backend" | "rule" | "certificate" | "user"))
            && wanted == "a sequence";
        let suggestion = single.then(|| format!("write [[{path}]] with two brackets on each side"));
        return (path.clone(), complaint.suggest(suggestion));
    }
    (path.clone(), Complaint::new(message.replace('\n', "; ")))
}

/// `unknown field `x`, expected one of `a`, `b`` as people would say it.
fn unknown_key(rest: &str, path: &Path) -> (Path, Complaint) {
    let mut words = rest.split('`').skip(1).step_by(2);
    let given = words.next().unwrap_or_default();
    let known: Vec<&str> = words.collect();
    let complaint = Complaint::new(format!("unknown key {given:?}"));
    let complaint = match nearest(given, known.iter().copied()) {
        Some(word) => complaint.suggest(format!("did you mean {word:?}?")),
        None => complaint.expected(format!("one of {}", known.join(", "))),
    };
    let path = if path.last_key() == Some(given) { path.clone() } else { path.key(given) };
    (path, complaint)
}

/// serde's name of a type in the words of the file's format.
fn type_name(name: &str) -> &str {
    match name.split(' ').next().unwrap_or_default() {
        "i64" | "integer" => "a whole number",
        "string" => "a text",
        "floating" => "a number with a fraction",
        "boolean" => "true or false",
        "sequence" => "a list",
        "map" | "struct" => "a table",
        "a" if name == "a string" => "a text in quotes",
        "a" if name == "a boolean" => "true or false",
        "a" if name == "a sequence" => "a list",
        "a" if name == "a map" => "a table",
        _ => name,
    }
}
