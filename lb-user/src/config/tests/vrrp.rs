//! `[vip.NAME.vrrp]`: defaults, limits, and what its writer is told.

use super::FULL;
use super::refusals::refused;
use crate::config::{Config, Vrrp};
use crate::model::ChecksumForm;
use std::time::Duration;

fn with(lines: &str) -> Config {
    let text = FULL.replacen("[vip.A]\n", &format!("[vip.A.vrrp]\n{lines}\n[vip.A]\n"), 1);
    match Config::parse(&text, "lbctl.toml") {
        Ok(config) => config,
        Err(errors) => panic!("{errors}"),
    }
}

fn vrrp(config: &Config) -> &Vrrp {
    config.vips["A"].vrrp.as_ref().expect("it has VRRP")
}

#[test]
fn an_id_is_enough_and_the_node_of_active_on_is_preferred() {
    let config = with("id = 51");
    let found = vrrp(&config);
    assert_eq!((found.id.get(), found.priority.get()), (51, 200));
    assert_eq!(found.interval.duration(), Duration::from_secs(1));
    assert!(found.preempt && found.preempt_delay.is_zero() && found.peers.is_empty());
    assert_eq!(found.checksum, ChecksumForm::PseudoHeader);
    let text = FULL.replacen("[vip.A]\n", "[vip.A.vrrp]\nid = 51\n[vip.A]\n", 1);
    let text = text.replacen("active_on = \"lb1\"", "active_on = \"lb2\"", 1);
    let config = Config::parse(&text, "lbctl.toml").expect("it is right");
    assert_eq!(vrrp(&config).priority.get(), 100);
}

#[test]
fn intervals_of_ten_milliseconds_and_owners_are_possible() {
    let config = with(
        "id = 1\npriority = 255\ninterval = \"10ms\"\npeers = \"10.80.0.3\"\nchecksum = \"message\"\nflap_limit = 0",
    );
    let found = vrrp(&config);
    assert!(found.priority.is_owner());
    assert_eq!(found.to_string(), "id 1 priority 255 every 10ms to 10.80.0.3 checksum message");
}

#[test]
fn wrong_numbers_are_told_with_their_place() {
    let wrong = |lines: &str, key: &str, message: &str| {
        let table = format!("[vip.A.vrrp]\n{lines}\n[vip.A]\n");
        refused("[vip.A]\n", &table, &format!("vip.A.vrrp.{key}"), message);
    };
    let id = "missing; expected the virtual router's id, 1 to 255, the same on all nodes";
    wrong("priority = 100", "id", id);
    wrong("id = 256", "id", "256 is too large; expected a whole number from 1 to 255");
    let priority =
        "0 is too small; expected a whole number from 1 to 254, or 255 for the owner of the addresses";
    wrong("id = 1\npriority = 0", "priority", priority);
    let parts = "advertisements count hundredths of a second; expected a whole number of them, such as \"10ms\" or \"1s\"";
    wrong("id = 1\ninterval = \"15ms\"", "interval", parts);
    let short = "\"5ms\" is too short; expected a duration from 10ms to 40s 950ms";
    wrong("id = 1\ninterval = \"5ms\"", "interval", short);
    let word = "\"none\" is not a form of checksum; expected one of pseudo-header, message";
    wrong("id = 1\nchecksum = \"none\"", "checksum", word);
}

#[test]
fn two_vips_of_an_interface_cannot_have_one_id() {
    let text = FULL.replacen("[vip.A]\n", "[vip.A.vrrp]\nid = 51\n[vip.B.vrrp]\nid = 51\n[vip.A]\n", 1);
    assert!(Config::parse(&text, "").is_ok(), "on two interfaces they can");
    let text = text.replacen("interface = \"eth1\"", "interface = \"eth0\"", 1);
    let errors = Config::parse(&text, "lbctl.toml").expect_err("the ids clash");
    let [error] = errors.as_slice() else { panic!("{errors}") };
    assert_eq!(error.path, "vip.B.vrrp.id");
    assert_eq!(error.message(), "51 is the id of vip.A already; expected another id for each VIP of eth0");
}

#[test]
fn vips_of_a_group_must_win_and_lose_together() {
    let group = "[vip.A.vrrp]\nid = 51\ngroup = \"front\"\n[vip.B.vrrp]\nid = 52\ngroup = \"front\"\nPRIORITY\n[vip.A]\n";
    let text = |priority: &str| FULL.replacen("[vip.A]\n", &group.replace("PRIORITY", priority), 1);
    let errors = Config::parse(&text("priority = 7"), "lbctl.toml").expect_err("they differ");
    let [error] = errors.as_slice() else { panic!("{errors}") };
    assert_eq!(error.path, "vip.B.vrrp.priority");
    let words = "its priority is another than that of vip.A; expected the same for all of group front, which move together";
    assert_eq!(error.message(), words);
    assert!(Config::parse(&text("priority = 200"), "").is_ok());
}
