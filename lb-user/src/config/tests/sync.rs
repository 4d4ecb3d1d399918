//! `[sync]`: defaults, limits, what its writer is told, and what nodes compare.

use super::FULL;
use crate::config::Config;
use std::time::Duration;

const SYNC: &str =
    "[sync]\naddress = \"10.80.0.2\"\npeers = \"10.80.0.3\"\nkey_file = \"/etc/lbctl/sync.key\"\n";

fn parse(text: &str) -> Result<Config, String> {
    Config::parse(text, "lbctl.toml").map_err(|errors| errors.to_string())
}

#[test]
fn an_address_a_peer_and_a_key_are_enough() {
    let config = parse(&format!("{FULL}\n{SYNC}")).expect("it is right");
    let sync = config.sync.expect("it is there");
    assert_eq!(sync.address.to_string(), "10.80.0.2:8788");
    assert_eq!(sync.peers[0].to_string(), "10.80.0.3:8788");
    assert_eq!((sync.grace, sync.join_timeout), (Duration::from_secs(3), Duration::from_secs(30)));
    assert_eq!(parse(FULL).expect("it is right").sync, None);
}

#[test]
fn what_cannot_be_a_peer_or_a_key_is_refused_with_its_place() {
    let refused = |old: &str, new: &str, place: &str, words: &str| {
        assert!(SYNC.contains(old), "{old}");
        let text = format!("{FULL}\n{}", SYNC.replacen(old, new, 1));
        let error = parse(&text).expect_err("it is wrong");
        assert!(error.contains(place) && error.contains(words), "{error}");
    };
    refused("10.80.0.3", "10.80.0.2", "sync.peers", "this node's own address");
    refused("10.80.0.3", "fd80::3", "sync.peers", "another family");
    refused("\"10.80.0.3\"", "[\"10.80.0.3\", \"10.80.0.3:8788\"]", "sync.peers[1]", "there twice");
    refused("\"10.80.0.3\"", "[]", "sync.peers", "nobody is named");
    refused("10.80.0.3", "web2", "sync.peers", "not an IP address");
    refused("peers = \"10.80.0.3\"\n", "", "sync.peers", "missing");
    refused("address = \"10.80.0.2\"\n", "", "sync.address", "missing");
    refused("/etc/lbctl/sync.key", "sync.key", "sync.key_file", "does not begin with '/'");
    refused("[sync]", "[sync]\ngrace = \"2m\"", "sync.grace", "too long");
}

#[test]
fn what_nodes_share_is_alike_where_only_their_own_keys_differ() {
    let one = parse(FULL).expect("it is right");
    let other = FULL.replacen("name = \"lb1\"", "name = \"lb2\"", 1);
    assert_ne!(other, FULL);
    let other = parse(&format!("{other}\n{SYNC}")).expect("it is right");
    assert_eq!(one.shared_text(), other.shared_text());
    let changed = FULL.replacen("10.80.0.21", "10.80.0.29", 1);
    assert_ne!(one.shared_text(), parse(&changed).expect("it is right").shared_text());
}
