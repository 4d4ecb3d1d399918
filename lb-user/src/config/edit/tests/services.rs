//! Whole services.

use std::time::Duration;

use super::*;
use crate::model::{AtLimit, DefaultPolicy, Mode, Protocol, SchedulerKind, WhenDown};

fn shop() -> Service {
    Service {
        name: service("shop"),
        vips: vec!["A".parse().unwrap()],
        port: 82,
        protocol: Protocol::Tcp,
        mode: Mode::Nat,
        keep_source: false,
        proxy: None,
        tls: None,
        backend_tls: None,
        mysql: None,
        https_port: None,
        scheduler: SchedulerKind::RoundRobin,
        when_down: WhenDown::Reset,
        default_policy: DefaultPolicy::Allow,
        max_flows: 0,
        at_limit: AtLimit::OtherBackend,
        health: Some(HealthCheck {
            kind: CheckKind::Http {
                path: "/up".to_owned(),
                expect_status: vec![200, 204],
                expect_body: Some("say \"ok\"".to_owned()),
            },
            interval: Duration::from_millis(1500),
            timeout: Duration::from_millis(500),
            rise: 2,
            fall: 3,
            slow_start: Duration::from_secs(90),
            refusals: 3,
            port: Some(8080),
        }),
        backends: vec![web3()],
    }
}

fn scheduled(scheduler: SchedulerKind) -> ServiceSettings {
    ServiceSettings { scheduler: Some(scheduler), ..ServiceSettings::default() }
}

#[test]
fn a_service_comes_at_the_end_of_the_file() {
    let edited = add_service(FILE, &shop()).unwrap();
    let added = edited.strip_prefix(FILE).unwrap();
    assert_eq!(
        added,
        r#"
[service.shop]
vips = "A"
port = 82

[service.shop.health]
type = "http"
path = "/up"
expect_status = [200, 204]
expect_body = 'say "ok"'
interval = "1s 500ms"
timeout = "500ms"
rise = 2
fall = 3
slow_start = "1m 30s"
port = 8080

[[service.shop.backend]]
name = "web3"
address = "10.80.0.23:80"
"#
    );
}

#[test]
fn an_added_service_is_read_as_it_was() {
    let edited = add_service(FILE, &shop()).unwrap();
    let config = crate::config::Config::parse(&edited, "test").unwrap();
    assert_eq!(config.services["shop"], shop());
}

#[test]
fn a_service_can_be_the_first_thing_in_a_file_or_come_behind_an_unfinished_line() {
    let mut plain = shop();
    plain.health = None;
    plain.backends.clear();
    assert_eq!(add_service("", &plain).unwrap(), "[service.shop]\nvips = \"A\"\nport = 82\n");
    assert!(add_service("[vip]", &plain).unwrap().starts_with("[vip]\n\n[service.shop]\n"));
}

#[test]
fn a_name_with_a_dot_is_quoted_in_its_headers() {
    let mut dotted = shop();
    dotted.name = service("a.b");
    let edited = add_service(FILE, &dotted).unwrap();
    assert!(
        edited.contains("[service.\"a.b\"]\n") && edited.contains("[[service.\"a.b\".backend]]\n"),
        "{edited}"
    );
    assert_eq!(remove_service(&edited, &service("a.b")).unwrap(), FILE);
}

#[test]
fn a_service_that_is_there_already_is_not_added_again() {
    let mut web = shop();
    web.name = service("web");
    let error = add_service(FILE, &web).unwrap_err();
    assert_eq!(error.to_string(), "there is a service \"web\" already");
}

#[test]
fn removing_an_added_service_gives_the_file_back() {
    for file in [FILE, &FILE.replace('\n', "\r\n"), LIST] {
        let added = add_service(file, &shop()).unwrap();
        assert_eq!(remove_service(&added, &service("shop")).unwrap(), file);
    }
}

#[test]
fn a_removed_service_takes_all_its_tables_along_and_leaves_the_rest() {
    let edited = remove_service(FILE, &service("web")).unwrap();
    assert_eq!(
        edited,
        r#"# The balancer of the shop.

[node]
name = "lb1"   # this machine
interfaces = [ "eth0" ]

[vip.A]
address = "10.80.0.100"

# A comment that stands alone.

[service.api] # not used yet
vips = "A"
port = 81
# The end.
"#
    );
}

#[test]
fn a_service_written_in_other_ways_is_removed_too() {
    let rest = "[vip.A]\naddress = \"10.80.0.100\"\n";
    let ways = [
        "service.s.port = 1\nservice.s.vips = [\n\"A\",\n]\nservice.s.backend = [{ name = \"a\" }]\n",
        "service.s = { port = 1, backend = [] }\n",
        "service = { s = { port = 1 } }\n",
        "[service]\ns.port = 1\ns.health.type = \"tcp\"\n",
        "[service.s.health]\ntype = \"tcp\"\n[service.s]\nport = 1\n",
        "[service.s]\nhealth.type = \"tcp\"\nport = 1\n[[service.s.backend]]\nname = \"a\"\n",
    ];
    for way in ways {
        let edited = remove_service(&format!("{way}{rest}"), &service("s")).unwrap();
        assert!(edited.ends_with(rest), "{way} leaves\n{edited}");
        assert!(!edited.contains("port") && !edited.contains("tcp"), "{way} leaves\n{edited}");
    }
}

#[test]
fn tables_of_other_services_in_between_stay() {
    let file = "[service.a]\nport = 1\n[service.b]\nport = 2\n[[service.a.backend]]\nname = \"x\"\n\
                [[service.b.backend]]\nname = \"y\"\n[service.a.health]\ntype = \"tcp\"\n";
    assert_eq!(
        remove_service(file, &service("a")).unwrap(),
        "[service.b]\nport = 2\n[[service.b.backend]]\nname = \"y\"\n"
    );
}

#[test]
fn a_way_of_writing_that_has_no_room_for_an_edit_is_told_as_such() {
    let file = "service = { s = { port = 1 } }\n";
    let error = add_service(file, &shop()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "cannot edit service shop in the way the file is written; write it as [service.NAME] and \
         [[service.NAME.backend]], or make the change by hand and run `lbctl apply`"
    );
}

#[test]
fn a_scheduler_is_set_where_it_stands_or_behind_the_services_own_keys() {
    let file = "[service.web] # the site\nvips = \"A\"\nport = 80 # http\n\n[[service.web.backend]]\nname = \"web1\"\n";
    let added = set_service(file, &service("web"), scheduled(SchedulerKind::Maglev)).unwrap();
    assert_eq!(added, file.replace("# http\n", "# http\nscheduler = \"maglev\"\n"));
    let set = set_service(&added, &service("web"), scheduled(SchedulerKind::SourceHash)).unwrap();
    assert_eq!(set, added.replace("maglev", "source-hash"));
    assert_eq!(set_service(file, &service("web"), ServiceSettings::default()).unwrap(), file);
    let missing = set_service(file, &service("shop"), scheduled(SchedulerKind::Maglev)).unwrap_err();
    assert!(matches!(missing, EditError::NoService { .. }), "{missing}");
}

#[test]
fn a_scheduler_is_set_in_an_inline_service_too() {
    let file = "service.web = { vips = \"A\", port = 80 }\n";
    let edited = set_service(file, &service("web"), scheduled(SchedulerKind::LeastConnections)).unwrap();
    assert_eq!(edited, "service.web = { vips = \"A\", port = 80, scheduler = \"least-connections\" }\n");
}
