//! Texts of SQL: whatever they hold, they are cut into pieces of themselves, and no answer is put where no question is.

#![no_main]

use lbctl_fuzz::core::mysql::sql::{
    Answers, Context, Dialect, Flavor, SqlMode, digest, statements, with_answers,
};
use libfuzzer_sys::fuzz_target;

const ANSWERS: Answers =
    Answers { found_rows: Some(5), row_count: Some(-1), warnings: Some(2), errors: Some(0) };

fuzz_target!(|bytes: &[u8]| {
    let Some((&[flags], text)) = bytes.split_first_chunk::<1>() else { return };
    let (flavor, version) = match flags & 1 {
        0 => (Flavor::MariaDb, 101_106),
        _ => (Flavor::MySql, 90_704),
    };
    let names = [(2, "ANSI_QUOTES"), (4, "NO_BACKSLASH_ESCAPES"), (8, "IGNORE_SPACE"), (16, "ORACLE")];
    let modes: Vec<&str> = names.iter().filter(|(bit, _)| flags & bit != 0).map(|(_, name)| *name).collect();
    let mode = SqlMode::parse(&modes.join(","));
    let context = Context { dialect: Dialect { flavor, version }, mode, utf8: flags & 32 == 0 };

    let found = statements(text, &context);
    assert!(!found.is_empty());
    let mut from = 0;
    for one in &found {
        // Each is a part of the text, behind the one before it.
        let start = one.text.as_ptr().addr() - text.as_ptr().addr();
        assert!(one.text.is_empty() || start >= from && start + one.text.len() <= text.len());
        from = if one.text.is_empty() { from } else { start + one.text.len() };
        let _ = one.mentions("t");
    }
    let _ = digest(text, &context);
    for one in &found {
        let answered = with_answers(one.text, &context, one.asks_about_last, &ANSWERS);
        if !one.asks_about_last.any() {
            assert!(answered.as_ref().is_none_or(|answered| answered.as_slice() == one.text));
        }
        // Whatever took a question's place, nothing is asked any more, and the statement is the same otherwise.
        if let Some(answered) = answered.filter(|_| found.len() == 1 && !one.compound) {
            let again = statements(&answered, &context);
            assert_eq!(again.len(), 1, "{:?}", String::from_utf8_lossy(&answered));
            assert!(!again[0].asks_about_last.found_rows && !again[0].asks_about_last.row_count);
            assert_eq!(again[0].assigned_variables, one.assigned_variables);
        }
    }
});
