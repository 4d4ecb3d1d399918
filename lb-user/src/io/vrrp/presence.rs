//! Which interfaces are there, and so which virtual routers take part.

use super::channel::{Channel, interfaces_up};
use super::group::channel_key;
use super::thread::{ChannelKey, Runner, Running};
use super::{Decision, RouterKey, VrrpError};
use crate::core::vrrp::machine::{Input, State};
use std::collections::{BTreeMap, BTreeSet};

impl Runner {
    /// Opens channels that are missing, closes those that are not what they were, and lets their virtual routers take part or not.
    pub(super) fn look_around(&mut self) {
        if self.routers.is_empty() {
            self.channels.clear();
            return;
        }
        let up = interfaces_up();
        let virtual_addresses = &self.virtual_addresses;
        self.channels.retain(|(interface, _), channel| {
            up.contains(interface) && channel.is_current(interface, virtual_addresses)
        });
        let wanted: BTreeSet<ChannelKey> =
            self.routers.iter().map(|(key, one)| (one.plan.interface.clone(), key.1)).collect();
        let mut troubles: BTreeMap<ChannelKey, String> = BTreeMap::new();
        for key in wanted {
            if self.channels.contains_key(&key) {
                continue;
            }
            let (interface, family) = &key;
            let opened = if up.contains(interface) {
                Channel::open(interface, *family, virtual_addresses)
            } else {
                Err(VrrpError::Down { interface: interface.clone() })
            };
            match opened {
                Ok(channel) => drop(self.channels.insert(key, channel)),
                Err(error) => drop(troubles.insert(key, error.to_string())),
            }
        }
        let of_groups = self.group_troubles(&troubles);
        let trouble = |key: &RouterKey, one: &Running| {
            let own = troubles.get(&channel_key(key, &one.plan));
            own.or_else(|| of_groups.get(one.plan.group.as_ref()?)).cloned()
        };
        let all: Vec<_> = self.routers.iter().map(|(key, one)| (key.clone(), trouble(key, one))).collect();
        // First those that cannot, so that nobody follows one that has to stop.
        let (cannot, can): (Vec<_>, Vec<_>) = all.into_iter().partition(|(_, trouble)| trouble.is_some());
        cannot.into_iter().chain(can).for_each(|(key, trouble)| self.take_part(&key, trouble));
    }

    fn take_part(&mut self, key: &RouterKey, trouble: Option<String>) {
        let Some(running) = self.routers.get_mut(key) else { return };
        let channel = self.channels.get(&channel_key(key, &running.plan)).filter(|_| trouble.is_none());
        let local = channel.map(Channel::local);
        if trouble != running.trouble {
            running.trouble.clone_from(&trouble);
            let _ = self.decisions.send(Decision::Trouble(key.clone(), trouble));
        }
        let started = running.machine.state() != State::Initialize;
        match (local, started) {
            (Some(local), false) if self.stopping.is_none() => {
                let resumes = std::mem::take(&mut running.resumes);
                self.set_priority(key);
                self.input(key, Input::PreemptionHeld(self.preemption_held));
                let started = if resumes { Input::Resumed { local } } else { Input::Started { local } };
                self.input(key, started);
            }
            (None, true) => self.input(key, Input::Stopped),
            (Some(local), true) if running.machine.local() != Some(local) => {
                self.input(key, Input::AddressChanged { local });
            }
            _ => {}
        }
    }
}
