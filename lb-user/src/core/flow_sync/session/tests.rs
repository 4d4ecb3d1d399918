//! Two nodes and a network that loses, delays, doubles and parts, from a seed.

use super::super::copy::FlowCopy;
use super::super::copy::tests::{copy, key};
use super::super::introduction::tests::introduction;
use super::super::waiting::MAX;
use super::*;
use std::collections::BTreeMap;

mod away;

const RUNS: u64 = 100;
const STEP: Duration = Duration::from_millis(5);

/// Splitmix64: the same numbers from the same seed, everywhere.
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }

    fn percent(&mut self, share: u64) -> bool {
        self.below(100) < share
    }
}

struct Node {
    session: Session,
    /// Its own flows, and what they are like by now.
    flows: BTreeMap<u16, u32>,
    walk: Vec<u16>,
    /// The other's.
    copies: BTreeMap<u16, u32>,
}

fn number_of(key: &FlowKey) -> u16 {
    u16::from_be_bytes(key.source_port())
}

/// Some flows are nobody else's business.
fn concerns_other(number: u16) -> bool {
    number % 50 != 9
}

impl Node {
    fn new(epoch: u64) -> Self {
        Self {
            session: Session::new(epoch, introduction("lb1")),
            flows: BTreeMap::new(),
            walk: Vec::new(),
            copies: BTreeMap::new(),
        }
    }

    fn hear(&mut self, bytes: &[u8], now: Instant) {
        // Of an epoch that has ended: that is for the session to refuse.
        for heard in self.session.receive(bytes, now).unwrap_or_default() {
            match heard {
                Heard::Changed(Change::Put(copy)) => {
                    self.copies.insert(number_of(&copy.key), copy.state);
                }
                Heard::Changed(Change::Remove(key)) => drop(self.copies.remove(&number_of(&key))),
                Heard::PeerCame | Heard::Introduced(_) | Heard::SnapshotEnded => {}
            }
        }
    }

    fn speak(&mut self, now: Instant) -> Vec<Vec<u8>> {
        match self.session.walk() {
            Walk::Rest => {}
            Walk::Begin => self.walk = self.flows.keys().copied().collect(),
            Walk::GoOn if self.walk.is_empty() => self.session.end_walk(),
            Walk::GoOn => {
                let more = self.walk.split_off(self.walk.len().saturating_sub(50));
                self.session.walk_by(more.into_iter().map(key));
            }
        }
        let flows = &self.flows;
        let read = |key: &FlowKey| match flows.get(&number_of(key)) {
            // What is of no concern to the other.
            _ if !concerns_other(number_of(key)) => None,
            Some(state) => Some(Change::Put(FlowCopy { state: *state, ..copy(number_of(key)) })),
            None => Some(Change::Remove(*key)),
        };
        std::iter::from_fn(|| self.session.poll(now, read)).collect()
    }

    fn live(&mut self, dice: &mut Dice, changes: u64) {
        for _ in 0..dice.below(changes) {
            let number = dice.below(400) as u16;
            if dice.percent(30) {
                self.flows.remove(&number);
            } else {
                *self.flows.entry(number).or_default() += 1;
            }
            self.session.change(key(number));
        }
    }
}

/// Datagrams on their way: when they arrive, at which of the two, and what they say.
type Network = Vec<(Instant, usize, Vec<u8>)>;

struct Weather {
    loss_percent: u64,
    delay_ms_max: u64,
    double_percent: u64,
}

const FAIR: Weather = Weather { loss_percent: 0, delay_ms_max: 1, double_percent: 0 };

struct World {
    nodes: [Node; 2],
    network: Network,
    /// All that was ever sent, for who sends it again.
    recorded: Vec<(usize, Vec<u8>)>,
    now: Instant,
    dice: Dice,
}

impl World {
    fn new(seed: u64) -> Self {
        let nodes = [Node::new(1), Node::new(2)];
        Self { nodes, network: Vec::new(), recorded: Vec::new(), now: Instant::now(), dice: Dice(seed) }
    }

    fn step(&mut self, weather: &Weather) {
        self.now += STEP;
        for index in 0..2 {
            for bytes in self.nodes[index].speak(self.now) {
                assert!(bytes.len() <= DATAGRAM_BYTES);
                let to = 1 - index;
                if self.dice.percent(2) {
                    self.recorded.push((to, bytes.clone()));
                }
                let copies = 1 + u64::from(self.dice.percent(weather.double_percent));
                for _ in 0..copies {
                    if !self.dice.percent(weather.loss_percent) {
                        let delay = Duration::from_millis(self.dice.below(weather.delay_ms_max));
                        self.network.push((self.now + delay, to, bytes.clone()));
                    }
                }
            }
        }
        let now = self.now;
        let (mut due, later): (Network, Network) =
            std::mem::take(&mut self.network).into_iter().partition(|(at, ..)| *at <= now);
        self.network = later;
        due.sort_by_key(|(at, ..)| *at);
        for (_, to, bytes) in due {
            self.nodes[to].hear(&bytes, now);
        }
    }

    /// In fair weather, until all is told. Returns in how many steps.
    fn settle(&mut self) -> usize {
        let is_settled = |node: &Node| node.session.is_quiet() && node.session.has_snapshot();
        for steps in 0..4000 {
            if self.nodes.iter().all(is_settled) {
                return steps;
            }
            self.step(&FAIR);
        }
        panic!("they are never done");
    }

    /// Whether each knows all flows of the other, as they are; it may know more where it missed their end.
    fn expect_known(&self, exactly: bool, seed: u64) {
        for index in 0..2 {
            let (flows, copies) = (&self.nodes[index].flows, &self.nodes[1 - index].copies);
            let told: BTreeMap<_, _> = flows.iter().filter(|(number, _)| concerns_other(**number)).collect();
            for (number, state) in told.iter().map(|(number, state)| (*number, *state)) {
                assert_eq!(copies.get(number), Some(state), "flow {number} of node {index}, seed {seed}");
            }
            assert!(!exactly || told.len() == copies.len(), "more than there is, node {index}, seed {seed}");
        }
    }
}

#[test]
fn whatever_the_network_does_both_know_all_flows_in_the_end() {
    for seed in 0..RUNS {
        let mut world = World::new(seed);
        let weather = Weather {
            loss_percent: world.dice.below(40),
            delay_ms_max: 1 + world.dice.below(60),
            double_percent: world.dice.below(30),
        };
        // A node that was away, or begins anew, may have missed an end for good.
        let mut exactly = true;
        for _ in 0..300 {
            for node in &mut world.nodes {
                node.live(&mut world.dice, 8);
            }
            world.step(&weather);
            match world.dice.below(400) {
                0 => {
                    exactly = false;
                    let parted = Weather { loss_percent: 100, ..FAIR };
                    let steps = world.dice.below(1500);
                    (0..steps).for_each(|_| world.step(&parted));
                }
                1 => {
                    exactly = false;
                    let index = world.dice.below(2) as usize;
                    // Its table is the kernel's and stays.
                    world.nodes[index].session = Session::new(3 + world.dice.next() / 2, introduction("lb1"));
                }
                2 => {
                    let index = world.dice.below(2) as usize;
                    world.nodes[index].session.begin_again();
                    exactly = false;
                }
                _ => {}
            }
        }
        world.settle();
        world.expect_known(exactly, seed);
    }
}

#[test]
fn a_change_is_known_at_the_next_look() {
    let mut world = World::new(1);
    world.settle();
    world.nodes[0].flows.insert(7, 1);
    world.nodes[0].session.change(key(7));
    world.step(&FAIR);
    assert_eq!(world.nodes[1].copies.get(&7), Some(&1));
    world.nodes[0].flows.remove(&7);
    world.nodes[0].session.change(key(7));
    world.step(&FAIR);
    assert!(world.nodes[1].copies.is_empty());
}

#[test]
fn what_was_recorded_and_is_sent_again_changes_nothing() {
    let mut world = World::new(2);
    for _ in 0..200 {
        for node in &mut world.nodes {
            node.live(&mut world.dice, 8);
        }
        world.step(&FAIR);
    }
    world.settle();
    // And once more with a node that began anew.
    world.nodes[0].session = Session::new(77, introduction("lb1"));
    world.settle();
    world.expect_known(true, 2);
    assert!(world.recorded.len() > 5, "too little was recorded");
    let before = world.nodes.each_ref().map(|node| node.copies.clone());
    for node in &mut world.nodes {
        // Everything is another by now, so that what is old would show.
        node.copies.values_mut().for_each(|state| *state += 1000);
    }
    for (to, bytes) in world.recorded.clone() {
        let now = world.now;
        world.nodes[to].hear(&bytes, now);
    }
    for (node, before) in world.nodes.iter().zip(&before) {
        assert_eq!(node.copies.len(), before.len());
        assert!(node.copies.iter().all(|(number, state)| before[number] + 1000 == *state));
        assert!(node.session.is_here(), "somebody else ended the session");
    }
    world.step(&FAIR);
    world.settle();
}

#[test]
fn a_peer_that_is_gone_costs_a_bounded_place_and_learns_all_when_it_comes_back() {
    let mut world = World::new(3);
    world.settle();
    let parted = Weather { loss_percent: 100, ..FAIR };
    for number in 0..60_000u16 {
        world.nodes[0].flows.insert(number, 1);
        world.nodes[0].session.change(key(number));
        if number % 100 == 0 {
            world.step(&parted);
        }
        let session = &world.nodes[0].session;
        assert!(session.waiting.len() <= MAX && session.sent.len() <= WINDOW as usize);
    }
    for _ in 0..(AWAY_AFTER.as_millis() / STEP.as_millis()) {
        world.step(&parted);
    }
    let session = &world.nodes[0].session;
    assert!(!session.is_here() && session.waiting.is_empty() && session.sent.is_empty());
    world.settle();
    world.expect_known(true, 3);
}

#[test]
fn more_than_may_wait_is_told_by_a_walk() {
    let mut session = Session::new(1, introduction("lb1"));
    let now = Instant::now();
    let hello =
        Header { kind: Kind::Hello, from_epoch: 2, to_epoch: 1, sequence: 0, received: Received::default() };
    let mut greeting = hello.encode();
    introduction("lb2").encode(&mut greeting);
    let heard = session.receive(&greeting, now).expect("a greeting");
    assert_eq!(heard, [Heard::PeerCame, Heard::Introduced(introduction("lb2"))]);
    assert_eq!(session.walk(), Walk::Begin);
    session.walk_by([key(1)]);
    session.end_walk();
    let other = |number: u32| {
        let [a, b, c, d] = number.to_be_bytes();
        let address = lb_ebpf::abi::Address::from_v4([10, b, c, d]);
        FlowKey::new(address, [a, 1], address, [0, 80], 6)
    };
    for number in 0..MAX as u32 {
        session.change(other(number));
    }
    assert_eq!(session.walk(), Walk::Begin);
    assert!(session.waiting.is_empty());
}

#[test]
fn nonsense_is_refused() {
    let mut session = Session::new(1, introduction("lb1"));
    let now = Instant::now();
    let header =
        Header { kind: Kind::Data, from_epoch: 2, to_epoch: 1, sequence: 1, received: Received::default() };
    let bytes = [&header.encode()[..], &[9]].concat();
    assert_eq!(session.receive(&bytes, now), Err(DatagramError::Malformed));
    assert!(!session.is_here());
    assert_eq!(session.receive(&[], now), Err(DatagramError::Malformed));
    let own = Header { from_epoch: 1, kind: Kind::Acknowledgement, ..header };
    assert_eq!(session.receive(&own.encode(), now), Err(DatagramError::Own));
}

#[test]
fn flows_of_somebody_who_has_not_introduced_itself_wait_and_an_older_introduction_is_not_heeded() {
    let mut session = Session::new(1, introduction("lb1"));
    let now = Instant::now();
    let front = |kind, sequence| {
        Header { kind, from_epoch: 2, to_epoch: 1, sequence, received: Received::default() }.encode()
    };
    let mut flows = front(Kind::Data, 1);
    Change::Put(copy(1)).encode(&mut flows);
    assert_eq!(session.receive(&flows, now), Ok(vec![]));
    let greeting = |sequence, name| {
        let mut bytes = front(Kind::Hello, sequence);
        introduction(name).encode(&mut bytes);
        bytes
    };
    session.receive(&greeting(5, "lb2"), now).expect("a greeting");
    assert_eq!(session.receive(&greeting(4, "lb3"), now), Ok(vec![]));
    assert_eq!(session.receive(&greeting(6, "lb2"), now), Ok(vec![]), "nothing new");
    assert_eq!(session.introduced(), Some(&introduction("lb2")));
    assert_eq!(session.receive(&flows, now), Ok(vec![Heard::Changed(Change::Put(copy(1)))]));
    assert_eq!(session.receive(&flows, now), Ok(vec![]), "it came already");
}
