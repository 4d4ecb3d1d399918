use super::CheckResult::{Failed, Passed};
use super::HealthState::{Down, Unknown, Up};
use super::*;
use crate::config::CheckKind;

fn check(rise: u32, fall: u32) -> HealthCheck {
    HealthCheck {
        kind: CheckKind::Tcp,
        interval: Duration::from_secs(2),
        timeout: Duration::from_secs(1),
        rise,
        fall,
        slow_start: Duration::ZERO,
        refusals: 3,
        port: None,
    }
}

/// The healths after each of the results.
fn run(machine: &mut HealthMachine, results: &[CheckResult]) -> Vec<HealthState> {
    let now = Instant::now();
    results
        .iter()
        .map(|result| {
            let before = machine.state();
            let change = machine.handle(*result, now);
            assert_eq!(change.is_some(), before != machine.state());
            machine.state()
        })
        .collect()
}

#[test]
fn the_first_success_of_an_unknown_address_brings_it_up_at_once() {
    let mut machine = HealthMachine::new(&check(5, 3), Unknown);
    let now = Instant::now();
    assert_eq!(machine.since(), None);
    assert_eq!(machine.handle(Passed, now), Some(HealthChange { from: Unknown, to: Up, at: now }));
    assert_eq!(machine.since(), Some(now));
}

#[test]
fn failures_of_an_unknown_address_count_to_fall() {
    let mut machine = HealthMachine::new(&check(2, 3), Unknown);
    assert_eq!(run(&mut machine, &[Failed, Failed, Failed]), [Unknown, Unknown, Down]);
}

#[test]
fn only_failures_in_a_row_take_an_address_down() {
    let mut machine = HealthMachine::new(&check(2, 3), Up);
    let results = [Failed, Failed, Passed, Failed, Failed, Failed];
    assert_eq!(run(&mut machine, &results), [Up, Up, Up, Up, Up, Down]);
}

#[test]
fn only_successes_in_a_row_bring_an_address_back() {
    let mut machine = HealthMachine::new(&check(2, 3), Down);
    assert_eq!(run(&mut machine, &[Passed, Failed, Passed, Passed]), [Down, Down, Down, Up]);
}

#[test]
fn more_of_the_same_changes_nothing_and_is_counted() {
    let mut machine = HealthMachine::new(&check(1, 1), Up);
    assert_eq!(run(&mut machine, &[Passed, Passed]), [Up, Up]);
    assert_eq!(machine.in_a_row(), (2, 0));
    assert_eq!(run(&mut machine, &[Failed, Failed, Failed]), [Down, Down, Down]);
    assert_eq!(machine.in_a_row(), (0, 3));
}

#[test]
fn new_numbers_for_rise_and_fall_count_what_has_been_before() {
    let mut machine = HealthMachine::new(&check(2, 5), Up);
    run(&mut machine, &[Failed, Failed]);
    machine.reconfigure(&check(2, 3));
    assert_eq!(machine.state(), Up);
    assert_eq!(run(&mut machine, &[Failed]), [Down]);
}

#[test]
fn first_checks_come_soon_and_not_all_at_once() {
    let now = Instant::now();
    let first = |seed| CheckTimes::new(Duration::from_secs(10), seed).first_check_at(now) - now;
    let mut delays: Vec<Duration> = (0..100).map(first).collect();
    delays.sort();
    delays.dedup();
    assert_eq!(delays.len(), 100);
    assert!(delays[99] < FIRST_CHECK_WITHIN && delays[0] < FIRST_CHECK_WITHIN / 10, "{delays:?}");
    assert!(delays[99] > FIRST_CHECK_WITHIN * 9 / 10, "{delays:?}");
}

#[test]
fn the_first_check_of_a_short_interval_comes_within_it() {
    let now = Instant::now();
    let interval = Duration::from_millis(10);
    assert!((0..100).all(|seed| CheckTimes::new(interval, seed).first_check_at(now) < now + interval));
}

#[test]
fn the_next_check_is_an_interval_away_give_or_take_a_twentieth() {
    let begun = Instant::now();
    let interval = Duration::from_secs(1);
    let mut times = CheckTimes::new(interval, 7);
    let waits: Vec<Duration> = (0..1000).map(|_| times.next_check_at(begun, begun) - begun).collect();
    assert!(waits.iter().all(|wait| *wait >= interval * 19 / 20 && *wait <= interval * 21 / 20));
    let mean = waits.iter().sum::<Duration>() / 1000;
    assert!(mean.abs_diff(interval) < Duration::from_millis(5), "{mean:?}");
}

#[test]
fn a_check_that_took_long_does_not_put_the_next_one_into_the_past() {
    let begun = Instant::now();
    let now = begun + Duration::from_secs(5);
    assert_eq!(CheckTimes::new(Duration::from_secs(1), 7).next_check_at(begun, now), now);
}

#[test]
fn the_same_seed_makes_the_same_times() {
    let now = Instant::now();
    let times = || {
        let mut times = CheckTimes::new(Duration::from_secs(1), 42);
        let mut all = vec![times.first_check_at(now)];
        all.extend((0..10).map(|_| times.next_check_at(now, now)));
        all
    };
    assert_eq!(times(), times());
}

#[test]
fn refusals_since_the_last_success_take_an_address_down_and_checks_bring_it_up() {
    let now = Instant::now();
    let mut machine = HealthMachine::new(&check(2, 3), HealthState::Up);
    assert_eq!(machine.handle_refusal(now), None);
    assert_eq!(machine.handle_refusal(now), None);
    machine.handle(CheckResult::Passed, now);
    assert_eq!(machine.handle_refusal(now), None, "a success begins the count anew");
    assert_eq!(machine.handle_refusal(now), None);
    let change = machine.handle_refusal(now).expect("a change");
    assert_eq!((change.from, change.to), (HealthState::Up, HealthState::Down));
    assert_eq!(machine.handle_refusal(now), None, "it is down already");
    assert_eq!(machine.handle(CheckResult::Passed, now), None);
    assert_eq!(machine.handle(CheckResult::Passed, now).map(|change| change.to), Some(HealthState::Up));
}
