//! What may be written in the configuration file: its tables and keys, and their TOML types.
//!
//! Values stay as they were written here (texts, whole numbers), so that [`super::validate`] can
//! judge all of them and tell everything that is wrong at once. Owns the errors about unknown keys
//! and wrong types. Never gives a default.

mod value;

use std::collections::BTreeMap;

use serde::Deserialize;

use super::error::{ConfigErrors, nearest};
use super::locate::{Complaint, Path, Source, Step};
pub(super) use value::{DurationText, FileSources, OneOrMany};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct File {
    pub(super) node: Option<FileNode>,
    #[serde(default)]
    pub(super) control: FileControl,
    #[serde(default)]
    pub(super) dataplane: FileDataplane,
    #[serde(default)]
    pub(super) vip: BTreeMap<String, FileVip>,
    #[serde(default)]
    pub(super) service: BTreeMap<String, FileService>,
    #[serde(default)]
    pub(super) firewall: FileFirewall,
    pub(super) sync: Option<FileSync>,
    #[serde(default)]
    pub(super) track: BTreeMap<String, FileTracker>,
    pub(super) notify: Option<FileNotify>,
    pub(super) acme: Option<FileAcme>,
    pub(super) metrics: Option<FileMetrics>,
    #[serde(default)]
    pub(super) log: FileLog,
    #[serde(default)]
    pub(super) agent: FileAgent,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FileTracker {
    pub(super) interface: Option<String>,
    pub(super) service: Option<String>,
    pub(super) at_least: Option<i64>,
    pub(super) dataplane: Option<bool>,
    pub(super) command: Option<OneOrMany<String>>,
    pub(super) interval: Option<DurationText>,
    pub(super) timeout: Option<DurationText>,
    pub(super) rise: Option<i64>,
    pub(super) fall: Option<i64>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FileNotify {
    pub(super) command: Option<OneOrMany<String>>,
    pub(super) timeout: Option<DurationText>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FileSync {
    pub(super) address: Option<String>,
    pub(super) peers: Option<OneOrMany<String>>,
    pub(super) key_file: Option<String>,
    pub(super) grace: Option<DurationText>,
    pub(super) join_timeout: Option<DurationText>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FileNode {
    pub(super) name: Option<String>,
    pub(super) nat_ports: Option<String>,
    pub(super) interfaces: Option<OneOrMany<String>>,
    pub(super) attach: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FileControl {
    pub(super) socket: Option<String>,
    pub(super) group: Option<String>,
    pub(super) others_may_read: Option<bool>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FileDataplane {
    pub(super) pin_dir: Option<String>,
    pub(super) established_flows: Option<i64>,
    pub(super) embryonic_flows: Option<i64>,
    pub(super) limited_sources: Option<i64>,
    pub(super) prefixes: Option<i64>,
    pub(super) syn_cookies: Option<String>,
    #[serde(default)]
    pub(super) timeouts: FileTimeouts,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FileTimeouts {
    pub(super) established: Option<DurationText>,
    pub(super) half_closed: Option<DurationText>,
    pub(super) closed: Option<DurationText>,
    pub(super) embryonic: Option<DurationText>,
    pub(super) udp: Option<DurationText>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FileVip {
    pub(super) address: Option<OneOrMany<String>>,
    pub(super) interface: Option<String>,
    pub(super) active_on: Option<String>,
    pub(super) vrrp: Option<FileVrrp>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FileVrrp {
    pub(super) id: Option<i64>,
    pub(super) priority: Option<i64>,
    pub(super) interval: Option<DurationText>,
    pub(super) preempt: Option<bool>,
    pub(super) preempt_delay: Option<DurationText>,
    pub(super) peers: Option<OneOrMany<String>>,
    pub(super) checksum: Option<String>,
    pub(super) group: Option<String>,
    pub(super) accept: Option<bool>,
    pub(super) flap_limit: Option<i64>,
    pub(super) flap_window: Option<DurationText>,
    #[serde(default)]
    pub(super) track: BTreeMap<String, i64>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FileService {
    pub(super) vips: Option<OneOrMany<String>>,
    pub(super) port: Option<i64>,
    pub(super) mode: Option<String>,
    pub(super) protocol: Option<String>,
    pub(super) keep_source: Option<bool>,
    pub(super) scheduler: Option<String>,
    pub(super) when_down: Option<String>,
    pub(super) default_policy: Option<String>,
    pub(super) max_flows: Option<i64>,
    pub(super) at_limit: Option<String>,
    pub(super) https_port: Option<i64>,
    pub(super) health: Option<FileHealth>,
    pub(super) proxy: Option<FileProxy>,
    pub(super) tls: Option<FileTls>,
    pub(super) backend_tls: Option<FileBackendTls>,
    pub(super) mysql: Option<FileMysql>,
    #[serde(default)]
    pub(super) backend: Vec<FileBackend>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FileProxy {
    pub(super) connect_timeout: Option<DurationText>,
    pub(super) handshake_timeout: Option<DurationText>,
    pub(super) queue_timeout: Option<DurationText>,
    pub(super) client_timeout: Option<DurationText>,
    pub(super) backend_timeout: Option<DurationText>,
    pub(super) half_closed_timeout: Option<DurationText>,
    pub(super) retries: Option<i64>,
    pub(super) max_queue: Option<i64>,
    pub(super) accept_proxy_from: Option<OneOrMany<String>>,
    pub(super) send_proxy: Option<String>,
    pub(super) transparent: Option<bool>,
    pub(super) connection_log: Option<bool>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FileMysql {
    pub(super) consistency: Option<String>,
    pub(super) max_lag: Option<DurationText>,
    pub(super) max_wait: Option<DurationText>,
    pub(super) slow_log: Option<DurationText>,
    pub(super) auth: Option<String>,
    pub(super) monitor: Option<FileMysqlMonitor>,
    pub(super) replication: Option<FileMysqlReplication>,
    #[serde(default)]
    pub(super) user: Vec<FileMysqlUser>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FileMysqlMonitor {
    pub(super) user: Option<String>,
    pub(super) password: Option<String>,
    pub(super) interval: Option<DurationText>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FileMysqlReplication {
    pub(super) user: Option<String>,
    pub(super) password: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FileMysqlUser {
    pub(super) name: Option<String>,
    pub(super) password: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FileTls {
    pub(super) min_version: Option<String>,
    pub(super) alpn: Option<OneOrMany<String>>,
    pub(super) unknown_name: Option<String>,
    pub(super) client_ca: Option<String>,
    pub(super) client_crl: Option<String>,
    pub(super) client_certificate: Option<String>,
    #[serde(default)]
    pub(super) certificate: Vec<FileCertificate>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FileCertificate {
    pub(super) file: Option<String>,
    pub(super) key: Option<String>,
    pub(super) acme: Option<OneOrMany<String>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FileMetrics {
    pub(super) listen: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FileAgent {
    pub(super) user: Option<String>,
    pub(super) confine: Option<bool>,
    pub(super) writable: Option<OneOrMany<String>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FileLog {
    pub(super) level: Option<String>,
    pub(super) format: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FileAcme {
    pub(super) directory: Option<String>,
    pub(super) contact: Option<OneOrMany<String>>,
    pub(super) terms_of_service_agreed: Option<bool>,
    pub(super) challenge: Option<String>,
    pub(super) folder: Option<String>,
    pub(super) ca: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FileBackendTls {
    pub(super) ca: Option<String>,
    pub(super) server_name: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FileHealth {
    pub(super) r#type: Option<String>,
    pub(super) path: Option<String>,
    pub(super) expect_status: Option<OneOrMany<i64>>,
    pub(super) expect_body: Option<String>,
    pub(super) interval: Option<DurationText>,
    pub(super) timeout: Option<DurationText>,
    pub(super) rise: Option<i64>,
    pub(super) fall: Option<i64>,
    pub(super) slow_start: Option<DurationText>,
    pub(super) refusals: Option<i64>,
    pub(super) port: Option<i64>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FileBackend {
    pub(super) name: Option<String>,
    pub(super) address: Option<OneOrMany<String>>,
    pub(super) weight: Option<i64>,
    pub(super) state: Option<String>,
    pub(super) max_flows: Option<i64>,
    pub(super) names: Option<OneOrMany<String>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FileFirewall {
    pub(super) host_default: Option<String>,
    #[serde(default)]
    pub(super) rule: Vec<FileRule>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FileRule {
    pub(super) name: Option<String>,
    pub(super) allow: Option<FileSources>,
    pub(super) deny: Option<FileSources>,
    pub(super) limit: Option<FileSources>,
    pub(super) service: Option<String>,
    pub(super) host: Option<bool>,
    pub(super) host_port: Option<i64>,
    pub(super) new_flows_per_second: Option<i64>,
    pub(super) burst: Option<i64>,
    pub(super) active_flows: Option<i64>,
    pub(super) per_ipv4: Option<i64>,
    pub(super) per_ipv6: Option<i64>,
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

/// Turns serde's words about types and fields into words about the file.
fn translate(message: &str, path: &Path, found: Option<&str>) -> (Path, Complaint) {
    if let Some(rest) = message.strip_prefix("unknown field ") {
        return unknown_key(rest, path);
    }
    if let Some(rest) = message.strip_prefix("invalid type: ")
        && let Some((given, wanted)) = rest.rsplit_once(", expected ")
    {
        let found = found.filter(|text| !text.contains('\n') && !given.starts_with("map"));
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
