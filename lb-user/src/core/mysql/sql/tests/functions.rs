//! Calls: built in, stored, and what only looks like one.

use super::*;
use crate::core::mysql::sql::Reason;

#[test]
fn built_in_functions_run_anywhere() {
    check(
        "read",
        &[
            "SELECT NOW(), CURRENT_TIMESTAMP, CURRENT_TIMESTAMP(6), CURDATE(), UTC_DATE, SYSDATE(), LOCALTIME()",
            "SELECT RAND(), UUID(), SLEEP(0), BENCHMARK(1, 1), PI()",
            "SELECT COUNT(*), SUM(a), MIN(a), MAX(a), AVG(a), STD(a), BIT_AND(a), VAR_POP(a) FROM t",
            "SELECT MD5(a), SHA2(a, 256), AES_ENCRYPT(a, b), CRC32(a), HEX(a), UNHEX(a), TO_BASE64(a) FROM t",
            "SELECT JSON_EXTRACT(a, '$.b'), JSON_OBJECT('a', 1), JSON_ARRAYAGG(a), JSON_SET(a, '$', 1) FROM t",
            "SELECT ST_X(p), ST_Distance(p, q), ST_GeomFromText('POINT(1 1)'), MBRContains(p, q) FROM t",
            "SELECT DATE(a), YEAR(a), TIMESTAMPDIFF(DAY, a, b), EXTRACT(YEAR FROM a), GET_FORMAT(DATE, 'EUR') FROM t",
            "SELECT TRUNCATE(a, 1), MOD(a, 2), FORMAT(a, 2), CHAR(65 USING utf8mb4), POSITION('a' IN b) FROM t",
            "SELECT DATABASE(), SCHEMA(), CHARSET('a'), COLLATION('a'), COERCIBILITY('a')",
            "SELECT REGEXP_REPLACE(a, 'x', 'y'), REGEXP_INSTR(a, 'x'), WEIGHT_STRING(a AS CHAR(4)) FROM t",
            "SELECT LAG(a) OVER (ORDER BY b), FIRST_VALUE(a) OVER (ORDER BY b), NTILE(4) OVER () FROM t",
            "SELECT VALUES(a) FROM t",
        ],
    );
    check_in(
        &mysql(),
        "read",
        &["SELECT GTID_SUBSET('a', 'b'), ANY_VALUE(a), BIN_TO_UUID(a), GROUPING(a) FROM t"],
    );
    check_in(&mariadb(), "read", &["SELECT NVL(a, b), JSON_DETAILED(a), ADD_MONTHS(a, 1), CHR(65) FROM t"]);
}

#[test]
fn unknown_functions_may_write() {
    check(
        "read unknown_function",
        &[
            "SELECT f()",
            "SELECT f ()",
            "SELECT f/* */()",
            "SELECT `f`()",
            "SELECT `abs`(1)",
            "SELECT `count`(a) FROM t",
            "SELECT db.f(1)",
            "SELECT db.abs(1)",
            "SELECT `db`.`f`(1)",
            "SELECT db . f (1)",
            "SELECT a FROM t WHERE f(a) = 1",
            "SELECT a FROM t ORDER BY f(a)",
            "SELECT a, f(b) AS c FROM t",
            "SELECT (a), f(b) FROM t",
            "SELECT g(a), f(b) AS (c) FROM t",
            "SELECT ABS(f(1))",
            "SELECT t.in (1)",
            "SELECT a FROM t WHERE a IN (f(1))",
            "SELECT columns(1)",
            "SELECT status(1)",
            "SELECT any((SELECT 1))",
            "SELECT escape('x')",
            "SELECT 1f(2)",
            "SELECT NOW(), nope()",
            "SELECT 1 /*!, f() */",
            "SELECT größe(1)",
        ],
    );
    check("other unknown_function", &["DO f()", "SET @a = f()", "SET SESSION sql_mode = f()"]);
    let found = one("SELECT db.pkg.F(1)", &mariadb()).primary;
    assert_eq!(found, Some(Reason::CallsUnknownFunction("db.pkg.F".into())));
}

/// MySQL Reference Manual, "Function Name Parsing and Resolution".
#[test]
fn white_space_makes_some_built_in_names_stored_functions() {
    let texts =
        ["SELECT SUM (a) FROM t", "SELECT NOW ()", "SELECT SUBSTRING ('a', 1)", "SELECT COUNT (a) FROM t"];
    check("read unknown_function", &texts);
    for context in [mysql(), mariadb()] {
        check_in(&with_mode(context, "IGNORE_SPACE"), "read", &texts);
        check_in(&with_mode(context, "ansi"), "read", &["SELECT MAX\n(a) FROM t"]);
        check_in(&with_mode(context, "IGNORE_SPACE"), "read unknown_function", &["SELECT SUM/**/(a) FROM t"]);
    }
    check_in(&mariadb(), "read unknown_function", &["SELECT RANK () OVER (ORDER BY a) FROM t"]);
    check("read unknown_function", &["SELECT COUNT/*!(a)*/ FROM t"]);
}

#[test]
fn names_of_the_other_family_are_unknown() {
    let mysql_only =
        ["SELECT ANY_VALUE(a) FROM t", "SELECT REGEXP_LIKE(a, 'b') FROM t", "SELECT GROUPING(a) FROM t"];
    let mariadb_only = ["SELECT NVL(a, 1) FROM t", "SELECT COLUMN_GET(a, 'b' AS INT)", "SELECT SFORMAT('a')"];
    check_in(&mariadb(), "read unknown_function", &mysql_only);
    check_in(
        &mariadb(),
        "read unknown_function",
        &["SELECT POINT(1)", "SELECT POLYGON()", "SELECT LATERAL (1)", "SELECT OF (1)"],
    );
    check_in(
        &mariadb(),
        "read unknown_function",
        &["SELECT DEFAULT(a) FROM t", "SELECT a, JSON_TABLE(1) FROM t"],
    );
    check_in(&mysql(), "read unknown_function", &mariadb_only);
    check_in(
        &mysql(),
        "read unknown_function",
        &["SELECT NEXTVAL(s)", "SELECT PASSWORD('a')", "SELECT CHR(1)"],
    );
}

#[test]
fn names_newer_than_the_server_are_unknown() {
    let mut old = mysql();
    old.dialect.version = 80_013;
    check_in(&old, "read unknown_function", &["SELECT JSON_VALUE(a, '$')", "SELECT JSON_OVERLAPS(a, b)"]);
    check_in(&mysql(), "read unknown_function", &["SELECT STRING_TO_VECTOR('[1]')"]);
    let mut old = mariadb();
    old.dialect.version = 100_508;
    check_in(&old, "read unknown_function", &["SELECT ADD_MONTHS(a, 1)", "SELECT RANDOM_BYTES(1)"]);
}

#[test]
fn functions_of_the_connection_go_to_the_primary() {
    check(
        "read session_function",
        &[
            "SELECT CONNECTION_ID()",
            "SELECT VERSION()",
            "SELECT USER(), 1",
            "SELECT CURRENT_USER",
            "SELECT CURRENT_USER()",
            "SELECT SESSION_USER(), SYSTEM_USER()",
            "SELECT CURRENT_ROLE()",
            "SELECT LOAD_FILE('/etc/passwd')",
            "SELECT UUID_SHORT()",
            "SELECT MASTER_POS_WAIT('f', 1)",
        ],
    );
    check_in(
        &mysql(),
        "read session_function",
        &["SELECT WAIT_FOR_EXECUTED_GTID_SET('a')", "SELECT PS_THREAD_ID(1)"],
    );
    check_in(
        &mariadb(),
        "read session_function",
        &["SELECT MASTER_GTID_WAIT('0-1-1')", "SELECT CURRENT_ROLE"],
    );
    check("read", &["SELECT t.current_user, `current_user` FROM t"]);
}

#[test]
fn functions_about_the_past_are_marked() {
    for context in [mysql(), mariadb()] {
        for text in ["SELECT FOUND_ROWS()", "SELECT ROW_COUNT()", "SHOW WARNINGS", "SHOW ERRORS LIMIT 1"] {
            assert!(one(text, &context).asks_about_last.any(), "{text}");
        }
        for text in ["SHOW COUNT(*) WARNINGS", "SHOW COUNT(*) ERRORS", "SELECT @@warning_count"] {
            assert!(one(text, &context).asks_about_last.any(), "{text}");
        }
        assert!(one("GET DIAGNOSTICS @n = NUMBER", &context).asks_about_last.any());
        assert!(one("INSERT INTO t SELECT FOUND_ROWS()", &context).asks_about_last.any());
        assert!(!one("SELECT found_rows FROM t", &context).asks_about_last.any());
        for (text, expected) in [
            ("SELECT FOUND_ROWS()", true),
            ("SHOW WARNINGS", true),
            ("SELECT FOUND_ROWS() INTO @n", false),
            ("SELECT FOUND_ROWS(), COUNT(*) FROM t", false),
            ("SELECT FOUND_ROWS(), GET_LOCK('a', 1)", false),
            ("SELECT FOUND_ROWS(), @a", false),
            ("SELECT FOUND_ROWS() + 1", true),
        ] {
            assert_eq!(one(text, &context).only_asks_about_last, expected, "{text}");
        }
        for text in
            ["SELECT LAST_INSERT_ID()", "SELECT last_insert_id ()", "INSERT INTO t VALUES (LAST_INSERT_ID())"]
        {
            assert!(one(text, &context).asks_last_insert_id, "{text}");
        }
        assert_eq!(summary(&one("SELECT LAST_INSERT_ID(5)", &context)), "read last_insert_id");
        assert!(!one("SELECT last_insert_id FROM t", &context).asks_last_insert_id);
    }
}

#[test]
fn user_locks_are_marked() {
    check(
        "read user_lock",
        &["SELECT GET_LOCK('a', 1)", "SELECT 1 + IS_FREE_LOCK('a')", "SELECT RELEASE_LOCK('a')"],
    );
    check("other user_lock", &["DO GET_LOCK('a', 1)", "DO RELEASE_ALL_LOCKS()", "SET @a = GET_LOCK('a', 1)"]);
    let text = "INSERT INTO t SELECT GET_LOCK('a', 1)";
    assert!(one(text, &mysql()).uses_user_lock && one(text, &mariadb()).uses_user_lock);
    assert!(one("SELECT f(), GET_LOCK('a', 1)", &mysql()).uses_user_lock);
}

#[test]
fn sequences_go_to_the_primary() {
    check_in(
        &mariadb(),
        "read sequence",
        &[
            "SELECT NEXTVAL(s)",
            "SELECT LASTVAL(s)",
            "SELECT SETVAL(s, 5)",
            "SELECT NEXT VALUE FOR s",
            "SELECT PREVIOUS VALUE FOR s",
            "SELECT s.nextval",
            "SELECT s.CURRVAL FROM dual",
            "SELECT 1 FROM t WHERE a = NEXT /* x */ VALUE FOR s",
        ],
    );
}

/// Measured: each after a SELECT that found seven rows; what `FOUND_ROWS()` says then tells whether it was set anew.
#[test]
fn rows_are_found_by_the_statements_by_which_servers_find_them() {
    for (text, on_mariadb, on_mysql) in [
        ("SELECT 1 INTO @x", true, true),
        ("UPDATE z SET a = a LIMIT 1", false, true),
        ("UPDATE z SET a = a + 1 WHERE a IN (SELECT a FROM z2)", true, true),
        ("UPDATE z, z2 SET z.a = z.a WHERE z.a = z2.a", true, true),
        ("UPDATE z JOIN z2 ON z.a = z2.a SET z.a = z.a", true, true),
        ("DELETE FROM z2 WHERE a = 77", false, false),
        ("DELETE FROM z2 WHERE a IN (SELECT a FROM z)", true, true),
        ("DELETE z2 FROM z2 JOIN z ON z.a = z2.a", true, true),
        ("DELETE FROM z2 USING z2 JOIN z ON z.a = z2.a", true, true),
        ("INSERT INTO z2 VALUES (1)", false, false),
        ("INSERT INTO z2 VALUES ((SELECT MAX(a) FROM z))", true, true),
        ("REPLACE INTO z2 SELECT a FROM z LIMIT 2", true, true),
        ("CREATE TABLE c1 AS SELECT a FROM z LIMIT 2", true, false),
        ("CREATE VIEW vv AS SELECT a FROM z", false, false),
        ("CALL pr()", true, true),
        ("DO (SELECT 1 FROM z LIMIT 1)", true, true),
        ("SET @q = (SELECT MAX(a) FROM z)", true, false),
        ("SET @q = 5", false, false),
        ("SHOW STATUS LIKE 'Uptime'", true, true),
        ("SHOW TABLES", true, true),
        ("SHOW FULL PROCESSLIST", false, false),
        ("SHOW CREATE TABLE z", false, false),
        ("SHOW GRANTS", false, false),
        ("SHOW WARNINGS", false, false),
        ("DESCRIBE z", true, true),
        ("EXPLAIN SELECT 1", true, false),
        ("ANALYZE TABLE z", false, false),
        ("HANDLER z READ FIRST", false, false),
        ("PREPARE p FROM 'SELECT 1'", false, false),
        ("TRUNCATE TABLE z3", false, false),
        ("BEGIN", false, false),
    ] {
        assert_eq!(one(text, &mariadb()).finds_rows, on_mariadb, "MariaDB: {text}");
        assert_eq!(one(text, &mysql()).finds_rows, on_mysql, "MySQL: {text}");
    }
}
