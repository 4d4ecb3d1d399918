//! What a file says, and what it says by leaving things out.

mod errors;
mod firewall;
mod mysql;
mod reference;
mod refusals;
mod services;
mod sync;
mod tls;
mod track;
mod vrrp;

use std::time::Duration;

use super::*;

/// The example of the documentation, with every key there is.
const FULL: &str = r#"
[node]
name = "lb1"
nat_ports = "2048-17407"
interfaces = ["eth0", "eth1"]
attach = "native"

[control]
socket = "/run/lbctl/lb1.sock"
group = "lbctl"
others_may_read = true

[dataplane]
pin_dir = "/sys/fs/bpf/lbctl/one"
established_flows = 4096
embryonic_flows = 16384
[dataplane.timeouts]
established = "1h"
half_closed = "1m"
closed = "5s"
embryonic = "30s"

[vip.A]
address = ["10.80.0.100", "fd80::100"]
interface = "eth1"
active_on = "lb1"
[vip.B]
address = "10.80.0.101"
active_on = "lb2"

[service.web]
vips = ["A", "B"]
port = 80
mode = "nat"
protocol = "tcp"
scheduler = "round-robin"
[service.web.health]
type = "http"
path = "/healthz"
expect_status = [200, 204]
expect_body = "ok"
interval = "1s"
timeout = "500ms"
rise = 3
fall = 4
slow_start = "10s"
port = 8080
[[service.web.backend]]
name = "web1"
address = ["10.80.0.21:80", "[fd80::21]:80"]
weight = 3
state = "drain"
[[service.web.backend]]
name = "web2"
address = "10.80.0.22:80"
"#;

/// The least there can be.
const LEAST: &str = r#"
[node]
name = "lb.1"
interfaces = ["eth0"]
"#;

fn parse(text: &str) -> Config {
    match Config::parse(text, "lbctl.toml") {
        Ok(config) => config,
        Err(errors) => panic!("{errors}"),
    }
}

fn name<T: std::str::FromStr<Err = crate::model::ModelError>>(text: &str) -> T {
    text.parse().unwrap()
}

#[test]
fn a_file_with_every_key_is_read_as_written() {
    let config = parse(FULL);
    assert_eq!(config.node.name.as_str(), "lb1");
    assert_eq!(config.node.nat_ports, PortRange::new(2048, 17407).unwrap());
    assert_eq!(config.node.interfaces, ["eth0", "eth1"]);
    assert_eq!(config.node.attach, AttachMode::Native);
    assert_eq!(config.control.socket, Path::new("/run/lbctl/lb1.sock"));
    assert_eq!(config.control.group.as_deref(), Some("lbctl"));
    assert!(config.control.others_may_read);
    assert_eq!(config.dataplane.pin_dir, Path::new("/sys/fs/bpf/lbctl/one"));
    assert_eq!((config.dataplane.established_flows, config.dataplane.embryonic_flows), (4096, 16384));
    let timeouts = FlowTimeouts {
        established: Duration::from_secs(3600),
        half_closed: Duration::from_secs(60),
        closed: Duration::from_secs(5),
        embryonic: Duration::from_secs(30),
        udp: Duration::from_secs(120),
    };
    assert_eq!(config.dataplane.timeouts, timeouts);
    let vip = &config.vips["A"];
    assert_eq!(vip.addresses, ["10.80.0.100".parse::<IpAddr>().unwrap(), "fd80::100".parse().unwrap()]);
    assert_eq!((vip.interface.as_str(), vip.active_on.as_str()), ("eth1", "lb1"));
    assert_eq!(config.vips["B"].active_on.as_str(), "lb2");
}

#[test]
fn a_service_with_every_key_is_read_as_written() {
    let config = parse(FULL);
    let service = &config.services["web"];
    assert_eq!(service.vips, [name::<VipName>("A"), name("B")]);
    assert_eq!((service.port, service.protocol, service.mode), (80, Protocol::Tcp, Mode::Nat));
    assert_eq!(service.scheduler, SchedulerKind::RoundRobin);
    let health = HealthCheck {
        kind: CheckKind::Http {
            path: "/healthz".to_owned(),
            expect_status: vec![200, 204],
            expect_body: Some("ok".to_owned()),
        },
        interval: Duration::from_secs(1),
        timeout: Duration::from_millis(500),
        rise: 3,
        fall: 4,
        slow_start: Duration::from_secs(10),
        refusals: 3,
        port: Some(8080),
    };
    assert_eq!(service.health, Some(health));
    let web1 = &service.backends[0];
    assert_eq!(web1.address(Family::V4), Some("10.80.0.21:80".parse().unwrap()));
    assert_eq!(web1.address(Family::V6), Some("[fd80::21]:80".parse().unwrap()));
    assert_eq!((web1.weight.get(), web1.state), (3, AdminState::Drain));
    let web2 = &service.backends[1];
    assert_eq!(web2.address(Family::V6), None);
    assert_eq!((web2.weight.get(), web2.state), (1, AdminState::Ready));
}

#[test]
fn what_is_left_out_has_its_default() {
    let config = parse(LEAST);
    assert_eq!(config.node.nat_ports.to_string(), "2048-32767");
    assert_eq!(config.node.attach, AttachMode::Auto);
    assert_eq!(config.control.socket, Path::new(DEFAULT_SOCKET));
    assert_eq!((config.control.group, config.control.others_may_read), (None, false));
    assert_eq!((config.dataplane.established_flows, config.dataplane.embryonic_flows), (262_144, 65_536));
    assert_eq!(config.dataplane.timeouts, FlowTimeouts::default());
    assert!(config.vips.is_empty() && config.services.is_empty());
}

#[test]
fn the_default_pin_folder_has_the_name_of_the_node_without_dots() {
    assert_eq!(parse(LEAST).dataplane.pin_dir, Path::new("/sys/fs/bpf/lbctl/lb_1"));
}

#[test]
fn a_vip_is_on_this_node_and_its_first_interface_unless_it_says_otherwise() {
    let config = parse(&format!("{LEAST}[vip.A]\naddress = \"10.0.0.1\"\n"));
    let vip = &config.vips["A"];
    assert_eq!((vip.interface.as_str(), vip.active_on.as_str()), ("eth0", "lb.1"));
}

#[test]
fn a_health_check_needs_only_its_type() {
    let service = "[vip.A]\naddress = \"10.0.0.1\"\n[service.s]\nvips = \"A\"\nport = 1\n";
    let config = parse(&format!("{LEAST}{service}health = {{ type = \"http\" }}\n"));
    let health = config.services["s"].health.clone().unwrap();
    assert_eq!(health.to_string(), "http / status 200 every 2s, timeout 1s, rise 2, fall 3, slow start 0s");
}

#[test]
fn the_default_timeout_of_a_check_is_never_longer_than_its_interval() {
    let service = "[vip.A]\naddress = \"10.0.0.1\"\n[service.s]\nvips = \"A\"\nport = 1\n";
    let config = parse(&format!("{LEAST}{service}health = {{ type = \"tcp\", interval = \"100ms\" }}\n"));
    assert_eq!(config.services["s"].health.clone().unwrap().timeout, Duration::from_millis(100));
}

#[test]
fn a_service_may_wait_for_its_first_backend() {
    let text = format!(
        "{LEAST}[vip.A]\naddress = [\"10.0.0.1\", \"fd00::1\"]\n[service.s]\nvips = \"A\"\nport = 1\n"
    );
    assert!(parse(&text).services["s"].backends.is_empty());
}

#[test]
fn inline_tables_and_dotted_keys_mean_the_same_as_headers() {
    let headers = parse(&format!(
        "{LEAST}[vip.A]\naddress = \"10.0.0.1\"\n[service.s]\nvips = [\"A\"]\nport = 80\n\
         [[service.s.backend]]\nname = \"b\"\naddress = \"10.0.0.2:80\"\n"
    ));
    let inline = parse(
        "node = { name = \"lb.1\", interfaces = [\"eth0\"] }\nvip.A.address = \"10.0.0.1\"\n\
         service.s.vips = \"A\"\nservice.s.port = 80\nservice.s.backend = [{ name = \"b\", address = \"10.0.0.2:80\" }]\n",
    );
    assert_eq!(headers, inline);
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let error = Config::load(Path::new("/nonexistent/lbctl.toml")).unwrap_err();
    assert_eq!(
        error.to_string(),
        "cannot read the configuration /nonexistent/lbctl.toml: No such file or directory (os error 2)"
    );
}

#[test]
fn errors_of_a_loaded_file_carry_its_name() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("my.toml");
    std::fs::write(&path, LEAST).unwrap();
    assert!(Config::load(&path).is_ok());
    std::fs::write(&path, "[nod]\n").unwrap();
    let text = Config::load(&path).unwrap_err().to_string();
    assert!(text.starts_with(&format!("{}:1:2: nod: unknown key", path.display())), "{text}");
}
