//! The firewall's maps: rules in, hits and judgements out.
//!
//! There are two tables of prefixes for each family. The one that is not in force is brought to the new state by its
//! difference, which is small for a small change however many prefixes there are, and then one word puts it in force:
//! no packet sees half of a change.

mod look;

use super::maps::{Plain, failed, read_view, view};
use super::{Dataplane, DataplaneError};
use crate::core::plan::firewall::{CompileError, Compiled, Decisions, Exception, Ruleset, compile, rule_ids};
use crate::model::{DefaultPolicy, RuleName};
use aya::Ebpf;
use aya::maps::lpm_trie::{Key, LpmTrie};
use aya::maps::{Array, HashMap, MapData, PerCpuArray, PerCpuValues};
use ipnet::IpNet;
use lb_ebpf::abi::{
    Decision, DecisionKey, LimitedSource, MAX_DECISIONS, MAX_RULE_IDS, Policy, Rule, RuleHits, SourceAccount,
    SourceClass,
};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

const PREFIXES_V4: [&str; 2] = ["PREFIXES_V4_0", "PREFIXES_V4_1"];
const PREFIXES_V6: [&str; 2] = ["PREFIXES_V6_0", "PREFIXES_V6_1"];
/// Single addresses are kept apart from shorter prefixes.
const ADDRESSES_V4: [&str; 2] = ["ADDRESSES_V4_0", "ADDRESSES_V4_1"];
const ADDRESSES_V6: [&str; 2] = ["ADDRESSES_V6_0", "ADDRESSES_V6_1"];

/// All maps of prefixes: of both families, single addresses too, each twice.
pub(super) const PREFIX_MAPS: [[&str; 2]; 4] = [PREFIXES_V4, PREFIXES_V6, ADDRESSES_V4, ADDRESSES_V6];

type TrieMut<'a, K> = LpmTrie<&'a mut MapData, K, Plain<SourceClass>>;
type Trie<'a, K> = LpmTrie<&'a MapData, K, Plain<SourceClass>>;
type Contents = BTreeMap<IpNet, SourceClass>;

/// What the firewall's maps hold.
pub(super) struct FirewallImage {
    policy: Policy,
    /// The two tables of prefixes.
    contents: [Contents; 2],
    /// Numbers of the classes that have entries of their own, with what they decide. A number keeps its meaning as long
    /// as a table in force has it.
    classes: BTreeMap<u32, Vec<(Exception, Decision)>>,
    next_class: u32,
    /// Name hashes by rule id.
    rules: BTreeMap<u32, u64>,
    ids: BTreeMap<RuleName, u32>,
    /// Where the search for a free rule id begins.
    next_rule: u32,
}

/// Why rules could not be put in force.
#[derive(Debug, thiserror::Error)]
pub enum FirewallError {
    /// They do not fit.
    #[error(transparent)]
    Compile(#[from] CompileError),
    /// The kernel.
    #[error(transparent)]
    Dataplane(#[from] DataplaneError),
}

impl FirewallImage {
    /// Prefixes in force, of the family that has more of them.
    pub(super) fn most_prefixes(&self) -> usize {
        let Some(contents) = self.contents.get(usize::from(self.policy.table != 0)) else { return 0 };
        let v4 = contents.keys().filter(|prefix| matches!(prefix, IpNet::V4(_))).count();
        v4.max(contents.len() - v4)
    }

    /// Rules in force.
    pub(super) fn rules(&self) -> usize {
        self.ids.len()
    }

    /// What an earlier agent left in the maps. Its classes keep their numbers until no table has them.
    pub(super) fn read(ebpf: &Ebpf) -> Result<Self, DataplaneError> {
        let policy: Array<&MapData, Plain<Policy>> = read_view(ebpf, "POLICY")?;
        let Plain(policy) = policy.get(&0, 0).map_err(failed("POLICY"))?;
        let mut rules = BTreeMap::new();
        let entries: Array<&MapData, Plain<Rule>> = read_view(ebpf, "RULES")?;
        for id in 0..MAX_RULE_IDS {
            let Plain(rule) = entries.get(&id, 0).map_err(failed("RULES"))?;
            if rule.name_hash != 0 {
                rules.insert(id, rule.name_hash);
            }
        }
        let mut classes: BTreeMap<u32, Vec<(Exception, Decision)>> = BTreeMap::new();
        let decisions: HashMap<&MapData, Plain<DecisionKey>, Plain<Decision>> = read_view(ebpf, "DECISIONS")?;
        for pair in decisions.iter() {
            let (Plain(key), Plain(decision)) = pair.map_err(failed("DECISIONS"))?;
            let Some(exception) = Exception::of(key.target()) else { continue };
            classes.entry(key.class).or_default().push((exception, decision));
        }
        classes.values_mut().for_each(|exceptions| exceptions.sort_by_key(|(exception, _)| *exception));
        let contents = [contents(ebpf, 0)?, contents(ebpf, 1)?];
        let next_class = classes.keys().next_back().map_or(1, |last| last + 1);
        let next_rule = rules.keys().next_back().map_or(0, |last| last + 1);
        Ok(Self { policy, contents, classes, next_class, rules, ids: BTreeMap::new(), next_rule })
    }

    fn idle(&self) -> usize {
        usize::from(self.policy.table == 0)
    }

    fn active(&self) -> usize {
        usize::from(self.policy.table != 0)
    }

    /// The number of a class that decides this, and whether it is new.
    fn class(&mut self, exceptions: &[(Exception, Decision)]) -> (u32, bool) {
        if exceptions.is_empty() {
            return (0, false);
        }
        if let Some((number, _)) = self.classes.iter().find(|(_, known)| known.as_slice() == exceptions) {
            return (*number, false);
        }
        let number = self.next_class;
        self.next_class = self.next_class.wrapping_add(1).max(1);
        self.classes.insert(number, exceptions.to_vec());
        (number, true)
    }
}

/// What one of the two sets of tables holds.
fn contents(ebpf: &Ebpf, table: usize) -> Result<Contents, DataplaneError> {
    let mut contents = Contents::new();
    read_family::<[u8; 4]>(ebpf, PREFIXES_V4[table], ADDRESSES_V4[table], &mut contents)?;
    read_family::<[u8; 16]>(ebpf, PREFIXES_V6[table], ADDRESSES_V6[table], &mut contents)?;
    Ok(contents)
}

fn read_family<A: aya::Pod + Into<IpAddr>>(
    ebpf: &Ebpf,
    prefixes: &'static str,
    addresses: &'static str,
    contents: &mut Contents,
) -> Result<(), DataplaneError> {
    let trie: Trie<'_, A> = read_view(ebpf, prefixes)?;
    for pair in trie.iter() {
        let (key, Plain(class)) = pair.map_err(failed(prefixes))?;
        if let Ok(prefix) = IpNet::new(key.data().into(), u8::try_from(key.prefix_len()).unwrap_or(u8::MAX)) {
            contents.insert(prefix, class);
        }
    }
    let single: HashMap<&MapData, A, Plain<SourceClass>> = read_view(ebpf, addresses)?;
    for pair in single.iter() {
        let (address, Plain(class)) = pair.map_err(failed(addresses))?;
        contents.insert(IpNet::from(address.into()), class);
    }
    Ok(())
}

/// One prefix of a family, and what a table is to say of it; `None` takes it out.
type Changed<A> = (u8, A, Option<SourceClass>);

/// Changes one of the two sets of tables.
fn write_table(
    ebpf: &mut Ebpf,
    table: usize,
    changes: &[(IpNet, Option<SourceClass>)],
) -> Result<(), DataplaneError> {
    let v4 = changes.iter().filter_map(|(prefix, class)| match prefix {
        IpNet::V4(prefix) => Some((prefix.prefix_len(), prefix.addr().octets(), *class)),
        IpNet::V6(_) => None,
    });
    write_family(ebpf, PREFIXES_V4[table], ADDRESSES_V4[table], v4)?;
    let v6 = changes.iter().filter_map(|(prefix, class)| match prefix {
        IpNet::V6(prefix) => Some((prefix.prefix_len(), prefix.addr().octets(), *class)),
        IpNet::V4(_) => None,
    });
    write_family(ebpf, PREFIXES_V6[table], ADDRESSES_V6[table], v6)
}

fn write_family<A: aya::Pod>(
    ebpf: &mut Ebpf,
    prefixes: &'static str,
    addresses: &'static str,
    changes: impl Iterator<Item = Changed<A>>,
) -> Result<(), DataplaneError> {
    let is_single = |(bits, ..): &Changed<A>| usize::from(*bits) == 8 * std::mem::size_of::<A>();
    let (single, shorter): (Vec<_>, Vec<_>) = changes.partition(is_single);
    let mut trie: TrieMut<'_, A> = view(ebpf, prefixes)?;
    for (bits, address, class) in shorter {
        let key = Key::new(u32::from(bits), address);
        match class {
            Some(class) => trie.insert(&key, Plain(class), 0),
            None => trie.remove(&key),
        }
        .map_err(failed(prefixes))?;
    }
    let mut map: HashMap<&mut MapData, A, Plain<SourceClass>> = view(ebpf, addresses)?;
    for (_, address, class) in single {
        match class {
            Some(class) => map.insert(address, Plain(class), 0),
            None => map.remove(&address),
        }
        .map_err(failed(addresses))?;
    }
    Ok(())
}

/// What to change in `old` to make it `new`.
fn difference(old: &Contents, new: &Contents) -> Vec<(IpNet, Option<SourceClass>)> {
    let gone = old.keys().filter(|prefix| !new.contains_key(prefix)).map(|prefix| (*prefix, None));
    let put = new.iter().filter(|(prefix, class)| old.get(prefix) != Some(class));
    gone.chain(put.map(|(prefix, class)| (*prefix, Some(*class)))).collect()
}

impl Dataplane {
    /// Puts rules in force, all at once. Established flows are not judged by them yet: see
    /// [`judge_flows_again`](Self::judge_flows_again).
    ///
    /// # Errors
    /// Where they do not fit, or the kernel refuses a part, the old ones stay in force.
    pub fn put_rules(&mut self, ruleset: &Ruleset) -> Result<(), FirewallError> {
        let ids = rule_ids(ruleset, &self.firewall.rules, self.firewall.next_rule)?;
        let compiled = compile(ruleset, &ids, super::flows::capacity(&self.ebpf, ADDRESSES_V4[0]))?;
        let entries: usize = compiled.decisions.iter().map(|decisions| decisions.exceptions.len()).sum();
        // Those of the rules in force are there at the same time.
        if entries > MAX_DECISIONS as usize / 2 {
            let (what, limit) = ("decisions about single services and ports", MAX_DECISIONS / 2);
            return Err(CompileError::Full { what, wanted: entries, limit }.into());
        }
        self.forget_unused_classes()?;
        self.write_rules(&compiled)?;
        let classes: Result<Vec<SourceClass>, DataplaneError> =
            compiled.decisions.iter().map(|decisions| self.write_decisions(decisions)).collect();
        let classes = classes?;
        let wanted =
            compiled.prefixes.iter().filter_map(|(prefix, place)| Some((*prefix, *classes.get(*place)?)));
        let wanted: Contents = wanted.collect();
        let idle = self.firewall.idle();
        let changes = difference(&self.firewall.contents[idle], &wanted);
        if let Err(error) = write_table(&mut self.ebpf, idle, &changes) {
            // A part is written; the next change must know which.
            self.firewall.contents[idle] = contents(&self.ebpf, idle)?;
            return Err(error.into());
        }
        self.firewall.contents[idle] = wanted;
        self.write_policy(Policy {
            generation: self.firewall.policy.generation,
            table: u8::from(idle == 1),
            judges_services: u8::from(compiled.judges_services),
            judges_host: u8::from(compiled.judges_host),
            host_denies: u8::from(ruleset.host_default == DefaultPolicy::Deny),
        })?;
        self.forget_unused_rules(&compiled)?;
        self.firewall.ids = ids;
        Ok(())
    }

    /// Has every flow judged by the rules in force, when its next packet comes.
    pub fn judge_flows_again(&mut self) -> Result<(), DataplaneError> {
        let policy = self.firewall.policy;
        self.write_policy(Policy { generation: policy.generation.wrapping_add(1), ..policy })
    }

    fn write_policy(&mut self, policy: Policy) -> Result<(), DataplaneError> {
        if policy == self.firewall.policy {
            return Ok(());
        }
        let mut map: Array<&mut MapData, Plain<Policy>> = view(&mut self.ebpf, "POLICY")?;
        map.set(0, Plain(policy), 0).map_err(failed("POLICY"))?;
        self.firewall.policy = policy;
        Ok(())
    }

    /// Writes the entries of rules; those that are new begin with no hits.
    fn write_rules(&mut self, compiled: &Compiled) -> Result<(), DataplaneError> {
        for (id, rule) in &compiled.rules {
            if self.firewall.rules.get(id) != Some(&rule.name_hash) {
                clear_hits(&mut self.ebpf, *id)?;
                clear_accounts(&mut self.ebpf, *id)?;
                self.firewall.next_rule = id + 1;
            }
            let mut map: Array<&mut MapData, Plain<Rule>> = view(&mut self.ebpf, "RULES")?;
            map.set(*id, Plain(*rule), 0).map_err(failed("RULES"))?;
            self.firewall.rules.insert(*id, rule.name_hash);
        }
        Ok(())
    }

    fn forget_unused_rules(&mut self, compiled: &Compiled) -> Result<(), DataplaneError> {
        let unused: Vec<u32> =
            self.firewall.rules.keys().filter(|id| !compiled.rules.contains_key(id)).copied().collect();
        for id in unused {
            let mut map: Array<&mut MapData, Plain<Rule>> = view(&mut self.ebpf, "RULES")?;
            map.set(id, Plain(bytemuck::Zeroable::zeroed()), 0).map_err(failed("RULES"))?;
            self.firewall.rules.remove(&id);
        }
        Ok(())
    }

    /// Gives decisions a class and writes what it decides about single destinations.
    fn write_decisions(&mut self, decisions: &Decisions) -> Result<SourceClass, DataplaneError> {
        let (class, is_new) = self.firewall.class(&decisions.exceptions);
        if is_new {
            let mut map: HashMap<&mut MapData, Plain<DecisionKey>, Plain<Decision>> =
                view(&mut self.ebpf, "DECISIONS")?;
            for (exception, decision) in &decisions.exceptions {
                let key = DecisionKey::new(class, exception.target());
                map.insert(Plain(key), Plain(*decision), 0).map_err(failed("DECISIONS"))?;
            }
        }
        Ok(SourceClass { class, services: decisions.services, host: decisions.host })
    }

    /// Removes the decisions of classes that the table in force does not have.
    fn forget_unused_classes(&mut self) -> Result<(), DataplaneError> {
        let active = &self.firewall.contents[self.firewall.active()];
        let used: BTreeSet<u32> = active.values().map(|class| class.class).collect();
        let unused: Vec<u32> =
            self.firewall.classes.keys().filter(|class| !used.contains(class)).copied().collect();
        let mut map: HashMap<&mut MapData, Plain<DecisionKey>, Plain<Decision>> =
            view(&mut self.ebpf, "DECISIONS")?;
        for class in unused {
            let exceptions = self.firewall.classes.remove(&class).unwrap_or_default();
            let keys = exceptions.iter().map(|(exception, _)| DecisionKey::new(class, exception.target()));
            for key in keys {
                // Gone already is as good.
                let _ = map.remove(&Plain(key));
            }
        }
        Ok(())
    }
}

/// Forgets the sources of a rule that had this id before.
fn clear_accounts(ebpf: &mut Ebpf, id: u32) -> Result<(), DataplaneError> {
    const NAME: &str = "LIMITED_SOURCES";
    let mut map: HashMap<&mut MapData, Plain<LimitedSource>, Plain<SourceAccount>> = view(ebpf, NAME)?;
    let stale: Vec<_> = map.keys().filter_map(Result::ok).filter(|Plain(source)| source.rule == id).collect();
    for source in stale {
        // Given way already is as good.
        let _ = map.remove(&source);
    }
    Ok(())
}

fn clear_hits(ebpf: &mut Ebpf, id: u32) -> Result<(), DataplaneError> {
    let failure = |reason: String| DataplaneError::Map { map: "RULE_HITS", reason };
    let cpus = aya::util::nr_cpus().map_err(|(file, error)| failure(format!("{file}: {error}")))?;
    let zero = PerCpuValues::try_from(vec![Plain(RuleHits::default()); cpus])
        .map_err(|error| failure(error.to_string()))?;
    let mut map: PerCpuArray<&mut MapData, Plain<RuleHits>> = view(ebpf, "RULE_HITS")?;
    map.set(id, zero, 0).map_err(failed("RULE_HITS"))
}
