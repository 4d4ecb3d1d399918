//! Names in a statement, and what people read of a reason.

use super::*;
use crate::core::mysql::sql::Reason;

#[test]
fn a_statement_mentions_its_names() {
    for context in [mysql(), mariadb()] {
        let mentions = |text: &str, name: &str| one(text, &context).mentions(name);
        assert!(mentions("SELECT * FROM Tmp", "tmp"));
        assert!(mentions("SELECT * FROM db.`tmp` WHERE 1", "TMP"));
        assert!(mentions("SELECT * FROM db.1a", "1a"));
        assert!(mentions("SELECT * FROM `a``b`", "a`b"));
        assert!(mentions("SELECT * FROM größe", "GRÖßE"));
        assert!(mentions("SELECT 1 /*! FROM tmp */", "tmp"));
        assert!(mentions("SELECT 'no end", "anything"));
        assert!(!mentions("SELECT 'tmp', \"tmp\" /* tmp */ FROM t -- tmp", "tmp"));
        assert!(!mentions("SELECT @tmp FROM tmp2", "tmp"));
    }
    assert!(one("SELECT * FROM \"tmp\"", &with_mode(mysql(), "ANSI_QUOTES")).mentions("tmp"));
}

#[test]
fn reasons_have_words_for_people_and_for_metrics() {
    let reason = one("SELECT f(1)", &mysql()).primary.unwrap();
    assert_eq!(reason.to_string(), "calls a function that may write: `f`");
    assert_eq!(reason.name(), "unknown_function");
    assert_eq!(Reason::LocksRows.to_string(), "locks the rows it reads");
}

#[test]
fn comments_change_nothing() {
    let texts = [
        "SELECT 1",
        "SELECT f(1)",
        "DELETE FROM t",
        "SET a = 1",
        "BEGIN",
        "SHOW TABLES",
        "SELECT 1 FOR UPDATE",
    ];
    for comment in [
        "/* x */",
        "/**/",
        "# x\n",
        "-- x\n",
        "--\n",
        "/*!99999 x */",
        "/*+ x */",
        " \t\r\n",
        "/* ' */",
        "#;\n",
    ] {
        for text in texts {
            for context in [mysql(), mariadb()] {
                let commented = format!("{comment}{text}{comment}");
                let (plain, commented) = (one(text, &context), one(&commented, &context));
                assert_eq!(plain.kind, commented.kind, "{comment}{text}");
                assert_eq!(plain.primary, commented.primary, "{comment}{text}");
            }
        }
    }
}

/// A text as long as a packet must neither exhaust the stack nor take more than its share of time.
#[test]
fn long_texts_are_read_in_linear_time() {
    let variables: String = (0..200_000).map(|number| format!(", @v{number}")).collect();
    for text in [
        "SET STATEMENT a = 1 FOR ".repeat(200_000),
        format!("SELECT {}", "JSON_TABLE(".repeat(200_000)),
        format!("SELECT {}", "(".repeat(500_000)),
        format!("SELECT 1 {}", ", f(a) ".repeat(200_000)),
        format!("SELECT (1) {}", ", f(a, ) ".repeat(200_000)),
        format!("SELECT 1{variables}"),
        ";".repeat(100_000),
        format!("INSERT INTO t VALUES (1){}", ", (1)".repeat(200_000)),
        "/*! ".repeat(200_000),
        "a.".repeat(200_000),
    ] {
        for context in [mysql(), mariadb()] {
            assert!(!statements(text.as_bytes(), &context).is_empty());
            assert!(!crate::core::mysql::sql::digest(text.as_bytes(), &context).text.is_empty());
        }
    }
}

#[test]
fn half_a_letter_is_no_backslash_and_no_quote() {
    let context = Context { utf8: false, ..mysql() };
    // In gbk the backslash is the second half of the letter, and the string ends behind it.
    let gbk = b"SELECT '\xbf\\', LAST_INSERT_ID(), 'x'";
    let found = statements(gbk, &context);
    assert_eq!(found[0].primary, Some(Reason::Malformed), "which of both it is cannot be told");
    let latin1 = b"SELECT 'caf\xe9' FROM t";
    assert_eq!(statements(latin1, &context)[0].primary, None);
}
