//! Schemas of the server, and SHOW.

use super::*;
use crate::core::mysql::sql::Reason;

#[test]
fn the_server_describes_itself_on_the_primary() {
    check(
        "read server_schema",
        &[
            "SELECT * FROM information_schema.tables",
            "SELECT * FROM INFORMATION_SCHEMA . TABLES",
            "SELECT * FROM `information_schema`.`tables`",
            "SELECT * FROM performance_schema.threads",
            "SELECT * FROM mysql.user",
            "SELECT * FROM sys.version",
            "SELECT * FROM a JOIN Sys.x ON 1",
            "SELECT information_schema.tables.table_name FROM t",
            "SELECT * FROM \u{130}nformation_schema.tables",
            "SELECT * FROM `\u{17f}ys`.version",
            "DESC mysql.user",
            "DESCRIBE information_schema.tables",
            "SHOW TABLES FROM mysql",
            "SHOW TABLES IN `information_schema`",
            "SHOW COLUMNS FROM t FROM sys",
            "SHOW COLUMNS FROM mysql.user",
            "SHOW CREATE DATABASE sys",
        ],
    );
    check(
        "read",
        &["SELECT sys FROM t", "SELECT 'mysql.user'", "SELECT t.sys FROM t", "SELECT a.mysql.b FROM t"],
    );
    let found = one("SELECT * FROM MySQL.user", &mysql()).primary;
    assert_eq!(found, Some(Reason::ServerSchema("mysql".into())));
    check_in(&with_mode(mysql(), "ANSI_QUOTES"), "read server_schema", &["SELECT * FROM \"mysql\".\"user\""]);
}

#[test]
fn show_tells_of_replicated_data() {
    check(
        "read",
        &[
            "SHOW TABLES",
            "SHOW FULL TABLES LIKE 'a%'",
            "SHOW EXTENDED FULL COLUMNS FROM t",
            "SHOW TABLES FROM db WHERE Tables_in_db = 'x'",
            "SHOW COLUMNS FROM t IN db",
            "SHOW FULL FIELDS FROM t",
            "SHOW DATABASES",
            "SHOW SCHEMAS LIKE 'x'",
            "SHOW TRIGGERS",
            "SHOW CREATE VIEW db.v",
            "SHOW CREATE DATABASE IF NOT EXISTS db",
            "SHOW CREATE PROCEDURE p",
            "SHOW CREATE FUNCTION f",
            "SHOW CREATE TRIGGER x",
            "SHOW PROCEDURE STATUS",
            "SHOW FUNCTION STATUS LIKE 'x'",
            "show /* x */ tables",
        ],
    );
}

#[test]
fn show_tells_of_the_server_on_the_primary() {
    check(
        "read server_state",
        &[
            "SHOW INDEX FROM t",
            "SHOW INDEXES IN t",
            "SHOW KEYS FROM t",
            "SHOW CREATE TABLE t",
            "SHOW CREATE TABLE mysql.user",
            "SHOW STATUS",
            "SHOW GLOBAL STATUS LIKE 'x'",
            "SHOW SESSION STATUS",
            "SHOW VARIABLES",
            "SHOW GLOBAL VARIABLES LIKE 'x'",
            "SHOW PROCESSLIST",
            "SHOW FULL PROCESSLIST",
            "SHOW MASTER STATUS",
            "SHOW BINARY LOG STATUS",
            "SHOW BINARY LOGS",
            "SHOW BINLOG EVENTS",
            "SHOW REPLICA STATUS",
            "SHOW SLAVE STATUS",
            "SHOW ALL SLAVES STATUS",
            "SHOW SLAVE HOSTS",
            "SHOW GRANTS",
            "SHOW GRANTS FOR CURRENT_USER",
            "SHOW ENGINE INNODB STATUS",
            "SHOW ENGINES",
            "SHOW PLUGINS",
            "SHOW PROFILES",
            "SHOW PROFILE FOR QUERY 1",
            "SHOW TABLE STATUS",
            "SHOW OPEN TABLES",
            "SHOW PRIVILEGES",
            "SHOW EVENTS",
            "SHOW CREATE EVENT e",
            "SHOW CREATE USER u",
            "SHOW CHARACTER SET",
            "SHOW COLLATION",
            "SHOW PROCEDURE CODE p",
            "SHOW",
            "SHOW NONSENSE",
            "CHECKSUM TABLE t",
        ],
    );
    check(
        "read last_statement",
        &["SHOW WARNINGS", "SHOW ERRORS", "SHOW COUNT(*) WARNINGS", "SHOW COUNT (*) ERRORS"],
    );
}

#[test]
fn who_asks_for_what_is_counted_for_a_connection_is_known() {
    for context in [mysql(), mariadb()] {
        for (text, asks) in [
            ("SHOW STATUS", true),
            ("/* 1 */ show session status like 'Handler%'", true),
            ("SHOW LOCAL STATUS WHERE Variable_name IN ('Ssl_version', 'Handler_read_key')", true),
            ("FLUSH STATUS", true),
            ("FLUSH NO_WRITE_TO_BINLOG STATUS", true),
            ("SELECT * FROM information_schema.session_status", true),
            ("SHOW STATUS LIKE 'Ssl_cipher'", false),
            ("SHOW STATUS LIKE \"wsrep_%\"", false),
            ("SHOW GLOBAL STATUS", false),
            ("SHOW SLAVE STATUS", false),
            ("SHOW TABLE STATUS", false),
            ("FLUSH TABLES", false),
            ("INSERT INTO status VALUES ('show status')", false),
            ("SELECT * FROM status", false),
        ] {
            let found = statements(text.as_bytes(), &context);
            assert_eq!(found.iter().any(Statement::asks_for_counters), asks, "{text}");
        }
    }
}
