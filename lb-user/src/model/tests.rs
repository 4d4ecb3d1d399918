use super::*;

#[test]
fn a_name_takes_letters_digits_dash_underscore_and_dot() {
    assert_eq!(BackendName::new("web-1_a.B").unwrap().as_str(), "web-1_a.B");
    assert_eq!("lb1".parse::<NodeName>().unwrap().to_string(), "lb1");
}

#[test]
fn a_name_that_is_empty_or_has_other_characters_or_is_too_long_is_refused_with_a_reason() {
    assert_eq!(VipName::new("").unwrap_err().to_string(), "\"\" is not a name: it is empty");
    assert_eq!(
        ServiceName::new("my web").unwrap_err().to_string(),
        "\"my web\" is not a name: only the letters a-z and A-Z, digits, '-', '_' and '.' may be in it"
    );
    assert!(ServiceName::new("a".repeat(63)).is_ok());
    assert_eq!(
        ServiceName::new("a".repeat(64)).unwrap_err().to_string(),
        format!("\"{}\" is not a name: it is longer than 63 characters", "a".repeat(64))
    );
    assert!(NodeName::new("..").unwrap_err().to_string().ends_with("it would mean a folder"));
}

#[test]
fn a_name_with_letters_of_another_alphabet_is_refused() {
    assert!(ServiceName::new("wéb").is_err());
}

#[test]
fn a_weight_is_from_0_to_256() {
    assert_eq!(Weight::new(256).unwrap().get(), 256);
    assert_eq!("0".parse::<Weight>().unwrap().get(), 0);
    assert_eq!(Weight::default().get(), 1);
    let words = "is not a weight; expected a whole number from 0 to 256";
    assert_eq!(Weight::new(257).unwrap_err().to_string(), format!("257 {words}"));
    assert_eq!("many".parse::<Weight>().unwrap_err().to_string(), format!("\"many\" {words}"));
    assert!(serde_json::from_str::<Weight>("257").is_err());
}

#[test]
fn a_port_range_is_read_and_written_the_same_way() {
    let range: PortRange = "2048-17407".parse().unwrap();
    assert_eq!((range.first(), range.last(), range.len()), (2048, 17407, 15360));
    assert_eq!(range.to_string(), "2048-17407");
    assert_eq!(PortRange::new(0, 65535).unwrap().len(), 65536);
    for wrong in ["", "5", "9-3", "1-70000", "-4", "a-b"] {
        assert!(wrong.parse::<PortRange>().is_err(), "{wrong}");
    }
}

#[test]
fn port_ranges_that_share_one_port_overlap() {
    let range = |first, last| PortRange::new(first, last).unwrap();
    assert!(range(10, 20).overlaps(range(20, 30)));
    assert!(!range(10, 20).overlaps(range(21, 30)));
    assert!(range(10, 20).contains(20) && !range(10, 20).contains(21));
}

#[test]
fn display_from_str_and_serde_agree_on_every_word() {
    macro_rules! check {
        ($($kind:ty),*) => {$(for word in <$kind>::WORDS {
            let value: $kind = word.parse().unwrap();
            assert_eq!(value.to_string(), *word);
            assert_eq!(serde_json::to_string(&value).unwrap(), format!("{word:?}"));
            assert_eq!(serde_json::from_str::<$kind>(&format!("{word:?}")).unwrap(), value);
        })*};
    }
    check!(
        Family,
        AdminState,
        HealthState,
        BackendHealth,
        Mode,
        Protocol,
        SchedulerKind,
        AttachMode,
        WhenDown
    );
}

#[test]
fn an_unknown_word_is_refused_with_the_words_there_are() {
    assert_eq!(
        "readdy".parse::<AdminState>().unwrap_err().to_string(),
        "\"readdy\" is not a state; expected one of ready, drain, maint"
    );
}

#[test]
fn the_family_of_an_address_is_known() {
    assert_eq!(Family::of("10.80.0.21".parse().unwrap()), Family::V4);
    assert_eq!(Family::of("fd80::21".parse().unwrap()), Family::V6);
}

#[test]
fn a_backend_with_one_address_up_and_the_other_down_is_degraded() {
    use HealthState::{Down, Unknown, Up};
    assert_eq!(BackendHealth::of([Up, Down]), BackendHealth::Degraded);
    assert_eq!(BackendHealth::of([Up, Up]), BackendHealth::Up);
    assert_eq!(BackendHealth::of([Down]), BackendHealth::Down);
    assert_eq!(BackendHealth::of([Up, Unknown]), BackendHealth::Unknown);
    assert_eq!(BackendHealth::of([Down, Unknown]), BackendHealth::Unknown);
    assert_eq!(BackendHealth::of([]), BackendHealth::Unknown);
}
