//! What changes from one configuration to another, as steps that people can read and that can be done.
//!
//! Owns the steps there are, their words, and which of them a running agent cannot take.
//! `apply(old, &diff(old, new)) == new` always holds. Never carries a step out on the dataplane.

mod compare;
mod firewall;
mod show;

use std::net::SocketAddr;
use std::path::PathBuf;

use super::{
    Acme, AgentTerms, AttachMode, Backend, BackendTls, Config, FlowSync, FlowTimeouts, HealthCheck, Log,
    Metrics, MysqlTerms, Notify, ProxyTerms, Service, SynCookieMode, TlsTerms, Tracker, Vip,
};
use crate::model::{
    AdminState, AtLimit, BackendName, DefaultPolicy, Mode, NodeName, PortRange, Protocol, SchedulerKind,
    ServiceName, TrackerName, VipName, Weight, WhenDown,
};

pub use self::compare::diff;
pub use self::firewall::FirewallChange;

/// A value before and after.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replaced<T> {
    /// What it was.
    pub old: T,
    /// What it becomes.
    pub new: T,
}

/// One step from an old configuration to a new one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// The name of this node.
    NodeName(Replaced<NodeName>),
    /// The ports of translated flows.
    NatPorts(Replaced<PortRange>),
    /// The interfaces the program is attached to.
    Interfaces(Replaced<Vec<String>>),
    /// How it is attached.
    Attach(Replaced<AttachMode>),
    /// The control socket's path.
    Socket(Replaced<PathBuf>),
    /// The group that may change things.
    Group(Replaced<Option<String>>),
    /// Whether everybody may look.
    OthersMayRead(Replaced<bool>),
    /// The folder of the pins.
    PinDir(Replaced<PathBuf>),
    /// The size of the table of established flows.
    EstablishedFlows(Replaced<u32>),
    /// The size of the table of embryonic flows.
    EmbryonicFlows(Replaced<u32>),
    /// The size of the table of limited sources.
    LimitedSources(Replaced<u32>),
    /// The size of the tables of prefixes.
    Prefixes(Replaced<u32>),
    /// When SYNs are answered with cookies.
    SynCookies(Replaced<SynCookieMode>),
    /// After which silence flows are forgotten.
    Timeouts(Replaced<FlowTimeouts>),
    /// With whom flows are shared.
    Sync(Replaced<Option<FlowSync>>),
    /// Who is told of changes of state.
    Notify(Replaced<Option<Notify>>),
    /// Who gives out certificates.
    Acme(Replaced<Option<Acme>>),
    /// Where figures are shown.
    Metrics(Replaced<Option<Metrics>>),
    /// What the agent tells of itself.
    Log(Replaced<Log>),
    /// What it keeps of its rights.
    Agent(Replaced<AgentTerms>),
    /// Something that priorities hang on.
    Tracker(TrackerName, Replaced<Option<Tracker>>),
    /// A VIP that was not there.
    VipAdded(VipName, Vip),
    /// A VIP that is there no longer.
    VipRemoved(VipName),
    /// A VIP's addresses, interface or node.
    VipChanged(VipName, Replaced<Vip>),
    /// A service that was not there, with its backends.
    ServiceAdded(Service),
    /// A service that is there no longer.
    ServiceRemoved(ServiceName),
    /// Something about a service that stays.
    Service(ServiceName, ServiceChange),
    /// Something about the firewall.
    Firewall(FirewallChange),
}

/// One step about one service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ServiceChange {
    /// Its VIPs.
    Vips(Replaced<Vec<VipName>>),
    /// Its port.
    Port(Replaced<u16>),
    /// Its protocol.
    Protocol(Replaced<Protocol>),
    /// How it forwards.
    Mode(Replaced<Mode>),
    /// Whether backends see clients' own addresses.
    KeepSource(Replaced<bool>),
    /// How it picks a backend.
    Scheduler(Replaced<SchedulerKind>),
    /// What it does without backends.
    WhenDown(Replaced<WhenDown>),
    /// What becomes of connections that no rule of the firewall decides about.
    DefaultPolicy(Replaced<DefaultPolicy>),
    /// How many flows it may have.
    MaxFlows(Replaced<u32>),
    /// What becomes of new flows at a limit.
    AtLimit(Replaced<AtLimit>),
    /// How its backends are checked.
    Health(Replaced<Option<HealthCheck>>),
    /// What holds for its connections, where they end here.
    Proxy(Replaced<Option<ProxyTerms>>),
    /// How clients' TLS ends here.
    Tls(Replaced<Option<TlsTerms>>),
    /// Where requests are sent.
    HttpsPort(Replaced<Option<u16>>),
    /// Who may log in, and where statements run.
    Mysql(Replaced<Option<MysqlTerms>>),
    /// TLS with backends.
    BackendTls(Replaced<Option<BackendTls>>),
    /// A backend that was not there, behind those that were.
    BackendAdded(Backend),
    /// A backend that is there no longer.
    BackendRemoved(BackendName),
    /// A backend's addresses.
    BackendAddresses(BackendName, Replaced<Vec<SocketAddr>>),
    /// A backend's share.
    BackendWeight(BackendName, Replaced<Weight>),
    /// What the operator wants of a backend.
    BackendState(BackendName, Replaced<AdminState>),
    /// How many flows a backend may have.
    BackendMaxFlows(BackendName, Replaced<u32>),
    /// The names whose connections a backend takes.
    BackendNames(BackendName, Replaced<Vec<String>>),
    /// The order of all its backends.
    BackendOrder(Vec<BackendName>),
}

impl Change {
    /// Whether the running agent cannot make this change: it takes effect when the agent is restarted.
    pub fn needs_restart(&self) -> bool {
        match self {
            Self::NodeName(_)
            | Self::Interfaces(_)
            | Self::Attach(_)
            | Self::Socket(_)
            | Self::PinDir(_)
            | Self::EstablishedFlows(_)
            | Self::EmbryonicFlows(_)
            | Self::LimitedSources(_)
            | Self::Prefixes(_)
            | Self::Group(_)
            | Self::Sync(_)
            | Self::Agent(_)
            | Self::OthersMayRead(_) => true,
            Self::Log(log) => log.old.format != log.new.format,
            Self::NatPorts(_)
            | Self::SynCookies(_)
            | Self::Timeouts(_)
            | Self::Notify(_)
            | Self::Acme(_)
            | Self::Metrics(_)
            | Self::Tracker(..)
            | Self::VipAdded(..)
            | Self::VipRemoved(_)
            | Self::VipChanged(..)
            | Self::ServiceAdded(_)
            | Self::ServiceRemoved(_)
            | Self::Service(..)
            | Self::Firewall(_) => false,
        }
    }
}

/// Takes the steps, in their order. A step about something that is not there does nothing.
pub fn apply(old: &Config, changes: &[Change]) -> Config {
    let mut config = old.clone();
    for change in changes {
        step(&mut config, change.clone());
    }
    config
}

fn step(config: &mut Config, change: Change) {
    match change {
        Change::NodeName(name) => config.node.name = name.new,
        Change::NatPorts(ports) => config.node.nat_ports = ports.new,
        Change::Interfaces(interfaces) => config.node.interfaces = interfaces.new,
        Change::Attach(attach) => config.node.attach = attach.new,
        Change::Socket(socket) => config.control.socket = socket.new,
        Change::Group(group) => config.control.group = group.new,
        Change::OthersMayRead(may) => config.control.others_may_read = may.new,
        Change::PinDir(dir) => config.dataplane.pin_dir = dir.new,
        Change::EstablishedFlows(flows) => config.dataplane.established_flows = flows.new,
        Change::EmbryonicFlows(flows) => config.dataplane.embryonic_flows = flows.new,
        Change::LimitedSources(sources) => config.dataplane.limited_sources = sources.new,
        Change::Prefixes(prefixes) => config.dataplane.prefixes = prefixes.new,
        Change::SynCookies(cookies) => config.dataplane.syn_cookies = cookies.new,
        Change::Timeouts(timeouts) => config.dataplane.timeouts = timeouts.new,
        Change::Sync(sync) => config.sync = sync.new,
        Change::Notify(notify) => config.notify = notify.new,
        Change::Acme(acme) => config.acme = acme.new,
        Change::Metrics(metrics) => config.metrics = metrics.new,
        Change::Log(log) => config.log = log.new,
        Change::Agent(agent) => config.agent = agent.new,
        Change::Tracker(name, Replaced { new: Some(tracker), .. }) => {
            drop(config.trackers.insert(name, tracker))
        }
        Change::Tracker(name, Replaced { new: None, .. }) => drop(config.trackers.remove(&name)),
        Change::VipAdded(name, vip) => drop(config.vips.insert(name, vip)),
        Change::VipRemoved(name) => drop(config.vips.remove(&name)),
        Change::VipChanged(name, vip) => drop(config.vips.insert(name, vip.new)),
        Change::ServiceAdded(service) => drop(config.services.insert(service.name.clone(), service)),
        Change::ServiceRemoved(name) => drop(config.services.remove(&name)),
        Change::Firewall(change) => firewall::take(&mut config.firewall, change),
        Change::Service(name, change) => {
            if let Some(service) = config.services.get_mut(&name) {
                service_step(service, change);
            }
        }
    }
}

fn service_step(service: &mut Service, change: ServiceChange) {
    let backends = &mut service.backends;
    match change {
        ServiceChange::Vips(vips) => service.vips = vips.new,
        ServiceChange::Port(port) => service.port = port.new,
        ServiceChange::Protocol(protocol) => service.protocol = protocol.new,
        ServiceChange::Mode(mode) => service.mode = mode.new,
        ServiceChange::KeepSource(keep) => service.keep_source = keep.new,
        ServiceChange::MaxFlows(flows) => service.max_flows = flows.new,
        ServiceChange::AtLimit(at_limit) => service.at_limit = at_limit.new,
        ServiceChange::Scheduler(scheduler) => service.scheduler = scheduler.new,
        ServiceChange::WhenDown(when_down) => service.when_down = when_down.new,
        ServiceChange::DefaultPolicy(policy) => service.default_policy = policy.new,
        ServiceChange::Proxy(proxy) => service.proxy = proxy.new,
        ServiceChange::Health(health) => service.health = health.new,
        ServiceChange::Tls(tls) => service.tls = tls.new,
        ServiceChange::BackendTls(tls) => service.backend_tls = tls.new,
        ServiceChange::HttpsPort(port) => service.https_port = port.new,
        ServiceChange::Mysql(mysql) => service.mysql = mysql.new,
        ServiceChange::BackendAdded(backend) => backends.push(backend),
        ServiceChange::BackendRemoved(name) => backends.retain(|backend| backend.name != name),
        ServiceChange::BackendAddresses(name, addresses) => {
            if let Some(backend) = find(backends, &name) {
                backend.addresses = addresses.new;
            }
        }
        ServiceChange::BackendWeight(name, weight) => {
            if let Some(backend) = find(backends, &name) {
                backend.weight = weight.new;
            }
        }
        ServiceChange::BackendState(name, state) => {
            if let Some(backend) = find(backends, &name) {
                backend.state = state.new;
            }
        }
        ServiceChange::BackendMaxFlows(name, flows) => {
            if let Some(backend) = find(backends, &name) {
                backend.max_flows = flows.new;
            }
        }
        ServiceChange::BackendNames(name, names) => {
            if let Some(backend) = find(backends, &name) {
                backend.names = names.new;
            }
        }
        ServiceChange::BackendOrder(order) => {
            backends.sort_by_key(|backend| order.iter().position(|name| *name == backend.name));
        }
    }
}

fn find<'a>(backends: &'a mut [Backend], name: &BackendName) -> Option<&'a mut Backend> {
    backends.iter_mut().find(|backend| backend.name == *name)
}

#[cfg(test)]
mod tests;
