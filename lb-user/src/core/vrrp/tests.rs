//! Two to five nodes on a network that loses, delays, doubles and parts, and whose nodes pause and crash; time is made here, and
//! everything follows from a seed.
//!
//! Two things must hold whatever happens: two nodes that hear each other are not both Active for longer than the protocol needs; and
//! some time after the last trouble there is one Active, and it stays. `LBCTL_VRRP_SEED=N cargo test -p lb-user vrrp::tests`
//! replays a run and prints what happened in it.

use super::advert::Advert;
use super::machine::{Action, Input, Machine, Settings, State};
use crate::model::{AdvertInterval, Priority, VirtualRouterId};
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

const RUNS: u64 = 2000;
/// The longest a packet takes.
const DELAY_MAX: Duration = Duration::from_millis(3);
/// Spells of trouble in a run, and how many intervals one lasts at most.
const SPELLS: usize = 12;
const SPELL_INTERVALS: u64 = 9;

/// Numbers that follow from a seed (SplitMix64).
struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.roll() % bound
    }

    fn is(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    fn time_below(&mut self, bound: Duration) -> Duration {
        Duration::from_micros(self.below(bound.as_micros() as u64))
    }
}

/// What arrives, and where. Ordered by time, then by number, so that runs repeat.
type Packet = (Instant, u64, usize, usize, u8);

struct Node {
    machine: Machine,
    address: IpAddr,
    /// Which part of a parted network it is in.
    part: u64,
    paused: bool,
    /// What came while it was paused.
    waiting: Vec<(usize, u8)>,
    serves: bool,
    /// Whether it was asked to take the addresses, by whoever had them or not, and has them since.
    was_asked: bool,
}

struct World {
    dice: Dice,
    now: Instant,
    start: Instant,
    nodes: Vec<Node>,
    packets: BinaryHeap<Reverse<Packet>>,
    number: u64,
    loss_percent: u64,
    /// Since when two nodes have served and heard each other without loss.
    together_since: Vec<Vec<Option<Instant>>>,
    story: Option<Vec<String>>,
}

impl World {
    fn new(seed: u64, tells: bool) -> Self {
        let mut dice = Dice(seed);
        let count = 2 + dice.below(4) as usize;
        let start = Instant::now();
        let common = [1, 2, 10, 100, 300][dice.below(5) as usize];
        let nodes = (0..count).map(|number| Self::node(&mut dice, number as u8, common)).collect();
        let together_since = vec![vec![None; count]; count];
        let story = tells.then(Vec::new);
        Self {
            dice,
            now: start,
            start,
            nodes,
            packets: BinaryHeap::new(),
            number: 0,
            loss_percent: 0,
            together_since,
            story,
        }
    }

    fn node(dice: &mut Dice, number: u8, common: u16) -> Node {
        let centiseconds = if dice.is(20) { 1 + dice.below(200) as u16 } else { common };
        // Some have the same.
        let priority = if dice.is(10) { 255 } else { 50 + dice.below(8) as u8 * 20 };
        let settings = Settings {
            id: VirtualRouterId::new(51).expect("not 0"),
            priority: Priority::new(priority).expect("not 0"),
            interval: AdvertInterval::from_centiseconds(centiseconds).expect("in range"),
            preempt: dice.is(70),
            preempt_delay: if dice.is(30) { dice.time_below(Duration::from_secs(5)) } else { Duration::ZERO },
            flap_limit: 0,
            flap_window: Duration::from_secs(60),
            addresses: vec![IpAddr::from([10, 80, 0, 100])],
        };
        let address = IpAddr::from([10, 80, 0, 2 + number]);
        Node {
            machine: Machine::new(settings),
            address,
            part: 0,
            paused: false,
            waiting: Vec::new(),
            serves: false,
            was_asked: false,
        }
    }

    fn tell(&mut self, words: impl FnOnce() -> String) {
        let since = self.now.duration_since(self.start);
        if let Some(story) = &mut self.story {
            story.push(format!("{since:>12?} {}", words()));
        }
    }

    fn longest_interval(&self) -> Duration {
        let interval = |node: &Node| node.machine.settings().interval.duration();
        self.nodes.iter().map(interval).max().unwrap_or_default()
    }

    fn hear_each_other(&self, one: usize, other: usize) -> bool {
        let (one, other) = (&self.nodes[one], &self.nodes[other]);
        one.part == other.part && !one.paused && !other.paused && self.loss_percent == 0
    }

    fn input(&mut self, index: usize, input: Input) {
        let now = self.now;
        let actions = self.nodes[index].machine.handle(input, now);
        for action in actions {
            self.act(index, action);
        }
    }

    fn act(&mut self, index: usize, action: Action) {
        match action {
            Action::SendAdvert { priority } => self.send(index, priority),
            Action::AcquireVips | Action::ReleaseVips => {
                let serves = action == Action::AcquireVips;
                assert_ne!(self.nodes[index].serves, serves, "told twice");
                self.nodes[index].serves = serves;
                self.nodes[index].was_asked &= serves;
                self.tell(|| format!("node {index} {}", if serves { "serves" } else { "serves no more" }));
            }
            Action::Tell(news) => self.tell(|| format!("node {index}: {news:?}")),
        }
    }

    fn send(&mut self, from: usize, priority: u8) {
        for to in 0..self.nodes.len() {
            if to == from || self.nodes[to].part != self.nodes[from].part {
                continue;
            }
            let copies = 1 + u64::from(self.dice.is(5));
            for _ in 0..copies {
                if self.dice.is(self.loss_percent) {
                    continue;
                }
                self.number += 1;
                let at = self.now + self.dice.time_below(DELAY_MAX);
                self.packets.push(Reverse((at, self.number, from, to, priority)));
            }
        }
    }

    fn arrive(&mut self, from: usize, to: usize, priority: u8) {
        if self.nodes[to].part != self.nodes[from].part {
            return;
        }
        if self.nodes[to].paused {
            self.nodes[to].waiting.push((from, priority));
            return;
        }
        let advert: Advert = self.nodes[from].machine.advert(priority);
        let from = self.nodes[from].address;
        self.input(to, Input::AdvertReceived { from, advert });
    }

    /// The next thing that happens, up to that time; false if nothing does.
    fn step(&mut self, until: Instant) -> bool {
        let arrival = self.packets.peek().map(|Reverse(packet)| packet.0);
        let awake = self.nodes.iter().enumerate().filter(|(_, node)| !node.paused);
        let deadlines = awake.filter_map(|(index, node)| Some((node.machine.deadline()?, index)));
        let deadline = deadlines.min();
        let next = arrival.into_iter().chain(deadline.map(|(at, _)| at)).min();
        let Some(next) = next.filter(|next| *next <= until) else {
            self.now = until;
            return false;
        };
        self.now = self.now.max(next);
        match (arrival, deadline) {
            (Some(at), _) if at <= next => {
                if let Some(Reverse((_, _, from, to, priority))) = self.packets.pop() {
                    self.arrive(from, to, priority);
                }
            }
            (_, Some((_, index))) => self.input(index, Input::TimePassed),
            _ => {}
        }
        true
    }

    fn run(&mut self, duration: Duration) {
        let until = self.now + duration;
        while self.step(until) {
            self.check_pairs();
        }
        self.check_pairs();
    }

    /// Two that serve and hear each other do so until one of them has advertised, and not longer.
    fn check_pairs(&mut self) {
        for one in 0..self.nodes.len() {
            for other in 0..one {
                let both = self.nodes[one].serves && self.nodes[other].serves;
                if !both || !self.hear_each_other(one, other) {
                    self.together_since[one][other] = None;
                    continue;
                }
                let since = *self.together_since[one][other].get_or_insert(self.now);
                let interval = |index: usize| self.nodes[index].machine.settings().interval.duration();
                let asked = [one, other].map(|index| self.nodes[index].was_asked);
                // Whoever was asked does not yield at once.
                let stays = if asked.contains(&true) {
                    2 * interval(one).max(interval(other))
                } else {
                    Duration::ZERO
                };
                let allowed = interval(one).max(interval(other)) + 3 * DELAY_MAX + stays;
                let owners = [one, other].map(|index| self.nodes[index].machine.priority().is_owner());
                // Two owners are a mistake of the configuration; of those, too, the lower address yields.
                assert!(
                    self.now.duration_since(since) <= allowed,
                    "nodes {one} and {other} serve together for {:?} (owners: {owners:?})",
                    self.now.duration_since(since)
                );
            }
        }
    }

    /// Another kind of trouble.
    fn trouble(&mut self) {
        self.loss_percent = if self.dice.is(50) { self.dice.below(70) } else { 0 };
        let parts = 1 + self.dice.below(2);
        for index in 0..self.nodes.len() {
            self.nodes[index].part = self.dice.below(parts);
            let paused = self.dice.is(15);
            self.pause(index, paused);
            let started = self.nodes[index].machine.state() != State::Initialize;
            let local = self.nodes[index].address;
            match (started, self.dice.below(12)) {
                (false, 0..6) => self.input(index, Input::Started { local }),
                (true, 0) if !paused => self.input(index, Input::Stopped),
                (true, 1) if !paused => self.input(index, Input::HandedOver),
                (true, 2) if !paused => self.crash(index),
                (true, 4) if !paused => self.offer(index),
                (true, 3) => {
                    let lowered = self.nodes[index].machine.settings().priority.lowered_by(60);
                    self.input(index, Input::PriorityChanged(lowered));
                }
                _ => {}
            }
        }
        let parts: Vec<_> = self.nodes.iter().map(|node| (node.part, node.paused)).collect();
        let loss = self.loss_percent;
        self.tell(|| format!("trouble: loss {loss} %, (part, paused) {parts:?}"));
    }

    /// Another node is asked to take its place, whether or not it has one.
    fn offer(&mut self, index: usize) {
        self.input(index, Input::Offered);
        let other = self.dice.below(self.nodes.len() as u64) as usize;
        if !self.nodes[other].paused && other != index {
            self.tell(|| format!("node {index} asks node {other}"));
            self.nodes[other].was_asked = true;
            self.input(other, Input::Asked);
        }
    }

    /// It forgets everything, and its addresses are gone.
    fn crash(&mut self, index: usize) {
        let settings = self.nodes[index].machine.settings().clone();
        self.nodes[index].machine = Machine::new(settings);
        self.nodes[index].serves = false;
        self.tell(|| format!("node {index} crashes"));
    }

    /// A node that goes on first hears what came meanwhile.
    fn pause(&mut self, index: usize, paused: bool) {
        self.nodes[index].paused = paused;
        if !paused {
            for (from, priority) in std::mem::take(&mut self.nodes[index].waiting) {
                self.arrive(from, index, priority);
            }
        }
    }

    fn calm_down(&mut self) {
        self.loss_percent = 0;
        for index in 0..self.nodes.len() {
            self.nodes[index].part = 0;
        }
        for index in 0..self.nodes.len() {
            self.pause(index, false);
            let local = self.nodes[index].address;
            self.input(index, Input::Started { local });
        }
        self.tell(|| "calm".to_owned());
    }

    fn serving(&self) -> Vec<usize> {
        (0..self.nodes.len()).filter(|index| self.nodes[*index].serves).collect()
    }
}

fn simulate(world: &mut World) {
    for index in 0..world.nodes.len() {
        let local = world.nodes[index].address;
        world.input(index, Input::Started { local });
    }
    for _ in 0..SPELLS {
        world.trouble();
        let interval = world.longest_interval();
        let intervals = 1 + world.dice.below(SPELL_INTERVALS) as u32;
        world.run(interval * intervals);
    }
    world.calm_down();
    // Each may learn the longest interval of all, then wait it out; and preempt later, for the delay of its start.
    world.run(world.longest_interval() * 12 + Duration::from_secs(5));
    let serving = world.serving();
    assert_eq!(serving.len(), 1, "nodes {serving:?} serve");
    world.run(world.longest_interval() * 20);
    assert_eq!(world.serving(), serving, "another one serves after a while");
}

#[test]
fn there_is_one_active_after_any_trouble_and_two_never_for_long() {
    let replay = std::env::var("LBCTL_VRRP_SEED").ok().and_then(|seed| seed.parse().ok());
    let seeds = replay.map_or(0..RUNS, |seed| seed..seed + 1);
    for seed in seeds {
        let mut world = World::new(seed, replay.is_some());
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| simulate(&mut world)));
        for line in world.story.iter().flatten() {
            println!("{line}");
        }
        if let Err(panic) = result {
            println!("LBCTL_VRRP_SEED={seed} replays this");
            std::panic::resume_unwind(panic);
        }
    }
}

#[test]
fn a_seed_is_the_whole_story() {
    let story = |seed| {
        let mut world = World::new(seed, true);
        simulate(&mut world);
        world.story.unwrap_or_default()
    };
    assert_eq!(story(7), story(7));
    assert_ne!(story(7), story(8));
}
