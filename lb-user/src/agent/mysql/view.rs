//! What there is to see of services of databases, and where a statement would run.

use super::super::state::Agent;
use crate::api::{
    ApiError, ErrorKind, MysqlDigest, MysqlNode, MysqlQuestion, MysqlRoute, MysqlSession, MysqlView,
    RouteCount,
};
use crate::config::Service;
use crate::core::mysql::digests::Counts;
use crate::core::mysql::protocol::capabilities::Flavor;
use crate::core::mysql::protocol::handshake::InitialHandshake;
use crate::core::mysql::session::Session;
use crate::core::mysql::sql::{Context, Dialect, SqlMode};
use crate::core::mysql::topology::Role;
use crate::model::{ServiceName, whole_ms, whole_us};
use std::time::Instant;

fn route_count((target, why): (&str, &str), count: u64) -> RouteCount {
    RouteCount { target: target.to_owned(), why: why.to_owned(), count }
}

impl Agent {
    /// All of them.
    pub(in crate::agent) fn mysql_view(&self) -> Vec<MysqlView> {
        self.config.services.values().filter_map(|service| self.database_view(service)).collect()
    }

    fn database_view(&self, service: &Service) -> Option<MysqlView> {
        let terms = service.mysql.as_ref()?;
        let database = self.databases.services.get(&service.name)?;
        let now = Instant::now();
        let node = |name, address| {
            let observation = database.topology.observation(name);
            let (role, lag, why) = match database.topology.role(name, terms.max_lag, now) {
                Role::Primary => ("primary", None, None),
                Role::Replica(lag) => ("replica", Some(lag), None),
                Role::Unfit(why) => ("unfit", None, Some(why.to_string())),
            };
            let greeting = database.greetings.get(name);
            MysqlNode {
                backend: name.clone(),
                address,
                role: role.to_owned(),
                lag_ms: lag.map(whole_ms),
                why,
                version: greeting.map(InitialHandshake::version),
                position: observation.map(|one| one.position.to_string()),
                source: observation.and_then(|one| Some(one.replication.as_ref()?.source.clone())),
            }
        };
        let nodes =
            database.watchers.iter().map(|(name, watcher)| node(name, watcher.asked.address)).collect();
        let sessions = self.proxy.sessions(&service.name);
        let routes = sessions.as_ref().map(|sessions| sessions.routes()).unwrap_or_default();
        let session = |one: crate::io::proxy::mysql::SessionView| MysqlSession {
            number: one.number,
            user: one.user,
            client: one.client,
            held: one.holds.iter().map(|hold| hold.name().to_owned()).collect(),
            primary: one.primary,
            replica: one.replica,
        };
        Some(MysqlView {
            service: service.name.clone(),
            consistency: terms.consistency,
            primary: database.topology.primary(),
            no_primary: database.no_primary(),
            nodes,
            routes: routes.into_iter().map(|(route, count)| route_count(route, count)).collect(),
            sessions: sessions.map(|all| all.view()).unwrap_or_default().into_iter().map(session).collect(),
        })
    }

    /// Where a statement would run in a session that has just begun.
    pub(in crate::agent) fn mysql_route(&self, question: &MysqlQuestion) -> Result<MysqlRoute, ApiError> {
        let service = self.database(&question.service)?;
        let database = self.databases.services.get(&service.name);
        let dialect = database
            .and_then(super::Database::dialect)
            .unwrap_or(Dialect { flavor: Flavor::MariaDb, version: 100_600 });
        let session = Session::new(Context { dialect, mode: SqlMode::default(), utf8: true }, None);
        let plan = session.plan(question.sql.as_bytes());
        Ok(MysqlRoute {
            target: plan.target.name().to_owned(),
            why: plan.why.name().to_owned(),
            words: plan.why.to_string(),
        })
    }

    /// What statements of a service cost, those that took longest together first.
    pub(in crate::agent) fn mysql_digests(
        &self,
        service: &ServiceName,
    ) -> Result<Vec<MysqlDigest>, ApiError> {
        let service = self.database(service)?;
        let digests =
            self.proxy.sessions(&service.name).map(|sessions| sessions.digests()).unwrap_or_default();
        let view = |digest: String, text: &str, counts: &Counts| MysqlDigest {
            digest,
            text: text.to_owned(),
            count: counts.count,
            errors: counts.errors,
            rows: counts.rows,
            time_us: whole_us(counts.time),
            time_max_us: whole_us(counts.time_max),
            routes: counts.routes.iter().map(|(route, count)| route_count(*route, *count)).collect(),
        };
        let forms = digests.forms().map(|(hash, text, counts)| view(format!("{hash:016x}"), text, counts));
        let mut all: Vec<MysqlDigest> = forms.collect();
        all.sort_by(|a, b| (b.time_us, &a.text).cmp(&(a.time_us, &b.text)));
        if digests.others().count > 0 {
            all.push(view(String::new(), "(others)", digests.others()));
        }
        Ok(all)
    }

    /// Ends a session.
    pub(in crate::agent) fn mysql_kill(&self, service: &ServiceName, number: u32) -> Result<(), ApiError> {
        let service = self.database(service)?;
        let is_known = self.proxy.sessions(&service.name).is_some_and(|sessions| sessions.kill(number));
        let none =
            || format!("service {} has no session {number}; `lbctl mysql sessions` lists them", service.name);
        if is_known { Ok(()) } else { Err(ApiError::new(ErrorKind::NotFound, none())) }
    }

    pub(super) fn database(&self, name: &ServiceName) -> Result<&Service, ApiError> {
        let service = self.config.services.get(name).ok_or_else(|| self.no_service(name))?;
        let other =
            || format!("service {name} has mode {}; this is about services with mode mysql", service.mode);
        service.mysql.as_ref().ok_or_else(|| ApiError::new(ErrorKind::Invalid, other()))?;
        Ok(service)
    }
}
