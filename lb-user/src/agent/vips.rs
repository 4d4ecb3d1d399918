//! VIP addresses on interfaces: where they should be, where they are, and what is still to be done.
//!
//! [`Holding`] is the book about it and does nothing itself; the agent carries its steps out, again and
//! again until they succeed. An address that cannot be put where it belongs stops nothing else.

use super::state::Agent;
use crate::api::EventKind;
use crate::config::{Config, Vip};
use crate::io::announce::Announcer;
use crate::io::interface::InterfaceError;
use crate::io::vrrp::RouterKey;
use crate::model::{Family, VipName};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::{Duration, Instant};

/// How often steps that failed are tried again.
const RETRY_EVERY: Duration = Duration::from_secs(5);

/// How often an address that came to an interface is announced there, a second apart: an announcement may
/// be lost. RFC 4861 allows three.
const ANNOUNCEMENTS: u8 = 3;

/// An address on an interface.
pub(super) type Place = (String, IpAddr);

/// Something to do about a place.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum VipStep {
    /// Put the address there.
    Add(Place),
    /// Take it away from there.
    Remove(Place),
}

impl VipStep {
    fn place(&self) -> &Place {
        match self {
            Self::Add(place) | Self::Remove(place) => place,
        }
    }
}

/// What is wanted, what is there, what failed.
#[derive(Debug, Default)]
pub(super) struct Holding {
    wanted: BTreeSet<Place>,
    held: BTreeSet<Place>,
    leaving: BTreeSet<Place>,
    failed: BTreeMap<VipStep, String>,
    /// How many announcements a place is still to have.
    unannounced: BTreeMap<Place, u8>,
}

impl Holding {
    /// From now on these places are wanted, and what is held besides is to go.
    pub(super) fn want(&mut self, wanted: BTreeSet<Place>) {
        self.leaving.extend(self.held.difference(&wanted).cloned());
        self.leaving.retain(|place| !wanted.contains(place));
        self.wanted = wanted;
        let due: BTreeSet<VipStep> = self.due().into_iter().collect();
        self.failed.retain(|step, _| due.contains(step));
    }

    /// An earlier agent may have left addresses at these places: they are to go unless they are wanted.
    pub(super) fn suspect(&mut self, places: impl IntoIterator<Item = Place>) {
        let wanted = &self.wanted;
        self.leaving.extend(places.into_iter().filter(|place| !wanted.contains(place)));
    }

    /// What is to be done, in this order: an address is at its new place before it leaves the old one.
    pub(super) fn due(&self) -> Vec<VipStep> {
        let adds = self.wanted.difference(&self.held).cloned().map(VipStep::Add);
        adds.chain(self.leaving.iter().cloned().map(VipStep::Remove)).collect()
    }

    /// Notes how a step went; says so in words where that is news.
    pub(super) fn done(&mut self, step: VipStep, result: Result<(), String>) -> Option<(EventKind, String)> {
        let (interface, address) = step.place();
        match result {
            Ok(()) => {
                let failed_before = self.failed.remove(&step).is_some();
                let now = match &step {
                    VipStep::Add(_) => "is on",
                    VipStep::Remove(_) => "has left",
                };
                let news = format!("VIP address {address} {now} interface {interface} at last");
                match step {
                    VipStep::Add(place) => {
                        self.unannounced.insert(place.clone(), ANNOUNCEMENTS);
                        self.held.insert(place);
                    }
                    VipStep::Remove(place) => {
                        self.held.remove(&place);
                        self.leaving.remove(&place);
                    }
                }
                failed_before.then_some((EventKind::ConfigChanged, news))
            }
            Err(reason) => {
                let news = warning(&step, &reason);
                let known = self.failed.insert(step, reason.clone());
                (known != Some(reason)).then_some((EventKind::Warning, news))
            }
        }
    }

    /// The places to announce now; each comes up three times, unless it is given up.
    pub(super) fn announcements(&mut self) -> Vec<Place> {
        let wanted = &self.wanted;
        self.unannounced.retain(|place, left| *left > 0 && wanted.contains(place));
        self.unannounced.values_mut().for_each(|left| *left -= 1);
        self.unannounced.keys().cloned().collect()
    }

    /// These are announced anew, those of them that are held.
    pub(super) fn announce_again(&mut self, places: impl IntoIterator<Item = Place>) {
        let held = &self.held;
        let places = places.into_iter().filter(|place| held.contains(place));
        self.unannounced.extend(places.map(|place| (place, ANNOUNCEMENTS)));
    }

    /// A place that cannot be announced is not tried again.
    pub(super) fn give_up_announcing(&mut self, place: &Place) {
        self.unannounced.remove(place);
    }

    /// What still fails, in words.
    pub(super) fn warnings(&self) -> Vec<String> {
        self.failed.iter().map(|(step, reason)| warning(step, reason)).collect()
    }
}

fn warning(step: &VipStep, reason: &str) -> String {
    let seconds = RETRY_EVERY.as_secs();
    match step {
        VipStep::Add((_, address)) => {
            format!("VIP address {address} is not served: {reason}; trying again every {seconds} s")
        }
        VipStep::Remove((interface, address)) => {
            format!("VIP address {address} is still on {interface}: {reason}; trying again every {seconds} s")
        }
    }
}

/// Where the addresses of the VIPs are that this node serves now.
pub(super) fn places(config: &Config, active: &BTreeSet<RouterKey>) -> BTreeSet<Place> {
    let served = |(name, vip): (&VipName, &Vip), address: IpAddr| match vip.vrrp {
        Some(_) => active.contains(&(name.clone(), Family::of(address))),
        None => vip.active_on == config.node.name,
    };
    all_places(config, served)
}

/// Where the addresses of VIPs are that this node serves, or may have served.
pub(super) fn possible_places(config: &Config) -> BTreeSet<Place> {
    all_places(config, |(_, vip), _| vip.may_be_on(&config.node.name))
}

fn all_places(config: &Config, wanted: impl Fn((&VipName, &Vip), IpAddr) -> bool) -> BTreeSet<Place> {
    let all =
        config.vips.iter().flat_map(|(name, vip)| vip.addresses.iter().map(move |one| (name, vip, *one)));
    let wanted = all.filter(|(name, vip, address)| wanted((name, vip), *address));
    wanted.map(|(_, vip, address)| (vip.interface.clone(), address)).collect()
}

impl Agent {
    /// Whether this node serves a VIP now; with VRRP, in any family.
    pub(super) fn serves(&self, name: &VipName) -> bool {
        self.config.vips.get(name).is_some_and(|vip| match &vip.vrrp {
            Some(_) => self.active.iter().any(|(active, _)| active == name),
            None => vip.active_on == self.config.node.name,
        })
    }

    /// Puts this node's VIPs on their interfaces and takes away those that no longer belong there. What fails
    /// becomes a warning and is tried again.
    pub(super) async fn hold_vips(&mut self) {
        self.holding.want(places(&self.config, &self.active));
        self.take_vip_steps().await;
    }

    /// Suspects an earlier agent's VIPs on all interfaces of the node, and on those it had besides.
    pub(super) fn suspect_vips(&mut self, earlier: &BTreeSet<IpAddr>, more_interfaces: &[String]) {
        let wanted = places(&self.config, &self.active);
        let possible = possible_places(&self.config);
        let addresses: BTreeSet<IpAddr> =
            possible.iter().map(|(_, address)| *address).chain(earlier.iter().copied()).collect();
        let interfaces = self.config.node.interfaces.iter().chain(more_interfaces);
        let all = interfaces.flat_map(|name| addresses.iter().map(|address| (name.clone(), *address)));
        self.holding.want(wanted);
        self.holding.suspect(all.collect::<Vec<_>>());
    }

    /// Tries again what failed, every few seconds.
    pub(super) async fn retry_vips(&mut self) {
        if self.vips_tried.elapsed() >= RETRY_EVERY {
            self.take_vip_steps().await;
        }
    }

    /// Tells the network where addresses are now, also where they have been all along: it costs nothing, and
    /// what happened while no agent ran is unknown. Who cannot be told asks in time, hence only a warning.
    pub(super) fn announce_vips(&mut self) {
        let places = self.holding.announcements();
        if places.is_empty() {
            return;
        }
        let announcer = Announcer::open();
        for place in places {
            let (interface, address) = &place;
            let announced = match &announcer {
                Ok(announcer) => announcer.announce(interface, *address).map_err(|error| error.to_string()),
                Err(error) => Err(error.to_string()),
            };
            if let Err(error) = announced {
                let message = format!("VIP address {address} was not announced on {interface}: {error}");
                self.journal.record(EventKind::Warning, message);
                self.holding.give_up_announcing(&place);
            }
        }
        // The kernel takes a while to close such a socket.
        tokio::task::spawn_blocking(move || drop(announcer));
    }

    async fn take_vip_steps(&mut self) {
        self.vips_tried = Instant::now();
        let (adds, removals): (Vec<_>, Vec<_>) =
            self.holding.due().into_iter().partition(|step| matches!(step, VipStep::Add(_)));
        let any_added = !adds.is_empty();
        for step in adds {
            let (interface, address) = step.place();
            let added = self.interfaces.add(interface, *address).await.map_err(|error| error.to_string());
            self.note_vip_step(step, added);
        }
        if any_added {
            // At once: packets for it go elsewhere until the network knows.
            self.announce_vips();
        }
        self.remove_vips(removals).await;
    }

    fn note_vip_step(&mut self, step: VipStep, result: Result<(), String>) {
        if let Some((kind, news)) = self.holding.done(step, result) {
            self.journal.record(kind, news);
        }
    }

    async fn remove_vips(&mut self, steps: Vec<VipStep>) {
        // Asked once for each interface: there may be thousands of addresses.
        let mut present: BTreeMap<String, Result<BTreeSet<IpAddr>, String>> = BTreeMap::new();
        for (interface, _) in steps.iter().map(VipStep::place) {
            if !present.contains_key(interface) {
                let found = match self.interfaces.addresses(interface).await {
                    // Nothing is on an interface that is not there.
                    Err(InterfaceError::Missing(_)) => Ok(BTreeSet::new()),
                    found => found.map_err(|error| error.to_string()),
                };
                present.insert(interface.clone(), found);
            }
        }
        for step in steps {
            let (interface, address) = step.place();
            let there = match present.get(interface) {
                Some(Err(reason)) => Err(reason.clone()),
                Some(Ok(found)) => Ok(found.contains(address)),
                None => Ok(false),
            };
            let result = match there {
                Err(reason) => Err(reason),
                Ok(false) => Ok(()),
                Ok(true) => {
                    self.interfaces.remove(interface, *address).await.map_err(|error| error.to_string())
                }
            };
            self.note_vip_step(step, result);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(interface: &str, last: u8) -> Place {
        (interface.to_owned(), IpAddr::from([10, 80, 0, last]))
    }

    /// A book where these places are wanted and held.
    fn holding(places: &[Place]) -> Holding {
        let mut holding = Holding::default();
        holding.want(places.iter().cloned().collect());
        for step in holding.due() {
            assert_eq!(holding.done(step, Ok(())), None, "what goes well at once is no news");
        }
        assert_eq!(holding.due(), []);
        holding
    }

    #[test]
    fn an_address_comes_to_its_new_interface_before_it_leaves_the_old_one() {
        let (old, new) = (place("eth0", 100), place("eth1", 100));
        let mut holding = holding(std::slice::from_ref(&old));
        holding.want([new.clone()].into());
        assert_eq!(holding.due(), [VipStep::Add(new), VipStep::Remove(old)]);
    }

    #[test]
    fn a_step_that_failed_is_due_until_it_succeeds_and_told_once() {
        let mut holding = Holding::default();
        holding.want([place("eth0", 100)].into());
        let step = VipStep::Add(place("eth0", 100));
        let failed = || Err("no such device".to_owned());
        let (kind, words) = holding.done(step.clone(), failed()).expect("the first failure is news");
        assert_eq!(kind, EventKind::Warning);
        assert!(words.contains("10.80.0.100") && words.contains("no such device"), "{words}");
        assert_eq!(holding.done(step.clone(), failed()), None, "the same failure again is none");
        assert_eq!(holding.warnings(), [words]);
        assert_eq!(holding.due(), std::slice::from_ref(&step));
        let (kind, _) = holding.done(step, Ok(())).expect("that it works at last is news");
        assert_eq!(kind, EventKind::ConfigChanged);
        assert!(holding.due().is_empty() && holding.warnings().is_empty());
    }

    #[test]
    fn a_failure_about_what_is_no_longer_wanted_is_forgotten() {
        let mut holding = Holding::default();
        holding.want([place("eth0", 100)].into());
        holding.done(VipStep::Add(place("eth0", 100)), Err("no such device".to_owned()));
        holding.want([place("eth1", 100)].into());
        assert_eq!(holding.warnings(), [""; 0]);
        assert_eq!(holding.due(), [VipStep::Add(place("eth1", 100))]);
    }

    #[test]
    fn an_address_that_came_is_announced_three_times_and_one_that_left_no_more() {
        let at = place("eth0", 100);
        let mut book = holding(&[at.clone(), place("eth0", 101)]);
        assert_eq!(book.announcements().len(), 2);
        book.want([at.clone()].into());
        assert_eq!(book.announcements(), std::slice::from_ref(&at));
        assert_eq!(book.announcements(), std::slice::from_ref(&at));
        assert_eq!(book.announcements(), []);
        let mut book = holding(std::slice::from_ref(&at));
        book.give_up_announcing(&at);
        assert_eq!(book.announcements(), []);
    }

    #[test]
    fn an_address_that_comes_back_while_it_leaves_stays() {
        let at = place("eth0", 100);
        let mut holding = holding(std::slice::from_ref(&at));
        holding.want(BTreeSet::new());
        assert_eq!(holding.due(), [VipStep::Remove(at.clone())]);
        holding.want([at].into());
        assert_eq!(holding.due(), []);
    }

    #[test]
    fn what_an_earlier_agent_may_have_left_goes_unless_it_is_wanted() {
        let mut holding = Holding::default();
        holding.want([place("eth0", 100)].into());
        holding.suspect([place("eth0", 100), place("eth1", 100), place("eth0", 99)]);
        let removed = [VipStep::Remove(place("eth0", 99)), VipStep::Remove(place("eth1", 100))];
        assert_eq!(holding.due(), [&[VipStep::Add(place("eth0", 100))], &removed[..]].concat());
    }
}
