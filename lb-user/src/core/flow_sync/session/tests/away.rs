//! Nodes that do not hear each other, and what somebody else may say meanwhile.

use super::*;

/// Somebody plays all that was recorded again and again, while the two do not hear each other any more.
#[test]
fn what_was_recorded_is_no_sign_of_life_and_keeps_nobody_from_greeting() {
    let mut world = World::new(5);
    for _ in 0..400 {
        world.nodes[0].live(&mut world.dice, 4);
        world.step(&FAIR);
    }
    // Of an epoch that has ended there are datagrams too.
    world.nodes[0].session = Session::new(78, introduction("lb1"));
    world.settle();
    let recorded = world.recorded.clone();
    assert!(recorded.len() > 5, "too little was recorded");
    let mut greetings = 0;
    for _ in 0..(2 * AWAY_AFTER.as_millis() / STEP.as_millis()) {
        world.now += STEP;
        let now = world.now;
        for (to, bytes) in &recorded {
            world.nodes[*to].hear(bytes, now);
        }
        for bytes in world.nodes[1].speak(now) {
            let (header, _) = Header::decode(&bytes).expect("a datagram");
            greetings += u32::from(header.kind == Kind::Hello && header.to_epoch == 78);
        }
        world.nodes[0].speak(now);
    }
    assert!(world.nodes.iter().all(|node| !node.session.is_here()), "a record kept the other alive");
    assert!(greetings >= 25, "only {greetings} greetings in six seconds");
}

/// Only one of the two missed the other: what changed meanwhile was acknowledged by nobody, but nobody would tell all anew either.
#[test]
fn a_node_that_did_not_hear_the_other_for_a_while_asks_for_all_flows() {
    let mut world = World::new(6);
    for number in 0..300 {
        world.nodes[0].flows.insert(number, 1);
    }
    world.settle();
    assert!(world.nodes[1].session.has_snapshot());
    // Time passes for one of them alone, as for one that slept.
    let later = world.now + AWAY_AFTER;
    world.nodes[1].speak(later);
    assert!(!world.nodes[1].session.is_here() && !world.nodes[1].session.has_snapshot());
    world.nodes[1].copies.clear();
    world.now = later;
    world.settle();
    world.expect_known(true, 6);
    assert!(world.nodes[1].session.has_snapshot());
}
