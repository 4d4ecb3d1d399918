//! The agent's state, and what events do to it.

use super::acme::Issuing;
use super::certificates::Certificates;
use super::checks::{CheckDone, Checks};
use super::confinement::Floor;
use super::firewall::{Files, Unconfirmed, read_rules};
use super::journal::Journal;
use super::metrics::MetricsEndpoint;
use super::mysql::Databases;
use super::notify::Notifier;
use super::sweeping::{Order, Swept};
use super::sync::Syncing;
use super::track::Tracking;
use super::upgrade::Upgrade;
use super::vips::Holding;
use super::{AgentError, dataplane_options, view};
use crate::api::{ApiError, Command, Confirmed, ErrorKind, EventKind, MysqlKilled};
use crate::config::Config;
use crate::core::flood::FloodWatch;
use crate::core::plan::firewall::Ruleset;
use crate::core::plan::{self, AvailabilityMap, Desired};
use crate::io::confine::Confinement;
use crate::io::dataplane::{Dataplane, DataplaneError, Explainer, LoadReport, SweepReport, Tracer};
use crate::io::interface::Interfaces;
use crate::io::log::LogControl;
use crate::io::proxy::Proxy;
use crate::io::return_routes::ReturnRoutes;
use crate::io::vrrp::{RouterKey, VirtualRouters};
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Instant;
use tokio::sync::mpsc;

/// Above this share of a table's entries in use, the operator is warned.
pub(super) const FILL_WARNING_PERCENT: u64 = 80;

/// The state. Only its own task ever sees it.
pub(super) struct Agent {
    pub(super) config_file: PathBuf,
    /// The running configuration as text: the file's, plus changes made at run time only.
    pub(super) text: String,
    pub(super) runtime_changes: bool,
    pub(super) config: Config,
    pub(super) dataplane: Dataplane,
    pub(super) desired: Desired,
    /// The firewall's rules in force.
    pub(super) ruleset: Ruleset,
    /// A change that is taken back unless it is confirmed.
    pub(super) unconfirmed: Option<Unconfirmed>,
    /// The program that explains, once somebody asked.
    pub(super) explainer: Option<Explainer>,
    /// The program that tells about packets, while somebody looks.
    pub(super) tracer: Option<Tracer>,
    /// Where the end of a trace is told.
    pub(super) trace_ended: mpsc::Sender<()>,
    pub(super) interfaces: Interfaces,
    pub(super) checks: Checks,
    pub(super) sweeper: std::sync::mpsc::Sender<Order>,
    pub(super) sweep: SweepReport,
    /// When the sweep of that report began.
    pub(super) sweep_begun: Option<Instant>,
    /// When the configuration last changed.
    pub(super) changed_at: Instant,
    pub(super) journal: Journal,
    pub(super) warnings: Vec<String>,
    /// Changes that the file has and that wait for a restart.
    pub(super) waiting: Vec<String>,
    pub(super) holding: Holding,
    pub(super) virtual_routers: VirtualRouters,
    /// Where flows are shared with other nodes.
    pub(super) syncing: Option<Syncing>,
    /// What priorities hang on.
    pub(super) tracking: Tracking,
    pub(super) notifier: Notifier,
    /// Serves connections that end here.
    pub(super) proxy: Proxy,
    /// Where answers to transparent connections go.
    pub(super) return_routes: ReturnRoutes,
    /// Certificates that an authority is asked for.
    pub(super) issuing: Issuing,
    /// Which backends of databases take writes.
    pub(super) databases: Databases,
    /// The endpoint for those who collect figures.
    pub(super) metrics: MetricsEndpoint,
    /// What is told while it runs.
    pub(super) log: LogControl,
    /// What it has given up.
    pub(super) confinement: Confinement,
    pub(super) floor: Floor,
    /// The files of TLS that are in force.
    pub(super) certificates: Certificates,
    /// Why there was no TLS with which backend, as it was last told.
    pub(super) backend_tls_failures: BTreeMap<u64, (String, Instant)>,
    /// An agent that is to take this one's place.
    pub(super) upgrade: Option<Upgrade>,
    /// Where it does not listen although it should, and why.
    pub(super) deaf: BTreeMap<SocketAddr, String>,
    /// Those that are Active, as far as their decisions have been carried out.
    pub(super) active: BTreeSet<RouterKey>,
    pub(super) vips_tried: Instant,
    pub(super) started: Instant,
    pub(super) flood: FloodWatch,
    fill_warned: bool,
    pub(super) neighbours_resolved: Option<Instant>,
}

impl Agent {
    #[expect(clippy::too_many_arguments, reason = "the one place where the rooms' parts come together")]
    pub(super) fn new(
        config_file: PathBuf,
        text: String,
        config: Config,
        dataplane: Dataplane,
        interfaces: Interfaces,
        sweeper: std::sync::mpsc::Sender<Order>,
        results: mpsc::Sender<CheckDone>,
        trace_ended: mpsc::Sender<()>,
        virtual_routers: VirtualRouters,
        syncing: Option<Syncing>,
        tracking: Tracking,
        notifier: Notifier,
        proxy: Proxy,
        return_routes: ReturnRoutes,
        issuing: Issuing,
        databases: Databases,
        metrics: MetricsEndpoint,
        (journal, log): (Journal, LogControl),
        (confinement, floor): (Confinement, Floor),
    ) -> Self {
        let certificates = Certificates::new(&config);
        Self {
            config_file,
            text,
            runtime_changes: false,
            config,
            dataplane,
            desired: Desired::default(),
            ruleset: Ruleset::default(),
            unconfirmed: None,
            explainer: None,
            tracer: None,
            trace_ended,
            interfaces,
            checks: Checks::new(results),
            sweeper,
            sweep: SweepReport::default(),
            sweep_begun: None,
            changed_at: Instant::now(),
            journal,
            warnings: Vec::new(),
            waiting: Vec::new(),
            holding: Holding::default(),
            virtual_routers,
            syncing,
            tracking,
            notifier,
            proxy,
            return_routes,
            issuing,
            databases,
            metrics,
            log,
            confinement,
            floor,
            certificates,
            backend_tls_failures: BTreeMap::new(),
            upgrade: None,
            deaf: BTreeMap::new(),
            active: BTreeSet::new(),
            vips_tried: Instant::now(),
            started: Instant::now(),
            flood: FloodWatch::new(Instant::now()),
            fill_warned: false,
            neighbours_resolved: None,
        }
    }

    /// Records what loading the dataplane found.
    fn report_load(&mut self, report: LoadReport) {
        if let Some(version) = report.abi_replaced {
            self.journal.record(
                EventKind::Warning,
                format!("the maps of ABI version {version} were replaced; their flows are gone"),
            );
        }
        let flows = if report.maps_taken_over { "with the flows of an earlier agent" } else { "anew" };
        self.journal.record(EventKind::AgentStarted, format!("agent started, dataplane loaded {flows}"));
        for warning in report.warnings {
            self.journal.record(EventKind::Warning, warning.clone());
            self.warnings.push(warning);
        }
    }

    /// Brings VIPs, checks and the dataplane in line with the configuration: fills the maps, then lets packets
    /// meet the program, then calls them here.
    pub(super) async fn start(&mut self, mut report: LoadReport) -> Result<(), AgentError> {
        // What an earlier agent's dataplane served is kept until its first checks are in.
        let known = self.dataplane.image().clone();
        self.checks.follow(&self.config, &known);
        self.first_certificates();
        self.follow_databases();
        let ruleset = read_rules(&self.config, Files::Read, &self.ruleset)?;
        // Also where there are none: an earlier agent may have left some.
        self.dataplane.put_rules(&ruleset)?;
        self.steer()?;
        self.set_vip_terms()?;
        self.ruleset = ruleset;
        // What an earlier agent's rules were is not known.
        self.dataplane.judge_flows_again()?;
        self.dataplane.attach(&dataplane_options(&self.config), &mut report)?;
        // An earlier agent's VIPs that the file no longer has leave the interface too.
        self.suspect_vips(&known.vips, &report.interfaces_left);
        self.report_load(report);
        let resumed = self.resume_vrrp().await?;
        self.hold_vips().await;
        self.start_sync()?;
        self.follow_trackers();
        let resumed = self.still_resumed(resumed).await?;
        self.virtual_routers.follow(super::vrrp::wanted(&self.config, resumed));
        Ok(())
    }

    /// Plans and takes the steps from what the maps hold to what is wanted now.
    pub(super) fn steer(&mut self) -> Result<(), AgentError> {
        let availability: AvailabilityMap = self.checks.availability(Instant::now());
        let desired = plan::desire(&self.config, &availability);
        let steps = plan::steps(self.dataplane.image(), &desired)?;
        self.dataplane.take(&steps)?;
        self.desired = desired;
        self.follow_proxied();
        self.tell_sync();
        self.track_services();
        Ok(())
    }

    /// The same where there is nobody to tell but the journal.
    pub(super) fn steer_or_record(&mut self) {
        if let Err(error) = self.steer() {
            self.journal.record(EventKind::Warning, format!("the dataplane did not take a change: {error}"));
        }
    }

    pub(super) async fn handle_command(&mut self, command: Command) {
        // A client that left no longer wants its answer, hence the ignored sends.
        match command {
            Command::Look(reply) => {
                let internal = |error: DataplaneError| ApiError::new(ErrorKind::Internal, error.to_string());
                let _ = reply.send(self.snapshot().map_err(internal));
            }
            Command::PastEvents(reply) => {
                let _ = reply.send(Ok(self.journal.past()));
            }
            Command::LookAtFirewall(reply) => {
                let internal = |error: DataplaneError| ApiError::new(ErrorKind::Internal, error.to_string());
                let _ = reply.send(self.firewall_view().map_err(internal));
            }
            Command::TestFirewall(question, reply) => {
                let _ = reply.send(self.judge(question));
            }
            Command::Explain(question, reply) => {
                let _ = reply.send(self.explain(&question));
            }
            Command::Guide(name, reply) => {
                let _ = reply.send(self.guide(&name));
            }
            Command::Probe(name, reply) => self.probe(&name, reply),
            Command::Trace(request, reply) => self.trace(&request, reply),
            Command::HandOver(request, reply) => {
                let _ = reply.send(self.hand_over(&request));
            }
            Command::Confirm(reply) => {
                let _ = reply.send(self.confirm().map(|()| Confirmed { confirmed: true }));
            }
            Command::Upgrade(request, reply) => {
                let begun = tokio::task::block_in_place(|| self.begin_upgrade(&request));
                let _ = reply.send(begun);
            }
            Command::RouteMysql(question, reply) => {
                let _ = reply.send(self.mysql_route(&question));
            }
            Command::ListDigests(service, reply) => {
                let _ = reply.send(self.mysql_digests(&service));
            }
            Command::PromoteMysql(service, promotion, reply) => {
                self.mysql_promote(&service, promotion, reply)
            }
            Command::KillMysql(service, number, reply) => {
                let killed = self.mysql_kill(&service, number).map(|()| MysqlKilled { number });
                let _ = reply.send(killed);
            }
            Command::ReloadCertificates(reply) => {
                let _ = reply.send(Ok(self.reload_certificates()));
            }
            Command::Apply(request, reply) => {
                let _ = reply.send(self.apply_request(request).await);
            }
            Command::Mutate(mutation, options, reply) => {
                let _ = reply.send(self.mutate(mutation, options).await);
            }
            Command::Log(patch, reply) => {
                let _ = reply.send(self.log_view(patch));
            }
            Command::ListConnections(filter, reply) => self.list_connections(filter, reply),
            Command::ListDropped(filter, reply) => self.list_dropped(filter, reply),
            Command::ListFlows(filter, reply) => {
                let vips = match &filter.service {
                    None => None,
                    Some(name) if self.config.services.contains_key(name) => {
                        let tables = self.desired.steering.iter().filter(|(key, _)| key.service == *name);
                        let tables = tables.map(|(_, table)| table);
                        Some(tables.flat_map(plan::Steering::entrances).collect())
                    }
                    Some(name) => {
                        let _ = reply.send(Err(self.no_service(name)));
                        return;
                    }
                };
                let name = Box::new(self.flow_namer());
                let backends = filter.backend.as_ref().map(|name| self.ids_of_backends(name));
                if let Err(lost) = self.sweeper.send(Order::List { filter, vips, backends, name, reply })
                    && let Order::List { reply, .. } = lost.0
                {
                    let _ =
                        reply.send(Err(ApiError::new(ErrorKind::Internal, "the sweeping thread is gone")));
                }
            }
        }
    }

    pub(super) fn handle_check(&mut self, done: CheckDone) {
        if let Some(message) = self.checks.handle(done, Instant::now()) {
            self.journal.record(EventKind::HealthChanged, message);
            self.steer_or_record();
        }
    }

    /// Backends, by id, that refused a connection.
    pub(super) fn handle_refusals(&mut self, ids: &[u32]) {
        let mut changed = false;
        for id in ids {
            let Some(hash) = self.dataplane.image().backends.get(id).map(|entry| entry.name_hash) else {
                continue;
            };
            if let Some(message) = self.checks.handle_refusal(hash, Instant::now()) {
                self.journal.record(EventKind::HealthChanged, message);
                changed = true;
            }
        }
        if changed {
            self.steer_or_record();
        }
    }

    pub(super) fn handle_sweep(&mut self, swept: Swept) {
        match swept {
            Swept::Report(report, begun) => {
                self.sweep = report;
                self.sweep_begun = Some(begun);
                self.warn_when_full();
            }
            Swept::Cut { backend, flows } => {
                self.journal.record(EventKind::FlowsCut, format!("{backend}: {flows} flows cut"));
            }
        }
    }

    fn warn_when_full(&mut self) {
        let (entries, capacity) = (self.sweep.established_entries, self.sweep.established_capacity);
        let full = entries * 100 > capacity * FILL_WARNING_PERCENT;
        if full && !self.fill_warned {
            let message = format!(
                "the established flow table holds {entries} of {capacity} entries; \
                 raise dataplane.established_flows before it is full"
            );
            self.journal.record(EventKind::Warning, message);
        }
        self.fill_warned = full;
    }

    pub(super) fn no_service(&self, name: &crate::model::ServiceName) -> ApiError {
        let names: Vec<_> = self.config.services.keys().map(|known| known.as_str()).collect();
        ApiError::not_found(format!("there is no service {name}; there are: {}", names.join(", ")))
    }

    /// Cuts all flows of a backend, in both families.
    pub(super) fn cut(
        &self,
        backend_ids: &[u32],
        service: &crate::model::ServiceName,
        backend: &crate::model::BackendName,
    ) {
        self.cut_proxied(service, backend);
        for id in backend_ids {
            // The thread ends only with the agent.
            let _ = self.sweeper.send(Order::Cut { backend_id: *id, backend: view::label(service, backend) });
        }
    }
}
