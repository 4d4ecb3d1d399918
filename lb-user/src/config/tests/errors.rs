//! How errors look: where they point, how they are laid out, what they suggest.

use super::{FULL, LEAST};
use crate::config::{Config, ConfigErrors};

fn errors(text: &str) -> ConfigErrors {
    Config::parse(text, "lbctl.toml").unwrap_err()
}

/// As who may read the file is shown them.
fn shown(text: &str) -> String {
    format!("{:#}", errors(text))
}

/// The errors of the full example after one replacement.
fn after(old: &str, new: &str) -> String {
    assert!(FULL.contains(old), "the example has no {old:?}");
    shown(&FULL.replacen(old, new, 1))
}

#[test]
fn an_error_shows_the_place_the_words_and_the_line_with_a_marker() {
    assert_eq!(
        after(r#""10.80.0.22:80""#, r#""10.80.0.22""#),
        r#"lbctl.toml:55:11: service.web.backend[1].address: "10.80.0.22" has no port; expected IP:PORT such as "10.80.0.22:80"
 55 | address = "10.80.0.22"
    |           ^^^^^^^^^^^^"#
    );
}

#[test]
fn an_unknown_key_points_at_the_key_and_suggests_the_right_one() {
    assert_eq!(
        after("interval =", "intervall ="),
        r#"lbctl.toml:42:1: service.web.health.intervall: unknown key "intervall"; did you mean "interval"?
 42 | intervall = "1s"
    | ^^^^^^^^^"#
    );
}

#[test]
fn an_unknown_key_that_looks_like_none_is_told_the_keys_there_are() {
    assert_eq!(
        after("others_may_read", "zzz"),
        r#"lbctl.toml:11:1: control.zzz: unknown key "zzz"; expected one of socket, group, others_may_read
 11 | zzz = true
    | ^^^"#
    );
}

#[test]
fn an_unknown_table_is_a_key_of_the_top_level() {
    let text = shown("[services.web]\n");
    assert!(
        text.starts_with(r#"lbctl.toml:1:2: services: unknown key "services"; did you mean "service"?"#),
        "{text}"
    );
}

#[test]
fn a_value_of_the_wrong_type_is_shown_with_the_type_expected() {
    let cases = [
        (
            r#"port = 80"#,
            r#"port = "80""#,
            r#"33:8: service.web.port: "80" is a text; expected a whole number"#,
        ),
        (
            r#"interval = "1s""#,
            "interval = 1",
            r#"42:12: service.web.health.interval: 1 is a whole number; expected a duration in quotes such as "500ms""#,
        ),
        (
            "others_may_read = true",
            "others_may_read = 1",
            "11:19: control.others_may_read: 1 is a whole number; expected true or false",
        ),
        (
            r#"name = "web2""#,
            "name = 2",
            "54:8: service.web.backend[1].name: 2 is a whole number; expected a text in quotes",
        ),
        (
            r#"["A", "B"]"#,
            r#"["A", 7]"#,
            "32:14: service.web.vips[1]: 7 is a whole number; expected a text in quotes",
        ),
        (r#"["A", "B"]"#, "7", "32:8: service.web.vips: 7 is a whole number; expected a text in quotes"),
        (
            "rise = 3",
            "rise = 1.5",
            "44:8: service.web.health.rise: 1.5 is a number with a fraction; expected a whole number",
        ),
    ];
    for (old, new, expected) in cases {
        let text = after(old, new);
        assert_eq!(text.lines().next().unwrap(), format!("lbctl.toml:{expected}"));
    }
}

#[test]
fn single_brackets_around_a_backend_are_told_to_be_double() {
    let text = format!("{LEAST}[service.web.backend]\nname = \"web1\"\n");
    assert_eq!(
        shown(&text).lines().next().unwrap(),
        "lbctl.toml:5:1: service.web.backend: this is a table; expected a list; \
         write [[service.web.backend]] with two brackets on each side"
    );
}

#[test]
fn a_text_that_is_no_toml_points_at_the_place() {
    let text = shown("[node]\nname = lb1\n");
    assert!(text.starts_with("lbctl.toml:2:8: not TOML: "), "{text}");
    assert!(text.ends_with(" 2 | name = lb1\n   |        ^^^"), "{text}");
    let text = shown("[node]\nname = \"a\"\nname = \"b\"\n");
    assert!(text.starts_with("lbctl.toml:3:1: not TOML: duplicate key"), "{text}");
}

#[test]
fn an_empty_file_is_told_what_it_lacks() {
    assert_eq!(
        shown(""),
        "lbctl.toml:1:1: node: missing; expected a table [node] with at least name and interfaces\n 1 | \n   | ^"
    );
}

#[test]
fn all_that_is_wrong_is_told_at_once_in_the_order_of_the_file() {
    let text = FULL
        .replacen("2048-17407", "80-90", 1)
        .replacen("\"10.80.0.101\"", "\"10.80.0.999\"", 1)
        .replacen("weight = 3", "weight = 300", 1)
        .replacen("fall = 4", "fall = 0", 1);
    let errors = errors(&text);
    let paths: Vec<&str> = errors.iter().map(|error| error.path.as_str()).collect();
    assert_eq!(
        paths,
        ["node.nat_ports", "vip.B.address", "service.web.health.fall", "service.web.backend[0].weight"]
    );
    assert_eq!(format!("{errors:#}").matches("\n\nlbctl.toml:").count(), 3);
    assert_eq!(errors.to_string().lines().count(), 4, "a line each, and no line of the file: {errors}");
}

#[test]
fn something_missing_points_at_the_header_it_is_missing_under() {
    assert_eq!(
        after("name = \"web2\"\n", ""),
        "lbctl.toml:53:1: service.web.backend[1].name: missing; expected a name such as \"web1\"\n \
         53 | [[service.web.backend]]\n    | ^^^^^^^^^^^^^^^^^^^^^^^"
    );
}

#[test]
fn tabs_and_wide_characters_before_the_place_do_not_shift_the_marker() {
    let text = format!("{LEAST}[vip.A]\n\taddress = [ \"10.0.0.1\", \"é\", 'ü']\n");
    let errors = errors(&text);
    assert_eq!(errors.as_slice()[1].column, 31);
    let shown = format!("{:#}", errors.as_slice()[0]);
    assert!(shown.ends_with("\n   | \t                        ^^^"), "{shown}");
}

#[test]
fn windows_line_ends_are_not_part_of_the_line_shown() {
    let text = "[node]\r\nname = \"lb 1\"\r\ninterfaces = \"eth0\"\r\n";
    assert!(shown(text).ends_with(" 2 | name = \"lb 1\"\n   |        ^^^^^^"));
}

#[test]
fn a_name_with_a_dot_is_quoted_in_the_path() {
    let text = format!("{LEAST}[vip.\"a.b\"]\naddress = \"x\"\n");
    assert_eq!(errors(&text).as_slice()[0].path, "vip.\"a.b\".address");
}

#[test]
fn an_error_can_be_sent_as_json() {
    let errors = errors("");
    let json = serde_json::to_string(errors.as_slice()).unwrap();
    let back: Vec<crate::config::ConfigError> = serde_json::from_str(&json).unwrap();
    assert_eq!(back, errors.as_slice());
}

#[test]
fn words_do_not_tell_a_password_of_the_wrong_type() {
    let text = |value: &str| {
        format!(
            "{LEAST}[service.db]\nmode = \"mysql\"\n[service.db.mysql.monitor]\nuser = \"m\"\npassword = {value}\n"
        )
    };
    for value in ["4711", "[\"4711\"]", "{ a = \"4711\" }", "\"\"\"4711\nx\"\"\" x", "\"4711"] {
        let errors = errors(&text(value));
        assert!(!errors.to_string().contains("4711"), "{errors}");
    }
    assert!(shown(&text("4711")).contains("password = 4711"), "who may read the file sees its line");
}
