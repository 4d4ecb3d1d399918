//! Each rule about services and backends: what breaks it, and what the writer is told.

use super::FULL;
use super::refusals::refused;
use crate::config::Config;

#[test]
fn a_service_must_name_vips_that_exist() {
    let path = "service.web.vips[1]";
    refused(
        "[\"A\", \"B\"]",
        "[\"A\", \"b\"]",
        path,
        "there is no VIP \"b\"; expected one of A, B; did you mean \"B\"?",
    );
    refused("[\"A\", \"B\"]", "[\"A\", \"A\"]", path, "\"A\" is in the list twice");
    let none = "the list is empty; expected the names of one or more VIPs such as [\"A\"]";
    refused("[\"A\", \"B\"]", "[]", "service.web.vips", none);
    let missing = "missing; expected the names of one or more VIPs such as [\"A\"]";
    refused("vips = [\"A\", \"B\"]\n", "", "service.web.vips", missing);
}

#[test]
fn a_vip_that_is_wrong_itself_is_complained_about_once() {
    refused(
        "\"10.80.0.101\"",
        "\"x\"",
        "vip.B.address",
        "\"x\" is not an IP address; expected an address alone such as \"10.80.0.100\"",
    );
}

#[test]
fn a_service_must_have_a_port_that_can_be_reached() {
    let path = "service.web.port";
    refused("port = 80\n", "port = 0\n", path, "0 is too small; expected a port from 1 to 65535");
    refused("port = 80\n", "port = 65536\n", path, "65536 is too large; expected a port from 1 to 65535");
    refused("port = 80\n", "\n", path, "missing; expected the port the service is reached at, such as 80");
}

#[test]
fn words_that_are_none_are_told_with_those_there_are() {
    let table = "missing; expected a table [service.NAME.mysql] with a monitor and at least one user";
    refused("\"nat\"", "\"mysql\"", "service.web.mysql", table);
    let sctp = "\"sctp\" is not a protocol; expected one of tcp, udp";
    refused("protocol = \"tcp\"", "protocol = \"sctp\"", "service.web.protocol", sctp);
    let typo = "\"round_robin\" is not a scheduler; expected one of round-robin, least-connections, \
                source-hash, maglev; did you mean \"round-robin\"?";
    refused("\"round-robin\"", "\"round_robin\"", "service.web.scheduler", typo);
}

#[test]
fn packets_that_stay_as_they_are_reach_no_other_port_and_keep_their_source() {
    refused(
        "mode = \"nat\"",
        "mode = \"dsr\"\nkeep_source = true",
        "service.web.keep_source",
        "with mode \"dsr\" backends see clients' addresses in any case; leave the key out, or use mode \"nat\"",
    );
    let text = FULL.replacen("mode = \"nat\"", "mode = \"dsr\"", 1);
    assert!(Config::parse(&text, "").is_ok());
    let errors = Config::parse(&text.replacen("10.80.0.22:80", "10.80.0.22:81", 1), "").unwrap_err();
    let [error] = errors.as_slice() else { panic!("{errors}") };
    assert_eq!(error.path, "service.web.backend[1].address");
    let port = "\"10.80.0.22:81\" has another port than the service: with mode \"dsr\" packets reach the backend as \
                they came; expected port 80";
    assert_eq!(error.message(), port);
}

#[test]
fn limits_of_flows_are_whole_numbers() {
    let expected = "expected a whole number; 0 is as many as come";
    let small = format!("-1 is too small; {expected}");
    refused("mode = \"nat\"", "mode = \"nat\"\nmax_flows = -1", "service.web.max_flows", &small);
    refused("weight = 3", "weight = 3\nmax_flows = -1", "service.web.backend[0].max_flows", &small);
    let word = "\"refuse\" is not a behaviour at a limit; expected one of other-backend, reset, drop";
    refused("mode = \"nat\"", "mode = \"nat\"\nat_limit = \"refuse\"", "service.web.at_limit", word);
}

#[test]
fn two_services_cannot_have_the_same_entrance() {
    let second = "[service.api]\nvips = [\"A\", \"B\"]\nport = 80\n[service.web]";
    let second = FULL.replacen("[service.web]", second, 1);
    let errors = Config::parse(&second, "lbctl.toml").unwrap_err();
    // The one that stands later in the file is to blame, and once for both VIPs.
    let [error] = errors.as_slice() else { panic!("{errors}") };
    assert_eq!(error.path, "service.web.port");
    assert_eq!(
        error.message(),
        "service api has port 80 of VIP A (10.80.0.100, tcp) already; expected another port or VIP"
    );
}

#[test]
fn every_family_of_a_services_vips_must_have_a_backend() {
    let message = "VIP A has an IPv6 address and no backend of the service has one; \
                   expected a backend with an IPv6 address, or a VIP without one";
    refused(r#"["10.80.0.21:80", "[fd80::21]:80"]"#, r#""10.80.0.21:80""#, "service.web.vips", message);
}

#[test]
fn a_backend_must_have_usable_addresses_with_a_port() {
    let path = "service.web.backend[1].address";
    let rule = "expected IP:PORT such as \"10.80.0.21:80\" or \"[fd80::21]:80\"";
    let try_one =
        |text: &str, message: String| refused("\"10.80.0.22:80\"", &format!("{text:?}"), path, &message);
    try_one(
        "fd80::22",
        "\"fd80::22\" has no port (an IPv6 address stands in brackets before its port); \
        expected IP:PORT such as \"[fd80::22]:80\""
            .to_owned(),
    );
    let names = "host names are not looked up: write the address";
    try_one("web2:80", format!("\"web2:80\" is not an IP address and a port; {rule}; {names}"));
    try_one("10.80.0.22:99999", format!("\"10.80.0.22:99999\" is not an IP address and a port; {rule}"));
    let zero =
        "\"10.80.0.22:0\" has port 0, which nothing can be reached at; expected a port from 1 to 65535";
    try_one("10.80.0.22:0", zero.to_owned());
    let own = "\"127.0.0.1:80\" is a loopback address, which never leaves its machine; expected the address of one host";
    try_one("127.0.0.1:80", own.to_owned());
    try_one(
        "[fd80::22%3]:80",
        format!("\"[fd80::22%3]:80\" has a zone, which the dataplane does not know; {rule}"),
    );
}

#[test]
fn a_backend_cannot_be_a_vip_because_its_flows_would_loop() {
    let message = "\"10.80.0.100:8080\" is an address of VIP A: its flows would come back here for ever; \
                   expected the address of a real server";
    refused("10.80.0.22:80", "10.80.0.100:8080", "service.web.backend[1].address", message);
}

#[test]
fn backends_of_a_service_differ_in_name_and_address() {
    let name = "\"web1\" is the name of another backend of this service, at service.web.backend[0].name; \
                expected a name of its own";
    refused("\"web2\"", "\"web1\"", "service.web.backend[1].name", name);
    let address = "\"10.80.0.21:80\" is the address of another backend of this service, at \
                   service.web.backend[0].address[0]; to give a server a larger share, raise its weight";
    refused("10.80.0.22:80", "10.80.0.21:80", "service.web.backend[1].address", address);
    let family =
        "\"10.80.0.24:80\" is a second IPv4 address of this backend; expected at most one of each family";
    let both = r#"["10.80.0.22:80", "10.80.0.24:80"]"#;
    refused("\"10.80.0.22:80\"", both, "service.web.backend[1].address[1]", family);
}

#[test]
fn a_backend_must_have_a_weight_and_a_state_that_exist() {
    let weight = "expected a whole number from 0 to 256";
    let path = "service.web.backend[0].weight";
    refused("weight = 3", "weight = 257", path, &format!("257 is too large; {weight}"));
    refused("weight = 3", "weight = -1", path, &format!("-1 is too small; {weight}"));
    let state = "\"drained\" is not a state; expected one of ready, drain, maint; did you mean \"drain\"?";
    refused("\"drain\"", "\"drained\"", "service.web.backend[0].state", state);
}

#[test]
fn a_check_must_have_a_type_and_only_what_belongs_to_it() {
    let path = "service.web.health.type";
    refused("type = \"http\"\n", "", path, "missing; expected \"tcp\" or \"http\"");
    let typo = "\"htpp\" is not a type of check; expected \"tcp\" or \"http\"; did you mean \"http\"?";
    refused("\"http\"", "\"htpp\"", path, typo);
    let text = FULL.replacen("type = \"http\"", "type = \"tcp\"", 1);
    let errors = Config::parse(&text, "lbctl.toml").unwrap_err();
    let messages: Vec<String> = errors.iter().map(|error| error.message()).collect();
    let words =
        |key| format!("a check of type \"tcp\" has no {key}; set type = \"http\", or leave the key out");
    assert_eq!(messages, [words("path"), words("expect_status"), words("expect_body")]);
}

#[test]
fn a_check_cannot_take_longer_than_its_interval() {
    let message = "\"1s 500ms\" is longer than the interval; expected at most \"1s\"";
    refused("timeout = \"500ms\"", "timeout = \"1500ms\"", "service.web.health.timeout", message);
    let fast = "\"1ms\" is too short; expected a duration from 10ms to 1day";
    let text =
        FULL.replacen("timeout = \"500ms\"\n", "", 1).replacen("interval = \"1s\"", "interval = \"1ms\"", 1);
    assert_eq!(Config::parse(&text, "").unwrap_err().as_slice()[0].message(), fast);
}

#[test]
fn a_check_needs_at_least_one_result_in_a_row() {
    let rule = "0 is too small; expected a whole number from 1 to 100";
    refused("rise = 3", "rise = 0", "service.web.health.rise", rule);
    refused("fall = 4", "fall = 0", "service.web.health.fall", rule);
}

#[test]
fn what_an_http_check_asks_and_expects_must_be_possible() {
    let path = "service.web.health.path";
    let page = "\"healthz\" does not begin with '/'; expected a path such as \"/healthz\"";
    refused("\"/healthz\"", "\"healthz\"", path, page);
    let visible =
        "has characters that a request cannot have; expected visible ASCII characters, others as %XX";
    refused("\"/healthz\"", "\"/a b\"", path, &format!("\"/a b\" {visible}"));
    refused("\"/healthz\"", "\"/é\"", path, &format!("\"/é\" {visible}"));
    let status = "expected an HTTP status from 100 to 599";
    refused(", 204]", ", 20]", "service.web.health.expect_status[1]", &format!("20 is too small; {status}"));
    refused(
        "[200, 204]",
        "[]",
        "service.web.health.expect_status",
        "the list is empty; expected at least one status such as [200]",
    );
    let body = "\"\" is in every page; expected a text to look for; leave the key out to accept any page";
    refused("\"ok\"", "\"\"", "service.web.health.expect_body", body);
    refused(
        "port = 8080",
        "port = 0",
        "service.web.health.port",
        "0 is too small; expected a port from 1 to 65535",
    );
}
