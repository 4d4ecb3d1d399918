//! `[track.NAME]`, `[notify]`, and what virtual routers say of them.

use super::FULL;
use super::refusals::refused;
use crate::config::{Config, Tracker};
use std::time::Duration;

fn with(lines: &str) -> Config {
    let text = FULL.replacen("[vip.A]\n", &format!("{lines}\n[vip.A]\n"), 1);
    match Config::parse(&text, "lbctl.toml") {
        Ok(config) => config,
        Err(errors) => panic!("{errors}"),
    }
}

#[test]
fn a_virtual_router_hangs_on_what_is_tracked() {
    let config = with(
        "[track.uplink]\ninterface = \"eth1\"\n[track.enough]\nservice = \"web\"\nat_least = 2\n\
         [track.program]\ndataplane = true\n\
         [track.disk]\ncommand = [\"/bin/test\", \"-w\", \"/\"]\ninterval = \"500ms\"\nfall = 3\n\
         [vip.A.vrrp]\nid = 51\ngroup = \"front\"\nflap_limit = 3\ntrack = { uplink = 150, disk = 20 }",
    );
    let words = |name: &str| config.trackers[name].to_string();
    assert_eq!(words("uplink"), "interface eth1");
    assert_eq!(words("enough"), "service web with 2 backends");
    assert_eq!(words("program"), "dataplane");
    assert_eq!(words("disk"), "command \"/bin/test -w /\" every 500ms within 1s rise 1 fall 3");
    let vrrp = config.vips["A"].vrrp.as_ref().expect("it has VRRP");
    assert_eq!(
        vrrp.to_string(),
        "id 51 priority 200 every 1s group front preempts 3 times in 1m at most track disk −20 track uplink −150"
    );
}

#[test]
fn little_is_needed() {
    let config = with(
        "[track.enough]\nservice = \"web\"\n[track.disk]\ncommand = \"/bin/true\"\n[notify]\ncommand = \"/bin/tell\"",
    );
    assert!(matches!(&config.trackers["enough"], Tracker::Service { at_least: 1, .. }));
    let Tracker::Command(command) = &config.trackers["disk"] else { panic!("another") };
    assert_eq!((command.interval, command.timeout), (Duration::from_secs(2), Duration::from_secs(1)));
    assert_eq!((command.rise, command.fall), (1, 1));
    let notify = config.notify.expect("it is there");
    assert_eq!(notify.to_string(), "\"/bin/tell\" within 30s");
}

#[test]
fn what_makes_no_sense_is_told_with_its_place() {
    let wrong = |lines: &str, path: &str, message: &str| {
        refused("[vip.A]\n", &format!("{lines}\n[vip.A]\n"), path, message);
    };
    let one = "it watches nothing, or more than one thing; expected one of interface, service, dataplane = true, command";
    wrong("[track.t]\ninterface = \"eth1\"\ndataplane = true", "track.t", one);
    wrong("[track.t]\ndataplane = false", "track.t", one);
    wrong(
        "[track.t]\nservice = \"wed\"",
        "track.t.service",
        "there is no service \"wed\"; did you mean \"web\"?",
    );
    let words = "interval, timeout, rise and fall are about a command; expected a command, or none of them";
    wrong("[track.t]\ninterface = \"eth1\"\nfall = 3", "track.t", words);
    let words = "\"check\" does not begin with '/'; expected a whole path such as \"/usr/local/bin/check\"";
    wrong("[track.t]\ncommand = [\"check\"]", "track.t.command[0]", words);
    wrong(
        "[vip.A.vrrp]\nid = 1\ntrack = { t = 1 }",
        "vip.A.vrrp.track.t",
        "there is no tracker t; add a table [track.t]",
    );
    let words =
        "255 is too large; expected a whole number from 1 to 254, taken off the priority while it is down";
    wrong(
        "[track.t]\ndataplane = true\n[vip.A.vrrp]\nid = 1\ntrack = { t = 255 }",
        "vip.A.vrrp.track.t",
        words,
    );
    let words = "missing; expected a program by its whole path, and its arguments";
    wrong("[notify]\ntimeout = \"1s\"", "notify.command", words);
}
