//! Judges what the file says and makes the typed [`Config`] of it.
//!
//! Goes through everything and collects what is wrong, so that one run tells all of it.
//! Owns the defaults, the limits and the rules between parts. Never touches the machine: whether an
//! interface or a group exists is for the agent to find out.

mod acme;
mod address;
mod backend;
mod firewall;
mod mysql;
mod proxy;
mod scalar;
mod service;
mod sync;
mod tls;
mod track;
mod vip;
mod vrrp;

use std::net::SocketAddr;
use std::path::PathBuf;

use super::error::{ConfigError, ConfigErrors};
use super::file::{
    File, FileAgent, FileControl, FileDataplane, FileLog, FileMetrics, FileNode, FileTimeouts, OneOrMany,
};
use super::locate::{Complaint, Path, Source};
use super::metrics::DEFAULT_METRICS;
use super::{
    AgentTerms, Config, Control, DEFAULT_SOCKET, Dataplane, FlowTimeouts, Log, Metrics, Node, default_pin_dir,
};
use crate::model::{AttachMode, NodeName, PortRange, SynCookieMode};

/// What the kernel itself hands out to this machine's own connections.
const EPHEMERAL_PORTS: (u16, u16) = (32768, 60999);
/// The NAT ports when the file names none: all below the kernel's own, above most servers'.
const DEFAULT_NAT_PORTS: (u16, u16) = (2048, 32767);
const DEFAULT_ESTABLISHED_FLOWS: u32 = 262_144;
const DEFAULT_EMBRYONIC_FLOWS: u32 = 65_536;
const DEFAULT_LIMITED_SOURCES: u32 = 65_536;
const DEFAULT_PREFIXES: u32 = 262_144;
/// The longest path the address of a Unix socket holds.
const SOCKET_PATH_LEN_MAX: usize = 107;

/// Makes a configuration of a file, or tells everything that is wrong with it.
pub(super) fn validate(source: &Source<'_>, file: &File) -> Result<Config, ConfigErrors> {
    let mut validator = Validator { source, errors: Vec::new(), acme_kept: None };
    let config = validator.config(file);
    ConfigErrors::check(std::mem::take(&mut validator.errors))?;
    config.ok_or_else(|| {
        // Cannot happen: whoever gives nothing back has complained. If it does, it is told as an error.
        let complaint = Complaint::new("refused for a reason that was not told; this is a defect of lbctl");
        source.at_value(&Path::default(), complaint).into()
    })
}

/// Collects what is wrong on the way through the file.
///
/// Its methods give `None` for what they complained about.
struct Validator<'a> {
    source: &'a Source<'a>,
    errors: Vec<ConfigError>,
    /// Where certificates are kept that an authority gives out, if one is named.
    acme_kept: Option<(PathBuf, String)>,
}

impl Validator<'_> {
    /// Complains about the value at a path.
    fn complain<T>(&mut self, path: &Path, complaint: Complaint) -> Option<T> {
        self.errors.push(self.source.at_value(path, complaint));
        None
    }

    /// Complains about the key at the end of a path.
    fn complain_of_key<T>(&mut self, path: &Path, complaint: Complaint) -> Option<T> {
        self.errors.push(self.source.at_key(path, complaint));
        None
    }

    /// Complains that something required is not there.
    fn missing<T>(&mut self, path: &Path, expected: &str) -> Option<T> {
        self.complain(path, Complaint::new("missing").expected(expected))
    }

    fn config(&mut self, file: &File) -> Option<Config> {
        let node = self.node(file.node.as_ref());
        let control = self.control(&file.control);
        let dataplane = self.dataplane(&file.dataplane, node.as_ref().map(|node| &node.name));
        let vips = self.vips(&file.vip, node.as_ref());
        let acme = match &file.acme {
            Some(file) => self.acme(file).map(Some),
            None => Some(None),
        };
        // One with something wrong in it is complained of once.
        self.acme_kept = match &acme {
            None => Some(Default::default()),
            Some(acme) => acme.as_ref().map(|acme| (acme.folder.clone(), acme.directory.clone())),
        };
        let services = self.services(&file.service, &vips);
        if let Some(Some(acme)) = &acme {
            self.challenges_reach_us(acme, &services);
        }
        let firewall = self.firewall(&file.firewall, &file.service);
        let trackers = self.trackers(&file.track, &services);
        self.tracked_are_there(&vips, &trackers);
        let notify = match &file.notify {
            Some(file) => self.notify(file).map(Some),
            None => Some(None),
        };
        let sync = match &file.sync {
            Some(file) => self.sync(file).map(Some),
            None => Some(None),
        };
        let (node, control, dataplane, firewall) = (node?, control?, dataplane?, firewall?);
        let metrics = match &file.metrics {
            Some(file) => self.metrics(file).map(Some),
            None => Some(None),
        };
        let log = self.log(&file.log);
        let agent = self.agent(&file.agent);
        let (sync, notify, acme, metrics, log, agent) = (sync?, notify?, acme?, metrics?, log?, agent?);
        Some(Config {
            node,
            control,
            dataplane,
            vips,
            services,
            firewall,
            sync,
            trackers,
            notify,
            acme,
            metrics,
            log,
            agent,
        })
    }

    fn agent(&mut self, file: &FileAgent) -> Option<AgentTerms> {
        let (path, default) = (Path::of(&["agent"]), AgentTerms::default());
        if file.user.as_ref().is_some_and(String::is_empty) {
            return self.complain(&path.key("user"), Complaint::new("empty").expected("the name of a user"));
        }
        let mut writable = Some(Vec::new());
        if let Some(texts) = &file.writable {
            for (path, text) in texts.entries(&path.key("writable")) {
                match (self.absolute(&path, text, "/var/lib/lbctl"), &mut writable) {
                    (Some(folder), _) if folder.parent().is_none() => {
                        let wrong = Complaint::new(format!("{text:?} is everything"));
                        writable = self.complain(&path, wrong.expected("folders, or `confine = false`"));
                    }
                    (Some(folder), Some(all)) => all.push(folder),
                    _ => writable = None,
                }
            }
        }
        let confine = file.confine.unwrap_or(default.confine);
        if file.user.is_some() && !confine {
            let wrong = Complaint::new("false, and a user is named").expected("one or the other");
            return self.complain(&path.key("confine"), wrong);
        }
        Some(AgentTerms { user: file.user.clone(), confine, writable: writable? })
    }

    fn log(&mut self, file: &FileLog) -> Option<Log> {
        let (path, default) = (Path::of(&["log"]), Log::default());
        let level = match &file.level {
            Some(text) => self.parsed(&path.key("level"), text),
            None => Some(default.level),
        };
        let format = match &file.format {
            Some(word) => self.parsed(&path.key("format"), word),
            None => Some(default.format),
        };
        Some(Log { level: level?, format: format? })
    }

    fn metrics(&mut self, file: &FileMetrics) -> Option<Metrics> {
        let listen = match &file.listen {
            Some(text) => {
                let listen = text.parse::<SocketAddr>().ok().filter(|listen| listen.port() != 0);
                let wrong = || Complaint::new(format!("{text:?} is no address with a port"));
                let expected = "an address and port such as \"127.0.0.1:9788\"";
                let path = Path::of(&["metrics"]).key("listen");
                listen.or_else(|| self.complain(&path, wrong().expected(expected)))?
            }
            None => DEFAULT_METRICS,
        };
        Some(Metrics { listen })
    }

    fn node(&mut self, file: Option<&FileNode>) -> Option<Node> {
        let path = Path::of(&["node"]);
        let Some(file) = file else {
            return self.missing(&path, "a table [node] with at least name and interfaces");
        };
        let name = match &file.name {
            Some(name) => self.parsed::<NodeName>(&path.key("name"), name),
            None => self.missing(&path.key("name"), "this machine's name such as \"lb1\""),
        };
        let nat_ports = self.nat_ports(&path.key("nat_ports"), file.nat_ports.as_deref());
        let interfaces = self.interfaces(&path.key("interfaces"), file.interfaces.as_ref());
        let attach = match &file.attach {
            Some(word) => self.parsed(&path.key("attach"), word),
            None => Some(AttachMode::Auto),
        };
        Some(Node { name: name?, nat_ports: nat_ports?, interfaces: interfaces?, attach: attach? })
    }

    fn nat_ports(&mut self, path: &Path, text: Option<&str>) -> Option<PortRange> {
        let Some(text) = text else {
            return PortRange::new(DEFAULT_NAT_PORTS.0, DEFAULT_NAT_PORTS.1).ok();
        };
        let range: PortRange = self.parsed(path, text)?;
        if range.first() < 1024 {
            let wrong = format!("{text:?} begins below 1024, where servers have their ports");
            return self
                .complain(path, Complaint::new(wrong).expected("a range that begins at 1024 or above"));
        }
        let ephemeral = PortRange::new(EPHEMERAL_PORTS.0, EPHEMERAL_PORTS.1).ok()?;
        if range.overlaps(ephemeral) {
            let wrong = format!(
                "{text:?} overlaps {ephemeral}, the ports the kernel gives to this machine's own connections"
            );
            let expected = "a range within 1024-32767 or 61000-65535";
            return self.complain(path, Complaint::new(wrong).expected(expected));
        }
        Some(range)
    }

    fn interfaces(&mut self, path: &Path, file: Option<&OneOrMany<String>>) -> Option<Vec<String>> {
        let expected = "at least one network interface such as [\"eth0\"]";
        let Some(file) = file else { return self.missing(path, expected) };
        let entries = file.entries(path);
        if entries.is_empty() {
            return self.complain(path, Complaint::new("the list is empty").expected(expected));
        }
        let mut interfaces = Vec::new();
        let mut whole = true;
        for (path, name) in entries {
            let Some(name) = self.interface(&path, name) else {
                whole = false;
                continue;
            };
            if interfaces.contains(&name) {
                whole = false;
                self.complain::<()>(&path, Complaint::new(format!("{name:?} is in the list twice")));
            }
            interfaces.push(name);
        }
        whole.then_some(interfaces)
    }

    fn control(&mut self, file: &FileControl) -> Option<Control> {
        let path = Path::of(&["control"]);
        let socket = match &file.socket {
            Some(text) => self.socket(&path.key("socket"), text),
            None => Some(PathBuf::from(DEFAULT_SOCKET)),
        };
        let group = match &file.group {
            Some(group) if group.is_empty() || group.contains(char::is_whitespace) => {
                let wrong = format!("{group:?} is not the name of a group");
                let suggestion = "leave the key out to let only root change things".to_owned();
                self.complain(&path.key("group"), Complaint::new(wrong).suggest(suggestion))
            }
            group => Some(group.clone()),
        };
        let others_may_read = file.others_may_read.unwrap_or(false);
        Some(Control { socket: socket?, group: group?, others_may_read })
    }

    fn socket(&mut self, path: &Path, text: &str) -> Option<PathBuf> {
        let socket = self.absolute(path, text, DEFAULT_SOCKET)?;
        if text.len() > SOCKET_PATH_LEN_MAX {
            let wrong = format!("{text:?} has {} bytes, too many for a Unix socket", text.len());
            return self.complain(path, Complaint::new(wrong).expected("at most 107"));
        }
        Some(socket)
    }

    fn dataplane(&mut self, file: &FileDataplane, node: Option<&NodeName>) -> Option<Dataplane> {
        let path = Path::of(&["dataplane"]);
        let pin_dir = match &file.pin_dir {
            Some(text) => self.pin_dir(&path.key("pin_dir"), text),
            // Without a name something else is wrong already.
            None => node.map(default_pin_dir),
        };
        let established = self.whole(
            &path.key("established_flows"),
            file.established_flows.unwrap_or(DEFAULT_ESTABLISHED_FLOWS.into()),
            1024..=16_000_000,
            "a whole number from 1024 to 16000000",
        );
        let embryonic = self.whole(
            &path.key("embryonic_flows"),
            file.embryonic_flows.unwrap_or(DEFAULT_EMBRYONIC_FLOWS.into()),
            16_384..=16_000_000,
            "a whole number from 16384 to 16000000 (the kernel evicts live entries from smaller tables of this kind)",
        );
        let limited_sources = self.whole(
            &path.key("limited_sources"),
            file.limited_sources.unwrap_or(DEFAULT_LIMITED_SOURCES.into()),
            1024..=16_000_000,
            "a whole number from 1024 to 16000000",
        );
        let prefixes = self.whole(
            &path.key("prefixes"),
            file.prefixes.unwrap_or(DEFAULT_PREFIXES.into()),
            1024..=1_048_576,
            "a whole number from 1024 to 1048576",
        );
        let syn_cookies = match &file.syn_cookies {
            Some(word) => self.parsed(&path.key("syn_cookies"), word),
            None => Some(SynCookieMode::Auto),
        };
        let timeouts = self.timeouts(&path.key("timeouts"), &file.timeouts);
        Some(Dataplane {
            pin_dir: pin_dir?,
            established_flows: established?,
            embryonic_flows: embryonic?,
            limited_sources: limited_sources?,
            prefixes: prefixes?,
            syn_cookies: syn_cookies?,
            timeouts: timeouts?,
        })
    }

    fn pin_dir(&mut self, path: &Path, text: &str) -> Option<PathBuf> {
        let dir = self.absolute(path, text, "/sys/fs/bpf/lbctl/lb1")?;
        let last = dir.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if last.is_empty() || last.contains('.') {
            let wrong =
                format!("{text:?} ends in no name that the bpf file system takes (it takes none with dots)");
            return self.complain(
                path,
                Complaint::new(wrong).expected("a folder such as \"/sys/fs/bpf/lbctl/lb1\""),
            );
        }
        if dir == std::path::Path::new("/sys/fs/bpf") {
            let wrong = Complaint::new(format!("{text:?} is everybody's"));
            return self
                .complain(path, wrong.expected("a folder below it, such as \"/sys/fs/bpf/lbctl/lb1\""));
        }
        Some(dir)
    }

    fn timeouts(&mut self, path: &Path, file: &FileTimeouts) -> Option<FlowTimeouts> {
        let default = FlowTimeouts::default();
        let mut timeout = |key: &str, text, default| self.flow_timeout(&path.key(key), text, default);
        let established = timeout("established", file.established.as_ref(), default.established);
        let half_closed = timeout("half_closed", file.half_closed.as_ref(), default.half_closed);
        let closed = timeout("closed", file.closed.as_ref(), default.closed);
        let embryonic = timeout("embryonic", file.embryonic.as_ref(), default.embryonic);
        let udp = timeout("udp", file.udp.as_ref(), default.udp);
        Some(FlowTimeouts {
            established: established?,
            half_closed: half_closed?,
            closed: closed?,
            embryonic: embryonic?,
            udp: udp?,
        })
    }
}
