//! Any trackers, and who is told.

use super::millis;
use crate::config::{Config, Notify, TrackedCommand, Tracker};
use crate::model::TrackerName;
use proptest::collection::vec;
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// t1 is always there, as VIPs hang on it.
pub(super) fn trackers() -> impl Strategy<Value = BTreeMap<TrackerName, Tracker>> {
    let command = (millis(100..5000), millis(1..100), 1..9_u32, 1..9_u32).prop_map(
        |(interval, timeout, rise, fall)| {
            let words = vec!["/bin/true".to_owned(), "a b".to_owned()];
            Tracker::Command(TrackedCommand { words, interval, timeout, rise, fall })
        },
    );
    let tracker = prop_oneof![Just(Tracker::Dataplane), "eth[0-9]".prop_map(Tracker::Interface), command];
    (vec(tracker, 3), 1..=3_usize).prop_map(|(all, count)| {
        let named = all.into_iter().take(count).enumerate();
        named.map(|(number, one)| (format!("t{}", number + 1).parse().unwrap(), one)).collect()
    })
}

pub(super) fn notify() -> impl Strategy<Value = Notify> {
    millis(1..5000).prop_map(|timeout| Notify { words: vec!["/bin/tell".to_owned()], timeout })
}

pub(super) fn write(text: &mut String, config: &Config) {
    for (name, tracker) in &config.trackers {
        writeln!(text, "[track.{name}]").unwrap();
        match tracker {
            Tracker::Interface(name) => writeln!(text, "interface = {name:?}").unwrap(),
            Tracker::Service { name, at_least } => {
                writeln!(text, "service = \"{name}\"\nat_least = {at_least}").unwrap();
            }
            Tracker::Dataplane => writeln!(text, "dataplane = true").unwrap(),
            Tracker::Command(command) => {
                writeln!(text, "command = {:?}\ninterval = \"{:?}\"", command.words, command.interval)
                    .unwrap();
                let TrackedCommand { timeout, rise, fall, .. } = command;
                writeln!(text, "timeout = \"{timeout:?}\"\nrise = {rise}\nfall = {fall}").unwrap();
            }
        }
    }
    if let Some(Notify { words, timeout }) = &config.notify {
        writeln!(text, "[notify]\ncommand = {words:?}\ntimeout = \"{timeout:?}\"").unwrap();
    }
}
