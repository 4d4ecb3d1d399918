use super::*;
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
    assert_eq!(core::mem::size_of::<Backend>(), 32);
    assert_eq!(core::mem::size_of::<NodeConfig>(), 8);
}

/// The entry that turns packets of one key into packets of the other.
fn written(direction: Direction, key: &FlowKey, to: &FlowKey) -> FlowRecord {
    let mut record: FlowRecord = bytemuck::Zeroable::zeroed();
    record.write(direction, key, to.source_port(), (&to.destination, to.destination_port()));
    record
}

#[test]
fn twin_of_the_twin_is_the_flow_itself() {
    let client = FlowKey::new(address("198.51.100.7"), [0x12, 0x34], address("10.80.0.100"), [0, 80], 6);
    let to_backend = FlowKey::new(address("10.80.0.100"), [0x10, 1], address("10.80.0.21"), [0, 80], 6);
    let from_backend = FlowKey::new(address("10.80.0.21"), [0, 80], address("10.80.0.100"), [0x10, 1], 6);
    let to_client = FlowKey::new(address("10.80.0.100"), [0, 80], address("198.51.100.7"), [0x12, 0x34], 6);
    let forward = written(Direction::Forward, &client, &to_backend);
    let reverse = written(Direction::Reverse, &from_backend, &to_client);
    assert_eq!(forward.twin_key(&client), from_backend);
    assert_eq!(reverse.twin_key(&from_backend), client);
    assert_eq!(forward.direction(), Direction::Forward);
    assert_eq!(reverse.direction(), Direction::Reverse);
}

#[test]
fn the_entry_of_the_answers_is_the_one_that_would_be_written_out() {
    let client = FlowKey::new(address("198.51.100.7"), [0x12, 0x34], address("10.80.0.100"), [0, 80], 6);
    let to_backend = FlowKey::new(address("10.80.0.100"), [0x10, 1], address("10.80.0.21"), [1, 81], 6);
    let from_backend = FlowKey::new(address("10.80.0.21"), [1, 81], address("10.80.0.100"), [0x10, 1], 6);
    let to_client = FlowKey::new(address("10.80.0.100"), [0, 80], address("198.51.100.7"), [0x12, 0x34], 6);
    let destination = (&to_backend.destination, to_backend.destination_port());
    let mut forward: FlowRecord = bytemuck::Zeroable::zeroed();
    forward.write(Direction::Forward, &client, [0; 2], destination);
    let mut reverse: FlowRecord = bytemuck::Zeroable::zeroed();
    reverse.write_answers(&client, &forward);
    for port in [[0xff, 7], to_backend.source_port()] {
        forward.set_new_source_port(port);
        reverse.follow_port_of(&forward);
    }
    assert_eq!(forward, written(Direction::Forward, &client, &to_backend));
    assert_eq!(reverse, written(Direction::Reverse, &from_backend, &to_client));
    assert!(forward.answers(&from_backend) && reverse.answers(&client));
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
fn vip_filter_positions_cover_the_whole_filter() {
    assert_eq!(vip_filter_position([0, 0]), (0, 0));
    assert_eq!(vip_filter_position([0xff, 0xff]), (VIP_FILTER_WORDS - 1, 63));
    assert_eq!(vip_filter_position([0, 100]), (1, 36));
}
