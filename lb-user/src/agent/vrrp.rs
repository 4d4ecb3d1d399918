//! Virtual routers: what the configuration wants of them, and what their decisions mean for the VIPs.

use super::AgentError;
use super::state::Agent;
use crate::api::{
    ApiError, ErrorKind, EventKind, HandOverRequest, HandedOver, HeardView, VirtualRouterView, VrrpView,
};
use crate::config::Config;
use crate::core::vrrp::advert::AdvertError;
use crate::core::vrrp::machine::{News, Settings, State, Why};
use crate::io::dataplane::{DataplaneError, VipTerms};
use crate::io::vrrp::{Decision, RouterKey, RouterPlan, RouterSnapshot, Wanted};
use crate::model::{Family, VipName, whole_ms};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::{Duration, Instant};

/// With shared flows a node that comes back waits for so long at least before it preempts.
const CATCH_UP: Duration = Duration::from_secs(1);
/// An agent that ends waits no longer for others to be told its flows.
const SUCCESSORS_WITHIN: Duration = Duration::from_secs(2);

/// What a configuration wants of virtual routers, of which these go on as Active.
pub(super) fn wanted(config: &Config, resumed: BTreeSet<RouterKey>) -> Wanted {
    let virtual_addresses = config.vips.values().flat_map(|vip| vip.addresses.iter().copied()).collect();
    Wanted { plans: plans(config), resumed, virtual_addresses }
}

/// The virtual routers that a configuration asks for: one for each VIP and family.
fn plans(config: &Config) -> BTreeMap<RouterKey, RouterPlan> {
    let mut plans = BTreeMap::new();
    for (name, vip) in &config.vips {
        let Some(vrrp) = &vip.vrrp else { continue };
        for family in [Family::V4, Family::V6] {
            let addresses: Vec<IpAddr> = vip.addresses_of(family).collect();
            if addresses.is_empty() {
                continue;
            }
            let settings = Settings {
                id: vrrp.id,
                priority: vrrp.priority,
                interval: vrrp.interval,
                preempt: vrrp.preempt,
                preempt_delay: match config.sync {
                    // What was missed in a short absence is told by then.
                    Some(_) => vrrp.preempt_delay.max(CATCH_UP),
                    None => vrrp.preempt_delay,
                },
                flap_limit: vrrp.flap_limit,
                flap_window: vrrp.flap_window,
                addresses,
            };
            let peers = vrrp.peers.iter().copied().filter(|peer| Family::of(*peer) == family).collect();
            let (interface, group) = (vip.interface.clone(), vrrp.group.clone());
            let plan = RouterPlan { interface, settings, peers, checksum: vrrp.checksum, group };
            plans.insert((name.clone(), family), plan);
        }
    }
    plans
}

impl Agent {
    /// Lets the program serve VIPs with VRRP only as long as this agent is there, and the host be reached at them where that is wanted.
    pub(super) fn set_vip_terms(&mut self) -> Result<(), DataplaneError> {
        let with = self.config.vips.values().filter_map(|vip| Some((vip, vip.vrrp.as_ref()?)));
        let terms = with.flat_map(|(vip, vrrp)| {
            let terms = VipTerms { needs_lease: true, is_for_services: !vrrp.accept };
            vip.addresses.iter().map(move |address| (*address, terms))
        });
        let terms = terms.collect();
        self.dataplane.set_vip_terms(&terms)
    }

    /// The virtual routers that an earlier agent of this node left as Active a moment ago: its lease is not over, and the addresses are
    /// there. Nobody can have taken them yet.
    pub(super) async fn resume_vrrp(&mut self) -> Result<BTreeSet<RouterKey>, AgentError> {
        if !self.dataplane.is_leased()? {
            return Ok(BTreeSet::new());
        }
        for (key, plan) in plans(&self.config) {
            let there = self.interfaces.addresses(&plan.interface).await?;
            if plan.settings.addresses.iter().all(|address| there.contains(address)) {
                self.active.insert(key);
            }
        }
        Ok(self.active.clone())
    }

    /// Those that were resumed, or none where the lease ended while this agent started.
    pub(super) async fn still_resumed(
        &mut self,
        resumed: BTreeSet<RouterKey>,
    ) -> Result<BTreeSet<RouterKey>, AgentError> {
        if resumed.is_empty() || self.dataplane.is_leased()? {
            return Ok(resumed);
        }
        self.active.clear();
        self.hold_vips().await;
        self.tell_sync();
        Ok(BTreeSet::new())
    }

    /// A virtual router made up its mind.
    pub(super) async fn handle_decision(&mut self, decision: Decision) {
        match decision {
            Decision::Acquire(key) => {
                self.active.insert(key);
                self.begin_grace();
                // From here on nobody knows its flows better.
                self.tell_sync();
                self.hold_vips().await;
            }
            Decision::Release(key) => {
                self.active.remove(&key);
                self.tell_sync();
                self.hold_vips().await;
            }
            Decision::News(key, news) => {
                if let News::StateChanged { from, to, why } = &news {
                    self.notify(&key, *from, *to, reason(*why));
                }
                if matches!(news, News::RivalHeard { .. }) {
                    self.reassert(&key);
                }
                let (kind, words) = self.words(&news);
                self.journal.record(kind, format!("{}: {words}", label(&key)));
            }
            Decision::Trouble(key, Some(trouble)) => {
                self.journal.record(EventKind::Warning, format!("{}: takes no part: {trouble}", label(&key)));
            }
            Decision::Trouble(key, None) => {
                self.journal.record(EventKind::VrrpChanged, format!("{}: takes part again", label(&key)));
            }
        }
    }

    /// Another node served, too: whoever learnt its address shall learn this one's, and flows that began there may still become known.
    fn reassert(&mut self, key: &RouterKey) {
        self.begin_grace();
        if let Some(vip) = self.config.vips.get(&key.0) {
            let places: Vec<_> =
                vip.addresses_of(key.1).map(|address| (vip.interface.clone(), address)).collect();
            self.holding.announce_again(places);
        }
        self.announce_vips();
    }

    fn words(&self, news: &News) -> (EventKind, String) {
        match news {
            News::StateChanged { from, to, why } => {
                (EventKind::VrrpChanged, format!("{} → {}, {}", from.name(), to.name(), reason(*why)))
            }
            News::RivalHeard { from, priority } => (
                EventKind::Warning,
                format!(
                    "{from} (priority {priority}) advertises as Active too; for a moment both nodes serve. If this is told \
                     again and again, the other node does not hear this one: look at the network and its filters between them"
                ),
            ),
            News::AddressesDiffer { from } => (
                EventKind::Warning,
                format!(
                    "{from} advertises other addresses than this node's configuration has; make both files agree"
                ),
            ),
            News::Damped => (
                EventKind::Warning,
                "it took the addresses from other nodes as often as flap_limit allows within flap_window; for now it leaves \
                 them where they are. Find out why this node comes and goes"
                    .to_owned(),
            ),
            News::HandOverFailed => {
                (EventKind::Warning, "nobody took the addresses over, so this node keeps them".to_owned())
            }
        }
    }

    /// Lets other nodes have VIPs: one, or all that are Active here.
    pub(super) fn hand_over(&mut self, request: &HandOverRequest) -> Result<HandedOver, ApiError> {
        if let Some(name) = &request.vip
            && self.config.vips.get(name).is_none_or(|vip| vip.vrrp.is_none())
        {
            let with = self.config.vips.iter().filter(|(_, vip)| vip.vrrp.is_some());
            let names: Vec<_> = with.map(|(name, _)| name.as_str()).collect();
            return Err(ApiError::not_found(format!(
                "there is no VIP {name} with VRRP; there are: {}",
                names.join(", ")
            )));
        }
        let wanted = |key: &&RouterKey| request.vip.as_ref().is_none_or(|name| self.moves_with(name, &key.0));
        let keys: BTreeSet<RouterKey> = self.active.iter().filter(wanted).cloned().collect();
        if !request.force && !self.successors_are_ready() {
            let message = "no other node has been told all flows yet; try again in a moment, or hand over with --force and \
                           lose connections";
            return Err(ApiError::new(ErrorKind::Conflict, message));
        }
        let vips: BTreeSet<_> = keys.iter().map(|(name, _)| name.clone()).collect();
        match &request.to {
            Some(node) => self.offer_to(node, keys)?,
            None => self.virtual_routers.hand_over(keys),
        }
        Ok(HandedOver { vips: vips.into_iter().collect() })
    }

    /// Whether two VIPs are one, or of one group.
    fn moves_with(&self, one: &VipName, other: &VipName) -> bool {
        let group = |name| self.config.vips.get(name)?.vrrp.as_ref()?.group.as_ref();
        one == other || group(one).is_some() && group(one) == group(other)
    }

    /// Hands over what is Active here, and takes the addresses away once others have them.
    pub(super) async fn leave_vrrp(
        &mut self,
        decisions: &mut tokio::sync::mpsc::UnboundedReceiver<Decision>,
    ) {
        let patience = Instant::now() + SUCCESSORS_WITHIN;
        while !self.successors_are_ready() && Instant::now() < patience {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        self.virtual_routers.stop().await;
        while let Ok(decision) = decisions.try_recv() {
            self.handle_decision(decision).await;
        }
    }

    /// All virtual routers, as they are now.
    pub(super) fn vrrp_view(&self) -> VrrpView {
        let snapshot = self.virtual_routers.snapshot();
        let counts = AdvertError::ALL.into_iter().map(|reason| {
            let count = snapshot.malformed.get(&reason).copied().unwrap_or(0);
            (reason.name().to_owned(), count)
        });
        VrrpView {
            routers: snapshot.routers.iter().map(view).collect(),
            trackers: self.tracker_views(),
            malformed: counts.collect(),
            foreign: snapshot.foreign,
            message_checksums: snapshot.message_checksums,
        }
    }
}

pub(super) fn label((vip, family): &RouterKey) -> String {
    format!("vip {vip} {family}")
}

fn reason(why: Why) -> &'static str {
    match why {
        Why::Started => "it takes part",
        Why::Stopped => "it takes no part any more",
        Why::Owner => "this node owns the addresses",
        Why::Resumed => "the agent was restarted within its lease",
        Why::ActiveDown => "no Active router was heard",
        Why::ActiveLeft => "the Active router left",
        Why::Preempted => "the Active router had a lower priority",
        Why::Yielded => "another node had the better claim",
        Why::Asked => "the Active router asked this node to take its place",
        Why::HandedOver => "it was handed over",
        Why::Overslept => "this node did not run for a while",
        Why::Group => "another of its group did",
    }
}

fn view(router: &RouterSnapshot) -> VirtualRouterView {
    let ago = |at: Instant| whole_ms(at.elapsed());
    let times = |state| router.times.get(&state).copied().unwrap_or_default();
    let plan = &router.plan;
    VirtualRouterView {
        vip: router.key.0.clone(),
        family: router.key.1,
        interface: plan.interface.clone(),
        id: plan.settings.id.get(),
        group: plan.group.clone(),
        state: router.state.name().to_owned(),
        active: router.state == State::Active,
        since_ms: ago(router.since),
        priority: router.priority.get(),
        configured_priority: plan.settings.priority.get(),
        interval_ms: whole_ms(plan.settings.interval.duration()),
        active_down_ms: whole_ms(router.active_down_interval),
        addresses: plan.settings.addresses.clone(),
        local: router.local,
        heard: router.heard.map(|(from, priority, interval, at)| HeardView {
            from,
            priority,
            interval_ms: whole_ms(interval),
            ago_ms: ago(at),
        }),
        times_active: times(State::Active),
        times_backup: times(State::Backup),
        times_initialize: times(State::Initialize),
        adverts_sent: router.adverts_sent,
        adverts_received: router.adverts_received,
        trouble: router.trouble.clone(),
    }
}
