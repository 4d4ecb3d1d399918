//! What a node says of itself with each greeting, and its bytes: fields with a number and a length, so that a release skips those that
//! only a later one knows.

use crate::model::{NodeName, PortRange};
use lb_ebpf::abi::Address;

/// A node, as it introduces itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Introduction {
    /// Its name.
    pub node: NodeName,
    /// The ports that it gives to flows.
    pub nat_ports: PortRange,
    /// A hash of what all nodes should have alike in their configuration.
    pub fingerprint: u64,
    /// VIPs that it serves by VRRP.
    pub active: Vec<Address>,
    /// Backends that it finds down, by the hash of their names; not all, if there are very many.
    pub down: Vec<u64>,
    /// VIPs that it serves, and asks the node which hears this to take.
    pub offers: Vec<Address>,
    /// Whether it lacks flows, as it did not hear the other node for a while.
    pub wants_snapshot: bool,
}

const NODE: u8 = 1;
const NAT_PORTS: u8 = 2;
const FINGERPRINT: u8 = 3;
const ACTIVE: u8 = 4;
const DOWN: u8 = 5;
const OFFERS: u8 = 6;
const WANTS_SNAPSHOT: u8 = 7;
/// VIPs that are told at most (and backends, below), so that it fits one datagram.
pub const ACTIVE_MAX: usize = 24;
const DOWN_MAX: usize = 32;

impl Introduction {
    /// Appends its bytes.
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        let mut field = |number: u8, value: &[u8]| {
            out.push(number);
            out.extend(u16::try_from(value.len()).unwrap_or(0).to_be_bytes());
            out.extend(value);
        };
        field(NODE, self.node.as_str().as_bytes());
        let ports = [self.nat_ports.first().to_be_bytes(), self.nat_ports.last().to_be_bytes()];
        field(NAT_PORTS, ports.as_flattened());
        field(FINGERPRINT, &self.fingerprint.to_be_bytes());
        field(ACTIVE, &bytes_of(&self.active));
        let down: Vec<u8> = self.down.iter().take(DOWN_MAX).flat_map(|hash| hash.to_be_bytes()).collect();
        field(DOWN, &down);
        if !self.offers.is_empty() {
            field(OFFERS, &bytes_of(&self.offers));
        }
        if self.wants_snapshot {
            field(WANTS_SNAPSHOT, &[]);
        }
    }

    /// What bytes say; `None` where they make no sense or lack what every release says.
    pub(super) fn decode(mut bytes: &[u8]) -> Option<Self> {
        let (mut node, mut nat_ports, mut fingerprint) = (None, None, None);
        let (mut active, mut down, mut offers) = (Vec::new(), Vec::new(), Vec::new());
        let mut wants_snapshot = false;
        while !bytes.is_empty() {
            let (&[number, high, low], rest) = bytes.split_first_chunk::<3>()?;
            let (value, rest) = rest.split_at_checked(usize::from(u16::from_be_bytes([high, low])))?;
            bytes = rest;
            match number {
                NODE => node = std::str::from_utf8(value).ok()?.parse().ok(),
                NAT_PORTS => {
                    let [a, b, c, d] = *value.first_chunk::<4>()?;
                    nat_ports = PortRange::new(u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d])).ok();
                }
                FINGERPRINT => fingerprint = value.first_chunk().map(|bytes| u64::from_be_bytes(*bytes)),
                ACTIVE => active = addresses_in(value),
                OFFERS => offers = addresses_in(value),
                WANTS_SNAPSHOT => wants_snapshot = true,
                DOWN => down = value.as_chunks::<8>().0.iter().map(|one| u64::from_be_bytes(*one)).collect(),
                // Of a later release.
                _ => {}
            }
        }
        let (node, nat_ports, fingerprint) = (node?, nat_ports?, fingerprint?);
        Some(Self { node, nat_ports, fingerprint, active, down, offers, wants_snapshot })
    }
}

/// Of these, as many as are told at most.
fn bytes_of(addresses: &[Address]) -> Vec<u8> {
    addresses.iter().take(ACTIVE_MAX).flat_map(|address| *address.bytes()).collect()
}

fn addresses_in(value: &[u8]) -> Vec<Address> {
    value.as_chunks::<16>().0.iter().map(|one| Address::from_v6(*one)).collect()
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use proptest::prelude::*;

    pub(crate) fn introduction(name: &str) -> Introduction {
        Introduction {
            node: name.parse().expect("a name"),
            nat_ports: PortRange::new(2048, 4095).expect("a range"),
            fingerprint: 7,
            active: vec![Address::from_v4([10, 80, 0, 100])],
            down: vec![9],
            offers: vec![Address::from_v4([10, 80, 0, 100])],
            wants_snapshot: false,
        }
    }

    #[test]
    fn what_is_said_is_what_is_heard_and_what_a_later_release_says_is_skipped() {
        let said = Introduction { wants_snapshot: true, ..introduction("lb1") };
        let mut bytes = vec![200, 0, 1, 42];
        said.encode(&mut bytes);
        assert_eq!(Introduction::decode(&bytes), Some(said.clone()));
        assert_eq!(Introduction::decode(&bytes[..bytes.len() - 1]), None, "cut short");
        assert_eq!(Introduction::decode(&bytes[4..20]), None, "without what every release says");
        let mut many = said;
        many.down = (0..10_000).collect();
        many.active = vec![Address::from_v4([10, 80, 0, 100]); 1000];
        many.offers = many.active.clone();
        bytes.clear();
        many.encode(&mut bytes);
        assert!(bytes.len() < 1200, "{}", bytes.len());
        assert_eq!(Introduction::decode(&bytes).map(|heard| heard.down.len()), Some(DOWN_MAX));
    }

    proptest! {
        #[test]
        fn no_bytes_are_too_strange_to_be_refused(bytes: Vec<u8>) {
            let _ = Introduction::decode(&bytes);
        }
    }
}
