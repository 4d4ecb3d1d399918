//! Changes of the configuration: a whole new one, or one thing, in the running agent and in the file.

use super::firewall::{Files, Unconfirmed};
use super::spec::{backend, service, settings};
use super::state::Agent;
use super::sweeping::Order;
use super::{AgentError, dataplane_options, file_words, firewall};
use crate::api::{
    ApiError, ApplyReport, ApplyRequest, ChangeOptions, ErrorKind, EventKind, Mutation, WAITING,
};
use crate::config::diff::{Change, diff};
use crate::config::{Config, ConfigErrors, adopt, edit, write_atomically};
use crate::core::plan::firewall::Ruleset;
use crate::core::plan::{self, Desired, Steering, SteeringKey};
use crate::io::prefix_file::PrefixFileError;
use crate::model::{AdminState, Protocol, ServiceName};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Instant;

pub(super) fn invalid(message: impl Into<String>) -> ApiError {
    ApiError::new(ErrorKind::Invalid, message)
}

/// What is wrong with a configuration, for who asked also with its lines.
fn refused(errors: &ConfigErrors) -> ApiError {
    ApiError { shown: Some(format!("{errors:#}")), ..invalid(errors.to_string()) }
}

/// What is wrong with a file of prefixes, for who asked also with the line.
fn refused_file(error: &PrefixFileError) -> ApiError {
    ApiError { shown: Some(file_words(&format!("{error:#}"))), ..invalid(file_words(&error.to_string())) }
}

fn internal(error: impl std::fmt::Display) -> ApiError {
    ApiError::new(ErrorKind::Internal, error.to_string())
}

impl Agent {
    /// SIGHUP: take over what the file says.
    pub(super) async fn reload(&mut self) {
        match self.apply_request(ApplyRequest::default()).await {
            Ok(report) if report.changes.is_empty() => {
                self.journal.record(EventKind::ConfigChanged, "reload: the file changes nothing");
            }
            Ok(_) => {}
            Err(error) => {
                let message = format!("reload refused, the running configuration stays: {error}");
                self.journal.record(EventKind::ConfigRefused, message);
            }
        }
    }

    pub(super) async fn apply_request(&mut self, request: ApplyRequest) -> Result<ApplyReport, ApiError> {
        let file = self.config_file.display().to_string();
        let (text, name, to_file) = match request.text {
            Some(text) => (text, request.file_name.unwrap_or_else(|| "the configuration".into()), true),
            None => {
                let read = std::fs::read_to_string(&self.config_file);
                (read.map_err(|error| invalid(format!("{file}: {error}")))?, file.clone(), false)
            }
        };
        let config = Config::parse(&text, &name).map_err(|errors| refused(&errors))?;
        let changes = diff(&self.config, &config);
        if request.dry_run {
            let waiting = words(&diff(&adopt(&self.config, &config), &config));
            return Ok(ApplyReport {
                changes: words(&changes),
                need_restart: waiting,
                ..ApplyReport::default()
            });
        }
        self.refuse_while_unconfirmed()?;
        let deadline = request.confirm_within_seconds.map(firewall::deadline).transpose()?;
        if deadline.is_some() && (!to_file || self.file_now() == text) {
            let message = format!(
                "{file} has the change already, so the next start would make it, confirmed or not; write the change to \
                 another file and apply that one"
            );
            return Err(invalid(message));
        }
        let (old_text, old_ruleset) = (self.text.clone(), self.ruleset.clone());
        let mut changes = words(&changes);
        let applied = self.adopt_text(text.clone(), config, Files::Read).await?;
        // Files of prefixes may have changed where the configuration has not.
        let beside: Vec<String> = applied.into_iter().filter(|change| !changes.contains(change)).collect();
        changes.extend(beside);
        self.runtime_changes = to_file;
        let mut report = ApplyReport {
            changes,
            need_restart: self.waiting.clone(),
            applied: true,
            ..ApplyReport::default()
        };
        if let Some(deadline) = deadline {
            let file_text = to_file.then_some(text);
            let file_before = self.file_now();
            self.unconfirmed =
                Some(Unconfirmed { deadline, text: old_text, ruleset: old_ruleset, file_text, file_before });
            report.confirm_within_seconds = request.confirm_within_seconds;
        } else if to_file {
            self.save(&text)?;
            report.saved = true;
        }
        Ok(report)
    }

    /// Makes the file say what the running configuration says.
    pub(super) fn save(&mut self, text: &str) -> Result<(), ApiError> {
        let file = self.config_file.display().to_string();
        write_atomically(&self.config_file, text)
            .map_err(|error| internal(format!("applied, but not saved to {file}: {error}")))?;
        self.runtime_changes = self.differs_from_file();
        Ok(())
    }

    pub(super) async fn mutate(
        &mut self,
        mutation: Mutation,
        options: ChangeOptions,
    ) -> Result<ApplyReport, ApiError> {
        self.refuse_while_unconfirmed()?;
        let deadline = options.confirm_within_seconds.map(firewall::deadline).transpose()?;
        let (old_text, old_ruleset) = (self.text.clone(), self.ruleset.clone());
        let text = self.edited(&self.text, &mutation)?;
        let config = Config::parse(&text, "the changed configuration").map_err(|errors| refused(&errors))?;
        // The file may have been edited by hand since; the change goes into what it says now.
        let file_text = match options.runtime_only {
            true => None,
            // As a rule it says what the running configuration says, and so the change is made already.
            false if self.file_now() == self.text => Some(text.clone()),
            false => Some(self.edited_file(&mutation)?),
        };
        let cut = self.flows_to_cut(&mutation, options);
        let changes = self.adopt_text(text, config, Files::Keep).await?;
        for (service, backend, ids) in cut {
            self.cut(&ids, &service, &backend);
        }
        // What an earlier change left waiting is not of this one.
        let mut report = ApplyReport { changes, applied: true, ..ApplyReport::default() };
        if let Some(deadline) = deadline {
            self.runtime_changes = true;
            let file_before = self.file_now();
            self.unconfirmed =
                Some(Unconfirmed { deadline, text: old_text, ruleset: old_ruleset, file_text, file_before });
            report.confirm_within_seconds = options.confirm_within_seconds;
            return Ok(report);
        }
        let may_differ = std::mem::replace(&mut self.runtime_changes, true) || options.runtime_only;
        if let Some(text) = file_text {
            write_atomically(&self.config_file, &text).map_err(|error| {
                internal(format!("changed, but not saved to {}: {error}", self.config_file.display()))
            })?;
        }
        self.runtime_changes = may_differ && self.differs_from_file();
        report.saved = !options.runtime_only;
        Ok(report)
    }

    /// The file's text; nothing where it cannot be read.
    pub(super) fn file_now(&self) -> String {
        std::fs::read_to_string(&self.config_file).unwrap_or_default()
    }

    /// Whether the running configuration has what a restart would undo.
    pub(super) fn differs_from_file(&self) -> bool {
        let text = self.file_now();
        if text == self.text && self.waiting.is_empty() {
            return false;
        }
        // A file that cannot be read or understood has none of it.
        Config::parse(&text, "the file")
            .map_or(true, |file| diff(&file, &self.config).iter().any(|change| !change.needs_restart()))
    }

    /// The file's text with the change in it, checked.
    fn edited_file(&self, mutation: &Mutation) -> Result<String, ApiError> {
        let file = self.config_file.display().to_string();
        let text = std::fs::read_to_string(&self.config_file).map_err(|error| {
            invalid(format!("{file}: {error}; use --runtime-only to leave the file alone"))
        })?;
        // As it is, so that an error has the file's own line; the change may move lines.
        Config::parse(&text, &file).map_err(|errors| {
            let way_out = "mend the file first, or use --runtime-only to leave it alone";
            let shown = Some(format!("{errors:#}\n{way_out}"));
            ApiError { shown, ..invalid(format!("{errors}; {way_out}")) }
        })?;
        let text = self.edited(&text, mutation)?;
        Config::parse(&text, "the changed file").map_err(|errors| refused(&errors))?;
        Ok(text)
    }

    fn edited(&self, text: &str, mutation: &Mutation) -> Result<String, ApiError> {
        let edited = match mutation {
            Mutation::AddService(spec) => edit::add_service(text, &service(spec)),
            Mutation::SetService(name, patch) => edit::set_service(text, name, settings(patch)),
            Mutation::RemoveService(name) => edit::remove_service(text, name),
            Mutation::AddBackend(name, spec) => edit::add_backend(text, name, &backend(spec)),
            Mutation::SetBackend(name, backend, patch) => {
                edit::set_backend(text, name, backend, patch.weight, patch.state, patch.max_flows)
            }
            Mutation::RemoveBackend(name, backend) => edit::remove_backend(text, name, backend),
            Mutation::AddRule(spec) => {
                let rule = firewall::rule(spec).map_err(invalid)?;
                edit::add_rule(text, &rule, spec.before.as_ref())
            }
            Mutation::RemoveRule(name) => edit::remove_rule(text, name),
        };
        edited.map_err(|error| {
            let kind = match error {
                edit::EditError::NoService { .. }
                | edit::EditError::NoBackend { .. }
                | edit::EditError::NoRule { .. } => ErrorKind::NotFound,
                edit::EditError::ServiceExists { .. }
                | edit::EditError::BackendExists { .. }
                | edit::EditError::RuleExists { .. } => ErrorKind::Conflict,
                _ => ErrorKind::Invalid,
            };
            ApiError::new(kind, error.to_string())
        })
    }

    /// Makes a proposal the running configuration, except for what needs a restart, and returns what changed, in words.
    /// Where the dataplane refuses, the old one stays. VIP addresses that cannot be moved are no reason to refuse.
    pub(super) async fn adopt_text(
        &mut self,
        text: String,
        proposed: Config,
        files: Files,
    ) -> Result<Vec<String>, ApiError> {
        let config = adopt(&self.config, &proposed);
        // What is taken back was in force, whatever its files are by now.
        if !matches!(files, Files::Known(_)) {
            self.check_certificates(&config)?;
            self.floor.allows(&proposed).and_then(|()| self.may_write_for(&config)).map_err(invalid)?;
        }
        let ruleset =
            firewall::read_rules(&config, files, &self.ruleset).map_err(|error| refused_file(&error))?;
        self.keep_files_for(&config);
        let mut changes = words(&diff(&self.config, &config));
        changes.extend(firewall::file_changes(&self.ruleset, &ruleset));
        let waiting = words(&diff(&config, &proposed));
        let old_desired = self.desired.clone();
        let old_config = std::mem::replace(&mut self.config, config);
        let known = self.dataplane.image().clone();
        self.checks.follow(&self.config, &known);
        self.follow_files();
        if let Err(reason) = self.steer_under(&ruleset) {
            self.config = old_config;
            self.checks.follow(&self.config, &known);
            self.follow_files();
            return Err(self.go_back(old_desired, &reason));
        }
        self.follow_log(&old_config.log.level);
        let moved = serves_otherwise(&old_desired, &self.desired);
        if let Err(error) = self.judge_flows_again(ruleset, moved) {
            let message = format!("flows that are there are not judged by the new rules: {error}");
            self.journal.record(EventKind::Warning, message);
        }
        self.text = text;
        self.changed_at = Instant::now();
        for change in &changes {
            self.journal.record(EventKind::ConfigChanged, change.clone());
        }
        for change in waiting.iter().filter(|change| !self.waiting.contains(change)) {
            self.journal.record(EventKind::Warning, waits(change));
        }
        self.waiting = waiting;
        // The thread ends only with the agent.
        let _ = self.sweeper.send(Order::SetTimeouts(self.config.dataplane.timeouts.into()));
        if let Err(error) = self.set_vip_terms() {
            let message = format!("what holds for which VIP was not said to the program: {error}");
            self.journal.record(EventKind::Warning, message);
        }
        self.follow_trackers();
        self.virtual_routers.follow(super::vrrp::wanted(&self.config, std::collections::BTreeSet::new()));
        self.hold_vips().await;
        Ok(changes)
    }

    /// Rules come first: what they deny must not be reached for a moment.
    fn steer_under(&mut self, ruleset: &Ruleset) -> Result<(), AgentError> {
        self.put_rules(ruleset)?;
        self.steer()?;
        self.dataplane.set_nat_ports(self.config.node.nat_ports)?;
        Ok(self.dataplane.set_syn_cookies(&dataplane_options(&self.config))?)
    }

    /// Steers the dataplane back to what it did before a change that it took in part.
    fn go_back(&mut self, desired: Desired, reason: &AgentError) -> ApiError {
        let steps = plan::steps(self.dataplane.image(), &desired).map_err(AgentError::from);
        let back = steps
            .and_then(|steps| Ok(self.dataplane.take(&steps)?))
            .and_then(|()| Ok(self.dataplane.set_nat_ports(self.config.node.nat_ports)?))
            .and_then(|()| Ok(self.dataplane.set_syn_cookies(&dataplane_options(&self.config))?))
            .and_then(|()| Ok(self.dataplane.put_rules(&self.ruleset)?));
        self.desired = desired;
        self.follow_proxied();
        let Err(error) = back else { return ApiError::new(ErrorKind::Conflict, reason.to_string()) };
        let message = format!(
            "{reason}; the way back failed too ({error}): the dataplane may serve a part of the change until \
             the agent is restarted"
        );
        self.journal.record(EventKind::Warning, message.clone());
        ApiError::new(ErrorKind::Conflict, message)
    }

    fn flows_to_cut(
        &self,
        mutation: &Mutation,
        options: ChangeOptions,
    ) -> Vec<(crate::model::ServiceName, crate::model::BackendName, Vec<u32>)> {
        if !options.force {
            return Vec::new();
        }
        match mutation {
            Mutation::RemoveBackend(service, backend) => {
                vec![(service.clone(), backend.clone(), self.backend_ids(service, backend))]
            }
            Mutation::SetBackend(service, backend, patch) if patch.state == Some(AdminState::Maint) => {
                vec![(service.clone(), backend.clone(), self.backend_ids(service, backend))]
            }
            Mutation::RemoveService(name) => {
                let backends =
                    self.config.services.get(name).into_iter().flat_map(|service| &service.backends);
                backends
                    .map(|backend| {
                        (name.clone(), backend.name.clone(), self.backend_ids(name, &backend.name))
                    })
                    .collect()
            }
            _ => Vec::new(),
        }
    }
}

/// Whether an address that stays is another service's by now, whose rules may be others.
fn serves_otherwise(old: &Desired, new: &Desired) -> bool {
    let services = |desired: &Desired| -> BTreeMap<(SocketAddr, Protocol), ServiceName> {
        let entrance = |at: &SocketAddr, key: &SteeringKey, table: &Steering| {
            ((*at, table.protocol), key.service.clone())
        };
        let tables = desired.steering.iter();
        tables.flat_map(|(key, table)| table.listen.iter().map(|at| entrance(at, key, table))).collect()
    };
    let new = services(new);
    services(old).iter().any(|(address, service)| new.get(address).is_some_and(|other| other != service))
}

fn words(changes: &[Change]) -> Vec<String> {
    changes.iter().map(ToString::to_string).collect()
}

/// A change that waits, as warnings say it.
pub(super) fn waits(change: &str) -> String {
    format!("{WAITING}{change}")
}
