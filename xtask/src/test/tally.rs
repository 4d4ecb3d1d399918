//! Counting tests from what libtest prints.
//!
//! Owns the sums. Never runs anything.

/// How many tests passed, failed and were ignored, and which failed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) passed: u64,
    pub(crate) failed: u64,
    pub(crate) ignored: u64,
    pub(crate) failures: Vec<String>,
}

impl Tally {
    /// Takes one line of output into account.
    pub(crate) fn read_line(&mut self, line: &str) {
        if let Some(counts) = line.strip_prefix("test result: ") {
            self.passed += count(counts, "passed");
            self.failed += count(counts, "failed");
            self.ignored += count(counts, "ignored");
        } else if let Some(test) = line.strip_prefix("test ")
            && let Some(name) = test.strip_suffix(" ... FAILED")
        {
            self.failures.push(name.to_owned());
        }
    }

    pub(crate) fn add(&mut self, other: &Tally) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.ignored += other.ignored;
        self.failures.extend(other.failures.iter().cloned());
    }

    /// Whether any test was run at all.
    pub(crate) fn is_empty(&self) -> bool {
        self.passed + self.failed == 0
    }
}

/// The number before a word, as in `ok. 12 passed; 0 failed; …`.
fn count(text: &str, word: &str) -> u64 {
    let mut before = "";
    for part in text.split([' ', ';', '.']).filter(|part| !part.is_empty()) {
        if part == word {
            return before.parse().unwrap_or(0);
        }
        before = part;
    }
    0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tally(text: &str) -> Tally {
        let mut tally = Tally::default();
        text.lines().for_each(|line| tally.read_line(line));
        tally
    }

    #[test]
    fn results_of_several_binaries_add_up() {
        let found = tally(
            "running 2 tests\ntest a ... ok\ntest b::c ... FAILED\n\
             test result: FAILED. 1 passed; 1 failed; 3 ignored; 0 measured; 0 filtered out; finished in 0.00s\n\
             test result: ok. 12 passed; 0 failed; 0 ignored; 0 measured; 7 filtered out; finished in 1.20s\n",
        );
        assert_eq!((found.passed, found.failed, found.ignored), (13, 1, 3));
        assert_eq!(found.failures, ["b::c"]);
    }

    #[test]
    fn output_of_tests_is_not_mistaken_for_results() {
        assert!(tally("12 passed, 3 failed\ntest a ... ok\nerror: could not compile\n").is_empty());
    }
}
