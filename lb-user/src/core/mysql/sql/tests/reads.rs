//! What reads, what only looks like it, and what EXPLAIN and SHOW make of it.

use super::*;

#[test]
fn plain_reads_run_anywhere() {
    check(
        "read",
        &[
            "SELECT 1",
            "select * from t",
            "SELECT a, b FROM t WHERE a = 1 AND (b = 2 OR c IN (1, 2, 3)) ORDER BY a DESC LIMIT 10 OFFSET 5",
            "SELECT DISTINCT a FROM t",
            "SELECT ALL a FROM t",
            "SELECT SQL_CALC_FOUND_ROWS a FROM t LIMIT 1",
            "SELECT /*!40001 SQL_NO_CACHE */ * FROM t",
            "SELECT HIGH_PRIORITY STRAIGHT_JOIN a FROM t",
            "(SELECT 1) UNION (SELECT 2)",
            "((SELECT 1)) UNION ALL ((SELECT 2) ORDER BY 1 LIMIT 1)",
            "SELECT 1 UNION DISTINCT SELECT 2",
            "SELECT a FROM t EXCEPT SELECT a FROM u",
            "SELECT a FROM t INTERSECT (SELECT a FROM u)",
            "SELECT a FROM t EXCEPT (SELECT a FROM u)",
            "WITH c AS (SELECT 1) SELECT * FROM c",
            "WITH c (a, b) AS (SELECT 1, 2), d (x) AS (SELECT 3) SELECT * FROM c, d",
            "WITH RECURSIVE c (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < 5) SELECT * FROM c",
            "WITH RECURSIVE `c` (n) AS (SELECT 1) SELECT * FROM c",
            "SELECT * FROM (SELECT 1 AS a) AS d",
            "SELECT * FROM (SELECT 1, 2) AS d (a, b)",
            "SELECT * FROM (SELECT 1, 2) d (a, b)",
            "SELECT * FROM a JOIN b USING (id) LEFT JOIN c ON (a.x = c.x) RIGHT JOIN d ON a.y = d.y",
            "SELECT * FROM a NATURAL JOIN b",
            "SELECT * FROM a INNER JOIN (b, c) ON (a.x = b.x)",
            "SELECT * FROM t USE INDEX (i) WHERE a = 1",
            "SELECT * FROM t FORCE INDEX FOR ORDER BY (i) IGNORE KEY (j)",
            "SELECT * FROM t IGNORE INDEX FOR JOIN (i)",
            "SELECT * FROM t PARTITION (p0, p1) WHERE a = 1",
            "SELECT * FROM t WHERE EXISTS (SELECT 1 FROM u WHERE u.id = t.id)",
            "SELECT * FROM t WHERE NOT EXISTS(SELECT 1)",
            "SELECT * FROM t WHERE a = ANY (SELECT b FROM u) OR a > ALL (SELECT b FROM u) OR a <> SOME (SELECT 1)",
            "SELECT * FROM t WHERE (a, b) IN ((1, 2), (3, 4))",
            "SELECT * FROM t WHERE ROW(a, b) = ROW(1, 2)",
            "SELECT * FROM t WHERE a BETWEEN (1) AND (2) AND b LIKE ('x%') AND c REGEXP ('^a') AND d RLIKE('b')",
            "SELECT CASE WHEN (a = 1) THEN (2) ELSE (3) END FROM t",
            "SELECT CASE (a) WHEN (1) THEN (2) END FROM t",
            "SELECT a DIV (b), a MOD (b), a XOR (b), NOT (a), BINARY (a), -(a), !(a), ~(a) FROM t",
            "SELECT a FROM t GROUP BY (a) HAVING (COUNT(*) > 1) ORDER BY (a) LIMIT 1",
            "SELECT a, SUM(b) FROM t GROUP BY a WITH ROLLUP",
            "SELECT SUM(a) OVER (PARTITION BY b ORDER BY c ROWS BETWEEN 1 PRECEDING AND CURRENT ROW) FROM t",
            "SELECT RANK() OVER w, ROW_NUMBER() OVER (w) FROM t WINDOW w AS (ORDER BY a), v AS (PARTITION BY (b))",
            "SELECT MATCH (a, b) AGAINST ('x' IN BOOLEAN MODE) FROM t",
            "SELECT * FROM t WHERE MATCH(a) AGAINST('x' WITH QUERY EXPANSION)",
            "SELECT CAST(a AS CHAR(10)), CAST(b AS DECIMAL(10, 2)), CAST(c AS DATETIME(6)), CAST(d AS UNSIGNED)",
            "SELECT CAST(a AS BINARY(10)), CONVERT(a USING utf8mb4), CONVERT(a, DECIMAL(4, 2)), CONVERT(b, CHAR(5))",
            "SELECT INTERVAL(5, 1, 10), a + INTERVAL (1) DAY, DATE_ADD(NOW(), INTERVAL 1 DAY) FROM t",
            "SELECT * FROM JSON_TABLE('[1]', '$[*]' COLUMNS (a INT PATH '$', NESTED PATH '$.b' COLUMNS (c INT PATH '$'))) AS j",
            "SELECT t.a, j.b FROM t, JSON_TABLE(t.doc, '$[*]' COLUMNS(b VARCHAR(40) PATH '$.b')) AS j",
            "SELECT JSON_VALUE(a, '$.b' RETURNING DECIMAL(4, 2)) FROM t",
            "SELECT SUBSTRING(a FROM 2 FOR 3), SUBSTRING(a, 2, 3), TRIM(LEADING 'x' FROM a), TRIM(BOTH (a) FROM b) FROM t",
            "SELECT GROUP_CONCAT(DISTINCT a ORDER BY b DESC SEPARATOR ', ') FROM t",
            "SELECT N'x', _utf8mb4'y', _latin1 0x41, x'41', 0b01, b'1', 1e5, .5, 1., -1, +1, 'a' 'b', \"c\", NULL, TRUE",
            "SELECT {d '2020-01-01'}, {ts '2020-01-01 00:00:00'}",
            "SELECT t.* FROM db.t, `db`.`t`, db . t",
            "SELECT `update`, `lock`, t.`for`, t.delete, t.into FROM t",
            "SELECT '; DELETE FROM t', \"FOR UPDATE\", `INTO x` FROM t",
            "SELECT 'it''s', 'it\\'s', \"say \"\"x\"\"\", '\\\\'",
            "SELECT a FROM t WHERE b = ?",
            "VALUES ROW(1, 2), ROW(3, 4)",
            "VALUES (1), (2)",
            "TABLE t ORDER BY a LIMIT 1",
            "SELECT 1 AS `from`, 2 AS 'into'",
            "SELECT * FROM {OJ a LEFT OUTER JOIN b ON a.x = b.x}",
            "SELECT * FROM t WHERE a <=> NULL AND b != 1 AND c <> 2 AND d << 1 >> 2 AND e && f || g",
            "SELECT a -> '$.b', a ->> '$.c' FROM t",
            "SELECT/* */1",
            "SELECT(1)",
            "SELECT.5",
            "SELECT REPLACE(a, 'x', 'y'), INSERT('abc', 1, 1, 'z'), REPEAT('a', 2), LEFT(a, 1), IF(a, 1, 2) FROM t",
            "SELECT IF (a, 1, 2), LEFT (a, 1), ABS (a), CONCAT ('a', 'b'), COALESCE (a, b), COUNT (*) FROM t",
            "SELECT grüße, größe FROM übersicht",
            "SELECT $a, a$b FROM t",
            "DESCRIBE t",
            "DESC db.t a",
            "DESC t 'a%'",
            "EXPLAIN t",
        ],
    );
}

/// Each server has its own statistics.
#[test]
fn how_something_would_be_read_is_asked_of_the_primary() {
    check(
        "read server_state",
        &[
            "EXPLAIN SELECT * FROM t",
            "EXPLAIN EXTENDED SELECT 1",
            "EXPLAIN PARTITIONS SELECT 1",
            "EXPLAIN FORMAT=JSON SELECT 1",
            "EXPLAIN FORMAT = 'tree' (SELECT 1)",
            "EXPLAIN ANALYZE SELECT * FROM t",
            "DESCRIBE WITH c AS (SELECT 1) SELECT * FROM c",
        ],
    );
    check_in(
        &mysql(),
        "read server_state",
        &["EXPLAIN ANALYZE FORMAT=TREE SELECT 1", "EXPLAIN FOR SCHEMA s SELECT 1"],
    );
    check_in(
        &mariadb(),
        "read server_state",
        &["ANALYZE SELECT * FROM t", "ANALYZE FORMAT=JSON SELECT * FROM t"],
    );
}

#[test]
fn reads_of_one_family() {
    check_in(
        &mysql(),
        "read",
        &[
            "SELECT * FROM t, LATERAL (SELECT t.a) AS l",
            "SELECT 1 MEMBER OF ('[1]')",
            "SELECT DEFAULT(a) FROM t",
            "SELECT POINT(1, 2)",
            "SELECT RANK () OVER (ORDER BY a) FROM t",
            "SELECT /*M! a FOR UPDATE */ 1",
            "SELECT /*+ MAX_EXECUTION_TIME(1000) NO_MERGE(t) */ 1 FROM t",
        ],
    );
    check_in(
        &mariadb(),
        "read",
        &[
            "SELECT * FROM t FOR SYSTEM_TIME AS OF TIMESTAMP '2020-01-01'",
            "SELECT * FROM t FOR SYSTEM_TIME AS OF (NOW() - INTERVAL 1 DAY)",
            "SELECT * FROM t FOR SYSTEM_TIME BETWEEN (NOW() - INTERVAL 1 YEAR) AND NOW()",
            "SELECT * FROM t FOR SYSTEM_TIME ALL",
            "SELECT a FROM t ORDER BY a OFFSET 1 ROWS FETCH FIRST 2 ROWS ONLY",
            "SELECT a FROM t LIMIT ROWS EXAMINED 100",
            "SELECT COLUMN_GET(a, 'b' AS CHAR(10)), COLUMN_JSON(a) FROM t",
            "SELECT MEDIAN(a) OVER (PARTITION BY b) FROM t",
            "SELECT PERCENTILE_CONT(0.5) WITHIN GROUP (ORDER BY a) OVER (PARTITION BY b) FROM t",
        ],
    );
}

#[test]
fn locking_reads_go_to_the_primary() {
    check(
        "read locks_rows",
        &[
            "SELECT * FROM t FOR UPDATE",
            "SELECT * FROM t for update",
            "SELECT * FROM t FOR /* x */ UPDATE",
            "SELECT * FROM t FOR -- x\nUPDATE",
            "SELECT * FROM t FOR UPDATE NOWAIT",
            "SELECT * FROM t FOR UPDATE OF t SKIP LOCKED",
            "SELECT * FROM t FOR SHARE",
            "SELECT * FROM t FOR SHARE OF t",
            "SELECT * FROM t LOCK IN SHARE MODE",
            "SELECT * FROM t LOCK/**/IN/**/SHARE/**/MODE",
            "SELECT * FROM (SELECT * FROM u FOR UPDATE) d",
            "(SELECT * FROM t FOR UPDATE)",
            "SELECT * FROM t /*! FOR UPDATE */",
            "SELECT * FROM t /*!40000 FOR UPDATE */",
            "SELECT * FROM t /*!40000 FOR /* x */ UPDATE */",
            "SELECT * FROM t /*! FOR */ UPDATE",
            "SELECT * FROM t WHERE a = 1. FOR UPDATE",
            "SELECT * FROM t WHERE a = 1.FOR UPDATE",
            "SELECT * FROM t WHERE a = 1e5FOR UPDATE",
            "SELECT * FROM t WHERE a = 'x'FOR UPDATE",
            "WITH c AS (SELECT 1) SELECT * FROM c FOR UPDATE",
            "EXPLAIN SELECT * FROM t FOR UPDATE",
            "TABLE t FOR UPDATE",
        ],
    );
    check_in(
        &mariadb(),
        "read locks_rows",
        &["SELECT 1 /*M! FOR UPDATE */", "SELECT 1 /*M!100000 FOR UPDATE */"],
    );
}

#[test]
fn reads_with_effects_go_to_the_primary() {
    check(
        "read into",
        &[
            "SELECT * INTO OUTFILE '/tmp/x' FROM t",
            "SELECT a FROM t INTO DUMPFILE '/tmp/x'",
            "SELECT a INTO @v FROM t",
            "SELECT a FROM t INTO @v, @w",
            "TABLE t INTO OUTFILE '/tmp/x'",
            "SELECT 1 /*!INTO*/ @a",
        ],
    );
    check(
        "read assigns_user_variable",
        &["SELECT @a := 1", "SELECT @a:=@a+1 FROM t", "SELECT (@`x y` := 2)"],
    );
    check("read procedure", &["SELECT * FROM t PROCEDURE ANALYSE()"]);
    check(
        "write writes",
        &["WITH c AS (SELECT 1) UPDATE t, c SET a = 1", "WITH c AS (SELECT 1) DELETE FROM t"],
    );
    check_in(
        &mysql(),
        "read hint",
        &["SELECT /*+ SET_VAR(sql_mode = 'ANSI') */ 1", "SELECT /*+ RESOURCE_GROUP(g) */ a FROM t"],
    );
    check(
        "read not_known_to_be_a_read",
        &["SELECT a FROM t FOR SOMETHING", "SELECT a[1] FROM t", "SELECT \\N", "SELECT 1, :x"],
    );
}

#[test]
fn server_variables_go_to_the_primary() {
    check(
        "read server_variable",
        &[
            "SELECT @@version",
            "SELECT @@session.sql_mode",
            "SELECT @@global.autocommit",
            "SELECT @@GLOBAL . autocommit",
            "SELECT @@hostname, @@server_id",
            "SELECT @@hot.key_buffer_size",
            "SELECT @@`max_allowed_packet`",
            "SELECT 1 FROM t WHERE a = @@time_zone",
        ],
    );
    check(
        "read",
        &[
            "SELECT @@autocommit",
            "SELECT @@session.autocommit, @@local.character_set_client",
            "SELECT @@character_set_results, @@collation_connection, @@Character_Set_Connection",
        ],
    );
    check("read last_statement", &["SELECT @@warning_count", "SELECT @@session.error_count"]);
    check(
        "read last_insert_id",
        &["SELECT @@identity", "SELECT @@last_insert_id", "SELECT @@session.identity"],
    );
}

#[test]
fn user_variables_are_named() {
    for context in [mysql(), mariadb()] {
        let read = one("SELECT @A, @`b c`, @'d', @\"e\", @a.b FROM t WHERE x = @a", &context);
        assert_eq!(summary(&read), "read");
        assert_eq!(read.user_variables, ["a", "b c", "d", "e", "a.b"]);
        assert!(read.assigned_variables.is_empty());
        let assigned = one("SELECT a, @r INTO @x, @y FROM t WHERE b = @z", &context);
        assert_eq!(assigned.user_variables, ["r", "z"]);
        assert_eq!(assigned.assigned_variables, ["x", "y"]);
        let assigned = one("SELECT @n := @n + 1", &context);
        assert_eq!(
            (assigned.user_variables, assigned.assigned_variables),
            (vec!["n".into()], vec!["n".into()])
        );
        let insert = one("INSERT INTO t VALUES (@a, @b)", &context);
        assert_eq!(insert.user_variables, ["a", "b"]);
        assert!(insert.assigned_variables.is_empty());
        assert_eq!(one("CALL p(@out)", &context).assigned_variables, ["out"]);
        assert_eq!(one("GET DIAGNOSTICS @n = NUMBER", &context).assigned_variables, ["n"]);
        assert_eq!(one("LOAD DATA INFILE 'f' INTO TABLE t (@a)", &context).assigned_variables, ["a"]);
        assert!(one("GRANT ALL ON d.* TO 'u'@'h', u2@h2", &context).user_variables.is_empty());
    }
}

#[test]
fn explained_writes_go_to_the_primary() {
    check(
        "read writes",
        &["EXPLAIN DELETE FROM t", "EXPLAIN UPDATE t SET a = 1", "DESC INSERT INTO t VALUES (1)"],
    );
    check("read writes", &["EXPLAIN FORMAT=JSON REPLACE INTO t VALUES (1)"]);
    check(
        "write writes",
        &["EXPLAIN ANALYZE DELETE FROM t", "EXPLAIN ANALYZE WITH c AS (SELECT 1) UPDATE t SET a=1"],
    );
    check_in(
        &mariadb(),
        "write writes",
        &["ANALYZE UPDATE t SET a = 1", "ANALYZE FORMAT=JSON DELETE FROM t"],
    );
    check("read server_state", &["EXPLAIN FOR CONNECTION 5", "EXPLAIN FORMAT=JSON FOR CONNECTION 5"]);
    check("write not_known_to_be_a_read", &["EXPLAIN", "EXPLAIN 1", "DESC t a b", "EXPLAIN FORMAT=JSON"]);
    check("read unknown_function", &["EXPLAIN SELECT f()"]);
}
