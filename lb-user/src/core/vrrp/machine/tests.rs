//! The machine's states and timers, one rule of the RFC at a time.

use super::*;
use crate::model::VirtualRouterId;

mod leaving;

fn ip(last: u8) -> IpAddr {
    IpAddr::from([10, 80, 0, last])
}

fn priority(number: u8) -> Priority {
    Priority::new(number).expect("not 0")
}

fn interval(centiseconds: u16) -> AdvertInterval {
    AdvertInterval::from_centiseconds(centiseconds).expect("in range")
}

fn settings(number: u8) -> Settings {
    Settings {
        id: VirtualRouterId::new(51).expect("not 0"),
        priority: priority(number),
        interval: interval(100),
        preempt: true,
        preempt_delay: Duration::ZERO,
        flap_limit: 0,
        flap_window: Duration::from_secs(60),
        addresses: vec![ip(100)],
    }
}

fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

/// A machine at 10.80.0.2 that has started, and when.
fn started(settings: Settings) -> (Machine, Instant) {
    let now = Instant::now();
    let mut machine = Machine::new(settings);
    machine.handle(Input::Started { local: ip(2) }, now);
    (machine, now)
}

fn heard(priority: u8) -> Input {
    heard_every(priority, 100)
}

fn heard_every(priority: u8, centiseconds: u16) -> Input {
    let advert = Advert {
        id: VirtualRouterId::new(51).expect("not 0"),
        priority,
        interval: interval(centiseconds),
        addresses: vec![ip(100)],
    };
    Input::AdvertReceived { from: ip(3), advert }
}

/// Lets time pass to the machine's own deadline.
fn wait(machine: &mut Machine) -> (Vec<Action>, Instant) {
    let deadline = machine.deadline().expect("it waits for something");
    (machine.handle(Input::TimePassed, deadline), deadline)
}

fn active(number: u8) -> (Machine, Instant) {
    let (mut machine, _) = started(settings(number));
    let (actions, now) = wait(&mut machine);
    assert!(actions.contains(&Action::AcquireVips), "{actions:?}");
    (machine, now)
}

fn changed(from: State, to: State, why: Why) -> Action {
    Action::Tell(News::StateChanged { from, to, why })
}

#[test]
fn a_node_that_starts_waits_for_three_intervals_and_its_skew() {
    let (machine, now) = started(settings(100));
    assert_eq!(machine.state(), State::Backup);
    let skew = Duration::from_nanos(1_000_000_000 * 156 / 256);
    assert_eq!(machine.skew_time(), skew);
    assert_eq!(machine.deadline(), Some(now + ms(3000) + skew));
}

#[test]
fn the_skew_of_ten_milliseconds_is_not_nothing() {
    let (machine, _) = started(Settings { interval: interval(1), ..settings(254) });
    assert_eq!(machine.skew_time(), Duration::from_nanos(10_000_000 * 2 / 256));
}

#[test]
fn the_owner_is_active_at_once() {
    let now = Instant::now();
    let mut machine = Machine::new(settings(255));
    let actions = machine.handle(Input::Started { local: ip(2) }, now);
    let owner = changed(State::Initialize, State::Active, Why::Owner);
    assert_eq!(actions, [Action::SendAdvert { priority: 255 }, Action::AcquireVips, owner]);
    assert_eq!(machine.deadline(), Some(now + ms(1000)));
}

#[test]
fn a_node_that_is_restarted_in_time_goes_on() {
    let now = Instant::now();
    let mut machine = Machine::new(settings(100));
    let actions = machine.handle(Input::Resumed { local: ip(2) }, now);
    let resumed = changed(State::Initialize, State::Active, Why::Resumed);
    assert_eq!(actions, [Action::SendAdvert { priority: 100 }, Action::AcquireVips, resumed]);
    assert!(
        machine.handle(heard(150), now + ms(5)).contains(&Action::ReleaseVips),
        "if nobody has a better claim"
    );
}

#[test]
fn backup_becomes_active_when_nobody_is_heard() {
    let (mut machine, _) = started(settings(100));
    let (actions, now) = wait(&mut machine);
    let down = changed(State::Backup, State::Active, Why::ActiveDown);
    assert_eq!(actions, [Action::SendAdvert { priority: 100 }, Action::AcquireVips, down]);
    assert_eq!(machine.deadline(), Some(now + ms(1000)));
    assert_eq!(wait(&mut machine).0, [Action::SendAdvert { priority: 100 }]);
}

#[test]
fn backup_yields_to_a_higher_priority_advert_and_learns_its_interval() {
    let (mut machine, start) = started(settings(100));
    let now = start + ms(500);
    assert_eq!(machine.handle(heard_every(200, 10), now), []);
    assert_eq!(machine.active_down_interval(), ms(300) + machine.skew_time());
    assert_eq!(machine.deadline(), Some(now + machine.active_down_interval()));
    assert_eq!(machine.skew_time(), Duration::from_nanos(100_000_000 * 156 / 256));
}

#[test]
fn backup_does_not_heed_a_lower_priority_unless_it_must_not_preempt() {
    let (mut machine, start) = started(settings(100));
    let before = machine.deadline();
    assert_eq!(machine.handle(heard(99), start + ms(500)), []);
    assert_eq!(machine.deadline(), before, "its timer goes on");
    let (actions, _) = wait(&mut machine);
    assert!(actions.contains(&changed(State::Backup, State::Active, Why::Preempted)), "{actions:?}");

    let gentle = [
        Settings { preempt: false, ..settings(100) },
        Settings { preempt_delay: ms(10_000), ..settings(100) },
    ];
    for settings in gentle {
        let (mut machine, start) = started(settings);
        machine.handle(heard(99), start + ms(500));
        assert_eq!(machine.deadline(), Some(start + ms(500) + machine.active_down_interval()));
    }
}

#[test]
fn preemption_that_is_held_waits_and_then_takes_the_place() {
    let (mut machine, start) = started(settings(100));
    machine.handle(Input::PreemptionHeld(true), start);
    let mut now = start;
    for _ in 0..20 {
        now += ms(1000);
        assert_eq!(machine.handle(heard(99), now), []);
        assert_eq!(machine.handle(Input::TimePassed, now + ms(999)), []);
    }
    machine.handle(Input::PreemptionHeld(false), now);
    let deadline = machine.deadline().expect("it waits");
    for second in 1..4 {
        machine.handle(heard(99), now + ms(second * 1000));
    }
    let actions = machine.handle(Input::TimePassed, deadline);
    assert!(actions.contains(&changed(State::Backup, State::Active, Why::Preempted)), "{actions:?}");
}

#[test]
fn one_that_holds_back_still_takes_the_place_of_one_that_is_gone() {
    let (mut machine, start) = started(Settings { preempt: false, ..settings(100) });
    machine.handle(Input::PreemptionHeld(true), start);
    machine.handle(heard(99), start + ms(100));
    assert!(wait(&mut machine).0.contains(&Action::AcquireVips));
}

#[test]
fn backup_takes_over_within_its_skew_when_the_active_leaves() {
    let (mut machine, start) = started(settings(100));
    machine.handle(heard(200), start + ms(100));
    machine.handle(heard(0), start + ms(200));
    assert_eq!(machine.deadline(), Some(start + ms(200) + machine.skew_time()));
    let (actions, _) = wait(&mut machine);
    assert!(actions.contains(&changed(State::Backup, State::Active, Why::ActiveLeft)), "{actions:?}");
}

#[test]
fn active_yields_to_a_higher_priority_and_to_the_same_from_a_higher_address() {
    for number in [101, 100] {
        let (mut machine, now) = active(100);
        let actions = machine.handle(heard_every(number, 50), now);
        let yielded = changed(State::Active, State::Backup, Why::Yielded);
        assert_eq!(actions, [Action::ReleaseVips, yielded]);
        assert_eq!(machine.deadline(), Some(now + machine.active_down_interval()));
        assert_eq!(machine.active_down_interval(), ms(1500) + machine.skew_time());
    }
}

#[test]
fn active_answers_a_lower_priority_at_once_and_tells_of_it() {
    let (mut machine, now) = active(100);
    let at = now + ms(300);
    let rival = Action::Tell(News::RivalHeard { from: ip(3), priority: 99 });
    assert_eq!(machine.handle(heard(99), at), [Action::SendAdvert { priority: 100 }, rival]);
    assert_eq!(machine.deadline(), Some(at + ms(1000)));
    assert_eq!(
        machine.handle(heard(99), at),
        [Action::SendAdvert { priority: 100 }],
        "it is told once in ten seconds"
    );
    for second in 1..10 {
        machine.handle(Input::TimePassed, at + ms(1000 * second));
    }
    assert_eq!(machine.handle(heard(99), at + ms(10_000)).len(), 2, "and then again");
    let advert = Advert { priority: 100, ..machine.advert(100) };
    let lower = Input::AdvertReceived { from: ip(1), advert };
    assert_eq!(
        machine.handle(lower, at + ms(10_000))[0],
        Action::SendAdvert { priority: 100 },
        "the lower address loses"
    );
}

#[test]
fn active_answers_one_that_leaves() {
    let (mut machine, now) = active(100);
    assert_eq!(machine.handle(heard(0), now + ms(10)), [Action::SendAdvert { priority: 100 }]);
}

#[test]
fn active_that_stops_says_so() {
    let (mut machine, now) = active(100);
    let stopped = changed(State::Active, State::Initialize, Why::Stopped);
    let expected = [Action::SendAdvert { priority: 0 }, Action::ReleaseVips, stopped];
    assert_eq!(machine.handle(Input::Stopped, now), expected);
    assert_eq!(machine.deadline(), None);
    assert_eq!(machine.handle(heard(99), now), [], "it takes no part");
    assert_eq!(machine.handle(Input::Stopped, now), []);
}

#[test]
fn a_node_that_hands_over_serves_until_another_advertises() {
    let (mut machine, now) = active(100);
    assert_eq!(machine.handle(Input::HandedOver, now), [Action::SendAdvert { priority: 0 }]);
    assert_eq!(wait(&mut machine).0, [Action::SendAdvert { priority: 0 }], "the first may be lost");
    assert_eq!(machine.state(), State::Active);
    let at = now + ms(1200);
    let over = changed(State::Active, State::Backup, Why::HandedOver);
    assert_eq!(machine.handle(heard(50), at), [Action::ReleaseVips, over]);
    // And does not take back what it gave, until that one is gone.
    for second in 1..20 {
        assert_eq!(machine.handle(heard(50), at + ms(1000 * second)), []);
        assert_eq!(machine.handle(Input::TimePassed, at + ms(1000 * second + 999)), []);
    }
    assert!(wait(&mut machine).0.contains(&Action::AcquireVips));
}

#[test]
fn a_node_that_overslept_listens_before_it_speaks() {
    let (mut machine, now) = active(100);
    let overslept = changed(State::Active, State::Backup, Why::Overslept);
    let yields = [Action::ReleaseVips, overslept];
    assert_eq!(machine.handle(Input::TimePassed, now + ms(4000)), yields);
    let (mut machine, now) = active(100);
    assert_eq!(machine.handle(heard(50), now + ms(4000)), yields, "it asserts nothing");
    let (mut machine, now) = active(100);
    assert_eq!(machine.handle(Input::TimePassed, now + ms(3999)), [Action::SendAdvert { priority: 100 }]);
}

#[test]
fn a_change_of_the_priority_moves_the_timer_from_what_was_heard() {
    let (mut machine, start) = started(settings(100));
    let at = start + ms(700);
    machine.handle(heard(200), at);
    machine.handle(Input::PriorityChanged(priority(50)), at + ms(500));
    assert_eq!(machine.deadline(), Some(at + ms(3000) + Duration::from_nanos(1_000_000_000 * 206 / 256)));
    assert_eq!(machine.priority(), priority(50));
}

#[test]
fn other_addresses_are_told_once_and_heeded_all_the_same() {
    let (mut machine, start) = started(settings(100));
    let mut advert = machine.advert(200);
    advert.addresses.push(ip(101));
    let input = Input::AdvertReceived { from: ip(3), advert };
    let told = Action::Tell(News::AddressesDiffer { from: ip(3) });
    assert_eq!(machine.handle(input.clone(), start + ms(1)), [told]);
    assert_eq!(machine.handle(input, start + ms(2)), []);
    assert_eq!(machine.deadline(), Some(start + ms(2) + machine.active_down_interval()));
}

#[test]
fn its_own_advertisements_say_nothing() {
    let (mut machine, now) = active(100);
    let input = Input::AdvertReceived { from: ip(2), advert: machine.advert(200) };
    assert_eq!(machine.handle(input, now), []);
    assert_eq!(machine.heard(), None);
}

#[test]
fn one_that_comes_and_goes_takes_the_addresses_only_so_often() {
    let settings = Settings { flap_limit: 2, flap_window: ms(60_000), ..settings(200) };
    let (mut machine, mut now) = started(settings);
    for _ in 0..2 {
        machine.handle(heard(100), now + ms(3000));
        let (actions, at) = wait(&mut machine);
        assert!(actions.contains(&changed(State::Backup, State::Active, Why::Preempted)), "{actions:?}");
        machine.handle(Input::Stopped, at);
        machine.handle(Input::Started { local: ip(2) }, at);
        now = at;
    }
    assert_eq!(machine.handle(heard(100), now), [Action::Tell(News::Damped)]);
    assert_eq!(machine.handle(heard(100), now + ms(1000)), [], "it is told once");
    assert!(machine.deadline() > Some(now + ms(4000)), "the Active router is heeded");
    // Silence is another matter.
    let (actions, at) = wait(&mut machine);
    assert!(actions.contains(&changed(State::Backup, State::Active, Why::ActiveDown)), "{actions:?}");
    machine.handle(heard(250), at);
    let (later, before) = (at + ms(61_000), machine.deadline());
    machine.handle(heard(100), later);
    assert_eq!(machine.deadline(), before, "what is long ago is forgotten: it takes them again");
}

#[test]
fn those_of_a_group_follow_each_other() {
    let (mut machine, now) = started(settings(100));
    let actions = machine.handle(Input::GroupActive, now);
    assert!(actions.contains(&Action::AcquireVips), "{actions:?}");
    assert!(actions.contains(&changed(State::Backup, State::Active, Why::Group)), "{actions:?}");
    assert_eq!(machine.handle(Input::GroupActive, now), [], "it is already");
    let actions = machine.handle(Input::GroupBackup, now);
    let released = [
        Action::SendAdvert { priority: 0 },
        Action::ReleaseVips,
        changed(State::Active, State::Backup, Why::Group),
    ];
    assert_eq!(actions, released, "others are told, as nobody may be there yet");
    assert_eq!(machine.handle(Input::GroupBackup, now), []);
    machine.handle(Input::Stopped, now);
    assert_eq!(machine.handle(Input::GroupActive, now), [], "who takes no part does not follow");
}

#[test]
fn one_that_hands_over_serves_until_its_own_successor_is_heard_whatever_its_group_does() {
    let (mut machine, now) = active(100);
    machine.handle(Input::HandedOver, now);
    assert_eq!(machine.handle(Input::GroupBackup, now), []);
    assert_eq!(machine.state(), State::Active);
    machine.handle(heard(100), now);
    assert_eq!(machine.state(), State::Backup);
}

#[test]
fn what_was_handed_over_is_taken_from_one_that_is_worth_less_than_it_was_then() {
    let (mut machine, now) = active(100);
    machine.handle(Input::HandedOver, now);
    machine.handle(heard(200), now);
    assert_eq!(machine.state(), State::Backup);
    machine.handle(heard(200), now + ms(1000));
    let armed = machine.deadline();
    machine.handle(heard(90), now + ms(2000));
    assert_eq!(machine.deadline(), armed, "it is not heeded any more");
    let (actions, _) = wait(&mut machine);
    assert!(actions.contains(&changed(State::Backup, State::Active, Why::Preempted)), "{actions:?}");
}
