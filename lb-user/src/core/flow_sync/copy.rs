//! One flow as nodes tell each other, and its bytes.
//!
//! Names its backend by the hash of its names and by its address, as ids are each node's own; and its next hops by their MAC
//! addresses, as both nodes are on one network. Leaves out what is no other node's business: counts, ids, the firewall's
//! verdict, which the other node comes to by itself.

use lb_ebpf::abi::{Address, FlowKey, Forwarding};
use std::time::Duration;

/// A flow as it is at one node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FlowCopy {
    /// The 5-tuple of its client's packets.
    pub key: FlowKey,
    /// How its packets are changed.
    pub forwarding: Forwarding,
    /// Its backend's names, hashed as the plan does.
    pub backend_hash: u64,
    /// Its backend's address and port, network byte order.
    pub backend: (Address, [u8; 2]),
    /// The source port that its backend sees, network byte order.
    pub source_port: [u8; 2],
    /// Bits of its [`FlowState`](lb_ebpf::flow_state::FlowState).
    pub state: u32,
    /// Its backend's initial sequence number.
    pub backend_isn: u32,
    /// The acknowledgements that cover the FINs, as its two entries have them: that of the client's packets first.
    pub fin_ends: [u32; 2],
    /// What is added to its client's timestamps, or acknowledgements.
    pub shift: u32,
    /// Since when it is silent.
    pub idle: Duration,
    /// Next hops towards the backend and towards the client; zeros where they are not on the VIP's network.
    pub next_hops: [[u8; 6]; 2],
}

/// What a node tells of a flow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// It is like this by now.
    Put(FlowCopy),
    /// It is gone. The key may be that of either direction.
    Remove(FlowKey),
}

/// Why bytes are no change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CopyError {
    /// They end too soon.
    #[error("a change of a flow is cut short")]
    Short,
    /// Nothing begins with that.
    #[error("{0} is no kind of change")]
    Kind(u8),
    /// There is no such forwarding.
    #[error("{0} is no way of forwarding")]
    Forwarding(u8),
    /// It is of no protocol that has flows.
    #[error("{0} is no protocol with flows")]
    Protocol(u8),
}

const PUT: u8 = 1;
const REMOVE: u8 = 2;
const TCP: u8 = 6;
const UDP: u8 = 17;

impl Change {
    /// Bytes of the longest.
    pub const MAX_BYTES: usize = 1 + KEY_BYTES + 1 + 8 + 18 + 2 + 6 * 4 + 12;

    /// Appends its bytes.
    pub fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Put(copy) => {
                out.push(PUT);
                encode_key(&copy.key, out);
                out.push(copy.forwarding as u8);
                out.extend(copy.backend_hash.to_be_bytes());
                out.extend(copy.backend.0.bytes());
                out.extend(copy.backend.1);
                out.extend(copy.source_port);
                let idle_ms = u32::try_from(copy.idle.as_millis()).unwrap_or(u32::MAX);
                let [forward, reverse] = copy.fin_ends;
                for word in [copy.state, copy.backend_isn, forward, reverse, copy.shift, idle_ms] {
                    out.extend(word.to_be_bytes());
                }
                copy.next_hops.iter().for_each(|mac| out.extend(mac));
            }
            Self::Remove(key) => {
                out.push(REMOVE);
                encode_key(key, out);
            }
        }
    }

    /// The change that bytes begin with, which are left without it.
    ///
    /// # Errors
    /// They are another's, or damaged.
    pub fn decode(bytes: &mut &[u8]) -> Result<Self, CopyError> {
        let [kind] = take(bytes)?;
        match kind {
            PUT => Ok(Self::Put(FlowCopy {
                key: decode_key(bytes)?,
                forwarding: match take::<1>(bytes)? {
                    [number] if number <= 2 => Forwarding::from_number(number),
                    [other] => return Err(CopyError::Forwarding(other)),
                },
                backend_hash: u64::from_be_bytes(take(bytes)?),
                backend: (Address::from_v6(take(bytes)?), take(bytes)?),
                source_port: take(bytes)?,
                state: word(bytes)?,
                backend_isn: word(bytes)?,
                fin_ends: [word(bytes)?, word(bytes)?],
                shift: word(bytes)?,
                idle: Duration::from_millis(word(bytes)?.into()),
                next_hops: [take(bytes)?, take(bytes)?],
            })),
            REMOVE => Ok(Self::Remove(decode_key(bytes)?)),
            other => Err(CopyError::Kind(other)),
        }
    }
}

const KEY_BYTES: usize = 2 * 16 + 2 * 2 + 1;

fn encode_key(key: &FlowKey, out: &mut Vec<u8>) {
    out.extend(key.source.bytes());
    out.extend(key.destination.bytes());
    out.extend(key.source_port());
    out.extend(key.destination_port());
    out.push(key.protocol());
}

fn decode_key(bytes: &mut &[u8]) -> Result<FlowKey, CopyError> {
    let (source, destination) = (Address::from_v6(take(bytes)?), Address::from_v6(take(bytes)?));
    let (source_port, destination_port) = (take(bytes)?, take(bytes)?);
    let [protocol] = take(bytes)?;
    if protocol != TCP && protocol != UDP {
        return Err(CopyError::Protocol(protocol));
    }
    Ok(FlowKey::new(source, source_port, destination, destination_port, protocol))
}

fn word(bytes: &mut &[u8]) -> Result<u32, CopyError> {
    take(bytes).map(u32::from_be_bytes)
}

fn take<const N: usize>(bytes: &mut &[u8]) -> Result<[u8; N], CopyError> {
    let (first, rest) = bytes.split_first_chunk::<N>().ok_or(CopyError::Short)?;
    *bytes = rest;
    Ok(*first)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use proptest::prelude::*;

    pub(crate) fn key(number: u16) -> FlowKey {
        let address = |last: u8| Address::from_v4([10, 80, 0, last]);
        FlowKey::new(address(1), number.to_be_bytes(), address(100), [0, 80], TCP)
    }

    pub(crate) fn copy(number: u16) -> FlowCopy {
        FlowCopy {
            key: key(number),
            forwarding: Forwarding::Nat,
            backend_hash: 1,
            backend: (Address::from_v4([10, 80, 0, 21]), [0, 80]),
            source_port: [8, 0],
            state: 1,
            backend_isn: 2,
            fin_ends: [3, 4],
            shift: 5,
            idle: Duration::ZERO,
            next_hops: [[0; 6]; 2],
        }
    }

    prop_compose! {
        fn any_copy()(
            number: u16,
            forwarding in 0u8..=2,
            backend_hash: u64,
            address: [u8; 16],
            ports: [[u8; 2]; 2],
            words: [u32; 6],
            next_hops: [[u8; 6]; 2],
        ) -> FlowCopy {
            FlowCopy {
                key: key(number),
                forwarding: Forwarding::from_number(forwarding),
                backend_hash,
                backend: (Address::from_v6(address), ports[0]),
                source_port: ports[1],
                state: words[0],
                backend_isn: words[1],
                fin_ends: [words[2], words[3]],
                shift: words[4],
                idle: Duration::from_millis(words[5].into()),
                next_hops,
            }
        }
    }

    proptest! {
        #[test]
        fn what_is_told_is_what_is_heard(copies in prop::collection::vec(any_copy(), 0..5), gone: u16) {
            let mut changes: Vec<Change> = copies.into_iter().map(Change::Put).collect();
            changes.push(Change::Remove(key(gone)));
            let mut bytes = Vec::new();
            for change in &changes {
                let before = bytes.len();
                change.encode(&mut bytes);
                prop_assert!(bytes.len() - before <= Change::MAX_BYTES);
            }
            let mut rest = &bytes[..];
            for change in &changes {
                prop_assert_eq!(&Change::decode(&mut rest).expect("a change"), change);
            }
            prop_assert!(rest.is_empty());
            prop_assert_eq!(Change::decode(&mut rest), Err(CopyError::Short));
        }

        #[test]
        fn no_bytes_are_too_strange_to_be_refused(bytes: Vec<u8>) {
            let _ = Change::decode(&mut &bytes[..]);
        }
    }

    #[test]
    fn other_kinds_ways_and_protocols_are_refused() {
        let mut bytes = Vec::new();
        Change::Remove(key(1)).encode(&mut bytes);
        let with = |at: usize, value: u8| {
            let mut changed = bytes.clone();
            changed[at] = value;
            Change::decode(&mut &changed[..])
        };
        assert_eq!(with(0, 3), Err(CopyError::Kind(3)));
        assert_eq!(with(KEY_BYTES, 1), Err(CopyError::Protocol(1)));
        bytes.clear();
        Change::Put(copy(1)).encode(&mut bytes);
        bytes[1 + KEY_BYTES] = 3;
        assert_eq!(Change::decode(&mut &bytes[..]), Err(CopyError::Forwarding(3)));
    }
}
