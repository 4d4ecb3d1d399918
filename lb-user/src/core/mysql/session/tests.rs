//! Sequences of statements, and where each of them runs.

use super::super::sql::{AboutLast, Dialect, Flavor};
use super::*;
use crate::core::mysql::protocol::response::SessionChange;

mod about_last;
mod settings;

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
            session.replica_ran(&plan);
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

fn tells(variables: &[(&str, &str)]) -> Outcome {
    let mut changes = SessionChanges::default();
    for (name, value) in variables {
        changes.push(&SessionChange::SystemVariable { name: name.as_bytes(), value: value.as_bytes() });
    }
    Outcome { changes: vec![changes], ..ok(StatusFlags::AUTOCOMMIT) }
}

#[test]
fn reads_go_to_a_replica_and_writes_to_the_primary() {
    check(&[
        ("SELECT 1", "R read"),
        ("INSERT INTO t VALUES (1)", "P writes"),
        ("SELECT * FROM t FOR UPDATE", "P locks_rows"),
        ("SELECT f(1)", "P unknown_function"),
        ("SELECT a FROM t; SELECT b FROM t", "P several_statements"),
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

#[test]
fn what_a_trigger_may_have_done_to_variables_is_not_believed() {
    let mut session = mariadb();
    run(&mut session, "SET @a = 1");
    assert!(session.is_portable());
    run(&mut session, "INSERT INTO t VALUES (1)");
    assert_eq!(run(&mut session, "SELECT @a"), "P user_variable");
    assert_eq!(run(&mut session, "SELECT 1"), "R read");
    assert!(!session.is_portable(), "a new primary would not know what the trigger did");
    let mut without = mariadb();
    run(&mut without, "INSERT INTO t VALUES (1)");
    assert!(without.is_portable());
    let plan = without.plan(b"INSERT INTO t VALUES (1)");
    without.primary_ran(&plan, &tells(&[("last_gtid", "0-1-1"), ("statement_id", "7")]));
    assert_eq!(run(&mut without, "SELECT 1"), "R read");
    without.primary_ran(&plan, &tells(&[("time_zone", "+01:00")]));
    assert_eq!(run(&mut without, "SELECT 1"), "P session_state");
}

#[test]
fn what_a_session_wrote_stays_written_when_it_begins_anew() {
    let mut session = mariadb();
    session.has_written(b"0-1-7");
    session.has_written(b"no gtid");
    assert_eq!(run(&mut session, "SELECT 1"), "P position_unknown");
    session.reset();
    assert_eq!(session.written().to_string(), "0-1-7");
    assert_eq!(run(&mut session, "SELECT 1"), "R read", "whoever resets it asks where the primary is");
}

#[test]
fn a_temporary_table_is_there_while_another_of_its_name_may_have_been_dropped() {
    check(&[
        ("CREATE TEMPORARY TABLE a.tmp (a INT)", "P temporary_table"),
        ("DROP TABLE b.tmp", "P writes"),
        ("SELECT * FROM a.tmp", "P temporary_table"),
    ]);
}

#[test]
fn a_schema_that_was_dropped_is_none() {
    let mut session = mariadb();
    run(&mut session, "USE other");
    assert_eq!(session.schema(), Some(b"other".as_slice()));
    let plan = session.plan(b"DROP DATABASE other");
    let mut changes = SessionChanges::default();
    changes.push(&SessionChange::Schema(b""));
    session.primary_ran(&plan, &Outcome { changes: vec![changes], ..ok(StatusFlags::AUTOCOMMIT) });
    assert_eq!(session.schema(), None);
}
