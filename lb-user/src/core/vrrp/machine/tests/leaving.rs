//! A node that leaves its place to another.

use super::*;

/// It is told by another way whom to ask, and says nothing that others would act upon.
#[test]
fn a_node_that_offers_its_place_goes_on_until_the_one_that_is_asked_has_it() {
    let (mut machine, now) = active(200);
    assert_eq!(machine.handle(Input::Offered, now), []);
    assert_eq!(machine.handle(Input::TimePassed, now + ms(1000)), [Action::SendAdvert { priority: 200 }]);
    let handed = [Action::ReleaseVips, changed(State::Active, State::Backup, Why::HandedOver)];
    assert_eq!(machine.handle(heard(50), now + ms(1001)), handed);
    // It does not take back by priority what it gave.
    machine.handle(heard(50), now + ms(1900));
    assert_eq!(machine.deadline(), Some(now + ms(1900) + machine.active_down_interval()));

    let (mut asked, now) = started(settings(50));
    let actions = asked.handle(Input::Asked, now);
    let taken = changed(State::Backup, State::Active, Why::Asked);
    assert_eq!(actions, [Action::SendAdvert { priority: 50 }, Action::AcquireVips, taken]);
    assert_eq!(asked.handle(Input::Asked, now + ms(1)), [], "it has it");
}

#[test]
fn an_offer_that_nobody_takes_ends_and_one_that_is_followed_by_leaving_is_said_to_all() {
    let (mut machine, now) = active(200);
    machine.handle(Input::Offered, now);
    let over = machine.handle(Input::TimePassed, now + ms(3000));
    assert_eq!(over, [Action::SendAdvert { priority: 200 }, Action::Tell(News::HandOverFailed)]);
    assert_eq!(machine.state(), State::Active);
    machine.handle(Input::Offered, now + ms(3001));
    assert_eq!(machine.handle(Input::HandedOver, now + ms(3002)), [Action::SendAdvert { priority: 0 }]);
    // At short intervals the one that is asked still has the time to hear of it.
    let (mut machine, _) = started(Settings { interval: interval(1), ..settings(200) });
    let (_, now) = wait(&mut machine);
    machine.handle(Input::Offered, now);
    let before = machine.handle(Input::TimePassed, now + ms(20));
    assert_eq!(before, [Action::SendAdvert { priority: 200 }]);
    let (mut machine, now) = active(200);
    machine.handle(Input::Offered, now);
    assert_eq!(machine.handle(Input::Stopped, now)[0], Action::SendAdvert { priority: 0 }, "nobody was told");
}

#[test]
fn of_two_that_leave_at_one_time_the_higher_address_serves_on() {
    let zero = |from| {
        let Input::AdvertReceived { advert, .. } = heard(0) else { unreachable!() };
        Input::AdvertReceived { from, advert }
    };
    let (mut machine, now) = active(100);
    machine.handle(Input::HandedOver, now);
    assert_eq!(machine.handle(zero(ip(1)), now + ms(1)), []);
    assert!(machine.handle(zero(ip(3)), now + ms(2)).contains(&Action::ReleaseVips));
}

#[test]
fn a_node_that_nobody_succeeds_keeps_its_place() {
    let (mut machine, now) = active(100);
    machine.handle(Input::HandedOver, now);
    let actions = machine.handle(Input::TimePassed, now + ms(3000));
    assert_eq!(actions, [Action::SendAdvert { priority: 100 }, Action::Tell(News::HandOverFailed)]);
    assert_eq!(machine.state(), State::Active);
}

/// The one that offers goes on as before until it hears the other: what it says meanwhile crosses that.
#[test]
fn advertisements_that_cross_an_answer_to_an_offer_leave_one_active() {
    let (mut offers, now) = active(200);
    offers.handle(Input::Offered, now);
    let (mut asked, _) = started(settings(50));
    asked.handle(Input::Asked, now);
    let crossing = asked.handle(heard(200), now + ms(1));
    assert_eq!(crossing, [], "it stays, and will say so in its time");
    assert!(offers.handle(heard(50), now + ms(2)).contains(&Action::ReleaseVips));
    assert_eq!((offers.state(), asked.state()), (State::Backup, State::Active));
    // One that takes its offer back, or never made one, is not put off for ever.
    assert!(asked.handle(heard(200), now + ms(3000)).contains(&Action::ReleaseVips));
}

#[test]
fn another_address_of_the_node_decides_between_equals_from_then_on() {
    let (mut machine, now) = active(100);
    assert!(machine.handle(Input::AddressChanged { local: ip(9) }, now).is_empty());
    assert_eq!(machine.handle(heard(100), now + ms(1))[0], Action::SendAdvert { priority: 100 });
    machine.handle(Input::AddressChanged { local: ip(1) }, now + ms(2));
    assert!(machine.handle(heard(100), now + ms(3)).contains(&Action::ReleaseVips));
}
