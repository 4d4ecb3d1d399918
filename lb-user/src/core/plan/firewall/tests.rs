use super::*;
use proptest::prelude::*;
use std::net::IpAddr;

fn rule(name: &str, action: RuleAction, target: RuleTarget, prefixes: &[&str]) -> ReadyRule {
    let prefixes: BTreeSet<IpNet> = prefixes.iter().map(|text| text.parse().expect("a prefix")).collect();
    let sources = Sources::Prefixes(prefixes.iter().copied().collect());
    let name = RuleName::new(name).expect("a name");
    ReadyRule { rule: FirewallRule { name, action, sources, target }, prefixes }
}

fn service(name: &str) -> RuleTarget {
    RuleTarget::Service(ServiceName::new(name).expect("a name"))
}

fn ruleset(rules: Vec<ReadyRule>) -> Ruleset {
    Ruleset { rules, ..Ruleset::default() }
}

fn compiled(ruleset: &Ruleset) -> Compiled {
    compile(ruleset, &rule_ids(ruleset, &BTreeMap::new(), 0).expect("ids"), 1 << 20).expect("compiles")
}

/// What the program would find: by the longest prefix, then by the destination.
fn looked_up(compiled: &Compiled, source: IpAddr, target: &RuleTarget) -> Judgement {
    let longest = compiled.prefixes.iter().filter(|(prefix, _)| prefix.contains(&source));
    let Some((_, place)) = longest.max_by_key(|(prefix, _)| prefix.prefix_len()) else {
        return Judgement::None;
    };
    let decisions = &compiled.decisions[*place];
    let family = Family::of(source);
    let exception = match target {
        RuleTarget::Service(name) => Some(Exception::Service(name_hash(name, None, family))),
        RuleTarget::HostPort(port) => Some(Exception::HostPort(*port)),
        _ => None,
    };
    let found = decisions.exceptions.iter().find(|(other, _)| Some(*other) == exception);
    let fallback = if target.is_host() { decisions.host } else { decisions.services };
    found.map_or(fallback, |(_, decision)| *decision).judgement()
}

/// What the rules mean: the first that matches.
fn meant(ruleset: &Ruleset, source: IpAddr, target: &RuleTarget) -> Judgement {
    let all = if target.is_host() { RuleTarget::Host } else { RuleTarget::Services };
    let matches = |ready: &ReadyRule| {
        (ready.rule.target == *target || ready.rule.target == all)
            && ready.prefixes.iter().any(|prefix| prefix.contains(&source))
    };
    let found = ruleset.rules.iter().position(matches).map(|index| (index as u32, &ruleset.rules[index]));
    found.map_or(Judgement::None, |(id, ready)| match ready.rule.action {
        RuleAction::Allow => Judgement::Allow(id),
        RuleAction::Deny => Judgement::Deny(id),
        RuleAction::Limit(_) => Judgement::Limit(id),
    })
}

const LIMITS: Limits =
    Limits { new_flows_per_second: Some(50), burst: 10, active_flows: None, per_ipv4: 32, per_ipv6: 64 };

fn any_prefix() -> impl Strategy<Value = IpNet> {
    // A small world, so that prefixes lie within each other.
    let v4 = (0u8..4, 0u8..4, 0usize..5).prop_map(|(a, b, length)| {
        let length = [0, 8, 23, 24, 32][length];
        IpNet::new(IpAddr::from([10, 0, a, b]), length).expect("a prefix").trunc()
    });
    let v6 = (0u16..4, 0usize..3).prop_map(|(a, length)| {
        let address = IpAddr::from([0x2001, 0xdb8, a, 0, 0, 0, 0, 1]);
        IpNet::new(address, [32, 48, 128][length]).expect("a prefix").trunc()
    });
    prop_oneof![3 => v4, 1 => v6]
}

fn any_target() -> impl Strategy<Value = RuleTarget> {
    prop_oneof![
        Just(RuleTarget::Services),
        Just(service("web")),
        Just(service("db")),
        Just(RuleTarget::Host),
        Just(RuleTarget::HostPort(22)),
    ]
}

fn any_ruleset() -> impl Strategy<Value = Ruleset> {
    let action =
        prop_oneof![Just(RuleAction::Allow), Just(RuleAction::Deny), Just(RuleAction::Limit(LIMITS))];
    let prefixes = proptest::collection::btree_set(any_prefix(), 1..6);
    let rules = proptest::collection::vec((action, any_target(), prefixes), 0..8);
    rules.prop_map(|rules| {
        let rules = rules.into_iter().enumerate().map(|(index, (action, target, prefixes))| {
            let mut rule = rule(&format!("r{index}"), action, target, &[]);
            rule.prefixes = prefixes;
            rule
        });
        ruleset(rules.collect())
    })
}

fn any_source() -> impl Strategy<Value = IpAddr> {
    let v4 = (0u8..5, 0u8..5).prop_map(|(a, b)| IpAddr::from([10, 0, a, b]));
    let v6 = (0u16..5, 0u16..3).prop_map(|(a, b)| IpAddr::from([0x2001, 0xdb8, a, 0, 0, 0, 0, b]));
    prop_oneof![3 => v4, 1 => v6]
}

/// Whether established connections stay under a judgement.
fn stays(judgement: Judgement) -> bool {
    !matches!(judgement, Judgement::Deny(_))
}

proptest! {
    #[test]
    fn the_program_finds_what_the_first_matching_rule_says(
        ruleset in any_ruleset(), source in any_source(), target in any_target()
    ) {
        let found = looked_up(&compiled(&ruleset), source, &target);
        prop_assert_eq!(found, meant(&ruleset, source, &target));
    }

    #[test]
    fn only_a_change_that_tightens_can_deny_what_was_allowed(
        old in any_ruleset(), new in any_ruleset(), keep in 0usize..8, source in any_source(), target in any_target()
    ) {
        // Half of the new rules are the old ones, so that there is something to leave as it is.
        let mut new = new;
        for (index, rule) in old.rules.iter().enumerate().take(keep) {
            if let Some(place) = new.rules.get_mut(index) {
                *place = rule.clone();
            }
        }
        if !tightens(&old, &new) && stays(meant(&old, source, &target)) {
            prop_assert!(stays(meant(&new, source, &target)));
        }
    }
}

#[test]
fn a_prefix_that_decides_nothing_new_is_left_out() {
    let one =
        rule("one", RuleAction::Deny, RuleTarget::Services, &["10.0.0.0/8", "10.1.0.0/16", "10.1.2.3/32"]);
    assert_eq!(compiled(&ruleset(vec![one])).prefixes.len(), 1);
}

#[test]
fn a_hundred_thousand_prefixes_of_two_rules_need_three_classes() {
    let prefixes =
        (0u32..100_000).map(|number| IpNet::from(IpAddr::from((0x0b00_0000 + number * 2).to_be_bytes())));
    let mut deny = rule("deny", RuleAction::Deny, RuleTarget::Services, &[]);
    deny.prefixes = prefixes.collect();
    let office = rule("office", RuleAction::Allow, service("web"), &["11.0.0.0/16"]);
    let compiled = compiled(&ruleset(vec![office, deny]));
    assert_eq!((compiled.prefixes.len(), compiled.decisions.len()), (100_001, 3));
}

#[test]
fn rates_become_times_and_bursts_their_multiples() {
    let limit = rule("limit", RuleAction::Limit(LIMITS), RuleTarget::Services, &["0.0.0.0/0"]);
    let compiled = compiled(&ruleset(vec![limit]));
    let entry = compiled.rules[&0];
    assert_eq!(entry.interval_ns, 20_000_000);
    assert_eq!(entry.burst_ns, 9 * 20_000_000);
    assert_eq!((entry.active_flows, entry.ipv4_bits, entry.ipv6_bits), (0, 32, 64));
}

#[test]
fn a_known_rule_keeps_its_id_and_a_new_one_gets_a_free_one() {
    let any = |name| rule(name, RuleAction::Allow, RuleTarget::Host, &["10.0.0.0/8"]);
    let set = ruleset(vec![any("b"), any("a")]);
    let known = BTreeMap::from([(0, 77), (5, rule_hash(&any("a").rule))]);
    let ids = |next| rule_ids(&set, &known, next).expect("ids").values().copied().collect::<Vec<_>>();
    assert_eq!(ids(0), [5, 1]);
    assert_eq!(ids(5), [5, 6], "those that were used last rest");
    assert_eq!(ids(MAX_RULE_IDS), [5, 1]);
}

#[test]
fn letting_more_in_costs_established_flows_nothing() {
    let deny = rule("deny", RuleAction::Deny, RuleTarget::Services, &["10.0.0.0/8", "11.0.0.0/8"]);
    let less = rule("deny", RuleAction::Deny, RuleTarget::Services, &["10.0.0.0/8"]);
    let allow = rule("allow", RuleAction::Allow, service("web"), &["10.1.0.0/16"]);
    let set = |rules: &[&ReadyRule]| ruleset(rules.iter().map(|rule| (*rule).clone()).collect());
    assert!(!tightens(&set(&[&deny]), &set(&[&allow, &deny])));
    assert!(!tightens(&set(&[&deny]), &set(&[&less])));
    assert!(!tightens(&set(&[&allow, &deny]), &set(&[&allow])));
    assert!(tightens(&set(&[&allow, &deny]), &set(&[&deny])));
    assert!(tightens(&set(&[&less]), &set(&[&deny])));
    assert!(tightens(&set(&[]), &set(&[&deny])));
    assert!(tightens(&set(&[&allow, &deny]), &set(&[&deny, &allow])));
    let denying = Ruleset { denying_services: [ServiceName::new("web").expect("a name")].into(), ..set(&[]) };
    assert!(tightens(&set(&[]), &denying) && !tightens(&denying, &set(&[])));
}

#[test]
fn all_rules_may_be_replaced_at_once_and_no_more_than_there_may_be() {
    let many = |count: u32, name: &str| {
        let rule =
            |number| rule(&format!("{name}{number}"), RuleAction::Deny, RuleTarget::Host, &["10.0.0.0/8"]);
        ruleset((0..count).map(rule).collect())
    };
    let old = many(MAX_RULES, "old");
    let known = rule_ids(&old, &BTreeMap::new(), 0).expect("ids");
    let hashes = old.rules.iter().map(|ready| (known[&ready.rule.name], rule_hash(&ready.rule))).collect();
    let ids = rule_ids(&many(MAX_RULES, "new"), &hashes, MAX_RULES).expect("ids");
    assert!(ids.values().all(|id| *id >= MAX_RULES), "none is used twice");
    assert!(rule_ids(&many(MAX_RULES + 1, "new"), &BTreeMap::new(), 0).is_err());
}

#[test]
fn a_rule_with_other_limits_is_another_rule_and_one_with_other_sources_is_not() {
    let limited = |limits| rule("r", RuleAction::Limit(limits), RuleTarget::Services, &["10.0.0.0/8"]).rule;
    let more = Limits { burst: 20, ..LIMITS };
    assert_ne!(rule_hash(&limited(LIMITS)), rule_hash(&limited(more)));
    let elsewhere = rule("r", RuleAction::Limit(LIMITS), RuleTarget::Host, &["11.0.0.0/8"]).rule;
    assert_eq!(rule_hash(&limited(LIMITS)), rule_hash(&elsewhere));
}
