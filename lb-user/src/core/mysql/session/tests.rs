//! Sequences of statements, and where each of them runs.

use super::super::sql::{AboutLast, Dialect, Flavor};
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
fn what_asks_about_the_last_statement_goes_where_that_ran() {
    check(&[
        ("SELECT SQL_CALC_FOUND_ROWS a FROM t LIMIT 1", "R read"),
        ("SELECT FOUND_ROWS()", "R last_statement"),
        ("SHOW WARNINGS", "R last_statement"),
        ("SELECT FOUND_ROWS() INTO @n", "P last_statement"),
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

fn borrows(session: &Session, sql: &str) -> Borrows {
    session.plan(sql.as_bytes()).borrows
}

#[test]
fn rows_that_were_found_are_asked_for_where_they_were_found_whatever_ran_since() {
    let mut session = mariadb();
    for (sql, expected) in [
        ("SELECT SQL_CALC_FOUND_ROWS a FROM t LIMIT 1", "R read"),
        ("SET @a = 1", "P setting"),
        ("SELECT FOUND_ROWS()", "R last_statement"),
        ("UPDATE t SET a = 1", "P writes"),
        ("SELECT FOUND_ROWS()", "R last_statement"),
        ("BEGIN", "P transaction"),
        ("SELECT FOUND_ROWS()", "R last_statement"),
        ("SELECT a FROM t", "P transaction"),
        ("SELECT FOUND_ROWS()", "P transaction"),
        ("COMMIT", "P transaction"),
        ("SELECT a FROM t", "R read"),
        ("INSERT INTO t SELECT a FROM u", "P writes"),
        ("SELECT FOUND_ROWS()", "P last_statement"),
    ] {
        assert_eq!(run(&mut session, sql), expected, "{sql}");
    }
    assert_eq!(borrows(&session, "SELECT FOUND_ROWS() INTO @n"), Borrows::Nothing);
    run(&mut session, "SELECT a FROM t");
    let found = AboutLast { found_rows: true, ..AboutLast::default() };
    assert_eq!(borrows(&session, "SET @n = FOUND_ROWS()"), Borrows::Answers(found));
    assert_eq!(borrows(&session, "SELECT FOUND_ROWS(), MAX(a) FROM t"), Borrows::Answers(found));
    assert_eq!(borrows(&session, "SELECT 1; SELECT FOUND_ROWS()"), Borrows::Nothing);
    assert_eq!(borrows(&session, "SET @a = 1; SELECT FOUND_ROWS()"), Borrows::Impossible);
    session.rows_are_known(7);
    assert_eq!(borrows(&session, "SELECT FOUND_ROWS()"), Borrows::Answers(found));
    run(&mut session, "PREPARE p FROM 'SELECT FOUND_ROWS()'");
    assert_eq!(borrows(&session, "EXECUTE p"), Borrows::Impossible);
}

#[test]
fn a_command_leaves_no_trace_and_a_prepared_one_clears_what_was_said_of_the_last() {
    let mut session = mariadb();
    run(&mut session, "SELECT 'a' + 1");
    session.primary_ran(&Plan::command(), &ok(StatusFlags::AUTOCOMMIT));
    assert_eq!(run(&mut session, "SHOW WARNINGS"), "R last_statement");
    session.primary_ran(&Plan::prepare(), &ok(StatusFlags::AUTOCOMMIT));
    assert_eq!(run(&mut session, "SHOW WARNINGS"), "P last_statement");
    run(&mut session, "SET TRANSACTION ISOLATION LEVEL SERIALIZABLE");
    session.primary_ran(&Plan::command(), &ok(StatusFlags::AUTOCOMMIT));
    assert_eq!(run(&mut session, "SELECT 1"), "P next_transaction");
}

fn tells(variables: &[(&str, &str)]) -> Outcome {
    let mut changes = SessionChanges::default();
    for (name, value) in variables {
        changes.push(&SessionChange::SystemVariable { name: name.as_bytes(), value: value.as_bytes() });
    }
    Outcome { changes: vec![changes], ..ok(StatusFlags::AUTOCOMMIT) }
}

#[test]
fn a_setting_that_is_changed_and_put_back_in_one_text_is_as_it_was() {
    let mut session = mariadb();
    let plan = session.plan(b"SET @o = @@time_zone; SET time_zone = '+05:00'; SET time_zone = @o");
    let mut outcome = tells(&[("time_zone", "+05:00")]);
    outcome.changes.extend(tells(&[("time_zone", "SYSTEM")]).changes);
    session.primary_ran(&plan, &outcome);
    let (all, _) = session.settings_after(0);
    assert_eq!(all.last().map(|one| one.sql()), Some(b"SET SESSION time_zone = 'SYSTEM'".as_slice()));
}

#[test]
fn a_string_that_is_set_together_with_how_it_is_read_stays_at_the_primary() {
    check(&[("SET sql_mode = 'ANSI_QUOTES', @a = 'x'", "P setting"), ("SELECT 1", "P session_state")]);
    check(&[("SET NAMES utf8mb4, time_zone = 'a\\\\b'", "P setting"), ("SELECT 1", "P session_state")]);
    check(&[("SET CHARACTER SET utf8mb4", "P setting"), ("SELECT 1", "P session_state")]);
    // As clients say it when they begin.
    check(&[
        ("SET NAMES utf8mb4, time_zone = \"+00:00\", sql_mode = 'STRICT_ALL_TABLES'", "P setting"),
        ("SELECT 1", "R read"),
    ]);
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
    without.primary_ran(&plan, &tells(&[("last_gtid", "0-1-1")]));
    assert_eq!(run(&mut without, "SELECT 1"), "R read");
    without.primary_ran(&plan, &tells(&[("time_zone", "+01:00")]));
    assert_eq!(run(&mut without, "SELECT 1"), "P session_state");
}

#[test]
fn a_session_begins_with_what_its_server_has_set() {
    let mut session = mariadb();
    let values = [("sql_mode", "ANSI_QUOTES"), ("time_zone", "+01:00"), ("sql_select_limit", "5")];
    session.begins_with(&values.map(|(name, value)| (name.to_owned(), Some(value.as_bytes().to_vec()))));
    assert!(session.context().mode.ansi_quotes);
    let (all, known) = session.settings_after(0);
    assert_eq!(
        all.iter().map(|one| String::from_utf8_lossy(one.sql()).into_owned()).collect::<Vec<_>>(),
        ["SET SESSION sql_mode = 'ANSI_QUOTES', SESSION time_zone = '+01:00', SESSION sql_select_limit = 5"]
    );
    assert_eq!(session.settings_after(known).0.len(), 0);
    session.has_status(StatusFlags::default());
    assert_eq!(run(&mut session, "SELECT 1"), "P autocommit_off");
}

#[test]
fn a_prepared_text_is_the_same_only_under_the_same_settings_and_schema() {
    let mut session = mariadb();
    let before = session.reading();
    run(&mut session, "SET time_zone = '+01:00', @a = 5");
    assert_eq!(session.reading(), before);
    run(&mut session, "USE other");
    assert_ne!(session.reading(), before);
    let before = session.reading();
    run(&mut session, "SET sql_mode = ''");
    assert_ne!(session.reading(), before);
}

#[test]
fn a_session_that_begins_anew_still_does_not_know_how_far_it_wrote() {
    let mut session = mariadb();
    session.has_written(b"no gtid");
    session.reset();
    assert_eq!(run(&mut session, "SELECT 1"), "P position_unknown");
}

#[test]
fn a_temporary_table_is_there_while_another_of_its_name_may_have_been_dropped() {
    check(&[
        ("CREATE TEMPORARY TABLE a.tmp (a INT)", "P temporary_table"),
        ("DROP TABLE b.tmp", "P writes"),
        ("SELECT * FROM a.tmp", "P temporary_table"),
    ]);
}
