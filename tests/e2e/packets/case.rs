//! A case: a set-up, packets with what must become of each, and what the tables must hold at the end.
//!
//! Every packet of a case is checked, those that only lead up to it too. Owns the words that cases are
//! written in; `runner` carries them out.

use super::builder::{ACK, Mac, Packet, SYN};
use super::scene::{FIRST_NAT_PORT, Flow, Host, Port, Scene};
use lb_ebpf::abi::{Forwarding, RuleHits};
use lb_ebpf::outcome::{Occurrence, Outcome};
use lb_user::core::plan::firewall::{ReadyRule, Ruleset};
use lb_user::io::dataplane::{BackendTotals, VipTerms};
use lb_user::model::{AtLimit, DefaultPolicy, Protocol, SchedulerKind, SynCookieMode, WhenDown};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// An XDP action, by its number.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u32)]
pub(crate) enum Action {
    Drop = 1,
    Pass = 2,
    Transmit = 3,
    Redirect = 4,
}

/// A service: where it listens, its backends, its slot table.
#[derive(Clone, Debug)]
pub(crate) struct Service {
    pub(crate) name: &'static str,
    pub(crate) listen: Vec<SocketAddr>,
    pub(crate) backends: Vec<(&'static str, SocketAddr)>,
    pub(crate) slots: Vec<&'static str>,
    pub(crate) protocol: Protocol,
    /// Nothing: the agent serves it.
    pub(crate) forwarding: Option<Forwarding>,
    pub(crate) max_flows: u32,
    /// Of each of its backends.
    pub(crate) backend_max_flows: u32,
    pub(crate) at_limit: AtLimit,
    pub(crate) scheduler: SchedulerKind,
    pub(crate) when_down: WhenDown,
    pub(crate) default_policy: DefaultPolicy,
}

/// What the dataplane is told to do.
#[derive(Clone, Debug)]
pub(crate) struct Setup {
    pub(crate) vips: Vec<IpAddr>,
    pub(crate) services: Vec<Service>,
    /// First and last.
    pub(crate) nat_ports: (u16, u16),
    pub(crate) established_flows: u32,
    pub(crate) firewall: Ruleset,
    pub(crate) syn_cookies: SynCookieMode,
    /// What holds for all VIPs.
    pub(crate) terms: VipTerms,
}

impl Setup {
    pub(crate) fn new(vips: &[IpAddr], services: Vec<Service>) -> Self {
        let nat_ports = (FIRST_NAT_PORT, FIRST_NAT_PORT + 999);
        Self {
            vips: vips.to_vec(),
            services,
            nat_ports,
            established_flows: 64,
            firewall: Ruleset::default(),
            syn_cookies: SynCookieMode::Never,
            terms: VipTerms::default(),
        }
    }

    /// The VIP's port 80 with these hosts behind it, port 8080, a slot each.
    pub(crate) fn web(scene: Scene, hosts: &[Host]) -> Self {
        let service = Service::over("web", SocketAddr::new(scene.vip(), 80), hosts);
        Self::new(&[scene.vip()], vec![service])
    }

    /// The same with another scheduler for all services.
    pub(crate) fn scheduled(mut self, scheduler: SchedulerKind) -> Self {
        self.services.iter_mut().for_each(|service| service.scheduler = scheduler);
        self
    }

    /// The same with all services changed so.
    pub(crate) fn with(mut self, change: impl Fn(&mut Service)) -> Self {
        self.services.iter_mut().for_each(change);
        self
    }

    /// The same in a flood without end.
    pub(crate) fn with_cookies(self) -> Self {
        Self { syn_cookies: SynCookieMode::Always, ..self }
    }

    /// The same behind these rules.
    pub(crate) fn behind(mut self, rules: &[ReadyRule]) -> Self {
        self.firewall.rules = rules.to_vec();
        self
    }

    pub(crate) fn with_nat_ports(self, count: u16) -> Self {
        Self { nat_ports: (FIRST_NAT_PORT, FIRST_NAT_PORT + count - 1), ..self }
    }
}

impl Service {
    /// A slot for each host, in their order.
    pub(crate) fn over(name: &'static str, listen: SocketAddr, hosts: &[Host]) -> Self {
        let names = ["b1", "b2", "b3"];
        let address = |host: &Host| SocketAddr::new(host.address, 8080);
        let backends: Vec<_> = names.iter().zip(hosts).map(|(name, host)| (*name, address(host))).collect();
        let slots = backends.iter().map(|(name, _)| *name).collect();
        Self {
            name,
            listen: vec![listen],
            backends,
            slots,
            protocol: Protocol::Tcp,
            forwarding: Some(Forwarding::Nat),
            max_flows: 0,
            backend_max_flows: 0,
            at_limit: AtLimit::OtherBackend,
            scheduler: SchedulerKind::RoundRobin,
            when_down: WhenDown::Reset,
            default_policy: DefaultPolicy::Allow,
        }
    }
}

/// A packet and what must become of it.
#[derive(Clone, Debug)]
pub(crate) struct Exchange {
    pub(crate) port: Port,
    pub(crate) input: Vec<u8>,
    pub(crate) action: Action,
    pub(crate) outcome: Outcome,
    pub(crate) output: Vec<u8>,
    /// All others must not happen, except that the two of next hops happen as time goes by.
    pub(crate) occurrences: Vec<(Occurrence, u64)>,
}

impl Exchange {
    pub(crate) fn new(action: Action, outcome: Outcome, input: Vec<u8>, output: Vec<u8>) -> Self {
        Self { port: Port::Lan, input, action, outcome, output, occurrences: Vec::new() }
    }
}

/// An exchange that depends on the node's clock in ms.
type Timed = Box<dyn Fn(u32) -> Exchange + Send>;

/// One thing done in a case.
pub(crate) enum Act {
    Send(Exchange),
    /// The clock's value stands at this offset of what becomes of the packet, and the exchanges after this
    /// one are made with it.
    Clock(usize, Timed),
    Timed(Timed),
    /// The agent changes its mind.
    Desire(Setup),
    /// An established flow is there.
    Plant(Plant),
}

/// An established flow whose entries say this.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plant {
    pub(crate) flow: Flow,
    /// When its next hops were looked up.
    pub(crate) next_hop_age: Duration,
    /// Where its packets go, both ways.
    pub(crate) next_hop: Mac,
    /// What is added to its client's timestamps.
    pub(crate) timestamp_shift: u32,
}

/// A flow as the tables must tell it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FlowSeen {
    pub(crate) client: SocketAddr,
    pub(crate) vip: SocketAddr,
    pub(crate) nat: SocketAddr,
    pub(crate) backend: SocketAddr,
    pub(crate) state: &'static str,
}

pub(crate) struct Case {
    /// A sentence that says why.
    pub(crate) name: String,
    pub(crate) setup: Setup,
    pub(crate) acts: Vec<Act>,
    /// All flows there are at the end.
    pub(crate) flows: Option<Vec<FlowSeen>>,
    /// Entries of the established table, of the embryonic table.
    pub(crate) entries: Option<(u64, u64)>,
    /// Accounts of a backend address.
    pub(crate) totals: Vec<(SocketAddr, BackendTotals)>,
    /// Active flows of a backend address.
    pub(crate) active: Vec<(SocketAddr, u64)>,
    /// What rules of the firewall counted.
    pub(crate) hits: Vec<(&'static str, RuleHits)>,
    /// Packets and IP bytes of the only flow, from its client.
    pub(crate) forward_account: Option<(u64, u64)>,
}

impl Case {
    /// A case in one family, named so.
    pub(crate) fn new(scene: Scene, sentence: &str, setup: Setup) -> Self {
        Self {
            name: format!("{}: {sentence}", scene.family()),
            setup,
            acts: Vec::new(),
            flows: None,
            entries: None,
            totals: Vec::new(),
            active: Vec::new(),
            hits: Vec::new(),
            forward_account: None,
        }
    }

    pub(crate) fn act(mut self, act: Act) -> Self {
        self.acts.push(act);
        self
    }

    fn send(self, action: Action, outcome: Outcome, input: Vec<u8>, output: Vec<u8>) -> Self {
        let exchange = Exchange { port: Port::Lan, input, action, outcome, output, occurrences: Vec::new() };
        self.act(Act::Send(exchange))
    }

    fn last(&mut self) -> &mut Exchange {
        match self.acts.last_mut() {
            Some(Act::Send(exchange)) => exchange,
            _ => panic!("no packet came before"),
        }
    }

    /// The last packet comes in by another interface.
    pub(crate) fn on(mut self, port: Port) -> Self {
        self.last().port = port;
        self
    }

    /// This happens on the last packet's way.
    pub(crate) fn with(mut self, occurrence: Occurrence, times: u64) -> Self {
        self.last().occurrences.push((occurrence, times));
        self
    }

    /// A packet goes on to the host as it came.
    pub(crate) fn passes(self, outcome: Outcome, input: Vec<u8>) -> Self {
        let output = input.clone();
        self.send(Action::Pass, outcome, input, output)
    }

    /// A packet is dropped, unchanged.
    pub(crate) fn drops(self, outcome: Outcome, input: Vec<u8>) -> Self {
        let output = input.clone();
        self.send(Action::Drop, outcome, input, output)
    }

    /// A packet leaves by the interface it came from.
    pub(crate) fn becomes(self, outcome: Outcome, input: Vec<u8>, output: Vec<u8>) -> Self {
        self.send(Action::Transmit, outcome, input, output)
    }

    /// A client's packet leaves for the flow's backend.
    pub(crate) fn forward(self, outcome: Outcome, flow: &Flow, packet: &Packet) -> Self {
        let action = if flow.backend.port == Port::Lan { Action::Transmit } else { Action::Redirect };
        self.send(action, outcome, packet.frame(), flow.forwarded(packet).frame())
    }

    /// A backend's packet leaves for the flow's client.
    pub(crate) fn back(self, outcome: Outcome, flow: &Flow, packet: &Packet) -> Self {
        let action = if flow.backend.port == Port::Lan { Action::Transmit } else { Action::Redirect };
        self.send(action, outcome, packet.frame(), flow.returned(packet).frame()).on(flow.backend.port)
    }

    /// The client's SYN reaches the backend.
    pub(crate) fn begun(self, flow: &Flow) -> Self {
        self.forward(Outcome::NewFlow, flow, &flow.client_sends(SYN, b""))
    }

    /// And the backend's answer the client.
    pub(crate) fn answered(self, flow: &Flow) -> Self {
        self.begun(flow).back(Outcome::Handshake, flow, &flow.backend_sends(SYN | ACK, b""))
    }

    /// And the client's ACK the backend.
    pub(crate) fn opened(self, flow: &Flow) -> Self {
        self.answered(flow).forward(Outcome::Promoted, flow, &flow.client_sends(ACK, b""))
    }

    /// The flows at the end.
    pub(crate) fn leaves(mut self, flows: &[(&Flow, &'static str)]) -> Self {
        let seen = flows.iter().map(|(flow, state)| FlowSeen {
            client: flow.client,
            vip: flow.service,
            nat: flow.seen_by_backend(),
            backend: SocketAddr::new(flow.backend.address, flow.backend_port),
            state,
        });
        self.flows = Some(seen.collect());
        self
    }

    /// The tables' entries at the end: established, embryonic.
    pub(crate) fn entries(mut self, established: u64, embryonic: u64) -> Self {
        self.entries = Some((established, embryonic));
        self
    }

    pub(crate) fn forward_account(mut self, packets: u64, ip_bytes: u64) -> Self {
        self.forward_account = Some((packets, ip_bytes));
        self
    }

    /// The active flows of a flow's backend at the end.
    pub(crate) fn active(mut self, flow: &Flow, flows: u64) -> Self {
        self.active.push((SocketAddr::new(flow.backend.address, flow.backend_port), flows));
        self
    }

    /// What a rule of the firewall counted by the end.
    pub(crate) fn hits(mut self, rule: &'static str, hits: RuleHits) -> Self {
        self.hits.push((rule, hits));
        self
    }

    pub(crate) fn totals(mut self, flow: &Flow, totals: BackendTotals) -> Self {
        self.totals.push((SocketAddr::new(flow.backend.address, flow.backend_port), totals));
        self
    }
}
