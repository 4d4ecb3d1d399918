//! `[service.NAME]`: what it is reached at, how it is checked, and its backends.

use std::collections::BTreeMap;
use std::time::Duration;

use super::Validator;
use super::backend::Entrance;
use crate::config::error::did_you_mean;
use crate::config::file::{FileHealth, FileService, OneOrMany};
use crate::config::locate::{Complaint, Path};
use crate::config::{CheckKind, DEFAULT_REFUSALS, HealthCheck, Service, Vip};
use crate::model::{AtLimit, DefaultPolicy, Protocol, SchedulerKind, ServiceName, VipName, WhenDown};

impl Validator<'_> {
    /// All services that are right.
    pub(super) fn services(
        &mut self,
        file: &BTreeMap<String, FileService>,
        vips: &BTreeMap<VipName, Vip>,
    ) -> BTreeMap<ServiceName, Service> {
        let mut taken: BTreeMap<Entrance, ServiceName> = BTreeMap::new();
        let mut services = BTreeMap::new();
        for (key, file) in self.in_file_order("service", file) {
            let path = Path::of(&["service", key]);
            let name = self.parsed_key::<ServiceName>(&path, key);
            let Some(service) = self.service(&path, name, file, vips) else { continue };
            self.clashes(&path, &service, vips, &mut taken);
            services.insert(service.name.clone(), service);
        }
        services
    }

    fn service(
        &mut self,
        path: &Path,
        name: Option<ServiceName>,
        file: &FileService,
        vips: &BTreeMap<VipName, Vip>,
    ) -> Option<Service> {
        let vip_names = self.service_vips(&path.key("vips"), file.vips.as_ref(), vips);
        let port = match file.port {
            Some(port) => self.port(&path.key("port"), port),
            None => self.missing(&path.key("port"), "the port the service is reached at, such as 80"),
        };
        let mode = self.mode(&path.key("mode"), file.mode.as_deref());
        let protocol = match &file.protocol {
            Some(word) => self.parsed(&path.key("protocol"), word),
            None => Some(Protocol::Tcp),
        };
        let keep_source = file.keep_source.unwrap_or(false);
        let scheduler = match &file.scheduler {
            Some(word) => self.parsed(&path.key("scheduler"), word),
            None => Some(SchedulerKind::RoundRobin),
        };
        let when_down = match &file.when_down {
            Some(word) => self.parsed(&path.key("when_down"), word),
            None => Some(WhenDown::Reset),
        };
        let default_policy = match &file.default_policy {
            Some(word) => self.parsed(&path.key("default_policy"), word),
            None => Some(DefaultPolicy::Allow),
        };
        let max_flows = self.max_flows(path, file.max_flows);
        let at_limit = match &file.at_limit {
            Some(word) => self.parsed(&path.key("at_limit"), word),
            None => Some(AtLimit::OtherBackend),
        };
        let health = match &file.health {
            Some(health) => self.health(&path.key("health"), health).map(Some),
            None => Some(None),
        };
        let proxy = mode.and_then(|mode| self.proxy(&path.key("proxy"), file.proxy.as_ref(), mode));
        let tls = mode.and_then(|mode| self.tls(&path.key("tls"), file.tls.as_ref(), mode));
        let backend_tls =
            mode.and_then(|mode| self.backend_tls(&path.key("backend_tls"), file.backend_tls.as_ref(), mode));
        let mysql = mode.and_then(|mode| self.mysql(&path.key("mysql"), file.mysql.as_ref(), mode));
        let https_port =
            mode.and_then(|mode| self.https_port(&path.key("https_port"), file.https_port, mode));
        let backends = self.backends(&path.key("backend"), &file.backend, vips);
        let service = Service {
            name: name?,
            vips: vip_names?,
            port: port?,
            protocol: protocol?,
            mode: mode?,
            keep_source,
            scheduler: scheduler?,
            when_down: when_down?,
            default_policy: default_policy?,
            max_flows: max_flows?,
            at_limit: at_limit?,
            proxy: proxy?,
            tls: tls?,
            backend_tls: backend_tls?,
            mysql: mysql?,
            https_port: https_port?,
            health: health?,
            backends: backends?,
        };
        self.families(path, &service, vips);
        self.forwarding(path, &service);
        Some(service)
    }

    fn service_vips(
        &mut self,
        path: &Path,
        file: Option<&OneOrMany<String>>,
        vips: &BTreeMap<VipName, Vip>,
    ) -> Option<Vec<VipName>> {
        let expected = "the names of one or more VIPs such as [\"A\"]";
        let Some(file) = file else { return self.missing(path, expected) };
        let entries = file.entries(path);
        if entries.is_empty() {
            return self.complain(path, Complaint::new("the list is empty").expected(expected));
        }
        let mut names: Vec<VipName> = Vec::new();
        let mut whole = true;
        for (path, text) in entries {
            match self.service_vip(&path, text, vips, &names) {
                Some(name) => names.push(name),
                None => whole = false,
            }
        }
        whole.then_some(names)
    }

    fn service_vip(
        &mut self,
        path: &Path,
        text: &str,
        vips: &BTreeMap<VipName, Vip>,
        before: &[VipName],
    ) -> Option<VipName> {
        let name: VipName = self.parsed(path, text)?;
        if before.contains(&name) {
            return self.complain(path, Complaint::new(format!("{text:?} is in the list twice")));
        }
        // A VIP that is itself wrong has been complained about, and is no reason to complain again.
        if vips.contains_key(&name) || self.source.has(&Path::of(&["vip", text])) {
            return Some(name);
        }
        let complaint = Complaint::new(format!("there is no VIP {text:?}"));
        let known: Vec<&str> = vips.keys().map(VipName::as_str).collect();
        if known.is_empty() {
            return self.complain(path, complaint.expected(format!("a table [vip.{text}] in this file")));
        }
        let suggestion = did_you_mean(text, known.iter().copied());
        self.complain(path, complaint.expected(format!("one of {}", known.join(", "))).suggest(suggestion))
    }

    fn health(&mut self, path: &Path, file: &FileHealth) -> Option<HealthCheck> {
        let kind = self.check_kind(path, file);
        let interval = self.interval(&path.key("interval"), file.interval.as_ref(), Duration::from_secs(2));
        // Nobody who only asks for a shorter interval should have to shorten the timeout too.
        let default = Duration::from_secs(1).min(interval.unwrap_or(Duration::MAX));
        let timeout = self.check_timeout(&path.key("timeout"), file.timeout.as_ref(), default);
        if let (Some(timeout), Some(interval)) = (timeout, interval)
            && timeout > interval
        {
            let time = humantime::format_duration;
            let wrong = format!("\"{}\" is longer than the interval", time(timeout));
            let expected = format!("at most \"{}\"", time(interval));
            self.complain::<()>(&path.key("timeout"), Complaint::new(wrong).expected(expected));
        }
        let in_a_row = "a whole number from 1 to 100";
        let rise = self.whole(&path.key("rise"), file.rise.unwrap_or(2), 1..=100, in_a_row);
        let fall = self.whole(&path.key("fall"), file.fall.unwrap_or(3), 1..=100, in_a_row);
        let refusals = file.refusals.unwrap_or(DEFAULT_REFUSALS.into());
        let expected = "a whole number from 0 (off) to 1000";
        let refusals = self.whole(&path.key("refusals"), refusals, 0..=1000, expected);
        let slow_start = self.span_of_time(&path.key("slow_start"), file.slow_start.as_ref());
        let port = match file.port {
            Some(port) => self.port(&path.key("port"), port).map(Some),
            None => Some(None),
        };
        Some(HealthCheck {
            kind: kind?,
            interval: interval?,
            timeout: timeout?,
            rise: rise?,
            fall: fall?,
            slow_start: slow_start?,
            refusals: refusals?,
            port: port?,
        })
    }

    fn check_kind(&mut self, path: &Path, file: &FileHealth) -> Option<CheckKind> {
        let types = ["tcp", "http"];
        match file.r#type.as_deref() {
            None => self.missing(&path.key("type"), "\"tcp\" or \"http\""),
            Some("http") => self.http_check(path, file),
            Some("tcp") => {
                let given = [
                    ("path", file.path.is_some()),
                    ("expect_status", file.expect_status.is_some()),
                    ("expect_body", file.expect_body.is_some()),
                ];
                for (key, _) in given.into_iter().filter(|(_, given)| *given) {
                    let wrong = format!("a check of type \"tcp\" has no {key}");
                    let suggestion = "set type = \"http\", or leave the key out".to_owned();
                    self.complain_of_key::<()>(&path.key(key), Complaint::new(wrong).suggest(suggestion));
                }
                Some(CheckKind::Tcp)
            }
            Some(other) => {
                let complaint = Complaint::new(format!("{other:?} is not a type of check"))
                    .expected("\"tcp\" or \"http\"")
                    .suggest(did_you_mean(other, types));
                self.complain(&path.key("type"), complaint)
            }
        }
    }

    fn http_check(&mut self, path: &Path, file: &FileHealth) -> Option<CheckKind> {
        let page = file.path.as_deref().unwrap_or("/");
        let page_path = path.key("path");
        let page = if !page.starts_with('/') {
            let complaint = Complaint::new(format!("{page:?} does not begin with '/'"));
            self.complain(&page_path, complaint.expected("a path such as \"/healthz\""))
        } else if !page.bytes().all(|b| b.is_ascii_graphic()) || page.contains('#') {
            let complaint = Complaint::new(format!("{page:?} has characters that a request cannot have"));
            self.complain(&page_path, complaint.expected("visible ASCII characters, others as %XX"))
        } else {
            Some(page.to_owned())
        };
        let expect_status = self.expect_status(&path.key("expect_status"), file.expect_status.as_ref());
        if file.expect_body.as_deref() == Some("") {
            let complaint = Complaint::new("\"\" is in every page").expected("a text to look for");
            let suggestion = "leave the key out to accept any page".to_owned();
            self.complain::<()>(&path.key("expect_body"), complaint.suggest(suggestion));
        }
        Some(CheckKind::Http {
            path: page?,
            expect_status: expect_status?,
            expect_body: file.expect_body.clone(),
        })
    }

    fn expect_status(&mut self, path: &Path, file: Option<&OneOrMany<i64>>) -> Option<Vec<u16>> {
        let Some(file) = file else { return Some(vec![200]) };
        let entries = file.entries(path);
        if entries.is_empty() {
            let complaint = Complaint::new("the list is empty");
            return self.complain(path, complaint.expected("at least one status such as [200]"));
        }
        let mut all = Vec::new();
        let mut whole = true;
        for (path, status) in entries {
            match self.whole(&path, *status, 100..=599, "an HTTP status from 100 to 599") {
                Some(status) => all.push(status),
                None => whole = false,
            }
        }
        whole.then_some(all)
    }
}
