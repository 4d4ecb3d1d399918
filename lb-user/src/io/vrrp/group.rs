//! Virtual routers that move together: what one does, the others of its group are told.

use super::thread::{ChannelKey, Runner, Running};
use super::{RouterKey, RouterPlan};
use crate::core::vrrp::machine::{Input, State};
use crate::model::GroupName;
use std::collections::BTreeMap;

impl Runner {
    /// One is in another state than before.
    pub(super) fn tell_group(&mut self, key: &RouterKey, before: State) {
        let Some(running) = self.routers.get(key) else { return };
        let input = match (before, running.machine.state()) {
            (_, State::Active) => Input::GroupActive,
            // One that takes no part is no reason to look for another node here: the others stop with it.
            (State::Active, State::Backup) => Input::GroupBackup,
            _ => return,
        };
        let Some(group) = running.plan.group.clone() else { return };
        let is_meant =
            |(other, one): &(&RouterKey, &Running)| *other != key && one.plan.group.as_ref() == Some(&group);
        let others: Vec<RouterKey> =
            self.routers.iter().filter(is_meant).map(|(key, _)| key.clone()).collect();
        others.iter().for_each(|other| self.input(other, input.clone()));
    }

    /// Why virtual routers take no part, by group: it is enough that one cannot.
    pub(super) fn group_troubles(
        &self,
        troubles: &BTreeMap<ChannelKey, String>,
    ) -> BTreeMap<GroupName, String> {
        let trouble = |(key, one): (&RouterKey, &Running)| {
            let trouble = troubles.get(&channel_key(key, &one.plan))?;
            let group = one.plan.group.clone()?;
            Some((group.clone(), format!("{trouble}, which vip {} {} of group {group} needs", key.0, key.1)))
        };
        self.routers.iter().filter_map(trouble).collect()
    }
}

/// Where a virtual router sends and hears.
pub(super) fn channel_key((_, family): &RouterKey, plan: &RouterPlan) -> ChannelKey {
    (plan.interface.clone(), *family)
}
