//! Sequences of statements, and where each of them runs.

use super::super::sql::{Dialect, Flavor};
use super::*;
use crate::core::mysql::protocol::response::SessionChange;

fn mariadb() -> Session {
    let dialect = Dialect { flavor: Flavor::MariaDb, version: 101_106 };
    Session::new(Context { dialect, mode: SqlMode::default(), utf8: true }, None)
}

fn ok(status: StatusFlags) -> Outcome {
    Outcome { is_ok: true, status: Some(status), ..Outcome::default() }
}

/// Runs a statement where it belongs, as a server does that follows transactions; `P` or `R`, and why.
fn run(session: &mut Session, sql: &str) -> String {
    let plan = session.plan(sql.as_bytes());
    let place = match plan.target {
        Target::Replica => {
            session.replica_ran();
            "R"
        }
        Target::Primary => {
            let was_open = session.holds().any(|hold| hold == Hold::Transaction);
            let word = sql.split(' ').next().unwrap_or_default().to_ascii_uppercase();
            let is_open = match word.as_str() {
                "BEGIN" | "START" => true,
                "COMMIT" | "ROLLBACK" => false,
                _ => was_open,
            };
            let open = if is_open { StatusFlags::IN_TRANSACTION } else { StatusFlags::default() };
            let off = session.holds().any(|hold| hold == Hold::Autocommit)
                && !sql.ends_with("autocommit = 1")
                || sql.ends_with("autocommit = 0");
            let auto = if off { StatusFlags::default() } else { StatusFlags::AUTOCOMMIT };
            session.primary_ran(&plan, &ok(open | auto));
            "P"
        }
    };
    format!("{place} {}", plan.why.name())
}

fn check(steps: &[(&str, &str)]) {
    let mut session = mariadb();
    for (number, (sql, expected)) in steps.iter().enumerate() {
        assert_eq!(run(&mut session, sql), *expected, "step {number}: {sql}");
    }
}

#[test]
fn reads_go_to_a_replica_and_writes_to_the_primary() {
    check(&[
        ("SELECT 1", "R read"),
        ("INSERT INTO t VALUES (1)", "P writes"),
        ("SELECT * FROM t FOR UPDATE", "P locks_rows"),
        ("SELECT f(1)", "P unknown_function"),
        ("SELECT a FROM t; SELECT b FROM t", "R read"),
        ("SELECT a FROM t; DELETE FROM t", "P writes"),
    ]);
}

#[test]
fn a_transaction_stays_at_the_primary_and_so_does_all_without_autocommit() {
    check(&[
        ("BEGIN", "P transaction"),
        ("SELECT 1", "P transaction"),
        ("COMMIT", "P transaction"),
        ("SELECT 1", "R read"),
        ("SET autocommit = 0", "P setting"),
        ("SELECT 1", "P autocommit_off"),
        ("SET autocommit = 1", "P autocommit_off"),
        ("SELECT 1", "R read"),
        ("SET TRANSACTION ISOLATION LEVEL SERIALIZABLE", "P setting"),
        ("SET @a = 1", "P next_transaction"),
        ("SELECT 1", "P next_transaction"),
        ("SELECT 1", "R read"),
    ]);
}

#[test]
fn what_asks_about_the_last_statement_goes_where_that_ran() {
    check(&[
        ("SELECT SQL_CALC_FOUND_ROWS a FROM t LIMIT 1", "R read"),
        ("SELECT FOUND_ROWS()", "R last_statement"),
        ("SHOW WARNINGS", "R last_statement"),
        ("UPDATE t SET a = 1", "P writes"),
        ("SELECT ROW_COUNT()", "P last_statement"),
        ("SELECT 1", "R read"),
        ("SELECT LAST_INSERT_ID()", "P last_insert_id"),
    ]);
}

#[test]
fn user_variables_are_read_where_their_value_is_known() {
    check(&[
        ("SELECT @a", "R read"),
        ("SET @a = 1", "P setting"),
        ("SELECT @a", "R read"),
        ("SET @a = (SELECT MAX(a) FROM t)", "P setting"),
        ("SELECT @a", "P user_variable"),
        ("SELECT @b", "R read"),
        ("SELECT a INTO @b FROM t", "P into"),
        ("SELECT @b", "P user_variable"),
        ("SET @b = 'x'", "P setting"),
        ("SELECT @b", "R read"),
        ("CALL p()", "P procedure"),
        ("SELECT @c", "P user_variable"),
        ("SELECT 1", "R read"),
        ("SELECT @b", "P user_variable"),
    ]);
}

#[test]
fn what_was_prepared_from_a_literal_is_known_when_it_runs() {
    let state = |session: &mut Session, sql: &str| {
        let plan = session.plan(sql.as_bytes());
        let mut changes = SessionChanges::default();
        changes.push(&SessionChange::StateChange(true));
        session.primary_ran(&plan, &Outcome { changes: vec![changes], ..ok(StatusFlags::AUTOCOMMIT) });
    };
    let mut session = mariadb();
    state(&mut session, "PREPARE p FROM 'SET @a = 1'");
    state(&mut session, "EXECUTE p");
    assert_eq!(run(&mut session, "SELECT @a"), "R read");
    state(&mut session, "PREPARE p FROM @text");
    state(&mut session, "EXECUTE p");
    assert_eq!(run(&mut session, "SELECT 1"), "P session_state");
}

#[test]
fn a_procedure_may_have_changed_variables_that_were_known() {
    let mut session = mariadb();
    run(&mut session, "SET @a = 1");
    run(&mut session, "CALL p()");
    assert_eq!(run(&mut session, "SELECT @a"), "P user_variable");
}

#[test]
fn temporary_tables_locks_and_state_of_the_connection_stay_with_it() {
    check(&[
        ("CREATE TEMPORARY TABLE tmp (a INT)", "P temporary_table"),
        ("SELECT * FROM other", "R read"),
        ("SELECT * FROM `TMP`", "P temporary_table"),
        ("ALTER TABLE tmp RENAME TO tmp2", "P writes"),
        ("SELECT * FROM tmp2", "P temporary_table"),
        ("DROP TEMPORARY TABLE tmp, tmp2", "P temporary_table"),
        ("SELECT * FROM tmp", "R read"),
        ("LOCK TABLES t READ", "P locks"),
        ("SELECT 1", "P table_locks"),
        ("UNLOCK TABLES", "P table_locks"),
        ("SELECT 1", "R read"),
        ("SELECT GET_LOCK('a', 1)", "P user_lock"),
        ("SELECT 1", "P user_lock_held"),
    ]);
    check(&[("SET sql_log_bin = 0", "P setting"), ("SELECT 1", "P session_state")]);
    check(&[("SET SESSION x = @@y", "P server_variable"), ("SELECT 1", "P session_state")]);
}

#[test]
fn settings_are_said_again_in_their_order_and_each_once() {
    let mut session = mariadb();
    for sql in
        ["SET NAMES latin1", "SET time_zone = '+01:00', @a = 5", "SET NAMES utf8mb4 COLLATE utf8mb4_bin"]
    {
        run(&mut session, sql);
    }
    let (all, known) = session.settings_after(0);
    let all: Vec<String> = all.iter().map(|one| String::from_utf8_lossy(one.sql()).into_owned()).collect();
    assert_eq!(
        all,
        ["SET SESSION time_zone = '+01:00'", "SET @`a` = 5", "SET NAMES utf8mb4 COLLATE utf8mb4_bin"]
    );
    assert_eq!(session.settings_after(known).0.len(), 0);
    run(&mut session, "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED");
    assert_eq!(session.settings_after(known).0.len(), 1);
    assert!(session.is_portable());
}

#[test]
fn strings_that_were_read_otherwise_are_not_said_again() {
    check(&[
        ("SET @a = 'x', @n = 7", "P setting"),
        ("SET NAMES latin1", "P setting"),
        ("SELECT @n", "R read"),
        ("SELECT @a", "P user_variable"),
        ("SET @a = 'x'", "P setting"),
        ("SELECT @a", "R read"),
        ("SET sql_mode = 'NO_BACKSLASH_ESCAPES'", "P setting"),
        ("SELECT @a", "P user_variable"),
    ]);
}

#[test]
fn a_setting_by_an_expression_is_said_again_with_the_value_that_was_told() {
    let mut session = mariadb();
    let plan = session.plan(b"SET sql_mode = CONCAT(@@sql_mode, ',ANSI_QUOTES')");
    let mut changes = SessionChanges::default();
    changes
        .push(&SessionChange::SystemVariable { name: b"sql_mode", value: b"ANSI_QUOTES,STRICT_ALL_TABLES" });
    session.primary_ran(&plan, &Outcome { changes: vec![changes], ..ok(StatusFlags::AUTOCOMMIT) });
    let (all, _) = session.settings_after(0);
    assert_eq!(all.len(), 1);
    assert_eq!(all[0].sql(), b"SET SESSION sql_mode = 'ANSI_QUOTES,STRICT_ALL_TABLES'");
    assert!(session.context().mode.ansi_quotes);
    assert_eq!(run(&mut session, "SELECT \"a\" FROM t"), "R read");
}

#[test]
fn a_failed_statement_leaves_doubt_and_no_setting() {
    let mut session = mariadb();
    let failed = Outcome { status: Some(StatusFlags::AUTOCOMMIT), ..Outcome::default() };
    let plan = session.plan(b"SET @a = 1, time_zone = 'nowhere'");
    session.primary_ran(&plan, &failed);
    assert_eq!(session.settings_after(0).0.len(), 0);
    assert_eq!(run(&mut session, "SELECT @a"), "P user_variable");
    let plan = session.plan(b"CALL p()");
    session.primary_ran(&plan, &failed);
    assert_eq!(run(&mut session, "SELECT 1"), "P session_state");
    session.reset();
    assert_eq!(run(&mut session, "SELECT @a"), "R read");
}

#[test]
fn what_a_session_wrote_is_known_from_what_servers_tell() {
    let mut session = mariadb();
    let plan = session.plan(b"INSERT INTO t VALUES (1)");
    for gtid in ["0-1-7", "0-1-9", "0-1-8"] {
        let mut changes = SessionChanges::default();
        changes.push(&SessionChange::SystemVariable { name: b"last_gtid", value: gtid.as_bytes() });
        session.primary_ran(&plan, &Outcome { changes: vec![changes], ..ok(StatusFlags::AUTOCOMMIT) });
    }
    assert_eq!(session.written().to_string(), "0-1-9");
    assert_eq!(run(&mut session, "SELECT 1"), "R read");
    session.has_written(b"no gtid");
    assert_eq!(run(&mut session, "SELECT 1"), "P position_unknown");
}
