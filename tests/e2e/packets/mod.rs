//! The conformance table of the compiled XDP program.
//!
//! Each case says in a sentence why a packet must end as it does, and gives the packet, the XDP action, the
//! one outcome that is counted, and the exact bytes afterwards. Cases run in the kernel (BPF_PROG_TEST_RUN)
//! in namespaces of their own, against emptied tables, with the built-in object and, where
//! `LBCTL_FRESH_OBJECT_DIR` names a folder, with the `lb-xdp.o` there if it is another one. They need root.
//!
//! Owns the table. Never attaches the program to an interface and never sends a packet.

mod attachment;
mod builder;
mod case;
mod cases_closing;
mod cases_cookies;
mod cases_datagrams;
mod cases_established;
mod cases_firewall;
mod cases_frames;
mod cases_handshake;
mod cases_headers;
mod cases_host;
mod cases_icmp;
mod cases_limits;
mod cases_modes;
mod cases_reset;
mod cases_routing;
mod cases_schedulers;
mod cases_steering;
mod cases_timestamps;
mod dropped;
mod environment;
mod eviction;
mod lease;
mod lifecycle;
mod pressure;
mod runner;
mod scale;
mod scene;
mod shares;
mod spliced;
mod sync;

use case::{Act, Case};
use lb_ebpf::outcome::{Occurrence, Outcome};
use std::collections::BTreeSet;

/// The least number of cases that the table may have.
const CASES_MIN: usize = 80;

fn all_cases() -> Vec<Case> {
    let groups = [
        cases_frames::cases,
        cases_headers::cases,
        cases_handshake::cases,
        cases_established::cases,
        cases_closing::cases,
        cases_reset::cases,
        cases_steering::cases,
        cases_schedulers::cases,
        cases_firewall::cases,
        cases_modes::cases,
        cases_host::cases,
        cases_datagrams::cases,
        cases_limits::cases,
        cases_cookies::cases,
        cases_timestamps::cases,
        cases_icmp::cases,
        cases_routing::cases,
    ];
    groups.iter().flat_map(|cases| cases()).collect()
}

#[test]
fn the_table_has_enough_cases_and_each_its_own_sentence() {
    let cases = all_cases();
    assert!(cases.len() >= CASES_MIN, "{} cases", cases.len());
    let names: BTreeSet<_> = cases.iter().map(|case| case.name.as_str()).collect();
    assert_eq!(names.len(), cases.len(), "two cases have one name");
    for name in names {
        assert!(name.split(' ').count() > 5, "this is no sentence: {name}");
    }
}

#[test]
fn every_outcome_and_occurrence_that_packets_can_cause_has_a_case() {
    let cases = all_cases();
    let exchanges: Vec<_> = cases
        .iter()
        .flat_map(|case| &case.acts)
        .filter_map(|act| if let Act::Send(exchange) = act { Some(exchange) } else { None })
        .collect();
    for outcome in Outcome::ALL {
        // A table that evicts does not refuse, and the maps are there: these two are for the day they are not. What takes a
        // flood, the end of a lease, or another node, has tests of its own, in `pressure`, `lease` and `sync`.
        let out_of_reach = matches!(
            outcome,
            Outcome::TableRefused
                | Outcome::Internal
                | Outcome::Unrecorded
                | Outcome::LeaseOver
                | Outcome::InGrace
                | Outcome::Unheard
        );
        let has_case = exchanges.iter().any(|exchange| exchange.outcome == *outcome);
        assert!(has_case != out_of_reach, "{} (in the table: {has_case})", outcome.name());
    }
    for occurrence in Occurrence::ALL {
        // What takes a flood, or another node, to happen has a test of its own, in `eviction` and `sync`.
        let out_of_reach = matches!(occurrence, Occurrence::PortLost | Occurrence::SyncMissed);
        let mut all = exchanges.iter().flat_map(|exchange| &exchange.occurrences);
        let has_case = all.any(|(other, _)| other == occurrence);
        assert!(has_case != out_of_reach, "{} (in the table: {has_case})", occurrence.name());
    }
}

#[test]
fn frames_that_are_not_ours_reach_the_host_untouched() {
    shares::run(cases_frames::cases());
}

#[test]
fn wrong_and_unwanted_headers_are_dropped_by_their_reason() {
    shares::run(cases_headers::cases());
}

#[test]
fn handshakes_make_flows_and_only_proof_establishes_them() {
    shares::run(cases_handshake::cases());
}

#[test]
fn established_flows_keep_every_byte_that_is_not_ours() {
    shares::run(cases_established::cases());
}

#[test]
fn flows_end_and_their_tuples_are_used_again() {
    shares::run(cases_closing::cases());
}

#[test]
fn backends_see_their_clients_and_answer_by_way_of_the_node_or_directly() {
    shares::run(cases_modes::cases());
}

#[test]
fn this_host_gets_what_its_agent_serves_and_may_be_spared_the_rest() {
    shares::run(cases_host::cases());
}

#[test]
fn datagrams_are_steered_in_all_modes() {
    shares::run(cases_datagrams::cases());
}

#[test]
fn limits_of_backends_and_services_hold() {
    shares::run(cases_limits::cases());
}

#[test]
fn floods_are_answered_with_cookies_and_cookies_become_flows() {
    shares::run(cases_cookies::cases());
}

#[test]
fn segments_of_no_flow_are_answered_with_reset() {
    shares::run(cases_reset::cases());
}

#[test]
fn new_flows_are_steered_exactly_in_turn() {
    shares::run(cases_steering::cases());
}

#[test]
fn schedulers_pick_by_load_or_hash_and_active_flows_are_exact() {
    shares::run(cases_schedulers::cases());
}

#[test]
fn the_firewall_decides_by_the_first_rule_that_matches() {
    shares::run(cases_firewall::cases());
}

#[test]
fn client_timestamps_are_shifted_to_one_clock_and_their_echo_back() {
    shares::run(cases_timestamps::cases());
}

#[test]
fn icmp_errors_reach_the_side_that_must_know() {
    shares::run(cases_icmp::cases());
}

#[test]
fn packets_leave_by_the_next_hop_the_kernel_knows() {
    shares::run(cases_routing::cases());
}
