//! `[[service.NAME.backend]]`, and the rules between a service, its VIPs and its backends.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use super::Validator;
use crate::config::file::{FileBackend, OneOrMany};
use crate::config::locate::{Complaint, Path};
use crate::config::{Backend, Service, Vip};
use crate::model::{AdminState, BackendName, Family, Mode, Protocol, ServiceName, VipName, Weight};

/// By this a service is found: no two services may have one in common.
pub(super) type Entrance = (IpAddr, u16, Protocol);

/// What the backends before this one have taken, and where.
#[derive(Default)]
struct Taken {
    names: BTreeMap<BackendName, Path>,
    addresses: BTreeMap<SocketAddr, Path>,
}

impl Validator<'_> {
    /// The backends of a service, all of them or none.
    pub(super) fn backends(
        &mut self,
        path: &Path,
        file: &[FileBackend],
        vips: &BTreeMap<VipName, Vip>,
    ) -> Option<Vec<Backend>> {
        let mut taken = Taken::default();
        let backends: Vec<Option<Backend>> = file
            .iter()
            .enumerate()
            .map(|(index, file)| self.backend(&path.index(index), file, vips, &mut taken))
            .collect();
        backends.into_iter().collect()
    }

    fn backend(
        &mut self,
        path: &Path,
        file: &FileBackend,
        vips: &BTreeMap<VipName, Vip>,
        taken: &mut Taken,
    ) -> Option<Backend> {
        let name = self.backend_name(&path.key("name"), file.name.as_deref(), taken);
        let addresses = self.backend_addresses(&path.key("address"), file.address.as_ref(), vips, taken);
        let expected = "a whole number from 0 to 256";
        let limits = 0..=i64::from(Weight::MAX);
        let weight: Option<u16> = self.whole(&path.key("weight"), file.weight.unwrap_or(1), limits, expected);
        let state = match &file.state {
            Some(state) => self.parsed(&path.key("state"), state),
            None => Some(AdminState::Ready),
        };
        let max_flows = self.max_flows(path, file.max_flows);
        let names = match &file.names {
            Some(names) => self.names(&path.key("names"), names),
            None => Some(Vec::new()),
        };
        let weight = Weight::new(weight?).ok();
        Some(Backend {
            name: name?,
            addresses: addresses?,
            weight: weight?,
            state: state?,
            max_flows: max_flows?,
            names: names?,
        })
    }

    /// How many flows a service or backend may have.
    pub(super) fn max_flows(&mut self, path: &Path, file: Option<i64>) -> Option<u32> {
        let expected = "a whole number; 0 is as many as come";
        self.whole(&path.key("max_flows"), file.unwrap_or(0), 0..=i64::from(u32::MAX), expected)
    }

    /// Complains about what a service's mode cannot do.
    pub(super) fn forwarding(&mut self, path: &Path, service: &Service) {
        if service.mode.is_served_by_agent() && service.protocol != Protocol::Tcp {
            let wrong = format!("mode \"{}\" is for TCP alone", service.mode);
            let suggestion = "leave the key out, or use mode \"nat\" or \"dsr\"".to_owned();
            self.complain::<()>(&path.key("protocol"), Complaint::new(wrong).suggest(Some(suggestion)));
        }
        if service.keep_source && service.mode != Mode::Nat {
            let wrong = if service.mode == Mode::Dsr {
                "with mode \"dsr\" backends see clients' addresses in any case".to_owned()
            } else {
                format!("with mode \"{}\" backends see this node's address", service.mode)
            };
            let suggestion = "leave the key out, or use mode \"nat\"".to_owned();
            self.complain_of_key::<()>(
                &path.key("keep_source"),
                Complaint::new(wrong).suggest(Some(suggestion)),
            );
        }
        self.sessions(path, service);
        if service.mode != Mode::Dsr {
            return;
        }
        for (index, backend) in service.backends.iter().enumerate() {
            let Some(address) = backend.addresses.iter().find(|address| address.port() != service.port)
            else {
                continue;
            };
            let wrong = format!(
                "\"{address}\" has another port than the service: with mode \"dsr\" packets reach the backend as they came"
            );
            let expected = format!("port {}", service.port);
            let path = path.key("backend").index(index).key("address");
            self.complain::<()>(&path, Complaint::new(wrong).expected(expected));
        }
    }

    fn backend_name(&mut self, path: &Path, text: Option<&str>, taken: &mut Taken) -> Option<BackendName> {
        let Some(text) = text else { return self.missing(path, "a name such as \"web1\"") };
        let name: BackendName = self.parsed(path, text)?;
        if let Some(other) = taken.names.get(&name) {
            let wrong = format!("{text:?} is the name of another backend of this service, at {other}");
            return self.complain(path, Complaint::new(wrong).expected("a name of its own"));
        }
        taken.names.insert(name.clone(), path.clone());
        Some(name)
    }

    fn backend_addresses(
        &mut self,
        path: &Path,
        file: Option<&OneOrMany<String>>,
        vips: &BTreeMap<VipName, Vip>,
        taken: &mut Taken,
    ) -> Option<Vec<SocketAddr>> {
        let expected = "an address and port such as \"10.80.0.21:80\", or one of each family in a list";
        let Some(texts) = file else { return self.missing(path, expected) };
        let entries = texts.entries(path);
        if entries.is_empty() {
            return self.complain(path, Complaint::new("the list is empty").expected(expected));
        }
        let mut addresses: Vec<SocketAddr> = Vec::new();
        let mut whole = true;
        for (path, text) in entries {
            match self.backend_address(&path, text, &addresses, vips, taken) {
                Some(address) => addresses.push(address),
                None => whole = false,
            }
        }
        whole.then_some(addresses)
    }

    fn backend_address(
        &mut self,
        path: &Path,
        text: &str,
        before: &[SocketAddr],
        vips: &BTreeMap<VipName, Vip>,
        taken: &mut Taken,
    ) -> Option<SocketAddr> {
        let address = self.endpoint(path, text)?;
        if let Some((vip, _)) = vips.iter().find(|(_, vip)| vip.addresses.contains(&address.ip())) {
            let wrong =
                format!("{text:?} is an address of VIP {vip}: its flows would come back here for ever");
            return self.complain(path, Complaint::new(wrong).expected("the address of a real server"));
        }
        if let Some(other) = taken.addresses.get(&address) {
            let wrong = format!("{text:?} is the address of another backend of this service, at {other}");
            let suggestion = "to give a server a larger share, raise its weight".to_owned();
            return self.complain(path, Complaint::new(wrong).suggest(suggestion));
        }
        let family = Family::of(address.ip());
        if before.iter().any(|other| Family::of(other.ip()) == family) {
            let wrong = format!("{text:?} is a second {} address of this backend", family.title());
            return self.complain(path, Complaint::new(wrong).expected("at most one of each family"));
        }
        taken.addresses.insert(address, path.clone());
        Some(address)
    }

    /// Complains when another service has the same VIP address, port and protocol.
    pub(super) fn clashes(
        &mut self,
        path: &Path,
        service: &Service,
        vips: &BTreeMap<VipName, Vip>,
        taken: &mut BTreeMap<Entrance, ServiceName>,
    ) {
        let mut told = false;
        for name in &service.vips {
            for address in vips.get(name).map(|vip| vip.addresses.as_slice()).unwrap_or_default() {
                let entrance = (*address, service.port, service.protocol);
                let Some(other) = taken.get(&entrance) else {
                    taken.insert(entrance, service.name.clone());
                    continue;
                };
                // Once is enough when two services have several VIPs in common.
                if !told {
                    let wrong = format!(
                        "service {other} has port {} of VIP {name} ({address}, {}) already",
                        service.port, service.protocol
                    );
                    self.complain::<()>(
                        &path.key("port"),
                        Complaint::new(wrong).expected("another port or VIP"),
                    );
                }
                told = true;
            }
        }
    }

    /// Complains when a VIP has a family that no backend has.
    ///
    /// A service without any backend is fine: its backends come later.
    pub(super) fn families(&mut self, path: &Path, service: &Service, vips: &BTreeMap<VipName, Vip>) {
        if service.backends.is_empty() {
            return;
        }
        for family in [Family::V4, Family::V6] {
            let has = |name: &VipName| {
                vips.get(name)
                    .is_some_and(|vip| vip.addresses.iter().any(|address| Family::of(*address) == family))
            };
            let Some(vip) = service.vips.iter().find(|name| has(name)) else { continue };
            if service.backends.iter().any(|backend| backend.address(family).is_some()) {
                continue;
            }
            let title = family.title();
            let wrong = format!("VIP {vip} has an {title} address and no backend of the service has one");
            let expected = format!("a backend with an {title} address, or a VIP without one");
            self.complain::<()>(&path.key("vips"), Complaint::new(wrong).expected(expected));
        }
    }
}
