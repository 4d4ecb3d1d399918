//! Rules of the firewall, in and out.

use super::*;
use crate::config::{Config, FirewallRule, RuleAction, RuleTarget, Sources};
use crate::model::RuleName;

const FILE: &str = "\
[node]
name = \"lb1\"
interfaces = [\"eth0\"]

# Who may reach what.
[firewall]
host_default = \"allow\" # for now

# The office.
[[firewall.rule]]
name = \"office\"
allow = \"198.51.100.0/24\"

# Everybody else.
[[firewall.rule]]
name = \"rest\"
deny = \"any\"

[vip.A]
address = \"10.80.0.100\"
";

fn name(text: &str) -> RuleName {
    RuleName::new(text).unwrap()
}

fn deny(text: &str) -> FirewallRule {
    let sources = Sources::Prefixes(vec!["203.0.113.7/32".parse().unwrap()]);
    FirewallRule { name: name(text), action: RuleAction::Deny, sources, target: RuleTarget::HostPort(22) }
}

#[test]
fn a_rule_goes_behind_the_others_or_before_one_of_them() {
    let behind = add_rule(FILE, &deny("abuser"), None).unwrap();
    let added = "[[firewall.rule]]\nname = \"abuser\"\ndeny = \"203.0.113.7/32\"\nhost_port = 22\n";
    assert_eq!(behind, FILE.replace("deny = \"any\"\n", &format!("deny = \"any\"\n\n{added}")));
    let before = add_rule(FILE, &deny("abuser"), Some(&name("rest"))).unwrap();
    assert_eq!(before, FILE.replace("# Everybody", &format!("{added}\n# Everybody")));
    let config = Config::parse(&before, "test.toml").unwrap();
    let names: Vec<&str> = config.firewall.rules.iter().map(|rule| rule.name.as_str()).collect();
    assert_eq!(names, ["office", "abuser", "rest"]);
}

#[test]
fn a_rule_that_was_added_can_be_taken_out_without_a_trace() {
    for before in [None, Some(name("office")), Some(name("rest"))] {
        let edited = add_rule(FILE, &deny("abuser"), before.as_ref()).unwrap();
        assert_eq!(remove_rule(&edited, &name("abuser")).unwrap(), FILE);
    }
    let bare = "[node]\nname = \"lb1\"\ninterfaces = [\"eth0\"]\n";
    let edited = add_rule(bare, &deny("abuser"), None).unwrap();
    assert_eq!(remove_rule(&edited, &name("abuser")).unwrap(), bare);
}

#[test]
fn a_rule_takes_its_comments_along() {
    let edited = remove_rule(FILE, &name("office")).unwrap();
    assert!(
        !edited.contains("The office") && edited.contains("Everybody else") && edited.contains("for now")
    );
}

#[test]
fn what_is_there_or_not_there_or_written_otherwise_is_refused() {
    assert!(add_rule(FILE, &deny("rest"), None).unwrap_err().to_string().contains("already"));
    let error = remove_rule(FILE, &name("ofice")).unwrap_err().to_string();
    assert!(error.contains("no rule \"ofice\"") && error.contains("did you mean \"office\"?"), "{error}");
    assert!(add_rule(FILE, &deny("new"), Some(&name("nobody"))).is_err());
    let inline = "firewall = { rule = [{ name = \"a\", deny = \"any\" }] }\n";
    assert_eq!(add_rule(inline, &deny("b"), None), Err(EditError::UnfamiliarRules));
}
