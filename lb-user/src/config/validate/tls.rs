//! `[service.NAME.tls]` and `[service.NAME.backend_tls]`: which files, and what is agreed on.

use super::Validator;
use crate::config::file::{FileBackendTls, FileCertificate, FileTls, OneOrMany};
use crate::config::locate::{Complaint, Path};
use crate::config::{BackendTls, CertificateFiles, ClientCertificates, Service, TlsTerms};
use crate::model::{ClientCertificateMode, Mode, TlsVersion, UnknownName};
use rustls::pki_types::DnsName;
use std::path::PathBuf;

/// What a name in ALPN holds (RFC 7301 §3.1).
const ALPN_BYTES_MAX: usize = 255;

impl Validator<'_> {
    /// How clients' TLS ends; `None` inside is a service that does not end it.
    pub(super) fn tls(
        &mut self,
        path: &Path,
        file: Option<&FileTls>,
        mode: Mode,
    ) -> Option<Option<TlsTerms>> {
        let example = "a table [[service.NAME.tls.certificate]] with the file of a certificate";
        if mode == Mode::Mysql && file.is_none() {
            return Some(None);
        }
        if !matches!(mode, Mode::Tls | Mode::Mysql) {
            let Some(_) = file else { return Some(None) };
            let wrong = format!("with mode \"{mode}\" TLS does not end at this node");
            let suggestion = "set mode = \"tls\", or leave the table out".to_owned();
            return self.complain_of_key(path, Complaint::new(wrong).suggest(Some(suggestion)));
        }
        let Some(file) = file else { return self.missing(&path.key("certificate"), example) };
        let certificates = match file.certificate.as_slice() {
            [] => self.missing(&path.key("certificate"), example),
            files => self.certificates(&path.key("certificate"), files),
        };
        let min_version = match &file.min_version {
            Some(word) => self.parsed(&path.key("min_version"), word),
            None => Some(TlsVersion::V1_2),
        };
        let alpn = match &file.alpn {
            Some(names) => self.alpn(&path.key("alpn"), names),
            None => Some(Vec::new()),
        };
        let unknown_name = match &file.unknown_name {
            Some(word) => self.parsed(&path.key("unknown_name"), word),
            None => Some(UnknownName::Default),
        };
        let client = self.client_certificates(path, file);
        Some(Some(TlsTerms {
            certificates: certificates?,
            min_version: min_version?,
            alpn: alpn?,
            unknown_name: unknown_name?,
            client: client?,
        }))
    }

    fn certificates(&mut self, path: &Path, files: &[FileCertificate]) -> Option<Vec<CertificateFiles>> {
        let example = "/etc/lbctl/tls/example.org.pem";
        let mut all = Some(Vec::new());
        for (index, entry) in files.iter().enumerate() {
            let path = path.index(index);
            if let Some(names) = &entry.acme {
                match (self.asked_for(&path, (entry, names)), &mut all) {
                    (Some(files), Some(all)) => all.push(files),
                    _ => all = None,
                }
                continue;
            }
            let file = match &entry.file {
                Some(text) => self.absolute(&path.key("file"), text, example),
                None => self.missing(
                    &path.key("file"),
                    "the path of a certificate in PEM, with those that lead to its authority",
                ),
            };
            let key =
                self.optional_file(&path.key("key"), entry.key.as_deref(), "/etc/lbctl/tls/example.org.key");
            match (file, key, &mut all) {
                (Some(file), Some(key), Some(all)) => {
                    all.push(CertificateFiles { file, key, acme: Vec::new() })
                }
                _ => all = None,
            }
        }
        all
    }

    fn optional_file(&mut self, path: &Path, text: Option<&str>, example: &str) -> Option<Option<PathBuf>> {
        text.map_or(Some(None), |text| self.absolute(path, text, example).map(Some))
    }

    fn alpn(&mut self, path: &Path, names: &OneOrMany<String>) -> Option<Vec<String>> {
        let expected = "names of protocols such as [\"h2\", \"http/1.1\"], the dearest first";
        let mut all: Vec<String> = Vec::new();
        let mut is_whole = true;
        for (path, name) in names.entries(path) {
            let wrong = match name.len() {
                0 => "is empty",
                bytes if bytes > ALPN_BYTES_MAX => "is too long",
                _ if all.contains(name) => "is in the list twice",
                _ => {
                    all.push(name.clone());
                    continue;
                }
            };
            is_whole = false;
            self.complain::<()>(&path, Complaint::new(format!("{name:?} {wrong}")).expected(expected));
        }
        is_whole.then_some(all)
    }

    fn client_certificates(&mut self, path: &Path, file: &FileTls) -> Option<Option<ClientCertificates>> {
        let Some(ca) = &file.client_ca else {
            let given = [
                ("client_crl", file.client_crl.is_some()),
                ("client_certificate", file.client_certificate.is_some()),
            ];
            let Some((key, _)) = given.into_iter().find(|(_, given)| *given) else { return Some(None) };
            let wrong = format!("{key} means nothing without client_ca");
            let suggestion = "name the authorities of clients' certificates in client_ca".to_owned();
            return self.complain_of_key(&path.key(key), Complaint::new(wrong).suggest(Some(suggestion)));
        };
        let ca = self.absolute(&path.key("client_ca"), ca, "/etc/lbctl/tls/clients-ca.pem");
        let crl = file.client_crl.as_deref();
        let crl = self.optional_file(&path.key("client_crl"), crl, "/etc/lbctl/tls/clients-crl.pem");
        let mode = match &file.client_certificate {
            Some(word) => self.parsed(&path.key("client_certificate"), word),
            None => Some(ClientCertificateMode::Required),
        };
        Some(Some(ClientCertificates { ca: ca?, crl: crl?, mode: mode? }))
    }

    /// TLS with backends; `None` inside is none.
    pub(super) fn backend_tls(
        &mut self,
        path: &Path,
        file: Option<&FileBackendTls>,
        mode: Mode,
    ) -> Option<Option<BackendTls>> {
        let Some(file) = file else { return Some(None) };
        if !matches!(mode, Mode::Tcp | Mode::Tls | Mode::Mysql) {
            let wrong = format!("with mode \"{mode}\" this node does not connect to backends itself");
            let suggestion = "set mode = \"tcp\" or \"tls\", or leave the table out".to_owned();
            return self.complain_of_key(path, Complaint::new(wrong).suggest(Some(suggestion)));
        }
        let ca = match &file.ca {
            Some(text) => self.absolute(&path.key("ca"), text, "/etc/ssl/certs/ca-certificates.crt"),
            None => self.missing(
                &path.key("ca"),
                "the path of the authorities that backends' certificates lead to, in PEM",
            ),
        };
        let server_name = match &file.server_name {
            Some(name) => self.server_name(&path.key("server_name"), name).map(Some),
            None => Some(None),
        };
        Some(Some(BackendTls { ca: ca?, server_name: server_name? }))
    }

    /// Names in TLS, each of which may begin with `*.`.
    pub(super) fn names(&mut self, path: &Path, names: &OneOrMany<String>) -> Option<Vec<String>> {
        let mut all: Vec<String> = Vec::new();
        let mut is_whole = true;
        for (path, name) in names.entries(path) {
            let host = name.strip_prefix("*.").unwrap_or(name);
            // Upper and lower case are one.
            let known = name.to_ascii_lowercase();
            if self.server_name(&path, host).is_none() {
                is_whole = false;
            } else if all.contains(&known) {
                is_whole = false;
                self.complain::<()>(&path, Complaint::new(format!("{name:?} is in the list twice")));
            } else {
                all.push(known);
            }
        }
        is_whole.then_some(all)
    }

    /// Complains about what a service has that its mode has no use for: names in TLS, and everything about backends.
    pub(super) fn sessions(&mut self, path: &Path, service: &Service) {
        for (index, backend) in service.backends.iter().enumerate() {
            if !backend.names.is_empty() && !matches!(service.mode, Mode::Tcp | Mode::Tls) {
                let wrong =
                    format!("with mode \"{}\" nobody looks at the name that is asked for", service.mode);
                let suggestion = "set mode = \"tcp\" or \"tls\", or leave the key out".to_owned();
                let path = path.key("backend").index(index).key("names");
                self.complain_of_key::<()>(&path, Complaint::new(wrong).suggest(Some(suggestion)));
            }
        }
        if service.mode.has_backends() {
            return;
        }
        let given = [("backend", !service.backends.is_empty()), ("health", service.health.is_some())];
        for (key, _) in given.into_iter().filter(|(_, given)| *given) {
            let wrong =
                format!("with mode \"{}\" a service has no backends: it answers itself", service.mode);
            let suggestion = "leave it out".to_owned();
            self.complain_of_key::<()>(&path.key(key), Complaint::new(wrong).suggest(Some(suggestion)));
        }
    }

    /// Where requests are sent; `None` inside is another mode.
    pub(super) fn https_port(&mut self, path: &Path, file: Option<i64>, mode: Mode) -> Option<Option<u16>> {
        if mode == Mode::RedirectHttps {
            return self.port(path, file.unwrap_or(443)).map(Some);
        }
        if file.is_none() {
            return Some(None);
        }
        let wrong = format!("with mode \"{mode}\" no request is sent elsewhere");
        let suggestion = "set mode = \"redirect-https\", or leave the key out".to_owned();
        self.complain_of_key(path, Complaint::new(wrong).suggest(Some(suggestion)))
    }

    fn server_name(&mut self, path: &Path, name: &str) -> Option<String> {
        // As the library sees it that will compare it with certificates.
        if DnsName::try_from(name).is_ok() {
            return Some(name.to_owned());
        }
        let complaint = Complaint::new(format!("{name:?} is not a host's name"));
        self.complain(path, complaint.expected("a name such as \"web.example.org\""))
    }
}
