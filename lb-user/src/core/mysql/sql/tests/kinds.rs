//! Kinds: transactions, locks, handlers, prepared statements, definitions.

use super::*;
use crate::core::mysql::sql::{Access, Kill, PrepareSource, Rename};

fn kind(text: &str) -> Kind {
    let kind = one(text, &mysql()).kind;
    assert_eq!(one(text, &mariadb()).kind, kind, "{text}");
    kind
}

fn begin(access: Option<Access>, consistent_snapshot: bool) -> Kind {
    Kind::Begin { access, consistent_snapshot }
}

#[test]
fn transactions_begin() {
    assert_eq!(kind("BEGIN"), begin(None, false));
    assert_eq!(kind("begin work"), begin(None, false));
    assert_eq!(kind("START TRANSACTION"), begin(None, false));
    assert_eq!(kind("START TRANSACTION READ ONLY"), begin(Some(Access::ReadOnly), false));
    assert_eq!(kind("START TRANSACTION READ WRITE"), begin(Some(Access::ReadWrite), false));
    assert_eq!(kind("START TRANSACTION WITH CONSISTENT SNAPSHOT"), begin(None, true));
    let both = "START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY";
    assert_eq!(kind(both), begin(Some(Access::ReadOnly), true));
    assert_eq!(kind("/*!40100 START TRANSACTION */"), begin(None, false));
    check("other transaction", &["BEGIN", "START TRANSACTION", "START TRANSACTION READ WRITE"]);
    check("other", &["START TRANSACTION READ ONLY"]);
    assert!(one("BEGIN", &mysql()).commits && one("START TRANSACTION READ ONLY", &mysql()).commits);
    check("write not_known_to_be_a_read", &["BEGIN foo"]);
}

#[test]
fn transactions_end() {
    let commit = |chain, release| Kind::Commit { chain, release };
    let rollback = |chain, release| Kind::Rollback { chain, release };
    assert_eq!(kind("COMMIT"), commit(None, None));
    assert_eq!(kind("COMMIT WORK"), commit(None, None));
    assert_eq!(kind("COMMIT AND CHAIN"), commit(Some(true), None));
    assert_eq!(kind("COMMIT WORK AND NO CHAIN NO RELEASE"), commit(Some(false), Some(false)));
    assert_eq!(kind("COMMIT RELEASE"), commit(None, Some(true)));
    assert_eq!(kind("ROLLBACK"), rollback(None, None));
    assert_eq!(kind("ROLLBACK AND NO CHAIN RELEASE"), rollback(Some(false), Some(true)));
    assert_eq!(kind("ROLLBACK TO a"), Kind::RollbackTo { name: "a".into() });
    assert_eq!(kind("ROLLBACK WORK TO SAVEPOINT `A b`"), Kind::RollbackTo { name: "a b".into() });
    assert_eq!(kind("SAVEPOINT A"), Kind::Savepoint { name: "a".into() });
    assert_eq!(kind("RELEASE SAVEPOINT a"), Kind::ReleaseSavepoint { name: "a".into() });
    for text in ["XA START 'x'", "XA END 'x'", "XA COMMIT 'x' ONE PHASE", "XA RECOVER"] {
        assert_eq!(kind(text), Kind::Xa, "{text}");
    }
    check("other transaction", &["COMMIT", "ROLLBACK", "SAVEPOINT a", "ROLLBACK TO a", "XA PREPARE 'x'"]);
    check(
        "write not_known_to_be_a_read",
        &["COMMIT foo", "COMMIT AND", "SAVEPOINT", "RELEASE a", "ROLLBACK TO"],
    );
    assert!(!one("COMMIT", &mysql()).commits);
}

#[test]
fn schemas_and_prepared_statements() {
    assert_eq!(kind("USE db"), Kind::Use { schema: "db".into() });
    assert_eq!(kind("use `a b`"), Kind::Use { schema: "a b".into() });
    check("other", &["USE db"]);
    let prepare = |source| Kind::Prepare { name: "s".into(), source };
    let literal = |text: &str| prepare(PrepareSource::Literal(text.as_bytes().to_vec()));
    assert_eq!(kind("PREPARE S FROM 'SELECT 1'"), literal("SELECT 1"));
    assert_eq!(kind(r"PREPARE s FROM 'SELECT \'a\\n\''"), literal(r"SELECT 'a\n'"));
    assert_eq!(kind("PREPARE s FROM \"SELECT 'it''s', \"\"x\"\"\""), literal("SELECT 'it''s', \"x\""));
    assert_eq!(kind("PREPARE s FROM @Q"), prepare(PrepareSource::UserVariable("q".into())));
    assert_eq!(kind("PREPARE s FROM CONCAT('a', 'b')"), prepare(PrepareSource::Expression));
    assert_eq!(kind("EXECUTE s"), Kind::Execute { name: "s".into(), using: vec![] });
    let using = vec!["a".to_owned(), "b".to_owned()];
    assert_eq!(kind("EXECUTE s USING @a, @B"), Kind::Execute { name: "s".into(), using });
    let immediate = Kind::ExecuteImmediate { source: PrepareSource::Literal(b"DELETE FROM t".to_vec()) };
    assert_eq!(kind("EXECUTE IMMEDIATE 'DELETE FROM t'"), immediate);
    assert_eq!(kind("EXECUTE IMMEDIATE 'DELETE FROM t' USING @a"), immediate);
    assert_eq!(kind("DEALLOCATE PREPARE s"), Kind::Deallocate { name: "s".into() });
    assert_eq!(kind("DROP PREPARE s"), Kind::Deallocate { name: "s".into() });
    check("other prepared_statement", &["PREPARE s FROM 'SELECT 1'", "EXECUTE s", "DEALLOCATE PREPARE s"]);
    let quiet = with_mode(mysql(), "NO_BACKSLASH_ESCAPES");
    assert_eq!(one(r"PREPARE s FROM 'a\n'", &quiet).kind, literal(r"a\n"));
}

#[test]
fn what_a_connection_holds() {
    let temporary = |name: &str| Kind::CreateTemporaryTable { name: name.into() };
    assert_eq!(kind("CREATE TEMPORARY TABLE t (a INT)"), temporary("t"));
    assert_eq!(kind("CREATE TEMPORARY TABLE IF NOT EXISTS db.`T x` SELECT 1"), temporary("T x"));
    assert_eq!(kind("CREATE OR REPLACE TEMPORARY TABLE t (a INT)"), temporary("t"));
    assert_eq!(kind("CREATE /*!50000 TEMPORARY */ TABLE t (a INT)"), temporary("t"));
    let drop = |names: &[&str], temporary| {
        let names = names.iter().map(|name| (*name).to_owned()).collect();
        Kind::DropTable { names, temporary }
    };
    assert_eq!(kind("DROP TABLE a, db.b"), drop(&["a", "b"], false));
    assert_eq!(kind("DROP TEMPORARY TABLE IF EXISTS a"), drop(&["a"], true));
    let rename = |pairs: &[(&str, &str)]| {
        let rename = |&(from, to): &(&str, &str)| Rename { from: from.into(), to: to.into() };
        Kind::RenameTables(pairs.iter().map(rename).collect())
    };
    assert_eq!(kind("RENAME TABLE a TO b, db.c TO db.d"), rename(&[("a", "b"), ("c", "d")]));
    assert_eq!(kind("ALTER TABLE a RENAME TO b"), rename(&[("a", "b")]));
    assert_eq!(kind("ALTER TABLE a ADD c INT, RENAME AS db.b"), rename(&[("a", "b")]));
    assert_eq!(kind("ALTER TABLE a RENAME b"), rename(&[("a", "b")]));
    assert_eq!(kind("ALTER TABLE a RENAME COLUMN x TO y, RENAME INDEX i TO j"), Kind::Write);
    assert_eq!(kind("ALTER TABLE a ADD rename INT, ADD (rename INT, b INT)"), Kind::Write);
    assert_eq!(one("ALTER TABLE a WAIT 5 RENAME b", &mariadb()).kind, rename(&[("a", "b")]));
    assert_eq!(kind("LOCK TABLES a READ, b WRITE"), Kind::LockTables);
    assert_eq!(kind("LOCK TABLE a READ"), Kind::LockTables);
    assert_eq!(kind("UNLOCK TABLES"), Kind::UnlockTables);
    assert_eq!(kind("LOCK INSTANCE FOR BACKUP"), Kind::LockInstance);
    assert_eq!(kind("UNLOCK INSTANCE"), Kind::UnlockInstance);
    assert_eq!(kind("FLUSH TABLES WITH READ LOCK"), Kind::FlushTablesWithLock);
    assert_eq!(kind("FLUSH LOCAL TABLES a, b FOR EXPORT"), Kind::FlushTablesWithLock);
    assert_eq!(kind("FLUSH NO_WRITE_TO_BINLOG TABLES a WITH READ LOCK"), Kind::FlushTablesWithLock);
    assert_eq!(kind("FLUSH TABLES"), Kind::Write);
    assert_eq!(one("BACKUP STAGE START", &mariadb()).kind, Kind::Backup);
    assert_eq!(one("BACKUP LOCK t", &mariadb()).kind, Kind::Backup);
    assert_eq!(kind("HANDLER t OPEN"), Kind::HandlerOpen { name: "t".into() });
    assert_eq!(kind("HANDLER db.t OPEN AS h"), Kind::HandlerOpen { name: "h".into() });
    assert_eq!(kind("HANDLER h READ FIRST WHERE a = 1"), Kind::HandlerRead { name: "h".into() });
    assert_eq!(kind("HANDLER h CLOSE"), Kind::HandlerClose { name: "h".into() });
    check("other locks", &["LOCK TABLES a READ", "UNLOCK TABLES", "FLUSH TABLES WITH READ LOCK"]);
    check("other temporary_table", &["CREATE TEMPORARY TABLE t (a INT)", "DROP TEMPORARY TABLE t"]);
    check("other writes", &["DROP TABLE t", "RENAME TABLE a TO b"]);
    check("other handler", &["HANDLER t OPEN", "HANDLER t READ NEXT", "HANDLER t CLOSE"]);
}

#[test]
fn other_kinds() {
    let kill = |what, id| Kind::Kill { what, id };
    assert_eq!(kind("KILL 5"), kill(Kill::Connection, Some(5)));
    assert_eq!(kind("KILL CONNECTION 5"), kill(Kill::Connection, Some(5)));
    assert_eq!(kind("KILL QUERY 18446744073709551615"), kill(Kill::Query, Some(u64::MAX)));
    assert_eq!(kind("KILL QUERY 18446744073709551616"), kill(Kill::Query, None));
    assert_eq!(kind("KILL @a"), kill(Kill::Connection, None));
    assert_eq!(kind("KILL 1 + 1"), kill(Kill::Connection, None));
    assert_eq!(one("KILL HARD QUERY ID 7", &mariadb()).kind, kill(Kill::Other, None));
    assert_eq!(one("KILL SOFT USER u", &mariadb()).kind, kill(Kill::Other, None));
    assert_eq!(kind("CALL p(1)"), Kind::Call);
    assert_eq!(kind("DO SLEEP(1)"), Kind::Do);
    assert_eq!(kind("LOAD DATA LOCAL INFILE 'f' INTO TABLE t"), Kind::LoadDataLocal);
    assert_eq!(kind("LOAD DATA CONCURRENT LOCAL INFILE 'f' INTO TABLE t"), Kind::LoadDataLocal);
    assert_eq!(kind("LOAD XML LOCAL INFILE 'f' INTO TABLE t"), Kind::LoadDataLocal);
    assert_eq!(kind("LOAD DATA INFILE 'f' INTO TABLE t"), Kind::Write);
    assert_eq!(kind(" /* nothing */ -- at all"), Kind::Empty);
    assert_eq!(kind(""), Kind::Empty);
    assert_eq!(kind("/*!99999 SELECT 1 */"), Kind::Empty);
    check("other procedure", &["CALL p()", "CALL db.p(@a)"]);
    check("other", &["DO 1", "DO SLEEP(0)"]);
}

const COMMITTING: &[&str] = &[
    "ALTER TABLE t ADD a INT",
    "ALTER USER u IDENTIFIED BY 'x'",
    "CREATE TABLE t (a INT)",
    "CREATE TABLE t SELECT * FROM u",
    "CREATE DATABASE d",
    "CREATE INDEX i ON t (a)",
    "CREATE OR REPLACE VIEW v AS SELECT 1",
    "CREATE DEFINER = u@h VIEW v AS SELECT 1",
    "CREATE USER u",
    "CREATE ROLE r",
    "DROP DATABASE d",
    "DROP VIEW v",
    "DROP INDEX i ON t",
    "DROP FUNCTION f",
    "TRUNCATE TABLE t",
    "TRUNCATE t",
    "GRANT ALL ON *.* TO u",
    "REVOKE ALL ON *.* FROM u",
    "INSTALL PLUGIN p SONAME 'x'",
    "UNINSTALL PLUGIN p",
    "ANALYZE TABLE t",
    "ANALYZE NO_WRITE_TO_BINLOG TABLE t",
    "OPTIMIZE TABLE t",
    "REPAIR TABLE t",
    "CHECK TABLE t",
    "CACHE INDEX t IN c",
    "LOAD INDEX INTO CACHE t",
    "FLUSH LOGS",
    "RESET MASTER",
    "RESET BINARY LOGS AND GTIDS",
    "CHANGE MASTER TO MASTER_HOST = 'x'",
    "CHANGE REPLICATION SOURCE TO SOURCE_HOST = 'x'",
    "START SLAVE",
    "START REPLICA",
    "STOP REPLICA",
    "IMPORT TABLE FROM 'x'",
];

#[test]
fn definitions_commit() {
    check("write writes", COMMITTING);
    for text in COMMITTING.iter().chain(&["DROP TABLE t", "LOCK TABLES t READ", "SET PASSWORD = 'x'"]) {
        assert!(one(text, &mysql()).commits && one(text, &mariadb()).commits, "{text}");
    }
    let staying = ["CREATE TEMPORARY TABLE t (a INT)", "DROP TEMPORARY TABLE t", "INSERT INTO t VALUES (1)"];
    for text in staying.into_iter().chain(["SELECT 1", "SAVEPOINT a", "SET autocommit = 0", "RESET PERSIST"])
    {
        assert!(!one(text, &mysql()).commits && !one(text, &mariadb()).commits, "{text}");
    }
}

#[test]
fn writes_and_unknown_statements_go_to_the_primary() {
    check(
        "write writes",
        &[
            "INSERT INTO t VALUES (1)",
            "INSERT INTO t SELECT * FROM u",
            "INSERT INTO t VALUES (1) RETURNING a",
            "REPLACE INTO t VALUES (1)",
            "UPDATE t SET a = 1",
            "DELETE FROM t WHERE a = 1 RETURNING *",
            "DELETE a FROM a JOIN b ON a.x = b.x",
            "/*!40000 INSERT INTO t VALUES (1) */",
            "# x\nDELETE FROM t",
            "LOAD DATA INFILE 'f' INTO TABLE t",
        ],
    );
    check(
        "write not_known_to_be_a_read",
        &[
            "HELP 'x'",
            "SIGNAL SQLSTATE '45000'",
            "SHUTDOWN",
            "PURGE BINARY LOGS TO 'x'",
            "foo",
            "1",
            "BINLOG 'x'",
        ],
    );
    check(
        "write not_known_to_be_a_read",
        &["CLONE INSTANCE FROM u", "RESTART", "(1)", "(", "SELECTED", "`SELECT` 1"],
    );
    check_in(
        &mariadb(),
        "write not_known_to_be_a_read",
        &["SET STATEMENT max_statement_time = 1 FOR SELECT 1"],
    );
}
