//! What changes between configurations, and that taking the steps makes the new one.

mod words;

use proptest::prelude::*;

use super::*;
use crate::config::generate;

const BASE: &str = r#"
[node]
name = "lb1"
interfaces = ["eth0"]
[vip.A]
address = ["10.80.0.100", "fd80::100"]
[service.web]
vips = ["A"]
port = 80
health = { type = "http", path = "/healthz" }
[[service.web.backend]]
name = "web1"
address = ["10.80.0.21:80", "[fd80::21]:80"]
[[service.web.backend]]
name = "web2"
address = ["10.80.0.22:80", "[fd80::22]:80"]
"#;

fn parse(text: &str) -> Config {
    match Config::parse(text, "test.toml") {
        Ok(config) => config,
        Err(errors) => panic!("{errors}"),
    }
}

/// The changes from the base to the base after one replacement.
fn changes(old: &str, new: &str) -> Vec<Change> {
    assert!(BASE.contains(old), "the base has no {old:?}");
    diff(&parse(BASE), &parse(&BASE.replacen(old, new, 1)))
}

/// The words for those changes.
fn words(old: &str, new: &str) -> Vec<String> {
    changes(old, new).iter().map(ToString::to_string).collect()
}

#[test]
fn the_same_configuration_has_no_changes() {
    assert_eq!(changes("", ""), []);
}

#[test]
fn a_change_of_weight_names_service_backend_and_both_weights() {
    assert_eq!(
        words("name = \"web2\"", "name = \"web2\"\nweight = 3"),
        ["service web: backend web2: weight 1 → 3"]
    );
}

#[test]
fn what_is_written_out_as_its_default_is_no_change() {
    assert_eq!(changes("port = 80\n", "port = 80\nmode = \"nat\"\nprotocol = \"tcp\"\n"), []);
}

#[test]
fn what_is_removed_is_named_before_what_is_added() {
    let other =
        BASE.replacen("[service.web]", "[service.zzz]", 1).replace("[[service.web.", "[[service.zzz.");
    let changes = diff(&parse(BASE), &parse(&other));
    assert!(
        matches!(changes.as_slice(), [Change::ServiceRemoved(_), Change::ServiceAdded(_)]),
        "{changes:?}"
    );
    assert_eq!(changes[0].to_string(), "service web removed");
}

#[test]
fn only_what_the_agent_is_built_on_needs_a_restart() {
    let restart = |old, new| changes(old, new).first().unwrap().needs_restart();
    assert!(restart("\"lb1\"", "\"lb2\""));
    assert!(restart("[\"eth0\"]", "[\"eth0\", \"eth1\"]"));
    assert!(restart("[node]", "[node]\nattach = \"generic\""));
    assert!(restart("[node]", "[control]\nsocket = \"/run/x\"\n[node]"));
    assert!(restart("[node]", "[dataplane]\npin_dir = \"/x\"\n[node]"));
    assert!(restart("[node]", "[dataplane]\nestablished_flows = 4096\n[node]"));
    assert!(restart("[node]", "[dataplane]\nembryonic_flows = 20000\n[node]"));
    assert!(!restart("[node]", "[dataplane.timeouts]\nclosed = \"5s\"\n[node]"));
    assert!(!restart("[node]", "[node]\nnat_ports = \"2048-4095\""));
    assert!(restart("[node]", "[control]\ngroup = \"ops\"\n[node]"));
    assert!(!restart("port = 80\n", "port = 81\n"));
    assert!(!restart("10.80.0.100", "10.80.0.99"));
}

proptest! {
    #[test]
    fn applying_the_difference_makes_the_new_configuration(old in generate::config(), new in generate::config()) {
        let changes = diff(&old, &new);
        prop_assert_eq!(apply(&old, &changes), new.clone());
        prop_assert_eq!(changes.is_empty(), old == new);
        prop_assert_eq!(diff(&new, &new), []);
    }

    #[test]
    fn every_change_has_words_of_its_own(old in generate::config(), new in generate::config()) {
        let mut words: Vec<String> = diff(&old, &new).iter().map(ToString::to_string).collect();
        prop_assert!(words.iter().all(|words| !words.is_empty() && !words.ends_with(' ')), "{words:?}");
        let count = words.len();
        words.sort();
        words.dedup();
        prop_assert_eq!(words.len(), count);
    }
}
