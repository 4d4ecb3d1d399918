//! What is set in a session, and said again elsewhere.

use super::*;

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
fn a_default_is_each_servers_own_and_said_as_the_primary_tells_it() {
    let mut session = mariadb();
    let plan = session.plan(b"SET time_zone = DEFAULT");
    session.primary_ran(&plan, &tells(&[("time_zone", "+00:00")]));
    let (all, _) = session.settings_after(0);
    assert_eq!(all.last().map(|one| one.sql()), Some(b"SET SESSION time_zone = '+00:00'".as_slice()));
    check(&[("SET NAMES DEFAULT", "P setting"), ("SELECT 1", "P session_state")]);
    check(&[("SET timestamp = DEFAULT", "P setting"), ("SELECT 1", "R read")]);
}

#[test]
fn what_a_client_wants_to_be_told_of_does_not_hold_it() {
    let mut session = mariadb();
    let sql = "SET session_track_schema = 1, session_track_system_variables = 'autocommit'";
    assert!(session.plan(sql.as_bytes()).changes_trackers());
    run(&mut session, sql);
    assert_eq!(run(&mut session, "SELECT 1"), "R read");
}

#[test]
fn what_is_said_again_unchanged_changes_nothing_where_nothing_came_in_between() {
    let mut session = mariadb();
    run(&mut session, "SET NAMES utf8mb4");
    let (reading, known) = (session.reading(), session.settings_after(0).1);
    run(&mut session, "SET NAMES utf8mb4");
    assert_eq!((session.reading(), session.settings_after(known).0.len()), (reading, 0));
    // The first one set that, too.
    run(&mut session, "SET character_set_results = 'latin1'");
    run(&mut session, "SET NAMES utf8mb4");
    let (all, _) = session.settings_after(0);
    assert_eq!(all.last().map(|one| one.sql()), Some(b"SET NAMES utf8mb4".as_slice()));
}

#[test]
fn a_statement_with_trackers_of_its_own_hides_what_it_wrote() {
    let session = mariadb();
    let text = "SET STATEMENT session_track_system_variables = '' FOR INSERT INTO t VALUES (1)";
    assert!(session.plan(text.as_bytes()).changes_trackers());
    assert!(!session.plan(b"INSERT INTO t VALUES ('session_track_')").changes_trackers());
}

#[test]
fn a_session_that_begins_anew_without_autocommit_knows_it() {
    let mut session = mariadb();
    session.has_status(StatusFlags::default());
    session.reset();
    assert_eq!(run(&mut session, "SELECT 1"), "P autocommit_off");
}
