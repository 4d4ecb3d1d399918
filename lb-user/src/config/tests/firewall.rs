//! Each rule about the firewall: what breaks it, and what the writer is told.

use super::FULL;
use super::refusals::refused;
use crate::config::Config;

/// Checks that the full example with this rule in front of its services has one error, with these words.
fn rule_refused(rule: &str, path: &str, message: &str) {
    let table = format!("[[firewall.rule]]\n{rule}\n[service.web]");
    refused("[service.web]", &table, &format!("firewall.rule[0]{path}"), message);
}

#[test]
fn a_rule_does_one_thing_and_says_to_whom() {
    let one = "expected one of allow, deny and limit, with the sources it is about";
    rule_refused("name = \"r\"", "", &format!("it says nothing; {one}"));
    let two = "name = \"r\"\nallow = \"any\"\ndeny = \"any\"";
    rule_refused(two, ".deny", &format!("a rule does one thing; {one}"));
    let bits = "\"10.0.0.1/8\" is not a source: it has bits behind its prefix; did you mean 10.0.0.0/8?";
    rule_refused("name = \"r\"\ndeny = [\"any\", \"10.0.0.1/8\"]", ".deny[1]", bits);
    let path = "\"deny.txt\" does not begin with '/'; expected a whole path such as \"/etc/lbctl/deny.txt\"";
    rule_refused("name = \"r\"\ndeny = { file = \"deny.txt\" }", ".deny.file", path);
}

#[test]
fn a_rule_is_about_a_service_that_is_there_or_about_the_host() {
    let both = "name = \"r\"\ndeny = \"any\"\nservice = \"web\"\nhost = true";
    rule_refused(both, ".service", "a rule is about a service or about the host; write two rules");
    let table = "[[firewall.rule]]\nname = \"r\"\ndeny = \"any\"\nservice = \"wev\"\n[service.web]";
    let errors =
        Config::parse(&FULL.replacen("[service.web]", table, 1), "lbctl.toml").unwrap_err().to_string();
    assert!(
        errors.contains("there is no service \"wev\"") && errors.contains("did you mean \"web\"?"),
        "{errors}"
    );
}

#[test]
fn limits_belong_to_rules_that_limit_and_to_what_is_counted() {
    let nothing = "a limit of nothing; expected new_flows_per_second, active_flows or both";
    rule_refused("name = \"r\"\nlimit = \"any\"", ".limit", nothing);
    let deny = "a rule that says deny has no burst; write limit in the place of deny, or leave the key out";
    rule_refused("name = \"r\"\ndeny = \"any\"\nburst = 2", ".burst", deny);
    let host = "open connections of the host are not counted; limit new ones with new_flows_per_second";
    rule_refused("name = \"r\"\nlimit = \"any\"\nhost = true\nactive_flows = 2", ".active_flows", host);
    let burst = "a burst without a rate; expected new_flows_per_second beside it";
    rule_refused("name = \"r\"\nlimit = \"any\"\nactive_flows = 2\nburst = 2", ".burst", burst);
}

#[test]
fn no_two_rules_have_one_name() {
    let twice = "[[firewall.rule]]\nname = \"r\"\ndeny = \"any\"\n[[firewall.rule]]\nname = \"r\"\nallow = \"any\"\n[service.web]";
    refused("[service.web]", twice, "firewall.rule[1].name", "there is a rule \"r\" already");
}
