//! Each rule about the node, the dataplane and the VIPs: what breaks it, and what the writer is told.

use super::FULL;
use crate::config::Config;

/// Checks that the full example, after one replacement, has exactly one error, with these words.
pub(super) fn refused(old: &str, new: &str, path: &str, message: &str) {
    assert!(FULL.contains(old), "the example has no {old:?}");
    let errors = Config::parse(&FULL.replacen(old, new, 1), "lbctl.toml").unwrap_err();
    let [error] = errors.as_slice() else { panic!("{new}: not one error but\n{errors}") };
    assert_eq!((error.path.as_str(), error.message().as_str()), (path, message), "{errors}");
}

#[test]
fn a_node_must_have_a_proper_name() {
    let wrong = "\"lb 1\" is not a name: only the letters a-z and A-Z, digits, '-', '_' and '.' may be in it";
    refused("name = \"lb1\"", "name = \"lb 1\"", "node.name", wrong);
    refused("name = \"lb1\"\n", "", "node.name", "missing; expected this machine's name such as \"lb1\"");
}

#[test]
fn nat_ports_must_be_a_range_clear_of_servers_and_of_the_kernel() {
    let path = "node.nat_ports";
    let range =
        "is not a range of ports; expected FIRST-LAST such as \"2048-32767\", the first not above the last";
    refused("2048-17407", "2048", path, &format!("\"2048\" {range}"));
    refused("2048-17407", "3000-2000", path, &format!("\"3000-2000\" {range}"));
    let low = "\"80-2000\" begins below 1024, where servers have their ports; \
               expected a range that begins at 1024 or above";
    refused("2048-17407", "80-2000", path, low);
    let kernel = "overlaps 32768-60999, the ports the kernel gives to this machine's own connections; \
                  expected a range within 1024-32767 or 61000-65535";
    refused("2048-17407", "2048-32768", path, &format!("\"2048-32768\" {kernel}"));
    refused("2048-17407", "60999-65535", path, &format!("\"60999-65535\" {kernel}"));
    assert!(Config::parse(&FULL.replacen("2048-17407", "61000-65535", 1), "").is_ok());
}

#[test]
fn interfaces_must_be_named_once_each_by_the_kernels_rule() {
    let all = r#"interfaces = ["eth0", "eth1"]"#;
    let path = "node.interfaces[1]";
    let rule = "expected a name such as \"eth0\" of 1 to 15 characters";
    refused(all, r#"interfaces = ["eth1", ""]"#, path, &format!("\"\" is empty; {rule}"));
    let long = format!("\"abcdefghijklmnop\" is too long for an interface; {rule}");
    refused(all, r#"interfaces = ["eth1", "abcdefghijklmnop"]"#, path, &long);
    refused(
        all,
        r#"interfaces = ["eth1", "a/b"]"#,
        path,
        &format!("\"a/b\" is not the name of an interface; {rule}"),
    );
    refused(all, r#"interfaces = ["eth1", "eth1"]"#, path, "\"eth1\" is in the list twice");
    let none = "the list is empty; expected at least one network interface such as [\"eth0\"]";
    refused(all, "interfaces = []", "node.interfaces", none);
}

#[test]
fn an_attach_mode_must_be_known() {
    let message =
        "\"nativ\" is not an attach mode; expected one of auto, native, generic; did you mean \"native\"?";
    refused("\"native\"", "\"nativ\"", "node.attach", message);
}

#[test]
fn paths_must_be_whole_and_fit_where_they_are_used() {
    let relative =
        "\"lb1.sock\" does not begin with '/'; expected a whole path such as \"/run/lbctl/lbctl.sock\"";
    refused("/run/lbctl/lb1.sock", "lb1.sock", "control.socket", relative);
    let long = format!("/{}", "x".repeat(107));
    let message = format!("\"{long}\" has 108 bytes, too many for a Unix socket; expected at most 107");
    refused("/run/lbctl/lb1.sock", &long, "control.socket", &message);
    let dots = "\"/sys/fs/bpf/lb.1\" ends in no name that the bpf file system takes (it takes none with dots); \
                expected a folder such as \"/sys/fs/bpf/lbctl/lb1\"";
    refused("/sys/fs/bpf/lbctl/one", "/sys/fs/bpf/lb.1", "dataplane.pin_dir", dots);
    let group = "\"\" is not the name of a group; leave the key out to let only root change things";
    refused("group = \"lbctl\"", "group = \"\"", "control.group", group);
}

#[test]
fn flow_tables_have_limits_and_the_reason_for_the_lower_one_is_told() {
    let established = "expected a whole number from 1024 to 16000000";
    let path = "dataplane.established_flows";
    refused(
        "established_flows = 4096",
        "established_flows = 1023",
        path,
        &format!("1023 is too small; {established}"),
    );
    let large = format!("16000001 is too large; {established}");
    refused("established_flows = 4096", "established_flows = 16000001", path, &large);
    let embryonic = "16383 is too small; expected a whole number from 16384 to 16000000 \
                     (the kernel evicts live entries from smaller tables of this kind)";
    refused("= 16384", "= 16383", "dataplane.embryonic_flows", embryonic);
    let few = "1023 is too small; expected a whole number from 1024 to 16000000";
    refused("= 16384", "= 16384\nlimited_sources = 1023", "dataplane.limited_sources", few);
    let many = "1048577 is too large; expected a whole number from 1024 to 1048576";
    refused("= 16384", "= 16384\nprefixes = 1048577", "dataplane.prefixes", many);
}

#[test]
fn a_duration_must_have_a_unit_and_be_neither_zero_nor_endless() {
    let path = "dataplane.timeouts.closed";
    let rule = "expected a duration such as \"500ms\" or \"2s\"";
    refused(
        "closed = \"5s\"",
        "closed = \"5\"",
        path,
        &format!("\"5\" has no unit; {rule}; did you mean \"5s\"?"),
    );
    refused("closed = \"5s\"", "closed = \"soon\"", path, &format!("\"soon\" is not a duration; {rule}"));
    let limits = "expected a duration from 1ms to 30days";
    refused("closed = \"5s\"", "closed = \"0s\"", path, &format!("\"0s\" is too short; {limits}"));
    refused("closed = \"5s\"", "closed = \"31d\"", path, &format!("\"31d\" is too long; {limits}"));
}

#[test]
fn a_vip_must_have_usable_addresses_without_port_or_prefix() {
    let rule = "expected an address alone such as \"10.80.0.100\"";
    for (text, wrong) in [
        ("10.80.0.101:80", "has a port"),
        ("10.80.0.101/24", "has a prefix length"),
        ("lb1.example", "is not an IP address"),
    ] {
        refused(
            "\"10.80.0.101\"",
            &format!("{text:?}"),
            "vip.B.address",
            &format!("{text:?} {wrong}; {rule}"),
        );
    }
    for (text, why) in [
        ("0.0.0.0", "the unspecified address"),
        ("::1", "a loopback address, which never leaves its machine"),
        ("224.0.0.18", "a multicast address"),
        ("ff02::12", "a multicast address"),
        ("255.255.255.255", "the broadcast address"),
        ("fe80::1", "a link-local address, which means nothing without its link"),
        ("::ffff:10.0.0.1", "an IPv4 address written as IPv6"),
    ] {
        let message = format!("{text:?} is {why}; expected the address of one host");
        refused("\"10.80.0.101\"", &format!("{text:?}"), "vip.B.address", &message);
    }
}

#[test]
fn a_vip_address_may_be_there_only_once() {
    let message =
        "\"10.80.0.100\" is there already, at vip.A.address[0]; expected each VIP address only once";
    refused("\"10.80.0.101\"", "\"10.80.0.100\"", "vip.B.address", message);
    refused("\"fd80::100\"", "\"10.80.0.100\"", "vip.A.address[1]", message);
    let none = "the list is empty; expected at least one address such as [\"10.80.0.100\", \"fd80::100\"]";
    refused("\"10.80.0.101\"", "[]", "vip.B.address", none);
}

#[test]
fn the_interface_of_a_vip_must_be_one_of_the_node() {
    let message = "\"eth2\" is not among node.interfaces; expected one of eth0, eth1; did you mean \"eth0\"?";
    refused("interface = \"eth1\"", "interface = \"eth2\"", "vip.A.interface", message);
}

#[test]
fn the_key_that_is_a_bad_name_is_pointed_at() {
    let rule = "is not a name: only the letters a-z and A-Z, digits, '-', '_' and '.' may be in it";
    refused(
        "[vip.B]",
        "[vip.B]\naddress = \"10.0.0.1\"\n[vip.\"b b\"]",
        "vip.\"b b\"",
        &format!("\"b b\" {rule}"),
    );
}
