use proptest::prelude::*;

use super::*;

fn table(weights: &[u32]) -> String {
    let named: Vec<(char, u32)> = ('a'..).zip(weights.iter().copied()).collect();
    slot_table(&named).into_iter().collect()
}

fn counts(row: &[usize], backends: usize) -> Vec<usize> {
    (0..backends).map(|index| row.iter().filter(|slot| **slot == index).count()).collect()
}

fn numbered(weights: &[u32]) -> Vec<usize> {
    let named: Vec<(usize, u32)> = weights.iter().copied().enumerate().collect();
    slot_table(&named)
}

/// The longest run of one backend, going round the table.
fn longest_run(row: &[usize], backend: usize) -> usize {
    let mut longest = 0;
    let mut run = 0;
    for slot in row.iter().chain(row) {
        run = if *slot == backend { run + 1 } else { 0 };
        longest = longest.max(run);
    }
    longest.min(row.len())
}

#[test]
fn equal_weights_take_turns_in_the_order_of_the_file() {
    assert_eq!(table(&[1, 1]), "ab");
    assert_eq!(table(&[7, 7, 7]), "abc");
}

#[test]
fn unequal_weights_are_interleaved_not_bunched() {
    assert_eq!(table(&[3, 1]), "aaab");
    assert_eq!(table(&[2, 1, 1]), "baca");
    assert_eq!(table(&[5, 1, 1]), "aabaaac");
    assert_eq!(table(&[3, 3, 2]), "abcabcab");
}

#[test]
fn what_weights_have_in_common_makes_the_table_no_longer() {
    assert_eq!(table(&[200, 100]), "aab");
    assert_eq!(table(&[256, 0, 256]), "ac");
}

#[test]
fn weight_zero_and_no_backends_make_no_slots() {
    assert_eq!(table(&[0, 1, 0]), "b");
    assert_eq!(table(&[0, 0]), "");
    assert_eq!(table(&[]), "");
}

#[test]
fn weights_too_large_for_the_table_are_scaled_and_nobody_is_left_out() {
    let row = numbered(&[1_000_000, 999_999, 1]);
    assert_eq!(row.len(), MAX_SLOTS);
    let counts = counts(&row, 3);
    assert_eq!(counts[2], 1);
    assert!(counts[0].abs_diff(counts[1]) <= 1, "{counts:?}");
}

#[test]
fn with_more_backends_than_slots_the_heaviest_get_one_each() {
    let mut weights = vec![1; MAX_SLOTS + 10];
    weights[MAX_SLOTS + 9] = 2;
    let row = numbered(&weights);
    assert_eq!(row.len(), MAX_SLOTS);
    assert!(row.contains(&(MAX_SLOTS + 9)));
}

#[test]
fn a_backend_in_slow_start_gets_a_growing_share_and_then_its_own() {
    let slow = Duration::from_secs(9);
    let after = |seconds| ramped_weight(4, Duration::from_secs(seconds), slow);
    assert_eq!((after(0), after(1), after(8), after(9), after(1000)), (4, 8, 36, 40, 40));
    assert_eq!(ramped_weight(4, Duration::ZERO, Duration::ZERO), 40);
    assert_eq!(ramped_weight(0, Duration::from_secs(3), slow), 0);
}

#[test]
fn when_nobody_ramps_the_table_is_that_of_the_plain_weights() {
    let done = |weight| ramped_weight(weight, Duration::from_secs(60), Duration::from_secs(10));
    assert_eq!(table(&[done(3), done(1)]), table(&[3, 1]));
}

#[test]
fn a_slow_start_leads_to_the_whole_share_in_nine_steps() {
    let slow = Duration::from_secs(9);
    let weights: Vec<u32> = (0..=9000).map(|ms| ramped_weight(1, Duration::from_millis(ms), slow)).collect();
    assert!(weights.is_sorted());
    let mut steps = weights;
    steps.dedup();
    assert_eq!(steps, (1..=10).collect::<Vec<u32>>());
    assert_eq!(ramped_weight(1, Duration::ZERO, Duration::ZERO), 10, "no slow start");
}

proptest! {
    #[test]
    fn proportions_are_exact_when_they_fit(weights in prop::collection::vec(0_u32..=256, 1..16)) {
        let row = numbered(&weights);
        let common = weights.iter().copied().fold(0, gcd).max(1);
        let exact: Vec<usize> = weights.iter().map(|weight| (weight / common) as usize).collect();
        prop_assert_eq!(counts(&row, weights.len()), exact);
    }

    #[test]
    fn nobody_has_a_longer_run_than_the_proportions_force(weights in prop::collection::vec(0_u32..40, 2..12)) {
        let row = numbered(&weights);
        for (backend, count) in counts(&row, weights.len()).into_iter().enumerate() {
            let others = row.len() - count;
            let forced = if others == 0 { row.len() } else { count.div_ceil(others) };
            prop_assert!(longest_run(&row, backend) <= forced, "{weights:?}: {row:?}");
        }
    }

    #[test]
    fn scaled_tables_are_full_and_off_by_less_than_a_slot_or_so(
        weights in prop::collection::vec(1_u32..1_000_000, 2..200),
    ) {
        let total: u64 = weights.iter().map(|weight| u64::from(*weight)).sum();
        let row = numbered(&weights);
        prop_assert!(row.len() <= MAX_SLOTS);
        let counts = counts(&row, weights.len());
        prop_assert!(counts.iter().all(|count| *count >= 1));
        for (weight, count) in weights.iter().zip(counts) {
            let exact = f64::from(*weight) * row.len() as f64 / total as f64;
            // Those whose share is below one slot take theirs from the others.
            let slack = 1.0 + weights.len() as f64 * exact / row.len() as f64;
            prop_assert!((count as f64 - exact).abs() <= slack.max(2.0), "{count} for {exact}");
        }
    }

    #[test]
    fn the_same_weights_always_make_the_same_table(weights in prop::collection::vec(0_u32..3000, 0..40)) {
        prop_assert_eq!(numbered(&weights), numbered(&weights));
    }
}
