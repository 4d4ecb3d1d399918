//! The normal form and its hash.

use super::*;
use crate::core::mysql::sql::{DIGEST_TEXT_LIMIT, digest};

fn text(sql: &str) -> String {
    let found = digest(sql.as_bytes(), &mysql());
    assert_eq!(found, digest(sql.as_bytes(), &mariadb()), "{sql}");
    let again = digest(found.text.as_bytes(), &mysql());
    assert_eq!(again, found, "{sql}");
    found.text
}

#[test]
fn literals_go() {
    for (sql, expected) in [
        ("SELECT * FROM t WHERE a = 1", "select * from t where a = ?"),
        ("select  *  from T where A='x'", "select * from t where a = ?"),
        ("SELECT -1, +1, - -1, 1 - 1, a - 1, -a, (-1)", "select ?, ?, ?, ? - ?, a - ?, - a, (?)"),
        (
            "SELECT 1.5e3, .5, 0x41, x'41', b'1', N'a', _utf8'a', 'a' 'b'",
            "select ?, ?, ?, ?, ?, ?, _utf8 ?, ?",
        ),
        ("SELECT NULL, TRUE", "select null, true"),
        ("SELECT a FROM t WHERE b IN (1)", "select a from t where b in (...)"),
        ("SELECT a FROM t WHERE b IN (1, 2, -3)", "select a from t where b in (...)"),
        ("SELECT a FROM t WHERE b IN (1, c)", "select a from t where b in (?, c)"),
        ("SELECT f(1), f(1, 2), f(), COUNT(*)", "select f(?), f(...), f(), count(*)"),
        ("SELECT a FROM t WHERE (b, c) IN ((1, 2), (3, 4))", "select a from t where (b, c) in ((...))"),
        ("INSERT INTO t (a, b) VALUES (1, 'x'), (2, 'y')", "insert into t(a, b) values (...)"),
        ("INSERT INTO t VALUES (1, NOW()), (2, NOW())", "insert into t values (?, now())"),
        ("INSERT INTO t VALUES (1), (NULL)", "insert into t values (?), (null)"),
        ("INSERT INTO t VALUES ROW(1, 2)", "insert into t values row (...)"),
        ("SELECT (1), (1), f(a), f(a)", "select (?), (?), f(a), f(a)"),
        ("SELECT a.b, `a`.`b`, db . t FROM `a``b`", "select a.b, `a`.`b`, db.t from `a``b`"),
        ("SELECT @a, @'b c', @@session.x", "select @a, @`b c`, @@session.x"),
        ("SELECT /* x */ 1 -- y", "select ?"),
        ("SELECT /*!40000 a, */ 1 /*!99999 b */", "select a, ?"),
        ("SELECT a WHERE b = ? AND c <=> ?", "select a where b = ? and c <=> ?"),
        ("SELECT 'secret", "select ?"),
        ("SELECT \"it is a secret", "select ?"),
        ("SELECT 1; SELECT 2", "select ? ; select ?"),
        ("", ""),
    ] {
        assert_eq!(text(sql), expected, "{sql}");
    }
    let ansi = with_mode(mysql(), "ANSI_QUOTES");
    assert_eq!(digest(b"SELECT \"a`b\", 'c'", &ansi).text, "select `a``b`, ?");
}

#[test]
fn a_name_that_begins_with_a_digit_is_no_number() {
    assert_eq!(text("SELECT t.1a FROM 2b"), "select t.`1a` from `2b`");
}

#[test]
fn the_text_is_bounded_and_the_hash_is_not() {
    let long = |end: &str| format!("SELECT {}{end} FROM t", "ä, ".repeat(5000));
    let (a, b) = (digest(long("a").as_bytes(), &mysql()), digest(long("b").as_bytes(), &mysql()));
    assert!(a.text.len() <= DIGEST_TEXT_LIMIT && a.text.len() > DIGEST_TEXT_LIMIT - 4);
    assert_eq!(a.text, b.text);
    assert_ne!(a.hash, b.hash);
    // FNV-1a of "select ?".
    let expected = b"select ?".iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    });
    assert_eq!(digest(b"SELECT 7", &mysql()).hash, expected);
}
