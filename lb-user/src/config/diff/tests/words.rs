//! The words for each kind of change.

use super::words;

/// Checks the words for the change from the base to the base after one replacement.
fn say(old: &str, new: &str, expected: &[&str]) {
    assert_eq!(words(old, new), expected, "{new}");
}

#[test]
fn changes_of_the_node_have_their_words() {
    let renamed = [
        "node: name lb1 → lb2",
        "dataplane: pin_dir /sys/fs/bpf/lbctl/lb1 → /sys/fs/bpf/lbctl/lb2",
        "vip A: active_on lb1 → lb2",
    ];
    say("\"lb1\"", "\"lb2\"", &renamed);
    say("[\"eth0\"]", "[\"eth0\", \"eth1\"]", &["node: interfaces eth0 → eth0, eth1"]);
    say("[node]", "[node]\nattach = \"generic\"", &["node: attach auto → generic"]);
    let ports = "node: nat_ports 2048-32767 → 2048-4095";
    say("[node]", "[node]\nnat_ports = \"2048-4095\"", &[ports]);
}

#[test]
fn changes_of_control_and_dataplane_have_their_words() {
    let control = "[control]\nsocket = \"/run/x\"\ngroup = \"ops\"\nothers_may_read = true\n[node]";
    let expected = [
        "control: socket /run/lbctl/lbctl.sock → /run/x",
        "control: group none → ops",
        "control: others_may_read false → true",
    ];
    say("[node]", control, &expected);
    let sizes = "[dataplane]\nestablished_flows = 4096\nembryonic_flows = 20000\nlimited_sources = 2048\nprefixes = 4096\n[node]";
    let expected = [
        "dataplane: established_flows 262144 → 4096",
        "dataplane: embryonic_flows 65536 → 20000",
        "dataplane: limited_sources 65536 → 2048",
        "dataplane: prefixes 262144 → 4096",
    ];
    say("[node]", sizes, &expected);
    let cookies = "[dataplane]\nsyn_cookies = \"always\"\n[node]";
    say("[node]", cookies, &["dataplane: syn_cookies auto → always"]);
    let timeouts = "[dataplane.timeouts]\nclosed = \"5s\"\nembryonic = \"30s\"\n[node]";
    say("[node]", timeouts, &["dataplane: timeouts: closed 10s → 5s, embryonic 1m → 30s"]);
}

#[test]
fn a_change_of_sync_has_its_words() {
    let sync = "[sync]\naddress = \"10.80.0.2\"\npeers = \"10.80.0.3\"\nkey_file = \"/k\"\n[node]";
    let words = "sync: none → from 10.80.0.2:8788 to 10.80.0.3:8788 key /k grace 3s join within 30s";
    say("[node]", sync, &[words]);
}

#[test]
fn changes_of_vips_and_services_have_their_words() {
    let vip = "[vip.B]\naddress = \"10.80.0.101\"\n[vip.A]";
    say("[vip.A]", vip, &["vip B added (10.80.0.101 on eth0, active on lb1)"]);
    say("10.80.0.100", "10.80.0.99", &["vip A: address 10.80.0.100, fd80::100 → 10.80.0.99, fd80::100"]);
    say("port = 80\n", "port = 81\n", &["service web: port 80 → 81"]);
    let schedule = "port = 80\nscheduler = \"maglev\"\nwhen_down = \"drop\"\n";
    let expected = ["service web: scheduler round-robin → maglev", "service web: when_down reset → drop"];
    say("port = 80\n", schedule, &expected);
    let api = "[service.api]\nvips = [\"A\"]\nport = 81\n[service.web]";
    let added = "service api added (VIP A, port 81/tcp, nat, round-robin, no health check, no backends)";
    say("[service.web]", api, &[added]);
}

#[test]
fn changes_of_the_firewall_have_their_words() {
    let policy = "service web: default_policy allow → deny";
    say("port = 80\n", "port = 80\ndefault_policy = \"deny\"\n", &[policy]);
    let rule =
        "[[firewall.rule]]\nname = \"office\"\nallow = \"198.51.100.0/24\"\nservice = \"web\"\n[vip.A]";
    say("[vip.A]", rule, &["firewall: rule office added (allow 198.51.100.0/24 to service web)"]);
    let limit = "[[firewall.rule]]\nname = \"polite\"\nlimit = \"any\"\nnew_flows_per_second = 5\n[vip.A]";
    let added = "firewall: rule polite added (limit any to all services: 5 new/s (burst 5), per /32 and /64)";
    say("[vip.A]", limit, &[added]);
    let host = "[firewall]\nhost_default = \"deny\"\n[vip.A]";
    say("[vip.A]", host, &["firewall: host_default allow → deny"]);
}

#[test]
fn changes_of_health_checks_have_their_words() {
    let path = "path = \"/healthz\"";
    let other = "path = \"/up\", expect_body = \"ok\", interval = \"1s\", fall = 5";
    let expected = "service web: health check: path /healthz → /up, expect_body none → \"ok\", \
                    interval 2s → 1s, fall 3 → 5";
    say(path, other, &[expected]);
    let expected = "service web: health check: type http /healthz status 200 → tcp";
    say("type = \"http\", path = \"/healthz\"", "type = \"tcp\"", &[expected]);
    let expected = "service web: health check: http /healthz status 200 every 2s, timeout 1s, \
                    rise 2, fall 3, slow start 0s → none";
    say("health = { type = \"http\", path = \"/healthz\" }\n", "", &[expected]);
}

#[test]
fn changes_of_backends_have_their_words() {
    let maint = "service web: backend web1: state ready → maint";
    say("name = \"web1\"", "name = \"web1\"\nstate = \"maint\"", &[maint]);
    let moved =
        "service web: backend web2: address 10.80.0.22:80, [fd80::22]:80 → 10.80.0.99:80, [fd80::22]:80";
    say("10.80.0.22:80", "10.80.0.99:80", &[moved]);
    let replaced = [
        "service web: backend web2 removed",
        "service web: backend web9 (10.80.0.22:80, [fd80::22]:80, weight 1, ready) added",
    ];
    say("\"web2\"", "\"web9\"", &replaced);
    let web3 = "[[service.web.backend]]\nname = \"web3\"\naddress = \"10.80.0.23:8080\"\nstate = \"drain\"\n";
    let header = "[[service.web.backend]]";
    let in_front = [
        "service web: backend web3 (10.80.0.23:8080, weight 1, drain) added",
        "service web: order of the backends: web3, web1, web2",
    ];
    say(header, &format!("{web3}{header}"), &in_front);
}
