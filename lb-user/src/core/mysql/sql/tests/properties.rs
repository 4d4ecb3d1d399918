//! What holds for any text.

use proptest::prelude::*;

use super::*;
use crate::core::mysql::sql::digest;
use crate::core::mysql::sql::lexer::Lexer;
use crate::core::mysql::sql::token::{Gap, TokenKind};

const PIECES: &[&str] = &[
    "SELECT",
    "FROM",
    "t",
    "a",
    "WHERE",
    "1",
    "'x'",
    "\"y\"",
    "`z`",
    "(",
    ")",
    ",",
    ";",
    "/*",
    "*/",
    "/*!",
    "/*!40000",
    "/*!99999",
    "/*M!",
    "/*+",
    "--",
    "-- ",
    "#",
    "\n",
    " ",
    "@",
    "@a",
    "@@",
    ":=",
    "=",
    ".",
    "1.",
    "e",
    "0x",
    "x'",
    "'",
    "\"",
    "`",
    "\\",
    "\0",
    "FOR",
    "UPDATE",
    "SET",
    "GLOBAL",
    "CREATE",
    "PROCEDURE",
    "BEGIN",
    "NOT",
    "IN",
    "f",
    "AS",
    "-",
    "é",
    "$$",
    "?",
    "VALUES",
    "SHOW",
    "EXPLAIN",
    "COUNT",
    "*",
    "\u{a0}",
    "WITH",
    "DROP",
    "TABLE",
    "PREPARE",
    "KILL",
];

fn any_text() -> impl Strategy<Value = Vec<u8>> {
    let pieces = prop::collection::vec(prop::sample::select(PIECES), 0..40)
        .prop_map(|list| list.concat().into_bytes());
    prop_oneof![prop::collection::vec(any::<u8>(), 0..80), pieces]
}

fn any_context() -> impl Strategy<Value = Context> {
    (any::<bool>(), any::<[bool; 5]>()).prop_map(
        |(maria, [ansi_quotes, no_backslash_escapes, ignore_space, oracle, utf8])| {
            let mut context = if maria { mariadb() } else { mysql() };
            context.mode = SqlMode { ansi_quotes, no_backslash_escapes, ignore_space, oracle };
            context.utf8 = utf8;
            context
        },
    )
}

/// A well-formed read as its tokens; literals are `1`.
fn any_read() -> impl Strategy<Value = Vec<&'static str>> {
    let item = prop_oneof![
        Just(vec!["a"]),
        Just(vec!["1"]),
        Just(vec!["1", "+", "1"]),
        Just(vec!["abs(", "1", ")"]),
        Just(vec!["f(", "1", ")"]),
        Just(vec!["t.a"]),
        Just(vec!["@v"]),
        Just(vec!["(", "a", ",", "1", ")", "IN", "(", "(", "1", ",", "1", ")", ")"]),
        Just(vec!["`b`"]),
        Just(vec!["@@version"]),
        Just(vec!["a", "IN", "(", "1", ",", "1", ")"]),
        Just(vec!["-", "1"]),
    ];
    let tail = prop_oneof![
        Just(vec![]),
        Just(vec!["FOR", "UPDATE"]),
        Just(vec!["LIMIT", "1"]),
        Just(vec!["INTO", "@x"])
    ];
    (prop::collection::vec(item, 1..5), tail).prop_map(|(items, tail)| {
        let mut tokens = vec!["SELECT"];
        for (at, item) in items.into_iter().enumerate() {
            if at > 0 {
                tokens.push(",");
            }
            tokens.extend(item);
        }
        tokens.extend(["FROM", "t"]);
        tokens.extend(tail);
        tokens
    })
}

const GAPS: &[&str] =
    &[" ", "\n", "/* x */", "/*;*/", " -- y\n", "#'\n", "/**/ ", "/*!99999 z */", "/*+ x */"];
const LITERALS: &[&str] = &["2", "'abc'", "1.5", "0x7f", "x'00'", "'it''s'", "1e10", "'a\\'b'", "?"];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn no_text_panics_and_no_byte_is_lost(text in any_text(), context in any_context()) {
        let found = statements(&text, &context);
        prop_assert!(!found.is_empty());
        let joined = found.iter().map(|statement| statement.text).collect::<Vec<_>>().join(&b';');
        prop_assert!(text.starts_with(&joined));
        let rest = &text[joined.len()..];
        prop_assert!(rest.iter().all(|byte| *byte == b';' || byte.is_ascii_whitespace() || *byte == 0x0b));
        for statement in &found {
            let _ = statement.mentions("t");
        }
        let _ = digest(&text, &context);
    }

    /// A statement read by itself is what it was among the others.
    #[test]
    fn a_statement_stands_alone(text in any_text(), context in any_context()) {
        for statement in statements(&text, &context) {
            let alone = statements(statement.text, &context);
            prop_assert_eq!(alone.len(), 1);
            prop_assert_eq!(&alone[0], &statement);
        }
    }

    #[test]
    fn tokens_follow_one_another(text in any_text(), context in any_context()) {
        let mut lexer = Lexer::new(&text, &context);
        let mut end = 0;
        loop {
            let token = lexer.next();
            prop_assert!(token.start >= end);
            prop_assert!(token.gap != Gap::None || token.start == end);
            end = token.start + token.text.len();
            if matches!(token.kind, TokenKind::End | TokenKind::Malformed) {
                break;
            }
            prop_assert!(!token.text.is_empty());
        }
        prop_assert_eq!(end, text.len());
    }

    #[test]
    fn gaps_change_nothing(tokens in any_read(), gaps in prop::collection::vec(prop::sample::select(GAPS), 100)) {
        let plain = tokens.join(" ");
        let spaced: String = tokens.iter().zip(&gaps).map(|(token, gap)| format!("{gap}{token}")).collect();
        for context in [mysql(), mariadb()] {
            let (plain, spaced) = (one(&plain, &context), one(&spaced, &context));
            prop_assert_eq!(&plain.kind, &spaced.kind);
            prop_assert_eq!(&plain.primary, &spaced.primary);
            prop_assert_eq!(&plain.user_variables, &spaced.user_variables);
        }
        prop_assert_eq!(digest(plain.as_bytes(), &mysql()), digest(spaced.as_bytes(), &mysql()));
    }

    #[test]
    fn literals_change_no_digest(tokens in any_read(), literals in prop::collection::vec(prop::sample::select(LITERALS), 100)) {
        let plain = tokens.join(" ");
        let changed: Vec<_> = tokens.iter().zip(&literals).map(|(token, literal)| if *token == "1" { *literal } else { *token }).collect();
        let changed = changed.join(" ");
        prop_assert_eq!(digest(plain.as_bytes(), &mysql()), digest(changed.as_bytes(), &mysql()));
        prop_assert_eq!(summary(&one(&plain, &mysql())), summary(&one(&changed, &mysql())));
    }

    #[test]
    fn the_digest_of_a_digest_is_itself(tokens in any_read(), context in any_context()) {
        let once = digest(tokens.join(" ").as_bytes(), &context);
        prop_assert_eq!(digest(once.text.as_bytes(), &context), once);
    }

    #[test]
    fn a_digest_holds_no_literal(text in any_text(), context in any_context()) {
        let shape = digest(&text, &context).text;
        let mut again = Lexer::new(shape.as_bytes(), &context);
        loop {
            let token = again.next();
            prop_assert!(!matches!(token.kind, TokenKind::String | TokenKind::Number), "{:?} in {}", token, shape);
            if matches!(token.kind, TokenKind::End | TokenKind::Malformed) {
                break;
            }
        }
    }
}
