//! What of a new configuration a running agent can take at once.
//!
//! Owns the rule for what needs a restart: it keeps its running value, and what hangs on it keeps too. All
//! else becomes as the new file says. The difference between the result and the new configuration is what
//! waits for a restart.

use super::{Config, Vip};
use crate::model::VipName;
use std::collections::BTreeMap;

/// The configuration that an agent with `running` has after it took `new` over.
///
/// Of a renamed node, VIPs that were there stay where they were active, and a new VIP of the new name is one
/// of this node. A VIP goes to no interface without the program: one that was there stays where it was, a
/// new one waits.
pub fn adopt(running: &Config, new: &Config) -> Config {
    let mut adopted = new.clone();
    adopted.node.name = running.node.name.clone();
    adopted.node.interfaces = running.node.interfaces.clone();
    adopted.node.attach = running.node.attach;
    adopted.control = running.control.clone();
    adopted.dataplane.pin_dir = running.dataplane.pin_dir.clone();
    adopted.dataplane.established_flows = running.dataplane.established_flows;
    adopted.dataplane.embryonic_flows = running.dataplane.embryonic_flows;
    adopted.dataplane.limited_sources = running.dataplane.limited_sources;
    adopted.dataplane.prefixes = running.dataplane.prefixes;
    adopted.sync.clone_from(&running.sync);
    adopted.log.format = running.log.format;
    adopted.agent.clone_from(&running.agent);
    adopted.vips = vips(running, new);
    adopted
}

fn vips(running: &Config, new: &Config) -> BTreeMap<VipName, Vip> {
    let renamed = running.node.name != new.node.name;
    let mut vips = BTreeMap::new();
    for (name, vip) in &new.vips {
        let mut vip = vip.clone();
        let before = running.vips.get(name);
        if renamed {
            match before {
                Some(before) => vip.active_on = before.active_on.clone(),
                None if vip.active_on == new.node.name => vip.active_on = running.node.name.clone(),
                None => {}
            }
        }
        if !running.node.interfaces.contains(&vip.interface) {
            match before {
                Some(before) => vip.interface = before.interface.clone(),
                None => continue,
            }
        }
        vips.insert(name.clone(), vip);
    }
    vips
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::diff::{Change, diff};
    use crate::config::generate;
    use proptest::prelude::*;

    const BASE: &str = r#"
[node]
name = "lb1"
interfaces = ["eth0", "eth1"]
[vip.A]
address = "10.80.0.100"
[vip.B]
address = "10.80.0.101"
active_on = "lb2"
[service.web]
vips = ["A"]
port = 80
"#;

    fn parse(text: &str) -> Config {
        match Config::parse(text, "test.toml") {
            Ok(config) => config,
            Err(errors) => panic!("{errors}"),
        }
    }

    /// What is applied and what waits, in words, when the base is changed so.
    fn outcome(old: &str, new: &str) -> (Vec<String>, Vec<String>) {
        assert!(BASE.contains(old), "the base has no {old:?}");
        let (running, new) = (parse(BASE), parse(&BASE.replacen(old, new, 1)));
        let adopted = adopt(&running, &new);
        let words = |changes: Vec<Change>| changes.iter().map(ToString::to_string).collect();
        (words(diff(&running, &adopted)), words(diff(&adopted, &new)))
    }

    #[test]
    fn what_needs_a_restart_waits_and_the_rest_is_applied() {
        let (applied, waits) =
            outcome("[service.web]", "[dataplane]\nestablished_flows = 4096\n[service.web]");
        assert_eq!((applied.len(), waits.len()), (0, 1), "{applied:?} {waits:?}");
        let head = "[node]\nnat_ports = \"2048-4095\"\nattach = \"generic\"\n";
        let (applied, waits) = outcome("[node]\n", head);
        assert_eq!(applied, ["node: nat_ports 2048-32767 → 2048-4095"]);
        assert_eq!(waits, ["node: attach auto → generic"]);
    }

    #[test]
    fn a_vip_moves_between_attached_interfaces_at_once() {
        let address = "address = \"10.80.0.100\"";
        let (applied, waits) = outcome(address, "address = \"10.80.0.100\"\ninterface = \"eth1\"");
        assert_eq!(applied, ["vip A: interface eth0 → eth1"]);
        assert_eq!(waits, [""; 0]);
    }

    #[test]
    fn a_vip_waits_for_the_interface_that_is_not_attached_yet() {
        let text = BASE.replace("\"eth1\"]", "\"eth2\"]").replace(
            "address = \"10.80.0.100\"",
            "address = [\"10.80.0.100\", \"10.80.0.110\"]\ninterface = \"eth2\"",
        );
        let new = parse(&format!("{text}[vip.C]\naddress = \"10.80.0.102\"\ninterface = \"eth2\"\n"));
        let adopted = adopt(&parse(BASE), &new);
        assert_eq!(adopted.vips["A"].interface, "eth0");
        assert_eq!(adopted.vips["A"].addresses.len(), 2, "its new address does not wait");
        assert!(
            !adopted.vips.contains_key("C"),
            "a new VIP where no program is would be answered by the host"
        );
    }

    #[test]
    fn a_renamed_node_serves_what_it_served_until_it_is_restarted() {
        let (running, text) = (parse(BASE), BASE.replace("\"lb1\"", "\"lb2\""));
        let new = parse(&format!("{text}[vip.C]\naddress = \"10.80.0.102\"\n"));
        let adopted = adopt(&running, &new);
        let active: Vec<&str> = adopted
            .vips
            .iter()
            .filter(|(_, vip)| vip.active_on == adopted.node.name)
            .map(|(name, _)| name.as_str())
            .collect();
        assert_eq!(active, ["A", "C"]);
        let waits: Vec<String> = diff(&adopted, &new).iter().map(ToString::to_string).collect();
        assert!(waits.contains(&"node: name lb1 → lb2".to_owned()), "{waits:?}");
    }

    proptest! {
        #[test]
        fn nothing_that_needs_a_restart_is_applied_and_only_that_or_a_vip_waits(
            running in generate::config(), new in generate::config()
        ) {
            let adopted = adopt(&running, &new);
            prop_assert!(diff(&running, &adopted).iter().all(|change| !change.needs_restart()));
            let waits = |change: &Change| {
                change.needs_restart() || matches!(change, Change::VipAdded(..) | Change::VipChanged(..))
            };
            prop_assert!(diff(&adopted, &new).iter().all(waits));
            prop_assert_eq!(adopt(&adopted, &new), adopted);
        }
    }
}
