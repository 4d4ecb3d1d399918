//! The firewall: source prefixes, what is decided about them, rules and their accounts.
//!
//! The agent compiles its ordered rules (`lb-user/src/core/firewall`): every source prefix that a rule names gets a
//! class, the set of rules that match its addresses. What a class decides for every service, and for the host, is
//! beside the prefix; what it decides for one service or port has an entry of its own. So a packet costs one
//! look-up by its source, and one more where a rule names a destination.

use super::Address;
use bytemuck::{Pod, Zeroable};

/// Rules a node can have.
pub const MAX_RULES: u32 = 1024;
/// Range of rule ids: old and new rules are there at one time.
pub const MAX_RULE_IDS: u32 = 2 * MAX_RULES;
/// Source prefixes of one family that rules can name.
pub const MAX_PREFIXES: u32 = 1 << 20;
/// Decisions about one destination, of both generations.
pub const MAX_DECISIONS: u32 = 1 << 18;
/// Sources that limits are kept for; the least recently seen give way.
pub const MAX_LIMITED_SOURCES: u32 = 1 << 16;

/// What the program must know of the firewall before it asks any table.
#[repr(C, align(8))]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Pod, Zeroable)]
pub struct Policy {
    /// Grows when flows that were allowed may be denied now.
    pub generation: u32,
    /// Which of the two sets of prefix tables is in force: 0 or 1.
    pub table: u8,
    /// 1: there are rules about the services.
    pub judges_services: u8,
    /// 1: connections to the host itself are judged too.
    pub judges_host: u8,
    /// 1: a connection to the host that no rule allows is denied.
    pub host_denies: u8,
}

/// What is done with a packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Judgement {
    /// No rule matches.
    None,
    /// The rule with this id allows it.
    Allow(u32),
    /// The rule with this id denies it.
    Deny(u32),
    /// The rule with this id allows it within limits.
    Limit(u32),
}

/// A [`Judgement`] in a word; 0 is none.
#[repr(transparent)]
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Pod, Zeroable)]
pub struct Decision(u32);

impl Decision {
    /// For a map.
    pub const fn new(judgement: Judgement) -> Self {
        Self(match judgement {
            Judgement::None => 0,
            Judgement::Allow(rule) => rule << 2 | 1,
            Judgement::Deny(rule) => rule << 2 | 2,
            Judgement::Limit(rule) => rule << 2 | 3,
        })
    }

    /// From a map.
    #[inline(always)]
    pub const fn judgement(self) -> Judgement {
        let rule = self.0 >> 2;
        match self.0 & 3 {
            0 => Judgement::None,
            1 => Judgement::Allow(rule),
            2 => Judgement::Deny(rule),
            _ => Judgement::Limit(rule),
        }
    }
}

/// What is decided about a source prefix.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Pod, Zeroable)]
pub struct SourceClass {
    /// Number of the class where it decides more about some destinations; 0 where it does not.
    pub class: u32,
    /// What holds for every service and VIP.
    pub services: Decision,
    /// What holds for every port of the host.
    pub host: Decision,
}

/// What a packet is for. Not an enum: the verifier refuses copies of what a variant leaves unwritten.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Target {
    kind: u32,
    value: u64,
}

impl Target {
    const KIND_SERVICE: u32 = 1;
    const KIND_HOST_PORT: u32 = 2;

    /// A VIP, but no service.
    pub const VIP: Self = Self { kind: 3, value: 0 };
    /// The host, nobody can say which port.
    pub const HOST: Self = Self { kind: 4, value: 0 };

    /// The service with this name hash.
    #[inline(always)]
    pub const fn service(name_hash: u64) -> Self {
        Self { kind: Self::KIND_SERVICE, value: name_hash }
    }

    /// A TCP port of the host.
    #[inline(always)]
    pub const fn host_port(port: u16) -> Self {
        Self { kind: Self::KIND_HOST_PORT, value: port as u64 }
    }

    /// Whether it is the host, and not a VIP or a service.
    #[inline(always)]
    pub const fn is_host(self) -> bool {
        self.kind == Self::KIND_HOST_PORT || self.kind == Self::HOST.kind
    }

    /// The name hash, if it is a service.
    pub const fn as_service(self) -> Option<u64> {
        if self.kind == Self::KIND_SERVICE { Some(self.value) } else { None }
    }

    /// The port, if it is one of the host.
    pub const fn as_host_port(self) -> Option<u16> {
        if self.kind == Self::KIND_HOST_PORT { Some(self.value as u16) } else { None }
    }
}

/// A class and one destination it decides about.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Pod, Zeroable)]
pub struct DecisionKey {
    /// The class.
    pub class: u32,
    kind: u32,
    value: u64,
}

impl DecisionKey {
    /// The key of a class' decision about a destination.
    #[inline(always)]
    pub const fn new(class: u32, target: Target) -> Self {
        Self { class, kind: target.kind, value: target.value }
    }

    /// The destination.
    pub const fn target(&self) -> Target {
        Target { kind: self.kind, value: self.value }
    }
}

/// A rule's identity and its limits.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Pod, Zeroable)]
pub struct Rule {
    /// Hash of its name; 0 marks a free id.
    pub name_hash: u64,
    /// Time between two new connections of one source at the steady rate, in ns; 0 is no limit.
    pub interval_ns: u64,
    /// How far ahead of the steady rate a source may be, in ns.
    pub burst_ns: u64,
    /// Connections a source may have open; 0 is no limit.
    pub active_flows: u32,
    /// How many leading bits of an IPv4 address make a source.
    pub ipv4_bits: u8,
    /// The same for IPv6.
    pub ipv6_bits: u8,
    zero: [u8; 2],
}

impl Rule {
    /// A rule without limits.
    pub const fn new(name_hash: u64) -> Self {
        Self {
            name_hash,
            interval_ns: 0,
            burst_ns: 0,
            active_flows: 0,
            ipv4_bits: 32,
            ipv6_bits: 128,
            zero: [0; 2],
        }
    }
}

/// One source as a rule's limits see it: an address without the bits that do not count.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Pod, Zeroable)]
pub struct LimitedSource {
    /// Its network.
    pub network: Address,
    /// Id of the rule.
    pub rule: u32,
}

impl LimitedSource {
    /// The source that an address is part of.
    #[inline(always)]
    pub fn of(address: &Address, rule_id: u32, rule: &Rule) -> Self {
        // IPv4 addresses stand behind 96 other bits.
        let bits = if address.is_mapped_v4() { 96 + rule.ipv4_bits as u32 } else { rule.ipv6_bits as u32 };
        let mut words = *address.words();
        let mut index = 0;
        while index < 4 {
            let first = index as u32 * 32;
            let kept = if bits <= first {
                0
            } else if bits >= first + 32 {
                u32::MAX
            } else {
                u32::MAX << (32 - (bits - first))
            };
            words[index] &= kept.to_be();
            index += 1;
        }
        Self { network: bytemuck::cast(words), rule: rule_id }
    }
}

/// What is known of a limited source.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Pod, Zeroable)]
pub struct SourceAccount {
    /// When the next connection is due at the steady rate, by the monotonic coarse clock in ns.
    pub next_ns: u64,
    /// Its established connections that are not closed.
    pub active_flows: u64,
}

/// What one CPU counted for one rule.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Pod, Zeroable)]
pub struct RuleHits {
    /// Connections it allowed.
    pub allowed: u64,
    /// Packets it denied.
    pub denied: u64,
    /// Packets that were over its rate.
    pub over_rate: u64,
    /// Packets that were over its number of open connections.
    pub over_active: u64,
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::net::IpAddr;

    fn source(address: &str, rule: &Rule) -> IpAddr {
        let ip: IpAddr = address.parse().expect("an address");
        LimitedSource::of(&ip.into(), 1, rule).network.into()
    }

    #[test]
    fn decisions_survive_the_way_through_the_map_form() {
        for judgement in
            [Judgement::None, Judgement::Allow(0), Judgement::Deny(MAX_RULE_IDS - 1), Judgement::Limit(7)]
        {
            assert_eq!(Decision::new(judgement).judgement(), judgement);
        }
    }

    fn ip(address: &str) -> IpAddr {
        address.parse().expect("an address")
    }

    #[test]
    fn addresses_of_one_network_are_one_source() {
        let rule = Rule { ipv4_bits: 24, ipv6_bits: 56, ..Rule::new(1) };
        assert_eq!(source("198.51.100.7", &rule), ip("198.51.100.0"));
        assert_eq!(source("2001:db8:0:ffab::7", &rule), ip("2001:db8:0:ff00::"));
        let exact = Rule::new(1);
        assert_eq!(source("198.51.100.7", &exact), ip("198.51.100.7"));
        assert_eq!(source("2001:db8::7", &exact), ip("2001:db8::7"));
        let all = Rule { ipv4_bits: 0, ipv6_bits: 0, ..exact };
        assert_eq!(source("198.51.100.7", &all), ip("0.0.0.0"), "families stay apart");
        assert_eq!(source("2001:db8::7", &all), ip("::"));
    }

    #[test]
    fn layouts_are_the_ones_of_this_abi_version() {
        assert_eq!(core::mem::size_of::<Policy>(), 8);
        assert_eq!(core::mem::size_of::<SourceClass>(), 12);
        assert_eq!(core::mem::size_of::<DecisionKey>(), 16);
        assert_eq!(core::mem::size_of::<Rule>(), 32);
        assert_eq!(core::mem::size_of::<LimitedSource>(), 20);
        assert_eq!(core::mem::size_of::<RuleHits>(), 32);
    }
}
