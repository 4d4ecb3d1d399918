//! The format, and that the documentation names what there is.

use super::text::{Text, Type};
use std::collections::BTreeSet;

/// Names of families in a text: words that begin so.
fn names(text: &str) -> BTreeSet<&str> {
    let words = text.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_');
    words.filter(|word| word.starts_with("lbctl_") || word.starts_with("process_")).collect()
}

#[test]
fn a_family_is_told_once_and_one_without_samples_not_at_all() {
    let mut text = Text::default();
    let mut family = text.family("lbctl_things_total", Type::Counter, "Things.");
    family.sample(&[("name", &"a\"b\\c\nd"), ("number", &7)], 3);
    family.sample(&[], 0.5);
    text.family("lbctl_nothing", Type::Gauge, "Nothing.");
    text.family("lbctl_state", Type::Gauge, "A state.").states(
        &[("one", &1)],
        "state",
        &["up", "down"],
        "down",
    );
    let wanted = "# HELP lbctl_things_total Things.\n# TYPE lbctl_things_total counter\n\
                  lbctl_things_total{name=\"a\\\"b\\\\c\\nd\",number=\"7\"} 3\nlbctl_things_total 0.5\n\
                  # HELP lbctl_state A state.\n# TYPE lbctl_state gauge\n\
                  lbctl_state{one=\"1\",state=\"up\"} 0\nlbctl_state{one=\"1\",state=\"down\"} 1\n";
    assert_eq!(text.finish(), wanted);
}

#[test]
fn the_documentation_names_all_figures_and_no_others() {
    let told = names(include_str!("../../../../docs/metrics.md"));
    let known: BTreeSet<&str> = {
        let source = concat!(include_str!("families.rs"), include_str!("databases.rs"));
        // Local names may begin alike; families are strings.
        let strings = source.split('"').skip(1).step_by(2);
        strings.filter(|text| names(text).contains(text)).collect()
    };
    assert!(known.len() > 40, "{known:?}");
    assert_eq!(told, known);
}
