//! Services of databases.

use crate::config::Config;

/// A service with these lines in its table, and in those of users.
fn text(lines: &str, users: &str) -> String {
    format!(
        "[node]\nname = \"lb1\"\ninterfaces = [\"eth0\"]\n[vip.A]\naddress = \"10.80.0.100\"\n\
         [service.db]\nvips = \"A\"\nport = 3306\nmode = \"mysql\"\n[service.db.mysql]\n{lines}\n\
         [service.db.mysql.monitor]\nuser = \"lbctl\"\npassword = \"m-secret\"\n{users}\n\
         [[service.db.backend]]\nname = \"db1\"\naddress = \"10.80.0.31:3306\"\n"
    )
}

const USER: &str = "[[service.db.mysql.user]]\nname = \"app\"\npassword = \"u-secret\"";

fn refusal(text: &str) -> (String, String) {
    let errors = Config::parse(text, "lbctl.toml").expect_err("it is refused");
    let [error] = errors.as_slice() else { panic!("{errors}") };
    (error.path.clone(), error.message())
}

#[test]
fn users_are_listed_or_the_backends_know_them() {
    assert!(Config::parse(&text("", USER), "").is_ok());
    assert!(Config::parse(&text("auth = \"passthrough\"", ""), "").is_ok());
    assert!(Config::parse(&text("auth = \"passthrough\"", USER), "").is_ok());
    let (path, message) = refusal(&text("", ""));
    assert_eq!(path, "service.db.mysql.user");
    assert!(message.contains("at least one table [[service.NAME.mysql.user]]"), "{message}");
    let (path, message) = refusal(&text("auth = \"passthru\"", USER));
    assert_eq!(path, "service.db.mysql.auth");
    assert_eq!(message, "\"passthru\" is no way to log in; expected \"configured\" or \"passthrough\"");
}

#[test]
fn a_statement_is_slow_after_a_millisecond_to_a_day() {
    let config = Config::parse(&text("slow_log = \"250ms\"", USER), "").expect("a configuration");
    let slow_log = config.services.values().find_map(|service| service.mysql.as_ref()?.slow_log);
    assert_eq!(slow_log, Some(std::time::Duration::from_millis(250)));
    for wrong in ["0ms", "2d", "soon"] {
        let (path, message) = refusal(&text(&format!("slow_log = \"{wrong}\""), USER));
        assert_eq!(path, "service.db.mysql.slow_log", "{message}");
    }
}

#[test]
fn sessions_lend_their_connections_after_a_second_to_a_day_or_never() {
    let terms = |first: &str| {
        let config = Config::parse(&text(first, USER), "").expect("a configuration");
        config.services.values().find_map(|service| service.mysql.clone()).expect("it is of MySQL")
    };
    assert_eq!(terms("").multiplex_after, None);
    let after = terms("multiplex_after = \"90s\"");
    assert_eq!(after.multiplex_after, Some(std::time::Duration::from_secs(90)));
    assert!(after.to_string().contains("multiplex_after 1m 30s"), "{after}");
    let (path, _) = refusal(&text("multiplex_after = \"10ms\"", USER));
    assert_eq!(path, "service.db.mysql.multiplex_after");
}

#[test]
fn passwords_are_shown_to_nobody() {
    let config = Config::parse(&text("", USER), "").expect("a configuration");
    let shown = format!("{config:?}");
    let words: Vec<String> = config
        .services
        .values()
        .filter_map(|service| service.mysql.as_ref())
        .map(ToString::to_string)
        .collect();
    assert!(!shown.contains("secret") && !words.concat().contains("secret"), "{words:?}");
}
