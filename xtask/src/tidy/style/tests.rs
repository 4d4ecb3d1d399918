use super::*;

fn findings(path: &str, text: &str) -> Vec<Finding> {
    let mut found = Vec::new();
    check(&Source::new(path, text), &mut found);
    found
}

#[track_caller]
fn breaks(path: &str, text: &str, line: usize, words: &str) {
    let found = findings(path, text);
    assert!(found.len() == 1 && found[0].line == line && found[0].message.contains(words), "{found:?}");
}

#[track_caller]
fn is_fine(path: &str, text: &str) {
    let found = findings(path, text);
    assert!(found.is_empty(), "{found:?}");
}

#[test]
fn a_rust_file_starts_with_a_header_except_beside_tests() {
    breaks("lb-user/src/model.rs", "use x;\n", 1, "header");
    is_fine("lb-user/src/model.rs", "//! What it is.\n");
    is_fine("lb-user/src/model/tests.rs", "use super::*;\n");
    is_fine("README.md", "# lbctl\n");
}

#[test]
fn whitespace_at_the_end_of_a_line_is_found_in_every_text() {
    breaks("README.md", "# lbctl\nx \n", 2, "whitespace");
    breaks("Cargo.toml", "[x]\t\n", 1, "whitespace");
    breaks("Cargo.toml", "[x]\na = 1", 2, "line break");
}

#[test]
fn paths_of_one_machine_are_found() {
    breaks("README.md", &format!("\nsee {FOREIGN_PATH}main\n"), 2, "one machine");
    is_fine("README.md", "workspace, network, framework/x\n");
}

#[test]
fn modules_with_empty_names_are_refused() {
    breaks("lb-user/src/utils.rs", "//! x\n", 1, "`utils` says nothing");
    breaks("lb-user/src/helpers/a.rs", "//! x\n", 1, "`helpers` says nothing");
}

#[test]
fn long_files_warn_and_longer_ones_fail() {
    let lines = |count: usize| format!("//! x\n{}", "const A: u8 = 1;\n".repeat(count - 1));
    is_fine("a.rs", &lines(300));
    assert!(findings("a.rs", &lines(301))[0].warning);
    assert!(findings("a.rs", &lines(400))[0].warning);
    assert!(!findings("a.rs", &lines(401))[0].warning);
}

#[test]
fn a_function_of_more_than_90_lines_fails() {
    let function =
        |lines: usize| format!("//! x\nfn f(a: [u8; 4]) {{\n{}}}\n", "    g();\n".repeat(lines - 2));
    is_fine("a.rs", &function(90));
    breaks("a.rs", &function(91), 2, "`f` has 91 lines");
    is_fine("a.rs", &format!("//! x\ntrait T {{\n    fn f();\n{}}}\n", "    const A: u8;\n".repeat(100)));
}

#[test]
fn unfinished_code_is_refused() {
    breaks("a.rs", &format!("//! x\nfn f() {{ {}!() }}\n", "todo"), 2, "does not stay");
    breaks("a.rs", &format!("//! x\nfn f() {{ {}!(1); }}\n", "dbg"), 2, "does not stay");
    is_fine("a.rs", "//! x\n// todo! in a comment\nfn todo() {}\n");
}

#[test]
fn tests_do_not_sleep_unless_they_poll() {
    breaks("tests/e2e/drain.rs", "//! x\nfn f() { thread::sleep(d); }\n", 2, "poll with a deadline");
    breaks("lb-user/src/a.rs", "//! x\n#[cfg(test)]\nmod tests {\n    fn f() { sleep(d) }\n}\n", 4, "poll");
    is_fine("tests/e2e/drain.rs", "//! x\nthread::sleep(d); // poll: until the deadline above\n");
    is_fine("lb-user/src/a.rs", "//! x\nfn f() { sleep(d) }\n");
}

#[test]
fn the_old_role_words_are_no_identifiers_but_may_be_sql() {
    let role = OLD_ROLES[1];
    breaks("a.rs", &format!("//! x\nlet {role}_count = 1;\n"), 2, "primary/replica");
    is_fine("a.rs", &format!("//! x\nlet sql = \"SHOW {role} STATUS\"; // {role}\n"));
}
