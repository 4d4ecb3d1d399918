use super::*;
use crate::config::Config;
use crate::model::{Family, SchedulerKind, ServiceName};
use proptest::prelude::*;
use std::time::Duration;

const HEAD: &str = r#"
[node]
name = "lb1"
interfaces = ["eth0"]
[vip.A]
address = ["10.80.0.100", "fd80::100"]
[vip.B]
address = "10.80.0.101"
active_on = "lb2"
"#;

fn config(services: &str) -> Config {
    match Config::parse(&format!("{HEAD}{services}"), "test.toml") {
        Ok(config) => config,
        Err(errors) => panic!("{errors}"),
    }
}

fn web(backends: &[(&str, &str, u16, &str)]) -> Config {
    let mut text = String::from("[service.web]\nvips = [\"A\", \"B\"]\nport = 80\n");
    for (name, address, weight, state) in backends {
        text.push_str(&format!(
            "[[service.web.backend]]\nname = \"{name}\"\naddress = [{address}]\nweight = {weight}\nstate = \"{state}\"\n"
        ));
    }
    config(&text)
}

const WEB1: &str = r#""10.80.0.21:80", "[fd80::21]:80""#;
const WEB3: &str = r#""10.80.0.23:80", "[fd80::23]:80""#;
const WEB2: &str = r#""10.80.0.22:80", "[fd80::22]:80""#;

fn key(family: Family) -> SteeringKey {
    SteeringKey { service: ServiceName::new("web").expect("a name"), family }
}

/// Takes all steps, and checks what must hold between any two of them.
fn take(image: &mut Image, desired: &Desired) -> Vec<Step> {
    let steps = steps(image, desired).expect("it fits");
    for step in &steps {
        if let Step::PutSlots(start, slots) = step {
            let end = start + slots.len() as u32;
            for service in image.services.values().filter(|service| !service.slots.is_empty()) {
                let clash = service.slots.start < end && *start < service.slots.end;
                assert!(!clash, "slots {start}..{end} are written under {:?}", service.slots);
            }
        }
        image.take(step);
        for service in image.services.values().filter(|service| !service.slots.is_empty()) {
            let slots = image.slots.get(&service.slots.start).expect("a service points to written slots");
            assert_eq!(slots.len() as u32, service.slots.end - service.slots.start);
        }
    }
    steps
}

/// Slot tables by address, with backends' addresses in place of ids.
fn tables(image: &Image) -> Vec<(String, Vec<String>)> {
    let table = |service: &ServiceEntry| match image.slots.get(&service.slots.start) {
        Some(slots) if !service.slots.is_empty() => {
            slots.iter().map(|id| image.backends[id].address.to_string()).collect()
        }
        _ => Vec::new(),
    };
    image.services.iter().map(|(address, service)| (address.socket.to_string(), table(service))).collect()
}

fn wanted(desired: &Desired) -> Vec<(String, Vec<String>)> {
    let mut all: Vec<_> = desired
        .steering
        .values()
        .flat_map(|steering| {
            let slots: Vec<String> =
                steering.slots.iter().map(|name| steering.backends[name].address.to_string()).collect();
            steering.listen.iter().map(move |address| (*address, slots.clone()))
        })
        .collect();
    all.sort();
    all.into_iter().map(|(address, slots)| (address.to_string(), slots)).collect()
}

#[test]
fn only_vips_that_are_active_on_this_node_are_served() {
    let desired = desire(&web(&[("web1", WEB1, 1, "ready")]), &AvailabilityMap::new());
    let served: Vec<String> =
        desired.steering[&key(Family::V4)].listen.iter().map(ToString::to_string).collect();
    assert_eq!(served, ["10.80.0.100:80"]);
    assert_eq!(desired.vips.len(), 2);
}

#[test]
fn weights_three_to_one_give_slots_three_to_one() {
    let config = web(&[("web1", WEB1, 3, "ready"), ("web2", WEB2, 1, "ready")]);
    let desired = desire(&config, &AvailabilityMap::new());
    let slots = &desired.steering[&key(Family::V4)].slots;
    let of = |name: &str| slots.iter().filter(|slot| slot.as_str() == name).count();
    assert_eq!((slots.len(), of("web1"), of("web2")), (4, 3, 1));
}

#[test]
fn drained_unhealthy_and_weightless_backends_get_no_slots() {
    let config = web(&[("web1", WEB1, 1, "drain"), ("web2", WEB2, 0, "ready")]);
    assert!(desire(&config, &AvailabilityMap::new()).steering[&key(Family::V4)].slots.is_empty());
    let config = web(&[("web1", WEB1, 1, "ready")]);
    let service = ServiceName::new("web").expect("a name");
    let down = Availability { healthy: false, ramping_for: None };
    let one = [((service, config.services["web"].backends[0].name.clone(), Family::V4), down)];
    let desired = desire(&config, &one.into_iter().collect());
    assert!(desired.steering[&key(Family::V4)].slots.is_empty());
    assert_eq!(desired.steering[&key(Family::V6)].slots.len(), 1, "the other family is not concerned");
}

#[test]
fn a_ramping_backend_gets_less_than_its_share() {
    let mut text = String::from("[service.web]\nvips = [\"A\"]\nport = 80\n");
    text.push_str("[service.web.health]\ntype = \"tcp\"\nslow_start = \"10s\"\n");
    for (name, address) in [("web1", WEB1), ("web2", WEB2)] {
        text.push_str(&format!("[[service.web.backend]]\nname = \"{name}\"\naddress = [{address}]\n"));
    }
    let config = config(&text);
    let service = config.services["web"].name.clone();
    let mut availability = AvailabilityMap::new();
    for backend in &config.services["web"].backends {
        let ramping_for = (backend.name.as_str() == "web2").then_some(Duration::from_secs(1));
        let one = Availability { healthy: true, ramping_for };
        availability.insert((service.clone(), backend.name.clone(), Family::V4), one);
    }
    let desired = desire(&config, &availability);
    let slots = &desired.steering[&key(Family::V4)].slots;
    let of = |name: &str| slots.iter().filter(|slot| slot.as_str() == name).count();
    assert!(of("web2") > 0 && of("web2") * 3 < of("web1"), "{} of {}", of("web2"), slots.len());
}

#[test]
fn a_changed_weight_keeps_ids_and_a_changed_address_does_not() {
    let mut image = Image::default();
    take(
        &mut image,
        &desire(&web(&[("web1", WEB1, 1, "ready"), ("web2", WEB2, 1, "ready")]), &AvailabilityMap::new()),
    );
    let before = image.backends.clone();
    take(
        &mut image,
        &desire(&web(&[("web1", WEB1, 5, "ready"), ("web2", WEB2, 1, "ready")]), &AvailabilityMap::new()),
    );
    let same = |(old, new): ((&u32, &BackendEntry), (&u32, &BackendEntry))| {
        old.0 == new.0 && old.1.is_same_backend(new.1)
    };
    assert!(before.iter().zip(&image.backends).all(same), "{before:?} {:?}", image.backends);
    assert_ne!(image.backends, before, "the weights are in the entries");
    let moved = r#""10.80.0.23:80", "[fd80::22]:80""#;
    take(
        &mut image,
        &desire(&web(&[("web1", WEB1, 5, "ready"), ("web2", moved, 1, "ready")]), &AvailabilityMap::new()),
    );
    let old: Vec<u32> = before
        .iter()
        .filter(|(_, entry)| entry.address.to_string() == "10.80.0.22:80")
        .map(|(id, _)| *id)
        .collect();
    assert!(!image.backends.contains_key(&old[0]), "the old address's id is not used for the new one");
}

#[test]
fn another_scheduler_takes_another_table_and_keeps_all_ids() {
    let backends = [("web1", WEB1, 1, "ready"), ("web2", WEB2, 1, "ready")];
    let mut image = Image::default();
    let mut config = web(&backends);
    take(&mut image, &desire(&config, &AvailabilityMap::new()));
    let before = image.clone();
    config.services.values_mut().for_each(|service| service.scheduler = SchedulerKind::Maglev);
    let desired = desire(&config, &AvailabilityMap::new());
    take(&mut image, &desired);
    assert_eq!(image.backends, before.backends);
    for (address, service) in &image.services {
        assert_eq!((service.id, service.scheduler), (before.services[address].id, SchedulerKind::Maglev));
        assert_eq!(service.slots.len(), 4093);
    }
}

#[test]
fn all_backends_down_leaves_no_slots_unless_the_last_known_ones_are_wanted() {
    let text = |when_down: &str| {
        let mut text = format!("[service.web]\nvips = [\"A\"]\nport = 80\nwhen_down = \"{when_down}\"\n");
        let states = [("web1", WEB1, "ready"), ("web2", WEB2, "ready"), ("web3", WEB3, "drain")];
        for (name, address, state) in states {
            text.push_str(&format!(
                "[[service.web.backend]]\nname = \"{name}\"\naddress = [{address}]\nstate = \"{state}\"\n"
            ));
        }
        text
    };
    let mut availability = AvailabilityMap::new();
    for backend in &config(&text("reset")).services["web"].backends {
        for family in [Family::V4, Family::V6] {
            let down = Availability { healthy: false, ramping_for: None };
            availability.insert((key(family).service, backend.name.clone(), family), down);
        }
    }
    for (when_down, drops, slots) in [("reset", false, 0), ("drop", true, 0), ("last-known", false, 2)] {
        let desired = desire(&config(&text(when_down)), &availability);
        let mut image = Image::default();
        take(&mut image, &desired);
        for service in image.services.values() {
            assert_eq!((service.drops_when_down, service.slots.len()), (drops, slots), "{when_down}");
        }
    }
    // One that is up is enough to believe the checks again.
    let up = Availability { healthy: true, ramping_for: None };
    let web2 = config(&text("reset")).services["web"].backends[1].name.clone();
    availability.insert((key(Family::V4).service, web2.clone(), Family::V4), up);
    let desired = desire(&config(&text("last-known")), &availability);
    assert_eq!(desired.steering[&key(Family::V4)].slots, [web2]);
}

#[test]
fn the_id_of_a_removed_backend_is_not_used_for_the_next_one() {
    let mut image = Image::default();
    let both = [("web1", WEB1, 1, "ready"), ("web2", WEB2, 1, "ready")];
    take(&mut image, &desire(&web(&both), &AvailabilityMap::new()));
    let before: Vec<u32> = image.backends.keys().copied().collect();
    take(&mut image, &desire(&web(&both[..1]), &AvailabilityMap::new()));
    let third = r#""10.80.0.23:80", "[fd80::23]:80""#;
    take(&mut image, &desire(&web(&[both[0], ("web3", third, 1, "ready")]), &AvailabilityMap::new()));
    let new: Vec<u32> = image
        .backends
        .iter()
        .filter(|(_, entry)| entry.address.to_string().contains("23"))
        .map(|(id, _)| *id)
        .collect();
    assert!(!new.is_empty() && new.iter().all(|id| !before.contains(id)), "{new:?} of {before:?}");
}

#[test]
fn ids_go_in_turn_also_while_the_last_one_is_in_use() {
    let mut image = Image::default();
    let last = lb_ebpf::abi::MAX_BACKENDS - 1;
    image.next_backend_id = last;
    let stays = ("web1", r#""10.80.0.21:80", "[fd80::21]:80""#, 1, "ready");
    take(&mut image, &desire(&web(&[stays]), &AvailabilityMap::new()));
    let mut before: Vec<u32> = image.backends.keys().copied().collect();
    assert_eq!(before, [0, last]);
    for host in 30..40 {
        let address = format!("\"10.80.0.{host}:80\", \"[fd80::{host}]:80\"");
        take(&mut image, &desire(&web(&[stays, ("web2", &address, 1, "ready")]), &AvailabilityMap::new()));
        let new: Vec<u32> = image.backends.keys().copied().filter(|id| !before.contains(id)).collect();
        assert_eq!(new.len(), 2, "an id of a moved backend was used again at once: {new:?} after {before:?}");
        before.extend(new);
    }
    assert_eq!(before[2..], (1..=20).collect::<Vec<u32>>());
}

#[test]
fn from_wherever_a_plan_stopped_there_is_a_way_back() {
    let mut start = Image::default();
    let old =
        desire(&web(&[("web1", WEB1, 1, "ready"), ("web2", WEB2, 1, "ready")]), &AvailabilityMap::new());
    take(&mut start, &old);
    let moved = r#""10.80.0.23:80", "[fd80::23]:80""#;
    let new =
        desire(&web(&[("web1", moved, 3, "ready"), ("web3", WEB2, 1, "ready")]), &AvailabilityMap::new());
    let plan = steps(&start, &new).expect("it fits");
    for taken in 0..=plan.len() {
        let mut image = start.clone();
        plan[..taken].iter().for_each(|step| image.take(step));
        take(&mut image, &old);
        assert_eq!(tables(&image), wanted(&old), "after {taken} of {} steps", plan.len());
        assert_eq!(image.backends.len(), start.backends.len(), "no backend entry is left over");
    }
}

#[test]
fn nothing_to_change_takes_no_steps() {
    let mut image = Image::default();
    let desired =
        desire(&web(&[("web1", WEB1, 3, "ready"), ("web2", WEB2, 1, "ready")]), &AvailabilityMap::new());
    assert!(!take(&mut image, &desired).is_empty());
    assert_eq!(steps(&image, &desired), Ok(Vec::new()));
}

#[test]
fn what_does_not_fit_is_refused_with_the_limit() {
    let vips = (0..5000u32).map(|n| std::net::IpAddr::from(n.to_be_bytes())).collect();
    let desired = Desired { vips, ..Desired::default() };
    let error = steps(&Image::default(), &desired).expect_err("too many");
    assert_eq!(error.to_string(), "5000 VIPs do not fit: this release holds 4096; remove some");
}

proptest! {
    #[test]
    fn any_sequence_of_wishes_ends_with_the_maps_as_wished(
        wishes in proptest::collection::vec(proptest::collection::vec((0u8..6, 0u16..5, any::<bool>()), 0..5), 1..8)
    ) {
        let mut image = Image::default();
        for wish in wishes {
            let mut backends = std::collections::BTreeMap::new();
            for (number, weight, ready) in wish {
                backends.insert(number, (weight, ready));
            }
            let named: Vec<(String, String, u16, &str)> = backends.iter().map(|(number, (weight, ready))| {
                (format!("b{number}"), format!("\"10.80.0.{}:80\", \"[fd80::{number}]:80\"", 20 + number), *weight,
                 if *ready { "ready" } else { "drain" })
            }).collect();
            let named: Vec<(&str, &str, u16, &str)> =
                named.iter().map(|(name, address, weight, state)| (name.as_str(), address.as_str(), *weight, *state)).collect();
            if named.is_empty() {
                continue;
            }
            let desired = desire(&web(&named), &AvailabilityMap::new());
            take(&mut image, &desired);
            prop_assert_eq!(tables(&image), wanted(&desired));
            prop_assert_eq!(&image.vips, &desired.vips);
            let used: usize = desired.steering.values().map(|steering| steering.backends.len()).sum();
            prop_assert_eq!(image.backends.len(), used, "no backend entry is left over");
        }
    }
}
