//! The files of TLS that services name: read when a configuration is taken over and when they change.
//!
//! Owns what of them is in force. A change of the configuration with files that are of no use is refused; where files change under a running
//! service and are of no use, or no longer good, what was read before stays in force and that is said. An agent that starts with such
//! files serves everything else.

mod judgement;

use super::change::invalid;
use super::state::Agent;
use crate::api::{ApiError, EventKind, ReloadedService, TlsView};
use crate::config::{BackendTls, Config, Service, TlsTerms};
use crate::io::proxy::{ServiceCounts, TlsClient, TlsServer};
use crate::io::sync::read_key;
use crate::io::tls::{self, Client, Server, Stamps, TicketSecret, TlsError};
use crate::model::ServiceName;
use judgement::{NotGood, certificate_view, ending, missing, not_good_now};
use rustls::pki_types::ServerName;
use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, SystemTime};

/// The files of one service.
struct Held {
    tls: Option<TlsTerms>,
    backend_tls: Option<BackendTls>,
    server: Option<Server>,
    client: Option<Client>,
    /// What the files were like when they were last looked at.
    stamps: Stamps,
    /// They are others than those, and may still be written.
    changing: Option<Stamps>,
    /// Why those that are there are not in force.
    trouble: Option<String>,
    /// When the same files will be good, since 1970.
    good_from: Option<Duration>,
}

impl Held {
    fn is_of(&self, tls: Option<&TlsTerms>, backend_tls: Option<&BackendTls>) -> bool {
        self.tls.as_ref() == tls && self.backend_tls.as_ref() == backend_tls
    }
}

/// The files of all services.
pub(super) struct Certificates {
    /// What the keys of session tickets are made of.
    secret: Vec<u8>,
    services: BTreeMap<ServiceName, Held>,
    /// What a service had before it was changed or removed: a change that is taken back needs no file for that.
    set_aside: BTreeMap<ServiceName, Held>,
}

impl Certificates {
    /// Of nobody yet. Nodes that share flows share tickets, by the same key.
    pub(super) fn new(config: &Config) -> Self {
        let shared = config.sync.as_ref().and_then(|sync| read_key(&sync.key_file).ok());
        let secret = shared.map_or_else(random, |key| {
            // Of the key, and no way back to it.
            let mut sealed = b"TLS session tickets".to_vec();
            key.seal(&mut sealed);
            sealed
        });
        Self { secret, services: BTreeMap::new(), set_aside: BTreeMap::new() }
    }

    fn read(&self, name: &ServiceName, tls: Option<&TlsTerms>, backend_tls: Option<&BackendTls>) -> Held {
        let files = tls.into_iter().flat_map(TlsTerms::files);
        let stamps = Stamps::of(files.chain(backend_tls.map(|tls| tls.ca.as_path())));
        let secret = TicketSecret::new(&self.secret, name.as_str());
        let in_force = self.services.get(name).and_then(|held| held.server.as_ref());
        let in_force = in_force.map_or(&[][..], |server| &server.certificates);
        let server = tls.map(|tls| tls::server(tls, &secret, in_force)).transpose();
        let client = backend_tls.map(tls::client).transpose();
        let (server, trouble) = or_trouble(server);
        let (client, more) = or_trouble(client);
        Held {
            tls: tls.cloned(),
            backend_tls: backend_tls.cloned(),
            server,
            client,
            stamps,
            changing: None,
            trouble: trouble.or(more),
            good_from: None,
        }
    }

    fn follow_service(&mut self, service: &Service) -> Option<&Held> {
        let (tls, backend_tls) = (service.tls.as_ref(), service.backend_tls.as_ref());
        if tls.is_none() && backend_tls.is_none() {
            return None;
        }
        let is_known = |held: &Held| held.is_of(tls, backend_tls);
        if !self.services.get(&service.name).is_some_and(is_known) {
            let before = self.set_aside.remove(&service.name).filter(is_known);
            let held = before.unwrap_or_else(|| self.read(&service.name, tls, backend_tls));
            if let Some(replaced) = self.services.insert(service.name.clone(), held) {
                self.set_aside.insert(service.name.clone(), replaced);
            }
        }
        self.services.get(&service.name)
    }

    /// Reads what is new in a configuration, and forgets what is not in it any more. What is of no use is said, as places in the file say
    /// it.
    pub(super) fn follow(&mut self, config: &Config) -> Vec<String> {
        let is_gone = |name: &&ServiceName| !config.services.contains_key(*name);
        let gone: Vec<_> = self.services.keys().filter(is_gone).cloned().collect();
        for name in gone {
            self.set_service_aside(&name);
        }
        let mut troubles = Vec::new();
        for service in config.services.values() {
            match self.follow_service(service) {
                None => self.set_service_aside(&service.name),
                Some(held) => {
                    troubles
                        .extend(held.trouble.as_ref().map(|why| format!("service.{}: {why}", service.name)));
                }
            }
        }
        troubles
    }

    fn set_service_aside(&mut self, name: &ServiceName) {
        if let Some(held) = self.services.remove(name) {
            self.set_aside.insert(name.clone(), held);
        }
    }

    /// Why files as they are now are not in force, of the first service that has such.
    pub(super) fn trouble(&self) -> Option<String> {
        self.services
            .iter()
            .find_map(|(name, held)| Some(format!("service.{name}: {}", held.trouble.as_ref()?)))
    }

    /// Whether a configuration's files can be taken as they are; nothing is kept.
    fn check(&self, config: &Config) -> Result<(), String> {
        for service in config.services.values() {
            let (tls, backend_tls) = (service.tls.as_ref(), service.backend_tls.as_ref());
            let held = self.services.get(&service.name);
            if tls.is_none() && backend_tls.is_none() || held.is_some_and(|held| held.is_of(tls, backend_tls))
            {
                continue;
            }
            let read = self.read(&service.name, tls, backend_tls);
            let in_force = held.and_then(|held| held.server.as_ref());
            let not_good = || Some(not_good_now(read.server.as_ref()?, in_force)?.why);
            if let Some(why) = read.trouble.clone().or_else(not_good) {
                return Err(format!("service.{}: {why}", service.name));
            }
        }
        Ok(())
    }

    /// How a service's TLS with clients ends; an error is one that cannot be served now.
    pub(super) fn server(&self, service: &Service) -> Result<Option<TlsServer>, ()> {
        if service.tls.is_none() {
            return Ok(None);
        }
        let held = self.services.get(&service.name).and_then(|held| held.server.as_ref()).ok_or(())?;
        Ok(Some(TlsServer(held.config.clone())))
    }

    /// The same for TLS with backends.
    pub(super) fn client(&self, service: &Service) -> Result<Option<TlsClient>, ()> {
        let Some(terms) = &service.backend_tls else { return Ok(None) };
        let held = self.services.get(&service.name).and_then(|held| held.client.as_ref()).ok_or(())?;
        let server_name = terms.server_name.clone().map(ServerName::try_from).transpose().map_err(|_| ())?;
        Ok(Some(TlsClient { config: held.config.clone(), server_name }))
    }

    /// What is wrong, in words.
    pub(super) fn warnings(&self) -> impl Iterator<Item = String> + '_ {
        let now = now();
        self.services.iter().flat_map(move |(name, held)| {
            let trouble = held.trouble.iter().map(move |why| format!("service {name}: {why}"));
            let certificates = held.server.iter().flat_map(|server| &server.certificates);
            let ending = certificates.filter_map(move |certificate| {
                let end = ending(certificate, now)?;
                Some(format!("service {name}: {}: the certificate {end}", certificate.file.display()))
            });
            trouble.chain(ending).chain(missing(name, held))
        })
    }

    /// What there is to see of a service's TLS.
    pub(super) fn view(&self, service: &Service, counts: &ServiceCounts) -> Option<TlsView> {
        service.tls.as_ref()?;
        let held = self.services.get(&service.name);
        let certificates = held.and_then(|held| held.server.as_ref()).map(|server| &server.certificates);
        Some(TlsView {
            full_handshakes: counts.full_handshakes,
            resumed_handshakes: counts.resumed_handshakes,
            certificates: certificates.into_iter().flatten().map(certificate_view).collect(),
            trouble: held.and_then(|held| held.trouble.clone()),
        })
    }

    /// Reads the files of one service again, and takes them if they are good. What came of it, in words; `true` is good.
    fn read_again(&mut self, name: &ServiceName) -> (bool, String) {
        let Some(held) = self.services.get(name) else {
            return (true, "there is nothing to read".to_owned());
        };
        let read = self.read(name, held.tls.as_ref(), held.backend_tls.as_ref());
        let unusable = |why| NotGood { why, until: None };
        let not_good = || not_good_now(read.server.as_ref()?, held.server.as_ref());
        let why = read.trouble.clone().map(unusable).or_else(not_good);
        let Some(held) = self.services.get_mut(name) else { return (true, String::new()) };
        let Some(NotGood { why, until }) = why else {
            *held = read;
            return (true, "read anew".to_owned());
        };
        let before =
            if held.server.is_some() || held.client.is_some() { "; what was read before stays" } else { "" };
        let why = format!("{why}{before}");
        (held.stamps, held.changing, held.trouble) = (read.stamps, None, Some(why.clone()));
        held.good_from = until;
        (false, why)
    }

    /// Services whose files have changed and are not being written any more, or have become good meanwhile.
    fn changed(&mut self, now: Duration) -> Vec<ServiceName> {
        let mut changed = Vec::new();
        for (name, held) in &mut self.services {
            let stamps = held.stamps.now();
            if stamps == held.stamps && held.good_from.take_if(|from| *from <= now).is_some() {
                changed.push(name.clone());
            } else if stamps == held.stamps {
                held.changing = None;
            } else if held.changing.as_ref() == Some(&stamps) {
                changed.push(name.clone());
            } else {
                held.changing = Some(stamps);
            }
        }
        changed
    }
}

fn or_trouble<T>(read: Result<Option<T>, TlsError>) -> (Option<T>, Option<String>) {
    match read {
        Ok(read) => (read, None),
        Err(error) => (None, Some(error.to_string())),
    }
}

fn random() -> Vec<u8> {
    let mut bytes = vec![0; 32];
    // Without randomness no TLS works at all, and sessions of this start are not gone on with by chance.
    if let Err(error) = getrandom::fill(&mut bytes) {
        tracing::error!(%error, "no random numbers");
    }
    bytes
}

pub(super) fn now() -> Duration {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default()
}

/// Whether the files of TLS that a configuration names can be used, if not for much longer.
pub(super) fn check_readable(config: &Config) -> Result<(), String> {
    let mut certificates =
        Certificates { secret: Vec::new(), services: BTreeMap::new(), set_aside: BTreeMap::new() };
    certificates.follow(config).into_iter().next().map_or(Ok(()), Err)
}

/// Reads the files of TLS that a configuration names, and throws them away: are they right?
pub(super) fn check_files(config: &Config) -> Result<(), String> {
    Certificates { secret: Vec::new(), services: BTreeMap::new(), set_aside: BTreeMap::new() }.check(config)
}

impl Agent {
    /// Reads the files for the first time. What is wrong with them is no reason not to serve everything else.
    pub(super) fn first_certificates(&mut self) {
        for trouble in self.certificates.follow(&self.config) {
            self.journal
                .record(EventKind::Warning, format!("{trouble}; it is not served until the file is right"));
        }
        for warning in key_warnings(&self.config) {
            self.journal.record(EventKind::Warning, warning);
        }
    }

    /// Reads the files that the configuration names: of TLS, and with passwords.
    pub(super) fn follow_files(&mut self) {
        // They have been checked; what went wrong since is told with the other warnings.
        self.certificates.follow(&self.config);
        self.follow_databases();
    }

    /// Refuses a configuration whose files are of no use.
    pub(super) fn check_certificates(&self, config: &Config) -> Result<(), ApiError> {
        self.certificates.check(config).map_err(invalid)
    }

    /// Reads files that have changed.
    pub(super) fn watch_certificates(&mut self) {
        let changed = self.certificates.changed(now());
        if !changed.is_empty() {
            self.read_certificates(changed);
        }
    }

    /// Reads the certificate in a file, which is new.
    pub(super) fn read_certificates_in(&mut self, file: &Path) {
        let names_it = |held: &Held| held.tls.as_ref().is_some_and(|tls| tls.files().any(|one| one == file));
        let services = self.certificates.services.iter().filter(|(_, held)| names_it(held));
        self.read_certificates(services.map(|(name, _)| name.clone()).collect());
    }

    /// Reads all files again, changed or not.
    pub(super) fn reload_certificates(&mut self) -> Vec<ReloadedService> {
        self.issuing.try_at_once();
        let all = self.certificates.services.keys().cloned().collect();
        self.read_certificates(all)
    }

    fn read_certificates(&mut self, services: Vec<ServiceName>) -> Vec<ReloadedService> {
        let mut reloaded = Vec::new();
        for service in services {
            let (is_good, outcome) = self.certificates.read_again(&service);
            let kind = if is_good { EventKind::ConfigChanged } else { EventKind::Warning };
            self.journal.record(kind, format!("service {service}: certificates: {outcome}"));
            reloaded.push(ReloadedService { service, reloaded: is_good, outcome });
        }
        self.follow_proxied();
        reloaded
    }
}

/// The file of a key must not be readable for others; said where it is.
fn key_warnings(config: &Config) -> Vec<String> {
    let terms = config.services.values().filter_map(|service| Some((&service.name, service.tls.as_ref()?)));
    let keys =
        terms.flat_map(|(name, terms)| terms.certificates.iter().map(move |one| (name, one.key_file())));
    keys.filter(|(_, file)| is_open(file))
        .map(|(name, file)| {
            format!("service {name}: {}: everybody may read this key (chmod 600)", file.display())
        })
        .collect()
}

fn is_open(file: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    std::fs::metadata(file).is_ok_and(|found| found.permissions().mode() & 0o004 != 0)
}

#[cfg(test)]
mod tests;
