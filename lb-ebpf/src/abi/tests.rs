use super::*;
use crate::csum::Delta;
use core::net::IpAddr;

fn address(text: &str) -> Address {
    text.parse::<IpAddr>().expect("an address").into()
}

#[test]
fn addresses_survive_the_way_through_the_map_form() {
    for text in ["10.80.0.100", "fd80::100", "0.0.0.0", "::1"] {
        let ip: IpAddr = text.parse().expect("an address");
        assert_eq!(IpAddr::from(Address::from(ip)), ip);
    }
}

#[test]
fn layouts_are_the_ones_of_this_abi_version() {
    assert_eq!(core::mem::size_of::<FlowKey>(), 40);
    assert_eq!(core::mem::size_of::<FlowRecord>(), 104);
    assert_eq!(core::mem::size_of::<ServiceKey>(), 20);
    assert_eq!(core::mem::size_of::<Service>(), 24);
    assert_eq!(core::mem::size_of::<Backend>(), 40);
    assert_eq!(core::mem::size_of::<NodeConfig>(), 8);
}

const FORWARDINGS: [Forwarding; 3] = [Forwarding::Nat, Forwarding::KeepSource, Forwarding::Direct];

fn client() -> FlowKey {
    FlowKey::new(address("198.51.100.7"), [0x12, 0x34], address("10.80.0.100"), [0, 80], 6)
}

/// Both entries of a flow to a backend, the second with its key.
fn entries(forwarding: Forwarding) -> (FlowRecord, FlowKey, FlowRecord) {
    let mut forward: FlowRecord = bytemuck::Zeroable::zeroed();
    forward.write(forwarding, 8191, &client(), (&address("10.80.0.21"), [1, 81]));
    let mut reverse: FlowRecord = bytemuck::Zeroable::zeroed();
    reverse.write_answers(&client(), &forward);
    if forwarding == Forwarding::Nat {
        for port in [[0xff, 7], [0x10, 1]] {
            forward.set_new_source_port(port);
            reverse.follow_port_of(&forward);
        }
    }
    let from_backend = forward.twin_key(&client());
    (forward, from_backend, reverse)
}

#[test]
fn answers_come_from_where_the_packets_went() {
    let to = |destination, port| FlowKey::new(address("10.80.0.21"), [1, 81], address(destination), port, 6);
    assert_eq!(entries(Forwarding::Nat).1, to("10.80.0.100", [0x10, 1]));
    assert_eq!(entries(Forwarding::KeepSource).1, to("198.51.100.7", [0x12, 0x34]));
}

#[test]
fn twin_of_the_twin_is_the_flow_itself() {
    for forwarding in [Forwarding::Nat, Forwarding::KeepSource] {
        let (forward, from_backend, reverse) = entries(forwarding);
        assert_eq!(reverse.twin_key(&from_backend), client());
        assert_eq!((forward.direction(), reverse.direction()), (Direction::Forward, Direction::Reverse));
        assert!(reverse.answers(&client()));
    }
}

#[test]
fn a_flow_whose_answers_are_not_seen_has_a_twin_key_that_no_packet_has() {
    let (forward, twin, _) = entries(Forwarding::Direct);
    let answer = FlowKey::new(address("10.80.0.21"), [0, 80], client().source, client().source_port(), 6);
    assert_eq!(forward.forwarding(), Forwarding::Direct);
    assert_ne!(twin, answer);
}

#[test]
fn both_entries_know_the_client_and_what_it_addressed() {
    for forwarding in [Forwarding::Nat, Forwarding::KeepSource] {
        let (forward, from_backend, reverse) = entries(forwarding);
        for (record, key) in [(forward, client()), (reverse, from_backend)] {
            assert_eq!(record.service_id(), 8191);
            assert_eq!(record.forwarding(), forwarding);
            assert_eq!(*record.client(&key), address("198.51.100.7"));
            assert_eq!(record.entrance(&key), (&address("10.80.0.100"), [0, 80]));
        }
    }
}

#[test]
fn checksums_change_by_what_is_replaced() {
    for forwarding in FORWARDINGS {
        let (forward, from_backend, reverse) = entries(forwarding);
        for (record, key) in [(forward, client()), (reverse, from_backend)] {
            let (source, destination) = record.rewritten(&key);
            if forwarding == Forwarding::Direct {
                continue;
            }
            let addresses = Delta::ZERO
                .replace(key.source.bytes(), source.bytes())
                .replace(key.destination.bytes(), destination.bytes());
            let all = addresses
                .replace(&key.source_port(), &record.new_source_port())
                .replace(&key.destination_port(), &record.new_destination_port());
            for checksum in [[0x12, 0x34], [0xab, 0xcd], [0, 1]] {
                assert_eq!(record.address_delta.apply(checksum), addresses.apply(checksum), "{forwarding:?}");
                assert_eq!(record.transport_delta.apply(checksum), all.apply(checksum), "{forwarding:?}");
            }
        }
    }
}

#[test]
fn only_ports_of_the_nodes_range_are_its_own() {
    let node = NodeConfig { abi_version: ABI_VERSION, nat_port_first: 2048, nat_port_count: 10 };
    assert!(node.owns_nat_port(2048u16.to_be_bytes()));
    assert!(node.owns_nat_port(2057u16.to_be_bytes()));
    assert!(!node.owns_nat_port(2058u16.to_be_bytes()));
    assert!(!node.owns_nat_port(2047u16.to_be_bytes()));
    assert!(!node.owns_nat_port(0u16.to_be_bytes()));
}

#[test]
fn filter_positions_cover_the_whole_filter() {
    assert_eq!(filter_position([0, 0]), (0, 0));
    assert_eq!(filter_position([0xff, 0xff]), (FILTER_WORDS - 1, 63));
    assert_eq!(filter_position([0, 100]), (1, 36));
}

#[test]
fn peers_ports_are_those_from_the_first_to_the_last() {
    let ports = PeerPorts::new(2048, 4095);
    assert_eq!(PeerPorts::from_word(ports.word()), ports);
    for (port, within) in [(2047, false), (2048, true), (4095, true), (4096, false)] {
        assert_eq!(ports.contains(u16::to_be_bytes(port)), within, "{port}");
    }
    assert!(!PeerPorts::from_word(0).contains([0, 0]));
}
