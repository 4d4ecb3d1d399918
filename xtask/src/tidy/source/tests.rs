use super::*;

fn code(text: &str) -> String {
    Source::new("a.rs", text).code
}

fn named(text: &str) -> Vec<String> {
    let paths = Source::new("a.rs", text).paths();
    paths.into_iter().filter(|path| path.segments.len() > 1).map(|path| path.segments.join("::")).collect()
}

#[test]
fn comments_and_strings_are_blanked_and_code_stays() {
    assert_eq!(
        code("a // tokio\nb /* x /* y */ z */ c").split_whitespace().collect::<Vec<_>>(),
        ["a", "b", "c"]
    );
    assert_eq!(code(r##"f("tokio \" { x", r#"{"}"#, b"x", '{', '\'', b'}')"##).replace(' ', ""), "f(,,,,,)");
}

#[test]
fn a_lifetime_is_not_a_character() {
    assert_eq!(code("fn f<'a>(x: &'a str) -> &'a str {}"), "fn f<'a>(x: &'a str) -> &'a str {}");
}

#[test]
fn a_string_of_several_lines_keeps_its_lines() {
    assert_eq!(code("let x = \"a\nb\";\ny").lines().count(), 3);
}

#[test]
fn use_trees_are_expanded() {
    let text = "use crate::core::{plan, vrrp::{self, Timer as T}, mysql::*};";
    let expected =
        ["crate::core::plan", "crate::core::vrrp", "crate::core::vrrp::Timer", "crate::core::mysql::*"];
    assert_eq!(named(text), expected);
}

#[test]
fn paths_in_expressions_are_found_and_method_calls_are_not() {
    assert_eq!(
        named("let x = Vec::<u8>::new(); tokio::time::sleep(d).await; x.now()"),
        ["tokio::time::sleep"]
    );
}

#[test]
fn everything_below_an_inline_test_module_is_test_code() {
    let source = Source::new("lb-user/src/a.rs", "fn a() {}\n\n#[cfg(test)]\nmod tests {\n}\n");
    assert_eq!(source.tests_from, Some(3));
    assert!(!source.is_test_line(1));
    assert!(source.is_test_line(4));
    assert_eq!(Source::new("a.rs", "#[cfg(test)]\nmod tests;\n").tests_from, None);
}
