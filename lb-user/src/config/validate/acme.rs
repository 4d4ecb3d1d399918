//! `[acme]`, and the names that certificates are asked of it for.

use super::Validator;
use crate::config::acme::{Acme, DEFAULT_ACME_DIRECTORY, DEFAULT_ACME_FOLDER, acme_file};
use crate::config::file::{FileAcme, FileCertificate, OneOrMany};
use crate::config::locate::{Complaint, Path};
use crate::config::{CertificateFiles, Service};
use crate::model::{AcmeChallenge, Mode, ServiceName};
use std::collections::BTreeMap;

/// As many names as Let's Encrypt gives one certificate for.
const NAMES_MAX: usize = 100;

impl Validator<'_> {
    pub(super) fn acme(&mut self, file: &FileAcme) -> Option<Acme> {
        let path = Path::of(&["acme"]);
        let directory = match file.directory.as_deref() {
            None => Some(DEFAULT_ACME_DIRECTORY.to_owned()),
            Some(url) if is_https(url) => Some(url.to_owned()),
            Some(url) => {
                let complaint = Complaint::new(format!("{url:?} is no address of HTTPS"));
                self.complain(&path.key("directory"), complaint.expected(DEFAULT_ACME_DIRECTORY))
            }
        };
        let contact = match &file.contact {
            Some(contact) => self.contact(&path.key("contact"), contact),
            None => Some(Vec::new()),
        };
        let challenge = match &file.challenge {
            Some(word) => self.parsed(&path.key("challenge"), word),
            None => Some(AcmeChallenge::TlsAlpn01),
        };
        let folder = file.folder.as_deref().unwrap_or(DEFAULT_ACME_FOLDER);
        let folder = self.absolute(&path.key("folder"), folder, DEFAULT_ACME_FOLDER);
        let ca = match &file.ca {
            Some(text) => self.absolute(&path.key("ca"), text, "/etc/lbctl/acme-ca.pem").map(Some),
            None => Some(None),
        };
        let agreed = match file.terms_of_service_agreed {
            Some(true) => Some(()),
            _ => {
                let key = path.key("terms_of_service_agreed");
                let wrong =
                    "nobody gets a certificate who does not agree to the authority's terms of service";
                let suggestion = "read them, and write terms_of_service_agreed = true".to_owned();
                let complaint = Complaint::new(wrong).suggest(Some(suggestion));
                self.complain(&key, complaint)
            }
        };
        agreed?;
        Some(Acme {
            directory: directory?,
            contact: contact?,
            challenge: challenge?,
            folder: folder?,
            ca: ca?,
        })
    }

    /// Whoever asks for proof over HTTP must find somebody who answers.
    pub(super) fn challenges_reach_us(&mut self, acme: &Acme, services: &BTreeMap<ServiceName, Service>) {
        let mut terms = services.values().filter_map(|service| service.tls.as_ref());
        let wanted = terms.any(|tls| tls.asked_for().next().is_some());
        let answers = services.values().any(|service| service.mode == Mode::RedirectHttps);
        if acme.challenge == AcmeChallenge::Http01 && wanted && !answers {
            let wrong = "no service answers requests over HTTP for the authority";
            let suggestion =
                "add one with mode = \"redirect-https\" at port 80, or write challenge = \"tls-alpn-01\"";
            let complaint = Complaint::new(wrong).suggest(Some(suggestion.to_owned()));
            self.complain::<()>(&Path::of(&["acme"]).key("challenge"), complaint);
        }
    }

    fn contact(&mut self, path: &Path, contact: &OneOrMany<String>) -> Option<Vec<String>> {
        let mut all = Some(Vec::new());
        for (path, text) in contact.entries(path) {
            let is_address = text.strip_prefix("mailto:").is_some_and(|rest| rest.contains('@'));
            match (is_address && text.bytes().all(|byte| byte.is_ascii_graphic()), &mut all) {
                (true, Some(all)) => all.push(text.clone()),
                (true, None) => {}
                (false, _) => {
                    let complaint = Complaint::new(format!("{text:?} is nobody who can be written to"));
                    self.complain::<()>(
                        &path,
                        complaint.expected("an address such as \"mailto:ops@example.org\""),
                    );
                    all = None;
                }
            }
        }
        all
    }

    /// A certificate that an authority is asked for.
    pub(super) fn asked_for(
        &mut self,
        path: &Path,
        (entry, names): (&FileCertificate, &OneOrMany<String>),
    ) -> Option<CertificateFiles> {
        if entry.file.is_some() || entry.key.is_some() {
            let wrong = "the authority is asked for a certificate that is said to be in a file";
            let suggestion = "leave either acme or file and key out".to_owned();
            return self.complain_of_key(&path.key("acme"), Complaint::new(wrong).suggest(Some(suggestion)));
        }
        let path = path.key("acme");
        let names = self.names(&path, names)?;
        let expected = "names such as [\"example.org\", \"www.example.org\"]";
        let wrong = match names.len() {
            0 => Some("no name is there".to_owned()),
            count if count > NAMES_MAX => Some(format!("{count} names; at most {NAMES_MAX} are in one certificate")),
            _ => names.iter().find(|name| name.starts_with("*.")).map(|name| {
                format!("{name:?}: a certificate for all names below another one is given out for proof in the DNS alone, which this node cannot make")
            }),
        };
        if let Some(wrong) = wrong {
            return self.complain(&path, Complaint::new(wrong).expected(expected));
        }
        match &self.acme_kept {
            Some((folder, directory)) => {
                Some(CertificateFiles { file: acme_file(folder, directory, &names), key: None, acme: names })
            }
            None => {
                let wrong = "nobody is named who gives out certificates";
                let suggestion = "add a table [acme] with terms_of_service_agreed = true".to_owned();
                self.complain(&path, Complaint::new(wrong).suggest(Some(suggestion)))
            }
        }
    }
}

fn is_https(url: &str) -> bool {
    let rest = url.strip_prefix("https://");
    rest.is_some_and(|rest| !rest.is_empty() && rest.bytes().all(|byte| byte.is_ascii_graphic()))
}
