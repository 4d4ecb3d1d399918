use super::*;

fn messages(path: &str, text: &str) -> Vec<String> {
    let mut found = Vec::new();
    check(&Source::new(path, text), &mut found);
    found.into_iter().map(|finding| format!("{}: {}", finding.line, finding.message)).collect()
}

#[track_caller]
fn breaks(path: &str, text: &str, words: &str) {
    let found = messages(path, text);
    assert!(found.len() == 1 && found[0].contains(words), "{found:?}");
}

#[track_caller]
fn is_fine(path: &str, text: &str) {
    assert_eq!(messages(path, text), [""; 0]);
}

#[test]
fn core_names_no_runtime_no_socket_and_no_clock() {
    breaks("lb-user/src/core/health.rs", "\nuse tokio::time::Instant;", "2: core does no I/O");
    breaks("lb-user/src/core/health.rs", "use std::net::{IpAddr, UdpSocket};", "`UdpSocket`");
    breaks("lb-user/src/core/health.rs", "let t = std::time::Instant::now();", "no clock");
    breaks("lb-user/src/core/health.rs", "let x = rand::random::<u8>();", "`rand`");
    is_fine(
        "lb-user/src/core/health.rs",
        "// tokio::x\nuse std::net::{IpAddr, SocketAddr};\nuse std::time::Instant;",
    );
    is_fine("lb-user/src/io/health.rs", "use tokio::time::Instant;");
}

#[test]
fn the_tests_of_core_may_take_a_first_instant_from_the_clock() {
    let text = "fn a() {}\n#[cfg(test)]\nmod tests {\n fn t() { let t = Instant::now(); }\n}\n";
    is_fine("lb-user/src/core/health.rs", text);
    is_fine("lb-user/src/core/health/tests.rs", "let t = Instant::now();");
}

#[test]
fn siblings_in_core_meet_only_in_plan() {
    breaks("lb-user/src/core/health.rs", "use crate::core::schedule::Table;", "meet only in core/plan");
    breaks("lb-user/src/core/health/mod.rs", "use super::schedule::Table;", "meet only in core/plan");
    breaks("lb-user/src/core/health/run.rs", "use super::super::schedule::Table;", "meet only in core/plan");
    is_fine("lb-user/src/core/health/run.rs", "use super::state::State; use crate::core::health::State;");
    is_fine("lb-user/src/core/plan.rs", "use super::schedule::Table; use crate::core::health::State;");
    is_fine("lb-user/src/core/health.rs", "#[cfg(test)]\nmod tests {\n use super::run::State;\n}");
}

#[test]
fn core_does_not_reach_outwards() {
    breaks("lb-user/src/core/plan.rs", "use crate::io::netlink;", "core never names `crate::io`");
    is_fine("lb-user/src/core/plan.rs", "use crate::model::Weight; use crate::config::Config;");
}

#[test]
fn io_modules_name_neither_each_other_nor_the_agent() {
    breaks("lb-user/src/io/health.rs", "use crate::io::netlink::Handle;", "never name each other");
    breaks("lb-user/src/io/health/http.rs", "use crate::{model, agent::Event};", "`crate::agent`");
    is_fine("lb-user/src/io/health/http.rs", "use super::tcp::connect; use crate::core::health::State;");
}

#[test]
fn cli_and_tui_see_only_api_and_model() {
    breaks("lb-user/src/cli/status.rs", "use crate::config::Config;", "cli sees only");
    breaks("lb-user/src/tui/mod.rs", "crate::agent::run();", "tui sees only");
    breaks("lb-user/src/tui/mod.rs", "use crate::cli::table;", "tui sees only");
    is_fine(
        "lb-user/src/cli/status.rs",
        "use crate::api::client::Client; use super::table; use crate::cli::x;",
    );
    is_fine("lb-user/src/main.rs", "use lb_user::config::Config; lb_user::agent::run();");
}

#[test]
fn only_the_dataplane_names_aya() {
    breaks("lb-user/src/agent/mod.rs", "use aya::Ebpf;", "only io/dataplane");
    is_fine("lb-user/src/io/dataplane/maps.rs", "use aya::Ebpf;");
    is_fine("lb-user/src/io/dataplane.rs", "use aya::Ebpf;");
}

#[test]
fn end_to_end_tests_use_api_and_model_only() {
    breaks("tests/e2e/drain.rs", "use lb_user::config::Config;", "end-to-end tests");
    breaks("tests/e2e/drain.rs", "use lb_user::io::dataplane::Dataplane;", "end-to-end tests");
    is_fine("tests/e2e/drain.rs", "use lb_user::api::client::Client; use lb_user::model::Weight;");
    is_fine("tests/e2e/packets/table.rs", "use lb_user::io::dataplane::Dataplane;");
}

#[test]
fn unsafe_stays_in_its_two_places_and_has_a_reason() {
    breaks("lb-user/src/agent/mod.rs", "// SAFETY: fine\nunsafe { x() }", "belongs into");
    breaks("lb-user/src/io/netlink.rs", "fn f() {\n    unsafe { x() }\n}", "2: say in a `// SAFETY:`");
    breaks("lb-ebpf/src/bpf/maps.rs", "// SAFETY: far\n\n\n\nunsafe impl Sync for X {}", "5: say in");
    is_fine("lb-ebpf/src/bpf/maps.rs", "// SAFETY: within bounds\n\n\nunsafe { x() }");
    is_fine("lb-ebpf/src/bpf/maps.rs", "/// # Safety\n/// x\npub unsafe fn x() {}");
    is_fine("lb-ebpf/src/main.rs", "#[unsafe(link_section = \"license\")]\nstatic L: u8 = 0; // unsafe");
}
