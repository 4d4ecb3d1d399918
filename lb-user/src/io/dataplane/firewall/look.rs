//! What the firewall's maps say, looked up as the program does.

use super::{ADDRESSES_V4, ADDRESSES_V6, PREFIXES_V4, PREFIXES_V6, Trie};
use crate::io::dataplane::maps::{PerCpu, Plain, failed, read_view};
use crate::io::dataplane::{Dataplane, DataplaneError};
use crate::model::RuleName;
use aya::maps::lpm_trie::Key;
use aya::maps::{HashMap, MapData};
use lb_ebpf::abi::{Decision, DecisionKey, Judgement, RuleHits, SourceClass, Target};
use std::collections::BTreeMap;
use std::net::IpAddr;

impl Dataplane {
    /// What a rule did so far, over all CPUs; nothing for a rule that is not in force.
    pub fn rule_hits(&self, rule: &RuleName) -> Result<RuleHits, DataplaneError> {
        let Some(id) = self.firewall.ids.get(rule) else { return Ok(RuleHits::default()) };
        let map: PerCpu<'_, Plain<RuleHits>> = read_view(&self.ebpf, "RULE_HITS")?;
        let values = map.get(id, 0).map_err(failed("RULE_HITS"))?;
        Ok(values.iter().fold(RuleHits::default(), |sum, Plain(cpu)| RuleHits {
            allowed: sum.allowed + cpu.allowed,
            denied: sum.denied + cpu.denied,
            over_rate: sum.over_rate + cpu.over_rate,
            over_active: sum.over_active + cpu.over_active,
        }))
    }

    /// The name of the rule with this id.
    pub fn rule_name(&self, id: u32) -> Option<&RuleName> {
        self.firewall.ids.iter().find(|(_, other)| **other == id).map(|(name, _)| name)
    }

    /// The names of all rules, by their ids.
    pub fn rule_names(&self) -> BTreeMap<u32, RuleName> {
        self.firewall.ids.iter().map(|(name, id)| (*id, name.clone())).collect()
    }

    /// How many prefixes are in force.
    pub fn prefixes(&self) -> u64 {
        self.firewall.contents[self.firewall.active()].len() as u64
    }

    /// What the tables in force say about a source and a target, looked up as the program does; and which rule says so.
    pub fn judgement(
        &self,
        source: IpAddr,
        target: Target,
    ) -> Result<(Judgement, Option<&RuleName>), DataplaneError> {
        let active = self.firewall.active();
        let class = match source {
            IpAddr::V4(address) => {
                self.class_of(PREFIXES_V4[active], ADDRESSES_V4[active], address.octets())?
            }
            IpAddr::V6(address) => {
                self.class_of(PREFIXES_V6[active], ADDRESSES_V6[active], address.octets())?
            }
        };
        let Some(class) = class else { return Ok((Judgement::None, None)) };
        let fallback = if target.is_host() { class.host } else { class.services };
        let decisions: HashMap<&MapData, Plain<DecisionKey>, Plain<Decision>> =
            read_view(&self.ebpf, "DECISIONS")?;
        let key = DecisionKey::new(class.class, target);
        let exception = found(decisions.get(&Plain(key), 0)).map_err(failed("DECISIONS"))?;
        let judgement = exception.map_or(fallback, |Plain(decision)| decision).judgement();
        let rule = match judgement {
            Judgement::None => None,
            Judgement::Allow(id) | Judgement::Deny(id) | Judgement::Limit(id) => self.rule_name(id),
        };
        Ok((judgement, rule))
    }
}

impl Dataplane {
    /// Looks an address up as the program does.
    fn class_of<A: aya::Pod>(
        &self,
        prefixes: &'static str,
        addresses: &'static str,
        address: A,
    ) -> Result<Option<SourceClass>, DataplaneError> {
        let single: HashMap<&MapData, A, Plain<SourceClass>> = read_view(&self.ebpf, addresses)?;
        if let Some(Plain(class)) = found(single.get(&address, 0)).map_err(failed(addresses))? {
            return Ok(Some(class));
        }
        let trie: Trie<'_, A> = read_view(&self.ebpf, prefixes)?;
        let key = Key::new(8 * std::mem::size_of::<A>() as u32, address);
        Ok(found(trie.get(&key, 0)).map_err(failed(prefixes))?.map(|Plain(class)| class))
    }
}

fn found<T>(result: Result<T, aya::maps::MapError>) -> Result<Option<T>, aya::maps::MapError> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(aya::maps::MapError::KeyNotFound) => Ok(None),
        Err(error) => Err(error),
    }
}
