//! SET in all its forms, and `sql_mode`.

use super::*;
use crate::core::mysql::sql::{Access, Assignment, Isolation, Scope, Target, Value};

fn items_in(text: &str, context: &Context) -> Vec<Assignment> {
    match one(text, context).kind {
        Kind::Set(items) => items,
        other => panic!("{text}: {other:?}"),
    }
}

/// The items as text: `s:name=value` for the session, `g:` global, `p:` persist, `@name=` user variables.
fn items(text: &str) -> String {
    let shown = |context: &Context| {
        let items = items_in(text, context);
        let shown = items.iter().map(|item| {
            let target = match &item.target {
                Target::UserVariable(name) => format!("@{name}"),
                Target::Session(name) => format!("s:{name}"),
                Target::Global(name) => format!("g:{name}"),
                Target::Persist(name) => format!("p:{name}"),
                Target::Names { collation: Some(collation) } => format!("names({collation})"),
                Target::Names { collation: None } => "names".to_owned(),
                other => format!("{other:?}").to_lowercase(),
            };
            match &item.value {
                Value::Literal { text, .. } => format!("{target}={text}"),
                Value::Expression => format!("{target}=?"),
            }
        });
        shown.collect::<Vec<_>>().join(" ")
    };
    let found = shown(&mysql());
    assert_eq!(shown(&mariadb()), found, "{text}");
    found
}

#[test]
fn items_of_set() {
    for (text, expected) in [
        ("SET @a = 1", "@a=1"),
        ("SET @A := 'it''s'", "@a=it's"),
        ("SET @a = 1, @b := 'x', @`c d` = NULL", "@a=1 @b=x @c d=null"),
        ("SET @a = -5, @b = +1.5e3, @c = 0x41", "@a=-5 @b=1.5e3 @c=0x41"),
        ("SET @a = b", "@a=?"),
        ("SET @a = @b + 1", "@a=?"),
        ("SET @a = (SELECT MAX(a) FROM t), @b = 2", "@a=? @b=2"),
        ("SET @a = CONCAT('a', 'b'), @b = 2", "@a=? @b=2"),
        ("SET @a = _utf8'x'", "@a=?"),
        ("SET autocommit=0", "s:autocommit=0"),
        ("SET AutoCommit = ON", "s:autocommit=on"),
        ("SET @@autocommit = OFF", "s:autocommit=off"),
        ("SET sql_mode = 'ANSI,TRADITIONAL'", "s:sql_mode=ANSI,TRADITIONAL"),
        ("SET sql_mode = ANSI", "s:sql_mode=ansi"),
        ("SET sql_mode = DEFAULT", "s:sql_mode=default"),
        ("SET sql_mode = @old", "s:sql_mode=?"),
        ("SET SESSION a = 1", "s:a=1"),
        ("SET LOCAL a = 1", "s:a=1"),
        ("SET GLOBAL a = 1", "g:a=1"),
        ("SET PERSIST a = 1", "p:a=1"),
        ("SET PERSIST_ONLY a = 1", "p:a=1"),
        ("SET @@session.a = 1, @@local.b = 2, @@global.c = 3, @@persist.d = 4", "s:a=1 s:b=2 g:c=3 p:d=4"),
        ("SET @@SESSION . `A` = TRUE", "s:a=true"),
        ("SET a.b = 1", "s:a.b=1"),
        ("SET GLOBAL hot.key_buffer_size = 1", "g:hot.key_buffer_size=1"),
        ("SET time_zone = '+00:00'", "s:time_zone=+00:00"),
        ("SET timestamp = 1234567890.5", "s:timestamp=1234567890.5"),
        ("SET character_set_results = NULL", "s:character_set_results=null"),
        ("SET character_set_client = binary", "s:character_set_client=binary"),
        ("SET NAMES utf8mb4", "names=utf8mb4"),
        ("SET NAMES 'UTF8MB4' COLLATE 'utf8mb4_bin'", "names(utf8mb4_bin)=UTF8MB4"),
        (
            "SET NAMES utf8mb4 COLLATE utf8mb4_bin, autocommit = 1",
            "names(utf8mb4_bin)=utf8mb4 s:autocommit=1",
        ),
        ("SET NAMES DEFAULT", "names=default"),
        ("SET CHARACTER SET utf8", "characterset=utf8"),
        ("SET CHARSET 'latin1'", "characterset=latin1"),
        ("SET /* x */ a /* y */ = /* z */ 1", "s:a=1"),
        ("SET /*!40101 SQL_MODE=@OLD */", "s:sql_mode=?"),
        ("SET @a = 'x;y', b = 1", "@a=x;y s:b=1"),
        ("SET a = 1, b = f(1, 2), c = 3", "s:a=1 s:b=? s:c=3"),
        ("SET ROLE NONE", "role=none"),
        ("SET ROLE 'a'@'b'", "role='a'@'b'"),
        ("SET PASSWORD = 'x'", "password=?"),
        ("SET PASSWORD FOR u@h = 'x'", "password=?"),
        ("SET DEFAULT ROLE r TO u", "defaultrole=?"),
        ("SET RESOURCE GROUP g", "resourcegroup=?"),
        ("SET a", "other=?"),
        ("SET NAMES utf8 foo", "other=utf8"),
    ] {
        assert_eq!(items(text), expected, "{text}");
    }
}

/// MySQL Reference Manual, "SET Syntax for Variable Assignment"; tried out with MariaDB 10.11.
#[test]
fn a_scope_word_holds_for_the_items_after_it() {
    assert_eq!(items("SET GLOBAL a = 1, b = 2"), "g:a=1 g:b=2");
    assert_eq!(items("SET GLOBAL a = 1, @x = 2, b = 3"), "g:a=1 @x=2 g:b=3");
    assert_eq!(items("SET SESSION a = 1, GLOBAL b = 2, @c = 3"), "s:a=1 g:b=2 @c=3");
    assert_eq!(items("SET GLOBAL a = 1, SESSION b = 2, c = 3"), "g:a=1 s:b=2 s:c=3");
    assert_eq!(items("SET a = 1, GLOBAL b = 2, NAMES utf8, c = 3"), "s:a=1 g:b=2 names=utf8 g:c=3");
    assert_eq!(items("SET @@global.a = 1, b = 2"), "g:a=1 s:b=2");
    assert_eq!(items("SET GLOBAL a = 1, @@b = 2"), "g:a=1 s:b=2");
}

#[test]
fn set_runs_anywhere_unless_it_changes_the_server() {
    check(
        "other",
        &["SET @a = 1", "SET NAMES utf8", "SET sql_mode = ''", "SET autocommit = 1", "SET ROLE r"],
    );
    check("other", &["SET @a = NOW()", "SET @a = (SELECT MAX(a) FROM t)", "SET @a = @b"]);
    check("other writes", &["SET GLOBAL a = 1", "SET a = 1, @@global.b = 2", "SET PERSIST a = 1"]);
    check("other writes", &["SET PASSWORD = 'x'", "SET DEFAULT ROLE r TO u", "SET RESOURCE GROUP g"]);
    check(
        "other server_variable",
        &["SET @a = @@max_connections", "SET sql_mode = CONCAT(@@sql_mode, ',ANSI')"],
    );
    check("other assigns_user_variable", &["SET @a = (@b := 1)"]);
    check("other locks_rows", &["SET @a = (SELECT a FROM t FOR UPDATE)"]);
    check(
        "other not_known_to_be_a_read",
        &["SET", "SET a", "SET a =", "SET = 1", "SET NAMES", "SET NAMES utf8 foo"],
    );
    assert_eq!(one("SET @a = @b, @c = @A", &mysql()).user_variables, ["b", "a"]);
}

#[test]
fn literals_can_be_sent_again() {
    let sql = |text: &str| match items_in(text, &mysql()).remove(0).value {
        Value::Literal { sql, .. } => String::from_utf8(sql).unwrap(),
        Value::Expression => panic!("{text}"),
    };
    assert_eq!(sql("SET @a = 'it''s\\n'"), "'it''s\\n'");
    assert_eq!(sql("SET @a = - /* x */ 5"), "-5");
    assert_eq!(sql("SET sql_mode = ansi"), "ansi");
    assert_eq!(sql("SET @a = x'41'"), "x'41'");
}

#[test]
fn turning_autocommit_on_commits() {
    let commits = |text| one(text, &mysql()).commits;
    for text in [
        "SET autocommit = 1",
        "SET @@autocommit = ON",
        "SET autocommit = @a",
        "SET a = 1, autocommit = DEFAULT",
    ] {
        assert!(commits(text), "{text}");
    }
    for text in
        ["SET autocommit = 0", "SET autocommit = 'OFF'", "SET GLOBAL autocommit = 1", "SET @autocommit = 1"]
    {
        assert!(!commits(text), "{text}");
    }
}

#[test]
fn transactions_are_characterised() {
    let kind = |text| one(text, &mysql()).kind;
    let set = |scope, access, isolation| Kind::SetTransaction { scope, access, isolation };
    assert_eq!(kind("SET TRANSACTION READ ONLY"), set(Scope::Next, Some(Access::ReadOnly), None));
    let serializable = Some(Isolation::Serializable);
    assert_eq!(
        kind("SET SESSION TRANSACTION ISOLATION LEVEL SERIALIZABLE"),
        set(Scope::Session, None, serializable)
    );
    assert_eq!(
        kind("SET LOCAL TRANSACTION READ WRITE, ISOLATION LEVEL REPEATABLE READ"),
        set(Scope::Session, Some(Access::ReadWrite), Some(Isolation::RepeatableRead))
    );
    assert_eq!(
        kind("set global transaction isolation level read committed"),
        set(Scope::Global, None, Some(Isolation::ReadCommitted))
    );
    assert_eq!(
        kind("SET TRANSACTION ISOLATION LEVEL READ UNCOMMITTED"),
        set(Scope::Next, None, Some(Isolation::ReadUncommitted))
    );
    check("other", &["SET TRANSACTION READ ONLY", "SET SESSION TRANSACTION READ WRITE"]);
    check("other writes", &["SET GLOBAL TRANSACTION READ ONLY"]);
    check("write not_known_to_be_a_read", &["SET TRANSACTION", "SET TRANSACTION READ", "SET TRANSACTION x"]);
}

#[test]
fn modes_change_how_text_is_read() {
    let mode = |ansi_quotes, no_backslash_escapes, ignore_space, oracle| SqlMode {
        ansi_quotes,
        no_backslash_escapes,
        ignore_space,
        oracle,
    };
    assert_eq!(SqlMode::parse(""), SqlMode::default());
    assert_eq!(SqlMode::parse("STRICT_TRANS_TABLES,PIPES_AS_CONCAT"), SqlMode::default());
    assert_eq!(SqlMode::parse(" ansi_quotes , No_Backslash_Escapes"), mode(true, true, false, false));
    assert_eq!(SqlMode::parse("ANSI"), mode(true, false, true, false));
    assert_eq!(SqlMode::parse("ORACLE"), mode(true, false, true, true));
    for name in ["DB2", "MSSQL", "POSTGRESQL", "MAXDB"] {
        assert_eq!(SqlMode::parse(name), mode(true, false, true, false), "{name}");
    }
    assert_eq!(SqlMode::parse("4"), mode(true, false, false, false));
    assert_eq!(SqlMode::parse("1049088"), mode(true, true, true, true));
    assert_eq!(SqlMode::parse("262144"), mode(true, false, true, false));
}
