//! Where statements end.

use super::*;

fn pieces(text: &str, context: &Context) -> Vec<String> {
    let pieces = statements(text.as_bytes(), context);
    pieces.iter().map(|piece| String::from_utf8_lossy(piece.text).into_owned()).collect()
}

fn check_pieces(text: &str, expected: &[&str]) {
    assert_eq!(pieces(text, &mysql()), expected, "{text}");
    assert_eq!(pieces(text, &mariadb()), expected, "{text}");
}

#[test]
fn a_semicolon_ends_a_statement() {
    check_pieces("SELECT 1", &["SELECT 1"]);
    check_pieces("SELECT 1;", &["SELECT 1"]);
    check_pieces("SELECT 1 ; ;; \n", &["SELECT 1 "]);
    check_pieces("SELECT 1;SELECT 2", &["SELECT 1", "SELECT 2"]);
    check_pieces("SELECT 1; SELECT 2;", &["SELECT 1", " SELECT 2"]);
    check_pieces("SELECT 1;;SELECT 2", &["SELECT 1", "", "SELECT 2"]);
    check_pieces("SELECT 1; -- end", &["SELECT 1", " -- end"]);
    check_pieces(";", &[""]);
    check_pieces("", &[""]);
    check("read; write writes; empty", &["SELECT 1; DELETE FROM t; -- end"]);
    check("read; other; read", &["SELECT 1; SET @a = 1; SELECT @a"]);
}

#[test]
fn a_semicolon_in_quotes_ends_nothing() {
    for text in
        ["SELECT ';'", "SELECT \";\"", "SELECT `;`", "SELECT 'a'';'", "SELECT 'a\\';'", "SELECT @';', @`;`"]
    {
        check_pieces(text, &[text]);
    }
    check_pieces("SELECT 'a\\\\';SELECT 2", &["SELECT 'a\\\\'", "SELECT 2"]);
    check_pieces("SELECT `a\\`;SELECT 2", &["SELECT `a\\`", "SELECT 2"]);
    let quiet = with_mode(mysql(), "NO_BACKSLASH_ESCAPES");
    assert_eq!(pieces("SELECT 'a\\';SELECT 'b'", &quiet), ["SELECT 'a\\'", "SELECT 'b'"]);
    let ansi = with_mode(mysql(), "ANSI_QUOTES");
    assert_eq!(pieces("SELECT \"a\\\";SELECT 'b'", &ansi), ["SELECT \"a\\\"", "SELECT 'b'"]);
}

#[test]
fn a_semicolon_in_a_comment_ends_nothing() {
    for text in
        ["SELECT 1 /* ; */", "SELECT 1 # ;\n+ 1", "SELECT 1 -- ;\n+ 1", "SELECT 1 --\t;", "SELECT 1 --"]
    {
        check_pieces(text, &[text]);
    }
    check_pieces("SELECT 1 --1;SELECT 2", &["SELECT 1 --1", "SELECT 2"]);
    check_pieces("SELECT 1 /*!99999 ; */;SELECT 2", &["SELECT 1 /*!99999 ; */", "SELECT 2"]);
    check_pieces("SELECT 1 /*!99999 /* ; */ ; */;SELECT 2", &["SELECT 1 /*!99999 /* ; */ ; */", "SELECT 2"]);
    check_pieces("SELECT 1 /* /* ; */;SELECT 2", &["SELECT 1 /* /* ; */", "SELECT 2"]);
}

#[test]
fn a_quote_in_a_comment_opens_nothing() {
    check_pieces("SELECT 1 /* ' */;SELECT 2", &["SELECT 1 /* ' */", "SELECT 2"]);
    check_pieces("SELECT 1 # don't\n;SELECT 2", &["SELECT 1 # don't\n", "SELECT 2"]);
    check_pieces("SELECT 1 -- \"\n;SELECT 2", &["SELECT 1 -- \"\n", "SELECT 2"]);
    check_pieces("SELECT '/*';SELECT '*/'", &["SELECT '/*'", "SELECT '*/'"]);
    check_pieces("SELECT '-- ';SELECT '#'", &["SELECT '-- '", "SELECT '#'"]);
}

#[test]
fn version_comments_follow_the_version() {
    let read = |text: &str, context: &Context| summary(&one(text, context));
    for text in
        ["SELECT 1 /*!80403 FOR UPDATE */", "SELECT 1 /*!FOR UPDATE*/", "SELECT 1 /*!00000FOR UPDATE*/"]
    {
        assert_eq!(read(text, &mysql()), "read locks_rows", "{text}");
    }
    for text in
        ["SELECT 1 /*!80404 FOR UPDATE */", "SELECT 1 /*!99999 FOR UPDATE */", "SELECT 1 /*M! FOR UPDATE */"]
    {
        assert_eq!(read(text, &mysql()), "read", "{text}");
    }
    for text in [
        "SELECT 1 /*!50700 FOR UPDATE */",
        "SELECT 1 /*!99999 FOR UPDATE */",
        "SELECT 1 /*!101107 FOR UPDATE */",
    ] {
        assert_eq!(read(text, &mariadb()), "read", "{text}");
    }
    for text in [
        "SELECT 1 /*!50699 FOR UPDATE */",
        "SELECT 1 /*!100000 FOR UPDATE */",
        "SELECT 1 /*M!50700 FOR UPDATE */",
    ] {
        assert_eq!(read(text, &mariadb()), "read locks_rows", "{text}");
    }
    // Versions of MySQL disagree about a sixth digit.
    assert_eq!(read("SELECT 1 /*!080403 FOR UPDATE */", &mysql()), "write malformed");
    assert_eq!(read("SELECT 1 /*!100100 , 2 */", &mysql()), "write malformed");
    assert_eq!(read("SELECT 1 /*!999999 , 2 */", &mysql()), "read");
    check("read", &["SELECT 1 /*!40000 , 2 /* b */ , 3 */", "SELECT 1 /*!40000 , 2 /*!40000 , 3 */ , 4"]);
}

#[test]
fn stored_programs_reach_to_the_end() {
    for text in [
        "CREATE PROCEDURE p() BEGIN SELECT 1; SELECT 2; END",
        "create or replace procedure p() begin select 1; end",
        "CREATE DEFINER = `a`@`b` PROCEDURE p() BEGIN SELECT 1; END; SELECT 2",
        "CREATE DEFINER = user@table PROCEDURE p() BEGIN SELECT 1; END",
        "CREATE DEFINER=CURRENT_USER() FUNCTION f() RETURNS INT BEGIN RETURN 1; END",
        "CREATE AGGREGATE FUNCTION f RETURNS INT SONAME 'x'; SELECT 1",
        "CREATE FUNCTION IF NOT EXISTS f() RETURNS INT RETURN 1; SELECT 1",
        "CREATE TRIGGER x BEFORE INSERT ON t FOR EACH ROW BEGIN SET NEW.a = 1; END",
        "CREATE EVENT e ON SCHEDULE EVERY 1 DAY DO BEGIN DELETE FROM t; END",
        "ALTER EVENT e DO BEGIN DELETE FROM t; END",
        "ALTER DEFINER = a@b EVENT e DO BEGIN DELETE FROM t; END",
        "CREATE /*!50003 DEFINER=`a`@`b` */ /*!50003 TRIGGER x BEFORE INSERT ON t FOR EACH ROW BEGIN SET @a = 1; END */",
        "CREATE PACKAGE BODY p AS PROCEDURE q AS BEGIN NULL; END; END",
        "BEGIN NOT ATOMIC SELECT 1; SELECT 2; END",
    ] {
        check_pieces(text, &[text]);
        check("write writes", &[text]);
        assert!(one(text, &mysql()).compound, "{text}");
    }
    check_pieces(
        "CREATE DEFINER = event@h VIEW v AS SELECT 1; SELECT 2",
        &["CREATE DEFINER = event@h VIEW v AS SELECT 1", " SELECT 2"],
    );
    check_pieces(
        "CREATE TABLE t (trigger_id INT); SELECT 2",
        &["CREATE TABLE t (trigger_id INT)", " SELECT 2"],
    );
    check_pieces("BEGIN; SELECT 1", &["BEGIN", " SELECT 1"]);
}

#[test]
fn compound_statements_of_mariadb_reach_to_the_end() {
    for text in [
        "IF 1 THEN SELECT 1; END IF",
        "CASE 1 WHEN 1 THEN SELECT 1; END CASE",
        "WHILE 0 DO SELECT 1; END WHILE",
        "LOOP SELECT 1; END LOOP",
        "REPEAT SELECT 1; UNTIL 1 END REPEAT",
        "FOR i IN 1..2 DO SELECT i; END FOR",
        "l: LOOP LEAVE l; END LOOP",
        "SET STATEMENT max_statement_time = 1 FOR CREATE PROCEDURE p() BEGIN SELECT 1; END",
        "SET STATEMENT max_statement_time = 1 FOR BEGIN NOT ATOMIC SELECT 1; END",
    ] {
        assert_eq!(pieces(text, &mariadb()), [text]);
        check_in(&mariadb(), "write writes", &[text]);
    }
    let oracle = with_mode(mariadb(), "ORACLE");
    for text in ["BEGIN SELECT 1; END", "DECLARE a INT; BEGIN NULL; END", "<<l>> BEGIN NULL; END"] {
        assert_eq!(pieces(text, &oracle), [text]);
    }
    assert_eq!(pieces("BEGIN; SELECT 1", &oracle), ["BEGIN; SELECT 1"]);
}

#[test]
fn a_text_without_an_end_is_one_statement() {
    check(
        "write malformed",
        &[
            "SELECT 'a; SELECT 2",
            "SELECT \"a; SELECT 2",
            "SELECT `a; SELECT 2",
            "SELECT 1 /* ; SELECT 2",
            "SELECT 1 /*! ; SELECT 2 */",
            "SELECT 1--; SELECT 2",
            "SELECT 1 /*! , 2",
            "SELECT 1 /*!99999 /* */",
            "SELECT x'4g'; SELECT 2",
            "SELECT b'2'; SELECT 2",
            "SELECT 1.5e; SELECT 2",
            "SELECT @@; SELECT 2",
            "SELECT @@ a",
            "SELECT @'a",
            "SELECT 1 \0; SELECT 2",
            "SELECT 'a\\'",
            "SELECT N'a",
        ],
    );
    check_in(&mysql(), "write malformed", &["SELECT 1 /*+ ` */ ; SELECT 2 ` */"]);
    check_in(&mysql(), "write malformed", &["SELECT $$;$$", "SELECT $a$;$a$"]);
    check_in(&mariadb(), "read", &["SELECT $$", "SELECT a$$b"]);
}

#[test]
fn bytes_above_ascii_are_letters_in_utf8_only() {
    let mut latin1 = mysql();
    latin1.utf8 = false;
    check_in(&latin1, "write malformed", &["SELECT é FROM t", "SELECT 1 --\u{a0}; SELECT 2"]);
    // In other sets than latin1 the backtick may be half of a letter.
    check_in(&latin1, "write malformed", &["SELECT `é` FROM t"]);
    check_in(&latin1, "read", &["SELECT 'é', `éa` FROM t /* é */ # é"]);
    let text = b"SELECT a FROM t FOR\xa0UPDATE";
    assert_eq!(summary(&statements(text, &latin1)[0]), "write malformed");
    assert_eq!(summary(&statements(text, &mysql())[0]), "write malformed");
    check("read", &["SELECT é FROM t"]);
}
