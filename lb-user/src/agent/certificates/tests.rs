//! Files that change under what is in force.

use super::*;
use rcgen::{CertificateParams, KeyPair, date_time_ymd};
use std::fs;
use std::path::PathBuf;
use tempfile::TempDir;

struct Folder(TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a folder"))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// A certificate with its key, good until that year.
    fn issue(&self, file: &str, until: i32) {
        let mut parameters = CertificateParams::new(["web".to_owned()]).expect("a name");
        parameters.not_after = date_time_ymd(until, 1, 1);
        let key = KeyPair::generate().expect("a key");
        let certificate = parameters.self_signed(&key).expect("a certificate");
        fs::write(self.path(file), certificate.pem() + &key.serialize_pem()).expect("written");
    }

    fn config(&self, certificate: &str) -> Config {
        let text = format!(
            "[node]\nname = \"lb1\"\ninterfaces = [\"eth0\"]\n[vip.A]\naddress = \"10.80.0.100\"\n[service.web]\nvips = \"A\"\n\
             port = 443\nmode = \"tls\"\n[service.web.tls]\nclient_ca = \"{}\"\n[[service.web.tls.certificate]]\nfile = \"{}\"\n",
            self.path("ca.pem").display(),
            self.path(certificate).display()
        );
        Config::parse(&text, "lbctl.toml").expect("a configuration")
    }
}

fn web() -> ServiceName {
    "web".parse().expect("a name")
}

fn in_force(certificates: &Certificates, config: &Config) -> TlsServer {
    certificates.server(&config.services[&web()]).expect("it is served").expect("with TLS")
}

/// Two looks: one that sees a change, one that sees that it is over.
fn changed(certificates: &mut Certificates) -> bool {
    certificates.changed();
    !certificates.changed().is_empty()
}

#[test]
fn files_that_changed_are_read_once_they_are_left_alone() {
    let folder = Folder::new();
    folder.issue("ca.pem", 2040);
    folder.issue("web.pem", 2040);
    let config = folder.config("web.pem");
    let mut certificates = Certificates::new(&config);
    assert_eq!(certificates.follow(&config), Vec::<String>::new());
    let before = in_force(&certificates, &config);
    assert!(!changed(&mut certificates));
    folder.issue("web.pem", 2041);
    assert!(certificates.changed().is_empty(), "it may still be written");
    assert_eq!(certificates.changed(), [web()]);
    assert!(certificates.read_again(&web()).0);
    assert!(in_force(&certificates, &config) != before && !changed(&mut certificates));
    // What is of no use is told once, and changes nothing.
    fs::write(folder.path("web.pem"), "").expect("written");
    assert!(changed(&mut certificates));
    let before = in_force(&certificates, &config);
    let (is_good, why) = certificates.read_again(&web());
    assert!(!is_good && why.contains("no certificate in it"), "{why}");
    assert!(in_force(&certificates, &config) == before && !changed(&mut certificates));
    assert!(certificates.trouble().is_some_and(|trouble| trouble.starts_with("service.web: ")));
}

#[test]
fn what_else_has_changed_does_not_wait_for_a_certificate_that_has_expired_in_force() {
    let folder = Folder::new();
    folder.issue("ca.pem", 2040);
    folder.issue("web.pem", 2020);
    let config = folder.config("web.pem");
    let mut certificates = Certificates::new(&config);
    // At a start it is taken, with a warning.
    assert_eq!(certificates.follow(&config), Vec::<String>::new());
    assert!(certificates.warnings().any(|warning| warning.contains("expired")));
    folder.issue("ca.pem", 2041);
    assert!(changed(&mut certificates) && certificates.read_again(&web()).0);
    // Another one that has expired is not.
    folder.issue("web.pem", 2021);
    let (is_good, why) = certificates.read_again(&web());
    assert!(!is_good && why.contains("expired"), "{why}");
    assert!(check_files(&config).is_err() && check_readable(&config).is_ok());
}

#[test]
fn a_change_that_is_taken_back_finds_what_was_in_force_whatever_its_file_is_by_now() {
    let folder = Folder::new();
    for file in ["ca.pem", "old.pem", "new.pem"] {
        folder.issue(file, 2040);
    }
    let (old, new) = (folder.config("old.pem"), folder.config("new.pem"));
    let mut certificates = Certificates::new(&old);
    certificates.follow(&old);
    let before = in_force(&certificates, &old);
    assert_eq!(certificates.check(&new), Ok(()));
    certificates.follow(&new);
    assert!(in_force(&certificates, &new) != before);
    fs::write(folder.path("old.pem"), "").expect("written");
    assert_eq!(certificates.follow(&old), Vec::<String>::new());
    assert!(in_force(&certificates, &old) == before);
    // Nor is one lost that was removed for a while.
    let mut without = old.clone();
    without.services.clear();
    certificates.follow(&without);
    certificates.follow(&old);
    assert!(in_force(&certificates, &old) == before);
}
