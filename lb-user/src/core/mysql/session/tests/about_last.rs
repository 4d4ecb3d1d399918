//! Statements that ask about others before them, and those that were prepared.

use super::*;

fn borrows(session: &Session, sql: &str) -> Borrows {
    session.plan(sql.as_bytes()).borrows
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
fn what_was_prepared_by_name_counts_as_what_it_runs() {
    let mut session = mariadb();
    run(&mut session, "PREPARE p FROM 'SELECT id FROM t LIMIT 3'");
    run(&mut session, "SELECT * FROM t");
    run(&mut session, "EXECUTE p");
    assert_eq!(borrows(&session, "SELECT FOUND_ROWS()"), Borrows::Nothing, "the primary found rows last");
    run(&mut session, "SET @v = 1");
    run(&mut session, "PREPARE w FROM 'INSERT INTO t VALUES (1)'");
    run(&mut session, "EXECUTE w");
    assert_eq!(run(&mut session, "SELECT @v"), "P user_variable", "a trigger may have assigned it");
    // By the time that it runs it is another one.
    run(&mut session, "SET @s = 'SET time_zone = 1'; PREPARE p FROM @s; EXECUTE p");
    assert_eq!(run(&mut session, "SELECT @s"), "P user_variable");
}

#[test]
fn it_is_known_what_is_asked_of_the_primarys_connection() {
    let mut session = mariadb();
    run(&mut session, "INSERT INTO t VALUES (1)");
    let asks = |session: &Session, sql: &str| session.plan(sql.as_bytes()).asks;
    assert!(asks(&session, "INSERT INTO u VALUES (LAST_INSERT_ID())").insert_id);
    assert!(asks(&session, "SELECT ROW_COUNT()").last);
    assert!(asks(&session, "SELECT FOUND_ROWS()").found_rows);
    assert_eq!(asks(&session, "SELECT a FROM t"), Asks::default());
    run(&mut session, "SELECT a FROM t");
    // Now a replica's has to.
    let of_replica = Asks { last: true, found_rows: true, insert_id: false };
    assert_eq!(asks(&session, "SELECT ROW_COUNT(), FOUND_ROWS()"), of_replica);
    assert_eq!(asks(&session, "SET @n = FOUND_ROWS()"), Asks::default(), "it is told to the primary");
}

#[test]
fn a_body_that_is_only_kept_asks_nothing_and_a_block_is_not_rewritten() {
    let mut session = mariadb();
    run(&mut session, "SELECT a FROM t");
    for sql in [
        "CREATE PROCEDURE p() BEGIN UPDATE t SET a = 1; IF ROW_COUNT() = 0 THEN SELECT LAST_INSERT_ID(); END IF; END",
        "CREATE TRIGGER x BEFORE INSERT ON t FOR EACH ROW SET @n = FOUND_ROWS()",
        "CREATE VIEW v AS SELECT FOUND_ROWS(), LAST_INSERT_ID()",
        "ALTER VIEW v AS SELECT ROW_COUNT()",
    ] {
        let plan = session.plan(sql.as_bytes());
        assert_eq!((plan.borrows, plan.asks), (Borrows::Nothing, Asks::default()), "{sql}");
    }
    let block = "BEGIN NOT ATOMIC UPDATE t SET a = 1; SELECT ROW_COUNT(); END";
    assert_eq!(borrows(&session, block), Borrows::Impossible);
    let table = "CREATE TABLE n AS SELECT FOUND_ROWS() AS n";
    assert!(matches!(borrows(&session, table), Borrows::Answers(_)));
}

#[test]
fn to_set_the_last_id_is_not_to_ask_for_it() {
    let session = mariadb();
    let plan = |sql: &str| session.plan(sql.as_bytes());
    let counts = plan("UPDATE seq SET id = LAST_INSERT_ID(id + 1)");
    assert!(!counts.asks.insert_id && counts.may_insert_unseen(0));
    assert!(plan("SELECT LAST_INSERT_ID()").asks.insert_id);
    let returning = plan("INSERT INTO t VALUES (NULL) RETURNING id");
    assert!(returning.may_insert_unseen(1) && !returning.may_insert_unseen(0));
}
