//! `[vip.NAME]`: their addresses, where they live, and that no address is there twice.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::Validator;
use crate::config::error::did_you_mean;
use crate::config::file::FileVip;
use crate::config::locate::{Complaint, Path};
use crate::config::{Node, Vip, Vrrp};
use crate::model::{Family, GroupName, NodeName, VipName, VirtualRouterId};

impl Validator<'_> {
    /// All VIPs that are right. Needs the node for what is left out.
    pub(super) fn vips(
        &mut self,
        file: &BTreeMap<String, FileVip>,
        node: Option<&Node>,
    ) -> BTreeMap<VipName, Vip> {
        let mut taken = BTreeMap::new();
        let mut vips = BTreeMap::new();
        for (key, file) in self.in_file_order("vip", file) {
            let path = Path::of(&["vip", key]);
            let name = self.parsed_key::<VipName>(&path, key);
            let vip = self.vip(&path, file, node, &mut taken);
            if let (Some(name), Some(vip)) = (name, vip) {
                vips.insert(name, vip);
            }
        }
        self.virtual_routers_differ(&vips);
        self.groups_agree(&vips);
        vips
    }

    /// Those that move together must win and lose together.
    fn groups_agree(&mut self, vips: &BTreeMap<VipName, Vip>) {
        let mut first: BTreeMap<&GroupName, (&VipName, &Vrrp)> = BTreeMap::new();
        for (name, vrrp) in vips.iter().filter_map(|(name, vip)| Some((name, vip.vrrp.as_ref()?))) {
            let Some(group) = &vrrp.group else { continue };
            let (other, before) = *first.entry(group).or_insert((name, vrrp));
            let differs = if vrrp.priority != before.priority {
                "priority"
            } else if vrrp.preempt != before.preempt {
                "preempt"
            } else {
                continue;
            };
            let complaint = Complaint::new(format!("its {differs} is another than that of vip.{other}"))
                .expected(format!("the same for all of group {group}, which move together"));
            self.complain::<()>(&Path::of(&["vip", name.as_str(), "vrrp", differs]), complaint);
        }
    }

    fn vip(
        &mut self,
        path: &Path,
        file: &FileVip,
        node: Option<&Node>,
        taken: &mut BTreeMap<IpAddr, Path>,
    ) -> Option<Vip> {
        let addresses = self.vip_addresses(&path.key("address"), file, taken);
        let interface = match &file.interface {
            Some(name) => self.vip_interface(&path.key("interface"), name, node),
            None => node.and_then(|node| node.interfaces.first().cloned()),
        };
        let active_on = match &file.active_on {
            Some(name) => self.parsed::<NodeName>(&path.key("active_on"), name),
            None => node.map(|node| node.name.clone()),
        };
        let vrrp = match &file.vrrp {
            Some(vrrp) => {
                let prefers = node.zip(active_on.as_ref()).is_some_and(|(node, name)| node.name == *name);
                self.vrrp(&path.key("vrrp"), vrrp, prefers).map(Some)
            }
            None => Some(None),
        };
        Some(Vip { addresses: addresses?, interface: interface?, active_on: active_on?, vrrp: vrrp? })
    }

    /// Two virtual routers of one interface and family cannot have one id.
    fn virtual_routers_differ(&mut self, vips: &BTreeMap<VipName, Vip>) {
        let mut taken: BTreeMap<(&str, Family, VirtualRouterId), &VipName> = BTreeMap::new();
        for (name, vip) in vips {
            let Some(vrrp) = &vip.vrrp else { continue };
            let families: BTreeSet<Family> =
                vip.addresses.iter().map(|address| Family::of(*address)).collect();
            for family in families {
                let Some(other) = taken.insert((&vip.interface, family, vrrp.id), name) else { continue };
                let complaint = Complaint::new(format!("{} is the id of vip.{other} already", vrrp.id))
                    .expected(format!("another id for each VIP of {}", vip.interface));
                let path = Path::of(&["vip", name.as_str(), "vrrp", "id"]);
                self.complain::<()>(&path, complaint);
                break;
            }
        }
    }

    fn vip_addresses(
        &mut self,
        path: &Path,
        file: &FileVip,
        taken: &mut BTreeMap<IpAddr, Path>,
    ) -> Option<Vec<IpAddr>> {
        let expected = "at least one address such as [\"10.80.0.100\", \"fd80::100\"]";
        let Some(texts) = &file.address else { return self.missing(path, expected) };
        let entries = texts.entries(path);
        if entries.is_empty() {
            return self.complain(path, Complaint::new("the list is empty").expected(expected));
        }
        let mut addresses = Some(Vec::new());
        for (path, text) in entries {
            let Some(address) = self.address(&path, text) else {
                addresses = None;
                continue;
            };
            if let Some(other) = taken.get(&address) {
                let complaint = Complaint::new(format!("{text:?} is there already, at {other}"));
                addresses = self.complain(&path, complaint.expected("each VIP address only once"));
                continue;
            }
            taken.insert(address, path);
            if let Some(addresses) = &mut addresses {
                addresses.push(address);
            }
        }
        addresses
    }

    fn vip_interface(&mut self, path: &Path, name: &str, node: Option<&Node>) -> Option<String> {
        let name = self.interface(path, name)?;
        let known = &node?.interfaces;
        if known.contains(&name) {
            return Some(name);
        }
        let complaint = Complaint::new(format!("{name:?} is not among node.interfaces"))
            .expected(format!("one of {}", known.join(", ")))
            .suggest(did_you_mean(&name, known.iter().map(String::as_str)));
        self.complain(path, complaint)
    }

    /// The tables under a key in the order they have in the file, so that of two that clash the
    /// second one is to blame.
    pub(super) fn in_file_order<'f, T>(
        &self,
        key: &str,
        tables: &'f BTreeMap<String, T>,
    ) -> Vec<(&'f str, &'f T)> {
        let mut tables: Vec<_> = tables.iter().map(|(name, table)| (name.as_str(), table)).collect();
        tables.sort_by_key(|(name, _)| self.source.key_span(&Path::of(&[key, name])).start);
        tables
    }
}
