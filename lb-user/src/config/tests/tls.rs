//! `[service.NAME.tls]` and `[service.NAME.backend_tls]`.

use crate::config::Config;
use crate::config::diff::diff;
use crate::model::{ClientCertificateMode, TlsVersion, UnknownName};
use std::path::{Path, PathBuf};

const TLS: &str = r#"
[node]
name = "lb1"
interfaces = ["eth0"]
[vip.A]
address = "10.80.0.100"
[service.web-tls]
vips = "A"
port = 443
mode = "tls"
[service.web-tls.tls]
min_version = "1.3"
alpn = ["h2", "http/1.1"]
unknown_name = "refuse"
client_ca = "/etc/ca.pem"
client_crl = "/etc/crl.pem"
client_certificate = "optional"
[[service.web-tls.tls.certificate]]
file = "/etc/one.pem"
[[service.web-tls.tls.certificate]]
file = "/etc/two.pem"
key = "/etc/two.key"
[service.web-tls.backend_tls]
ca = "/etc/inner.pem"
server_name = "web.example.org"
"#;

fn refused(old: &str, new: &str, path: &str, message: &str) {
    assert!(TLS.contains(old), "the example has no {old:?}");
    let errors = Config::parse(&TLS.replacen(old, new, 1), "lbctl.toml").unwrap_err();
    let [error] = errors.as_slice() else { panic!("{new}: not one error but\n{errors}") };
    assert_eq!((error.path.as_str(), error.message().as_str()), (path, message), "{errors}");
}

#[test]
fn a_service_that_ends_tls_says_with_which_files_and_how() {
    let config = Config::parse(TLS, "lbctl.toml").unwrap();
    let service = config.services.values().next().unwrap();
    let tls = service.tls.as_ref().unwrap();
    assert_eq!((tls.min_version, tls.unknown_name), (TlsVersion::V1_3, UnknownName::Refuse));
    assert_eq!(tls.alpn, ["h2", "http/1.1"]);
    let keys: Vec<&Path> = tls.certificates.iter().map(|files| files.key_file()).collect();
    assert_eq!(keys, [Path::new("/etc/one.pem"), Path::new("/etc/two.key")]);
    let client = tls.client.as_ref().unwrap();
    assert_eq!(
        (client.mode, client.crl.clone()),
        (ClientCertificateMode::Optional, Some(PathBuf::from("/etc/crl.pem")))
    );
    let backend = service.backend_tls.as_ref().unwrap();
    assert_eq!(backend.server_name.as_deref(), Some("web.example.org"));
    assert!(service.proxy.is_some(), "its connections end here");
}

#[test]
fn what_is_wrong_with_tls_is_said_where_it_is() {
    let path = "service.web-tls.tls";
    let none = "missing; expected a table [[service.NAME.tls.certificate]] with the file of a certificate";
    let certificates = "[[service.web-tls.tls.certificate]]\nfile = \"/etc/one.pem\"\n[[service.web-tls.tls.certificate]]\n\
                        file = \"/etc/two.pem\"\nkey = \"/etc/two.key\"\n";
    refused(certificates, "", &format!("{path}.certificate"), none);
    let relative = "\"one.pem\" does not begin with '/'; expected a whole path such as \"/etc/lbctl/tls/example.org.pem\"";
    refused("\"/etc/one.pem\"", "\"one.pem\"", &format!("{path}.certificate[0].file"), relative);
    let version = "\"1.1\" is not a version of TLS; expected one of 1.2, 1.3; did you mean \"1.2\"?";
    refused("\"1.3\"", "\"1.1\"", &format!("{path}.min_version"), version);
    let twice = "\"h2\" is in the list twice; expected names of protocols such as [\"h2\", \"http/1.1\"], the dearest first";
    refused("\"http/1.1\"", "\"h2\"", &format!("{path}.alpn[1]"), twice);
    let alone = "client_crl means nothing without client_ca; name the authorities of clients' certificates in client_ca";
    refused("client_ca = \"/etc/ca.pem\"\n", "", &format!("{path}.client_crl"), alone);
    let name = "\"web..org\" is not a host's name; expected a name such as \"web.example.org\"";
    let number = "\"web.1\" is not a host's name; expected a name such as \"web.example.org\"";
    refused("\"web.example.org\"", "\"web.1\"", "service.web-tls.backend_tls.server_name", number);
    refused("\"web.example.org\"", "\"web..org\"", "service.web-tls.backend_tls.server_name", name);
    let mode = "with mode \"tcp\" TLS does not end at this node; set mode = \"tls\", or leave the table out";
    refused("\"tls\"", "\"tcp\"", path, mode);
}

#[test]
fn changes_of_tls_are_told_by_their_keys() {
    let old = Config::parse(TLS, "lbctl.toml").unwrap();
    let text = TLS.replace("\"1.3\"", "\"1.2\"").replace("/etc/two.key", "/etc/new.key");
    let new = Config::parse(&text, "lbctl.toml").unwrap();
    let words: Vec<String> = diff(&old, &new).iter().map(ToString::to_string).collect();
    let wanted = "service web-tls: tls: certificate /etc/one.pem, /etc/two.pem with /etc/two.key → /etc/one.pem, \
                  /etc/two.pem with /etc/new.key, min_version 1.3 → 1.2";
    assert_eq!(words, [wanted]);
}

#[test]
fn backends_may_have_names_where_somebody_looks_at_them() {
    let named = TLS.to_owned()
        + "[[service.web-tls.backend]]\nname = \"web1\"\naddress = \"10.80.0.21:80\"\nnames = [\"A.org\", \"*.b.org\"]\n";
    let config = Config::parse(&named, "lbctl.toml").unwrap();
    let backend = &config.services.values().next().unwrap().backends[0];
    assert_eq!(backend.names, ["a.org", "*.b.org"]);
    assert_eq!(backend.to_string(), "web1 (10.80.0.21:80, weight 1, ready, for a.org, *.b.org)");
    let wrong = |text: &str| Config::parse(text, "lbctl.toml").unwrap_err().to_string();
    let said = wrong(&named.replace("*.b.org", "b.*.org"));
    assert!(said.contains("service.web-tls.backend[0].names[1]: \"b.*.org\" is not a host's name"), "{said}");
    let (head, tables) = named.split_once("mode = \"tls\"\n").unwrap();
    let backend = &tables[tables.find("[[service.web-tls.backend]]").unwrap()..];
    let said = wrong(&format!("{head}{backend}"));
    assert!(said.contains("with mode \"nat\" nobody looks at the name that is asked for"), "{said}");
    let said = wrong(&format!("{head}mode = \"redirect-https\"\n{}", backend.replace("names", "#names")));
    assert!(said.contains("a service has no backends: it answers itself"), "{said}");
}

#[test]
fn requests_are_sent_to_the_port_of_https() {
    let (head, _) = TLS.split_once("port = 443\n").unwrap();
    let text = format!("{head}port = 80\nmode = \"redirect-https\"\n");
    let port =
        |text: &str| Config::parse(text, "lbctl.toml").unwrap().services.values().next().unwrap().https_port;
    assert_eq!(port(&text), Some(443));
    assert_eq!(port(&format!("{text}https_port = 8443\n")), Some(8443));
    let said =
        Config::parse(&format!("{head}port = 80\nhttps_port = 443\n"), "lbctl.toml").unwrap_err().to_string();
    assert!(
        said.contains("service.web-tls.https_port: with mode \"nat\" no request is sent elsewhere"),
        "{said}"
    );
}

#[test]
fn certificates_of_an_authority_are_asked_for_by_name() {
    let acme = "[acme]\nterms_of_service_agreed = true\ncontact = \"mailto:ops@example.org\"\n[node]";
    let names = "acme = [\"A.example.org\", \"b.example.org\"]";
    let text = TLS.replacen("[node]", acme, 1).replacen("file = \"/etc/one.pem\"", names, 1);
    let config = Config::parse(&text, "lbctl.toml").unwrap();
    let tls = config.services.values().next().unwrap().tls.as_ref().unwrap();
    let files = &tls.certificates[0];
    assert_eq!(files.acme, ["a.example.org", "b.example.org"]);
    let file = files.file.display().to_string();
    assert!(
        file.starts_with("/var/lib/lbctl/acme/a.example.org-") && files.key_file() == files.file,
        "{file}"
    );

    let refused = |old: &str, new: &str, path: &str, words: &str| {
        assert!(text.contains(old), "the example has no {old:?}");
        let errors = Config::parse(&text.replacen(old, new, 1), "lbctl.toml").unwrap_err();
        let [error] = errors.as_slice() else { panic!("{new}: not one error but\n{errors}") };
        assert_eq!(error.path, path, "{errors}");
        assert!(error.message().contains(words), "{errors}");
    };
    let certificate = "service.web-tls.tls.certificate[0].acme";
    refused(acme, "[node]", certificate, "nobody is named who gives out certificates");
    refused(names, "acme = [\"*.example.org\"]", certificate, "proof in the DNS alone");
    refused(names, "acme = []", certificate, "no name is there");
    refused(names, &format!("{names}\nfile = \"/etc/one.pem\""), certificate, "leave either");
    let agreed = "terms_of_service_agreed = true";
    refused(agreed, "", "acme.terms_of_service_agreed", "nobody gets a certificate");
    refused(agreed, "terms_of_service_agreed = false", "acme.terms_of_service_agreed", "read them");
    let more = |key: &str| format!("{agreed}\n{key}");
    refused(agreed, &more("challenge = \"http-01\""), "acme.challenge", "redirect-https");
    refused(agreed, &more("challenge = \"dns-01\""), "acme.challenge", "tls-alpn-01");
    refused(agreed, &more("directory = \"http://ca\""), "acme.directory", "no address of HTTPS");
    refused("mailto:ops@example.org", "ops", "acme.contact", "nobody who can be written to");
}
