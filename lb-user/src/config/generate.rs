//! Makes arbitrary configurations for property tests, and writes them as files.

mod ended_here;
mod track;

use std::collections::BTreeMap;
use std::fmt::Write;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::*;
use proptest::sample::subsequence;

use super::*;
use crate::model::{AdvertInterval, ChecksumForm, Priority, VirtualRouterId};

fn millis(range: std::ops::Range<u64>) -> impl Strategy<Value = Duration> {
    range.prop_map(Duration::from_millis)
}

fn health() -> impl Strategy<Value = HealthCheck> {
    let http = ("/[a-z]{0,5}", vec(200_u16..210, 1..3), option::of("[a-z\"\\\\]{1,5}"))
        .prop_map(|(path, expect_status, expect_body)| CheckKind::Http { path, expect_status, expect_body });
    let kind = prop_oneof![Just(CheckKind::Tcp), http];
    let times = (millis(100..5000), millis(1..100), millis(0..9000));
    let counts = (1..9_u32, 1..9_u32, 0..9_u32);
    (kind, times, counts, option::of(1_u16..)).prop_map(|(kind, times, (rise, fall, refusals), port)| {
        let (interval, timeout, slow_start) = times;
        HealthCheck { kind, interval, timeout, rise, fall, slow_start, refusals, port }
    })
}

/// Backends of a service; the number in each makes its name and addresses its own.
fn backends() -> impl Strategy<Value = Vec<Backend>> {
    let numbers = subsequence((1..=5_u8).collect::<Vec<_>>(), 0..=5).prop_shuffle();
    let state = prop_oneof![Just(AdminState::Ready), Just(AdminState::Drain), Just(AdminState::Maint)];
    let rest = vec((0..=3_u16, state, 1..3_u16, 0..3_u32), 5);
    (numbers, rest).prop_map(|(numbers, rest)| {
        let backend =
            |(number, (weight, state, port, max_flows)): (u8, (u16, AdminState, u16, u32))| Backend {
                name: format!("b.{number}").parse().unwrap(),
                addresses: vec![
                    SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, 0, 0, number)), port),
                    SocketAddr::new(IpAddr::V6(Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, number.into())), port),
                ],
                weight: Weight::new(weight).unwrap(),
                state,
                max_flows,
                names: if weight == 2 { vec!["a.org".to_owned()] } else { Vec::new() },
            };
        numbers.into_iter().zip(rest).map(backend).collect()
    })
}

/// Some of three VIPs, each with addresses of its own.
fn vips() -> impl Strategy<Value = BTreeMap<VipName, Vip>> {
    let some = subsequence(vec![0_u8, 1, 2], 1..=3);
    let vrrp = option::of((1..=255_u8, 1..=300_u16, any::<bool>(), 0..3_u64, any::<bool>()));
    (some, vec(("eth[01]", "lb[12]", any::<bool>(), vrrp), 3)).prop_map(|(numbers, rest)| {
        let vip = |(number, (interface, active_on, both, vrrp)): (u8, (String, String, bool, Option<_>))| {
            let mut addresses = vec![IpAddr::V4(Ipv4Addr::new(10, 0, 1, number))];
            addresses
                .extend(both.then(|| IpAddr::V6(Ipv6Addr::new(0xfd00, 0, 0, 1, 0, 0, 0, number.into()))));
            let name = format!("V{number}").parse().unwrap();
            let vrrp = vrrp.map(|(priority, interval, preempt, delay, alone)| Vrrp {
                id: VirtualRouterId::new(number + 1).unwrap(),
                priority: Priority::new(priority).unwrap(),
                interval: AdvertInterval::from_centiseconds(interval).unwrap(),
                preempt,
                preempt_delay: Duration::from_secs(delay),
                peers: if alone { vec![IpAddr::V4(Ipv4Addr::new(10, 0, 0, 3))] } else { Vec::new() },
                checksum: if alone { ChecksumForm::Message } else { ChecksumForm::PseudoHeader },
                // Those of a group have one priority, so each has a group of its own.
                group: preempt.then(|| format!("g{number}").parse().unwrap()),
                accept: priority == u8::MAX || delay % 2 == 0,
                flap_limit: delay as u32,
                flap_window: Duration::from_secs(60 + delay),
                track: if alone {
                    BTreeMap::from([("t1".parse().unwrap(), priority.min(254))])
                } else {
                    BTreeMap::new()
                },
            });
            (name, Vip { addresses, interface, active_on: active_on.parse().unwrap(), vrrp })
        };
        numbers.into_iter().zip(rest).map(vip).collect()
    })
}

fn at_limit() -> impl Strategy<Value = AtLimit> {
    prop_oneof![Just(AtLimit::OtherBackend), Just(AtLimit::Reset), Just(AtLimit::Drop)]
}

fn forwarding() -> impl Strategy<Value = (Mode, bool, Protocol)> {
    let modes = prop_oneof![
        Just((Mode::Nat, false)),
        Just((Mode::Nat, true)),
        Just((Mode::Dsr, false)),
        Just((Mode::Tcp, false)),
        Just((Mode::Tls, false)),
        Just((Mode::RedirectHttps, false)),
        Just((Mode::Mysql, false))
    ];
    (modes, prop_oneof![Just(Protocol::Tcp), Just(Protocol::Udp)]).prop_map(
        |((mode, keep_source), protocol)| {
            (mode, keep_source, if mode.is_served_by_agent() { Protocol::Tcp } else { protocol })
        },
    )
}

fn when_down() -> impl Strategy<Value = WhenDown> {
    prop_oneof![Just(WhenDown::Reset), Just(WhenDown::Drop), Just(WhenDown::LastKnown)]
}

fn scheduler() -> impl Strategy<Value = SchedulerKind> {
    prop_oneof![
        Just(SchedulerKind::RoundRobin),
        Just(SchedulerKind::LeastConnections),
        Just(SchedulerKind::SourceHash),
        Just(SchedulerKind::Maglev),
    ]
}

fn default_policy() -> impl Strategy<Value = DefaultPolicy> {
    prop_oneof![Just(DefaultPolicy::Allow), Just(DefaultPolicy::Deny)]
}

fn firewall() -> impl Strategy<Value = Firewall> {
    let limits = (option::of(1..9_u32), 1..9_u32, option::of(1..9_u32), 0..=32_u8, 0..=128_u8).prop_map(
        |(rate, burst, active, per_ipv4, per_ipv6)| {
            let active_flows = if rate.is_none() { Some(active.unwrap_or(1)) } else { active };
            let burst = if rate.is_none() { 1 } else { burst };
            RuleAction::Limit(Limits { new_flows_per_second: rate, burst, active_flows, per_ipv4, per_ipv6 })
        },
    );
    let action = prop_oneof![Just(RuleAction::Allow), Just(RuleAction::Deny), limits];
    let prefix = (0..4_u8, 0..=2_u8)
        .prop_map(|(net, size)| format!("10.{net}.0.0/{}", 16 + 8 * size).parse().unwrap());
    let sources =
        prop_oneof![vec(prefix, 1..6).prop_map(Sources::Prefixes), Just(Sources::File("/etc/deny".into()))];
    let target = prop_oneof![
        Just(RuleTarget::Services),
        Just(RuleTarget::Host),
        (1..9_u16).prop_map(RuleTarget::HostPort)
    ];
    let rest = vec((action, sources, target), 4);
    let names = subsequence(vec!["r1", "r2", "r3", "r.4"], 0..=4).prop_shuffle();
    (default_policy(), names, rest).prop_map(|(host_default, names, rest)| {
        let rules = names.into_iter().zip(rest).map(|(name, (mut action, sources, target))| {
            // Open connections of the host are not counted.
            if let (RuleAction::Limit(limits), true) = (&mut action, target.is_host())
                && limits.active_flows.take().is_some()
            {
                limits.new_flows_per_second.get_or_insert(1);
            }
            FirewallRule { name: name.parse().unwrap(), action, sources, target }
        });
        Firewall { host_default, rules: rules.collect() }
    })
}

fn services() -> impl Strategy<Value = BTreeMap<String, Service>> {
    let policies = (scheduler(), when_down(), default_policy(), 0..3_u32, at_limit());
    let forwarding = (
        forwarding(),
        ended_here::proxy(),
        ended_here::tls(),
        option::of(ended_here::backend_tls()),
        ended_here::mysql(),
    );
    let service = (option::of(health()), backends(), any::<bool>(), forwarding, policies).prop_map(
        |(
            health,
            mut backends,
            moved,
            ((mode, keep_source, protocol), proxy, tls, backend_tls, mysql),
            policies,
        )| {
            if !matches!(mode, Mode::Tcp | Mode::Tls) {
                backends.iter_mut().for_each(|backend| backend.names.clear());
            }
            if !mode.has_backends() {
                backends.clear();
            }
            let (scheduler, when_down, default_policy, max_flows, at_limit) = policies;
            Service {
                // Replaced when it is known which there are.
                name: "s".parse().unwrap(),
                vips: Vec::new(),
                port: u16::from(moved),
                protocol,
                mode,
                keep_source,
                scheduler,
                when_down,
                default_policy,
                max_flows,
                at_limit,
                proxy: mode.is_served_by_agent().then_some(proxy),
                tls: (mode == Mode::Tls || mode == Mode::Mysql && moved).then_some(tls),
                mysql: (mode == Mode::Mysql).then_some(mysql),
                backend_tls: backend_tls.filter(|_| matches!(mode, Mode::Tcp | Mode::Tls | Mode::Mysql)),
                https_port: (mode == Mode::RedirectHttps).then_some(443 + u16::from(moved)),
                health: health.filter(|_| mode.has_backends()),
                backends,
            }
        },
    );
    btree_map("s[1-4.]", service, 0..4)
}

/// Any configuration that passes the checks.
pub(super) fn config() -> impl Strategy<Value = Config> {
    let attach = prop_oneof![Just(AttachMode::Auto), Just(AttachMode::Native), Just(AttachMode::Generic)];
    let node = ("lb[12]", 2048_u16..2050, any::<bool>(), attach).prop_map(|(name, last, swap, attach)| {
        let mut interfaces = vec!["eth0".to_owned(), "eth1".to_owned()];
        interfaces.rotate_left(usize::from(swap));
        let nat_ports = PortRange::new(2048, last).unwrap();
        Node { name: name.parse().unwrap(), nat_ports, interfaces, attach }
    });
    let control =
        ("/run/[ab]", option::of("[ab]"), any::<bool>()).prop_map(|(socket, group, others_may_read)| {
            Control { socket: PathBuf::from(socket), group, others_may_read }
        });
    let timeouts = vec(millis(1..4), 5).prop_map(|times| FlowTimeouts {
        established: times[0],
        half_closed: times[1],
        closed: times[2],
        embryonic: times[3],
        udp: times[4],
    });
    let cookies =
        prop_oneof![Just(SynCookieMode::Auto), Just(SynCookieMode::Always), Just(SynCookieMode::Never)];
    let sizes = (1024..1027_u32, 16384..16387_u32, 1024..1027_u32, 1024..1027_u32);
    let dataplane = ("/p/[ab]", sizes, cookies, timeouts).prop_map(
        |(
            pin_dir,
            (established_flows, embryonic_flows, limited_sources, prefixes),
            syn_cookies,
            timeouts,
        )| {
            Dataplane {
                pin_dir: PathBuf::from(pin_dir),
                established_flows,
                embryonic_flows,
                limited_sources,
                prefixes,
                syn_cookies,
                timeouts,
            }
        },
    );
    let rest = (
        option::of(sync()),
        track::trackers(),
        option::of(track::notify()),
        ended_here::acme(),
        (option::of(ended_here::metrics()), ended_here::log(), ended_here::agent()),
    );
    let parts = (node, control, dataplane, vips(), services(), firewall(), rest);
    parts.prop_map(
        |(
            node,
            control,
            dataplane,
            vips,
            services,
            firewall,
            (sync, trackers, notify, acme, (metrics, log, agent)),
        )| {
            let mut port = 80;
            let name = |(name, mut service): (String, Service)| {
                port += 2;
                service.port += port;
                if service.mode == Mode::Dsr {
                    let addresses = service.backends.iter_mut().flat_map(|backend| &mut backend.addresses);
                    addresses.for_each(|address| address.set_port(service.port));
                }
                service.vips = vips.keys().cloned().collect();
                service.name = name.parse().unwrap();
                (service.name.clone(), service)
            };
            let services = services.into_iter().map(name).collect();
            Config {
                node,
                control,
                dataplane,
                vips,
                services,
                firewall,
                sync,
                trackers,
                notify,
                acme: Some(acme),
                metrics,
                log,
                agent,
            }
        },
    )
}

fn sync() -> impl Strategy<Value = FlowSync> {
    (1..9_u8, 1..9_u8, 1_u16.., millis(0..4000), millis(0..4000)).prop_map(
        |(own, peer, port, grace, join_timeout)| {
            let at = |last: u8| SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, 0, 2, last)), port);
            let key_file = PathBuf::from("/etc/key");
            FlowSync { address: at(own), peers: vec![at(peer + 10)], key_file, grace, join_timeout }
        },
    )
}

/// Writes a configuration as a file, except its services.
pub(super) fn write_without_services(config: &Config) -> String {
    let mut text = String::new();
    let node = &config.node;
    writeln!(text, "[node]\nname = \"{}\"\nnat_ports = \"{}\"", node.name, node.nat_ports).unwrap();
    writeln!(text, "interfaces = {:?}\nattach = \"{}\"", node.interfaces, node.attach).unwrap();
    writeln!(text, "[control]\nsocket = {:?}", config.control.socket).unwrap();
    writeln!(text, "others_may_read = {}", config.control.others_may_read).unwrap();
    if let Some(group) = &config.control.group {
        writeln!(text, "group = {group:?}").unwrap();
    }
    let dataplane = &config.dataplane;
    writeln!(text, "[dataplane]\npin_dir = {:?}", dataplane.pin_dir).unwrap();
    writeln!(text, "established_flows = {}", dataplane.established_flows).unwrap();
    writeln!(text, "embryonic_flows = {}", dataplane.embryonic_flows).unwrap();
    writeln!(text, "limited_sources = {}", dataplane.limited_sources).unwrap();
    writeln!(text, "prefixes = {}\nsyn_cookies = \"{}\"", dataplane.prefixes, dataplane.syn_cookies).unwrap();
    writeln!(text, "[dataplane.timeouts]").unwrap();
    let timeouts = &dataplane.timeouts;
    writeln!(
        text,
        "established = \"{:?}\"\nhalf_closed = \"{:?}\"",
        timeouts.established, timeouts.half_closed
    )
    .unwrap();
    writeln!(text, "closed = \"{:?}\"\nembryonic = \"{:?}\"", timeouts.closed, timeouts.embryonic).unwrap();
    writeln!(text, "udp = \"{:?}\"", timeouts.udp).unwrap();
    for (name, vip) in &config.vips {
        let addresses: Vec<String> = vip.addresses.iter().map(ToString::to_string).collect();
        writeln!(text, "[vip.{name}]\naddress = {addresses:?}").unwrap();
        writeln!(text, "interface = {:?}\nactive_on = \"{}\"", vip.interface, vip.active_on).unwrap();
        if let Some(vrrp) = &vip.vrrp {
            let peers: Vec<String> = vrrp.peers.iter().map(ToString::to_string).collect();
            writeln!(text, "[vip.{name}.vrrp]\nid = {}\npriority = {}", vrrp.id, vrrp.priority).unwrap();
            writeln!(text, "interval = \"{}ms\"", vrrp.interval.duration().as_millis()).unwrap();
            writeln!(text, "preempt = {}\npreempt_delay = \"{:?}\"", vrrp.preempt, vrrp.preempt_delay)
                .unwrap();
            writeln!(text, "peers = {peers:?}\nchecksum = \"{}\"", vrrp.checksum).unwrap();
            if let Some(group) = &vrrp.group {
                writeln!(text, "group = \"{group}\"").unwrap();
            }
            let window = vrrp.flap_window;
            writeln!(text, "accept = {}", vrrp.accept).unwrap();
            writeln!(text, "flap_limit = {}\nflap_window = \"{window:?}\"", vrrp.flap_limit).unwrap();
            let track: Vec<String> = vrrp.track.iter().map(|(name, by)| format!("{name} = {by}")).collect();
            writeln!(text, "track = {{ {} }}", track.join(", ")).unwrap();
        }
    }
    track::write(&mut text, config);
    if let Some(acme) = &config.acme {
        text.push_str(&ended_here::write_acme(acme));
    }
    text.push_str(&ended_here::write_agent(&config.agent));
    writeln!(text, "[log]\nlevel = \"{}\"\nformat = \"{}\"", config.log.level, config.log.format).unwrap();
    if let Some(metrics) = config.metrics {
        writeln!(text, "[metrics]\nlisten = \"{}\"", metrics.listen).unwrap();
    }
    if let Some(sync) = &config.sync {
        let peers: Vec<String> = sync.peers.iter().map(ToString::to_string).collect();
        writeln!(text, "[sync]\naddress = \"{}\"\npeers = {peers:?}", sync.address).unwrap();
        writeln!(text, "key_file = {:?}\ngrace = \"{:?}\"", sync.key_file, sync.grace).unwrap();
        writeln!(text, "join_timeout = \"{:?}\"", sync.join_timeout).unwrap();
    }
    write_firewall(&mut text, &config.firewall);
    text
}

fn write_firewall(text: &mut String, firewall: &Firewall) {
    writeln!(text, "[firewall]\nhost_default = \"{}\"", firewall.host_default).unwrap();
    for rule in &firewall.rules {
        text.push_str(&super::edit::rule_table(rule));
    }
}
