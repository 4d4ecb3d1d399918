//! Files that change under what is in force.

use super::*;
use rcgen::{CertificateParams, KeyPair, date_time_ymd};
use std::fs;
use std::ops::Range;
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
        self.issue_for(&["web"], file, 1975..until);
    }

    fn issue_for(&self, names: &[&str], file: &str, good: Range<i32>) {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut parameters = CertificateParams::new(names).expect("names");
        parameters.not_before = date_time_ymd(good.start, 1, 1);
        parameters.not_after = date_time_ymd(good.end, 1, 1);
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

impl Folder {
    /// A configuration that asks an authority for one for these names.
    fn asking(&self, names: &str, folder: &str, directory: &str) -> Config {
        let text = format!(
            "[node]\nname = \"lb1\"\ninterfaces = [\"eth0\"]\n[vip.A]\naddress = \"10.80.0.100\"\n[acme]\n\
             terms_of_service_agreed = true\nfolder = \"{}\"\ndirectory = \"https://{directory}/\"\n[service.web]\nvips = \"A\"\n\
             port = 443\nmode = \"tls\"\n[[service.web.tls.certificate]]\nacme = [{names}]\n",
            self.path(folder).display()
        );
        Config::parse(&text, "lbctl.toml").expect("a configuration")
    }
}

/// Where a configuration keeps what it asks for.
fn asked_file(config: &Config) -> PathBuf {
    let terms = config.services[&web()].tls.as_ref().expect("terms");
    let file = terms.asked_for().next().expect("a certificate").file.clone();
    fs::create_dir_all(file.parent().expect("a folder")).expect("made");
    file
}

fn shown(certificates: &Certificates) -> Vec<PathBuf> {
    let server = certificates.services[&web()].server.as_ref().expect("it is served");
    server.certificates.iter().map(|one| one.file.clone()).collect()
}

fn web() -> ServiceName {
    "web".parse().expect("a name")
}

fn in_force(certificates: &Certificates, config: &Config) -> TlsServer {
    certificates.server(&config.services[&web()]).expect("it is served").expect("with TLS")
}

/// Two looks: one that sees a change, one that sees that it is over.
fn changed(certificates: &mut Certificates) -> bool {
    certificates.changed(now());
    !certificates.changed(now()).is_empty()
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
    assert!(certificates.changed(now()).is_empty(), "it may still be written");
    assert_eq!(certificates.changed(now()), [web()]);
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

#[test]
fn a_certificate_of_an_authority_whose_file_is_gone_or_damaged_stays_in_force() {
    let folder = Folder::new();
    let config = folder.asking("\"a.org\"", "acme", "ca");
    let file = asked_file(&config);
    folder.issue_for(&["a.org"], file.to_str().expect("text"), 2020..2040);
    let mut certificates = Certificates::new(&config);
    assert_eq!(certificates.follow(&config), Vec::<String>::new());
    for damage in [|file: &PathBuf| fs::remove_file(file), |file: &PathBuf| fs::write(file, "damaged")] {
        damage(&file).expect("damaged");
        certificates.read_again(&web());
        assert_eq!(shown(&certificates), std::slice::from_ref(&file));
    }
    // Nor does another place, authority or list of names take it away before there is another one.
    let mut before = file;
    for (names, folder_name, directory) in [
        ("\"a.org\"", "other", "ca"),
        ("\"a.org\"", "other", "staging"),
        ("\"a.org\", \"b.org\"", "acme", "ca"),
    ] {
        let config = folder.asking(names, folder_name, directory);
        assert_eq!(certificates.check(&config), Ok(()));
        assert_eq!(certificates.follow(&config), Vec::<String>::new());
        assert_eq!(shown(&certificates), std::slice::from_ref(&before), "{names} {folder_name} {directory}");
        let warnings: Vec<String> = certificates.warnings().collect();
        assert!(warnings.iter().any(|warning| warning.ends_with("is shown meanwhile")), "{warnings:?}");
        before = asked_file(&config);
        folder.issue_for(&["a.org"], before.to_str().expect("text"), 2021..2041);
        certificates.read_again(&web());
        assert_eq!(certificates.warnings().count(), 0);
    }
}

#[test]
fn a_certificate_that_no_authority_has_given_out_is_told_and_one_that_has_expired_does_not_stand_in() {
    let folder = Folder::new();
    let config = folder.asking("\"a.org\"", "acme", "ca");
    let old = asked_file(&config).with_file_name("old.pem");
    folder.issue_for(&["a.org"], old.to_str().expect("text"), 2000..2001);
    let mut certificates = Certificates::new(&config);
    assert_eq!(certificates.check(&config), Ok(()), "it is no reason to refuse a change");
    certificates.follow(&config);
    assert_eq!(shown(&certificates), Vec::<PathBuf>::new());
    let warnings: Vec<String> = certificates.warnings().collect();
    let told = "service web: there is no certificate for a.org yet; clients that ask for them are refused";
    assert_eq!(warnings, [told]);
}

#[test]
fn a_file_that_is_not_good_yet_is_looked_at_again_when_it_is() {
    let folder = Folder::new();
    folder.issue("ca.pem", 2040);
    folder.issue("web.pem", 2040);
    let config = folder.config("web.pem");
    let mut certificates = Certificates::new(&config);
    certificates.follow(&config);
    folder.issue_for(&["web"], "web.pem", 2100..2110);
    let (is_good, why) = certificates.read_again(&web());
    assert!(!is_good && why.contains("is not good yet"), "{why}");
    let good_from = certificates.services[&web()].good_from.expect("a time");
    assert!(certificates.changed(good_from - Duration::from_secs(1)).is_empty());
    assert_eq!(certificates.changed(good_from), [web()]);
}
