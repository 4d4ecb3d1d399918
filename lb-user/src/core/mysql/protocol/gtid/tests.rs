//! Tests of GTID sets and positions.

use super::*;
use proptest::prelude::*;

const ONE: &str = "3e11fa47-71ca-11e1-9e33-c80aa9429562";
const TWO: &str = "4e11fa47-71ca-11e1-9e33-c80aa9429562";

fn set(text: &str) -> GtidSet {
    text.parse().unwrap()
}

#[test]
fn intervals_that_touch_become_one() {
    assert_eq!(set(&format!("{ONE}:7:1-3:4-5:6")).to_string(), format!("{ONE}:1-7"));
    assert_eq!(set(&format!("{ONE}:9:1-3:5, {ONE}:4")).to_string(), format!("{ONE}:1-5:9"));
    assert_eq!(set(&format!("{ONE}:5:10:20:1-30")).to_string(), format!("{ONE}:1-30"));
    assert_eq!(set(&format!("{ONE}:5-9:1-2:1-7")).to_string(), format!("{ONE}:1-9"));
}

#[test]
fn a_tag_holds_until_the_next() {
    let text = format!("{ONE}:1-5:audit:1-3:7:sales:2,{TWO}:9");
    assert_eq!(set(&text).to_string(), text);
    assert!(set(&text).contains(&set(&format!("{ONE}:AUDIT:2"))));
    assert!(!set(&text).contains(&set(&format!("{ONE}:sales:1"))));
    assert!(!set(&text).contains(&set(&format!("{TWO}:audit:1"))));
}

#[test]
fn a_set_contains_its_parts_and_no_gap() {
    let own = set(&format!("{ONE}:1-5:8-9"));
    for part in ["1", "2-4", "8-9", "1-5:9"] {
        assert!(own.contains(&set(&format!("{ONE}:{part}"))), "{part}");
    }
    for part in ["6", "5-6", "1-9", "10"] {
        assert!(!own.contains(&set(&format!("{ONE}:{part}"))), "{part}");
    }
    assert!(own.contains(&GtidSet::default()));
    assert!(!GtidSet::default().contains(&own));
}

#[test]
fn what_is_no_set_is_refused() {
    for text in [
        "x",
        ONE,
        "3e11fa47-71ca-11e1-9e33-c80aa942956:1",
        &format!("{ONE}:0"),
        &format!("{ONE}:1-"),
        &format!("{ONE}:tag"),
        &format!("{ONE}:ta-g:1"),
        &format!("{ONE}:1:99999999999999999999"),
        &format!("{ONE}:9223372036854775807"),
        &format!("{ONE}:"),
    ] {
        assert!(text.parse::<GtidSet>().is_err(), "{text}");
    }
    assert_eq!(set(" , \n"), GtidSet::default());
}

#[test]
fn an_interval_that_ends_before_it_begins_is_empty() {
    assert!(set(&format!("{ONE}:5-3")).is_empty());
}

#[test]
fn a_replica_has_what_it_has_come_as_far_as() {
    let replica: MariaDbPosition = "0-2-100,1-1-7".parse().unwrap();
    let has = |text: &str| replica.contains(&text.parse().unwrap());
    assert!(has("0-1-100"));
    assert!(has("0-9-1,1-1-7"));
    assert!(has(""));
    assert!(!has("0-1-101"));
    assert!(!has("2-1-1"));
}

#[test]
fn the_furthest_of_a_domain_counts() {
    let position: MariaDbPosition = "0-1-5,0-2-9,0-3-7".parse().unwrap();
    assert_eq!(position.to_string(), "0-2-9");
}

#[test]
fn what_is_no_position_is_refused() {
    for text in ["0-1", "0-1-2-3", "0--1", "a-b-c", "0-1-+5", "4294967296-1-1"] {
        assert!(text.parse::<MariaDbPosition>().is_err(), "{text}");
    }
}

#[test]
fn positions_of_two_kinds_contain_each_other_only_when_empty() {
    let mysql = GtidPosition::parse(Flavor::MySql, format!("{ONE}:1").as_bytes()).unwrap();
    let mariadb = GtidPosition::parse(Flavor::MariaDb, b"0-1-1").unwrap();
    assert!(!mysql.contains(&mariadb));
    assert!(mysql.contains(&GtidPosition::empty(Flavor::MariaDb)));
}

#[test]
fn a_set_does_not_grow_without_bound() {
    let source: Source = ONE.parse().unwrap();
    let mut set = GtidSet::default();
    let limit = u64::try_from(MAX_PARTS).unwrap();
    for number in 0..limit {
        set.advance(source, &Tag::default(), number * 2 + 1).unwrap();
    }
    assert_eq!(set.advance(source, &Tag::default(), limit * 2 + 9), Err(GtidError::TooLarge(MAX_PARTS)));
    assert_eq!(set.advance(source, &Tag::default(), 2), Ok(()));
}

proptest! {
    #[test]
    fn a_set_is_the_set_of_its_numbers(
        own in prop::collection::vec((1_u64..40, 0_u64..6), 0..12),
        other in prop::collection::vec((1_u64..40, 0_u64..6), 0..4),
    ) {
        let build = |list: &[(u64, u64)]| {
            let mut built = GtidSet::default();
            let mut numbers = std::collections::BTreeSet::new();
            for (first, more) in list {
                built.merge(&set(&format!("{ONE}:{first}-{}", first + more))).unwrap();
                numbers.extend(*first..=first + more);
            }
            (built, numbers)
        };
        let ((own, own_numbers), (other, other_numbers)) = (build(&own), build(&other));
        prop_assert_eq!(own.contains(&other), other_numbers.is_subset(&own_numbers));
        prop_assert_eq!(&set(&own.to_string()), &own);
        let source: Source = ONE.parse().unwrap();
        for number in 1..50 {
            prop_assert_eq!(own.contains_one(source, &Tag::default(), number), own_numbers.contains(&number));
        }
        let runs = own_numbers.iter().filter(|number| !own_numbers.contains(&(*number - 1))).count();
        prop_assert_eq!(own.to_string().split(':').count().saturating_sub(1), runs);
    }

    #[test]
    fn any_text_never_panics(text in "[0-9a-f:,\\-_ ]{0,80}|.{0,20}") {
        let _ = text.parse::<GtidSet>();
        let _ = text.parse::<MariaDbPosition>();
    }
}
